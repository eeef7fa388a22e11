//! What the benchmarks share: simulated records, a scorer's own account of its run, medians.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use scorer::kafka::KafkaSettings;
use serde_json::Value;

use crate::programs::{self, program, start_in};
use crate::{Kafka, Run, Running, Spent, logged, repository, scorer, text};

/// About a million simulated lines in a file of `folder`.
pub fn simulated_lines(folder: &Path) -> PathBuf {
    let file = folder.join("lines.csv");
    let amount = ["--days", "3200", "--invoices-per-day", "45"];
    let run = scorer(&[&["simulate", "invoices"][..], &amount, &["--output", text(&file)]].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    file
}

/// So many simulated payments of so many users in a file of `folder`.
pub fn simulated_payments(folder: &Path, count: u32, users: u32) -> PathBuf {
    let file = folder.join("payments.jsonl");
    let (count, users) = (count.to_string(), users.to_string());
    let amount = ["--count", &count, "--users", &users, "--output", text(&file)];
    let run = scorer(&[&["simulate", "transactions"][..], &amount].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    file
}

/// Sends a file to a pipeline's new topic with so many partitions.
pub fn preload(kafka: &Kafka, pipeline: &str, file: &Path, partitions: u32) {
    let partitions = partitions.to_string();
    let options = ["--brokers", &kafka.brokers, "--pipeline", pipeline, "--partitions", &partitions];
    let run = scorer(&[&["replay", text(file)][..], &options].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    println!("{}", run.stderr.trim());
}

/// What a scorer that read a topic to its end says of that.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// Records read.
    pub records: f64,
    /// From the first of them to the last commit.
    pub seconds: f64,
    /// From the first of them to the last; earlier builds do not say it.
    pub read_seconds: Option<f64>,
    /// What it took from its start to its end.
    pub spent: Spent,
}

impl Ended {
    /// Records a second, up to the last commit.
    pub fn rate(&self) -> f64 {
        self.records / self.seconds
    }

    /// Records a second, up to the last record.
    pub fn read_rate(&self) -> Option<f64> {
        Some(self.records / self.read_seconds?)
    }
}

/// A scorer that is measured: this build, or that of another checkout of the repository, with its pipelines and models.
#[derive(Debug, Clone)]
pub struct Program {
    /// The checkout's root.
    pub root: PathBuf,
    scorer: PathBuf,
}

impl Program {
    /// This build.
    pub fn this() -> Self {
        Self { root: repository(), scorer: program("scorer") }
    }

    /// What was built in another checkout; says what is missing there.
    pub fn of_checkout(root: &Path) -> Result<Self, String> {
        let root = root.canonicalize().map_err(|error| format!("{}: {error}", root.display()))?;
        let scorer = root.join("target/debug/scorer");
        if !scorer.exists() {
            return Err(format!("{} is missing: run `cargo build -p scorer` there", scorer.display()));
        }
        Ok(Self { root, scorer })
    }

    /// Starts it and lets it run.
    pub fn start(&self, arguments: &[&str]) -> Running {
        start_in(&self.root, &self.scorer, arguments)
    }
}

/// What a consumer did that drops what comes.
#[derive(Debug, Clone, Copy)]
pub struct Consumed {
    /// Records read.
    pub records: f64,
    /// From the first of them to the last.
    pub seconds: f64,
    /// What all processors computed for it meanwhile.
    pub cpu_seconds: f64,
}

impl Consumed {
    /// Records a second.
    pub fn rate(&self) -> f64 {
        self.records / self.seconds
    }
}

/// Lets a consumer with the scorer's own settings read a topic with so many partitions to its end, and drop what comes.
pub fn consume(brokers: &str, topic: &str, partitions: u32, group: &str) -> Consumed {
    let consumer: BaseConsumer = KafkaSettings::at(brokers).consumer(group, None).create().unwrap();
    consumer.subscribe(&[topic]).unwrap();
    let (mut records, mut ends, mut first, mut last) = (0u64, 0, None, Instant::now());
    while ends < partitions {
        match consumer.poll(Duration::from_secs(1)) {
            None => {}
            Some(Ok(_)) => {
                last = Instant::now();
                first.get_or_insert_with(|| (last, own_cpu_seconds()));
                records += 1;
            }
            // It comes with an empty fetch, up to half a second after the last record.
            Some(Err(KafkaError::PartitionEOF(_))) => ends += 1,
            Some(Err(error)) => panic!("{error}"),
        }
    }
    let (first, before) = first.expect("the topic has records");
    let seconds = last.duration_since(first).as_secs_f64();
    Consumed { records: records as f64, seconds, cpu_seconds: own_cpu_seconds() - before }
}

fn own_cpu_seconds() -> f64 {
    programs::cpu_seconds(std::process::id())
}

/// Lets scorers, with these options each beside the usual ones, read the topic to its end at the same time.
pub fn read_to_the_end(program: &Program, kafka: &Kafka, group: &str, options: &[Vec<&str>]) -> Vec<Ended> {
    let usual = ["run", "--brokers", &kafka.brokers, "--group", group, "--device", "cpu", "--clock", "event"];
    let start = |options: &Vec<&str>| program.start(&[&usual[..], &["--until-end", "--json-logs"], options].concat());
    let running: Vec<_> = options.iter().map(start).collect();
    // Each is looked at while it runs.
    let waiting = running.into_iter().map(|running| std::thread::spawn(|| running.wait_and_account()));
    let waiting: Vec<_> = waiting.collect();
    let ended = waiting.into_iter().map(|waiting| ended(&waiting.join().unwrap()));
    ended.map(|ended| ended.unwrap_or_else(|why| panic!("{why}"))).collect()
}

/// As [`read_to_the_end`], of one scorer; where it refuses, what it says.
pub fn try_to_read(program: &Program, kafka: &Kafka, group: &str, options: &[&str]) -> Result<Ended, String> {
    let usual = ["run", "--brokers", &kafka.brokers, "--group", group, "--device", "cpu", "--clock", "event"];
    let running = program.start(&[&usual[..], &["--until-end", "--json-logs"], options].concat());
    ended(&running.wait_and_account())
}

fn ended((run, spent): &(Run, Spent)) -> Result<Ended, String> {
    if run.code != Some(0) {
        return Err(run.stderr.clone());
    }
    let logged = logged(&run.stderr, "ended");
    let number = |name: &str| logged.first().and_then(|fields: &Value| fields[name].as_f64());
    let needed = |name: &str| number(name).ok_or_else(|| format!("it does not say its {name}: {}", run.stderr));
    let (records, seconds) = (needed("records")?, needed("seconds")?);
    Ok(Ended { records, seconds, read_seconds: number("read_seconds"), spent: *spent })
}

/// What `/proc` says of a process's memory: `VmRSS` is what it has, `VmHWM` the most that it has had; in KiB.
pub fn memory(running: &Running, name: &str) -> u64 {
    programs::memory(running.id(), name).unwrap()
}

/// The middle of an odd number of values.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The smallest value that is not below a share of all.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_are_there() {
        let values = [3.0, 1.0, 2.0];
        assert_eq!((median(&values), quantile(&values, 0.99), quantile(&values, 0.0)), (2.0, 3.0, 1.0));
    }
}
