//! Records a second through the scorer on a real Kafka in both deliveries, beside what a bare consumer of the same topic
//! reaches, with the processor time and the memory that the scorer takes.
//!
//! `cargo run -p tests --bin throughput` simulates about a million lines of invoices, sends them, and lets all read
//! them in turn, five times each; medians are printed. `--pipeline transactions` does that with a million payments, and
//! `--windows` with as many features as an hour, a day, a week and a month of users and merchants have. `--threads N` gives this
//! build so many stream threads, and the topic as many partitions. `--beside FOLDER` lets the scorer that was built in another
//! checkout of the repository take part, with its own pipelines and models.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on panics")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tests::measure::{Ended, Program, consume, median, preload, read_to_the_end, simulated_lines, simulated_payments};
use tests::{Kafka, PipelineFile, build_programs, repository, text, trainer};

const ROUNDS: usize = 5;
const COMMIT_INTERVAL_MS: &str = "100";
const DELIVERIES: [&str; 2] = ["at-least-once", "exactly-once"];

const PAYMENTS: u32 = 1_000_000;
const USERS: u32 = 5_000;

/// What scorers read, and with what.
struct Load {
    name: &'static str,
    pipeline: PathBuf,
    topic: String,
    models: PathBuf,
    file: PathBuf,
}

/// A scorer, its files, and how it did in each round.
struct Contender {
    name: String,
    program: Program,
    pipeline: PathBuf,
    models: PathBuf,
    delivery: &'static str,
    /// How many stream threads it is asked for; another build may not know what that is.
    threads: Option<String>,
    rounds: Vec<Ended>,
}

/// What was asked for on the command line.
struct Asked {
    make: Make,
    beside: Option<Program>,
    threads: u32,
}

/// Makes a load in a folder.
type Make = fn(&Path) -> Load;

fn main() -> ExitCode {
    let Asked { make, beside, threads } = match asked(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(why) => {
            eprintln!("error: {why}");
            eprintln!(
                "usage: throughput [--pipeline invoices | --pipeline transactions [--windows]] [--threads N] \
                 [--beside FOLDER]"
            );
            return ExitCode::from(2);
        }
    };
    build_programs();
    let folder = tempfile::tempdir().unwrap();
    let load = make(folder.path());
    let kafka = Kafka::start().expect("Apache Kafka");
    preload(&kafka, text(&load.pipeline), &load.file, threads);

    let mut bare = Vec::new();
    let mut contenders = contenders(&load, beside.as_ref(), threads);
    // The first round warms the broker up.
    for round in 0..=ROUNDS {
        let mut rates = vec![consume(&kafka.brokers, &load.topic, threads)];
        for contender in &mut contenders {
            let ended = contender.score(&kafka, round, folder.path());
            rates.push(ended.rate());
            contender.rounds.extend((round > 0).then_some(ended));
        }
        bare.extend((round > 0).then_some(rates[0]));
        let rates: Vec<String> = rates.iter().map(|rate| format!("{rate:.0}")).collect();
        println!("round {round}: {} records/s", rates.join(", "));
    }
    show(median(&bare), &contenders);
    ExitCode::SUCCESS
}

fn asked(mut arguments: impl Iterator<Item = String>) -> Result<Asked, String> {
    let (mut pipeline, mut windows, mut beside, mut threads) = ("invoices".to_owned(), false, None, 1);
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{name} needs a value"));
        match name.as_str() {
            "--pipeline" => pipeline = value()?,
            "--windows" => windows = true,
            "--threads" => {
                let count = value()?.parse::<u32>().ok().filter(|count| *count > 0);
                threads = count.ok_or("--threads needs a whole number above 0")?;
            }
            "--beside" => beside = Some(Program::of_checkout(Path::new(&value()?))?),
            _ => return Err(format!("{name} is not known")),
        }
    }
    let make: Make = match (pipeline.as_str(), windows) {
        ("invoices", false) => invoices,
        ("transactions", false) => transactions,
        ("transactions", true) if beside.is_none() => transactions_with_windows,
        _ => return Err("there is no such load".to_owned()),
    };
    Ok(Asked { make, beside, threads })
}

/// This build and the one beside it, in both deliveries.
fn contenders(load: &Load, beside: Option<&Program>, threads: u32) -> Vec<Contender> {
    let of = |delivery: &'static str| {
        let this = Contender {
            name: delivery.to_owned(),
            program: Program::this(),
            pipeline: load.pipeline.clone(),
            models: load.models.clone(),
            delivery,
            threads: Some(threads.to_string()),
            rounds: Vec::new(),
        };
        let other = beside.map(|program| Contender {
            name: format!("{delivery}, beside"),
            program: program.clone(),
            pipeline: program.root.join(format!("resources/pipelines/{}.toml", load.name)),
            models: program.root.join("models"),
            delivery,
            threads: None,
            rounds: Vec::new(),
        });
        [Some(this), other].into_iter().flatten()
    };
    DELIVERIES.into_iter().flat_map(of).collect()
}

impl Contender {
    /// Reads the topic to its end: from the first record to the last commit.
    fn score(&self, kafka: &Kafka, round: usize, folder: &Path) -> Ended {
        let group = format!("{}-{round}", self.name.replace(", ", "-"));
        let state = folder.join(&group);
        let what = ["--pipeline", text(&self.pipeline), "--models", text(&self.models), "--state-dir", text(&state)];
        let how = ["--delivery", self.delivery, "--commit-interval-ms", COMMIT_INTERVAL_MS];
        let threads = self.threads.iter().flat_map(|threads| ["--threads", threads.as_str()]);
        let options: Vec<&str> = what.into_iter().chain(how).chain(threads).collect();
        read_to_the_end(&self.program, kafka, &group, &[options])[0]
    }
}

fn show(bare: f64, contenders: &[Contender]) {
    println!("\nmedians of {ROUNDS} rounds, commits every {COMMIT_INTERVAL_MS} ms");
    println!("{:<24}{:>12}{:>8}{:>16}{:>12}", "", "records/s", "/ bare", "CPU us/record", "peak MiB");
    println!("{:<24}{bare:>12.0}{:>8}", "bare consumer", "1.00");
    for Contender { name, rounds, .. } in contenders {
        let of = |value: fn(&Ended) -> f64| median(&rounds.iter().map(value).collect::<Vec<f64>>());
        let (rate, memory) = (of(Ended::rate), of(|ended| ended.spent.memory as f64) / 1024.0);
        let cpu = of(|ended| ended.spent.cpu_seconds / ended.records) * 1e6;
        println!("{name:<24}{rate:>12.0}{:>8.2}{cpu:>16.2}{memory:>12.0}", rate / bare);
    }
}

fn invoices(folder: &Path) -> Load {
    Load::new("invoices", PipelineFile::invoices(), repository().join("models"), simulated_lines(folder), folder)
}

fn transactions(folder: &Path) -> Load {
    let file = simulated_payments(folder, PAYMENTS, USERS);
    Load::new("transactions", PipelineFile::of("transactions"), repository().join("models"), file, folder)
}

fn transactions_with_windows(folder: &Path) -> Load {
    let mut features = Vec::new();
    for key in ["user_id", "merchant_id"] {
        for span in ["1h", "1d", "7d", "30d"] {
            for quantity in ["count()", "sum(amount)", "std(amount)", "min(amount)", "max(amount)"] {
                features.push(format!("F{} = \"log1p({quantity} by {key} over {span})\"", features.len()));
            }
        }
    }
    let features: Vec<&str> = features.iter().map(String::as_str).collect();
    let (file, models) = (simulated_payments(folder, PAYMENTS, USERS), folder.join("models"));
    let load =
        Load::new("transactions", PipelineFile::of("transactions").with_features(&features), models, file, folder);
    let what = ["--pipeline", text(&load.pipeline), "--input", text(&load.file), "--models", text(&load.models)];
    let run = trainer(&[&what[..], &["--device", "cpu", "--quiet"]].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    load
}

impl Load {
    fn new(name: &'static str, pipeline: PipelineFile, models: PathBuf, file: PathBuf, folder: &Path) -> Self {
        let (path, topic) = (folder.join("pipeline.toml"), pipeline.pipeline().topic);
        pipeline.write(&path);
        Self { name, pipeline: path, topic, models, file }
    }
}
