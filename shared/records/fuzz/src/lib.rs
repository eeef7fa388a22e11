//! What the fuzz targets share: schemas to read by, a source that gives a few bytes at a time, and outcomes as texts that can
//! be compared.

use std::io::{self, Read};
use std::sync::Arc;

use records::csv::FileRecords;
use records::dialect::{Dialect, Encoding, NumberStyle};
use records::framing::SchemaId;
use records::line::{LineParser, Part};
use records::schema::{Envelope, InputFormat, MessageShape, RecordsAt, Schema};
use records::schemas::{Schemas, WriterSchema};
use records::time::DatetimeFormats;

/// The number of the schema that framed records name.
pub const SCHEMA: SchemaId = SchemaId::Number(7);

/// What stands before the bytes of a record that names it.
pub const LEAD: [u8; 5] = [0, 0, 0, 0, 7];

/// A longer record is erroneous: short enough that inputs of a fuzzer reach the bound.
const MAX_RECORD_BYTES: usize = 512;

/// The columns of every target.
const COLUMNS: [&str; 6] = ["id", "amount:float", "count:int", "at:datetime", "note", "maybe:float?"];

/// A source that gives a few bytes at a time, as a slow pipe does.
pub struct Dribble<'a>(pub &'a [u8], pub usize);

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.1.max(1).min(buffer.len());
        self.0.read(&mut buffer[..size])
    }
}

/// A schema of the columns, with paths into JSON, for records of this format.
pub fn schema(format: InputFormat) -> Schema {
    let mut columns: Vec<records::schema::Column> =
        COLUMNS.iter().map(|declared| declared.parse().expect("they are declared well")).collect();
    columns[0].needed = true;
    columns[0].max_bytes = Some(40);
    columns[1].path = "deep.amount".parse().ok();
    columns[1].converts = true;
    columns[1].range = (0.0, 1e9);
    columns[2].path = "items[1].count".parse().ok();
    columns[4].is_read = false;
    if format == InputFormat::Csv {
        columns.iter_mut().for_each(|column| column.path = None);
    }
    let formats = ["%Y-%m-%d %H:%M:%S", "%m/%d/%y", "rfc3339", "unix_ms"];
    Schema {
        format,
        columns,
        csv: Dialect::default(),
        json: MessageShape::default(),
        schemas: None,
        datetime_formats: DatetimeFormats::read(&formats, Some("Europe/Madrid")).expect("they name days"),
        max_record_bytes: MAX_RECORD_BYTES,
        currency: None,
        key: None,
    }
}

/// A parser of records of `format` that name [`SCHEMA`], which is this one.
pub fn framed_parser(format: InputFormat, writer: WriterSchema, shape: MessageShape) -> LineParser {
    let schemas = Schemas::default();
    schemas.insert(SCHEMA, writer);
    LineParser::new(Arc::new(Schema { schemas: Some(Arc::new(schemas)), json: shape, ..schema(format) }))
}

/// A dialect, chosen by three bytes.
pub fn dialect([a, b, c]: [u8; 3]) -> Dialect {
    let mut dialect = Dialect {
        delimiter: b",;\t|"[usize::from(a % 4)],
        quote: [Some(b'"'), Some(b'\''), None][usize::from(a / 4 % 3)],
        comment: [None, Some(b'#')][usize::from(a / 16 % 2)],
        header: a / 32 % 2 == 0,
        ..Dialect::default()
    };
    let encodings = ["utf-8", "windows-1252", "utf-16le", "utf-16be"];
    let name = encodings[usize::from(b) % encodings.len()];
    dialect.encoding = Encoding::of(name).expect("the encoding is known");
    dialect.texts.numbers = NumberStyle {
        decimal: ['.', ','][usize::from(c % 2)],
        thousands: [None, Some(' '), Some('\'')][usize::from(c / 2 % 3)],
        currency_signs: c / 8 % 2 == 0,
    };
    dialect
}

/// What a message may hold, chosen by a byte.
pub fn shape(choice: u8) -> MessageShape {
    let envelope = [None, Some(Envelope::Connect), Some(Envelope::Debezium)][usize::from(choice % 3)];
    let records = match choice / 3 % 3 {
        0 => None,
        1 => Some(RecordsAt::Message),
        _ => "batch.records".parse().ok().map(RecordsAt::Path),
    };
    MessageShape { envelope, records }
}

/// What a part of a message is, as a text.
pub fn shown(part: &Part<'_>) -> String {
    match part {
        Part::Line(values) => format!("{values:?}"),
        Part::Erroneous(reasons) => {
            assert!(!reasons.is_empty(), "what is erroneous has a reason");
            format!("erroneous: {reasons:?}")
        }
        Part::Deletion => "deletion".to_owned(),
        Part::Nothing => "nothing".to_owned(),
    }
}

/// What a message holds. Each record of it, sent alone, has the fate that it has among the others: that is what sending an
/// erroneous record again rests on.
pub fn outcomes(parser: &mut LineParser, message: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    parser.each(message, |piece, part| found.push((piece.alone().into_owned(), shown(&part))));
    assert!(!found.is_empty(), "every message has an outcome");
    let is_list = found.len() > 1;
    for (alone, outcome) in &found {
        // A list of one may be short enough where the whole list was not, and never the other way round.
        if is_list || alone.as_slice() != message {
            let mut again = Vec::new();
            parser.each(alone, |_, part| again.push(shown(&part)));
            assert_eq!(again, [outcome.as_str()], "{:?}", String::from_utf8_lossy(alone));
        }
    }
    found.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Number, length, bytes, fields and fault of every record of a file.
pub fn file_records(source: impl Read, dialect: &Dialect) -> Vec<String> {
    let Ok(mut records) = FileRecords::new(source, dialect, MAX_RECORD_BYTES) else { return Vec::new() };
    let mut seen = Vec::new();
    while let Ok(Some(record)) = records.next_record() {
        let fields: Vec<&[u8]> = if record.fault.is_none() { record.fields.iter().collect() } else { Vec::new() };
        let len = record.len.min(MAX_RECORD_BYTES + 1);
        let raw = if len > MAX_RECORD_BYTES { &[] } else { record.raw };
        let fields = if len > MAX_RECORD_BYTES { Vec::new() } else { fields };
        seen.push(format!("{} {len} {raw:?} {fields:?} {:?}", record.line, record.fault));
    }
    seen
}
