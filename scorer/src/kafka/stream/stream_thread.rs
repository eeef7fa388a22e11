//! A stream thread: a member of the group, and the three stages that work on its partitions.

use std::sync::mpsc::{channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use shared::pipeline::Pipeline;

use crate::clock::{WallClock, now_since_epoch};
use crate::core::{Core, Origin, Recovery};
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::named_for::named_for;
use crate::kafka::client::producer::Producer;
use crate::kafka::client::settings::KafkaSettings;
use crate::kafka::client::watchdog::Watchdog;
use crate::kafka::hops::end::HopEnd;
use crate::kafka::hops::links::Links;
use crate::kafka::membership::identity::{Identity, thread_name};
use crate::kafka::membership::lost::LossPolicy;
use crate::kafka::membership::member::Member;
use crate::kafka::options::{Delivery, OnMessage, StreamOptions};
use crate::kafka::repartition::progress::RepartitionProgress;
use crate::kafka::schemas::{SchemaSource, SchemaWaits};
use crate::kafka::stages::commit::{Transactions, limit_batches};
use crate::kafka::stages::consume::ConsumeLoop;
use crate::kafka::stages::consume_options::ConsumeOptions;
use crate::kafka::stages::faults::FaultInjection;
use crate::kafka::stages::idle_clock::IdleClock;
use crate::kafka::stages::in_flight::InFlight;
use crate::kafka::stages::open_batch::Limits;
use crate::kafka::stages::peers::Peers;
use crate::kafka::stages::publish::{Commits, Publisher};
use crate::kafka::stages::score::score;
use crate::kafka::stages::tasks::Tasks;
use crate::kafka::state::changelogs::Changelogs;
use crate::kafka::state::reports::{PublishedReports, Reports};
use crate::kafka::state::restore::StateRestorer;
use crate::kafka::state::restore_threads::RestoreThreads;
use crate::kafka::state::snapshots::{SnapshotTurn, Snapshots};
use crate::kafka::state::standby::standbys::{StandbySettings, Standbys};
use crate::kafka::stop::StopHandle;
use crate::kafka::threads::{spawn, spawn_with_client};
use crate::kafka::topics::input::InputTopic;
use crate::kafka::topics::limits::RecordLimits;
use crate::kafka::topics::way::Hop;
use crate::memory::MemoryPlan;
use crate::messages::{Costs, Encoder};
use crate::pasts::PastAnswers;
use crate::scoring::Detectors;
use crate::status::StatusCell;

/// One batch may take one part in so many of what all in flight may: while one is sent, the next ones are made.
const BATCHES_IN_FLIGHT: usize = 4;

/// The threads of the stages, in their order.
pub(super) type Stages = Vec<JoinHandle<Result<(), KafkaError>>>;

/// A stream thread of a process: its hop, and its number there. Both are counted from 0.
pub(super) type ThreadPlace = (usize, usize);

/// What the stream threads of a hop have in common, and what each gets its part of.
pub(super) struct Common {
    pub settings: KafkaSettings,
    pub pipeline: Arc<Pipeline>,
    pub options: StreamOptions,
    pub hop: Hop,
    pub links: Links,
    /// What the next hop learns of this one, where there is one.
    pub next: Option<RepartitionProgress>,
    pub origin: Origin,
    /// That of each.
    pub memory: MemoryPlan,
    pub limits: RecordLimits,
    /// The instance's name is its own until the last transaction is over. Its folder is that of all threads: partitions, and
    /// their snapshots with them, go from one to another.
    pub identity: Arc<Identity>,
    /// How far those are who write what is read here: the repartitioner, or the hop before.
    pub progress: Option<RepartitionProgress>,
    pub schemas: SchemaSource,
    pub peers: Peers,
    pub snapshot_turn: SnapshotTurn,
    pub published_reports: PublishedReports,
    pub stop: StopHandle,
    pub status: StatusCell,
    pub watchdog: Watchdog,
}

/// A stream thread that is a member of the group and does nothing yet.
pub(super) struct StreamThread {
    /// They are counted from 0.
    index: usize,
    member: Member,
    commits: Commits,
}

/// In which order the stream threads of a process ended, and whether each had committed everything that there was to read.
#[derive(Debug, Clone, Default)]
pub(super) struct EndOrder(Arc<Mutex<Vec<(ThreadPlace, bool)>>>);

impl EndOrder {
    /// Notes that a thread has ended; how many of its hop have, and whether all of these had committed everything.
    fn note(&self, place: ThreadPlace, is_whole: bool) -> (usize, bool) {
        let mut ended = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ended.push((place, is_whole));
        let of_hop = ended.iter().filter(|((hop, _), _)| *hop == place.0);
        let of_hop: Vec<bool> = of_hop.map(|(_, is_whole)| *is_whole).collect();
        (of_hop.len(), of_hop.into_iter().all(|is_whole| is_whole))
    }

    /// Those that have ended, in order.
    pub(super) fn threads(&self) -> Vec<ThreadPlace> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(place, _)| *place).collect()
    }
}

impl Common {
    /// What joins the next hop to this one.
    pub(super) fn links_of_next(&self) -> Links {
        Links { status: Some(self.status.clone()), before: self.next.clone(), ..self.links.clone() }
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

    /// A stream thread, which `member` is the member of.
    ///
    /// # Errors
    /// When librdkafka refuses a setting.
    pub(super) fn thread(&self, index: usize, member: Member) -> Result<StreamThread, KafkaError> {
        Ok(StreamThread { index, member, commits: self.commits(index)? })
    }

    /// How a thread commits results.
    fn commits(&self, thread: usize) -> Result<Commits, KafkaError> {
        Ok(match self.options.delivery {
            Delivery::ExactlyOnce => {
                let faults = self.options.faults.clone();
                Commits::Transactions(Box::new(self.transactions(thread, self.followed(), faults)))
            }
            Delivery::AtLeastOnce => {
                let mut config = self.settings.producer();
                limit_batches(&mut config, &self.settings, self.limits.smallest());
                Commits::Offsets(Producer::create(&config, self.followed())?)
            }
        })
    }

    /// Those of a thread that there was in an earlier run: once they are started, what it left under way is over.
    pub(super) fn former_transactions(&self, thread: usize) -> Transactions {
        self.transactions(thread, Vec::new(), FaultInjection::default())
    }

    fn transactions(&self, thread: usize, followed: Vec<String>, faults: FaultInjection) -> Transactions {
        let id = format!("{}-{}", self.options.topics.state, thread_name(&self.identity.name, thread));
        Transactions::new(&self.settings, id, followed, self.limits.smallest(), self.watchdog.clone(), faults)
    }

    /// The topics of which it has to be known where records came to lie.
    fn followed(&self) -> Vec<String> {
        vec![self.options.topics.state.clone(), self.options.topics.reports.clone()]
    }

    /// Starts the stages of a thread. One batch may wait before each: a slow stage holds the one before it back.
    pub(super) fn spawn(
        &self,
        thread: StreamThread,
        detectors: Arc<Detectors>,
        on_message: OnMessage,
        pasts: PastAnswers,
        ended: &EndOrder,
    ) -> (ThreadPlace, Stages) {
        let StreamThread { index, member, commits } = thread;
        let (to_score, batches) = sync_channel(1);
        let (to_publish, scored) = sync_channel(1);
        let (results, commit_results) = channel();
        let place = (self.pipeline.hop().map_or(0, |hop| hop.index), index);
        let encoder = encoder(&self.pipeline, &self.options, &self.hop, &self.limits);
        let publisher = Publisher {
            consumer: member.consumer.clone(),
            input: member.topic.clone(),
            topics: self.options.topics.clone(),
            status: self.status.of_thread(index),
            stop: self.stop.clone(),
            on_message,
            on_batch: self.options.on_batch.clone(),
            dead_letters: encoder.dead_letters().clone(),
            limits: self.limits.clone(),
            results,
        };
        let changelogs = self.changelogs(&member);
        let standbys = self.standbys(&changelogs, &member, index);
        let tasks = self.tasks(&member, changelogs, standbys.clone());
        let options = self.consume_options(index, &member, encoder.costs(), pasts);
        let in_flight = self.memory.in_flight;
        let limits = Limits { records: self.options.batch_records, bytes: in_flight / BATCHES_IN_FLIGHT };
        let (stop, peers, ended) = (self.stop.clone(), self.peers.of_thread(index), ended.clone());
        let has_copies = self.options.topics.is_repartitioned();
        let (end, group) = (self.end(), self.hop.known_as.clone());
        let of_publisher = group.clone();
        // The name is ours until the last transaction is over, and its folder until the snapshots are written.
        let (of_folder, of_name) = (self.identity.clone(), self.identity.clone());
        let stages = vec![
            spawn_with_client("consume", move || {
                let _identity = of_folder;
                // Its end is waited for when everything else is done.
                let _standbys = standbys;
                let in_flight = InFlight::new(to_score, commit_results, in_flight);
                let wall = WallClock::start();
                let clock = IdleClock::new(move || wall.now(), now_since_epoch);
                let consume = ConsumeLoop::new(member.source(wall), tasks, in_flight, limits, clock, options);
                let (result, snapshots) = consume.run();
                let is_whole = result.is_ok() && snapshots.is_some() && !stop.is_requested();
                let (count, are_whole) = ended.note(place, is_whole);
                let are_all_over = count == peers.count();
                // A thread that ends before its time ends the others. Without any, copies of lines are of no use.
                let is_early = peers.are_there() && !peers.is_done();
                if is_early || (has_copies && are_all_over) {
                    stop.request();
                }
                // The group is left before anything large is written.
                drop(member);
                if let Some(end) = end.filter(|_| are_all_over) {
                    end.tell(are_whole);
                }
                if let Some(snapshots) = snapshots {
                    snapshots.write();
                }
                result.map_err(|error| named_for(error, &group))
            }),
            spawn("score", move || score(&batches, &encoder, &detectors, &to_publish)),
            spawn_with_client("publish", move || {
                let _identity = of_name;
                publisher.run(&scored, commits).map_err(|error| named_for(error, &of_publisher))
            }),
        ];
        (place, stages)
    }

    fn changelogs(&self, member: &Member) -> Changelogs {
        let Self { settings, pipeline, options, origin, identity, watchdog, .. } = self;
        Changelogs {
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
        }
    }

    /// Begins to follow what other instances own, where that is wanted.
    fn standbys(&self, changelogs: &Changelogs, member: &Member, thread: usize) -> Option<Arc<Standbys>> {
        let StreamOptions { delivery, standbys, .. } = self.options;
        (delivery == Delivery::ExactlyOnce && standbys > 0).then(|| {
            let (changelogs, member) = (changelogs.clone(), member.consumer.clone());
            let (max_bytes, status) = (self.memory.state, self.status.of_thread(thread));
            Arc::new(Standbys::start(StandbySettings { changelogs, member, standbys, max_bytes, status }))
        })
    }

    fn tasks(&self, member: &Member, changelogs: Changelogs, standbys: Option<Arc<Standbys>>) -> Tasks<RestoreThreads> {
        let Self { settings, pipeline, options, origin, .. } = self;
        let recovery = match options.delivery {
            Delivery::ExactlyOnce => Recovery::Changelog,
            Delivery::AtLeastOnce => Recovery::Reread,
        };
        let is_kept = options.delivery == Delivery::ExactlyOnce;
        let snapshots = Snapshots::new(is_kept.then(|| changelogs.clone()))
            .beside_the_stream(self.memory.are_snapshots_beside)
            .taking_turns(&self.snapshot_turn);
        let restorer = RestoreThreads::new(StateRestorer { delivery: options.delivery, changelogs, standbys });
        let core = Core::sharing(pipeline.clone(), recovery, origin.clone());
        let reports = Reports::new(settings, &options.topics.reports).beside(&self.published_reports);
        Tasks::new(core, restorer, reports, snapshots, pipeline.clone(), &member.topic.name)
    }

    fn consume_options(&self, thread: usize, member: &Member, costs: Costs, pasts: PastAnswers) -> ConsumeOptions {
        ConsumeOptions {
            delivery: self.options.delivery,
            costs,
            commit_interval: self.options.commit_interval,
            end_when: self.options.end_when.clone(),
            losses: losses(&self.options, &member.topic),
            schemas: SchemaWaits::new(self.schemas.clone()),
            repartitioner: self.progress.as_ref().map(|progress| progress.of_thread(thread)),
            peers: self.peers.of_thread(thread),
            pasts,
            stop: self.stop.clone(),
            status: self.status.of_thread(thread),
            faults: self.options.faults.clone(),
        }
    }
}

/// What is done about lost records of a topic.
pub(super) fn losses(options: &StreamOptions, topic: &InputTopic) -> LossPolicy {
    LossPolicy { on_lost: options.on_lost_records, topic: topic.name.clone(), group: topic.group.clone() }
}

/// What makes messages of outputs.
pub(super) fn encoder(pipeline: &Arc<Pipeline>, options: &StreamOptions, hop: &Hop, limits: &RecordLimits) -> Encoder {
    let max_bytes = limits.of(&pipeline.erroneous_topic);
    let next = hop.next.as_ref().map(|(topic, partitions)| (topic.as_str(), *partitions));
    Encoder::new(pipeline.clone(), &options.topics.source, options.all_verdicts, max_bytes)
        .with_entities_from(&hop.first)
        .of_hop(&options.topics.input, next)
        .with_reports_to(&options.topics.reports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_hop_is_that_of_all_its_threads() {
        let ended = EndOrder::default();
        assert_eq!(ended.note((1, 0), true), (1, true));
        assert_eq!(ended.note((0, 1), true), (1, true), "another hop is another matter");
        assert_eq!(ended.note((1, 1), false), (2, false));
        assert_eq!(ended.note((0, 0), true), (2, true));
        assert_eq!(ended.threads(), [(1, 0), (0, 1), (1, 1), (0, 0)]);
    }
}
