//! How the first stage works.

use std::time::Duration;

use super::faults::FaultInjection;
use super::peers::Peers;
use crate::kafka::membership::lost::LossPolicy;
use crate::kafka::options::{Delivery, EndWhen};
use crate::kafka::repartition::progress::RepartitionProgress;
use crate::kafka::schemas::SchemaWaits;
use crate::kafka::stop::StopHandle;
use crate::messages::Costs;
use crate::pasts::PastAnswers;
use crate::status::StatusCell;

/// The longest time for which a transaction is open on purpose; much less than `transaction.timeout.ms`, after which the
/// broker ends it.
const LONGEST_TRANSACTION: Duration = Duration::from_secs(10);

/// How the first stage works.
pub(crate) struct ConsumeOptions {
    pub delivery: Delivery,
    /// What batches take until they are committed.
    pub costs: Costs,
    pub commit_interval: Duration,
    pub end_when: EndWhen,
    pub losses: LossPolicy,
    /// The records that wait for their schemas.
    pub schemas: SchemaWaits,
    /// How far those are who write what is read here: the repartitioner, or the hop before.
    pub repartitioner: Option<RepartitionProgress>,
    /// The other stream threads of the process.
    pub peers: Peers,
    /// Who asks what is remembered of keys.
    pub pasts: PastAnswers,
    pub stop: StopHandle,
    pub status: StatusCell,
    pub faults: FaultInjection,
}

impl ConsumeOptions {
    /// Whether outputs leave before their batch is whole.
    pub(crate) fn sends_ahead(&self) -> bool {
        match self.delivery {
            Delivery::AtLeastOnce => true,
            Delivery::ExactlyOnce => self.commit_interval <= LONGEST_TRANSACTION,
        }
    }
}
