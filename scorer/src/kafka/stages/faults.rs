//! Failures and broken guarantees on demand: the acceptance tests show that the scorer survives the first and that they
//! notice the second. The program that ships is built without the feature `fault-injection` and has neither.

/// What can go wrong: reading, and the calls of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Reading a record.
    Read,
    /// Starting a producer, which fences its predecessor.
    Init,
    /// Beginning.
    Begin,
    /// Sending a record.
    Send,
    /// The input's offsets.
    Offsets,
    /// Committing.
    Commit,
    /// Aborting.
    Abort,
}

#[cfg(feature = "fault-injection")]
pub use injected::{Fault, FaultInjection, Faults, Mutation, SuddenEnd};

#[cfg(not(feature = "fault-injection"))]
pub use none::FaultInjection;

#[cfg(not(feature = "fault-injection"))]
mod none {
    use rdkafka::consumer::ConsumerGroupMetadata;
    use rdkafka::topic_partition_list::TopicPartitionList;

    use super::Step;
    use crate::kafka::client::consumer::GroupConsumer;
    use crate::kafka::client::producer::ProduceRecord;
    use crate::kafka::client::settings::KafkaSettings;
    use crate::kafka::stages::transaction_error::TransactionError;

    /// No faults.
    #[derive(Debug, Clone, Default)]
    pub struct FaultInjection;

    impl FaultInjection {
        pub(crate) fn at(&self, _: Step) -> Self {
            Self
        }

        pub(crate) fn pass(&self, _: Step) {}

        pub(crate) fn before(&self) -> Result<(), TransactionError> {
            Ok(())
        }

        pub(crate) fn after(&self, _: &str) -> Result<(), TransactionError> {
            Ok(())
        }

        pub(crate) fn commit_outside(&self, _: &GroupConsumer, _: &TopicPartitionList) -> bool {
            false
        }

        pub(crate) fn are_offsets_outside(&self) -> bool {
            false
        }

        pub(crate) fn queue_outside(&self, _: &KafkaSettings, _: &ProduceRecord<'_>) -> bool {
            false
        }

        pub(crate) fn without_fence(&self) -> Option<ConsumerGroupMetadata> {
            None
        }
    }
}

#[cfg(feature = "fault-injection")]
mod injected {
    use std::fmt;
    use std::str::FromStr;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use std::sync::{Arc, OnceLock};

    use rdkafka::config::ClientConfig;
    use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerGroupMetadata};
    use rdkafka::topic_partition_list::TopicPartitionList;

    use super::Step;
    use crate::kafka::client::consumer::GroupConsumer;
    use crate::kafka::client::producer::{ProduceRecord, Producer};
    use crate::kafka::client::settings::KafkaSettings;
    use crate::kafka::stages::transaction_error::TransactionError;

    /// A guarantee that is broken on purpose, for the test that has to notice.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Mutation {
        /// Offsets are committed on their own, before the transaction.
        OffsetsOutsideTransaction,
        /// Changes of state are sent on their own, before the transaction is committed.
        StateOutsideTransaction,
        /// Results are sent on their own, before the transaction is committed.
        ResultsOutsideTransaction,
        /// Offsets are committed for anybody, member of the group or not.
        NoFence,
        /// Offset and state are believed to belong together, whatever the tag beside the offset says.
        TagIgnored,
        /// A snapshot is believed to be of the committed state, whatever its stamp says.
        SnapshotTrusted,
        /// A standby copy, which is kept no further than to the first end of its changelog, is believed to be of the committed
        /// state, whatever its head says.
        StandbyTrusted,
    }

    /// A failure of a call.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Fault {
        /// The call fails, and the transaction has to be aborted.
        Abortable,
        /// The call fails, and the producer is of no more use.
        Fatal,
        /// The call is made, and its answer is lost.
        LostAnswer,
    }

    /// Says before each call whether it is to fail.
    pub type Faults = Arc<dyn Fn(Step) -> Option<Fault> + Send + Sync>;

    /// What is to go wrong.
    #[derive(Clone, Default)]
    pub struct FaultInjection {
        /// Makes calls fail.
        pub faults: Option<Faults>,
        /// Breaks a guarantee.
        pub mutation: Option<Mutation>,
        /// Ends the process.
        pub end: Option<Arc<SuddenEnd>>,
        /// The consumer group, for a commit without a fence.
        pub group: String,
        /// The producer of what is sent outside of the transaction.
        pub outside: Arc<OnceLock<Producer>>,
    }

    impl fmt::Debug for FaultInjection {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let Self { faults, mutation, end, .. } = self;
            f.debug_struct("FaultInjection")
                .field("faults", &faults.is_some())
                .field("mutation", mutation)
                .field("end", end)
                .finish_non_exhaustive()
        }
    }

    /// An end of the process without a farewell, at a moment that matters.
    #[derive(Debug)]
    pub struct SuddenEnd {
        how: End,
        step: Step,
        is_after: bool,
        is_armed: AtomicBool,
        /// How often that moment still passes once it is armed.
        left: AtomicU32,
    }

    #[derive(Debug, Clone, Copy)]
    enum End {
        Kill,
        Panic,
        /// Not for good: until SIGCONT.
        Stop,
    }

    impl FromStr for SuddenEnd {
        type Err = String;

        /// Such as `kill:before:commit:3`, the third commit, or `panic:after:offsets`, the first. `signal:stop:before:offsets`
        /// waits for [`arm`](Self::arm).
        fn from_str(text: &str) -> Result<Self, String> {
            let parse = || {
                let (text, is_armed) = text.strip_prefix("signal:").map_or((text, true), |text| (text, false));
                let mut parts = text.split(':');
                let how = match parts.next()? {
                    "kill" => End::Kill,
                    "panic" => End::Panic,
                    "stop" => End::Stop,
                    _ => return None,
                };
                let is_after = match parts.next()? {
                    "before" => false,
                    "after" => true,
                    _ => return None,
                };
                let step = match parts.next()? {
                    "read" => Step::Read,
                    "init" => Step::Init,
                    "begin" => Step::Begin,
                    "send" => Step::Send,
                    "offsets" => Step::Offsets,
                    "commit" => Step::Commit,
                    "abort" => Step::Abort,
                    _ => return None,
                };
                let nth: u32 = parts.next().map_or(Some(1), |nth| nth.parse().ok().filter(|nth| *nth > 0))?;
                let (is_armed, left) = (AtomicBool::new(is_armed), AtomicU32::new(nth));
                parts.next().is_none().then_some(Self { how, step, is_after, is_armed, left })
            };
            parse().ok_or_else(|| {
                "use [signal:]kill|panic|stop:before|after:read|init|begin|send|offsets|commit|abort[:N]".to_owned()
            })
        }
    }

    impl SuddenEnd {
        /// From now on its moment counts.
        pub fn arm(&self) {
            self.is_armed.store(true, Ordering::SeqCst);
        }

        fn pass(&self, step: Step, is_after: bool) {
            if (step, is_after) != (self.step, self.is_after)
                || !self.is_armed.load(Ordering::SeqCst)
                || self.left.fetch_sub(1, Ordering::SeqCst) != 1
            {
                return;
            }
            match self.how {
                End::Panic => panic!("a panic on purpose at {step:?}"),
                // Nothing is unwound and nothing is flushed.
                End::Kill => signal_to_self("KILL"),
                End::Stop => signal_to_self("STOP"),
            }
        }
    }

    fn signal_to_self(name: &str) {
        let (signal, process) = (format!("-{name}"), std::process::id().to_string());
        let sent = std::process::Command::new("kill").args([signal, process]).status();
        assert!(sent.is_ok_and(|status| status.success()), "SIG{name} is sent");
    }

    /// What is to go wrong with one call.
    #[derive(Debug, Clone)]
    pub(crate) struct FaultAt {
        fault: Option<Fault>,
        step: Step,
        end: Option<Arc<SuddenEnd>>,
    }

    impl FaultInjection {
        /// What is to go wrong with the next call.
        pub(crate) fn at(&self, step: Step) -> FaultAt {
            FaultAt { fault: self.faults.as_ref().and_then(|faults| faults(step)), step, end: self.end.clone() }
        }

        /// Where the process may end and nothing can fail.
        pub(crate) fn pass(&self, step: Step) {
            if let Some(end) = &self.end {
                end.pass(step, false);
            }
        }

        /// Commits offsets on their own, where that guarantee is to be broken; whether it is.
        pub(crate) fn commit_outside(&self, consumer: &GroupConsumer, offsets: &TopicPartitionList) -> bool {
            if self.are_offsets_outside() && offsets.count() > 0 {
                let committed = consumer.commit(offsets, CommitMode::Sync);
                tracing::warn!(
                    ?committed,
                    "offsets are committed outside the transaction: this breaks the guarantee on purpose"
                );
            }
            self.are_offsets_outside()
        }

        /// Whether offsets are committed on their own: then no tag stands beside them, and they are believed.
        pub(crate) fn are_offsets_outside(&self) -> bool {
            self.mutation == Some(Mutation::OffsetsOutsideTransaction)
        }

        /// Sends a record on its own, where that guarantee is to be broken; whether it did.
        pub(crate) fn queue_outside(&self, settings: &KafkaSettings, record: &ProduceRecord<'_>) -> bool {
            // Only changes of state name their partition.
            let is_outside = match self.mutation {
                Some(Mutation::StateOutsideTransaction) => record.partition.is_some(),
                Some(Mutation::ResultsOutsideTransaction) => record.partition.is_none(),
                _ => false,
            };
            if is_outside {
                let producer = self.outside.get_or_init(|| Producer::new(settings).expect("a producer"));
                producer.queue(record.clone()).expect("the record is queued");
                producer.poll();
            }
            is_outside
        }

        /// The metadata of somebody who is no member, where offsets are to be committed for anybody: the broker then looks
        /// at no generation.
        pub(crate) fn without_fence(&self) -> Option<ConsumerGroupMetadata> {
            if self.mutation != Some(Mutation::NoFence) {
                return None;
            }
            let stranger: BaseConsumer = ClientConfig::new().set("group.id", &self.group).create().ok()?;
            stranger.group_metadata()
        }

        /// Whether the committed offset is believed, whatever the state says of itself, which may be from a standby copy.
        pub(crate) fn believes_offsets(&self, is_from_standby: bool) -> bool {
            use Mutation::{OffsetsOutsideTransaction, SnapshotTrusted, TagIgnored};
            matches!(self.mutation, Some(OffsetsOutsideTransaction | SnapshotTrusted | TagIgnored))
                || (self.is_standby_trusted() && is_from_standby)
        }

        /// Whether the tag beside an offset is not looked at.
        pub(crate) fn is_tag_ignored(&self) -> bool {
            self.mutation == Some(Mutation::TagIgnored)
        }

        /// Whether the stamp of a snapshot is not looked at.
        pub(crate) fn is_snapshot_trusted(&self) -> bool {
            self.mutation == Some(Mutation::SnapshotTrusted)
        }

        /// Whether the head of a standby copy is not looked at.
        pub(crate) fn is_standby_trusted(&self) -> bool {
            self.mutation == Some(Mutation::StandbyTrusted)
        }
    }

    impl FaultAt {
        /// The failure of a call that is not even made.
        pub(crate) fn before(&self) -> Result<(), TransactionError> {
            if let Some(end) = &self.end {
                end.pass(self.step, false);
            }
            match self.fault {
                Some(Fault::Abortable) => Err(TransactionError::Abortable("injected".to_owned())),
                Some(Fault::Fatal) => Err(TransactionError::FatalProducer("injected".to_owned())),
                Some(Fault::LostAnswer) | None => Ok(()),
            }
        }

        /// The failure of a call that was made.
        pub(crate) fn after(&self, what: &str) -> Result<(), TransactionError> {
            if let Some(end) = &self.end {
                end.pass(self.step, true);
            }
            match self.fault {
                Some(_) => Err(TransactionError::FatalProducer(format!("{what}: injected: no answer"))),
                None => Ok(()),
            }
        }
    }
}
