//! Dead letters: erroneous records and entities, and messages that their topics do not take, as messages to the erroneous
//! topic. None is larger than that topic takes.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};
use shared::pipeline::Pipeline;
use shared::reason::Reason;
use shared::time::format_timestamp;
use shared::verdict::EntitySummary;

use super::message::{Content, Message, Source, headers_of, record_bytes};

/// The reason of what its topic does not take.
const UNDELIVERABLE: &str = "undeliverable";

/// The longest key that a message says of what was not delivered.
const MAX_KEY_BYTES: usize = 256;

/// Bytes of the fields that say that something was cut off, and how long it was.
const CUT_BYTES: usize = 96;

/// Makes dead letters of one pipeline.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    pipeline: Arc<str>,
    topic: Arc<str>,
    /// The largest record that the topic takes.
    max_bytes: usize,
}

/// Why a message was not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The topic that does not take it.
    pub topic: Arc<str>,
    /// Why, in the broker's words or in ours.
    pub cause: String,
    /// The size of its record.
    pub bytes: usize,
}

/// What an entity has that breaks a rule.
#[derive(Debug)]
pub(super) struct ErroneousEntity {
    pub reasons: Vec<Reason>,
    pub summary: EntitySummary,
    pub known: Vec<(String, String)>,
    pub features: Map<String, Value>,
    pub source: Source,
}

impl DeadLetters {
    /// Dead letters of `pipeline` for a topic that takes records of so many bytes.
    pub fn new(pipeline: &Pipeline, max_bytes: usize) -> Self {
        Self { pipeline: pipeline.name.as_str().into(), topic: pipeline.erroneous_topic.as_str().into(), max_bytes }
    }

    /// A line that breaks rules, and its place among the records of its message, where that holds several.
    pub(super) fn line(&self, reasons: &[Reason], (source, item): (Source, Option<u32>), raw: &[u8]) -> Message {
        let mut value = json!({
            "pipeline": &*self.pipeline,
            "kind": "line",
            "reasons": reasons,
            "source": of_line(&source, item),
        });
        let room = self.room(None, &value, Some(&source));
        add_raw(&mut value, raw, room);
        self.message(None, value, Some(source))
    }

    /// A line that could not be copied to the topic in which it would meet the others of its entity.
    pub fn undeliverable_line(&self, (source, item): (Source, Option<u32>), raw: &[u8], refusal: &Refusal) -> Message {
        let mut value = self.refused("line", refusal);
        value["source"] = of_line(&source, item);
        let room = self.room(None, &value, Some(&source));
        add_raw(&mut value, raw, room);
        self.message(None, value, Some(source))
    }

    /// An entity that breaks rules.
    pub(super) fn entity(&self, entity: ErroneousEntity) -> Message {
        let ErroneousEntity { reasons, summary, known, features, source } = entity;
        let known: Map<String, Value> = known.into_iter().map(|(name, value)| (name, value.into())).collect();
        let mut value = json!({
            "pipeline": &*self.pipeline,
            "kind": "entity",
            "key": &*summary.key,
            "reasons": reasons,
            "lines": summary.lines,
            "known": known,
            "features": features,
            "first_timestamp": format_timestamp(summary.first_timestamp),
            "last_timestamp": format_timestamp(summary.last_timestamp),
            "source": place_of(&source),
        });
        if summary.closed_early {
            value["closed_early"] = true.into();
        }
        let room = self.room(Some(&summary.key), &value, Some(&source));
        add_offsets(&mut value["source"], &source, room);
        self.message(Some(summary.key.as_ref().to_owned()), value, Some(source))
    }

    /// Records of `topic` that were deleted before they were read: those from the first offset to the last.
    pub fn lost(&self, topic: &Arc<str>, partition: i32, (first, last): (i64, i64)) -> Message {
        let value = json!({
            "pipeline": &*self.pipeline,
            "kind": "lost",
            "reasons": [Reason::LostToRetention],
            "source": { "topic": &**topic, "partition": partition, "offsets": [[first, last]] },
        });
        self.message(None, value, Some(Source::in_topic(topic, partition, vec![(first, last)])))
    }

    /// A message that its topic does not take: where it was to go, why it did not, what it is about, and the message
    /// itself where there is room for it. Of an erroneous message only what it is about is left: the message itself is
    /// what did not fit. `None` for what only this program reads.
    pub fn undeliverable(&self, message: &Message, refusal: &Refusal) -> Option<Message> {
        let inner = match &message.content {
            Content::Report(_) | Content::ForNextHop { .. } => return None,
            Content::Verdict(verdict) => serde_json::to_value(verdict).ok(),
            Content::Entity(verdict) => serde_json::to_value(verdict).ok(),
            Content::Cancellations(value) => Some(value.clone()),
            Content::Erroneous(_) => None,
        };
        let mut value = self.refused(UNDELIVERABLE, refusal);
        let key = message.key.as_deref().map(|key| &key[..key.floor_char_boundary(MAX_KEY_BYTES)]);
        if let Some(key) = key {
            value["key"] = key.into();
        }
        if key.map(str::len) < message.key.as_deref().map(str::len) {
            value["key_truncated"] = true.into();
        }
        let source = message.source.as_ref();
        if let Some(of) = source {
            value["source"] = place_of(of);
            let room = self.room(key, &value, source);
            add_offsets(&mut value["source"], of, room);
        }
        let room = self.room(key, &value, source);
        if let Some(inner) = inner.filter(|inner| json_bytes(inner).saturating_add(CUT_BYTES) <= room) {
            value["message"] = inner;
        }
        Some(self.message(key.map(str::to_owned), value, message.source.clone()))
    }

    /// What is said of everything that was refused.
    fn refused(&self, kind: &str, refusal: &Refusal) -> Value {
        json!({
            "pipeline": &*self.pipeline,
            "kind": kind,
            "reasons": [UNDELIVERABLE],
            "topic": &*refusal.topic,
            "cause": refusal.cause,
            "bytes": refusal.bytes,
        })
    }

    fn message(&self, key: Option<String>, value: Value, source: Option<Source>) -> Message {
        Message { topic: self.topic.clone(), key, content: Content::Erroneous(value), source }
    }

    /// The bytes that may still be added to a message.
    fn room(&self, key: Option<&str>, value: &Value, source: Option<&Source>) -> usize {
        let record = record_bytes(key.map(str::as_bytes), json_bytes(value), &headers_of(value, source));
        self.max_bytes.saturating_sub(record)
    }
}

/// Adds the bytes as text where they are UTF-8, else in base64: either way they can be had back. What there is no room for
/// is cut off.
fn add_raw(value: &mut Value, raw: &[u8], room: usize) {
    let room = room.saturating_sub(CUT_BYTES);
    let kept = match std::str::from_utf8(raw) {
        Ok(text) => {
            let kept = text_within(text, room);
            value["raw"] = kept.into();
            kept.len()
        }
        Err(_) => {
            let kept = &raw[..raw.len().min(room / 4 * 3)];
            value["raw_base64"] = BASE64.encode(kept).into();
            kept.len()
        }
    };
    if kept < raw.len() {
        value["raw_bytes"] = raw.len().into();
        value["raw_truncated"] = true.into();
    }
}

/// Adds the runs of offsets, or of lines of a file, that there is room for, the first ones.
fn add_offsets(value: &mut Value, source: &Source, room: usize) {
    let mut room = room.saturating_sub(CUT_BYTES);
    let fits = |(first, last): &&(i64, i64)| {
        let bytes = format!("[{first},{last}],").len();
        room.checked_sub(bytes).map(|left| room = left).is_some()
    };
    let offsets = &source.offsets;
    let kept: Vec<(i64, i64)> = offsets.iter().take_while(fits).copied().collect();
    if kept.len() < offsets.len() {
        value[if source.is_file { "line_runs" } else { "offset_runs" }] = offsets.len().into();
        value[if source.is_file { "lines_truncated" } else { "offsets_truncated" }] = true.into();
    }
    value[runs_of(source)] = json!(kept);
}

/// Where several records are, without their offsets.
fn place_of(source: &Source) -> Value {
    if source.is_file {
        return json!({ "file": &*source.topic, "lines": [] });
    }
    json!({ "topic": &*source.topic, "partition": source.partition, "offsets": [] })
}

fn runs_of(source: &Source) -> &'static str {
    if source.is_file { "lines" } else { "offsets" }
}

/// Where one record is: that of a message or line that holds several has its place among them.
fn of_line(source: &Source, item: Option<u32>) -> Value {
    let mut place = if source.is_file {
        json!({ "file": &*source.topic, "line": source.first_offset() })
    } else {
        json!({ "topic": &*source.topic, "partition": source.partition, "offset": source.first_offset() })
    };
    if let Some(item) = item {
        place["item"] = item.into();
    }
    place
}

/// The bytes of a value as JSON.
fn json_bytes(value: &Value) -> usize {
    struct Count(usize);
    impl Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Counting cannot fail, and values have text keys.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

/// The longest beginning of a text that has at most so many bytes as JSON, where a control character has six.
fn text_within(text: &str, bytes: usize) -> &str {
    // No text grows more than that.
    if text.len() <= bytes / 6 {
        return text;
    }
    let mut left = bytes;
    let cut = text.char_indices().find(|(_, character)| {
        let written = match character {
            '"' | '\\' | '\u{8}' | '\t' | '\n' | '\u{c}' | '\r' => 2,
            control if *control < ' ' => 6,
            other => other.len_utf8(),
        };
        left.checked_sub(written).map(|rest| left = rest).is_none()
    });
    cut.map_or(text, |(at, _)| &text[..at])
}

/// What a dead letter says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Why, each as `code` or `code:Column`.
    pub reasons: Vec<String>,
    /// The record that it was made of; `None` where it is of an entity or of a message.
    pub record: Option<DeadRecord>,
}

/// A record as its dead letter has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadRecord {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its place among the records of its message, where that holds several.
    pub item: Option<u64>,
    /// All its bytes, or a message that holds it alone; `None` where some were cut off.
    pub bytes: Option<Vec<u8>>,
}

impl DeadLetter {
    /// Reads a dead letter of `pipeline`; `None` where it is something else.
    pub fn read(pipeline: &str, payload: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(payload).ok()?;
        let reasons = value["reasons"].as_array().filter(|_| value["pipeline"] == pipeline)?;
        let reasons = reasons.iter().filter_map(|reason| Some(reason.as_str()?.to_owned())).collect();
        Some(Self { reasons, record: DeadRecord::of(&value) })
    }

    /// Whether this is one of its reasons: with the column, or the code alone.
    pub fn has_reason(&self, asked: &str) -> bool {
        let is_it = |reason: &String| reason == asked || reason.split_once(':').is_some_and(|(code, _)| code == asked);
        self.reasons.iter().any(is_it)
    }
}

impl DeadRecord {
    fn of(value: &Value) -> Option<Self> {
        let source = &value["source"];
        let (topic, offset) = (source["topic"].as_str()?.to_owned(), source["offset"].as_i64()?);
        let partition = i32::try_from(source["partition"].as_i64()?).ok()?;
        let bytes = match (&value["raw"], &value["raw_base64"]) {
            _ if value["raw_truncated"] == true => None,
            (Value::String(text), _) => Some(text.as_bytes().to_vec()),
            (_, Value::String(text)) => BASE64.decode(text).ok(),
            _ => None,
        };
        Some(Self { topic, partition, offset, item: source["item"].as_u64(), bytes })
    }
}

impl fmt::Display for DeadRecord {
    /// Where it is: topic, partition, offset, and its place in the message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.topic, self.partition, self.offset)?;
        self.item.map_or(Ok(()), |item| write!(f, ":{item}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn letters(max_bytes: usize) -> DeadLetters {
        DeadLetters::new(&Pipeline::load("invoices").unwrap(), max_bytes)
    }

    fn source(offsets: Vec<(i64, i64)>) -> Source {
        Source::in_topic(&"purchases".into(), 2, offsets)
    }

    fn line(max_bytes: usize, raw: &[u8]) -> Message {
        let source = (source(vec![(17, 17)]), None);
        letters(max_bytes).line(&[Reason::NotANumber("UnitPrice".into())], source, raw)
    }

    fn entity(max_bytes: usize, key: &str, offsets: Vec<(i64, i64)>) -> Message {
        letters(max_bytes).entity(ErroneousEntity {
            reasons: vec![Reason::MissingRequired("Country".into())],
            summary: EntitySummary {
                key: key.into(),
                lines: 3,
                customer: None,
                first_timestamp: 0,
                last_timestamp: 1,
                closed_early: false,
                fields: Arc::default(),
            },
            known: Vec::new(),
            features: Map::new(),
            source: source(offsets),
        })
    }

    fn size(message: &Message) -> usize {
        record_bytes(message.key.as_deref().map(str::as_bytes), message.payload().len(), &message.headers())
    }

    fn value(message: &Message) -> Value {
        serde_json::from_slice(&message.payload()).unwrap()
    }

    #[test]
    fn an_erroneous_line_tells_why_and_where() {
        let message = line(10_000, b"1,2,3");
        insta::assert_snapshot!(
            String::from_utf8(message.payload()).unwrap(),
            @r#"{"pipeline":"invoices","kind":"line","reasons":["not_a_number:UnitPrice"],"source":{"topic":"purchases","partition":2,"offset":17},"raw":"1,2,3"}"#
        );
        let headers: Vec<String> =
            message.headers().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        insta::assert_snapshot!(headers.join("\n"), @r"
        __connect.errors.topic=purchases
        __connect.errors.partition=2
        __connect.errors.offset=17
        __streams.errors.topic=purchases
        __streams.errors.partition=2
        __streams.errors.offset=17
        __connect.errors.exception.message=not_a_number:UnitPrice
        __streams.errors.message=not_a_number:UnitPrice
        ");
    }

    #[test]
    fn what_is_cut_off_is_said() {
        let without_raw = size(&line(usize::MAX, b"")) - r#","raw":"""#.len();
        let value = value(&line(without_raw + CUT_BYTES + 3, b"abcdef"));
        let cut = (&value["raw"], &value["raw_bytes"], &value["raw_truncated"]);
        assert_eq!(cut, (&json!("abc"), &json!(6), &json!(true)));
    }

    #[test]
    fn a_verdict_that_was_refused_is_kept_where_there_is_room() {
        let refusal = Refusal { topic: "anomalies".into(), cause: "Message size too large".into(), bytes: 700 };
        let key = "k".repeat(300);
        let message = Message {
            topic: "anomalies".into(),
            key: Some(key.clone()),
            content: Content::Cancellations(json!({ "cancellations": 3 })),
            source: Some(source(vec![(1, 2), (5, 5)])),
        };
        let letter = letters(10_000).undeliverable(&message, &refusal).unwrap();
        insta::assert_snapshot!(
            String::from_utf8(letter.payload()).unwrap().replace(&"k".repeat(256), "<key>"),
            @r#"{"pipeline":"invoices","kind":"undeliverable","reasons":["undeliverable"],"topic":"anomalies","cause":"Message size too large","bytes":700,"key":"<key>","key_truncated":true,"source":{"topic":"purchases","partition":2,"offsets":[[1,2],[5,5]]},"message":{"cancellations":3}}"#
        );
        let small = letters(size(&letter) - 30).undeliverable(&message, &refusal).unwrap();
        assert_eq!(value(&small)["message"], Value::Null);
        // What has been refused as an erroneous message is not put into another one.
        let again = letters(10_000).undeliverable(&letter, &refusal).unwrap();
        assert_eq!(value(&again)["message"], Value::Null);
    }

    #[test]
    fn a_dead_letter_of_a_line_gives_its_record_back() {
        let read = |message: &Message| DeadLetter::read("invoices", &message.payload());
        let record = |message: &Message| read(message).unwrap().record;
        let found = read(&line(10_000, b"a\x00b")).unwrap();
        assert_eq!((found.has_reason("not_a_number"), found.has_reason("not_a_number:UnitPrice")), (true, true));
        assert!(!found.has_reason("UnitPrice") && !found.has_reason("late_line"));
        let whole = |bytes: &[u8]| {
            let (topic, bytes) = ("purchases".to_owned(), Some(bytes.to_vec()));
            Some(DeadRecord { topic, partition: 2, offset: 17, item: None, bytes })
        };
        assert_eq!(found.record, whole(b"a\0b"));
        assert_eq!(record(&line(10_000, b"\xFF")), whole(b"\xFF"));
        assert_eq!(record(&line(800, &[b'a'; 1000])).unwrap().bytes, None, "it was cut off");
        assert_eq!(record(&entity(10_000, "k", vec![(1, 1)])), None);
        let third = letters(10_000).line(&[Reason::LateLine], (source(vec![(17, 17)]), Some(2)), b"[3]");
        assert_eq!(record(&third).unwrap().to_string(), "purchases:2:17:2");
        let refusal = Refusal { topic: "copies".into(), cause: "Invalid timestamp".into(), bytes: 700 };
        let copy = letters(10_000).undeliverable_line((source(vec![(17, 17)]), None), b"1,2", &refusal);
        assert_eq!(record(&copy), whole(b"1,2"));
        assert_eq!(DeadLetter::read("transactions", &line(10_000, b"a").payload()), None);
        assert_eq!(DeadLetter::read("invoices", b"somebody else's"), None);
    }

    proptest! {
        /// Whatever the bytes, text or not, the record fits, and what is not cut off can be had back.
        #[test]
        fn a_line_fits_and_can_be_had_back(
            raw in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..3000),
                "[\\x00-\\x1f\"\\\\é-]{0,3000}".prop_map(String::into_bytes),
            ],
            max_bytes in 700usize..12_000,
        ) {
            let message = line(max_bytes, &raw);
            prop_assert!(size(&message) <= max_bytes, "{} > {max_bytes}", size(&message));
            let value = value(&message);
            let back = match value["raw"].as_str() {
                Some(text) => text.as_bytes().to_vec(),
                None => BASE64.decode(value["raw_base64"].as_str().unwrap()).unwrap(),
            };
            prop_assert!(raw.starts_with(&back));
            prop_assert_eq!(back.len() < raw.len(), value["raw_truncated"] == true);
            // Nothing is cut off without need.
            prop_assert!(back.len() == raw.len() || size(&message) + CUT_BYTES + 8 > max_bytes);
        }

        #[test]
        fn an_entity_fits_however_many_runs_it_has(
            offsets in proptest::collection::vec((any::<i64>(), any::<i64>()), 1..400), max_bytes in 900usize..20_000,
        ) {
            let message = entity(max_bytes, "536365", offsets.clone());
            prop_assert!(size(&message) <= max_bytes, "{} > {max_bytes}", size(&message));
            let source = &value(&message)["source"];
            let kept: Vec<(i64, i64)> = serde_json::from_value(source["offsets"].clone()).unwrap();
            prop_assert!(offsets.starts_with(&kept));
            let runs = source["offset_runs"].as_u64().unwrap_or(kept.len() as u64);
            prop_assert_eq!(runs, offsets.len() as u64);
            prop_assert_eq!(kept.len() < offsets.len(), source["offsets_truncated"] == true);
        }
    }
}
