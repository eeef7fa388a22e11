//! One transaction a micro-batch: outputs, changes of state and the input's offsets are committed together or not at all.
//!
//! Errors are of two kinds here, after the client has retried what can be retried. **Abort**: the transaction came to
//! nothing and the producer lives on. **Rebuild**: the producer is of no more use, or nobody knows whether the commit
//! happened: then the producer goes, a new one finds out (its start finishes or aborts what the old one left), and all
//! state is read again.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::producer::{Producer, PurgeConfig};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::kafka::client::consumer::InputConsumer;
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::producer::{Ends, Outgoing, Sender};
use crate::kafka::client::settings::KafkaSettings;
use crate::kafka::client::watchdog::Watchdog;
use crate::kafka::stop::StopHandle;

/// How long a call of a transaction may take before it counts as failed.
const CALL_TIMEOUT: Duration = Duration::from_secs(40);

/// How long brokers are left alone before a call is made again.
const PAUSE: Duration = Duration::from_millis(50);

/// How long after that it may still not return before the process ends.
const WATCHDOG_SLACK: Duration = Duration::from_secs(40);

/// The calls of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Starting a producer, which fences its former self.
    Init,
    /// Beginning.
    Begin,
    /// A message.
    Send,
    /// The input's offsets.
    Offsets,
    /// Committing.
    Commit,
    /// Giving up.
    Abort,
}

/// A failure that a test injects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call fails, and the transaction has to be aborted.
    Abort,
    /// The call fails, and the producer is of no more use.
    Rebuild,
    /// The call is made, and its answer is lost.
    LostAnswer,
}

/// Says before each call whether it is to fail: for tests.
pub type Faults = Arc<dyn Fn(Step) -> Option<Fault> + Send + Sync>;

/// Why a transaction came to nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The producer lives on.
    Abort(String),
    /// The producer is of no more use.
    Rebuild(String),
    /// Trying again would not help.
    Hopeless(KafkaError),
}

/// Hands messages to whoever sends them, one by one, until one is refused.
pub(crate) type Messages<'a> = dyn Fn(&mut dyn FnMut(Outgoing<'_>) -> Result<(), Failure>) -> Result<(), Failure> + 'a;

/// What a batch commits together.
pub(crate) struct Transaction<'a> {
    pub messages: &'a Messages<'a>,
    /// The topic whose offsets are committed.
    pub topic: &'a str,
    /// Partitions, the next offset of each, and what stands beside it.
    pub offsets: &'a [(i32, i64, String)],
    pub group: &'a ConsumerGroupMetadata,
    /// How often partitions had been given up when the batch was made.
    pub given_up: u64,
}

/// Commits batches, one at a time, with a producer that is replaced when it has to be.
pub(crate) struct Transactions {
    settings: KafkaSettings,
    id: String,
    followed: Vec<String>,
    watchdog: Watchdog,
    faults: Option<Faults>,
    sender: Option<Sender>,
    /// Breaks the guarantee, for the test that has to notice.
    pub offsets_outside: bool,
}

impl fmt::Debug for Transactions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transactions").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Transactions {
    pub(crate) fn new(
        settings: &KafkaSettings,
        id: &str,
        followed: Vec<String>,
        watchdog: Watchdog,
        faults: Option<Faults>,
    ) -> Self {
        let (settings, id) = (settings.clone(), id.to_owned());
        Self { settings, id, followed, watchdog, faults, sender: None, offsets_outside: false }
    }

    /// Starts a producer, which ends whatever transaction its former self left behind; tries on while no broker answers.
    pub(crate) fn start(&mut self, stop: &StopHandle) -> Result<(), KafkaError> {
        let start = Instant::now();
        while self.sender.is_none() && !stop.is_requested() {
            let sender = Sender::create(&self.settings.transactional_producer(&self.id), self.followed.clone())?;
            let watched = self.watchdog.watch("init_transactions", CALL_TIMEOUT + WATCHDOG_SLACK);
            let result = match self.fault(Step::Init) {
                Some(_) => Err(ClientError::Canceled),
                None => sender.producer.init_transactions(CALL_TIMEOUT),
            };
            drop(watched);
            match result {
                Ok(()) => self.sender = Some(sender),
                Err(error) => {
                    if let ClientError::Transaction(cause) = &error
                        && !cause.is_retriable()
                        && !cause.is_fatal()
                    {
                        return Err(KafkaError::failed("starting a transactional producer")(error));
                    }
                    tracing::warn!(%error, waited_s = start.elapsed().as_secs(), "no transactional producer yet");
                    self.pause();
                }
            }
        }
        Ok(())
    }

    /// Commits a batch; on a failure the transaction is over and, where it had to be, so is the producer.
    pub(crate) fn commit(
        &mut self,
        transaction: &Transaction<'_>,
        consumer: &InputConsumer,
        stop: &StopHandle,
    ) -> Result<Ends, Failure> {
        self.start(stop).map_err(Failure::Hopeless)?;
        let result = self.attempt(transaction, consumer);
        match &result {
            Ok(_) | Err(Failure::Hopeless(_)) => {}
            Err(Failure::Abort(_)) => {
                if let Err(error) = self.abort() {
                    tracing::debug!(error, "the transaction could not be aborted: a new producer will");
                    self.discard();
                }
            }
            Err(Failure::Rebuild(_)) => self.discard(),
        }
        result
    }

    fn attempt(&self, transaction: &Transaction<'_>, consumer: &InputConsumer) -> Result<Ends, Failure> {
        let Some(sender) = &self.sender else { return Err(Failure::Abort("stopping".to_owned())) };
        let _ = (sender.take_failure(), sender.take_ends());
        self.call(Step::Begin, "begin_transaction", || sender.producer.begin_transaction())?;
        let offsets = self.offsets(transaction)?;
        if self.offsets_outside && offsets.count() > 0 {
            let committed = consumer.commit(&offsets, rdkafka::consumer::CommitMode::Sync);
            tracing::warn!(?committed, "offsets are committed on their own: a guarantee is broken on purpose");
        }
        self.send_all(sender, transaction)?;
        if offsets.count() > 0 && !self.offsets_outside {
            let fresh = consumer.group_metadata();
            // The group's latest word, unless we gave partitions up meanwhile: then ours from before, which is refused.
            let is_ours = consumer.context().times_given_up() == transaction.given_up;
            let group = fresh.as_ref().filter(|_| is_ours).unwrap_or(transaction.group);
            self.call(Step::Offsets, "send_offsets_to_transaction", || {
                sender.producer.send_offsets_to_transaction(&offsets, group, CALL_TIMEOUT)
            })?;
        }
        let watched = self.watchdog.watch("waiting for acknowledgements", CALL_TIMEOUT * 2 + WATCHDOG_SLACK);
        sender.wait_for_acknowledgements().map_err(|error| Failure::Abort(error.to_string()))?;
        drop(watched);
        if let Some((topic, code)) = sender.take_failure() {
            return Err(undelivered(topic, code));
        }
        let commit = self.call(Step::Commit, "commit_transaction", || sender.producer.commit_transaction(CALL_TIMEOUT));
        commit.map(|()| sender.take_ends())
    }

    fn offsets(&self, transaction: &Transaction<'_>) -> Result<TopicPartitionList, Failure> {
        let mut offsets = TopicPartitionList::new();
        for (partition, next, metadata) in transaction.offsets {
            offsets
                .add_partition_offset(transaction.topic, *partition, Offset::Offset(*next))
                .map_err(|error| Failure::Abort(error.to_string()))?;
            if let Some(mut element) = offsets.find_partition(transaction.topic, *partition)
                && !self.offsets_outside
            {
                element.set_metadata(metadata);
            }
        }
        Ok(offsets)
    }

    fn send_all(&self, sender: &Sender, transaction: &Transaction<'_>) -> Result<(), Failure> {
        if let Some(failure) = self.injected(Step::Send) {
            return Err(failure);
        }
        let mut send = |message: Outgoing<'_>| {
            sender.queue(message).map_err(|error| match error.rdkafka_error_code() {
                _ if sender.producer.client().fatal_error().is_some() => Failure::Rebuild(error.to_string()),
                Some(code) => undelivered(message.topic.to_owned(), code),
                None => Failure::Abort(error.to_string()),
            })
        };
        (transaction.messages)(&mut send)
    }

    /// Makes a call, again and again while it may be retried and there is time.
    fn call(
        &self,
        step: Step,
        what: &'static str,
        mut call: impl FnMut() -> Result<(), ClientError>,
    ) -> Result<(), Failure> {
        let fault = self.fault(step);
        if let Some(failure) = fault.filter(|fault| *fault != Fault::LostAnswer).map(Failure::injected) {
            return Err(failure);
        }
        let _watched = self.watchdog.watch(what, CALL_TIMEOUT + WATCHDOG_SLACK);
        let start = Instant::now();
        loop {
            let error = match call() {
                Ok(()) if fault.is_some() => return Err(Failure::Rebuild(format!("{what}: injected: no answer"))),
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let text = format!("{what}: {error}");
            let ClientError::Transaction(cause) = &error else { return Err(Failure::Abort(text)) };
            if cause.is_fatal() {
                return Err(Failure::Rebuild(text));
            }
            if cause.txn_requires_abort() {
                return Err(Failure::Abort(text));
            }
            // Whether a commit without an answer happened is for a new producer to find out (librdkafka issue 5423).
            if !cause.is_retriable() || start.elapsed() >= CALL_TIMEOUT {
                return Err(Failure::Rebuild(text));
            }
            tracing::debug!(error = text, "trying again");
            self.pause();
        }
    }

    /// Gives brokers a moment before they are asked again; acknowledgements are let in meanwhile.
    fn pause(&self) {
        match &self.sender {
            Some(sender) => sender.producer.poll(PAUSE),
            None => std::thread::sleep(PAUSE),
        }
    }

    /// Ends the transaction without a trace.
    fn abort(&self) -> Result<(), String> {
        let Some(sender) = &self.sender else { return Ok(()) };
        // The client waits for messages under way, and with our kind of polling nobody would tell it of them.
        sender.producer.purge(PurgeConfig::default().queue().inflight());
        let _watched = self.watchdog.watch("abort_transaction", CALL_TIMEOUT * 2 + WATCHDOG_SLACK);
        sender.wait_for_acknowledgements().map_err(|error| error.to_string())?;
        let _ = (sender.take_failure(), sender.take_ends());
        let abort = || sender.producer.abort_transaction(CALL_TIMEOUT);
        match self.call(Step::Abort, "abort_transaction", abort) {
            Ok(()) => Ok(()),
            Err(Failure::Abort(text) | Failure::Rebuild(text)) => Err(text),
            Err(Failure::Hopeless(error)) => Err(error.to_string()),
        }
    }

    fn discard(&mut self) {
        let _watched = self.watchdog.watch("dropping a producer", CALL_TIMEOUT + WATCHDOG_SLACK);
        self.sender = None;
    }

    fn fault(&self, step: Step) -> Option<Fault> {
        self.faults.as_ref().and_then(|faults| faults(step))
    }

    fn injected(&self, step: Step) -> Option<Failure> {
        self.fault(step).map(Failure::injected)
    }
}

impl Failure {
    fn injected(fault: Fault) -> Self {
        match fault {
            Fault::Abort => Self::Abort("injected".to_owned()),
            Fault::Rebuild | Fault::LostAnswer => Self::Rebuild("injected".to_owned()),
        }
    }
}

/// What a message that was not accepted means for its transaction.
fn undelivered(topic: String, code: RDKafkaErrorCode) -> Failure {
    match code {
        // The same message would be refused again.
        RDKafkaErrorCode::MessageSizeTooLarge
        | RDKafkaErrorCode::InvalidMessage
        | RDKafkaErrorCode::InvalidMessageSize
        | RDKafkaErrorCode::TopicAuthorizationFailed
        | RDKafkaErrorCode::UnknownTopicOrPartition
        | RDKafkaErrorCode::UnknownTopic
        | RDKafkaErrorCode::UnknownPartition => {
            Failure::Hopeless(KafkaError::NotDelivered { topic, cause: code.to_string() })
        }
        _ => Failure::Abort(format!("a message to `{topic}`: {code}")),
    }
}
