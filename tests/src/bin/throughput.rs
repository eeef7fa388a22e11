//! Records a second through the scorer on a real Kafka in both deliveries, from the first record to the last and to the last
//! commit, beside what a bare consumer of the same topic reaches with the scorer's own settings; with the processor time a
//! record, start-up apart, and the most memory.
//!
//! `cargo run -p tests --bin throughput` simulates about a million lines of invoices, sends them, and lets all read
//! them in turn, five times each; medians are printed. `--pipeline transactions` does that with a million payments, and
//! `--windows` with as many features as an hour, a day, a week and a month of users and merchants have. `--partitions 1,4` does
//! it for each number of partitions, `--threads 1,2` with each number of the scorer's threads, and `--rounds N` as often.
//! `--beside FOLDER` lets the scorer that was built in another checkout of the repository take part, with its own pipelines and
//! models.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on panics")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tests::history::{Better, note};
use tests::measure::{
    Consumed, Ended, Program, consume, median, preload, simulated_lines, simulated_payments, try_to_read,
};
use tests::{Kafka, PipelineFile, build_programs, repository, text, trainer};

const USAGE: &str = "throughput [--pipeline invoices | --pipeline transactions [--windows]] [--partitions 1,4] [--threads 1,2] \
                     [--rounds N] [--beside FOLDER]";

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
    /// Of its loop; unless it chooses by itself.
    threads: Option<u32>,
    /// The processor time that it takes where there is nothing to read.
    start_up: f64,
    rounds: Vec<Ended>,
}

/// Makes a load in a folder.
type Make = fn(&Path) -> Load;

/// What is asked for.
struct Asked {
    make: Make,
    beside: Option<Program>,
    partitions: Vec<u32>,
    /// `None` where the flag is not given to scorers.
    threads: Vec<Option<u32>>,
    rounds: usize,
}

fn main() -> ExitCode {
    let asked = match asked(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(why) => {
            eprintln!("error: {why}");
            eprintln!("usage: {USAGE}");
            return ExitCode::from(2);
        }
    };
    build_programs();
    let folder = tempfile::tempdir().unwrap();
    let load = (asked.make)(folder.path());
    for &partitions in &asked.partitions {
        measure(&load, partitions, &asked, &folder.path().join(format!("states-{partitions}")));
    }
    ExitCode::SUCCESS
}

/// Lets all read a topic with so many partitions in turn, and shows how they did.
fn measure(load: &Load, partitions: u32, asked: &Asked, states: &Path) {
    std::fs::create_dir_all(states).unwrap();
    let kafka = Kafka::start().expect("Apache Kafka");
    preload(&kafka, text(&load.pipeline), &load.file, partitions);
    let mut contenders = contenders(load, asked);
    contenders.retain_mut(|contender| match contender.start_up(&kafka, states) {
        Ok(cpu_seconds) => {
            contender.start_up = cpu_seconds;
            true
        }
        Err(why) => {
            println!("{} does not take part: {}", contender.name, why.trim());
            false
        }
    });
    let mut bare = Vec::new();
    // The first round warms the broker up.
    for round in 0..=asked.rounds {
        let consumed = consume(&kafka.brokers, &load.topic, partitions, &format!("bare-{round}"));
        let mut rates = vec![consumed.rate()];
        for contender in &mut contenders {
            let ended = contender.score(&kafka, &round.to_string(), states, &[]).unwrap();
            rates.push(ended.rate());
            contender.rounds.extend((round > 0).then_some(ended));
        }
        bare.extend((round > 0).then_some(consumed));
        let rates: Vec<String> = rates.iter().map(|rate| format!("{rate:.0}")).collect();
        println!("round {round}: {} records/s", rates.join(", "));
    }
    println!(
        "\n{}, partitions: {partitions}; medians of {} rounds, commits every {COMMIT_INTERVAL_MS} ms",
        load.name, asked.rounds
    );
    show(&format!("throughput, {}, partitions {partitions}", load.name), &bare, &contenders);
}

fn asked(mut arguments: impl Iterator<Item = String>) -> Result<Asked, String> {
    let (mut pipeline, mut windows) = ("invoices".to_owned(), false);
    let mut asked = Asked { make: invoices, beside: None, partitions: vec![1], threads: vec![None], rounds: 5 };
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{name} needs a value"));
        match name.as_str() {
            "--pipeline" => pipeline = value()?,
            "--windows" => windows = true,
            "--partitions" => asked.partitions = numbers(&value()?)?,
            "--threads" => asked.threads = numbers(&value()?)?.into_iter().map(Some).collect(),
            "--rounds" => asked.rounds = numbers(&value()?)?[0] as usize,
            "--beside" => asked.beside = Some(Program::of_checkout(Path::new(&value()?))?),
            _ => return Err(format!("{name} is not known")),
        }
    }
    asked.make = match (pipeline.as_str(), windows) {
        ("invoices", false) => invoices,
        ("transactions", false) => transactions,
        ("transactions", true) if asked.beside.is_none() => transactions_with_windows,
        _ => return Err("there is no such load".to_owned()),
    };
    Ok(asked)
}

/// Numbers from 1 on with commas between them.
fn numbers(text: &str) -> Result<Vec<u32>, String> {
    let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number > 0);
    text.split(',').map(|text| number(text).ok_or_else(|| format!("{text} is no number from 1 on"))).collect()
}

/// This build, with each number of threads, and the one beside it, in both deliveries.
fn contenders(load: &Load, asked: &Asked) -> Vec<Contender> {
    let of = |delivery: &'static str| {
        let this = asked.threads.iter().map(move |&threads| Contender {
            name: threads.map_or_else(|| delivery.to_owned(), |threads| format!("{delivery}, threads {threads}")),
            program: Program::this(),
            pipeline: load.pipeline.clone(),
            models: load.models.clone(),
            delivery,
            threads,
            start_up: 0.0,
            rounds: Vec::new(),
        });
        let other = asked.beside.as_ref().map(|program| Contender {
            name: format!("{delivery}, beside"),
            program: program.clone(),
            pipeline: program.root.join(format!("resources/pipelines/{}.toml", load.name)),
            models: program.root.join("models"),
            delivery,
            threads: None,
            start_up: 0.0,
            rounds: Vec::new(),
        });
        this.chain(other)
    };
    DELIVERIES.into_iter().flat_map(of).collect()
}

impl Contender {
    /// Reads the topic to its end, as a group of its own that is called after `round`.
    fn score(&self, kafka: &Kafka, round: &str, states: &Path, more: &[&str]) -> Result<Ended, String> {
        let group = format!("{}-{round}", self.name.replace([',', ' '], "-"));
        let (state, threads) = (states.join(&group), self.threads.map(|threads| threads.to_string()));
        let what = ["--pipeline", text(&self.pipeline), "--models", text(&self.models), "--state-dir", text(&state)];
        let how = ["--delivery", self.delivery, "--commit-interval-ms", COMMIT_INTERVAL_MS];
        let threads: Vec<&str> = threads.iter().flat_map(|threads| ["--threads", threads.as_str()]).collect();
        try_to_read(&self.program, kafka, &group, &[&what[..], &how, &threads, more].concat())
    }

    /// The processor time that it takes to start, to see that there is nothing to read, and to end. Inside is why it does not
    /// start.
    fn start_up(&self, kafka: &Kafka, states: &Path) -> Result<f64, String> {
        let ended = self.score(kafka, "start-up", states, &["-X", "auto.offset.reset=latest"])?;
        if ended.records > 0.0 { Err("it does not begin at the end".to_owned()) } else { Ok(ended.spent.cpu_seconds) }
    }
}

fn show(what: &str, bare: &[Consumed], contenders: &[Contender]) {
    let of = |value: fn(&Consumed) -> f64| median(&bare.iter().map(value).collect::<Vec<f64>>());
    let (most, cpu) = (of(Consumed::rate), of(|consumed| consumed.cpu_seconds / consumed.records) * 1e6);
    println!(
        "{:<26}{:>16}{:>16}{:>8}{:>16}{:>10}",
        "records/s", "to last record", "to last commit", "/ bare", "CPU us/record", "peak MiB"
    );
    println!("{:<26}{most:>16.0}{:>16}{:>8}{cpu:>16.2}{:>10}", "bare consumer", "", "1.00", "");
    for Contender { name, rounds, start_up, .. } in contenders {
        let of = |value: &dyn Fn(&Ended) -> f64| median(&rounds.iter().map(value).collect::<Vec<f64>>());
        let (rate, memory) = (of(&Ended::rate), of(&|ended| ended.spent.memory as f64) / 1024.0);
        let cpu = of(&|ended| (ended.spent.cpu_seconds - start_up) / ended.records) * 1e6;
        // Earlier builds do not say when they had read the last record.
        let read: Option<Vec<f64>> = rounds.iter().map(Ended::read_rate).collect();
        let read = read.map_or_else(String::new, |rates| format!("{:.0}", median(&rates)));
        println!("{name:<26}{read:>16}{rate:>16.0}{:>8.2}{cpu:>16.2}{memory:>10.0}", rate / most);
        note(&format!("{what}, {name}, of the bare consumer's rate"), rate / most, Better::Higher);
        note(&format!("{what}, {name}, CPU us/record"), cpu, Better::Lower);
        note(&format!("{what}, {name}, peak MiB"), memory, Better::Lower);
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
