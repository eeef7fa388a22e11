//! A running stream: its threads, its options, how it is stopped.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rdkafka::consumer::Consumer;
use shared::pipeline::Pipeline;

use super::consume::{Batch, InputConsumer, InputContext, consume};
use super::publish::{Publication, Sender, publish};
use super::settings::{KafkaError, KafkaSettings};
use super::status::StatusCell;
use super::topics::max_message_bytes;
use crate::core::Core;
use crate::messages::{Encoder, Message};
use crate::scoring::Detectors;

/// How far a stream has come.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Records read.
    pub records: u64,
}

/// When a stream ends by itself.
#[derive(Clone)]
pub enum EndWhen {
    /// It does not.
    Never,
    /// When everything there is has been read and this holds too: open entities are then complete.
    Reached(Arc<dyn Fn(&Progress) -> bool + Send + Sync>),
}

impl fmt::Debug for EndWhen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::Never) { "Never" } else { "Reached" })
    }
}

/// How a stream runs.
#[derive(Debug, Clone)]
pub struct StreamOptions {
    /// The consumer group.
    pub group: String,
    /// A batch is closed after so many records.
    pub batch_records: usize,
    /// A batch is closed when its oldest output is this old.
    pub batch_age: Duration,
    /// Publish verdicts that are not anomalous as well.
    pub all_verdicts: bool,
    /// When the stream ends by itself.
    pub end_when: EndWhen,
    /// The largest message that the erroneous topic takes; without it the broker is asked.
    pub max_erroneous_bytes: Option<usize>,
}

/// Asks a stream to stop: it publishes what it has, commits and ends.
#[derive(Debug, Clone, Default)]
pub struct StopHandle(Arc<AtomicBool>);

impl StopHandle {
    /// Asks.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether anybody asked.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a stream tells of each acknowledged message.
pub type OnMessage = Arc<dyn Fn(&Message) + Send + Sync>;

/// A stream that runs on threads of its own.
#[derive(Debug)]
pub struct Stream {
    stop: StopHandle,
    status: StatusCell,
    threads: Vec<JoinHandle<Result<(), KafkaError>>>,
}

impl Stream {
    /// Starts to read `pipeline`'s topic and to publish what follows.
    ///
    /// # Errors
    /// [`KafkaError`] when librdkafka refuses a setting or the broker does not answer.
    pub async fn start(
        settings: &KafkaSettings,
        pipeline: Arc<Pipeline>,
        detectors: Detectors,
        options: StreamOptions,
        on_message: OnMessage,
    ) -> Result<Self, KafkaError> {
        // Half of the largest message for raw bytes: JSON escapes and base64 make them longer.
        let max_bytes = match options.max_erroneous_bytes {
            Some(bytes) => bytes,
            None => max_message_bytes(settings, &pipeline.erroneous_topic).await?,
        };
        let max_raw_bytes = max_bytes / 2;
        let encoder = Encoder::new(pipeline.clone(), &pipeline.topic, options.all_verdicts, max_raw_bytes);
        let consumer: InputConsumer = settings
            .consumer(&options.group)
            .create_with_context(InputContext::default())
            .map_err(|error| KafkaError::Settings(error.to_string()))?;
        consumer.subscribe(&[&pipeline.topic]).map_err(KafkaError::failed("subscribing"))?;
        let (consumer, sender) = (Arc::new(consumer), Sender::new(settings)?);
        let (stop, status) = (StopHandle::default(), StatusCell::default());
        status.update(|status| status.anomalies = detectors.names().map(|name| (name.to_owned(), 0)).collect());

        // One batch a stage may wait: a slow stage holds the one before it back.
        let (to_score, batches) = sync_channel(1);
        let (to_publish, publications) = sync_channel(1);
        let topic = pipeline.topic.clone();
        let consuming = {
            let (consumer, topic, stop, status) = (consumer.clone(), topic.clone(), stop.clone(), status.clone());
            let core = Core::new(pipeline);
            spawn("consume", move || consume(&consumer, &topic, core, &options, &stop, &status, &to_score))
        };
        let scoring = spawn("score", move || {
            score(&batches, &encoder, &detectors, &to_publish);
            Ok(())
        });
        let publishing = {
            let status = status.clone();
            spawn("publish", move || publish(&publications, &sender, &consumer, &topic, &status, &*on_message))
        };
        Ok(Self { stop, status, threads: vec![consuming, scoring, publishing] })
    }

    /// Asks this stream to stop.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// What the stream is doing.
    pub fn status(&self) -> StatusCell {
        self.status.clone()
    }

    /// Whether all threads have ended, or any has ended early, which ends the others.
    pub fn is_finished(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Waits for the end. Blocks: call it on a thread that may.
    ///
    /// # Errors
    /// The error of the latest stage that had one: it is the cause of those before it.
    pub fn join(self) -> Result<(), KafkaError> {
        let mut result = Ok(());
        for thread in self.threads {
            let died = || KafkaError::Failed { action: "running a stage", cause: "its thread panicked".into() };
            match thread.join().unwrap_or_else(|_| Err(died())) {
                Ok(()) => {}
                Err(error) => result = Err(error),
            }
        }
        result
    }
}

/// The middle stage: outputs in, messages out, until either side is gone.
fn score(batches: &Receiver<Batch>, encoder: &Encoder, detectors: &Detectors, next: &SyncSender<Publication>) {
    while let Ok(Batch { outputs, resume_points }) = batches.recv() {
        let messages = encoder.encode(outputs, detectors);
        if next.send(Publication { messages, resume_points }).is_err() {
            return;
        }
    }
}

fn spawn(
    name: &str,
    work: impl FnOnce() -> Result<(), KafkaError> + Send + 'static,
) -> JoinHandle<Result<(), KafkaError>> {
    thread::Builder::new().name(name.to_owned()).spawn(work).expect("the system starts a few threads")
}
