//! Everything that is looked up before a thread starts.

use std::sync::Arc;

use shared::pipeline::Pipeline;

use super::stream_thread::{Common, StreamThread, encoder, losses};
use super::thread_count::ThreadCount;
use crate::core::Origin;
use crate::kafka::client::blocking::blocking;
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::settings::KafkaSettings;
use crate::kafka::client::watchdog::Watchdog;
use crate::kafka::hops::links::Links;
use crate::kafka::hops::share::{options_of, plan_memory, with_state_of};
use crate::kafka::membership::identity::{Identity, thread_name};
use crate::kafka::membership::member::Member;
use crate::kafka::options::{Delivery, EndWhen, StreamOptions};
use crate::kafka::repartition::progress::RepartitionProgress;
use crate::kafka::repartition::repartitioner::{RepartitionSettings, Repartitioner};
use crate::kafka::schemas::SchemaSource;
use crate::kafka::stages::commit::Transactions;
use crate::kafka::stages::open_batch::Limits;
use crate::kafka::stages::peers::Peers;
use crate::kafka::state::reports::PublishedReports;
use crate::kafka::state::snapshots::SnapshotTurn;
use crate::kafka::stop::StopHandle;
use crate::kafka::topics::admin::partitions_of;
use crate::kafka::topics::input::InputTopic;
use crate::kafka::topics::limits::RecordLimits;
use crate::kafka::topics::names::repartition_group;
use crate::kafka::topics::way::Hop;
use crate::memory::MemoryPlan;

/// The repartitioner has one batch at a time, of which the client has a copy.
const COPIES_OF_REPARTITIONED: usize = 4;

/// What runs once everything is looked up.
pub(super) struct Plan {
    pub common: Common,
    pub count: ThreadCount,
    pub threads: Vec<StreamThread>,
    pub repartitioner: Option<Repartitioner>,
}

impl Plan {
    /// That of one hop, whose topic has so many partitions.
    pub(super) async fn new(
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
        let of_all = usize::try_from(partitions).unwrap_or(1);
        let count = count_threads(&options, (of_all, links.n_hops), &memory, &pipeline, &limits);
        let input = look_up(settings, &options, &topics.input, &options.group, &pipeline, partitions).await?;
        let (topic, layout, topic_id) = (topics.input.clone(), pipeline.state_layout(), input.id.clone());
        let origin = Origin { topic, partitions, layout, topic_id };
        let instance_id = options.instance_id.clone().or_else(|| settings.property("group.instance.id"));
        let state_dir = options.state_dir.as_deref().filter(|_| options.delivery == Delivery::ExactlyOnce);
        let identity = Arc::new(Identity::claim(instance_id.as_deref(), &topics.state, state_dir)?);
        let (stop, watchdog) = (links.stop_of_hop(), Watchdog::new());
        let status = links.status_of_hop(count.run());
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
                    ends_when_caught_up: matches!(options.end_when, EndWhen::CaughtUp),
                    dead_letters: encoder(&pipeline, &options, &hop, &limits).dead_letters().clone(),
                    limits: limits.clone(),
                };
                // Whatever its predecessor had under way is over then: what that committed can be read.
                Some(blocking("starting to send lines on", move || Repartitioner::new(with)).await?)
            }
            false => None,
        };
        let of_each = memory.of_each(count.run());
        let settings = KafkaSettings { queues: of_each.queues, ..settings.clone() };
        let before = identity.threads_before();
        identity.note_threads(before.max(count.run()))?;
        let members = join(&settings, &input, instance_id.as_deref(), &count, &watchdog).await?;
        let of_copies = repartitioner.as_ref().map(Repartitioner::progress);
        let progress = of_copies.or_else(|| links.before.clone());
        let common = Common {
            settings,
            pipeline,
            options,
            next: hop.next.as_ref().map(|_| RepartitionProgress::of_hop()),
            hop,
            links,
            origin,
            memory: of_each,
            limits,
            identity,
            progress,
            schemas,
            peers: Peers::new(count.run(), of_all),
            snapshot_turn: SnapshotTurn::default(),
            published_reports: PublishedReports::default(),
            stop,
            status,
            watchdog,
        };
        let former = (count.run()..before).map(|thread| common.former_transactions(thread)).collect();
        end_former(former, common.stop.clone()).await?;
        common.identity.note_threads(count.run())?;
        let threads = (0..).zip(members).map(|(thread, member)| common.thread(thread, member));
        let threads = threads.collect::<Result<Vec<StreamThread>, KafkaError>>()?;
        Ok(Self { common, count, threads, repartitioner })
    }
}

/// Makes each stream thread a member of the group, under a name of its own where the instance has one.
async fn join(
    settings: &KafkaSettings,
    input: &InputTopic,
    instance_id: Option<&str>,
    count: &ThreadCount,
    watchdog: &Watchdog,
) -> Result<Vec<Member>, KafkaError> {
    let mut members = Vec::with_capacity(count.run());
    for thread in 0..count.run() {
        let name = instance_id.map(|name| thread_name(name, thread));
        let (settings, input, watchdog) = (settings.clone(), input.clone(), watchdog.clone());
        let join = move || Member::join(&settings, input, name.as_deref(), &watchdog);
        members.push(blocking("joining the group", join).await?);
    }
    Ok(members)
}

/// Ends what stream threads of an earlier run left under way that this run does not have: others fence their predecessors
/// themselves. Until then, nobody would be told the offsets of their partitions.
async fn end_former(former: Vec<Transactions>, stop: StopHandle) -> Result<(), KafkaError> {
    if former.is_empty() {
        return Ok(());
    }
    let end = move || former.into_iter().try_for_each(|mut transactions| transactions.start(&stop));
    blocking("ending the transactions of former threads", end).await
}

/// How many stream threads there are work and room for.
fn count_threads(
    options: &StreamOptions,
    (partitions, n_hops): (usize, usize),
    memory: &MemoryPlan,
    pipeline: &Pipeline,
    limits: &RecordLimits,
) -> ThreadCount {
    let largest_record = pipeline.output_topics().into_iter().map(|topic| limits.of(topic)).max().unwrap_or(0);
    let room = memory.most_threads(largest_record);
    let topic = options.topics.input.as_str();
    ThreadCount::new(options.threads, (topic, partitions), (room, options.max_memory)).in_each_of(n_hops)
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
