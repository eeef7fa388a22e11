//! Lines on their way to the right partition.
//!
//! Lines of one entity meet only in one partition. Where a producer did not see to that, a repartitioner reads the
//! pipeline's topic and copies each line, keyed by its entity, to a topic of the group's own, from which entities are
//! assembled. Copies and the offsets of their originals are committed in one transaction.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::consumer::Consumer as _;
use rdkafka::topic_partition_list::Offset;
use shared::line::LineParser;
use shared::pipeline::Pipeline;

use super::place::key_of;
use super::progress::RepartitionProgress;
use crate::clock::WallClock;
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::offsets::{committed_offsets, first_offset};
use crate::kafka::client::producer::ProduceRecord;
use crate::kafka::client::readable::wait_until_readable;
use crate::kafka::client::settings::KafkaSettings;
use crate::kafka::client::watchdog::Watchdog;
use crate::kafka::membership::lost::{LossPolicy, LostRange};
use crate::kafka::membership::member::{GroupSource, Member};
use crate::kafka::membership::source::{Event, PartitionSource};
use crate::kafka::schemas::{SchemaSource, SchemaWaits};
use crate::kafka::stages::commit::{Transaction, Transactions};
use crate::kafka::stages::faults::FaultInjection;
use crate::kafka::stages::open_batch::{Limits, OpenBatch};
use crate::kafka::stages::publication::{EncodedMessage, Outgoing, Publication, Undelivered};
use crate::kafka::stages::transaction_error::TransactionError;
use crate::kafka::stop::StopHandle;
use crate::kafka::topics::input::InputTopic;
use crate::kafka::topics::limits::RecordLimits;
use crate::kafka::topics::names::Topics;
use crate::kafka::wire::headers::{Original, RecordHeaders, label_of, schema_of};
use crate::messages::{DeadLetters, Message, Refusal, Source};
use crate::status::StatusCell;

/// The longest wait for a record: how soon a request to stop is seen.
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// What a copy takes beside its payload, about: its key, its label, and its place in a publication.
const COPY_BYTES: usize = 256;

/// What a repartitioner works with.
pub(crate) struct RepartitionSettings {
    pub settings: KafkaSettings,
    pub pipeline: Arc<Pipeline>,
    pub schemas: SchemaSource,
    pub topics: Topics,
    /// The pipeline's topic, as the repartitioner's group reads it.
    pub source: InputTopic,
    pub losses: LossPolicy,
    /// The name of a static member.
    pub instance_id: Option<String>,
    pub transactional_id: String,
    /// What one batch may hold.
    pub batch: Limits,
    pub commit_interval: Duration,
    /// Whether it ends once it has copied what there was, and the stream reads the copies.
    pub ends_when_caught_up: bool,
    pub watchdog: Watchdog,
    pub stop: StopHandle,
    pub status: StatusCell,
    pub dead_letters: DeadLetters,
    pub limits: RecordLimits,
}

/// Copies lines to the topic in which they meet.
pub(crate) struct Repartitioner {
    with: RepartitionSettings,
    member: Member,
    transactions: Transactions,
    progress: RepartitionProgress,
}

impl Repartitioner {
    /// A member of the source's group, `<group>-repartition`. Whatever transaction its predecessor left behind is over then.
    /// Blocks.
    ///
    /// # Errors
    /// When the group cannot be joined, no producer can be started, or librdkafka refuses a setting.
    pub(crate) fn new(with: RepartitionSettings) -> Result<Self, KafkaError> {
        let RepartitionSettings { settings, source, instance_id, transactional_id, watchdog, stop, .. } = &with;
        // A member that waits for its name must not fence the producer of the one that has it.
        let member = Member::join(settings, source.clone(), instance_id.as_deref(), watchdog)?;
        let (batch_bytes, faults) = (with.limits.smallest(), FaultInjection::default());
        let mut transactions =
            Transactions::new(settings, transactional_id.clone(), Vec::new(), batch_bytes, watchdog.clone(), faults);
        transactions.start(stop)?;
        Ok(Self { with, member, transactions, progress: RepartitionProgress::default() })
    }

    /// How far it has come.
    pub(crate) fn progress(&self) -> RepartitionProgress {
        self.progress.clone()
    }

    /// Runs until a stop is requested or Kafka fails for good; either way the stream stops.
    ///
    /// # Errors
    /// Why Kafka failed.
    pub(crate) fn run(self) -> Result<(), KafkaError> {
        let Self { with, member, transactions, progress } = self;
        let repartition_loop = RepartitionLoop {
            source_topic: with.topics.source.as_str().into(),
            parser: LineParser::new(with.pipeline.schema.clone()),
            schemas: SchemaWaits::new(with.schemas.clone()),
            open: OpenBatch::new(with.batch),
            is_quiet: false,
            lost: Vec::new(),
            source: member.source(WallClock::start()),
            member: &member,
            with: &with,
            transactions,
            progress,
        };
        let result = repartition_loop.run();
        // Where it has made its last copies, the stream goes on until it has read them.
        if !matches!(result, Ok(Ended::CaughtUp)) {
            with.stop.request();
        }
        result.map(|_| ())
    }
}

struct RepartitionLoop<'a> {
    source_topic: Arc<str>,
    with: &'a RepartitionSettings,
    member: &'a Member,
    source: GroupSource<'a>,
    transactions: Transactions,
    parser: LineParser,
    schemas: SchemaWaits,
    open: OpenBatch<LineCopy>,
    /// Whether nothing more was at hand when it was looked last.
    is_quiet: bool,
    /// What was deleted before it could be copied, and is not committed yet.
    lost: Vec<LostRange>,
    progress: RepartitionProgress,
}

/// Why a repartitioner ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// A stop was requested.
    Stopped,
    /// It has copied what there was.
    CaughtUp,
}

/// A copy of a line.
#[derive(Debug)]
struct LineCopy {
    source: (i32, i64),
    /// Its place among the records of its message, where that holds several: each goes where it belongs.
    item: Option<u32>,
    timestamp: Option<i64>,
    key: Option<String>,
    /// The name and the value of the header that holds its label.
    label: Option<(String, String)>,
    payload: Option<Vec<u8>>,
}

impl RepartitionLoop<'_> {
    fn run(mut self) -> Result<Ended, KafkaError> {
        while !self.with.stop.is_requested() {
            if self.with.ends_when_caught_up && self.progress.has_caught_up() && self.make_last_copies()? {
                return Ok(Ended::CaughtUp);
            }
            self.step()?;
            if self.open.is_full() || self.is_due() {
                self.commit()?;
            }
            if self.open.items().is_empty() {
                self.report();
            }
        }
        self.commit()?;
        Ok(Ended::Stopped)
    }

    /// Commits what is there, and says so once it can be read; whether that is so.
    fn make_last_copies(&mut self) -> Result<bool, KafkaError> {
        self.commit()?;
        let are_readable = self.are_copies_readable()?;
        if are_readable {
            self.progress.set_ended();
        }
        Ok(are_readable)
    }

    /// Takes one event, or waits for one.
    fn step(&mut self) -> Result<(), KafkaError> {
        if !self.schemas.is_empty() && !self.source.is_lost() {
            let ready = self.schemas.take_ready()?;
            self.source.read_from(&ready)?;
        }
        let event = match self.source.poll(Duration::ZERO)? {
            Event::Nothing => {
                self.is_quiet = self.source.seems_caught_up();
                // What there is goes on before anything is waited for.
                if self.is_due() {
                    return Ok(());
                }
                self.source.poll(self.wait())?
            }
            event => event,
        };
        match event {
            Event::Record(record) => {
                self.is_quiet = false;
                let schema = schema_of(&record, &self.with.pipeline.schema);
                if !self.source.is_lost() && self.schemas.must_wait(&record, schema)? {
                    return self.source.hold(&[record.partition()]);
                }
                for copy in LineCopy::all_of(&record, &mut self.parser, &self.with.pipeline) {
                    self.open.add_record(COPY_BYTES + copy.payload.as_ref().map_or(0, Vec::len));
                    self.open.items_mut().push(copy);
                }
                self.open.start_time();
                Ok(())
            }
            Event::Lost(lost) => self.on_lost(lost),
            Event::CaughtUp(_) | Event::ReadThrough { .. } | Event::Nothing => Ok(()),
            Event::Assigned(partitions) => self.on_assigned(&partitions),
            Event::Revoked { partitions, lost } => self.on_revoked(&partitions, lost),
        }
    }

    fn wait(&self) -> Duration {
        // Below a millisecond the client would not wait at all, and a core would be spent on asking.
        let left = self.due().map(|due| due.saturating_duration_since(Instant::now()));
        left.unwrap_or(LONGEST_WAIT).clamp(Duration::from_millis(1), LONGEST_WAIT)
    }

    /// When lines go on: after a pause at once, when nothing more is at hand.
    fn due(&self) -> Option<Instant> {
        self.open.due(self.with.commit_interval, self.is_quiet.then_some(Duration::ZERO))
    }

    fn is_due(&self) -> bool {
        self.due().is_some_and(|due| due <= Instant::now())
    }

    /// Sends the copies and commits the offsets of their originals; after a failure, reads again from the last commit. Of a
    /// copy that its topic does not take, a dead letter is sent.
    fn commit(&mut self) -> Result<(), KafkaError> {
        if self.open.items().is_empty() && self.lost.is_empty() {
            return Ok(());
        }
        // Without membership there is nothing to commit for.
        let Some(fence) = self.source.fence() else { return Ok(()) };
        let RepartitionSettings { topics, source, stop, status, dead_letters, limits, .. } = self.with;
        let mut next: BTreeMap<i32, i64> = BTreeMap::new();
        let copied = self.open.items().iter().map(|copy| (copy.source.0, copy.source.1 + 1));
        for (partition, offset) in copied.chain(self.lost.iter().map(|lost| (lost.partition, lost.next()))) {
            let next = next.entry(partition).or_insert(offset);
            *next = offset.max(*next);
        }
        let owner = source.owner().encode();
        let offsets: Vec<(i32, i64, String)> =
            next.into_iter().map(|(partition, next)| (partition, next, owner.clone())).collect();
        let transaction = Transaction { input: source, offsets: &offsets, fence: &fence };
        let (from, to) = (&self.source_topic, topics.input.as_str());
        let copies = self.open.items().iter().map(|copy| OutgoingRecord::Copy(OutgoingCopy { copy, from, to }));
        let lost = self.lost.iter().map(|lost| OutgoingRecord::Lost(lost_message(lost, from, dead_letters)));
        let mut publication = Publication::new(copies.chain(lost), dead_letters, limits)?;
        let result = loop {
            let consumer = &self.member.consumer;
            let result = self.transactions.commit(&transaction, &mut publication.records(), consumer, stop);
            match result {
                Err(TransactionError::Refused(refused)) => publication.refuse(&refused)?,
                result => break result,
            }
        };
        match result {
            Ok(_) => {
                publication.warn();
                let Undelivered { dead_letters, skipped } = publication.undelivered();
                status.update(|status| {
                    status.undeliverable += dead_letters;
                    status.skipped += skipped;
                });
                self.open.clear();
                self.progress.add_lost(self.lost.drain(..).map(|lost| lost.count()).sum());
                Ok(())
            }
            Err(TransactionError::Undeliverable(error)) => Err(error),
            Err(error) => {
                tracing::warn!(reason = %error, "lines were not repartitioned: rolling back to the last commit");
                // A new producer ends what the old one left open: offsets are known only then.
                self.transactions.start(stop)?;
                self.roll_back()
            }
        }
    }

    /// What is gone is said in the erroneous topic, in the transaction that commits the offset behind it.
    fn on_lost(&mut self, lost: LostRange) -> Result<(), KafkaError> {
        self.with.losses.accept(&lost)?;
        self.lost.push(lost);
        self.commit()
    }

    /// Reads again from the last commit.
    fn roll_back(&mut self) -> Result<(), KafkaError> {
        self.open.clear();
        self.lost.clear();
        self.schemas.clear();
        let owned = self.source.assignment().partitions();
        self.source.hold(&owned)?;
        // A consumer whose session is over gets a revocation with its next poll, and then new partitions.
        if owned.is_empty() || self.source.is_lost() {
            return Ok(());
        }
        match self.start_positions(&owned)? {
            Some(positions) => self.source.read_from(&positions),
            None => Ok(()),
        }
    }

    /// Where partitions go on. `None` when a stop was requested meanwhile.
    fn start_positions(&self, partitions: &[i32]) -> Result<Option<Vec<(i32, i64)>>, KafkaError> {
        if partitions.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let RepartitionSettings { settings, source, watchdog, stop, .. } = self.with;
        let consumer = &*self.member.consumer;
        source.refuse_recreated(consumer.client())?;
        let Some(committed) = committed_offsets(consumer, &source.name, partitions, watchdog, || stop.is_requested())?
        else {
            return Ok(None);
        };
        let position = |&partition: &i32| {
            let found = committed.find_partition(&source.name, partition);
            source.refuse_foreign(found.as_ref().map_or("", |found| found.metadata()))?;
            let offset = match found.map(|found| found.offset()) {
                Some(Offset::Offset(offset)) => offset,
                _ => first_offset(consumer, &source.name, partition, settings, watchdog)?,
            };
            Ok((partition, offset))
        };
        partitions.iter().map(position).collect::<Result<_, KafkaError>>().map(Some)
    }

    fn on_assigned(&mut self, partitions: &[i32]) -> Result<(), KafkaError> {
        self.source.assign(partitions)?;
        let Some(positions) = self.start_positions(partitions)? else { return Ok(()) };
        self.source.read_from(&positions)?;
        tracing::info!(?partitions, "repartitioning lines");
        Ok(())
    }

    fn on_revoked(&mut self, partitions: &[i32], lost: bool) -> Result<(), KafkaError> {
        if lost {
            // All of them are lost together: their new owners copy what was not committed.
            self.open.clear();
            self.lost.clear();
        } else {
            self.commit()?;
        }
        self.source.revoke(partitions);
        self.schemas.forget(partitions);
        self.open.items_mut().retain(|copy| !partitions.contains(&copy.source.0));
        self.lost.retain(|lost| !partitions.contains(&lost.partition));
        Ok(())
    }

    /// Publishes how far the repartitioner has come.
    fn report(&self) {
        self.progress.set_lag(self.source.lag());
        self.progress.set_waiting(self.schemas.len());
        let is_caught_up = self.source.assignment().is_caught_up() && self.schemas.is_empty();
        if !is_caught_up || self.progress.has_caught_up() {
            return;
        }
        match self.are_copies_readable() {
            Ok(true) => self.progress.set_caught_up(),
            Ok(false) => {}
            // The next report asks again.
            Err(error) => tracing::debug!(%error, "looking for the end of the repartitioned lines"),
        }
    }

    /// Whether every transaction in the topic of copies is over. `false` when a stop was requested meanwhile.
    fn are_copies_readable(&self) -> Result<bool, KafkaError> {
        let RepartitionSettings { settings, topics, watchdog, stop, .. } = self.with;
        wait_until_readable(settings, &topics.input, watchdog, || stop.is_requested())
    }
}

/// The message about records that could not be copied.
fn lost_message(lost: &LostRange, from: &Arc<str>, letters: &DeadLetters) -> EncodedMessage {
    let &LostRange { partition, first, last } = lost;
    EncodedMessage::new(letters.lost(from, partition, (first, last)))
}

/// What a batch of copies sends.
enum OutgoingRecord<'a> {
    Copy(OutgoingCopy<'a>),
    Lost(EncodedMessage),
}

impl Outgoing for OutgoingRecord<'_> {
    fn record(&self) -> ProduceRecord<'_> {
        match self {
            Self::Copy(copy) => copy.record(),
            Self::Lost(message) => message.record(),
        }
    }

    fn dead_letter(&self, letters: &DeadLetters, refusal: &Refusal) -> Option<Message> {
        match self {
            Self::Copy(copy) => copy.dead_letter(letters, refusal),
            Self::Lost(message) => message.dead_letter(letters, refusal),
        }
    }
}

impl LineCopy {
    /// A copy of each record that a message holds; of a message that holds none, its own.
    fn all_of(message: &impl RecordHeaders, parser: &mut LineParser, pipeline: &Pipeline) -> Vec<Self> {
        let header = pipeline.label.as_ref().and_then(|label| label.header.as_deref());
        let label = label_of(message, pipeline).zip(header).map(|(label, name)| (name.to_owned(), label.to_owned()));
        let mut copies = Vec::with_capacity(1);
        let schema = schema_of(message, &pipeline.schema);
        parser.each_with(message.payload().unwrap_or_default(), schema, |piece, part| {
            copies.push(Self {
                source: (message.partition(), message.offset()),
                item: piece.index(),
                timestamp: message.timestamp().to_millis(),
                key: key_of(&part, pipeline),
                label: label.clone(),
                payload: message.payload().map(|_| piece.alone().into_owned()),
            });
        });
        copies
    }

    fn record<'a>(&'a self, topic: &'a str) -> ProduceRecord<'a> {
        ProduceRecord {
            key: self.key.as_deref().map(str::as_bytes),
            payload: self.payload.as_deref().map(Cow::Borrowed),
            timestamp: self.timestamp,
            source: Some(Original { at: self.source, item: self.item }),
            header: self.label.as_ref().map(|(name, label)| (name.as_str(), label.as_str())),
            ..ProduceRecord::to(topic)
        }
    }
}

/// A copy on its way.
struct OutgoingCopy<'a> {
    copy: &'a LineCopy,
    from: &'a Arc<str>,
    to: &'a str,
}

impl Outgoing for OutgoingCopy<'_> {
    fn record(&self) -> ProduceRecord<'_> {
        self.copy.record(self.to)
    }

    fn dead_letter(&self, letters: &DeadLetters, refusal: &Refusal) -> Option<Message> {
        let (partition, offset) = self.copy.source;
        let raw = self.copy.payload.as_deref().unwrap_or_default();
        let source = Source::record(self.from, partition, offset);
        Some(letters.undeliverable_line((source, self.copy.item), raw, refusal))
    }
}
