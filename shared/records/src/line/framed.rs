//! Messages that name the schema they were written with, and records whose schema their file has.

use std::collections::HashMap;
use std::sync::Arc;

use super::{LineParser, Part, Piece, parse_values, with_room};
use crate::avro::{self, AvroPlan, Finder, Found};
use crate::field::{Field, Texts};
use crate::framing::{Framed, SchemaId};
use crate::json::{self, Plan};
use crate::json_path::JsonPath;
use crate::protobuf::{Messages, ProtobufPlan, Wire};
use crate::reason::Reason;
use crate::schema::{Envelope, InputFormat, MessageShape, RecordsAt};
use crate::schemas::{Refused, Schemas, WriterSchema};

/// Schemas whose plans are kept. A topic has a few.
const MOST_PLANS: usize = 1_000;

/// What records are read by whose schema is not their own: the plans of the schemas that came.
#[derive(Debug, Clone, Default)]
pub(super) struct Writers {
    known: HashMap<SchemaId, Writer>,
    avro: Vec<AvroPlan>,
    protobuf: Vec<ProtobufPlan>,
    texts: Texts,
    around: Texts,
}

/// How records of a schema are read.
#[derive(Debug, Clone)]
enum Writer {
    /// By the plan at this place.
    Avro(usize),
    /// By a plan of the message in these that the record names.
    Protobuf(Arc<Messages>),
    /// As JSON.
    Json,
}

impl Writers {
    fn of(&mut self, id: SchemaId, schemas: &Schemas, (format, plan): (InputFormat, &Plan)) -> Result<Writer, Refused> {
        if let Some(known) = self.known.get(&id) {
            return Ok(known.clone());
        }
        let writer = match (schemas.get(id)?, format) {
            (WriterSchema::Avro(schema), InputFormat::Avro) => Writer::Avro(self.avro(&schema, plan)),
            (WriterSchema::Protobuf(messages), InputFormat::Protobuf) => Writer::Protobuf(messages),
            (WriterSchema::Json, InputFormat::Json) => Writer::Json,
            _ => return Err(Refused::Unusable),
        };
        self.known.insert(id, writer.clone());
        Ok(writer)
    }

    /// The place of the plan of a schema.
    fn avro(&mut self, schema: &Arc<avro::Schema>, plan: &Plan) -> usize {
        if let Some(known) = self.avro.iter().position(|known| Arc::ptr_eq(&known.schema, schema)) {
            return known;
        }
        if self.avro.len() >= MOST_PLANS {
            self.avro.clear();
            self.known.clear();
        }
        self.avro.push(AvroPlan::new(Arc::clone(schema), plan));
        self.avro.len() - 1
    }

    /// The plan of a message, which `wire` begins with naming.
    fn protobuf(
        &mut self,
        messages: &Arc<Messages>,
        wire: &mut Wire<'_>,
        plan: &Plan,
    ) -> Result<&ProtobufPlan, Reason> {
        let message = messages.find(wire)?;
        let is_known = |known: &ProtobufPlan| known.message == message && Arc::ptr_eq(&known.messages, messages);
        let place = match self.protobuf.iter().position(is_known) {
            Some(place) => place,
            None => {
                if self.protobuf.len() >= MOST_PLANS {
                    self.protobuf.clear();
                }
                self.protobuf.push(ProtobufPlan::new(Arc::clone(messages), message, &plan.record));
                self.protobuf.len() - 1
            }
        };
        Ok(&self.protobuf[place])
    }
}

impl LineParser {
    /// Parses a message that names its schema, and hands what it holds to `take`, in order.
    pub(super) fn each_framed<'m>(
        &mut self,
        message: &'m [u8],
        header: Option<&'m [u8]>,
        mut take: impl FnMut(&Piece<'m>, Part<'_>),
    ) {
        let whole = Piece::whole(message);
        if message.is_empty() {
            let is_tombstone = self.schema.json.envelope.is_some();
            let part = if is_tombstone { Part::Nothing } else { Part::Erroneous(vec![Reason::EmptyRecord]) };
            return take(&whole, part);
        }
        if message.len() > self.schema.max_record_bytes {
            return take(&whole, Part::Erroneous(vec![Reason::RecordTooLarge]));
        }
        let framed = match Framed::read(message, header) {
            Ok(framed) => framed,
            Err(reason) => return take(&whole, Part::Erroneous(vec![reason])),
        };
        let (piece, Framed { id, body, .. }) = (Piece::framed(message, &framed), framed);
        let Some(schemas) = self.schema.schemas.clone() else { return };
        match self.writers.of(id, &schemas, (self.schema.format, &self.plan)) {
            Ok(Writer::Json) => self.each_json_of(&piece, (body.len(), body), take),
            Ok(Writer::Avro(place)) => self.each_avro_of(place, &piece, body, take),
            Ok(Writer::Protobuf(messages)) => self.protobuf_of(&messages, &piece, &framed, take),
            Err(refused) => take(&piece, Part::Erroneous(vec![refused.reason(id)])),
        }
    }

    /// Parses a record of a file whose schema is `writer`, and hands what it holds to `take`, in order.
    pub fn each_avro<'m>(
        &mut self,
        writer: &Arc<avro::Schema>,
        record: &'m [u8],
        mut take: impl FnMut(&Piece<'m>, Part<'_>),
    ) {
        let whole = Piece::whole(record);
        if record.len() > self.schema.max_record_bytes {
            return take(&whole, Part::Erroneous(vec![Reason::RecordTooLarge]));
        }
        let place = self.writers.avro(writer, &self.plan);
        self.each_avro_of(place, &whole, record, take);
    }

    fn each_avro_of<'m>(
        &mut self,
        place: usize,
        whole: &Piece<'m>,
        body: &'m [u8],
        mut take: impl FnMut(&Piece<'m>, Part<'_>),
    ) {
        let Self { schema, plan, writers: Writers { avro, texts, around, .. }, dates, key, .. } = self;
        let (avro, columns) = (&mut avro[place], &schema.columns);
        if schema.json.is_plain() {
            let parsed = with_room(columns.len(), Field::Absent, |fields| {
                AvroPlan::read(&avro.schema, avro.whole(), body, (columns, texts), fields)
                    .map_err(|reason| vec![reason])?;
                parse_values(schema, (dates, key), (texts, fields), None, |line| take(whole, Part::Line(line)))
            });
            if let Err(reasons) = parsed {
                take(whole, Part::Erroneous(reasons));
            }
            return;
        }
        let writer = Arc::clone(&avro.schema);
        let content = AvroPlan::check(&writer, body).and_then(|()| content(&writer, body, &schema.json));
        let mut fields = Vec::new();
        if !plan.message.columns.is_empty() && matches!(content, Ok(Content::Record(_) | Content::Records(..))) {
            fields.resize(columns.len(), Field::Absent);
            if let Err(reason) = AvroPlan::read(&writer, &avro.message, body, (columns, around), &mut fields) {
                return take(whole, Part::Erroneous(vec![reason]));
            }
        }
        let around = Some((&*around, &*fields)).filter(|_| !fields.is_empty());
        let mut one = |piece: &Piece<'m>, found: &Found| {
            let parsed = with_room(columns.len(), Field::Absent, |fields| {
                let (read, record) = (avro.record(found.kind, plan), &body[found.at.clone()]);
                AvroPlan::read(&writer, read, record, (columns, texts), fields).map_err(|reason| vec![reason])?;
                parse_values(schema, (dates, key), (texts, fields), around, |line| take(piece, Part::Line(line)))
            });
            if let Err(reasons) = parsed {
                take(piece, Part::Erroneous(reasons));
            }
        };
        match content {
            Ok(Content::Record(record)) => one(whole, &record),
            Ok(Content::Records(array, items)) => {
                let (before, after) = (&body[..array.at.start], &body[array.at.end..]);
                for (index, item) in (0..).zip(items) {
                    // A block of one item, and the end of the array.
                    one(&whole.item(index, [before, &body[item.at.clone()], after], [b"\x02", b"\0"]), &item);
                }
            }
            Ok(Content::Deletion) => take(whole, Part::Deletion),
            Ok(Content::Nothing) => take(whole, Part::Nothing),
            Err(reason) => take(whole, Part::Erroneous(vec![reason])),
        }
    }

    fn protobuf_of<'m>(
        &mut self,
        messages: &Arc<Messages>,
        whole: &Piece<'m>,
        framed: &Framed<'m>,
        mut take: impl FnMut(&Piece<'m>, Part<'_>),
    ) {
        let Self { schema, plan, writers, dates, key, .. } = self;
        let mut texts = std::mem::take(&mut writers.texts);
        // Which message it is stands where the id does.
        let mut wire = Wire::new(framed.in_header.unwrap_or(framed.body));
        let parsed = with_room(schema.columns.len(), Field::Absent, |fields| {
            let read = writers.protobuf(messages, &mut wire, plan).and_then(|protobuf| {
                let record = if framed.in_header.is_some() { framed.body } else { wire.rest() };
                protobuf.read(record, (&schema.columns, &mut texts), fields)
            });
            read.map_err(|reason| vec![reason])?;
            parse_values(schema, (dates, key), (&texts, fields), None, |line| take(whole, Part::Line(line)))
        });
        writers.texts = texts;
        if let Err(reasons) = parsed {
            take(whole, Part::Erroneous(reasons));
        }
    }
}

/// What a message of Avro holds.
#[derive(Debug)]
enum Content {
    Record(Found),
    /// An array, and the records in it.
    Records(Found, Vec<Found>),
    Deletion,
    Nothing,
}

/// What `message` holds, which is known to be of the schema.
fn content(schema: &avro::Schema, message: &[u8], shape: &MessageShape) -> Result<Content, Reason> {
    let finder = Finder { schema, message };
    let Some(mut record) = finder.whole()? else { return Ok(Content::Nothing) };
    if shape.envelope == Some(Envelope::Debezium) {
        let operation = finder.follow(record.clone(), &JsonPath::field(json::OPERATION))?;
        match operation.and_then(|operation| finder.text(&operation)).as_deref() {
            Some("d" | "t") => return Ok(Content::Deletion),
            Some("c" | "u" | "r") => {}
            _ => return Err(Reason::UnknownOperation),
        }
        let row = finder.follow(record, &JsonPath::field(json::AFTER))?;
        record = row.ok_or_else(|| Reason::MissingValue(json::AFTER.to_owned()))?;
    }
    let path = match &shape.records {
        None => return Ok(Content::Record(record)),
        Some(RecordsAt::Message) => None,
        Some(RecordsAt::Path(path)) => Some(path),
    };
    if let Some(path) = path {
        match finder.follow(record, path)? {
            Some(found) => record = found,
            None => return Ok(Content::Nothing),
        }
    }
    match finder.items(&record)? {
        Some(items) if items.is_empty() => Ok(Content::Nothing),
        Some(items) if json::are_too_many(items.len(), message.len() - record.at.len()) => Err(Reason::TooManyRecords),
        Some(items) => Ok(Content::Records(record, items)),
        None if finder.is_record(&record) => Ok(Content::Record(record)),
        None => Err(path.map_or(Reason::NotAvro, |path| Reason::NotAnArray(path.to_string()))),
    }
}
