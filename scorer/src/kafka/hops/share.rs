//! What each hop gets of what a stream may take, and how it runs.

use std::sync::Arc;

use shared::memory::Size;
use shared::pipeline::Pipeline;

use crate::kafka::client::error::KafkaError;
use crate::kafka::options::{EndWhen, StreamOptions};
use crate::kafka::topics::way::Hop;
use crate::memory::{MemoryPlan, TooLittleMemory, of_standbys};

/// How the stream of a hop runs.
pub(crate) fn options_of(options: &StreamOptions, hop: &Hop) -> StreamOptions {
    let end_when = match &options.end_when {
        // What comes from a hop before has come to its end when that has.
        EndWhen::Reached(_) if hop.has_before() => EndWhen::Reached(Arc::new(|_| true)),
        end_when => end_when.clone(),
    };
    StreamOptions { group: hop.group.clone(), topics: hop.topics.clone(), end_when, ..options.clone() }
}

/// How much each part of one hop may take: all get as much.
///
/// # Errors
/// [`KafkaError::TooLittleMemory`].
pub(crate) fn plan_memory(options: &StreamOptions, partitions: i32, n_hops: usize) -> Result<MemoryPlan, KafkaError> {
    let (partitions, n_hops) = (u32::try_from(partitions).unwrap_or(1), n_hops.max(1) as u64);
    // Whoever started the stream knows of one that keeps copies, and each hop has its own.
    let other_memory = options.other_memory.saturating_add((n_hops - 1) * of_standbys(options.standbys));
    match options.max_memory {
        Some(allowed) => {
            let left = allowed.saturating_sub(other_memory) / n_hops;
            let plan = MemoryPlan::new(left, partitions, options.topics.is_repartitioned());
            // What is named is what is typed.
            let others = |error: TooLittleMemory| TooLittleMemory {
                allowed,
                needed: error.needed.saturating_mul(n_hops).saturating_add(other_memory),
                ..error
            };
            Ok(plan.map_err(others)?)
        }
        None => Ok(MemoryPlan::unbounded()),
    }
}

/// The pipeline whose partitions hold no more than their part of the memory.
pub(crate) fn with_state_of(mut pipeline: Arc<Pipeline>, bytes: usize) -> Arc<Pipeline> {
    if bytes < pipeline.entity.max_state_bytes {
        let (of_pipeline, of_memory) = (Size(pipeline.entity.max_state_bytes as u64), Size(bytes as u64));
        tracing::info!(%of_pipeline, %of_memory, "--max-memory leaves a partition less state than `max_state_bytes`");
        Arc::make_mut(&mut pipeline).entity.max_state_bytes = bytes;
    }
    pipeline
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::kafka::options::{Delivery, OnLostRecords};
    use crate::kafka::stages::faults::FaultInjection;
    use crate::kafka::topics::names::Topics;

    fn options(max_memory: u64) -> StreamOptions {
        StreamOptions {
            group: "g".to_owned(),
            delivery: Delivery::ExactlyOnce,
            topics: Topics::new(&Pipeline::load("invoices").unwrap(), "g"),
            threads: 1,
            instance_id: None,
            state_dir: None,
            batch_records: 1,
            max_memory: Some(max_memory),
            other_memory: 100 << 20,
            standbys: 0,
            commit_interval: Duration::ZERO,
            on_lost_records: OnLostRecords::Continue,
            all_verdicts: false,
            end_when: EndWhen::Never,
            asks_topic_ids: false,
            max_message_bytes: None,
            on_batch: None,
            faults: FaultInjection::default(),
        }
    }

    #[test]
    fn what_other_parts_take_is_in_the_size_that_an_error_names() {
        let error = plan_memory(&options(1 << 20), 2, 1).unwrap_err().to_string();
        let (typed, named) = (error.split("use --max-memory ").nth(1).unwrap(), "--max-memory 1 MiB is too little");
        assert!(error.contains(named), "{error}");
        let needed = typed.split(' ').next().unwrap().parse::<Size>().unwrap().0;
        let with_window = plan_memory(&options(needed), 2, 1).unwrap();
        let without = plan_memory(&StreamOptions { other_memory: 0, ..options(needed) }, 2, 1).unwrap();
        assert!(with_window.state < without.state, "{with_window:?} {without:?}");
    }

    #[test]
    fn all_hops_together_take_no_more_than_one_stream() {
        let error = plan_memory(&options(1 << 20), 2, 2).unwrap_err().to_string();
        let needed = error.split("use --max-memory ").nth(1).unwrap().split(" or more").next().unwrap();
        let plan = plan_memory(&options(needed.parse::<Size>().unwrap().0), 2, 2).unwrap();
        let whole = plan_memory(&options(8 << 30), 2, 1).unwrap();
        let of_each = plan_memory(&options(8 << 30), 2, 2).unwrap();
        assert!(plan.state > 0 && 2 * of_each.state <= whole.state, "{of_each:?} {whole:?}");
    }
}
