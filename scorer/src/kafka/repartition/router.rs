//! Lines on their way to the right partition.
//!
//! Lines of one entity meet only in one partition. Where a producer did not see to that, a router reads the pipeline's
//! topic and copies each line, keyed by its entity, to a topic of the group's own, from which entities are assembled.
//! Copies and the offsets of their originals are committed in one transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use shared::line::LineParser;
use shared::pipeline::Pipeline;

use super::place::place_key;
use super::progress::RouterProgress;
use crate::kafka::client::consumer::{InputConsumer, InputContext, Ownership};
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::offsets::{committed_offsets, ends_of, first_offset};
use crate::kafka::client::producer::Outgoing;
use crate::kafka::client::settings::{KafkaSettings, QuietContext};
use crate::kafka::client::watchdog::Watchdog;
use crate::kafka::membership::rejoin::read_on;
use crate::kafka::stages::commit::{Failure, Transaction, Transactions};
use crate::kafka::stop::StopHandle;
use crate::kafka::topics::names::{Topics, router_group};
use crate::kafka::wire::headers::label_of;

/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest wait for a record: how soon a request to stop is seen.
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// A batch is closed when its records have so many bytes.
const MAX_BATCH_BYTES: usize = 16 << 20;

/// What a router works with.
pub(crate) struct RouterSettings {
    pub settings: KafkaSettings,
    pub pipeline: Arc<Pipeline>,
    pub topics: Topics,
    pub group: String,
    /// The instance's name in the group, where it was given one.
    pub name: Option<String>,
    /// The transactional id.
    pub id: String,
    pub batch_records: usize,
    pub commit_interval: Duration,
    pub watchdog: Watchdog,
    pub stop: StopHandle,
}

/// Copies lines to the topic in which they meet.
pub(crate) struct Router {
    with: RouterSettings,
    consumer: InputConsumer,
    transactions: Transactions,
    parser: LineParser,
    progress: RouterProgress,
    owned: BTreeSet<i32>,
    /// Those of the owned partitions whose every record has been read.
    caught_up: BTreeSet<i32>,
    batch: Vec<Routed>,
    batch_bytes: usize,
    batch_since: Option<Instant>,
    /// Counts the times that reading went back: what had been read before is not the next record.
    epoch: u64,
}

/// A line to be sent on.
#[derive(Debug)]
struct Routed {
    source: (i32, i64),
    timestamp: Option<i64>,
    key: Option<String>,
    /// The name and the value of the header that holds its label.
    label: Option<(String, String)>,
    payload: Option<Vec<u8>>,
}

impl Router {
    /// A member of the group `<group>-repartition`. Whatever transaction its former self left behind is over then.
    /// Blocks.
    pub(crate) fn new(with: RouterSettings) -> Result<Self, KafkaError> {
        let mut transactions = Transactions::new(&with.settings, &with.id, Vec::new(), with.watchdog.clone(), None);
        transactions.start(&with.stop)?;
        let consumer: InputConsumer = with
            .settings
            .consumer(&router_group(&with.group), with.name.as_deref())
            .create_with_context(InputContext::new(with.name.as_deref()))
            .map_err(|error| KafkaError::Settings(error.to_string()))?;
        consumer.subscribe(&[&with.topics.source]).map_err(KafkaError::failed("subscribing"))?;
        Ok(Self {
            parser: LineParser::new(with.pipeline.clone()),
            with,
            consumer,
            transactions,
            progress: RouterProgress::default(),
            owned: BTreeSet::new(),
            caught_up: BTreeSet::new(),
            batch: Vec::new(),
            batch_bytes: 0,
            batch_since: None,
            epoch: 0,
        })
    }

    /// How far this router has come.
    pub(crate) fn progress(&self) -> RouterProgress {
        self.progress.clone()
    }

    /// Runs until a stop is asked for or Kafka fails for good; either way the stream stops.
    pub(crate) fn run(mut self) -> Result<(), KafkaError> {
        let result = self.route();
        // Nobody will poll and answer any more: whatever the group still wants is answered at once.
        self.consumer.context().close();
        self.with.stop.request();
        result
    }

    fn route(&mut self) -> Result<(), KafkaError> {
        while !self.with.stop.is_requested() {
            self.step()?;
            if self.is_due() {
                self.commit()?;
            }
            if self.batch.is_empty() {
                self.report();
            }
        }
        self.commit()
    }

    /// Takes one record, or waits for one.
    fn step(&mut self) -> Result<(), KafkaError> {
        let (epoch, wait, consumer) = (self.epoch, self.wait(), &self.consumer);
        let polled = match consumer.poll(Duration::ZERO).or_else(|| consumer.poll(wait)) {
            None => None,
            Some(Ok(message)) => Some(copy(&mut self.parser, &self.with.pipeline, &message)),
            Some(Err(ClientError::PartitionEOF(partition))) => {
                if self.owned.contains(&partition) {
                    self.caught_up.insert(partition);
                }
                None
            }
            Some(Err(error)) => {
                self.heed(&error)?;
                None
            }
        };
        // What is ours may have changed while we waited: that comes before any record.
        self.follow_ownership()?;
        if let Some(copy) = polled.filter(|copy| self.epoch == epoch && self.owned.contains(&copy.source.0)) {
            self.caught_up.remove(&copy.source.0);
            self.batch_bytes += copy.payload.as_ref().map_or(0, Vec::len);
            self.batch_since.get_or_insert_with(Instant::now);
            self.batch.push(copy);
        }
        Ok(())
    }

    fn heed(&self, error: &ClientError) -> Result<(), KafkaError> {
        if matches!(error, ClientError::MessageConsumption(RDKafkaErrorCode::UnknownTopicOrPartition)) {
            return Err(KafkaError::MissingTopic(self.with.topics.source.clone()));
        }
        match self.consumer.client().fatal_error() {
            Some((RDKafkaErrorCode::FencedInstanceId, _)) => Err(KafkaError::Fenced {
                group: router_group(&self.with.group),
                name: self.with.name.clone().unwrap_or_default(),
            }),
            Some((_, cause)) => Err(KafkaError::Failed { action: "reading records", cause }),
            // librdkafka goes on by itself after anything else, such as a broker that went away.
            None => {
                tracing::warn!(%error, "reading records");
                Ok(())
            }
        }
    }

    fn wait(&self) -> Duration {
        let left = self.batch_since.map(|since| (since + self.interval()).saturating_duration_since(Instant::now()));
        // Below a millisecond the client would not wait at all, and a core would be spent on asking.
        left.unwrap_or(LONGEST_WAIT).clamp(Duration::from_millis(1), LONGEST_WAIT)
    }

    /// How long lines may wait for company: not at all while no more come.
    fn interval(&self) -> Duration {
        if self.all_caught_up() { Duration::ZERO } else { self.with.commit_interval }
    }

    fn all_caught_up(&self) -> bool {
        !self.owned.is_empty() && self.caught_up.len() == self.owned.len()
    }

    fn is_due(&self) -> bool {
        self.batch.len() >= self.with.batch_records
            || self.batch_bytes >= MAX_BATCH_BYTES
            || self.batch_since.is_some_and(|since| since.elapsed() >= self.interval())
    }

    /// Sends the copies and commits the offsets of their originals; after a failure, reads again from the last commit.
    fn commit(&mut self) -> Result<(), KafkaError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        // Without membership there is nothing to commit for.
        let Some(group) = self.consumer.group_metadata() else { return Ok(()) };
        let next = self.batch.iter().map(|copy| (copy.source.0, copy.source.1 + 1));
        let next: BTreeMap<i32, i64> = next.collect();
        let offsets: Vec<(i32, i64, String)> =
            next.into_iter().map(|(partition, next)| (partition, next, String::new())).collect();
        let (batch, topic) = (&self.batch, &self.with.topics.input);
        let transaction = Transaction {
            messages: &|send| batch.iter().try_for_each(|copy| send(copy.outgoing(topic))),
            topic: &self.with.topics.source,
            offsets: &offsets,
            group: &group,
            given_up: self.consumer.context().times_given_up(),
        };
        match self.transactions.commit(&transaction, &self.consumer, &self.with.stop) {
            Ok(_) => {
                self.forget_batch();
                Ok(())
            }
            Err(Failure::Hopeless(error)) => Err(error),
            Err(Failure::Abort(reason) | Failure::Rebuild(reason)) => {
                tracing::warn!(reason, "lines were not sent on: going back to the last commit");
                // A new producer ends what the old one left open: offsets are known only then.
                self.transactions.start(&self.with.stop)?;
                self.go_back()
            }
        }
    }

    fn forget_batch(&mut self) {
        self.batch.clear();
        self.batch_bytes = 0;
        self.batch_since = None;
    }

    /// Reads again from the last commit.
    fn go_back(&mut self) -> Result<(), KafkaError> {
        self.forget_batch();
        self.epoch += 1;
        self.caught_up.clear();
        let owned = Vec::from_iter(self.owned.iter().copied());
        // A consumer whose session is over will hear of it when it is polled, and then begins anew.
        if owned.is_empty() || self.consumer.assignment_lost() {
            return Ok(());
        }
        let Some(list) = self.begins(&owned)? else { return Ok(()) };
        let _watched = self.with.watchdog.watch("seeking", CALL_TIMEOUT * 2);
        let sought = self.consumer.seek_partitions(list, CALL_TIMEOUT).map_err(KafkaError::failed("seeking"))?;
        match sought.elements().iter().find_map(|element| element.error().err()) {
            Some(error) => Err(KafkaError::failed("seeking")(error)),
            None => Ok(()),
        }
    }

    /// Where partitions go on. `None` when a stop was asked for meanwhile.
    fn begins(&self, partitions: &[i32]) -> Result<Option<TopicPartitionList>, KafkaError> {
        if partitions.is_empty() {
            return Ok(Some(TopicPartitionList::new()));
        }
        let RouterSettings { settings, topics, watchdog, stop, .. } = &self.with;
        let Some(committed) = committed_offsets(&self.consumer, &topics.source, partitions, watchdog, stop)? else {
            return Ok(None);
        };
        let mut list = TopicPartitionList::new();
        for &partition in partitions {
            let offset = match committed.find_partition(&topics.source, partition).map(|found| found.offset()) {
                Some(Offset::Offset(offset)) => offset,
                _ => first_offset(&self.consumer, &topics.source, partition, settings, watchdog)?,
            };
            list.add_partition_offset(&topics.source, partition, Offset::Offset(offset))
                .map_err(KafkaError::failed("taking partitions on"))?;
        }
        Ok(Some(list))
    }

    // --- the group's wishes ---------------------------------------------------------------------------------------

    fn follow_ownership(&mut self) -> Result<(), KafkaError> {
        for change in self.consumer.context().take_changes() {
            match change {
                Ownership::Assigned(partitions) => self.take_on(&partitions)?,
                Ownership::Revoked { partitions, lost } => self.give_up(&partitions, lost)?,
                Ownership::Failed(code) => tracing::warn!(%code, "the consumer group could not share out partitions"),
            }
        }
        Ok(())
    }

    fn take_on(&mut self, partitions: &[i32]) -> Result<(), KafkaError> {
        let Some(list) = self.begins(partitions)? else { return Ok(()) };
        let RouterSettings { group, topics, watchdog, .. } = &self.with;
        read_on(&self.consumer, &router_group(group), &topics.source, &list, watchdog)
            .map_err(KafkaError::failed("taking partitions on"))?;
        self.consumer.context().take_on(partitions);
        self.owned.extend(partitions);
        tracing::info!(?partitions, "sending lines on");
        Ok(())
    }

    fn give_up(&mut self, partitions: &[i32], lost: bool) -> Result<(), KafkaError> {
        if lost || self.consumer.assignment_lost() {
            // All of them are lost together: what was not committed is the new owners' to do.
            self.forget_batch();
            self.epoch += 1;
        } else {
            self.commit()?;
        }
        self.consumer.context().give_up(partitions);
        self.owned.retain(|owned| !partitions.contains(owned));
        self.caught_up.retain(|caught_up| !partitions.contains(caught_up));
        self.batch.retain(|copy| !partitions.contains(&copy.source.0));
        let mut list = TopicPartitionList::new();
        partitions.iter().for_each(|partition| {
            list.add_partition(&self.with.topics.source, *partition);
        });
        if let Err(error) = self.consumer.incremental_unassign(&list) {
            // A session that is over has nothing assigned any more.
            tracing::debug!(%error, "giving partitions up");
        }
        Ok(())
    }

    // --- progress -------------------------------------------------------------------------------------------------

    /// Says how far this router has come.
    fn report(&self) {
        let is_done = self.all_caught_up();
        let lag = if is_done { Some(0) } else { self.consumer.context().lag() };
        self.progress.set_lag(lag);
        if !is_done || self.progress.has_caught_up() {
            return;
        }
        match self.are_copies_readable() {
            Ok(readable) => self.progress.set_caught_up(readable),
            // A broker that is away for a moment is asked again.
            Err(error) => tracing::debug!(%error, "looking for the end of what was sent on"),
        }
    }

    /// Whether everything in the topic of copies is of transactions that are over: a broker says that one is committed
    /// before it can be read everywhere. `false` when a stop was asked for meanwhile.
    fn are_copies_readable(&self) -> Result<bool, KafkaError> {
        let RouterSettings { settings, topics, watchdog, stop, .. } = &self.with;
        let uncommitted: BaseConsumer<QuietContext> = settings
            .client(&[("isolation.level", "read_uncommitted")])
            .create_with_context(QuietContext)
            .map_err(|error| KafkaError::Settings(error.to_string()))?;
        const DOING: &str = "asking for the ends of a partition";
        for partition in 0..settings.partitions_of(&topics.input)? {
            let end = ends_of(&uncommitted, &topics.input, partition, DOING, watchdog)?.1;
            let start = Instant::now();
            // Asked by one who reads what is committed, the broker tells how far that is.
            while ends_of(&self.consumer, &topics.input, partition, DOING, watchdog)?.1 < end {
                if stop.is_requested() || start.elapsed() >= CALL_TIMEOUT * 2 {
                    return Ok(false);
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(true)
    }
}

fn copy(parser: &mut LineParser, pipeline: &Pipeline, message: &BorrowedMessage<'_>) -> Routed {
    let header = pipeline.label.as_ref().and_then(|label| label.header.as_deref());
    Routed {
        source: (message.partition(), message.offset()),
        timestamp: message.timestamp().to_millis(),
        key: place_key(parser, pipeline, message.payload().unwrap_or_default()),
        label: label_of(message, pipeline).zip(header).map(|(label, name)| (name.to_owned(), label.to_owned())),
        payload: message.payload().map(<[u8]>::to_vec),
    }
}

impl Routed {
    fn outgoing<'a>(&'a self, topic: &'a str) -> Outgoing<'a> {
        Outgoing {
            key: self.key.as_deref().map(str::as_bytes),
            payload: self.payload.as_deref(),
            timestamp: self.timestamp,
            source: Some(self.source),
            header: self.label.as_ref().map(|(name, label)| (name.as_str(), label.as_str())),
            ..Outgoing::to(topic)
        }
    }
}
