//! A running stream: first every look-up, then its threads.
//!
//! A stream has one or several stream threads, as Kafka Streams has (`num.stream.threads`). Each is a member of the group with
//! partitions of its own, and consists of the three stages. Where records take several hops, each hop has as many.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use shared::pipeline::Pipeline;

use super::client::error::KafkaError;
use super::client::settings::KafkaSettings;
use super::hops::links::Links;
use super::options::{Delivery, OnMessage, StreamOptions};
use super::stop::StopHandle;
use super::threads::spawn_with_client;
use super::topics::admin::partitions_of;
use super::topics::check::{refuse_hops_at_least_once, refuse_split_past};
use super::topics::way::hops_of;
use crate::pasts::{Pasts, pasts};
use crate::scoring::Detectors;
use crate::status::StatusCell;
use plan::Plan;
use stream_thread::{EndOrder, Stages, ThreadPlace};

mod plan;
mod stream_thread;
mod thread_count;

pub use thread_count::ThreadCount;

/// A stream that runs on threads of its own.
#[derive(Debug)]
pub struct Stream {
    stop: StopHandle,
    status: StatusCell,
    pasts: Pasts,
    count: ThreadCount,
    /// Those of all hops.
    threads: Vec<(ThreadPlace, Stages)>,
    /// In which order the stream threads ended.
    ended: EndOrder,
    repartitioner: Option<JoinHandle<Result<(), KafkaError>>>,
}

impl Stream {
    /// Starts to read `pipeline`'s topic and to publish what follows.
    ///
    /// # Errors
    /// [`KafkaError`] when librdkafka refuses a setting or the broker does not answer.
    pub async fn start(
        settings: &KafkaSettings,
        pipeline: Arc<Pipeline>,
        detectors: impl Into<Arc<Detectors>>,
        options: StreamOptions,
        on_message: OnMessage,
    ) -> Result<Self, KafkaError> {
        let detectors = detectors.into();
        let partitions = partitions_of(settings, &options.topics.input).await?;
        refuse_split_past(&pipeline, &options.topics.input, usize::try_from(partitions).unwrap_or(1))?;
        if options.delivery == Delivery::AtLeastOnce {
            refuse_hops_at_least_once(&pipeline, &options.topics.input, partitions)?;
        }
        let hops = hops_of(&pipeline, &options.group, &options.topics, partitions);
        let mut links = Links::new(hops.len());
        let mut plans = Vec::with_capacity(hops.len());
        for hop in hops {
            let plan = Plan::new(settings, hop, &options, partitions, links).await?;
            links = plan.common.links_of_next();
            plans.push(plan);
        }
        // Nothing runs before everything is there that it needs.
        let ended = EndOrder::default();
        let hops = plans.into_iter().map(|plan| Self::spawn(plan, &detectors, &on_message, &ended));
        hops.reduce(Self::then).ok_or(KafkaError::Bug { what: "starting a stream", cause: "it has no hops".to_owned() })
    }

    /// This hop and those that follow it as one stream.
    fn then(mut self, next: Self) -> Self {
        self.threads.extend(next.threads);
        Self { status: next.status, ..self }
    }

    fn spawn(plan: Plan, detectors: &Arc<Detectors>, on_message: &OnMessage, ended: &EndOrder) -> Self {
        let Plan { common, count, threads, repartitioner } = plan;
        for thread in 0..count.run() {
            common.status.of_thread(thread).update(|status| {
                status.anomalies = detectors.names().map(|name| (name.to_owned(), 0)).collect();
                status.drift = detectors.drift().clone();
            });
        }
        let (pasts, answers) = pasts(count.run(), usize::try_from(common.origin.partitions).unwrap_or(0));
        let spawn = |(thread, answers)| common.spawn(thread, detectors.clone(), on_message.clone(), answers, ended);
        let threads = threads.into_iter().zip(answers).map(spawn).collect();
        let identity = common.identity.clone();
        let repartitioner = repartitioner.map(|repartitioner| {
            spawn_with_client("repartition", move || {
                let _identity = identity;
                repartitioner.run()
            })
        });
        let (stop, status, ended) = (common.links.stop.clone(), common.status.clone(), ended.clone());
        Self { stop, status, pasts, count, threads, ended, repartitioner }
    }

    /// Asks this stream to stop.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// What the stream is doing, all its threads together.
    pub fn status(&self) -> StatusCell {
        self.status.clone()
    }

    /// What it remembers of keys. Where records take several hops, each knows a part, and nothing is told.
    pub fn pasts(&self) -> Pasts {
        self.pasts.clone()
    }

    /// How many stream threads it has, each hop as many.
    pub fn threads(&self) -> &ThreadCount {
        &self.count
    }

    /// Whether all threads have ended, or any has ended early, which ends the others. A hop may come to its end before those that
    /// follow it.
    pub fn is_finished(&self) -> bool {
        let last = self.threads.last().map(|((hop, _), _)| *hop);
        let of_last = self.threads.iter().filter(|((hop, _), _)| Some(*hop) == last || self.stop.is_requested());
        let mut all = of_last.flat_map(|(_, stages)| stages).chain(&self.repartitioner);
        all.any(JoinHandle::is_finished)
    }

    /// Waits for the end. Blocks: call it on a thread that may.
    ///
    /// # Errors
    /// That of the repartitioner; else that of the stream thread that ended first among those that had one: it ended the others.
    pub fn join(self) -> Result<(), KafkaError> {
        let join = |(place, stages): (ThreadPlace, Stages)| (place, join_stages(stages));
        let mut results: BTreeMap<ThreadPlace, Result<(), KafkaError>> = self.threads.into_iter().map(join).collect();
        join_stages(self.repartitioner)?;
        let mut ended = self.ended.threads().into_iter();
        match ended.find(|place| results.get(place).is_some_and(Result::is_err)) {
            Some(first) => results.remove(&first).unwrap_or(Ok(())),
            None => results.into_values().collect(),
        }
    }
}

/// Waits for stages; the error of the latest one that had any, which is the cause of those before it.
fn join_stages(stages: impl IntoIterator<Item = JoinHandle<Result<(), KafkaError>>>) -> Result<(), KafkaError> {
    let mut result = Ok(());
    for thread in stages {
        let died = || KafkaError::Bug { what: "a thread of the stream", cause: "it is gone".to_owned() };
        match thread.join().unwrap_or_else(|_| Err(died())) {
            Ok(()) => {}
            Err(error) => result = Err(error),
        }
    }
    result
}
