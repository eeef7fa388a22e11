//! `scorer replay`: a file to the topic, as a producer would send it.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use shared::pipeline::Pipeline;
use shared::time::Timestamp;

use super::logs::init_logs;
use super::run::topic_settings;
use super::{console, topics_of};
use crate::args::ReplayArgs;
use crate::file::{FileLine, FileLines, InputFile};
use crate::kafka::{KafkaSettings, Producer, ensure_topics};

/// How fast lines are sent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// As fast as it goes.
    Full,
    /// So many lines a second.
    Rate(u32),
    /// So many times the pace of the lines' dates.
    Speed(f64),
}

pub(super) async fn replay(args: ReplayArgs) -> Result<()> {
    init_logs(false);
    let pipeline = Pipeline::load(&args.pipeline)?;
    // How the file begins is checked before anything is made on the broker.
    let lines = FileLines::for_topic(InputFile::open(&args.input)?, &pipeline)?;
    let settings = args.brokers.settings()?;
    let topics = topics_of(&settings, &pipeline, &args.group).await?;
    ensure_topics(&settings, &pipeline, &args.group, &topics, topic_settings(&args.create)).await?;
    let pace = match (args.rate, args.speed) {
        (Some(rate), _) => Pace::Rate(rate),
        (None, Some(speed)) => Pace::Speed(speed),
        (None, None) => Pace::Full,
    };
    let start = Instant::now();
    let topic = pipeline.topic.clone();
    let sending = move || {
        let bar = progress_bar(lines.position().total());
        send_file(&settings, &pipeline, lines, pace, &bar)
    };
    let sent = tokio::task::spawn_blocking(sending).await??;
    let seconds = start.elapsed().as_secs_f64();
    console::say(format_args!(
        "sent {sent} lines to `{topic}` in {seconds:.1} s ({:.0} lines/s)",
        sent as f64 / seconds.max(1e-9)
    ));
    Ok(())
}

/// Sends every line of a file as it is read, and waits for the acknowledgements; how many there were. `bar` shows how many
/// bytes of the file were read.
pub(super) fn send_file(
    settings: &KafkaSettings,
    pipeline: &Pipeline,
    mut lines: FileLines,
    pace: Pace,
    bar: &ProgressBar,
) -> Result<u64> {
    let producer = Producer::new(settings)?;
    let mut pacer = Pacer::new(pace, pipeline.entity.event_time);
    let key_column = pipeline.placed_by().first().copied().unwrap_or(pipeline.entity.key);
    let position = lines.position().clone();
    let mut sent = 0;
    while let Some(mut line) = lines.next_line()? {
        pacer.wait(sent, &mut line, &producer);
        // A line that has no key, such as one that is too short, is sent without one.
        let key = line.text(key_column).map(Cow::into_owned);
        producer.send(&pipeline.topic, key.as_deref(), &line.record)?;
        bar.set_position(position.read());
        sent += 1;
        if sent % 1024 == 0 {
            producer.poll();
        }
    }
    producer.flush()?;
    bar.finish_and_clear();
    Ok(sent)
}

/// Holds lines back until they are due.
struct Pacer {
    pace: Pace,
    start: Instant,
    date_column: Option<usize>,
    first_date: Option<Timestamp>,
}

impl Pacer {
    fn new(pace: Pace, date_column: Option<usize>) -> Self {
        Self { pace, start: Instant::now(), date_column, first_date: None }
    }

    fn wait(&mut self, sent: u64, line: &mut FileLine<'_>, producer: &Producer) {
        let Some(due) = self.due(sent, line) else { return };
        let wait = due.saturating_sub(self.start.elapsed());
        if !wait.is_zero() {
            producer.poll();
            std::thread::sleep(wait);
        }
    }

    /// When a line is due after the start; `None` for at once.
    fn due(&mut self, sent: u64, line: &mut FileLine<'_>) -> Option<Duration> {
        match self.pace {
            Pace::Full => None,
            Pace::Rate(rate) => Some(Duration::from_secs_f64(sent as f64 / f64::from(rate))),
            Pace::Speed(speed) => {
                let date = line.date(self.date_column?)?;
                let passed = (date - *self.first_date.get_or_insert(date)).max(0);
                Duration::try_from_secs_f64(passed as f64 / 1000.0 / speed).ok()
            }
        }
    }
}

/// How much of a file is sent; of standard input nobody knows how much there is.
fn progress_bar(bytes: Option<u64>) -> ProgressBar {
    let (bar, template) = match bytes {
        Some(bytes) => (ProgressBar::new(bytes), "sending {bar:40} {bytes}/{total_bytes} {eta}"),
        None => (ProgressBar::new_spinner(), "sending {spinner}"),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
