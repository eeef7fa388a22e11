//! One transaction a micro-batch: outputs, changes of state and the input's offsets are committed together or not at all.
//! Outputs may be sent as soon as there are any; what is left of them, the state and the offsets follow with the commit.
//!
//! Errors are of these kinds, after the client has retried what can be retried. **Abortable**: the transaction is aborted
//! and the producer can be used again. **Fatal**: the producer cannot be used any more. A new producer ends what the old one
//! left. **Unknown**: nobody knows whether the commit happened. A new producer ends it one way or the other, and the
//! committed offsets then tell which. **Refused**: topics do not take some of the records. **Undeliverable**: the batch
//! would fail again, and the process ends.

use std::cell::Cell;
use std::fmt;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError as ClientError;
use rdkafka::producer::{Producer as _, PurgeConfig};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::faults::{FaultInjection, Step};
use super::transaction_error::TransactionError;
use crate::kafka::client::consumer::GroupConsumer;
use crate::kafka::client::error::{KafkaError, is_denial};
use crate::kafka::client::offsets::committed_offsets;
use crate::kafka::client::producer::{ProduceRecord, ProducedOffsets, Producer, RefusedRecord};
use crate::kafka::client::settings::KafkaSettings;
use crate::kafka::client::watchdog::Watchdog;
use crate::kafka::membership::commit_fence::CommitFence;
use crate::kafka::stop::StopHandle;
use crate::kafka::topics::input::InputTopic;

/// How long a call of a transaction may take before it counts as failed.
const CALL_TIMEOUT: Duration = Duration::from_secs(40);

/// How long brokers are left alone before a call is made again.
const PAUSE: Duration = Duration::from_millis(50);

/// How long the broker may take to answer for the records of a transaction that failed.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest batch of records that librdkafka makes by default.
const DEFAULT_BATCH_BYTES: usize = 1_000_000;

/// How long after that it may still not return before the process ends.
const WATCHDOG_SLACK: Duration = Duration::from_secs(40);

/// What a batch commits together, beside its records.
pub(crate) struct Transaction<'a> {
    /// The topic whose offsets are committed.
    pub input: &'a InputTopic,
    /// Partitions, the next offset of each, and what stands beside it.
    pub offsets: &'a [(i32, i64, String)],
    pub fence: &'a CommitFence,
}

/// Commits batches, one at a time, with a producer that is replaced when it has to be.
pub(crate) struct Transactions {
    settings: KafkaSettings,
    id: String,
    followed: Vec<String>,
    /// The largest batch of records that every topic takes.
    batch_bytes: usize,
    watchdog: Watchdog,
    faults: FaultInjection,
    producer: Option<Producer>,
    /// Whether a transaction was begun that is not over.
    is_open: bool,
    /// Whether each record is sent alone, to learn which one is refused.
    is_isolating: bool,
    /// When the broker had acknowledged all records of the last transaction.
    acknowledged: Cell<Option<Instant>>,
}

impl fmt::Debug for Transactions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transactions").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Transactions {
    pub(crate) fn new(
        settings: &KafkaSettings,
        id: String,
        followed: Vec<String>,
        batch_bytes: usize,
        watchdog: Watchdog,
        faults: FaultInjection,
    ) -> Self {
        let (settings, producer, is_open, is_isolating) = (settings.clone(), None, false, false);
        let acknowledged = Cell::new(None);
        Self { settings, id, followed, batch_bytes, watchdog, faults, producer, is_open, is_isolating, acknowledged }
    }

    /// How a producer is set.
    fn config(&self) -> ClientConfig {
        let mut config = self.settings.transactional_producer(&self.id);
        limit_batches(&mut config, &self.settings, self.batch_bytes);
        if self.is_isolating {
            config.set("batch.num.messages", "1");
        }
        config
    }

    /// Starts a producer, which ends whatever transaction its predecessor left behind; tries on while no broker answers.
    /// What brokers refuse for good, such as a setting or a right, is not asked for again.
    pub(crate) fn start(&mut self, stop: &StopHandle) -> Result<(), KafkaError> {
        let start = Instant::now();
        while self.producer.is_none() && !stop.is_requested() {
            let producer = Producer::create(&self.config(), self.followed.clone())?;
            let Err(error) = self.init(&producer) else {
                self.producer = Some(producer);
                break;
            };
            if is_final(&error) {
                return Err(KafkaError::of("starting a transactional producer", &error));
            }
            tracing::warn!(%error, waited_s = start.elapsed().as_secs(), "no transactional producer yet");
            drop(producer);
            self.pause();
        }
        Ok(())
    }

    fn init(&self, producer: &Producer) -> Result<(), ClientError> {
        let _watched = self.watchdog.watch("init_transactions", CALL_TIMEOUT + WATCHDOG_SLACK);
        let fault = self.faults.at(Step::Init);
        fault.before().and_then(|()| fault.after("")).map_err(|_| ClientError::Canceled)?;
        producer.client.init_transactions(CALL_TIMEOUT)
    }

    /// Sends records in the transaction that the next [`commit`](Self::commit) ends, and begins it where none is open. On a
    /// failure the transaction is over and, where it had to be, so is the producer.
    pub(crate) fn send<'a>(
        &mut self,
        records: &mut dyn Iterator<Item = ProduceRecord<'a>>,
        stop: &StopHandle,
    ) -> Result<(), TransactionError> {
        self.start(stop).map_err(TransactionError::Undeliverable)?;
        let sent = self.begin().and_then(|()| self.queue_all(records));
        sent.map_err(|error| self.end(error))?;
        self.producer.iter().for_each(Producer::poll);
        Ok(())
    }

    /// Ends what was sent and is not going to be committed, without a trace.
    pub(crate) fn abandon(&mut self) {
        if self.is_open {
            self.end(TransactionError::Abortable("it is not committed".to_owned()));
        }
    }

    /// Commits a batch: these records, with those that were sent before. On a failure the transaction is over and, where it
    /// had to be, so is the producer.
    pub(crate) fn commit<'a>(
        &mut self,
        transaction: &Transaction<'_>,
        records: &mut dyn Iterator<Item = ProduceRecord<'a>>,
        consumer: &GroupConsumer,
        stop: &StopHandle,
    ) -> Result<ProducedOffsets, TransactionError> {
        self.start(stop).map_err(TransactionError::Undeliverable)?;
        match self.begin().and_then(|()| self.attempt(transaction, records, consumer)) {
            Ok(produced) => {
                self.is_open = false;
                if std::mem::take(&mut self.is_isolating) {
                    self.discard();
                }
                Ok(produced)
            }
            Err(error) => Err(self.end(error)),
        }
    }

    /// When the broker had acknowledged all records of the last transaction, where it did.
    pub(crate) fn acknowledged(&self) -> Option<Instant> {
        self.acknowledged.get()
    }

    fn begin(&mut self) -> Result<(), TransactionError> {
        if self.is_open {
            return Ok(());
        }
        let Some(producer) = &self.producer else { return Err(TransactionError::Abortable("stopping".to_owned())) };
        let _ = (producer.take_failures(), producer.take_produced());
        self.acknowledged.set(None);
        self.call(Step::Begin, "begin_transaction", || producer.client.begin_transaction())?;
        self.is_open = true;
        Ok(())
    }

    fn queue_all<'a>(&self, records: &mut dyn Iterator<Item = ProduceRecord<'a>>) -> Result<(), TransactionError> {
        let Some(producer) = &self.producer else { return Err(TransactionError::Abortable("stopping".to_owned())) };
        self.faults.at(Step::Send).before()?;
        for record in records {
            if !self.faults.queue_outside(&self.settings, &record) {
                queue(producer, record)?;
            }
        }
        Ok(())
    }

    fn attempt<'a>(
        &self,
        transaction: &Transaction<'_>,
        records: &mut dyn Iterator<Item = ProduceRecord<'a>>,
        consumer: &GroupConsumer,
    ) -> Result<ProducedOffsets, TransactionError> {
        let Some(producer) = &self.producer else { return Err(TransactionError::Abortable("stopping".to_owned())) };
        // Asked once the records have been read, and answered while the results are sent. The consumer's own connection
        // would answer only after the fetch that waits on it for more records.
        let is_same_topic = transaction.input.ask(producer.client.client());
        let offsets = self.offsets(transaction)?;
        let are_committed = self.faults.commit_outside(consumer, &offsets);
        self.queue_all(records)?;
        if offsets.count() > 0 && !are_committed {
            transaction.fence.commit(consumer, |metadata| {
                let stranger = self.faults.without_fence();
                let metadata = stranger.as_ref().unwrap_or(metadata);
                self.call(Step::Offsets, "send_offsets_to_transaction", || {
                    producer.client.send_offsets_to_transaction(&offsets, metadata, CALL_TIMEOUT)
                })
            })?;
        }
        self.wait_for_acknowledgements(producer).map_err(|error| TransactionError::Abortable(error.to_string()))?;
        if producer.has_failures() {
            return Err(TransactionError::Abortable("a message was not accepted".to_owned()));
        }
        self.acknowledged.set(Some(Instant::now()));
        transaction.input.confirm(producer.client.client(), is_same_topic).map_err(|error| match error {
            KafkaError::Failed { .. } => TransactionError::Abortable(error.to_string()),
            error => TransactionError::Undeliverable(error),
        })?;
        let commit = || producer.client.commit_transaction(CALL_TIMEOUT);
        self.call(Step::Commit, "commit_transaction", commit).map_err(|error| match error {
            TransactionError::FatalProducer(reason) => TransactionError::Unknown(reason, producer.take_produced()),
            other => other,
        })?;
        Ok(producer.take_produced())
    }

    /// Ends a transaction that failed, without a trace unless its commit is under way; why it failed, now that the broker
    /// has been heard about each record.
    fn end(&mut self, error: TransactionError) -> TransactionError {
        self.is_open = false;
        let Some(producer) = &self.producer else { return error };
        let is_lost = matches!(error, TransactionError::FatalProducer(_) | TransactionError::Unknown(..));
        // Requests under way are answered soon, where there is anybody to answer. What the others say would be lost.
        producer.client.purge(PurgeConfig::default().queue());
        if !producer.is_settled_within(ANSWER_TIMEOUT) {
            producer.client.purge(PurgeConfig::default().queue().inflight());
            let _ = self.wait_for_acknowledgements(producer);
        }
        let failures = producer.take_failures();
        let may_arrive_late = failures.may_arrive_late;
        let error = match error.because_of(failures) {
            TransactionError::Undeliverable(error) => return TransactionError::Undeliverable(error),
            TransactionError::Refused(refused) => TransactionError::Refused(self.named(refused)),
            error => error,
        };
        let has_to_isolate = matches!(&error, TransactionError::Refused(refused) if refused.is_empty());
        // A request that arrives after the abort would be taken into the next transaction of this producer; a new one has
        // another epoch.
        if is_lost || may_arrive_late {
            self.discard();
        } else if let Err(error) = self.abort() {
            tracing::debug!(%error, "the transaction could not be aborted: a new producer will");
            self.discard();
        }
        if has_to_isolate {
            self.is_isolating = true;
            self.discard();
        }
        error
    }

    /// Those of which it is certain that they are meant: where a batch of several is refused, that may be for one of them.
    fn named(&self, refused: Vec<RefusedRecord>) -> Vec<RefusedRecord> {
        if self.is_isolating || refused.len() == 1 {
            return refused;
        }
        refused.into_iter().filter(RefusedRecord::is_named).collect()
    }

    /// Whether the transaction whose answer was lost was committed, by the offsets that are committed now. `None` where
    /// they do not tell. A producer has to have been started since: only then is the transaction over.
    pub(crate) fn was_committed(
        &self,
        transaction: &Transaction<'_>,
        consumer: &GroupConsumer,
        stop: &StopHandle,
    ) -> Option<bool> {
        if self.producer.is_none() || transaction.offsets.is_empty() || self.faults.are_offsets_outside() {
            return None;
        }
        let partitions: Vec<i32> = transaction.offsets.iter().map(|(partition, ..)| *partition).collect();
        let committed =
            committed_offsets(consumer, &transaction.input.name, &partitions, &self.watchdog, || stop.is_requested());
        let committed = match committed {
            Ok(committed) => committed?,
            Err(error) => {
                tracing::debug!(%error, "looking whether a batch was committed");
                return None;
            }
        };
        let is_there = |(partition, next, metadata): &(i32, i64, String)| {
            let found = committed.find_partition(&transaction.input.name, *partition);
            found.is_some_and(|found| found.offset() == Offset::Offset(*next) && found.metadata() == metadata)
        };
        match transaction.offsets.iter().filter(|offset| is_there(offset)).count() {
            0 => Some(false),
            all if all == transaction.offsets.len() => Some(true),
            _ => None,
        }
    }

    /// Whether batches may be tried again: not where a guarantee is broken on purpose, which would go unnoticed.
    pub(crate) fn may_try_again(&self) -> bool {
        !self.faults.are_offsets_outside()
    }

    fn offsets(&self, transaction: &Transaction<'_>) -> Result<TopicPartitionList, TransactionError> {
        let mut offsets = TopicPartitionList::new();
        for (partition, next, metadata) in transaction.offsets {
            offsets
                .add_partition_offset(&transaction.input.name, *partition, Offset::Offset(*next))
                .map_err(|error| TransactionError::Abortable(error.to_string()))?;
            if let Some(mut element) = offsets.find_partition(&transaction.input.name, *partition)
                && !self.faults.are_offsets_outside()
            {
                element.set_metadata(metadata);
            }
        }
        Ok(offsets)
    }

    /// Makes a call, again and again while it may be retried and there is time.
    fn call(
        &self,
        step: Step,
        what: &'static str,
        mut call: impl FnMut() -> Result<(), ClientError>,
    ) -> Result<(), TransactionError> {
        let fault = self.faults.at(step);
        fault.before()?;
        let _watched = self.watchdog.watch(what, CALL_TIMEOUT + WATCHDOG_SLACK);
        let start = Instant::now();
        loop {
            let Err(error) = call() else { return fault.after(what) };
            let text = format!("{what}: {error}");
            let ClientError::Transaction(cause) = &error else { return Err(TransactionError::Abortable(text)) };
            if cause.is_fatal() {
                return Err(TransactionError::FatalProducer(text));
            }
            if cause.txn_requires_abort() {
                return Err(TransactionError::Abortable(text));
            }
            // Whether a commit without an answer happened is for a new producer to find out (librdkafka issue 5423).
            if !cause.is_retriable() || start.elapsed() >= CALL_TIMEOUT {
                return Err(TransactionError::FatalProducer(text));
            }
            tracing::debug!(error = text, "retrying");
            self.pause();
        }
    }

    /// Gives brokers a moment before they are asked again; acknowledgements are let in meanwhile.
    fn pause(&self) {
        match &self.producer {
            Some(producer) => producer.client.poll(PAUSE),
            None => std::thread::sleep(PAUSE),
        }
    }

    fn wait_for_acknowledgements(&self, producer: &Producer) -> Result<(), ClientError> {
        let _watched = self.watchdog.watch("waiting for acknowledgements", CALL_TIMEOUT * 2 + WATCHDOG_SLACK);
        producer.wait_for_acknowledgements()
    }

    /// Ends the transaction without a trace.
    fn abort(&self) -> Result<(), TransactionError> {
        let Some(producer) = &self.producer else { return Ok(()) };
        let _watched = self.watchdog.watch("abort_transaction", CALL_TIMEOUT * 2 + WATCHDOG_SLACK);
        let _ = producer.take_produced();
        self.call(Step::Abort, "abort_transaction", || producer.client.abort_transaction(CALL_TIMEOUT))
    }

    fn discard(&mut self) {
        let _watched = self.watchdog.watch("dropping a producer", CALL_TIMEOUT + WATCHDOG_SLACK);
        self.producer = None;
        self.is_open = false;
    }
}

/// Whether a producer with the same settings would fail in the same way. The client calls both a refusal and a fenced
/// producer fatal; only the code tells them apart.
fn is_final(error: &ClientError) -> bool {
    let refused = error.rdkafka_error_code().is_some_and(is_denial);
    let ClientError::Transaction(cause) = error else { return refused };
    refused || (!cause.is_retriable() && !cause.is_fatal())
}

/// Lets no batch of records be larger than this, unless the user says otherwise: the client would put up to a million bytes
/// into one, and a topic that takes less would refuse records that are small.
pub(crate) fn limit_batches(config: &mut ClientConfig, settings: &KafkaSettings, bytes: usize) {
    if settings.property("batch.size").is_none() {
        config.set("batch.size", bytes.clamp(1, DEFAULT_BATCH_BYTES).to_string());
    }
}

fn queue(producer: &Producer, record: ProduceRecord<'_>) -> Result<(), TransactionError> {
    let (topic, tag) = (record.topic, record.tag);
    producer.queue(record).map_err(|error| match error.rdkafka_error_code() {
        _ if producer.client.client().fatal_error().is_some() => TransactionError::FatalProducer(error.to_string()),
        Some(code) => TransactionError::undelivered(tag, topic.to_owned(), code),
        None => TransactionError::Abortable(error.to_string()),
    })
}
