//! `scorer simulate`: sample data to files, to the standard output, and to Kafka.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::signal::unix::{SignalKind, signal};

use super::console;
use super::logs::init_logs;
use super::run::topic_settings;
use crate::args::SimulateTransactionsArgs;
use crate::kafka::{KafkaSettings, Sender, ensure_topic};
use crate::simulate::WriteError;
use crate::simulate::invoices::{Error, InvoicesArgs};
use crate::simulate::transactions::{
    CheckedConfig, Destination, Simulation, Summary, TextWriter, Transaction, TransactionFile, push_user,
};

/// The header that says what is strange about a record; absent where nothing is.
const LABEL_HEADER: &str = "label";
/// How often the stop flag is checked.
const NAP: Duration = Duration::from_millis(50);

pub(super) fn invoices(args: InvoicesArgs) -> Result<()> {
    match args.run() {
        Ok(summary) => {
            console::say(summary);
            Ok(())
        }
        // A reader that has seen enough, as in `| head`, is no error.
        Err(Error::Write(error)) if error.is_broken_pipe() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn transactions(args: SimulateTransactionsArgs) -> Result<()> {
    init_logs(false);
    let config = args.transactions.config().check()?;
    let destination = args.transactions.destination()?;
    let pace = match destination {
        Destination::File(..) => Pace::Full,
        Destination::StandardOutput(_) if args.transactions.rate.is_none() && args.transactions.speed.is_none() => {
            Pace::Full
        }
        _ => Pace::Speed(config.speed()),
    };
    let settings = kafka_settings(&args, &destination)?;
    if let (Some(settings), Destination::Kafka { topic, .. }) = (&settings, &destination) {
        if ensure_topic(settings, topic, topic_settings(&args.create)).await? {
            console::say(format_args!("created topic: {topic}"));
        }
        console::say(format_args!("sending to `{topic}` on {}; Ctrl-C to stop", settings.brokers));
    }
    let stop = stop_on_signal()?;
    let run = Run { limits: limits(&args, &config), config, pace, stop };
    let written = tokio::task::spawn_blocking(move || match destination {
        Destination::File(path, format) if run.limits.count.is_some() => {
            let mut file = TransactionFile::whole(&path, format)?;
            let summary = run.feed(&mut file)?;
            if run.is_stopped() && run.limits.count != Some(summary.records) {
                bail!("stopped before {} was complete: no file was written or changed", path.display());
            }
            file.finish()?;
            Ok(summary)
        }
        Destination::File(path, format) => run.fill(TransactionFile::growing(&path, format)?),
        Destination::StandardOutput(format) => run.fill(TransactionFile::standard_output(format)?),
        Destination::Kafka { topic, .. } => run.send(&settings.unwrap_or_else(local_broker), topic),
    })
    .await?;
    match written {
        Ok(summary) => {
            console::say(summary);
            Ok(())
        }
        Err(error) if error.downcast_ref::<WriteError>().is_some_and(WriteError::is_broken_pipe) => Ok(()),
        Err(error) => Err(error),
    }
}

fn local_broker() -> KafkaSettings {
    KafkaSettings::at("localhost:9092")
}

fn kafka_settings(args: &SimulateTransactionsArgs, destination: &Destination) -> Result<Option<KafkaSettings>> {
    let Destination::Kafka { brokers, .. } = destination else { return Ok(None) };
    let of_environment = || std::env::var("ATALAYA_BROKERS").ok().filter(|brokers| !brokers.is_empty());
    Ok(Some(args.properties.settings(brokers.clone().or_else(of_environment))?))
}

fn limits(args: &SimulateTransactionsArgs, config: &CheckedConfig) -> Limits {
    let start = config.start.timestamp_millis();
    let until = args.transactions.duration.map(|real| start.saturating_add((real as f64 * config.speed()) as i64));
    Limits { count: args.transactions.count, until }
}

/// Set once somebody asks the program to end; who asks twice does not wait.
fn stop_on_signal() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let asked = Arc::clone(&stop);
    tokio::spawn(async move {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        asked.store(true, Ordering::Relaxed);
        interrupt.recv().await;
        std::process::exit(130);
    });
    Ok(stop)
}

/// When to end.
#[derive(Debug, Clone, Copy)]
struct Limits {
    count: Option<u64>,
    /// Simulated time, in milliseconds since 1970.
    until: Option<i64>,
}

/// How fast records leave.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Pace {
    /// As fast as it goes.
    Full,
    /// So many simulated seconds a second.
    Speed(f64),
}

/// What takes records.
trait Sink {
    fn put(&mut self, transaction: &Transaction) -> Result<()>;
    /// There is a pause: what was put is to be seen.
    fn flush(&mut self) -> Result<()>;
}

impl Sink for TransactionFile {
    fn put(&mut self, transaction: &Transaction) -> Result<()> {
        Ok(Self::put(self, transaction)?)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(Self::flush(self)?)
    }
}

struct Run {
    config: CheckedConfig,
    limits: Limits,
    pace: Pace,
    stop: Arc<AtomicBool>,
}

impl Run {
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn fill(&self, mut file: TransactionFile) -> Result<Summary> {
        let summary = self.feed(&mut file)?;
        file.finish()?;
        Ok(summary)
    }

    fn send(&self, settings: &KafkaSettings, topic: String) -> Result<Summary> {
        let mut sink = TopicSink {
            sender: Sender::new(settings)?,
            topic,
            writer: TextWriter::default(),
            key: Vec::new(),
            value: Vec::new(),
            unpolled: 0,
        };
        let start = Instant::now();
        let summary = self.feed(&mut sink)?;
        sink.sender.flush()?;
        Ok(Summary { elapsed: start.elapsed(), ..summary })
    }

    /// Gives a sink what it is due, until enough or until somebody stops it.
    fn feed(&self, sink: &mut impl Sink) -> Result<Summary> {
        let (start, first) = (Instant::now(), self.config.start.timestamp_millis());
        let mut summary = Summary::default();
        for transaction in Simulation::new(&self.config) {
            if self.limits.until.is_some_and(|until| transaction.timestamp >= until) || self.is_stopped() {
                break;
            }
            if let Pace::Speed(speed) = self.pace {
                let due = (transaction.timestamp - first) as f64 / 1000.0 / speed;
                if !self.wait(Duration::try_from_secs_f64(due).unwrap_or(Duration::MAX), start, sink)? {
                    break;
                }
            }
            sink.put(&transaction)?;
            summary.count(&transaction);
            if self.limits.count == Some(summary.records) {
                break;
            }
        }
        summary.elapsed = start.elapsed();
        Ok(summary)
    }

    /// Waits until something is due, and says whether it still is wanted then.
    fn wait(&self, due: Duration, start: Instant, sink: &mut impl Sink) -> Result<bool> {
        // The system wakes a sleeper late: what is due within a millisecond need not wait.
        while due > start.elapsed() + Duration::from_millis(1) {
            sink.flush()?;
            if self.is_stopped() {
                return Ok(false);
            }
            std::thread::sleep(NAP.min(due.saturating_sub(start.elapsed())));
        }
        Ok(true)
    }
}

/// Sends to a topic: the value as JSON without the label, the label as a header.
struct TopicSink {
    sender: Sender,
    topic: String,
    writer: TextWriter,
    key: Vec<u8>,
    value: Vec<u8>,
    unpolled: u32,
}

impl Sink for TopicSink {
    fn put(&mut self, transaction: &Transaction) -> Result<()> {
        self.key.clear();
        self.value.clear();
        push_user(&mut self.key, transaction.user);
        self.writer.json(&mut self.value, transaction, false);
        let header = transaction.label.map(|label| (LABEL_HEADER, label.label()));
        self.sender.send_with_header(&self.topic, &self.key, &self.value, header)?;
        self.unpolled += 1;
        if self.unpolled >= 1024 { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.unpolled = 0;
        self.sender.poll();
        Ok(self.sender.check()?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::Parser;
    use rdkafka::config::ClientConfig;
    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::message::{BorrowedMessage, Headers as _};
    use rdkafka::mocking::MockCluster;
    use rdkafka::{Message as _, Offset, TopicPartitionList};

    use super::*;
    use crate::args::{Cli, Command, Simulation as What};

    fn execute(line: &str) -> Result<()> {
        let words = ["scorer", "simulate", "transactions"].into_iter().chain(line.split_whitespace());
        let Some(Command::Simulate(What::Transactions(args))) = Cli::try_parse_from(words)?.command else {
            bail!("another command");
        };
        super::super::block_on(transactions(*args))
    }

    fn label_of(message: &BorrowedMessage<'_>) -> Option<String> {
        let headers = message.headers()?;
        assert_eq!(headers.count(), 1);
        let header = headers.get(0);
        assert_eq!(header.key, "label");
        Some(String::from_utf8(header.value.expect("a value").to_vec()).expect("UTF-8"))
    }

    #[test]
    fn kafka_gets_the_records_of_the_file_with_the_label_beside_them() {
        let cluster = MockCluster::new(1).expect("a mock");
        cluster.create_topic("t", 3, 1).expect("a topic");
        let brokers = cluster.bootstrap_servers();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("a.jsonl");
        let same = "--count 3000 --seed 5 --anomaly-rate 0.1 --rate 1000000";
        execute(&format!("{same} --output {}", file.display())).expect("written");
        execute(&format!("{same} --brokers {brokers} --topic t --no-create-topics")).expect("sent");

        // What the file says, and the label by itself.
        let split = |line: &str| match line.split_once(",\"label\":\"") {
            Some((record, label)) => (format!("{record}}}"), Some(label.trim_end_matches("\"}").to_owned())),
            None => (line.to_owned(), None),
        };
        let text = std::fs::read_to_string(file).expect("there");
        let mut expected: BTreeMap<String, Option<String>> = text.lines().map(split).collect();
        assert_eq!(expected.len(), 3000);
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", &brokers).set("group.id", "g").create().expect("a consumer");
        let mut everything = TopicPartitionList::new();
        (0..3).for_each(|partition| {
            everything.add_partition_offset("t", partition, Offset::Beginning).expect("a partition");
        });
        consumer.assign(&everything).expect("assigned");
        let start = Instant::now();
        let mut partitions: BTreeMap<Vec<u8>, i32> = BTreeMap::new();
        while !expected.is_empty() {
            let Some(message) = consumer.poll(Duration::from_secs(1)) else {
                assert!(start.elapsed() < Duration::from_secs(60), "{} records are missing", expected.len());
                continue;
            };
            let message = message.expect("a message");
            let value = std::str::from_utf8(message.payload().expect("a value")).expect("UTF-8");
            assert!(!value.contains("label"), "{value}");
            assert_eq!(expected.remove(value), Some(label_of(&message)), "{value}");
            let key = message.key().expect("a key").to_vec();
            assert!(value.contains(&format!("\"user_id\":\"{}\"", String::from_utf8_lossy(&key))), "{value}");
            assert_eq!(*partitions.entry(key).or_insert(message.partition()), message.partition());
        }
    }

    #[test]
    fn a_missing_topic_is_an_error_where_none_may_be_created() {
        let cluster = MockCluster::new(1).expect("a mock");
        let line = format!("--count 1 --brokers {} --topic t --no-create-topics", cluster.bootstrap_servers());
        let error = execute(&line).expect_err("no such topic").to_string();
        assert!(error.contains("topic `t` does not exist"), "{error}");
    }

    /// Notes what it was given, and when it was told of a pause.
    #[derive(Default)]
    struct Noted {
        records: u64,
        flushed: u64,
    }

    impl Sink for Noted {
        fn put(&mut self, _: &Transaction) -> Result<()> {
            self.records += 1;
            Ok(())
        }

        fn flush(&mut self) -> Result<()> {
            self.flushed = self.records;
            Ok(())
        }
    }

    fn run(limits: Limits, pace: Pace) -> Run {
        let config = crate::simulate::transactions::Config::default().check().expect("in range");
        Run { config, limits, pace, stop: Arc::new(AtomicBool::new(false)) }
    }

    #[test]
    fn it_ends_by_number_by_time_or_when_it_is_stopped() {
        let no_limit = Limits { count: None, until: None };
        let by_number = run(Limits { count: Some(77), ..no_limit }, Pace::Full).feed(&mut Noted::default());
        assert_eq!(by_number.expect("fed").records, 77);
        let day = run(no_limit, Pace::Full).config.start.timestamp_millis() + 86_400_000;
        let by_time = run(Limits { until: Some(day), ..no_limit }, Pace::Full).feed(&mut Noted::default());
        let (records, (_, last)) =
            by_time.map(|summary| (summary.records, summary.span.unwrap_or_default())).expect("fed");
        assert!((14_000..16_000).contains(&records) && last < day, "{records} until {last}");
        let stopped = run(no_limit, Pace::Full);
        stopped.stop.store(true, Ordering::Relaxed);
        assert_eq!(stopped.feed(&mut Noted::default()).expect("fed").records, 0);
    }

    #[test]
    fn a_paced_stream_takes_its_time_and_shows_what_there_is_before_it_waits() {
        let mut sink = Noted::default();
        // Three records in about eight simulated seconds, at a hundred a second.
        let limits = Limits { count: Some(3), until: None };
        let summary = run(limits, Pace::Speed(100.0)).feed(&mut sink).expect("fed");
        let (_, last) = summary.span.expect("records");
        let due = (last - run(limits, Pace::Full).config.start.timestamp_millis()) as u64 / 100;
        assert!(summary.elapsed + Duration::from_millis(2) >= Duration::from_millis(due), "{summary:?}");
        assert_eq!(sink.flushed, 2, "all but the last were seen before the last was due");
    }
}
