//! A running stream: its threads.

use std::sync::Arc;
use std::sync::mpsc::{channel, sync_channel};
use std::thread::{self, JoinHandle};

use rdkafka::consumer::Consumer;
use shared::pipeline::Pipeline;

use super::client::consumer::{InputConsumer, InputContext};
use super::client::error::KafkaError;
use super::client::producer::Sender;
use super::client::settings::KafkaSettings;
use super::client::watchdog::Watchdog;
use super::membership::identity::Identity;
use super::options::{Delivery, Mutation, OnMessage, StreamOptions};
use super::repartition::router::{Router, RouterSettings};
use super::stages::commit::Transactions;
use super::stages::consume::{Inlet, consume};
use super::stages::publish::Publisher;
use super::stages::score::score;
use super::state::restore::Restorer;
use super::state::snapshots::Snapshots;
use super::stop::StopHandle;
use super::topics::admin::max_message_bytes;
use super::topics::check::refuse_split_past;
use super::topics::names::Topics;
use crate::core::{Core, Origin, Recovery};
use crate::messages::Encoder;
use crate::scoring::Detectors;
use crate::status::StatusCell;

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

fn spawn(
    name: &str,
    work: impl FnOnce() -> Result<(), KafkaError> + Send + 'static,
) -> JoinHandle<Result<(), KafkaError>> {
    thread::Builder::new().name(name.to_owned()).spawn(work).expect("the system starts a few threads")
}
