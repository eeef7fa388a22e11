//! A running stream: its threads, its options, how it is stopped.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rdkafka::consumer::Consumer;
use shared::pipeline::Pipeline;

use super::consume::{Batch, Inlet, InputConsumer, consume};
use super::group::InputContext;
use super::identity::Identity;
use super::producer::Sender;
use super::publish::{Publication, Publisher};
use super::repartition::{Router, RouterSettings};
use super::restore::Restorer;
use super::settings::{KafkaError, KafkaSettings};
use super::snapshots::Snapshots;
use super::status::StatusCell;
pub use super::topics::Topics;
use super::topics::{max_message_bytes, refuse_split_past};
use super::transaction::{Faults, Transactions};
use super::watchdog::Watchdog;
use crate::core::{Core, Origin, Recovery};
use crate::messages::{Encoded, Encoder, Message};
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

/// What a crash can do to results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The results of the last moments may be published twice, and a restart forgets which invoices had closed.
    AtLeastOnce,
    /// Nothing: every record has its outcome once.
    ExactlyOnce,
}

/// A guarantee that is broken on purpose, for the test that has to notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// Offsets are committed on their own, before the transaction.
    OffsetsOutsideTransaction,
}

/// How a stream runs.
#[derive(Clone)]
pub struct StreamOptions {
    /// The consumer group.
    pub group: String,
    /// What a crash can do to results.
    pub delivery: Delivery,
    /// Lines are brought together by their key first, which needs exactly once.
    pub repartition: bool,
    /// The instance's name; without one it takes a free slot of its machine.
    pub instance_id: Option<String>,
    /// Where local snapshots are kept.
    pub state_dir: Option<PathBuf>,
    /// A batch is closed after so many records.
    pub batch_records: usize,
    /// How often results are committed under load.
    pub commit_interval: Duration,
    /// Publish verdicts that are not anomalous as well.
    pub all_verdicts: bool,
    /// When the stream ends by itself.
    pub end_when: EndWhen,
    /// The largest message that the erroneous topic takes; without it the broker is asked.
    pub max_erroneous_bytes: Option<usize>,
    /// Breaks a guarantee: for tests.
    pub mutation: Option<Mutation>,
    /// Makes calls fail: for tests.
    pub faults: Option<Faults>,
}

impl fmt::Debug for StreamOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamOptions")
            .field("group", &self.group)
            .field("delivery", &self.delivery)
            .field("repartition", &self.repartition)
            .field("instance_id", &self.instance_id)
            .finish_non_exhaustive()
    }
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
        let topics = match options.repartition {
            true => Topics::repartitioned(&pipeline, &options.group),
            false => Topics::new(&pipeline, &options.group),
        };
        let asked = (settings.clone(), topics.input.clone());
        let partitions = tokio::task::spawn_blocking(move || asked.0.partitions_of(&asked.1))
            .await
            .map_err(|error| KafkaError::Failed { action: "looking for topics", cause: error.to_string() })??;
        // Half of the largest message for raw bytes: JSON escapes and base64 make them longer.
        let max_bytes = match options.max_erroneous_bytes {
            Some(bytes) => bytes,
            None => max_message_bytes(settings, &pipeline.erroneous_topic).await?,
        };
        let encoder = Encoder::new(pipeline.clone(), &topics.source, options.all_verdicts, max_bytes / 2)
            .with_entities_from(&topics.input)
            .with_reports_to(&topics.reports);
        refuse_split_past(&pipeline, &topics.input, usize::try_from(partitions).unwrap_or(1))?;
        let origin = Origin { topic: topics.input.clone(), partitions, layout: pipeline.state_layout() };
        let name = options.instance_id.clone().or_else(|| settings.property("group.instance.id"));
        let exactly_once = options.delivery == Delivery::ExactlyOnce;
        let state_dir = options.state_dir.as_deref().filter(|_| exactly_once);
        let identity = Arc::new(Identity::claim(name.as_deref(), &topics.state, state_dir)?);
        let (stop, status, watchdog) = (StopHandle::default(), StatusCell::default(), Watchdog::new());
        let router = match options.repartition {
            true => {
                let with = RouterSettings {
                    settings: settings.clone(),
                    pipeline: pipeline.clone(),
                    topics: topics.clone(),
                    group: options.group.clone(),
                    name: name.clone(),
                    id: format!("{}-{}-repartition", topics.state, identity.name),
                    batch_records: options.batch_records,
                    commit_interval: options.commit_interval,
                    watchdog: watchdog.clone(),
                    stop: stop.clone(),
                };
                Some(start_router(with).await?)
            }
            false => None,
        };
        let routing = router.as_ref().map(Router::progress);
        let consumer: InputConsumer = settings
            .consumer(&options.group, name.as_deref())
            .create_with_context(InputContext::new(name.as_deref()))
            .map_err(|error| KafkaError::Settings(error.to_string()))?;
        consumer.subscribe(&[&topics.input]).map_err(KafkaError::failed("subscribing"))?;
        let consumer = Arc::new(consumer);
        status.update(|status| status.anomalies = detectors.names().map(|name| (name.to_owned(), 0)).collect());

        // One batch a stage may wait: a slow stage holds the one before it back.
        let (to_score, batches) = sync_channel(1);
        let (to_publish, publications) = sync_channel(1);
        let (outcomes, heard) = channel();
        let outsider = options.mutation == Some(Mutation::OffsetsOutsideTransaction);
        let consuming = {
            let recovery = if exactly_once { Recovery::Changelog } else { Recovery::Reread };
            let core = Core::sharing(pipeline.clone(), recovery, origin.clone());
            let restorer = Restorer {
                settings: settings.clone(),
                pipeline,
                topics: topics.clone(),
                group: options.group.clone(),
                origin,
                delivery: options.delivery,
                snapshots: identity.folder.clone(),
                watchdog: watchdog.clone(),
                trust_offsets: outsider,
            };
            let inlet = Inlet {
                consumer: consumer.clone(),
                topics: topics.clone(),
                snapshots: Snapshots::new(identity.folder.clone(), topics.clone()),
                restorer,
                watchdog: watchdog.clone(),
                routing,
                stop: stop.clone(),
                status: status.clone(),
                next: to_score,
                outcomes: heard,
                options: options.clone(),
            };
            let (stop, has_router) = (stop.clone(), router.is_some());
            spawn("consume", move || {
                let result = consume(inlet, core);
                // Lines that nobody assembles need not be sent on.
                if has_router {
                    stop.request();
                }
                result
            })
        };
        let scoring = spawn("score", move || score(&batches, &encoder, &detectors, &to_publish));
        let publishing = {
            let id = format!("{}-{}", topics.state, identity.name);
            let followed = vec![topics.state.clone(), topics.reports.clone()];
            let mut transactions = Transactions::new(settings, &id, followed.clone(), watchdog, options.faults.clone());
            transactions.offsets_outside = outsider;
            let sender = if exactly_once { None } else { Some(Sender::create(&settings.producer(), followed)?) };
            let (status, stop, identity) = (status.clone(), stop.clone(), identity.clone());
            let publisher = Publisher { consumer, topics, status, stop, on_message, outcomes };
            spawn("publish", move || {
                // The name is ours until the last transaction is over.
                let _identity = identity;
                match sender {
                    Some(sender) => publisher.run_plain(&publications, &sender),
                    None => publisher.run_transactions(&publications, transactions),
                }
            })
        };
        let mut threads = vec![consuming, scoring, publishing];
        threads.extend(router.map(|router| {
            spawn("route", move || {
                let _identity = identity;
                router.run()
            })
        }));
        Ok(Self { stop, status, threads })
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

/// A router, and whatever its former self had under way is over: what that committed can be read then.
async fn start_router(with: RouterSettings) -> Result<Router, KafkaError> {
    tokio::task::spawn_blocking(move || Router::new(with))
        .await
        .map_err(|error| KafkaError::Failed { action: "starting to send lines on", cause: error.to_string() })?
}

/// The middle stage: outputs in, messages out, until either side is gone.
///
/// # Errors
/// A device that failed and that nothing may replace. What is not published is not committed either.
fn score(
    batches: &Receiver<Batch>,
    encoder: &Encoder,
    detectors: &Detectors,
    next: &SyncSender<Publication>,
) -> Result<(), KafkaError> {
    while let Ok(Batch { ticket, outputs, progress }) = batches.recv() {
        let Encoded { messages, truth, agreement } = encoder.encode(outputs, detectors)?;
        if next.send(Publication { ticket, messages, truth, agreement, progress }).is_err() {
            break;
        }
    }
    Ok(())
}

fn spawn(
    name: &str,
    work: impl FnOnce() -> Result<(), KafkaError> + Send + 'static,
) -> JoinHandle<Result<(), KafkaError>> {
    thread::Builder::new().name(name.to_owned()).spawn(work).expect("the system starts a few threads")
}
