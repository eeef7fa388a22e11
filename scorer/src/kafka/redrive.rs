//! Erroneous records, sent to the input again after their cause was mended.
//!
//! Each is sent once: what was sent is noted in a topic of the group's own, in the same transaction. The next run reads
//! that topic first. Two runs at a time do not send twice either: the second one ends the first, which has the same
//! transactional id, before it reads. A dry run sends nothing and ends nobody; it looks at the same records by the same rules.

mod known;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::admin::{NewTopic, TopicReplication};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::message::Message as _;
use rdkafka::producer::Producer as _;
use shared::line::LineParser;
use shared::pipeline::Pipeline;
use shared::time::Timestamp;
use tokio::runtime::Handle;

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
use known::Known;

const DOING: &str = "sending erroneous records again";

const TIMEOUT: Duration = Duration::from_secs(30);

/// What a transaction holds at most: it has to be over within half a minute.
const MOST_RECORDS: usize = 1_000;
const MOST_BYTES: usize = 8 << 20;

/// The header that names the record's first place: topic, partition and offset.
const REDRIVEN_FROM: &str = "redriven.from";

/// The header of a note that says who sent the record.
const BY: &str = "by";

/// Which erroneous records are meant. Those that fit all of it are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Which {
    /// Those with this reason: `code` or `code:Column`.
    pub reason: Option<String>,
    /// Those that were published at this time or later.
    pub since: Option<Timestamp>,
    /// Those that were published at this time or earlier.
    pub until: Option<Timestamp>,
    /// The record that was at this place first: `topic:partition:offset`, and its place in the message if that holds several.
    pub record: Option<String>,
}

/// Which erroneous records are sent again, and how.
#[derive(Debug, Clone)]
pub struct Redrive {
    /// Whose input and erroneous topics.
    pub pipeline: Arc<Pipeline>,
    /// Whose memory of what was sent before.
    pub group: String,
    /// Which of them.
    pub which: Which,
    /// Whether nothing is sent, and only what would be is counted.
    pub is_dry: bool,
    /// Who wants it, where that is known: noted with each record.
    pub by: Option<String>,
    /// How many records that were sent before may be remembered.
    pub most_known: usize,
    /// How the topic of that memory is created, or `None` when it must be there.
    pub create: Option<TopicSettings>,
}

/// What became of the erroneous records that were asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Redriven {
    /// Sent now; of a dry run, those that would be.
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

impl Redrive {
    /// The most bytes that it takes while it is under way, about.
    pub const fn memory(most_known: usize) -> usize {
        // A transaction is in the client's queue and on its way; the reader's queue has as much.
        most_known * known::BYTES + 3 * MOST_BYTES
    }

    /// Sends erroneous records of a pipeline to its input, each once, or counts what would be sent.
    ///
    /// # Errors
    /// [`KafkaError`] when no broker answers, a topic is missing, or Kafka refuses: then what was sent is remembered, and the
    /// rest can be sent by another run.
    pub async fn run(self, settings: &KafkaSettings) -> Result<Redriven, KafkaError> {
        let (ground, settings) = (Ground::look(settings, &self).await?, settings.clone());
        blocking(DOING, move || Redriving::start(&settings, self, ground)?.run(&settings)).await
    }

    /// The same, all of it on this thread, which may block and is none of the runtime's.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_here(self, settings: &KafkaSettings, runtime: &Handle) -> Result<Redriven, KafkaError> {
        let ground = runtime.block_on(Ground::look(settings, &self))?;
        Redriving::start(settings, self, ground)?.run(settings)
    }
}

impl Which {
    /// Whether a dead letter that was published at this moment is meant.
    fn takes(&self, letter: &DeadLetter, at: Option<Timestamp>) -> bool {
        let is_late = self.until.is_some_and(|until| at.is_some_and(|at| at > until));
        let has_reason = self.reason.as_ref().is_none_or(|asked| letter.has_reason(asked));
        let is_it = |asked: &String| letter.record.as_ref().is_some_and(|record| record.to_string() == *asked);
        !is_late && has_reason && self.record.as_ref().is_none_or(is_it)
    }
}

/// What a run stands on.
struct Ground {
    /// The topic that remembers what was sent.
    memory: String,
    /// Whether it is there.
    has_memory: bool,
    limits: RecordLimits,
    /// How many partitions the input has.
    partitions: i32,
}

impl Ground {
    async fn look(settings: &KafkaSettings, redrive: &Redrive) -> Result<Self, KafkaError> {
        let input = &redrive.pipeline.topic;
        let memory = redriven_topic(&redrive.pipeline, &redrive.group);
        let has_memory = existing_topics(settings).await?.iter().any(|(topic, _)| *topic == memory);
        if !redrive.is_dry && !has_memory {
            create_memory(settings, &memory, redrive.create).await?;
        }
        let has_memory = has_memory || !redrive.is_dry;
        let written = std::iter::once(input).chain(has_memory.then_some(&memory)).cloned().collect();
        let limits = RecordLimits::ask(settings, written).await?;
        let partitions = partitions_of(settings, input).await?;
        Ok(Self { memory, has_memory, limits, partitions })
    }
}

/// The memory is compacted: it is never too old.
async fn create_memory(settings: &KafkaSettings, name: &str, create: Option<TopicSettings>) -> Result<(), KafkaError> {
    let create_as = create.ok_or_else(|| KafkaError::MissingTopic(name.to_owned()))?;
    let replication = TopicReplication::Fixed(create_as.replication_factor);
    create_on_broker(settings, &[NewTopic::new(name, 1, replication).set("cleanup.policy", "compact")]).await
}

/// A run.
struct Redriving {
    redrive: Redrive,
    /// `None` in a dry run.
    sending: Option<Sending>,
    parser: LineParser,
    schemas: SchemaSource,
    partitions: i32,
    /// The largest record that the input takes.
    max_bytes: usize,
    /// The records that were sent.
    known: Known,
    result: Redriven,
}

impl Redriving {
    /// Ends whatever run is under way, unless this one is dry, and reads what was sent before.
    fn start(settings: &KafkaSettings, redrive: Redrive, ground: Ground) -> Result<Self, KafkaError> {
        let Ground { memory, has_memory, limits, partitions } = ground;
        let sending =
            if redrive.is_dry { None } else { Some(Sending::start(settings, memory.clone(), limits.smallest())?) };
        let known = if has_memory { Known::read(settings, &memory, redrive.most_known)? } else { Known::default() };
        let parser = LineParser::new(redrive.pipeline.schema.clone());
        let (schemas, max_bytes) = (SchemaSource::new(&redrive.pipeline)?, limits.of(&redrive.pipeline.topic));
        Ok(Self { redrive, sending, parser, schemas, partitions, max_bytes, known, result: Redriven::default() })
    }

    fn run(mut self, settings: &KafkaSettings) -> Result<Redriven, KafkaError> {
        let look = Look::new(settings, &self.redrive.pipeline.erroneous_topic, self.redrive.which.since)?;
        look.read(|message| {
            let letter = DeadLetter::read(&self.redrive.pipeline.name, message.payload().unwrap_or_default());
            match letter.filter(|letter| self.redrive.which.takes(letter, message.timestamp().to_millis())) {
                Some(letter) => self.take(letter),
                None => Ok(()),
            }
        })?;
        match &mut self.sending {
            Some(sending) => {
                sending.commit()?;
                Ok(Redriven { sent: sending.sent, ..self.result })
            }
            None => Ok(self.result),
        }
    }

    fn take(&mut self, letter: DeadLetter) -> Result<(), KafkaError> {
        let Some(record) = letter.record else {
            self.result.not_of_a_record += 1;
            return Ok(());
        };
        let place = record.to_string();
        let DeadRecord { topic, partition, bytes, .. } = record;
        if self.known.contains(&place) {
            self.result.sent_before += 1;
            return Ok(());
        }
        let Some(payload) = bytes else {
            self.result.truncated += 1;
            return Ok(());
        };
        // Where it was first, whatever partitioned it: the other lines of its entity are there.
        let is_there = topic == self.redrive.pipeline.topic && (0..self.partitions).contains(&partition);
        self.send(&place, is_there.then_some(partition), &payload)
    }

    fn send(&mut self, place: &str, partition: Option<i32>, payload: &[u8]) -> Result<(), KafkaError> {
        let pipeline = &self.redrive.pipeline;
        self.schemas.wait_for(payload, None)?;
        let key = place_key(&mut self.parser, pipeline, (payload, None));
        let key = key.as_deref().map(str::as_bytes);
        let headers = vec![(REDRIVEN_FROM, place.to_owned())];
        let bytes = record_bytes(key, payload.len(), &headers);
        if bytes > self.max_bytes {
            self.result.too_large += 1;
            return Ok(());
        }
        self.known.insert(place);
        let Some(sending) = &mut self.sending else {
            self.result.sent += 1;
            return Ok(());
        };
        let payload = Some(Cow::Borrowed(payload));
        let record = ProduceRecord {
            partition,
            key,
            payload,
            more_headers: headers.into(),
            ..ProduceRecord::to(&pipeline.topic)
        };
        sending.send(record, place, self.redrive.by.as_deref(), bytes)
    }
}

/// Records on their way, each with the note that it was sent.
struct Sending {
    producer: Producer,
    memory: String,
    /// What the transaction under way holds.
    records: usize,
    bytes: usize,
    /// Records that were committed.
    sent: u64,
}

impl Sending {
    fn start(settings: &KafkaSettings, memory: String, largest_batch: usize) -> Result<Self, KafkaError> {
        let mut config = settings.transactional_producer(&memory);
        limit_batches(&mut config, settings, largest_batch);
        let producer = Producer::create(&config, Vec::new())?;
        producer.client.init_transactions(TIMEOUT).map_err(KafkaError::failed(DOING))?;
        Ok(Self { producer, memory, records: 0, bytes: 0, sent: 0 })
    }

    /// Sends a record and notes that it was sent, in one transaction.
    fn send(
        &mut self,
        record: ProduceRecord<'_>,
        place: &str,
        by: Option<&str>,
        bytes: usize,
    ) -> Result<(), KafkaError> {
        if self.records == 0 {
            self.producer.client.begin_transaction().map_err(KafkaError::failed(DOING))?;
        }
        let note = ProduceRecord {
            key: Some(place.as_bytes()),
            payload: Some(Cow::Borrowed(b"sent")),
            header: by.map(|by| (BY, by)),
            ..ProduceRecord::to(&self.memory)
        };
        for record in [record, note] {
            let topic = record.topic;
            let failed = |error: ClientError| not_delivered(topic, &error);
            self.producer.queue(record).map_err(failed)?;
        }
        self.records += 1;
        self.bytes += bytes;
        if self.records >= MOST_RECORDS || self.bytes >= MOST_BYTES { self.commit() } else { Ok(()) }
    }

    /// Commits what was sent since the last time. A transaction that fails is aborted by the next run, or by the broker.
    fn commit(&mut self) -> Result<(), KafkaError> {
        let records = std::mem::take(&mut self.records);
        self.bytes = 0;
        if records > 0 {
            self.producer.flush()?;
            self.producer.client.commit_transaction(TIMEOUT).map_err(KafkaError::failed(DOING))?;
            self.sent += records as u64;
        }
        Ok(())
    }
}

fn not_delivered(topic: &str, error: &ClientError) -> KafkaError {
    KafkaError::NotDelivered { topic: topic.to_owned(), cause: error.to_string() }
}
