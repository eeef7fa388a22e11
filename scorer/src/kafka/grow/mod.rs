//! A topic gets more partitions, and the state of a group is carried over to them. ARCHITECTURE.md has the protocol.
//!
//! `plan` looks at everything and changes nothing: what the group has `committed`, what of the topic is `unread`, how its
//! producers place keys (`partitioner`, by the `evidence` in the state). Then the topics get their partitions, and `write`
//! begins another life of the state, in one transaction with the offsets that name it.

mod committed;
mod evidence;
mod partitioner;
mod plan;
mod unread;
mod write;

use std::sync::Arc;

use shared::pipeline::Pipeline;

use crate::kafka::client::blocking::blocking;
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::settings::KafkaSettings;
use crate::kafka::stages::faults::{FaultInjection, Step};
use crate::kafka::topics::admin::extend_topic;
pub use partitioner::Partitioner;
use plan::Plan;

const DOING: &str = "growing a topic";

/// How a topic is to grow.
#[derive(Debug, Clone)]
pub struct GrowOptions {
    /// How many partitions it is to have.
    pub partitions: i32,
    /// How its producers place keys, where somebody says so.
    pub partitioner: Option<Partitioner>,
    /// Whether nothing is to be changed.
    pub is_dry_run: bool,
    /// Failures: none, except in tests.
    pub faults: FaultInjection,
}

/// A topic that has grown, or would grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grown {
    /// The topic.
    pub topic: String,
    /// How many partitions it had when the state was written.
    pub before: i32,
    /// How keys are placed, where state is placed by keys.
    pub partitioner: Option<Partitioner>,
    /// Keys in the state.
    pub keys: u64,
    /// Those that go to another partition.
    pub moved: u64,
    /// Bytes of the state.
    pub bytes: u64,
    /// The partitions that there are then: `(n_partitions)`.
    pub partitions: Vec<GrownPartition>,
    /// What has to be read before, if anything.
    pub unread: Option<String>,
}

/// A partition of a topic that has grown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrownPartition {
    /// The first record that is not in the state.
    pub offset: i64,
    /// Open entities, or records that wait.
    pub open: usize,
    /// Closed keys that are remembered.
    pub closed: usize,
    /// Keys whose past is remembered.
    pub keys: usize,
}

/// Gives the topic that `group` reads more partitions, and divides the group's state among them: where lines are
/// repartitioned, the topic of copies. `None` where it has as many already, and the state is divided so.
///
/// # Errors
/// [`KafkaError`] when the group has members, something of the topic is not read, how keys are placed is not known, or
/// Kafka refuses. Offsets and state are as they were then; the topic may have its partitions.
pub async fn grow(
    settings: &KafkaSettings,
    pipeline: &Arc<Pipeline>,
    group: &str,
    options: &GrowOptions,
) -> Result<Option<Grown>, KafkaError> {
    let (asked, of, name, how) = (settings.clone(), pipeline.clone(), group.to_owned(), options.clone());
    let Some(plan) = blocking(DOING, move || Plan::new(&asked, &of, &name, &how)).await? else { return Ok(None) };
    if options.is_dry_run {
        return Ok(Some(plan.grown));
    }
    plan.refuse_unread()?;
    options.faults.pass(Step::Init);
    // Until the state has begun another life, a scorer that starts is told that the number of partitions has changed.
    for topic in plan.topics() {
        extend_topic(settings, &topic, options.partitions).await?;
    }
    options.faults.pass(Step::Begin);
    blocking(DOING, move || plan.carry_out()).await.map(Some)
}
