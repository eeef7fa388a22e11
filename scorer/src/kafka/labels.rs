//! The topic of what analysts say: compacted, with one partition, read from its beginning by every window, and written by any of
//! them.
//!
//! A write is kept only if its writer saw the newest entry of its key, whichever window that came from. Writers take turns by
//! the one transactional id that all of them have: to start a producer with it ends what others have under way and refuses
//! what they send later (KIP-98). Whoever has just started reads the topic to its end and knows then every entry there is; as
//! long as its commits succeed, nobody else has written one. Other programs may write without all that: what they write last
//! counts.

use std::borrow::Cow;
use std::cell::RefCell;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use rdkafka::admin::{NewTopic, TopicReplication};
use rdkafka::consumer::BaseConsumer;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::producer::Producer as _;
use rdkafka::topic_partition_list::Offset;
use shared::pipeline::Pipeline;
use window::{Check, Entry, Journal, Keeping, Outcome, Versions, Write};

use super::client::error::KafkaError;
use super::client::producer::{ProduceRecord, Producer};
use super::client::read_to_end::{Ended, Next, Part, Read, ReadToEnd};
use super::client::settings::{KafkaSettings, QuietContext};
use super::look::Look;
use super::topics::admin::{TopicSettings, create_on_broker, existing_topics, topic_setting};

const DOING: &str = "keeping what analysts say";

/// How long a call may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// How long a write is tried, whoever comes in between.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long nothing may come while entries are waited for; then it is looked whether the window is still there.
const QUIET: Duration = Duration::from_secs(3600);

/// How long to wait before a topic that could not be read is read again.
const RETRY: Duration = Duration::from_secs(2);

/// The longest pause before a write is tried again, times the number of tries.
const PAUSE_MS: u64 = 150;

/// The topic of what analysts say of a pipeline's anomalies.
pub fn labels_topic(pipeline: &Pipeline) -> String {
    format!("{}_labels", pipeline.name)
}

/// Makes sure that the topic is there and fit for its purpose; whether it is new.
///
/// # Errors
/// [`KafkaError`] when no broker answers, the topic is missing and may not be created, or is not fit.
pub async fn ensure_labels_topic(
    settings: &KafkaSettings,
    topic: &str,
    create: Option<TopicSettings>,
) -> Result<bool, KafkaError> {
    let unfit = |problem: String| KafkaError::UnfitTopic { topic: topic.to_owned(), problem };
    match existing_topics(settings).await?.into_iter().find(|(name, _)| name == topic) {
        Some((_, 1)) => {
            let cleanup = topic_setting(settings, topic, "cleanup.policy").await?;
            match cleanup {
                Some(cleanup) if cleanup != "compact" => Err(unfit(format!(
                    "has cleanup.policy={cleanup}; it must be compact: with another one the broker would delete labels"
                ))),
                _ => Ok(false),
            }
        }
        Some((_, partitions)) => Err(unfit(format!(
            "has {partitions} partitions; it must have 1, so that everybody sees what analysts say in the same order"
        ))),
        None => {
            let create = create.ok_or_else(|| KafkaError::MissingTopic(topic.to_owned()))?;
            let replication = TopicReplication::Fixed(create.replication_factor);
            create_on_broker(settings, &[NewTopic::new(topic, 1, replication).set("cleanup.policy", "compact")])
                .await?;
            Ok(true)
        }
    }
}

/// Every entry that is there now, the newest of each key, in the order in which they were written. Blocks.
///
/// # Errors
/// [`KafkaError`] when no broker answers, or the topic is missing.
pub fn read_labels_topic(settings: &KafkaSettings, topic: &str) -> Result<Vec<Entry>, KafkaError> {
    let mut newest = std::collections::HashMap::new();
    Look::new(settings, topic, None)?.read(|message| {
        let entry = entry_of(message);
        newest.insert(entry.key.clone(), entry);
        Ok(())
    })?;
    let mut entries: Vec<Entry> = newest.into_values().filter(|entry| entry.value.is_some()).collect();
    entries.sort_by_key(|entry| entry.version);
    Ok(entries)
}

fn entry_of(message: &BorrowedMessage<'_>) -> Entry {
    Entry {
        key: String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned(),
        value: message.payload().map(<[u8]>::to_vec),
        version: u64::try_from(message.offset()).unwrap_or(0),
    }
}

/// Reads the topic for a window and writes for it, until the window is closed. Blocks. While the topic cannot be read, the window
/// says why; a write that fails is told to whoever asked for it.
///
/// # Errors
/// [`KafkaError::Settings`].
pub fn keep_labels(settings: &KafkaSettings, topic: &str, journal: Journal) -> Result<(), KafkaError> {
    let mut keeper = Keeper {
        settings,
        topic,
        consumer: settings.reader(&format!("{topic}-window"))?,
        journal: RefCell::new(journal),
        versions: Versions::default(),
        next: Offset::Beginning,
        producer: None,
    };
    while let Err(error) = keeper.serve() {
        tracing::warn!(%error, topic, "the window cannot read what analysts say");
        keeper.journal.borrow().tell_keeping(Keeping::Nowhere(error.to_string()));
        keeper.producer = None;
        if !keeper.pause(&error) {
            break;
        }
    }
    Ok(())
}

struct Keeper<'a> {
    settings: &'a KafkaSettings,
    topic: &'a str,
    consumer: BaseConsumer<QuietContext>,
    journal: RefCell<Journal>,
    versions: Versions,
    /// Where to read on.
    next: Offset,
    /// Whoever has it has the turn, until it fails.
    producer: Option<Producer>,
}

/// Up to where to read.
#[derive(Clone, Copy)]
enum Until<'a> {
    /// The end as it is now.
    End,
    /// The entry of this write.
    Kept(&'a Write),
    /// Something is to be written.
    Asked,
}

impl Keeper<'_> {
    fn serve(&mut self) -> Result<(), KafkaError> {
        self.read(Until::End, TIMEOUT)?;
        let here = Keeping::Topic(self.topic.to_owned());
        self.journal.borrow().tell_keeping(here);
        self.journal.borrow().tell_caught_up();
        loop {
            let asked = self.journal.borrow_mut().try_next();
            match asked {
                Err(_) => return Ok(()),
                Ok(Some(write)) => {
                    let outcome = self.keep(&write);
                    self.journal.borrow().answer(write, outcome);
                }
                Ok(None) => self.read(Until::Asked, QUIET)?,
            }
        }
    }

    /// Waits a moment before it is tried again, and refuses what is to be written meanwhile; whether the window is still there.
    fn pause(&mut self, error: &KafkaError) -> bool {
        std::thread::sleep(RETRY);
        loop {
            let asked = self.journal.borrow_mut().try_next();
            match asked {
                Err(_) => return false,
                Ok(None) => return true,
                Ok(Some(write)) => self.journal.borrow().answer(write, Outcome::Failed(error.to_string())),
            }
        }
    }

    /// Reads on, and tells of every entry.
    fn read(&mut self, until: Until<'_>, silence: Duration) -> Result<(), KafkaError> {
        let (topic, consumer, journal) = (self.topic, &self.consumer, &self.journal);
        let (versions, next) = (&mut self.versions, &mut self.next);
        let part = Part { partition: 0, from: *next, ends_at_end: matches!(until, Until::End) };
        let is_wanted = |_| !matches!(until, Until::Asked) || !journal.borrow_mut().has_next();
        let take = |read: Read<'_, '_>| {
            let Read::Record(message) = read else { return Ok(Next::ReadOn) };
            let entry = entry_of(message);
            *next = Offset::Offset(message.offset() + 1);
            versions.note(&entry);
            let is_known = matches!(until, Until::Kept(write) if versions.check(write) == Check::Kept);
            journal.borrow().tell(entry);
            Ok(if is_known { Next::PartitionDone } else { Next::ReadOn })
        };
        let reader = ReadToEnd { consumer, topic, doing: DOING, silence };
        match (reader.read(&[part], is_wanted, take)?, until) {
            (Ended::Silent(silent), Until::End | Until::Kept(_)) => {
                let error = silent.first().and_then(|silence| silence.error.as_ref());
                Err(KafkaError::no_answer(topic, 0, silence, error))
            }
            _ => Ok(()),
        }
    }

    /// Keeps an entry, or says why not. What may pass by itself, as that another window had its turn, is tried again.
    fn keep(&mut self, write: &Write) -> Outcome {
        let (start, hasher) = (Instant::now(), RandomState::new());
        let mut tries = 0;
        loop {
            match self.try_to_keep(write) {
                Ok(outcome) => return outcome,
                Err(error) => {
                    self.producer = None;
                    tries += 1;
                    tracing::debug!(%error, tries, "{DOING}");
                    if start.elapsed() >= PATIENCE {
                        return Outcome::Failed(format!("it could not be kept: {error}"));
                    }
                }
            }
            // Windows that take the turn from each other do so at different moments the next time.
            std::thread::sleep(Duration::from_millis(hasher.hash_one(tries) % (PAUSE_MS * tries)));
        }
    }

    fn try_to_keep(&mut self, write: &Write) -> Result<Outcome, KafkaError> {
        let failed = KafkaError::failed(DOING);
        if self.producer.is_none() {
            let producer = Producer::create(&self.settings.transactional_producer(self.topic), Vec::new())?;
            // It comes back when whatever others had under way is over, one way or the other.
            producer.client.init_transactions(TIMEOUT).map_err(&failed)?;
            self.producer = Some(producer);
            self.read(Until::End, TIMEOUT)?;
        }
        match self.versions.check(write) {
            Check::Kept => return Ok(Outcome::Kept),
            Check::Stale => return Ok(Outcome::Stale),
            Check::New => {}
        }
        if let Some(producer) = &self.producer {
            producer.client.begin_transaction().map_err(&failed)?;
            let record = ProduceRecord {
                partition: Some(0),
                key: Some(write.key.as_bytes()),
                payload: Some(Cow::Borrowed(&write.value)),
                ..ProduceRecord::to(self.topic)
            };
            producer.queue(record).map_err(&failed)?;
            producer.flush()?;
            producer.client.commit_transaction(TIMEOUT).map_err(&failed)?;
        }
        // Readers see it a moment after the commit.
        self.read(Until::Kept(write), TIMEOUT)?;
        Ok(Outcome::Kept)
    }
}
