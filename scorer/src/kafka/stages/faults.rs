//! Failures and broken guarantees on demand: the acceptance tests show that the scorer survives the first and that they
//! notice the second. The program that ships is built without the feature `fault-injection` and has neither.

/// The calls of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
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
pub use injected::{Fault, FaultInjection, Faults, Mutation};

#[cfg(not(feature = "fault-injection"))]
pub use none::FaultInjection;

#[cfg(not(feature = "fault-injection"))]
mod none {
    use rdkafka::topic_partition_list::TopicPartitionList;

    use super::Step;
    use crate::kafka::client::consumer::GroupConsumer;
    use crate::kafka::stages::transaction_error::TransactionError;

    /// No faults.
    #[derive(Debug, Clone, Default)]
    pub struct FaultInjection;

    impl FaultInjection {
        pub(crate) fn at(&self, _: Step) -> Self {
            Self
        }

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
    }
}

#[cfg(feature = "fault-injection")]
mod injected {
    use std::fmt;
    use std::sync::Arc;

    use rdkafka::consumer::{CommitMode, Consumer};
    use rdkafka::topic_partition_list::TopicPartitionList;

    use super::Step;
    use crate::kafka::client::consumer::GroupConsumer;
    use crate::kafka::stages::transaction_error::TransactionError;

    /// A guarantee that is broken on purpose, for the test that has to notice.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Mutation {
        /// Offsets are committed on their own, before the transaction.
        OffsetsOutsideTransaction,
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
    }

    impl fmt::Debug for FaultInjection {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let Self { faults, mutation } = self;
            f.debug_struct("FaultInjection").field("faults", &faults.is_some()).field("mutation", mutation).finish()
        }
    }

    /// What is to go wrong with one call.
    #[derive(Debug, Clone, Copy)]
    pub(crate) struct FaultAt(Option<Fault>);

    impl FaultInjection {
        /// What is to go wrong with the next call.
        pub(crate) fn at(&self, step: Step) -> FaultAt {
            FaultAt(self.faults.as_ref().and_then(|faults| faults(step)))
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
    }

    impl FaultAt {
        /// The failure of a call that is not even made.
        pub(crate) fn before(self) -> Result<(), TransactionError> {
            match self.0 {
                Some(Fault::Abortable) => Err(TransactionError::Abortable("injected".to_owned())),
                Some(Fault::Fatal) => Err(TransactionError::FatalProducer("injected".to_owned())),
                Some(Fault::LostAnswer) | None => Ok(()),
            }
        }

        /// The failure of a call that was made.
        pub(crate) fn after(self, what: &str) -> Result<(), TransactionError> {
            match self.0 {
                Some(_) => Err(TransactionError::FatalProducer(format!("{what}: injected: no answer"))),
                None => Ok(()),
            }
        }
    }
}
