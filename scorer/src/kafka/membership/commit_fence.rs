//! For whom a batch may be committed.

use rdkafka::consumer::{Consumer, ConsumerGroupMetadata};

use crate::kafka::client::consumer::GroupConsumer;

/// The group as it was when a batch was closed, so that no batch is committed for partitions that others own by now.
///
/// The broker takes offsets only with the group's current member and generation (KIP-447). The latest ones would be
/// right even for a batch with partitions that have been revoked since, so a batch of before a revocation is committed
/// with the metadata of before it, which the broker refuses.
///
/// Where the broker hands out partitions (KIP-848), the member's epoch stands for the generation. It goes up once the member
/// has let go of partitions, and before anybody else gets them. Since KIP-1251 an older epoch is taken as well, but only for
/// partitions that have been the member's since then. An epoch may go up at any heartbeat: what a batch is refused for by
/// that alone, it is sent again.
pub(crate) struct CommitFence<M = ConsumerGroupMetadata> {
    metadata: M,
    /// How often partitions had been revoked.
    revocations: u64,
}

impl CommitFence {
    /// The group as it is. `None` without membership: then there is nothing to commit for.
    pub(crate) fn now(consumer: &GroupConsumer) -> Option<Self> {
        Some(Self { metadata: consumer.group_metadata()?, revocations: consumer.context().revocations() })
    }

    /// Whether everything is still ours that was ours then, as far as we know: a batch that failed may then be committed
    /// again. Whether it really is, the broker says.
    pub(crate) fn holds(&self, consumer: &GroupConsumer) -> bool {
        consumer.context().revocations() == self.revocations && !consumer.assignment_lost()
    }

    /// Commits with the metadata that the broker has to judge this batch by.
    pub(crate) fn commit<T>(&self, consumer: &GroupConsumer, commit: impl FnOnce(&ConsumerGroupMetadata) -> T) -> T {
        // The metadata first: a revocation between the two questions is then seen.
        let latest = consumer.group_metadata();
        commit(self.choose(latest.as_ref(), consumer.context().revocations()))
    }
}

impl<M> CommitFence<M> {
    fn choose<'a>(&'a self, latest: Option<&'a M>, revocations: u64) -> &'a M {
        latest.filter(|_| revocations == self.revocations).unwrap_or(&self.metadata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_of_before_a_revocation_is_committed_as_of_then() {
        let fence = CommitFence { metadata: "generation 5", revocations: 2 };
        let latest = Some("generation 6");
        assert_eq!(*fence.choose(latest.as_ref(), 2), "generation 6", "a rebalance that took nothing away");
        assert_eq!(*fence.choose(latest.as_ref(), 3), "generation 5", "a revocation");
        assert_eq!(*fence.choose(None, 2), "generation 5", "without membership");
    }
}
