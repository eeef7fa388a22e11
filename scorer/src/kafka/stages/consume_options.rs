//! How the first stage works.

use std::time::Duration;

use super::faults::FaultInjection;
use crate::kafka::membership::lost::LossPolicy;
use crate::kafka::options::{Delivery, EndWhen};
use crate::kafka::repartition::progress::RepartitionProgress;
use crate::kafka::schemas::SchemaWaits;
use crate::kafka::stop::StopHandle;
use crate::messages::Costs;
use crate::pasts::PastAnswers;
use crate::status::StatusCell;

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
    /// How far the repartitioner is, where there is one.
    pub repartitioner: Option<RepartitionProgress>,
    /// Who asks what is remembered of keys.
    pub pasts: PastAnswers,
    pub stop: StopHandle,
    pub status: StatusCell,
    pub faults: FaultInjection,
}
