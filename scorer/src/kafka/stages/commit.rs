//! One transaction a micro-batch: outputs, changes of state and the input's offsets are committed together or not at all.
//!
//! Errors are of three kinds, after the client has retried what can be retried. **Abortable**: the transaction is aborted
//! and the producer can be used again. **Fatal**: the producer cannot be used any more, or it is not known whether the commit
//! happened. A new producer finds out (its start finishes or aborts what the old one left), and all state is restored.
//! **Undeliverable**: the batch would fail again, and the process ends.

use std::fmt;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError as ClientError;
use rdkafka::producer::{Producer as _, PurgeConfig};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::faults::{FaultInjection, Step};
use super::transaction_error::TransactionError;
use crate::kafka::client::consumer::GroupConsumer;
use crate::kafka::client::error::{KafkaError, is_refusal};
use crate::kafka::client::producer::{ProduceRecord, ProducedOffsets, Producer};
use crate::kafka::client::settings::KafkaSettings;
use crate::kafka::client::watchdog::Watchdog;
use crate::kafka::membership::commit_fence::CommitFence;
use crate::kafka::stop::StopHandle;
use crate::kafka::topics::input::InputTopic;

/// How long a call of a transaction may take before it counts as failed.
const CALL_TIMEOUT: Duration = Duration::from_secs(40);

/// How long brokers are left alone before a call is made again.
const PAUSE: Duration = Duration::from_millis(50);

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
    watchdog: Watchdog,
    faults: FaultInjection,
    producer: Option<Producer>,
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
        watchdog: Watchdog,
        faults: FaultInjection,
    ) -> Self {
        Self { settings: settings.clone(), id, followed, watchdog, faults, producer: None }
    }

    /// Starts a producer, which ends whatever transaction its predecessor left behind; tries on while no broker answers.
    /// What brokers refuse for good, such as a setting or a right, is not asked for again.
    pub(crate) fn start(&mut self, stop: &StopHandle) -> Result<(), KafkaError> {
        let start = Instant::now();
        while self.producer.is_none() && !stop.is_requested() {
            let producer = Producer::create(&self.settings.transactional_producer(&self.id), self.followed.clone())?;
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

    /// Commits a batch; on a failure the transaction is over and, where it had to be, so is the producer.
    pub(crate) fn commit<'a>(
        &mut self,
        transaction: &Transaction<'_>,
        records: &mut dyn Iterator<Item = ProduceRecord<'a>>,
        consumer: &GroupConsumer,
        stop: &StopHandle,
    ) -> Result<ProducedOffsets, TransactionError> {
        self.start(stop).map_err(TransactionError::Undeliverable)?;
        let result = self.attempt(transaction, records, consumer);
        match &result {
            Ok(_) | Err(TransactionError::Undeliverable(_)) => {}
            Err(TransactionError::Abortable(_)) => {
                if let Err(error) = self.abort() {
                    tracing::debug!(%error, "the transaction could not be aborted: a new producer will");
                    self.discard();
                }
            }
            Err(TransactionError::FatalProducer(_)) => self.discard(),
        }
        result
    }

    fn attempt<'a>(
        &self,
        transaction: &Transaction<'_>,
        records: &mut dyn Iterator<Item = ProduceRecord<'a>>,
        consumer: &GroupConsumer,
    ) -> Result<ProducedOffsets, TransactionError> {
        let Some(producer) = &self.producer else { return Err(TransactionError::Abortable("stopping".to_owned())) };
        let _ = (producer.take_failure(), producer.take_produced());
        self.call(Step::Begin, "begin_transaction", || producer.client.begin_transaction())?;
        // Asked once the records have been read, and answered while the results are sent.
        let is_same_topic = transaction.input.ask(consumer.client());
        let offsets = self.offsets(transaction)?;
        let are_committed = self.faults.commit_outside(consumer, &offsets);
        self.faults.at(Step::Send).before()?;
        for record in records {
            if !self.faults.queue_outside(&self.settings, &record) {
                queue(producer, record)?;
            }
        }
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
        if let Some((topic, code)) = producer.take_failure() {
            return Err(TransactionError::undelivered(topic, code));
        }
        transaction.input.confirm(consumer.client(), is_same_topic).map_err(|error| match error {
            KafkaError::Failed { .. } => TransactionError::Abortable(error.to_string()),
            error => TransactionError::Undeliverable(error),
        })?;
        self.call(Step::Commit, "commit_transaction", || producer.client.commit_transaction(CALL_TIMEOUT))?;
        Ok(producer.take_produced())
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
        // The client waits for the records under way, whose results only our polling would bring.
        producer.client.purge(PurgeConfig::default().queue().inflight());
        let _watched = self.watchdog.watch("abort_transaction", CALL_TIMEOUT * 2 + WATCHDOG_SLACK);
        producer.wait_for_acknowledgements().map_err(|error| TransactionError::Abortable(error.to_string()))?;
        let _ = (producer.take_failure(), producer.take_produced());
        self.call(Step::Abort, "abort_transaction", || producer.client.abort_transaction(CALL_TIMEOUT))
    }

    fn discard(&mut self) {
        let _watched = self.watchdog.watch("dropping a producer", CALL_TIMEOUT + WATCHDOG_SLACK);
        self.producer = None;
    }
}

/// Whether a producer with the same settings would fail in the same way. The client calls both a refusal and a fenced
/// producer fatal; only the code tells them apart.
fn is_final(error: &ClientError) -> bool {
    let refused = error.rdkafka_error_code().is_some_and(is_refusal);
    let ClientError::Transaction(cause) = error else { return refused };
    refused || (!cause.is_retriable() && !cause.is_fatal())
}

fn queue(producer: &Producer, record: ProduceRecord<'_>) -> Result<(), TransactionError> {
    let topic = record.topic;
    producer.queue(record).map_err(|error| match error.rdkafka_error_code() {
        _ if producer.client.client().fatal_error().is_some() => TransactionError::FatalProducer(error.to_string()),
        Some(code) => TransactionError::undelivered(topic.to_owned(), code),
        None => TransactionError::Abortable(error.to_string()),
    })
}
