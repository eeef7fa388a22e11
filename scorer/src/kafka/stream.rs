//! A running stream: first every look-up, then its threads. Where records take several hops, each has threads of its own.

use std::sync::Arc;
use std::sync::mpsc::{channel, sync_channel};
use std::thread::JoinHandle;

use shared::pipeline::Pipeline;

use super::client::blocking::blocking;
use super::client::error::KafkaError;
use super::client::named_for::named_for;
use super::client::producer::Producer;
use super::client::settings::KafkaSettings;
use super::client::watchdog::Watchdog;
use super::hops::end::HopEnd;
use super::hops::links::Links;
use super::hops::share::{options_of, plan_memory, with_state_of};
use super::membership::identity::Identity;
use super::membership::lost::LossPolicy;
use super::membership::member::Member;
use super::options::{Delivery, OnMessage, StreamOptions};
use super::repartition::progress::RepartitionProgress;
use super::repartition::repartitioner::{RepartitionSettings, Repartitioner};
use super::schemas::{SchemaSource, SchemaWaits};
use super::stages::commit::{Transactions, limit_batches};
use super::stages::consume::ConsumeLoop;
use super::stages::consume_options::ConsumeOptions;
use super::stages::idle_clock::IdleClock;
use super::stages::in_flight::InFlight;
use super::stages::open_batch::Limits;
use super::stages::publish::{Commits, Publisher};
use super::stages::score::score;
use super::stages::tasks::Tasks;
use super::state::changelogs::Changelogs;
use super::state::reports::Reports;
use super::state::restore::StateRestorer;
use super::state::restore_threads::RestoreThreads;
use super::state::snapshots::Snapshots;
use super::stop::StopHandle;
use super::threads::{spawn, spawn_with_client};
use super::topics::admin::partitions_of;
use super::topics::check::{refuse_hops_at_least_once, refuse_split_past};
use super::topics::input::InputTopic;
use super::topics::limits::RecordLimits;
use super::topics::names::repartition_group;
use super::topics::way::{Hop, hops_of};
use crate::clock::{WallClock, now_since_epoch};
use crate::core::{Core, Origin, Recovery};
use crate::memory::MemoryPlan;
use crate::messages::Encoder;
use crate::pasts::{PastAnswers, Pasts, pasts};
use crate::scoring::Detectors;
use crate::status::StatusCell;

/// One batch may take one part in so many of what all in flight may: while one is sent, the next ones are made.
const BATCHES_IN_FLIGHT: usize = 4;

/// The repartitioner has one batch at a time, of which the client has a copy.
const COPIES_OF_REPARTITIONED: usize = 4;

/// A stream that runs on threads of its own.
#[derive(Debug)]
pub struct Stream {
    stop: StopHandle,
    status: StatusCell,
    pasts: Pasts,
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
        let mut plans = Vec::new();
        for hop in hops {
            let plan = Plan::new(settings, hop, &options, partitions, links.clone()).await?;
            plan.status.update(|status| {
                status.anomalies = detectors.names().map(|name| (name.to_owned(), 0)).collect();
            });
            links = plan.links_of_next();
            plans.push(plan);
        }
        // Nothing runs before everything is there that it needs.
        let streams: Vec<Self> =
            plans.into_iter().map(|plan| plan.spawn(detectors.clone(), on_message.clone())).collect();
        streams
            .into_iter()
            .reduce(Self::then)
            .ok_or(KafkaError::Bug { what: "starting a stream", cause: "it has no hops".to_owned() })
    }

    /// This hop and those that follow it as one stream.
    fn then(mut self, next: Self) -> Self {
        self.threads.extend(next.threads);
        Self { status: next.status, ..self }
    }

    /// Asks this stream to stop.
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// What the stream is doing.
    pub fn status(&self) -> StatusCell {
        self.status.clone()
    }

    /// What it remembers of keys.
    pub fn pasts(&self) -> Pasts {
        self.pasts.clone()
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
            let died = || KafkaError::Bug { what: "a thread of the stream", cause: "it is gone".to_owned() };
            match thread.join().unwrap_or_else(|_| Err(died())) {
                Ok(()) => {}
                Err(error) => result = Err(error),
            }
        }
        result
    }
}

/// Everything that is looked up before a thread of a hop starts.
struct Plan {
    settings: KafkaSettings,
    pipeline: Arc<Pipeline>,
    options: StreamOptions,
    hop: Hop,
    links: Links,
    /// What the next hop learns of this one, where there is one.
    next: Option<RepartitionProgress>,
    origin: Origin,
    memory: MemoryPlan,
    encoder: Encoder,
    limits: RecordLimits,
    /// The instance's name is its own until the last transaction is over.
    identity: Arc<Identity>,
    repartitioner: Option<Repartitioner>,
    schemas: SchemaSource,
    member: Member,
    commits: Commits,
    stop: StopHandle,
    status: StatusCell,
    watchdog: Watchdog,
}

impl Plan {
    async fn new(
        settings: &KafkaSettings,
        hop: Hop,
        options: &StreamOptions,
        partitions: i32,
        links: Links,
    ) -> Result<Self, KafkaError> {
        let options = options_of(options, &hop);
        let topics = &options.topics;
        let memory = plan_memory(&options, partitions, links.n_hops)?;
        let settings = &KafkaSettings { queues: memory.queues, ..hop.settings(settings) };
        let pipeline = with_state_of(hop.pipeline.clone(), memory.state);
        let limits = limits(settings, &pipeline, &options, &hop).await?;
        let encoder = encoder(&pipeline, &options, &hop, &limits);
        let input = look_up(settings, &options, &topics.input, &options.group, &pipeline, partitions).await?;
        let (topic, layout, topic_id) = (topics.input.clone(), pipeline.state_layout(), input.id.clone());
        let origin = Origin { topic, partitions, layout, topic_id };
        let instance_id = options.instance_id.clone().or_else(|| settings.property("group.instance.id"));
        let state_dir = options.state_dir.as_deref().filter(|_| options.delivery == Delivery::ExactlyOnce);
        let identity = Arc::new(Identity::claim(instance_id.as_deref(), &topics.state, state_dir)?);
        let (stop, status, watchdog) = (links.stop_of_hop(), links.status.clone(), Watchdog::new());
        let schemas = SchemaSource::new(&pipeline)?;
        let repartitioner = match topics.is_repartitioned() {
            true => {
                let group = repartition_group(&options.group);
                let partitions = partitions_of(settings, &topics.source).await?;
                let source = look_up(settings, &options, &topics.source, &group, &pipeline, partitions).await?;
                let with = RepartitionSettings {
                    settings: settings.clone(),
                    pipeline: pipeline.clone(),
                    schemas: schemas.clone(),
                    topics: topics.clone(),
                    losses: losses(&options, &source),
                    source,
                    instance_id: instance_id.clone(),
                    transactional_id: format!("{}-{}-repartition", topics.state, identity.name),
                    batch: Limits { records: options.batch_records, bytes: memory.in_flight / COPIES_OF_REPARTITIONED },
                    commit_interval: options.commit_interval,
                    watchdog: watchdog.clone(),
                    stop: stop.clone(),
                    status: status.clone(),
                    dead_letters: encoder.dead_letters().clone(),
                    limits: limits.clone(),
                };
                // Whatever its predecessor had under way is over then: what that committed can be read.
                Some(blocking("starting to send lines on", move || Repartitioner::new(with)).await?)
            }
            false => None,
        };
        let (of_member, name, watched) = (settings.clone(), instance_id.clone(), watchdog.clone());
        let join = move || Member::join(&of_member, input, name.as_deref(), &watched);
        let member = blocking("joining the group", join).await?;
        let commits = commits(settings, &options, &identity, limits.smallest(), &watchdog)?;
        let next = hop.next.as_ref().map(|_| RepartitionProgress::default());
        Ok(Self {
            settings: settings.clone(),
            pipeline,
            options,
            hop,
            links,
            next,
            origin,
            memory,
            encoder,
            limits,
            identity,
            repartitioner,
            schemas,
            member,
            commits,
            stop,
            status,
            watchdog,
        })
    }

    /// What joins the next hop to this one.
    fn links_of_next(&self) -> Links {
        Links { status: self.status.of_next_hop(), before: self.next.clone(), ..self.links.clone() }
    }

    /// What this hop's end is for the others, where there are any.
    fn end(&self) -> Option<HopEnd> {
        let next = self.hop.next.as_ref().map(|(topic, _)| topic.clone()).zip(self.next.clone());
        let Self { links, settings, watchdog, .. } = self;
        (links.n_hops > 1).then(|| HopEnd {
            stop: links.stop.clone(),
            next,
            settings: settings.clone(),
            watchdog: watchdog.clone(),
        })
    }

    /// Starts the threads. One batch may wait before each stage: a slow stage holds the one before it back.
    fn spawn(mut self, detectors: Arc<Detectors>, on_message: OnMessage) -> Stream {
        let (to_score, batches) = sync_channel(1);
        let (to_publish, scored) = sync_channel(1);
        let (results, commit_results) = channel();
        let (stop, status, identity) = (self.stop.clone(), self.status.clone(), self.identity.clone());
        let (stop_all, group) = (self.links.stop.clone(), self.hop.known_as.clone());
        let of_publisher = group.clone();
        let publisher = Publisher {
            consumer: self.member.consumer.clone(),
            input: self.member.topic.clone(),
            topics: self.options.topics.clone(),
            status: status.clone(),
            stop: stop.clone(),
            on_message,
            on_batch: self.options.on_batch.clone(),
            dead_letters: self.encoder.dead_letters().clone(),
            limits: self.limits.clone(),
            results,
        };
        let repartitioner = self.repartitioner.take();
        let (pasts, answers) = pasts();
        let (tasks, options) = (self.tasks(), self.consume_options(repartitioner.as_ref(), answers));
        let end = self.end();
        let in_flight = self.memory.in_flight;
        let limits = Limits { records: self.options.batch_records, bytes: in_flight / BATCHES_IN_FLIGHT };
        let Self { encoder, commits, member, .. } = self;
        let has_copies = repartitioner.is_some();
        let of_folder = identity.clone();
        let mut threads = vec![
            spawn_with_client("consume", move || {
                let _identity = of_folder;
                let in_flight = InFlight::new(to_score, commit_results, in_flight);
                let wall = WallClock::start();
                let clock = IdleClock::new(move || wall.now(), now_since_epoch);
                let consume = ConsumeLoop::new(member.source(wall), tasks, in_flight, limits, clock, options);
                let (result, snapshots) = consume.run();
                let is_whole = result.is_ok() && snapshots.is_some() && !stop.is_requested();
                // Without this stage, copies of lines are of no use.
                if has_copies {
                    stop.request();
                }
                // The group is left before anything large is written.
                drop(member);
                if let Some(end) = end {
                    end.tell(is_whole);
                }
                if let Some(snapshots) = snapshots {
                    snapshots.write();
                }
                result.map_err(|error| named_for(error, &group))
            }),
            spawn("score", move || score(&batches, &encoder, &detectors, &to_publish)),
        ];
        // The name is ours until the last transaction is over, and its folder until the snapshots are written.
        let held = identity.clone();
        threads.push(spawn_with_client("publish", move || {
            let _identity = held;
            publisher.run(&scored, commits).map_err(|error| named_for(error, &of_publisher))
        }));
        threads.extend(repartitioner.map(|repartitioner| {
            spawn_with_client("repartition", move || {
                let _identity = identity;
                repartitioner.run()
            })
        }));
        Stream { stop: stop_all, status, pasts, threads }
    }

    fn tasks(&self) -> Tasks<RestoreThreads> {
        let Self { settings, pipeline, options, origin, identity, member, watchdog, .. } = self;
        let recovery = match options.delivery {
            Delivery::ExactlyOnce => Recovery::Changelog,
            Delivery::AtLeastOnce => Recovery::Reread,
        };
        let changelogs = Changelogs {
            settings: settings.clone(),
            pipeline: pipeline.clone(),
            topics: options.topics.clone(),
            group: options.group.clone(),
            input: member.topic.clone(),
            origin: origin.clone(),
            snapshots: identity.folder.clone(),
            watchdog: watchdog.clone(),
            #[cfg(feature = "fault-injection")]
            faults: options.faults.clone(),
        };
        let is_kept = options.delivery == Delivery::ExactlyOnce;
        let snapshots =
            Snapshots::new(is_kept.then(|| changelogs.clone())).beside_the_stream(self.memory.are_snapshots_beside);
        let restorer = RestoreThreads::new(StateRestorer { delivery: options.delivery, changelogs });
        let core = Core::sharing(pipeline.clone(), recovery, origin.clone());
        let reports = Reports::new(settings, &options.topics.reports);
        Tasks::new(core, restorer, reports, snapshots, pipeline.clone(), &member.topic.name)
    }

    fn consume_options(&self, repartitioner: Option<&Repartitioner>, pasts: PastAnswers) -> ConsumeOptions {
        ConsumeOptions {
            delivery: self.options.delivery,
            costs: self.encoder.costs(),
            commit_interval: self.options.commit_interval,
            end_when: self.options.end_when.clone(),
            losses: losses(&self.options, &self.member.topic),
            schemas: SchemaWaits::new(self.schemas.clone()),
            repartitioner: repartitioner.map(Repartitioner::progress).or(self.links.before.clone()),
            next_hop: self.next.clone(),
            pasts,
            stop: self.stop.clone(),
            status: self.status.clone(),
            faults: self.options.faults.clone(),
        }
    }
}

/// Looks up a topic that is to be read, and refuses a group that reads it for another pipeline.
async fn look_up(
    settings: &KafkaSettings,
    options: &StreamOptions,
    topic: &str,
    group: &str,
    pipeline: &Pipeline,
    partitions: i32,
) -> Result<InputTopic, KafkaError> {
    if !options.asks_topic_ids {
        return Ok(InputTopic::without_id(topic, group, &pipeline.name));
    }
    let (settings, topic, group) = (settings.clone(), topic.to_owned(), group.to_owned());
    let pipeline = pipeline.name.clone();
    blocking("looking for topics", move || {
        let input = InputTopic::look_up(&settings, &topic, &group, &pipeline)?;
        input.refuse_group_of_other_pipeline(&settings, partitions)?;
        Ok(input)
    })
    .await
}

/// What is done about lost records of a topic.
fn losses(options: &StreamOptions, topic: &InputTopic) -> LossPolicy {
    LossPolicy { on_lost: options.on_lost_records, topic: topic.name.clone(), group: topic.group.clone() }
}

/// How results are committed.
fn commits(
    settings: &KafkaSettings,
    options: &StreamOptions,
    identity: &Identity,
    batch_bytes: usize,
    watchdog: &Watchdog,
) -> Result<Commits, KafkaError> {
    let StreamOptions { topics, faults, .. } = options;
    let followed = vec![topics.state.clone(), topics.reports.clone()];
    Ok(match options.delivery {
        Delivery::ExactlyOnce => {
            let id = format!("{}-{}", topics.state, identity.name);
            let (watchdog, faults) = (watchdog.clone(), faults.clone());
            Commits::Transactions(Box::new(Transactions::new(settings, id, followed, batch_bytes, watchdog, faults)))
        }
        Delivery::AtLeastOnce => {
            let mut config = settings.producer();
            limit_batches(&mut config, settings, batch_bytes);
            Commits::Offsets(Producer::create(&config, followed)?)
        }
    })
}

/// How large a record each topic takes that is written to.
async fn limits(
    settings: &KafkaSettings,
    pipeline: &Pipeline,
    options: &StreamOptions,
    hop: &Hop,
) -> Result<RecordLimits, KafkaError> {
    let topics = &options.topics;
    let mut written: Vec<String> = pipeline.output_topics().into_iter().map(str::to_owned).collect();
    if options.delivery == Delivery::ExactlyOnce {
        written.push(topics.state.clone());
    }
    written.extend(pipeline.cancellations.iter().map(|_| topics.reports.clone()));
    written.extend(topics.is_repartitioned().then(|| topics.input.clone()));
    written.extend(hop.next.iter().map(|(topic, _)| topic.clone()));
    match options.max_message_bytes {
        Some(bytes) => Ok(RecordLimits::same(bytes)),
        None => RecordLimits::ask(settings, written).await,
    }
}

/// What makes messages of outputs.
fn encoder(pipeline: &Arc<Pipeline>, options: &StreamOptions, hop: &Hop, limits: &RecordLimits) -> Encoder {
    let max_bytes = limits.of(&pipeline.erroneous_topic);
    let next = hop.next.as_ref().map(|(topic, partitions)| (topic.as_str(), *partitions));
    Encoder::new(pipeline.clone(), &options.topics.source, options.all_verdicts, max_bytes)
        .with_entities_from(&hop.first)
        .of_hop(&options.topics.input, next)
        .with_reports_to(&options.topics.reports)
}
