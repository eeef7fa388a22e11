//! `scorer demo`: the whole way, in one process and without a broker.
//!
//! librdkafka's mock cluster stands in for Kafka: a real producer sends the sample lines to it, and the same stream as
//! against a real broker reads and scores them. The mock does not enforce transactions, so it shows how things look and
//! proves nothing about delivery.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use rdkafka::mocking::MockCluster;
use shared::memory;
use shared::pipeline::{Pipeline, Scored};
use shared::text::printable;
use shared::verdict::Verdict;

use super::live::{StatusLine, accompany};
use super::logs::init_logs;
use super::replay::{Pace, send_file};
use super::worst::how_bad;
use super::{LIVE_BATCH, console, in_repository, load, summary};
use crate::agreement::Cause;
use crate::args::DemoArgs;
use crate::file::{FileLines, InputFile};
use crate::kafka::{Delivery, EndWhen, FaultInjection, KafkaSettings, OnLostRecords, Stream, StreamOptions, Topics};
use crate::messages::{Content, Message};

const GROUP: &str = "atalaya-demo";

/// Not known yet how many lines there are.
const UNKNOWN: u64 = u64::MAX;

pub(super) async fn demo(mut args: DemoArgs) -> Result<()> {
    init_logs(false);
    args.pipeline.models = in_repository(&args.pipeline.models);
    let start = Instant::now();
    let loaded = load(&args.pipeline, LIVE_BATCH, |pipeline| Ok(pipeline.with_event_clock()?))?;
    let input = input_file(args.input, &loaded.pipeline)?;
    let lines = FileLines::for_topic(InputFile::open(&input)?, &loaded.pipeline)?;
    let pipeline = loaded.pipeline;
    let cluster = MockCluster::new(1).context("the in-process Kafka did not start")?;
    let topics = Topics::new(&pipeline, GROUP);
    for topic in [pipeline.topic.as_str(), &topics.reports].into_iter().chain(pipeline.output_topics()) {
        cluster.create_topic(topic, 1, 1).with_context(|| format!("topic `{topic}`"))?;
    }
    let settings = KafkaSettings::at(cluster.bootstrap_servers());
    console::print(format_args!("device: {}", loaded.device))?;
    console::print(format_args!(
        "replaying {} into `{}` on an in-process Kafka, by the dates of its lines; at least once (on a real Kafka: exactly once)\n",
        input.display(),
        pipeline.topic
    ))?;

    let lines_sent = Arc::new(AtomicU64::new(UNKNOWN));
    let line = StatusLine::new(true, &pipeline);
    let what = match pipeline.scored {
        Scored::Sessions(_) => "invoice",
        Scored::Records(_) => "record",
    };
    let printer = Printer { bar: line.bar(), start, what };
    let of = pipeline.clone();
    let stream = Stream::start(
        &settings,
        pipeline.clone(),
        loaded.detectors,
        options(topics, lines_sent.clone()),
        Arc::new(move |message| printer.print(message)),
    )
    .await?;
    let (status, stop) = (stream.status(), stream.stop_handle());
    let pace = if args.rate == 0 { Pace::Full } else { Pace::Rate(args.rate) };
    let sending = tokio::task::spawn_blocking(move || {
        let sent = send_file(&settings, &pipeline, lines, pace);
        match &sent {
            Ok(count) => lines_sent.store(*count, Ordering::Release),
            Err(_) => stop.request(),
        }
        sent
    });
    accompany(stream, &line).await?;
    console::print(format_args!("\n{}", summary::text(&status.get(), &of)))?;
    console::print(format_args!(
        "{:.1} s. Next: `cargo run -p scorer -- --help`, or README.md for a real Kafka.",
        start.elapsed().as_secs_f64()
    ))?;
    // Stopped early, the producer has nobody left to send to: its error would say nothing new.
    if sending.is_finished() {
        sending.await??;
    }
    Ok(())
}

/// The file that is replayed: the one that was named, or the pipeline's sample.
fn input_file(named: Option<PathBuf>, pipeline: &Pipeline) -> Result<PathBuf> {
    match (named, pipeline.samples()) {
        (Some(input), _) => Ok(input),
        (None, Some([_, sample])) => Ok(in_repository(Path::new(sample))),
        (None, None) => {
            bail!("pipeline `{}` has no sample data: name the file to replay with --input FILE", pipeline.name)
        }
    }
}

fn options(topics: Topics, lines_sent: Arc<AtomicU64>) -> StreamOptions {
    StreamOptions {
        group: GROUP.to_owned(),
        // The mock takes transactions and does not hold them.
        delivery: Delivery::AtLeastOnce,
        topics,
        instance_id: None,
        state_dir: None,
        batch_records: 10_000,
        max_memory: memory::allowed(None),
        other_memory: 0,
        commit_interval: Duration::from_millis(20),
        all_verdicts: false,
        end_when: EndWhen::Reached(Arc::new(move |progress| progress.records >= lines_sent.load(Ordering::Acquire))),
        on_lost_records: OnLostRecords::Continue,
        // The mock does not answer questions about settings.
        asks_topic_ids: false,
        max_message_bytes: Some(1 << 20),
        faults: FaultInjection::default(),
    }
}

/// Prints anomalies as they are acknowledged.
struct Printer {
    bar: ProgressBar,
    start: Instant,
    /// What a verdict is on.
    what: &'static str,
}

impl Printer {
    fn print(&self, message: &Message) {
        if let Content::Verdict(verdict) = &message.content {
            let text = format!("{:5.1} s  {}", self.start.elapsed().as_secs_f64(), describe(verdict, self.what));
            // What cannot be shown is in the topic all the same.
            let _ = self.bar.suspend(|| console::print(text));
        }
    }
}

fn describe(verdict: &Verdict, what: &str) -> String {
    let why = Cause::of(verdict).map_or_else(String::new, |cause| cause.to_string());
    let (date, time) = verdict.first_timestamp.split_once('T').unwrap_or((&verdict.first_timestamp, ""));
    let (key, detector) = (printable(&verdict.key), &verdict.detector);
    let how_bad = how_bad(verdict);
    format!("{date} {}  {what} {key}  {detector:<16}  {how_bad}  {why}", time.get(..5).unwrap_or(time))
}
