//! `scorer demo`: the whole way, in one process and without a broker.
//!
//! librdkafka's mock cluster stands in for Kafka: a real producer sends the sample lines to it, and the same stream as
//! against a real broker reads and scores them. The mock does not enforce transactions, so it shows how things look and
//! proves nothing about delivery.

mod cluster;
mod explained;
mod narrator;
mod sample;
mod window;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ::window::Open;
use anyhow::Result;
use comfy_table::Table;
use indicatif::ProgressBar;
use shared::memory;
use shared::pipeline::{Pipeline, Scored};

use super::alerting::{Alerts, all_of};
use super::columns::{self, wrapped};
use super::live::{StatusLine, accompany};
use super::logs::init_logs;
use super::replay::{Pace, send_file};
use super::summary::{KnownWords, known, outcome};
use super::window::Window;
use super::words::listed;
use super::{LIVE_BATCH, Loaded, console, load};
use crate::args::DemoArgs;
use crate::file::FileLines;
use crate::kafka::{
    Delivery, EndWhen, FaultInjection, KafkaSettings, OnLostRecords, OnMessage, Status, Stream, StreamOptions, Topics,
};
use crate::messages::Content;
use cluster::Cluster;
use narrator::Narrator;
use sample::Sample;

const GROUP: &str = "atalaya-demo";

/// The topic of what all detectors say of an entity, where the pipeline has none.
const VERDICTS: &str = "atalaya-demo-verdicts";

/// Not known yet how many lines there are.
const UNKNOWN: u64 = u64::MAX;

pub(super) async fn demo(args: DemoArgs) -> Result<()> {
    init_logs(false);
    let start = Instant::now();
    let loaded = load(&args.pipeline, LIVE_BATCH, with_all_opinions)?;
    let window = window::bind(&args, &loaded)?;
    let pipeline = loaded.pipeline.clone();
    let what = if args.input.is_some() { "known by labels" } else { "planted in the sample" };
    let sample = Sample::open(args.input, &pipeline)?;
    let width = columns::of_output();
    console::print(format_args!("{}\n", wrapped(&introduction(&loaded, &sample), width)))?;
    let lines = FileLines::for_topic(sample.input, &pipeline)?;
    let narrator = Arc::new(Mutex::new(Narrator::new(pipeline.clone(), width)));
    let pace = if args.rate == 0 { Pace::Full } else { Pace::Rate(args.rate) };
    let Replayed { status, open, is_stopped } = replay(loaded, lines, pace, narrator.clone(), window).await?;
    console::print(format_args!("\n{}", outcome(&status, &pipeline, width)))?;
    let table = {
        let narrator = narrator.lock().unwrap_or_else(PoisonError::into_inner);
        planted(&status, &narrator, &sample.scenarios, (&pipeline, width))
    };
    if let Some(table) = table {
        console::print(format_args!("\nWhat is {what}, and what each detector found of it:\n{table}"))?;
    }
    console::print(next_steps(start.elapsed()))?;
    if let Some(open) = open.filter(|_| !is_stopped) {
        console::print(format_args!("\nThe window stays open at {open} until Ctrl-C."))?;
        window::stay().await?;
    }
    Ok(())
}

/// What became of the lines, and the window, where there is one.
struct Replayed {
    status: Status,
    open: Option<Open>,
    /// Whether somebody ended it.
    is_stopped: bool,
}

/// One line an invoice, however many detectors find it: their opinions have to come together.
fn with_all_opinions(pipeline: Pipeline) -> Result<Pipeline> {
    let mut pipeline = pipeline.with_event_clock()?;
    pipeline.verdicts_topic.get_or_insert_with(|| VERDICTS.to_owned());
    Ok(pipeline)
}

/// What is going to happen, and with what.
fn introduction(loaded: &Loaded, sample: &Sample) -> String {
    let Loaded { pipeline, detectors, device, models } = loaded;
    let entities = entities(pipeline);
    let names: Vec<&str> = detectors.names().collect();
    let models = match models.folder() {
        Some(folder) => format!("models of {}", folder.join(&pipeline.name).display()),
        None => "models that are built into the program and were trained on sample data".to_owned(),
    };
    format!(
        "A producer sends {} to the topic `{}` of a Kafka inside this process. A scorer reads the topic, and {} judge each of \
         the {entities} ({models}; {}). Time passes as in the data. Delivery is at least once here, and exactly once on a \
         real Kafka.",
        sample.name(),
        pipeline.topic,
        listed(&names),
        device.short_name(),
    )
}

fn entities(pipeline: &Pipeline) -> &'static str {
    match pipeline.scored {
        Scored::Sessions(_) => "invoices",
        Scored::Records(_) => "records",
    }
}

/// Sends the lines to a Kafka of its own, where a stream scores them, and says what is found.
async fn replay(
    loaded: Loaded,
    lines: FileLines,
    pace: Pace,
    narrator: Arc<Mutex<Narrator>>,
    window: Option<Window>,
) -> Result<Replayed> {
    let pipeline = loaded.pipeline.clone();
    let topics = Topics::new(&pipeline, GROUP);
    let cluster = Cluster::start()?;
    for topic in [pipeline.topic.as_str(), &topics.reports].into_iter().chain(pipeline.output_topics()) {
        cluster.create_topic(topic)?;
    }
    let settings = KafkaSettings::at(cluster.brokers()?);
    let lines_sent = Arc::new(AtomicU64::new(UNKNOWN));
    let line = StatusLine::new(true, &pipeline);
    let alerts = Alerts::start(&pipeline, &settings, false)?;
    let window = window.map(|window| window.with_alerts(alerts.as_ref().map(Alerts::desk)));
    let told = [window.as_ref().map(Window::on_message), alerts.as_ref().map(Alerts::on_message)];
    let seen = all_of(told.into_iter().flatten().collect());
    let other_memory = window.as_ref().map_or(0, Window::memory) + Alerts::memory(&pipeline);
    let options = options(topics, lines_sent.clone(), other_memory);
    let tell = telling(line.bar(), narrator, seen);
    let stream = Stream::start(&settings, pipeline.clone(), loaded.detectors, options, tell).await?;
    let (status, stop) = (stream.status(), stream.stop_handle());
    if let Some(alerts) = &alerts {
        alerts.watch(status.clone());
    }
    let open = match window {
        Some(window) => {
            let (open, _) = window.open_empty(&pipeline, &stream)?;
            console::print(format_args!("The same in the browser: {open}\n"))?;
            Some(open)
        }
        None => None,
    };
    let is_over = stop.clone();
    let sending = tokio::task::spawn_blocking(move || {
        // Its progress is that of the stream, which has a line already.
        let sent = send_file(&settings, &pipeline, lines, pace, &ProgressBar::hidden());
        match &sent {
            Ok(count) => lines_sent.store(*count, Ordering::Release),
            Err(_) => stop.request(),
        }
        sent
    });
    let ended = accompany(stream, &line, None).await;
    if let Some(alerts) = alerts {
        alerts.close().await;
    }
    ended?;
    // Stopped early, the producer has nobody left to send to: its error would say nothing new.
    if sending.is_finished() {
        sending.await??;
    }
    Ok(Replayed { status: status.get(), open, is_stopped: is_over.is_requested() })
}

/// Tells anomalies as they are acknowledged.
fn telling(bar: ProgressBar, narrator: Arc<Mutex<Narrator>>, seen: OnMessage) -> OnMessage {
    Arc::new(move |message| {
        seen(message);
        let Content::Entity(verdict) = &message.content else { return };
        let told = narrator.lock().unwrap_or_else(PoisonError::into_inner).tell(verdict);
        if let Some(text) = told {
            // What cannot be shown is in the topic all the same.
            let _ = bar.suspend(|| console::print(text));
        }
    })
}

/// What was found of each kind that was planted, as the records or a file of labels say; nothing where nobody says.
fn planted(
    status: &Status,
    narrator: &Narrator,
    scenarios: &BTreeMap<String, String>,
    (pipeline, width): (&Pipeline, usize),
) -> Option<Table> {
    let words = KnownWords { scenario: "kind", judged: entities(pipeline), normal: "nothing (false alarms)" };
    if scenarios.is_empty() {
        return known(&status.truth, pipeline, &words, width);
    }
    known(&narrator.truth(scenarios, status.counters.scored_entities), pipeline, &words, width)
}

fn next_steps(took: Duration) -> String {
    format!(
        "{:.1} s. Next:
  scorer demo --pipeline transactions   the same with card payments
  trainer init FILE                     a pipeline file for data of your own
  scorer --help                         all commands, for a real Kafka too",
        took.as_secs_f64()
    )
}

fn options(topics: Topics, lines_sent: Arc<AtomicU64>, other_memory: u64) -> StreamOptions {
    StreamOptions {
        group: GROUP.to_owned(),
        // The mock takes transactions and does not hold them.
        delivery: Delivery::AtLeastOnce,
        topics,
        // The sample has one partition.
        threads: 1,
        instance_id: None,
        state_dir: None,
        standbys: 0,
        batch_records: 10_000,
        max_memory: memory::allowed(None),
        other_memory,
        commit_interval: Duration::from_millis(20),
        all_verdicts: false,
        end_when: EndWhen::Reached(Arc::new(move |progress| progress.records >= lines_sent.load(Ordering::Acquire))),
        on_lost_records: OnLostRecords::Continue,
        // The mock does not answer questions about settings.
        asks_topic_ids: false,
        max_message_bytes: Some(1 << 20),
        on_batch: None,
        faults: FaultInjection::default(),
    }
}
