//! `scorer run`: score a live topic.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use shared::memory;
use shared::pipeline::{Pipeline, Scored};
use window::Access;

use super::alerting::{Alerts, all_of};
use super::live::{StatusLine, accompany};
use super::logs::init_logs;
use super::on_kafka::OnKafka;
use super::status_log::StatusLog;
use super::window::{RunOf, Window, keeping};
use super::words::listed;
use super::{LIVE_BATCH, Loaded, console, load, summary, topics_of, with_clock};
#[cfg(feature = "fault-injection")]
use crate::args::MutationArg;
use crate::args::{CreateArgs, DeliveryArg, GroupProtocolArg, OnLostArg, RepartitionArg, RunArgs};
#[cfg(feature = "fault-injection")]
use crate::kafka::Mutation;
use crate::kafka::{
    Delivery, EndWhen, FaultInjection, GroupProtocol, KafkaError, KafkaSettings, OnBatch, OnLostRecords, Stream,
    StreamOptions, ThreadCount, TopicSettings, Topics, ensure_topics, find_misplaced, has_direct_state, topology,
};
use crate::memory::of_standbys;
#[cfg(feature = "otel")]
use crate::traces::Traces;

/// How often the numbers of a run are logged where nobody says how often.
const STATUS_INTERVAL: Duration = Duration::from_secs(60);

pub(super) async fn run(args: RunArgs) -> Result<()> {
    init_logs(args.json_logs);
    refuse_contradictions(&args)?;
    let standbys = args.standby.standbys;
    let loaded = load(&args.pipeline, LIVE_BATCH, |pipeline| with_clock(pipeline, args.clock))?;
    let window = window_of(&args, &loaded)?;
    let settings = kafka_settings(&args)?;
    let topics = choose_topics(&args, &settings, &loaded.pipeline).await?;
    let create = topic_settings(&args.create);
    let created = ensure_topics(&settings, &loaded.pipeline, &args.group, &topics, create).await?;
    announce(&args, &settings.brokers, &loaded, &created);
    tell_topology(&args, &settings, &loaded.pipeline, &topics).await?;
    loaded.warn_of_sample_models();
    warn_of_a_short_memory(&args, &loaded.pipeline);
    let mut alerts = Alerts::start(&loaded.pipeline, &settings, true)?;
    let window = window.map(|window| window.with_alerts(alerts.as_ref().map(Alerts::desk)));
    let traces = traces(&args, &loaded.pipeline)?;
    let options = StreamOptions {
        group: args.group.clone(),
        delivery: delivery(&args),
        topics,
        threads: if standbys == 0 { args.threads.most() } else { 1 },
        instance_id: args.instance_id.clone(),
        state_dir: Some(args.state_dir.clone()),
        batch_records: args.batch_records,
        max_memory: memory::allowed(args.max_memory),
        other_memory: window.as_ref().map_or(0, Window::memory)
            + Alerts::memory(&loaded.pipeline)
            + of_standbys(standbys),
        standbys,
        commit_interval: Duration::from_millis(args.commit_interval_ms),
        on_lost_records: match args.on_lost_records {
            OnLostArg::Continue => OnLostRecords::Continue,
            OnLostArg::Fail => OnLostRecords::Fail,
        },
        all_verdicts: args.all_verdicts,
        end_when: match (args.until_end, args.until_caught_up) {
            (true, _) => EndWhen::Reached(Arc::new(|_| true)),
            (false, true) => EndWhen::CaughtUp,
            (false, false) => EndWhen::Never,
        },
        asks_topic_ids: true,
        max_message_bytes: None,
        on_batch: on_batch(traces.as_ref()),
        faults: faults(&args),
    };
    let line = StatusLine::new(!args.json_logs, &loaded.pipeline);
    let pipeline = loaded.pipeline.clone();
    let told = [window.as_ref().map(Window::on_message), alerts.as_ref().map(Alerts::on_message)];
    let on_message = all_of(told.into_iter().flatten().collect());
    let stream = Stream::start(&settings, loaded.pipeline, loaded.detectors, options, on_message).await?;
    say_threads(&args, stream.threads());
    let status = stream.status();
    if let Some(alerts) = &mut alerts {
        alerts.watch(status.clone());
        if window.is_none() {
            alerts.listen(&settings, &pipeline)?;
        }
    }
    // It closes with the run.
    let _open = match window {
        Some(window) => {
            let keeping = keeping(&settings, &pipeline, create).await;
            let of = OnKafka { settings: &settings, group: &args.group, create, keeping, is_json: args.json_logs };
            Some(window.open(&of, &pipeline, &stream)?)
        }
        None => None,
    };
    let log = args.json_logs.then(|| StatusLog::new(pipeline.clone(), args.status_interval.unwrap_or(STATUS_INTERVAL)));
    let ended = accompany(stream, &line, log).await;
    // Also what led to an error may be worth an alert, and a trace.
    if let Some(alerts) = alerts {
        alerts.close().await;
    }
    close(traces).await;
    ended?;
    if args.json_logs {
        tracing::info!(summary = ?status.get(), "ended");
    } else {
        console::print(summary::text(&status.get(), &pipeline))?;
    }
    Ok(())
}

/// Refuses options of which one rules out what another asks for.
pub(super) fn refuse_contradictions(args: &RunArgs) -> Result<()> {
    let standbys = args.standby.standbys;
    ensure!(
        standbys == 0 || args.delivery == DeliveryArg::ExactlyOnce,
        "--standbys {standbys} needs --delivery exactly-once: at least once, no state is written down that others could follow"
    );
    ensure!(
        standbys == 0 || args.threads.threads.is_none_or(|threads| threads == 1),
        "--standbys {standbys} needs --threads 1: copies are kept by an instance for others, not for its own threads"
    );
    Ok(())
}

/// How brokers are reached.
pub(super) fn kafka_settings(args: &RunArgs) -> Result<KafkaSettings> {
    let protocol = match args.group_protocol {
        GroupProtocolArg::Classic => GroupProtocol::Classic,
        GroupProtocolArg::Consumer => GroupProtocol::Consumer,
    };
    Ok(args.brokers.settings()?.with_group_protocol(protocol)?)
}

pub(super) fn delivery(args: &RunArgs) -> Delivery {
    match args.delivery {
        DeliveryArg::ExactlyOnce => Delivery::ExactlyOnce,
        DeliveryArg::AtLeastOnce => Delivery::AtLeastOnce,
    }
}

/// The window that was asked for, if one was.
pub(super) fn window_of(args: &RunArgs, loaded: &Loaded) -> Result<Option<Window>> {
    let Some(address) = args.listen else { return Ok(None) };
    let access = Access::with_logins(address, args.auth_token_file.as_deref(), args.auth_basic_file.as_deref())?;
    let run = RunOf { group: &args.group, instance_id: args.instance_id.as_deref(), delivery: args.delivery };
    Window::bind(access, &run, loaded).map(Some)
}

/// What traces batches, where somebody wants that.
#[cfg(feature = "otel")]
fn traces(args: &RunArgs, pipeline: &Pipeline) -> Result<Option<Traces>> {
    let Some(endpoint) = &args.otlp_endpoint else { return Ok(None) };
    let name = std::env::var("OTEL_SERVICE_NAME").ok().filter(|name| !name.is_empty());
    let headers = std::env::var("OTEL_EXPORTER_OTLP_HEADERS").unwrap_or_default();
    let resource = [
        ("service.name", name.as_deref().unwrap_or("atalaya-scorer")),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", args.instance_id.as_deref().unwrap_or_default()),
        ("atalaya.pipeline", pipeline.name.as_str()),
        ("messaging.system", "kafka"),
        ("messaging.destination.name", pipeline.topic.as_str()),
        ("messaging.consumer.group.name", args.group.as_str()),
    ];
    let resource = resource.map(|(name, value)| (name, value.to_owned())).to_vec();
    Ok(Some(Traces::start(endpoint, &headers, resource)?))
}

#[cfg(feature = "otel")]
fn on_batch(traces: Option<&Traces>) -> Option<OnBatch> {
    traces.map(Traces::on_batch)
}

#[cfg(feature = "otel")]
async fn close(traces: Option<Traces>) {
    if let Some(traces) = traces {
        // Its last request may take a moment.
        let _ = tokio::task::spawn_blocking(move || traces.close()).await;
    }
}

/// Nothing traces batches.
#[cfg(not(feature = "otel"))]
fn traces(_: &RunArgs, _: &Pipeline) -> Result<Option<Untraced>> {
    Ok(None)
}

#[cfg(not(feature = "otel"))]
fn on_batch(_: Option<&Untraced>) -> Option<OnBatch> {
    None
}

#[cfg(not(feature = "otel"))]
async fn close(_: Option<Untraced>) {}

/// In place of what would trace batches.
#[cfg(not(feature = "otel"))]
enum Untraced {}

/// What is to go wrong.
#[cfg(feature = "fault-injection")]
fn faults(args: &RunArgs) -> FaultInjection {
    let mutation = args.mutation.map(|which| match which {
        MutationArg::OffsetsOutsideTransaction => Mutation::OffsetsOutsideTransaction,
        MutationArg::StateOutsideTransaction => Mutation::StateOutsideTransaction,
        MutationArg::ResultsOutsideTransaction => Mutation::ResultsOutsideTransaction,
        MutationArg::NoFence => Mutation::NoFence,
        MutationArg::TagIgnored => Mutation::TagIgnored,
        MutationArg::SnapshotTrusted => Mutation::SnapshotTrusted,
        MutationArg::StandbyTrusted => Mutation::StandbyTrusted,
    });
    if let Some(end) = args.end_at.clone()
        && let Ok(mut armed) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::user_defined1())
    {
        tokio::spawn(async move {
            armed.recv().await;
            end.arm();
        });
    }
    FaultInjection { mutation, end: args.end_at.clone(), group: args.group.clone(), ..FaultInjection::default() }
}

/// Nothing is to go wrong.
#[cfg(not(feature = "fault-injection"))]
fn faults(_: &RunArgs) -> FaultInjection {
    FaultInjection::default()
}

/// Whether lines have to be brought together first, said in one line where they do or would.
pub(super) async fn choose_topics(
    args: &RunArgs,
    settings: &KafkaSettings,
    pipeline: &Arc<Pipeline>,
) -> Result<Topics> {
    let direct = Topics::new(pipeline, &args.group);
    let repartitioned = Topics::repartitioned(pipeline, &args.group);
    let (source, input) = (&direct.source, &repartitioned.input);
    let is_chosen = args.repartition == RepartitionArg::Always
        || (args.repartition == RepartitionArg::Auto
            && topics_of(settings, pipeline, &args.group).await?.is_repartitioned());
    let Words { key, entity, is_split } = &Words::of(pipeline);
    if args.repartition == RepartitionArg::Always {
        refuse_direct_state(args, settings, pipeline, source).await?;
    }
    let why = if is_chosen {
        format!("lines of `{source}` go through `{input}`, so that all lines of one {entity} are in one partition")
    } else {
        let (asked, of, group) = (settings.clone(), pipeline.clone(), args.group.clone());
        let look = move || Ok::<_, KafkaError>((find_misplaced(&asked, &of)?, has_direct_state(&asked, &of, &group)?));
        let (found, has_state) = tokio::task::spawn_blocking(look).await??;
        match found {
            None => return Ok(direct),
            // Open invoices would be parted from the lines that are still to come.
            Some(found) if has_state && args.repartition == RepartitionArg::Auto => {
                say(
                    args,
                    &format!(
                        "`{source}` is not keyed by {key} ({found}): {is_split}; to repartition their lines, run with \
                         --repartition always and another --group, which begins at the first line of the topic"
                    ),
                );
                return Ok(direct);
            }
            Some(found) if args.repartition == RepartitionArg::Never => {
                say(args, &format!("`{source}` is not keyed by {key} ({found}): {is_split}"));
                return Ok(direct);
            }
            Some(found) => format!(
                "`{source}` is not keyed by {key} ({found}): its lines go through `{input}`, so that all lines of one \
                 {entity} are in one partition; --repartition never leaves them where they are"
            ),
        }
    };
    ensure!(
        args.delivery == DeliveryArg::ExactlyOnce,
        "{why}; that needs --delivery exactly-once, or --repartition never"
    );
    say(args, &why);
    Ok(repartitioned)
}

/// Which way records go, where they take several hops.
async fn tell_topology(
    args: &RunArgs,
    settings: &KafkaSettings,
    pipeline: &Arc<Pipeline>,
    topics: &Topics,
) -> Result<()> {
    let (settings, pipeline, topics) = (settings.clone(), pipeline.clone(), topics.clone());
    let look = move || topology(&settings, &pipeline, &topics);
    match tokio::task::spawn_blocking(look).await?? {
        Some(way) if args.json_logs => tracing::info!(way, "topology"),
        Some(way) => console::say(way),
        None => {}
    }
    Ok(())
}

/// State of lines that were read directly says nothing of the topic of copies, which is not created then.
async fn refuse_direct_state(
    args: &RunArgs,
    settings: &KafkaSettings,
    pipeline: &Arc<Pipeline>,
    source: &str,
) -> Result<()> {
    let (settings, pipeline, group) = (settings.clone(), pipeline.clone(), args.group.clone());
    let look = move || has_direct_state(&settings, &pipeline, &group);
    let has_state = tokio::task::spawn_blocking(look).await??;
    let group = &args.group;
    ensure!(
        !has_state,
        "group `{group}` has state of lines of `{source}` that were not repartitioned, so they cannot be repartitioned from \
         now on: leave out --repartition always, or give the run another --group, which begins at the first line of the topic"
    );
    Ok(())
}

/// What has to meet in a partition, in words.
struct Words {
    key: String,
    entity: String,
    is_split: String,
}

impl Words {
    fn of(pipeline: &Pipeline) -> Self {
        let column = pipeline.placed_by().first().map_or("", |&column| &pipeline.schema.columns[column].name);
        match &pipeline.scored {
            Scored::Sessions(_) => Self {
                key: "invoice number".to_owned(),
                entity: "invoice".to_owned(),
                is_split: "invoices may be split".to_owned(),
            },
            Scored::Records(_) => Self {
                key: format!("`{column}`"),
                entity: format!("`{column}`"),
                is_split: format!("the state of a `{column}` may be split"),
            },
        }
    }
}

fn say(args: &RunArgs, text: &str) {
    if args.json_logs {
        tracing::info!(how = text, "repartition");
    } else {
        console::say(text);
    }
}

/// How many stream threads there are, and why not more. On a terminal, that there is one is of interest to those who asked for
/// others.
fn say_threads(args: &RunArgs, threads: &ThreadCount) {
    if args.json_logs {
        tracing::info!(threads = threads.run(), how = %threads, "threads");
    } else if threads.run() > 1 || args.threads.threads.is_some() {
        console::say(threads);
    }
}

/// Lines of an open invoice can be read again; a past of a month cannot.
fn warn_of_a_short_memory(args: &RunArgs, pipeline: &Pipeline) {
    let has_a_past = matches!(pipeline.scored, Scored::Records(_)) && !pipeline.placed_by().is_empty();
    if args.delivery == DeliveryArg::ExactlyOnce || !has_a_past {
        return;
    }
    let text = "with --delivery at-least-once the state of keys is not stored: it is lost at a restart, and when a partition \
                moves to another instance";
    if args.json_logs { tracing::warn!("{text}") } else { console::say(text) }
}

/// How to create topics, or `None` when they must be there.
pub(super) fn topic_settings(args: &CreateArgs) -> Option<TopicSettings> {
    let settings = TopicSettings { partitions: args.partitions, replication_factor: args.replication_factor };
    (!args.no_create_topics).then_some(settings)
}

fn announce(args: &RunArgs, brokers: &str, loaded: &super::Loaded, created: &[String]) {
    let names: Vec<&str> = loaded.detectors.names().collect();
    let (topic, group) = (&loaded.pipeline.topic, &args.group);
    let device = loaded.device.to_string();
    let delivery = match args.delivery {
        DeliveryArg::ExactlyOnce => "exactly once",
        DeliveryArg::AtLeastOnce => "at least once",
    };
    if args.json_logs {
        let (detectors, created) = (names.join(", "), created.join(", "));
        return tracing::info!(device, topic, brokers, group, detectors, delivery, created, "started");
    }
    console::say(format_args!("device: {device}"));
    if !created.is_empty() {
        console::say(format_args!("created topics: {}", created.join(", ")));
    }
    console::say(format_args!(
        "scoring `{topic}` on {brokers} as group `{group}` with {}, {delivery}; Ctrl-C to stop",
        listed(&names)
    ));
}
