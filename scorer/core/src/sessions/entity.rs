//! An open entity: what its lines so far add up to, in few bytes, for there may be a million.

use shared::allocation::allocated;
use shared::codec::{Damaged, Reader, put_bytes, put_signed, put_unsigned};
use shared::features::Accumulators;
use shared::line::Value;
use shared::pipeline::{Pipeline, cut};
use shared::reason::Reason;
use shared::time::Timestamp;
use shared::verdict::EntitySummary;

use crate::output::{ClosedEntity, Erroneous, Output};
use crate::text::to_text;

/// An entity that may still get lines. Of the lines themselves only runs of offsets are kept.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OpenEntity {
    features: Accumulators,
    known: Known,
    lines: u64,
    first_timestamp: Timestamp,
    last_timestamp: Timestamp,
    offsets: Runs,
}

impl OpenEntity {
    pub(super) fn new(pipeline: &Pipeline, timestamp: Timestamp, offset: i64) -> Self {
        Self {
            features: Accumulators::new(pipeline.session_accumulated()),
            known: Known::default(),
            lines: 0,
            first_timestamp: timestamp,
            last_timestamp: timestamp,
            offsets: Runs { last: (offset, offset - 1), earlier: None },
        }
    }

    pub(super) fn add(&mut self, pipeline: &Pipeline, line: &[Value<'_>], timestamp: Timestamp, offset: i64) {
        self.features.add(pipeline.session_accumulated(), line);
        self.known.add(pipeline, line);
        self.lines += 1;
        self.first_timestamp = self.first_timestamp.min(timestamp);
        self.last_timestamp = self.last_timestamp.max(timestamp);
        self.offsets.add(offset);
    }

    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    /// Whether its features keep as many values as they may.
    pub(super) fn is_full(&self) -> bool {
        self.features.is_full()
    }

    pub(super) fn first_offset(&self) -> i64 {
        self.offsets.earlier.as_ref().and_then(|runs| runs.first()).unwrap_or(&self.offsets.last).0
    }

    /// The offset of its last line.
    pub(super) fn last_offset(&self) -> i64 {
        self.offsets.last.1
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let runs = self.offsets.earlier.as_ref().map_or(0, |runs| {
            // As the vector grows.
            let room = runs.len().next_power_of_two().max(4);
            allocated(size_of_val(&**runs)) + allocated(room * size_of::<(i64, i64)>())
        });
        self.features.heap_bytes() + allocated(self.known.values.len()) + runs
    }

    /// The complete entity, valid or with every rule it breaks. `early` when it may have been closed before its time.
    pub(super) fn close(self, pipeline: &Pipeline, key: &str, partition: i32, early: bool) -> Output {
        let mut features = self.features.values(pipeline.session_accumulated());
        let numbers = features.split_off(pipeline.session_features().len());
        let known = self.known.texts(pipeline);
        let reasons = broken_rules(pipeline, &features, &known);
        let first_of = |column: usize| {
            let place = known_columns(pipeline).position(|known| known == column)?;
            known.get(place).copied().flatten()
        };
        let customer = pipeline.entity.customer.and_then(first_of);
        let summary = EntitySummary {
            key: key.into(),
            lines: self.lines,
            customer: customer.map(Into::into),
            first_timestamp: self.first_timestamp,
            last_timestamp: self.last_timestamp,
            closed_early: early,
            fields: pipeline.fields.values(first_of, &numbers),
        };
        let offsets = self.offsets.iter().collect();
        if reasons.is_empty() {
            return Output::Closed(ClosedEntity { summary, features, truth: None, partition, offsets });
        }
        let columns = pipeline.entity.required.iter().map(|&column| pipeline.schema.columns[column].name.clone());
        let known = columns.zip(&known).filter_map(|(name, value)| Some((name, (*value)?.to_owned()))).collect();
        Output::Erroneous(Erroneous::Entity { reasons, known, summary, features, partition, offsets })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        put_unsigned(out, self.lines);
        put_signed(out, self.first_timestamp);
        put_unsigned(out, self.last_timestamp.wrapping_sub(self.first_timestamp) as u64);
        self.features.encode(out);
        out.push(u8::from(self.known.complete));
        put_bytes(out, &self.known.values);
        self.offsets.encode(out);
    }

    pub(super) fn decode(pipeline: &Pipeline, reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let lines = reader.unsigned()?;
        let first_timestamp = reader.signed()?;
        let last_timestamp = first_timestamp.wrapping_add(reader.unsigned()? as i64);
        let features = Accumulators::decode(pipeline.session_accumulated(), reader)?;
        let complete = reader.byte()? == 1;
        let known = Known { complete, values: reader.bytes()?.into() };
        known.check(pipeline)?;
        let offsets = Runs::decode(reader)?;
        Ok(Self { features, known, lines, first_timestamp, last_timestamp, offsets })
    }
}

fn broken_rules(pipeline: &Pipeline, features: &[f64], known: &[Option<&str>]) -> Vec<Reason> {
    let name = |column: usize| pipeline.schema.columns[column].name.clone();
    let required = pipeline.entity.required.iter().zip(known);
    let mut reasons: Vec<Reason> = required
        .filter(|(_, value)| value.is_none())
        .map(|(&column, _)| Reason::MissingRequired(name(column)))
        .collect();
    let numbers = pipeline.session_features().iter().zip(features).filter(|(_, value)| !value.is_finite());
    // A missing date leaves its hour without a value: the missing date is the reason then.
    if reasons.is_empty() {
        reasons.extend(numbers.map(|(feature, _)| Reason::NotFinite(feature.name.clone())));
    }
    reasons
}

/// The columns whose first value is kept: the required ones, then the customer's and those of fields, each once.
fn known_columns(pipeline: &Pipeline) -> impl Iterator<Item = usize> + '_ {
    let named = || pipeline.entity.required.iter().copied().chain(pipeline.entity.customer);
    let fields = pipeline.fields.text_columns().enumerate();
    let new = fields.filter(move |&(place, column)| {
        named().all(|known| known != column) && pipeline.fields.text_columns().take(place).all(|known| known != column)
    });
    let customer = pipeline.entity.customer.filter(|customer| !pipeline.entity.required.contains(customer));
    pipeline.entity.required.iter().copied().chain(customer).chain(new.map(|(_, column)| column))
}

/// The first value of each known column, in one allocation: its length + 1 and its bytes, or 0 while there is none.
#[derive(Debug, Clone, Default, PartialEq)]
struct Known {
    complete: bool,
    values: Box<[u8]>,
}

impl Known {
    fn add(&mut self, pipeline: &Pipeline, line: &[Value<'_>]) {
        if self.complete || !self.has_news(pipeline, line) {
            return;
        }
        let mut values = Vec::with_capacity(48);
        let mut complete = true;
        let mut reader = Reader(&self.values);
        for column in known_columns(pipeline) {
            let before = read_known(&mut reader).ok().flatten();
            match before {
                Some(text) => put_known(&mut values, Some(text)),
                // A rule or a name has the whole text, which is short; others keep its beginning.
                None => {
                    let text = to_text(line[column]);
                    let is_named = pipeline.schema.columns[column].max_bytes.is_some();
                    put_known(&mut values, text.as_deref().map(|text| if is_named { text } else { cut(text) }));
                }
            }
            complete &= before.is_some() || !line[column].is_missing();
        }
        if *self.values != *values {
            self.values = values.into();
        }
        self.complete = complete;
    }

    /// Whether a line has the first value of a column. Before the first line nothing is written, not even that there are none.
    fn has_news(&self, pipeline: &Pipeline, line: &[Value<'_>]) -> bool {
        let mut reader = Reader(&self.values);
        let is_new = |column: usize| matches!(read_known(&mut reader), Ok(None)) && !line[column].is_missing();
        self.values.is_empty() || known_columns(pipeline).any(is_new)
    }

    fn texts<'a>(&'a self, pipeline: &Pipeline) -> Vec<Option<&'a str>> {
        let mut reader = Reader(&self.values);
        known_columns(pipeline).map(|_| read_known(&mut reader).ok().flatten()).collect()
    }

    fn check(&self, pipeline: &Pipeline) -> Result<(), Damaged> {
        let mut reader = Reader(&self.values);
        let mut complete = true;
        for _ in known_columns(pipeline) {
            complete &= read_known(&mut reader)?.is_some();
        }
        if complete == self.complete { reader.end() } else { Err(Damaged) }
    }
}

fn put_known(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        None => out.push(0),
        Some(text) => {
            put_unsigned(out, text.len() as u64 + 1);
            out.extend_from_slice(text.as_bytes());
        }
    }
}

fn read_known<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a str>, Damaged> {
    let length = reader.unsigned()?;
    if length == 0 {
        return Ok(None);
    }
    let (bytes, rest) = usize::try_from(length - 1).ok().and_then(|n| reader.0.split_at_checked(n)).ok_or(Damaged)?;
    reader.0 = rest;
    std::str::from_utf8(bytes).map(Some).map_err(|_| Damaged)
}

/// First and last offset of each run of lines. Most entities have one run: the others wait behind a pointer.
#[derive(Debug, Clone, PartialEq)]
struct Runs {
    last: (i64, i64),
    #[expect(clippy::box_collection, reason = "eight bytes instead of twenty-four, a million times")]
    earlier: Option<Box<Vec<(i64, i64)>>>,
}

impl Runs {
    fn add(&mut self, offset: i64) {
        // A message may hold several records.
        if self.last.1 == offset {
            return;
        }
        if self.last.1 + 1 == offset {
            self.last.1 = offset;
        } else {
            self.earlier.get_or_insert_default().push(self.last);
            self.last = (offset, offset);
        }
    }

    fn iter(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        self.earlier.iter().flat_map(|runs| runs.iter()).copied().chain([self.last])
    }

    /// The gap since the run before, then the run's length, each from the end of what came before.
    fn encode(&self, out: &mut Vec<u8>) {
        put_unsigned(out, self.earlier.as_ref().map_or(0, |runs| runs.len() as u64) + 1);
        let mut end = 0;
        for (first, last) in self.iter() {
            put_signed(out, first - end);
            put_unsigned(out, (last - first) as u64);
            end = last;
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let count = reader.count()?;
        let mut end = 0i64;
        let mut run = || {
            let first = end.checked_add(reader.signed()?).ok_or(Damaged)?;
            let length = i64::try_from(reader.unsigned()?).map_err(|_| Damaged)?;
            end = first.checked_add(length).ok_or(Damaged)?;
            Ok((first, end))
        };
        let mut runs = (0..count).map(|_| run()).collect::<Result<Vec<_>, Damaged>>()?;
        let last = runs.pop().ok_or(Damaged)?;
        Ok(Self { last, earlier: (!runs.is_empty()).then(|| Box::new(runs)) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shared::line::LineParser;

    use super::*;
    use crate::tests::keeping;

    fn pipeline() -> Pipeline {
        Pipeline::load("invoices").unwrap()
    }

    fn fold(pipeline: &Pipeline, entity: &mut OpenEntity, lines: &[(u8, i64)]) {
        let mut parser = LineParser::new(pipeline.schema.clone());
        for (kind, offset) in lines {
            let (customer, country) = [("", ""), ("123", ""), ("", "France"), ("456", "Spain")][usize::from(*kind % 4)];
            let record = format!("7,s,d,{kind},9/1/2010 9:22,{}.5,{customer},{country}", kind % 7);
            parser.parse(record.as_bytes(), |line| entity.add(pipeline, line, *offset * 3, *offset)).unwrap();
        }
    }

    proptest! {
        #[test]
        fn an_entity_that_was_written_down_goes_on_as_the_same(
            kinds in proptest::collection::vec((any::<u8>(), 1i64..4), 2..40), split in 1usize..39, keeps in any::<bool>()
        ) {
            let mut offset = 0;
            let lines: Vec<(u8, i64)> = kinds.into_iter().map(|(kind, ahead)| { offset += ahead; (kind, offset) }).collect();
            let split = split.min(lines.len() - 1);
            let pipeline = if keeps { keeping() } else { pipeline() };
            let mut whole = OpenEntity::new(&pipeline, lines[0].1 * 3, lines[0].1);
            fold(&pipeline, &mut whole, &lines[..split]);
            let mut written = Vec::new();
            whole.encode(&mut written);
            let mut again = OpenEntity::decode(&pipeline, &mut Reader(&written)).unwrap();
            prop_assert_eq!(again.first_offset(), lines[0].1);
            prop_assert_eq!(again.heap_bytes(), whole.heap_bytes());
            fold(&pipeline, &mut whole, &lines[split..]);
            fold(&pipeline, &mut again, &lines[split..]);
            prop_assert_eq!(again.close(&pipeline, "7", 0, false), whole.close(&pipeline, "7", 0, false));
        }

        #[test]
        fn no_bytes_make_decoding_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = OpenEntity::decode(&pipeline(), &mut Reader(&bytes));
            let _ = OpenEntity::decode(&keeping(), &mut Reader(&bytes));
        }
    }
}
