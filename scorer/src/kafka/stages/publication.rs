//! What a batch publishes, and what becomes of the records that their topics do not take: a dead letter each; where the
//! erroneous topic does not take that either, nothing but a count.

use std::borrow::Cow;
use std::sync::Arc;

use rdkafka::error::RDKafkaErrorCode;
use shared::time::format_timestamp;

use crate::clock::now_since_epoch;
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::producer::{ProduceRecord, RefusedRecord};
use crate::kafka::topics::limits::RecordLimits;
use crate::messages::{DeadLetters, Message, Refusal, record_bytes};

/// What can be published, or else be told of in a dead letter.
pub(crate) trait Outgoing {
    /// The record.
    fn record(&self) -> ProduceRecord<'_>;

    /// What tells that its topic does not take it. `None` where a batch is of no use without it.
    fn dead_letter(&self, letters: &DeadLetters, refusal: &Refusal) -> Option<Message>;
}

/// A message with its bytes.
#[derive(Debug)]
pub(crate) struct EncodedMessage {
    pub message: Message,
    payload: Vec<u8>,
    /// Those of the message, and the present, of a verdict.
    headers: Vec<(&'static str, String)>,
}

impl EncodedMessage {
    pub(crate) fn new(message: Message) -> Self {
        Self::by(&mut Vec::new(), message)
    }

    /// By way of a buffer that many messages use one after the other.
    pub(crate) fn by(buffer: &mut Vec<u8>, message: Message) -> Self {
        let mut headers = message.headers();
        let scored_at = || ("scored_at", format_timestamp(now_since_epoch()));
        headers.extend(message.has_time_of_scoring().then(scored_at));
        Self { payload: message.payload_by(buffer), message, headers }
    }
}

impl Outgoing for EncodedMessage {
    fn record(&self) -> ProduceRecord<'_> {
        ProduceRecord {
            partition: self.message.content.partition(),
            key: self.message.key.as_deref().map(str::as_bytes),
            payload: Some(Cow::Borrowed(&self.payload)),
            more_headers: Cow::Borrowed(&self.headers),
            ..ProduceRecord::to(&self.message.topic)
        }
    }

    fn dead_letter(&self, letters: &DeadLetters, refusal: &Refusal) -> Option<Message> {
        letters.undeliverable(&self.message, refusal)
    }
}

/// The records of a batch that are for others to read, as far as their topics take them.
#[derive(Debug)]
pub(crate) struct Publication<'a, T> {
    entries: Vec<Entry<T>>,
    letters: &'a DeadLetters,
    limits: &'a RecordLimits,
    /// What was refused last.
    last: Option<Refusal>,
}

#[derive(Debug)]
enum Entry<T> {
    Whole(T),
    DeadLetter(Box<EncodedMessage>),
    Skipped,
}

/// How many records were not published as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Undelivered {
    /// Told of in a dead letter.
    pub dead_letters: u64,
    /// Not even that.
    pub skipped: u64,
}

impl<'a, T: Outgoing> Publication<'a, T> {
    /// Nothing yet.
    pub(crate) fn empty(letters: &'a DeadLetters, limits: &'a RecordLimits) -> Self {
        Self { entries: Vec::new(), letters, limits, last: None }
    }

    /// Everything that its topics take by what is known of them, and dead letters of the rest.
    ///
    /// # Errors
    /// As [`Publication::refuse`].
    pub(crate) fn new(
        records: impl IntoIterator<Item = T>,
        letters: &'a DeadLetters,
        limits: &'a RecordLimits,
    ) -> Result<Self, KafkaError> {
        let mut publication = Self::empty(letters, limits);
        publication.extend(records)?;
        Ok(publication)
    }

    /// Adds records; tags of those before stay as they are.
    ///
    /// # Errors
    /// As [`Publication::refuse`].
    pub(crate) fn extend(&mut self, records: impl IntoIterator<Item = T>) -> Result<(), KafkaError> {
        let before = self.entries.len();
        self.entries.extend(records.into_iter().map(Entry::Whole));
        self.refuse_larger(before)
    }

    /// How many records there are, with those that are skipped.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The records that are left, each with its tag.
    pub(crate) fn records(&self) -> impl Iterator<Item = ProduceRecord<'_>> {
        self.records_from(0)
    }

    /// Those whose tags are not below `first`.
    pub(crate) fn records_from(&self, first: usize) -> impl Iterator<Item = ProduceRecord<'_>> {
        let entries = self.entries.iter().enumerate().skip(first);
        entries.filter_map(|(tag, entry)| Some(ProduceRecord { tag, ..entry.record()? }))
    }

    /// The record with this tag.
    pub(crate) fn record(&self, tag: usize) -> Option<ProduceRecord<'_>> {
        Some(ProduceRecord { tag, ..self.entries.get(tag)?.record()? })
    }

    /// Takes out what topics have refused, and what is as large as that.
    ///
    /// # Errors
    /// [`KafkaError::NotDelivered`] for a record that the batch is of no use without.
    pub(crate) fn refuse(&mut self, refused: &[RefusedRecord]) -> Result<(), KafkaError> {
        self.refuse_these(refused)?;
        self.refuse_larger(0)
    }

    /// Takes out what topics have refused.
    ///
    /// # Errors
    /// As [`Publication::refuse`].
    pub(crate) fn refuse_these(&mut self, refused: &[RefusedRecord]) -> Result<(), KafkaError> {
        for RefusedRecord { tag, topic, code } in refused {
            let Some(bytes) = self.record(*tag).map(|record| size(&record)) else {
                return Err(KafkaError::NotDelivered { topic: topic.clone(), cause: code.to_string() });
            };
            if is_of_size(*code) {
                // Others of that size need not be tried one after the other.
                self.limits.learn(topic, bytes);
            }
            self.replace(*tag, Refusal { topic: topic.as_str().into(), cause: code.to_string(), bytes })?;
        }
        Ok(())
    }

    /// Takes out what is larger than its topic takes, from this tag on.
    fn refuse_larger(&mut self, first: usize) -> Result<(), KafkaError> {
        for tag in first..self.entries.len() {
            // What it is replaced by may be too large as well.
            while let Some(refusal) = self.record(tag).and_then(|record| too_large(&record, self.limits)) {
                self.limits.ask_again();
                self.replace(tag, refusal)?;
            }
        }
        Ok(())
    }

    fn replace(&mut self, tag: usize, refusal: Refusal) -> Result<(), KafkaError> {
        let entry = match &self.entries[tag] {
            Entry::Whole(whole) => match whole.dead_letter(self.letters, &refusal) {
                Some(letter) => Entry::DeadLetter(Box::new(EncodedMessage::new(letter))),
                None => {
                    let Refusal { topic, cause, .. } = refusal;
                    return Err(KafkaError::NotDelivered { topic: topic.to_string(), cause });
                }
            },
            Entry::DeadLetter(_) | Entry::Skipped => Entry::Skipped,
        };
        self.entries[tag] = entry;
        self.last = Some(refusal);
        Ok(())
    }

    /// How many records were not published as they are.
    pub(crate) fn undelivered(&self) -> Undelivered {
        let mut undelivered = Undelivered::default();
        for entry in &self.entries {
            match entry {
                Entry::Whole(_) => {}
                Entry::DeadLetter(_) => undelivered.dead_letters += 1,
                Entry::Skipped => undelivered.skipped += 1,
            }
        }
        undelivered
    }

    /// Says what was not published as it is, if anything.
    pub(crate) fn warn(&self) {
        let (Undelivered { dead_letters, skipped }, Some(refusal)) = (self.undelivered(), &self.last) else { return };
        let Refusal { topic, cause, bytes } = refusal;
        tracing::warn!(
            dead_letters,
            skipped,
            topic = &**topic,
            cause,
            bytes,
            "messages were not accepted by their topics; each is told of in the erroneous topic, or skipped where that \
             does not accept it either"
        );
    }
}

impl Publication<'_, EncodedMessage> {
    /// The messages that are left.
    pub(crate) fn messages(&self) -> impl Iterator<Item = &Message> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Whole(encoded) => Some(&encoded.message),
            Entry::DeadLetter(letter) => Some(&letter.message),
            Entry::Skipped => None,
        })
    }
}

impl<T: Outgoing> Entry<T> {
    fn record(&self) -> Option<ProduceRecord<'_>> {
        match self {
            Self::Whole(whole) => Some(whole.record()),
            Self::DeadLetter(letter) => Some(letter.record()),
            Self::Skipped => None,
        }
    }
}

fn is_of_size(code: RDKafkaErrorCode) -> bool {
    matches!(code, RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::MessageBatchTooLarge)
}

/// The size of a record, as its topic counts it.
fn size(record: &ProduceRecord<'_>) -> usize {
    let source = record.source.map_or(0, |_| SOURCE_HEADER_BYTES);
    let header = record.header.map_or(0, |(name, value)| HEADER_OVERHEAD + name.len() + value.len());
    let payload = record.payload.as_deref().map_or(0, <[u8]>::len);
    record_bytes(record.key, payload, &record.more_headers).saturating_add(source + header)
}

/// Bytes of a header beside its name and value, and of the one that names a copy's original: at most.
const HEADER_OVERHEAD: usize = 10;
const SOURCE_HEADER_BYTES: usize = 64;

fn too_large(record: &ProduceRecord<'_>, limits: &RecordLimits) -> Option<Refusal> {
    let (bytes, most) = (size(record), limits.of(record.topic));
    let cause = || format!("the record has {bytes} bytes, and the topic takes {most} (max.message.bytes)");
    (bytes > most).then(|| Refusal { topic: Arc::from(record.topic), cause: cause(), bytes })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use shared::pipeline::Pipeline;

    use super::*;
    use crate::core::Report;
    use crate::kafka::client::producer::NO_TAG;
    use crate::messages::Content;

    fn letters(max_bytes: usize) -> DeadLetters {
        DeadLetters::new(&Pipeline::load("invoices").unwrap(), max_bytes)
    }

    fn message(text: &str) -> EncodedMessage {
        let content = Content::Cancellations(json!({ "text": text }));
        EncodedMessage::new(Message { topic: "out".into(), key: Some("k".to_owned()), content, source: None })
    }

    fn refused(tag: usize, code: RDKafkaErrorCode) -> RefusedRecord {
        RefusedRecord { tag, topic: "out".to_owned(), code }
    }

    fn topics(publication: &Publication<'_, EncodedMessage>) -> Vec<(usize, String)> {
        publication.records().map(|record| (record.tag, record.topic.to_owned())).collect()
    }

    fn expected(topics: &[(usize, &str)]) -> Vec<(usize, String)> {
        topics.iter().map(|(tag, topic)| (*tag, (*topic).to_owned())).collect()
    }

    #[test]
    fn what_is_refused_becomes_a_dead_letter_and_then_nothing() {
        let (letters, limits) = (letters(1 << 20), RecordLimits::same(1 << 20));
        let messages = ["a", "b", "c"].map(message);
        let mut publication = Publication::new(messages, &letters, &limits).unwrap();
        assert_eq!(topics(&publication), expected(&[(0, "out"), (1, "out"), (2, "out")]));
        publication.refuse(&[refused(1, RDKafkaErrorCode::InvalidRecord)]).unwrap();
        assert_eq!(topics(&publication), expected(&[(0, "out"), (1, "facturas_erroneas"), (2, "out")]));
        assert_eq!(publication.undelivered(), Undelivered { dead_letters: 1, skipped: 0 });
        publication.refuse(&[refused(1, RDKafkaErrorCode::InvalidRecord)]).unwrap();
        assert_eq!(topics(&publication), expected(&[(0, "out"), (2, "out")]));
        assert_eq!(publication.undelivered(), Undelivered { dead_letters: 0, skipped: 1 });
        assert_eq!(publication.messages().count(), 2);
    }

    #[test]
    fn what_is_as_large_as_something_that_was_refused_is_not_tried() {
        let (letters, limits) = (letters(1 << 20), RecordLimits::same(1 << 20));
        let long = "x".repeat(500);
        let messages = ["a", long.as_str(), long.as_str(), "b"].map(message);
        let mut publication = Publication::new(messages, &letters, &limits).unwrap();
        publication.refuse(&[refused(2, RDKafkaErrorCode::MessageSizeTooLarge)]).unwrap();
        let erroneous = "facturas_erroneas";
        assert_eq!(topics(&publication), expected(&[(0, "out"), (1, erroneous), (2, erroneous), (3, "out")]));
        // A batch after it knows from the start.
        let later = Publication::new([message(&long)], &letters, &limits).unwrap();
        assert_eq!(topics(&later), expected(&[(0, erroneous)]));
    }

    #[test]
    fn what_comes_later_has_tags_of_its_own() {
        let (letters, limits) = (letters(1 << 20), RecordLimits::same(1 << 20));
        let mut publication = Publication::new(["a", "b"].map(message), &letters, &limits).unwrap();
        publication.refuse(&[refused(0, RDKafkaErrorCode::InvalidRecord)]).unwrap();
        limits.learn("out", 400);
        publication.extend([message("c"), message(&"x".repeat(500)), message("d")]).unwrap();
        let erroneous = "facturas_erroneas";
        let all = expected(&[(0, erroneous), (1, "out"), (2, "out"), (3, erroneous), (4, "out")]);
        assert_eq!((topics(&publication), publication.len()), (all, 5));
        assert_eq!(publication.records_from(2).map(|record| record.tag).collect::<Vec<_>>(), [2, 3, 4]);
    }

    #[test]
    fn a_dead_letter_that_is_too_large_is_skipped() {
        let (letters, limits) = (letters(100), RecordLimits::same(100));
        let publication = Publication::new([message(&"x".repeat(500))], &letters, &limits).unwrap();
        assert_eq!(publication.undelivered(), Undelivered { dead_letters: 0, skipped: 1 });
        assert_eq!(publication.records().count(), 0);
    }

    #[test]
    fn a_record_of_the_state_and_a_report_cannot_be_left_out() {
        let (letters, limits) = (letters(1 << 20), RecordLimits::same(1 << 20));
        let report = Report { partition: 0, watermark: None, idle_since: None, idle_for: None, panes: Vec::new() };
        let content = Content::Report(report);
        let report = EncodedMessage::new(Message { topic: "reports".into(), key: None, content, source: None });
        let mut publication = Publication::new([report], &letters, &limits).unwrap();
        for tag in [0, NO_TAG] {
            let error = publication.refuse(&[refused(tag, RDKafkaErrorCode::InvalidRecord)]).unwrap_err();
            assert!(matches!(error, KafkaError::NotDelivered { topic, .. } if topic == "out" || topic == "reports"));
        }
    }
}
