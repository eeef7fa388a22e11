//! A running stream: first every look-up, then its threads.
//!
//! A stream has one or several stream threads, as Kafka Streams has (`num.stream.threads`). Each is a member of the group with
//! partitions of its own, and consists of the three stages.

use std::sync::Arc;
use std::thread::JoinHandle;

use shared::pipeline::Pipeline;

use super::client::error::KafkaError;
use super::client::settings::KafkaSettings;
use super::options::{OnMessage, StreamOptions};
use super::stop::StopHandle;
use super::threads::spawn_with_client;
use crate::pasts::{Pasts, pasts};
use crate::scoring::Detectors;
use crate::status::StatusCell;
use plan::Plan;
use stream_thread::{EndOrder, Stages};

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
    threads: Vec<Stages>,
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
        let plan = Plan::new(settings, pipeline, options).await?;
        Ok(Self::spawn(plan, &detectors, &on_message))
    }

    fn spawn(plan: Plan, detectors: &Arc<Detectors>, on_message: &OnMessage) -> Self {
        let Plan { common, count, threads, repartitioner } = plan;
        for thread in 0..count.run() {
            common.status.of_thread(thread).update(|status| {
                status.anomalies = detectors.names().map(|name| (name.to_owned(), 0)).collect();
                status.drift = detectors.drift().clone();
            });
        }
        let (pasts, answers) = pasts(count.run(), usize::try_from(common.origin.partitions).unwrap_or(0));
        let ended = EndOrder::default();
        let spawn = |(thread, answers)| common.spawn(thread, detectors.clone(), on_message.clone(), answers, &ended);
        let threads = threads.into_iter().zip(answers).map(spawn).collect();
        let identity = common.identity.clone();
        let repartitioner = repartitioner.map(|repartitioner| {
            spawn_with_client("repartition", move || {
                let _identity = identity;
                repartitioner.run()
            })
        });
        let (stop, status) = (common.stop.clone(), common.status.clone());
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

    /// What it remembers of keys.
    pub fn pasts(&self) -> Pasts {
        self.pasts.clone()
    }

    /// How many stream threads it has.
    pub fn threads(&self) -> &ThreadCount {
        &self.count
    }

    /// Whether all threads have ended, or any has ended early, which ends the others.
    pub fn is_finished(&self) -> bool {
        let mut all = self.threads.iter().flatten().chain(&self.repartitioner);
        all.any(JoinHandle::is_finished)
    }

    /// Waits for the end. Blocks: call it on a thread that may.
    ///
    /// # Errors
    /// That of the repartitioner; else that of the stream thread that ended first among those that had one: it ended the others.
    pub fn join(self) -> Result<(), KafkaError> {
        let results: Vec<Result<(), KafkaError>> = self.threads.into_iter().map(join_stages).collect();
        join_stages(self.repartitioner)?;
        let first = self.ended.threads().into_iter().find(|thread| results.get(*thread).is_some_and(Result::is_err));
        let mut results = results.into_iter();
        match first.and_then(|thread| results.nth(thread)) {
            Some(result) => result,
            None => results.collect(),
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
