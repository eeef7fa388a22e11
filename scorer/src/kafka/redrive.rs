//! Erroneous records, sent to the input again after their cause was mended.
//!
//! Each is sent once: what was sent is noted in a topic of the group's own, in the same transaction. The next run reads
//! that topic first. Two runs at a time do not send twice either: the second one ends the first, which has the same
//! transactional id, before it reads.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{NewTopic, TopicReplication};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::Message as _;
use rdkafka::producer::Producer as _;
use shared::line::LineParser;
use shared::pipeline::Pipeline;
use shared::time::Timestamp;

use super::client::blocking::blocking;
use super::client::error::KafkaError;
use super::client::producer::{ProduceRecord, Producer};
use super::client::settings::KafkaSettings;
use super::look::Look;
use super::repartition::place::place_key;
use super::schemas::SchemaSource;
use super::stages::commit::limit_batches;
use super::topics::admin::{TopicSettings, create_on_broker, existing_topics, partitions_of};
use super::topics::limits::RecordLimits;
use super::topics::names::redriven_topic;
use crate::messages::{DeadLetter, DeadRecord, record_bytes};

const DOING: &str = "sending erroneous records again";

const TIMEOUT: Duration = Duration::from_secs(30);

/// What a transaction holds at most: it has to be over within half a minute.
const MOST_RECORDS: usize = 1_000;
const MOST_BYTES: usize = 8 << 20;

/// The header that names the record's first place: topic, partition and offset.
const REDRIVEN_FROM: &str = "redriven.from";

/// Which erroneous records are sent again.
#[derive(Debug, Clone)]
pub struct Redrive {
    /// Whose input and erroneous topics.
    pub pipeline: Arc<Pipeline>,
    /// Whose memory of what was sent before.
    pub group: String,
    /// Only those with this reason: `code` or `code:Column`.
    pub reason: Option<String>,
    /// Only those that were published at this time or later.
    pub since: Option<Timestamp>,
    /// How the topic of that memory is created, or `None` when it must be there.
    pub create: Option<TopicSettings>,
}

/// What became of the erroneous records that were asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Redriven {
    /// Sent now.
    pub sent: u64,
    /// Sent before, or told of twice.
    pub sent_before: u64,
    /// Some of their bytes were cut off.
    pub truncated: u64,
    /// Larger than the input takes by now.
    pub too_large: u64,
    /// Not of one record: of an invoice, or of a message that could not be delivered.
    pub not_of_a_record: u64,
}

/// Sends erroneous records of a pipeline to its input, each once.
///
/// # Errors
/// [`KafkaError`] when no broker answers, a topic is missing, or Kafka refuses: then what was sent is remembered, and the
/// rest can be sent by another run.
pub async fn redrive(settings: &KafkaSettings, redrive: Redrive) -> Result<Redriven, KafkaError> {
    let memory = redriven_topic(&redrive.pipeline, &redrive.group);
    ensure_memory(settings, &memory, redrive.create).await?;
    let limits = RecordLimits::ask(settings, vec![redrive.pipeline.topic.clone(), memory.clone()]).await?;
    let partitions = partitions_of(settings, &redrive.pipeline.topic).await?;
    let settings = settings.clone();
    blocking(DOING, move || Redriving::start(&settings, redrive, memory, partitions, &limits)?.run(&settings)).await
}

/// The memory is compacted: it is never too old.
async fn ensure_memory(settings: &KafkaSettings, name: &str, create: Option<TopicSettings>) -> Result<(), KafkaError> {
    if existing_topics(settings).await?.iter().any(|(topic, _)| topic == name) {
        return Ok(());
    }
    let create_as = create.ok_or_else(|| KafkaError::MissingTopic(name.to_owned()))?;
    let replication = TopicReplication::Fixed(create_as.replication_factor);
    create_on_broker(settings, &[NewTopic::new(name, 1, replication).set("cleanup.policy", "compact")]).await
}

/// A run.
struct Redriving {
    redrive: Redrive,
    memory: String,
    producer: Producer,
    parser: LineParser,
    schemas: SchemaSource,
    /// How many partitions the input has.
    partitions: i32,
    /// The largest record that the input takes.
    max_bytes: usize,
    /// The sources of the records that were sent.
    known: HashSet<String>,
    open: Open,
    result: Redriven,
}

/// What the transaction under way holds.
#[derive(Debug, Default)]
struct Open {
    records: usize,
    bytes: usize,
}

impl Redriving {
    /// Ends whatever run is under way, and reads what was sent before.
    fn start(
        settings: &KafkaSettings,
        redrive: Redrive,
        memory: String,
        partitions: i32,
        limits: &RecordLimits,
    ) -> Result<Self, KafkaError> {
        let mut config = settings.transactional_producer(&memory);
        limit_batches(&mut config, settings, limits.smallest());
        let producer = Producer::create(&config, Vec::new())?;
        producer.client.init_transactions(TIMEOUT).map_err(KafkaError::failed(DOING))?;
        let mut known = HashSet::new();
        Look::new(settings, &memory, None)?.read(|message| {
            known.insert(String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned());
            Ok(())
        })?;
        let (parser, max_bytes) =
            (LineParser::new(redrive.pipeline.schema.clone()), limits.of(&redrive.pipeline.topic));
        let schemas = SchemaSource::new(&redrive.pipeline)?;
        let (open, result) = (Open::default(), Redriven::default());
        Ok(Self { redrive, memory, producer, parser, schemas, partitions, max_bytes, known, open, result })
    }

    fn run(mut self, settings: &KafkaSettings) -> Result<Redriven, KafkaError> {
        let look = Look::new(settings, &self.redrive.pipeline.erroneous_topic, self.redrive.since)?;
        look.read(|message| {
            match DeadLetter::read(&self.redrive.pipeline.name, message.payload().unwrap_or_default()) {
                Some(letter) => self.take(letter),
                None => Ok(()),
            }
        })?;
        self.commit()?;
        Ok(self.result)
    }

    fn take(&mut self, letter: DeadLetter) -> Result<(), KafkaError> {
        if self.redrive.reason.as_ref().is_some_and(|asked| !letter.has_reason(asked)) {
            return Ok(());
        }
        let Some(record) = letter.record else {
            self.result.not_of_a_record += 1;
            return Ok(());
        };
        let source = record.to_string();
        let DeadRecord { topic, partition, bytes, .. } = record;
        if self.known.contains(&source) {
            self.result.sent_before += 1;
            return Ok(());
        }
        let Some(payload) = bytes else {
            self.result.truncated += 1;
            return Ok(());
        };
        // Where it was first, whatever partitioned it: the other lines of its entity are there.
        let is_there = topic == self.redrive.pipeline.topic && (0..self.partitions).contains(&partition);
        self.send(source, is_there.then_some(partition), &payload)
    }

    /// Sends a record and notes that it was sent, in one transaction.
    fn send(&mut self, source: String, partition: Option<i32>, payload: &[u8]) -> Result<(), KafkaError> {
        let pipeline = &self.redrive.pipeline;
        self.schemas.wait_for(payload, None)?;
        let key = place_key(&mut self.parser, pipeline, (payload, None));
        let key = key.as_deref().map(str::as_bytes);
        let headers = vec![(REDRIVEN_FROM, source.clone())];
        let bytes = record_bytes(key, payload.len(), &headers);
        if bytes > self.max_bytes {
            self.result.too_large += 1;
            return Ok(());
        }
        if self.open.records == 0 {
            self.producer.client.begin_transaction().map_err(KafkaError::failed(DOING))?;
        }
        let payload = Some(Cow::Borrowed(payload));
        let record =
            ProduceRecord { partition, key, payload, more_headers: headers, ..ProduceRecord::to(&pipeline.topic) };
        let note = ProduceRecord {
            key: Some(source.as_bytes()),
            payload: Some(Cow::Borrowed(b"sent")),
            ..ProduceRecord::to(&self.memory)
        };
        for record in [record, note] {
            let topic = record.topic;
            let failed = |error: ClientError| not_delivered(topic, &error);
            self.producer.queue(record).map_err(failed)?;
        }
        self.known.insert(source);
        self.open.records += 1;
        self.open.bytes += bytes;
        if self.open.records >= MOST_RECORDS || self.open.bytes >= MOST_BYTES { self.commit() } else { Ok(()) }
    }

    /// Commits what was sent since the last time. A transaction that fails is aborted by the next run, or by the broker.
    fn commit(&mut self) -> Result<(), KafkaError> {
        let Open { records, .. } = std::mem::take(&mut self.open);
        if records > 0 {
            self.producer.flush()?;
            self.producer.client.commit_transaction(TIMEOUT).map_err(KafkaError::failed(DOING))?;
            self.result.sent += records as u64;
        }
        Ok(())
    }
}

fn not_delivered(topic: &str, error: &ClientError) -> KafkaError {
    KafkaError::NotDelivered { topic: topic.to_owned(), cause: error.to_string() }
}
