//! How long a payment waits for its verdict on a real Kafka: from the moment when its producer sends it to the moment when a
//! `read_committed` reader has the verdict, in milliseconds.
//!
//! `cargo run -p tests --bin latency` measures both deliveries, at several rates, with lone payments, and with two commit
//! intervals. All verdicts are published, those of the two trained detectors are timed. `--seconds N` says how long each row is
//! measured, and `--beside FOLDER` lets the scorer that was built in another checkout of the repository take part: for each row
//! both run one after the other, on the same broker.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on panics")]

use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use tests::history::{Better, note};
use tests::measure::{Program, quantile, simulated_payments};
use tests::timed::{TimedReader, TimedSender, VERDICTS_A_PAYMENT, create_topics};
use tests::{Kafka, build_programs, text};

const PAYMENTS: u32 = 400_000;
const USERS: u32 = 5_000;

/// Between two payments that are alone.
const LONE: Duration = Duration::from_millis(300);

/// How long everything runs before it is measured.
const WARM_UP: Duration = Duration::from_secs(2);

/// How long the first verdict may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// One row of the table.
struct Case {
    delivery: &'static str,
    commit_interval_ms: &'static str,
    /// Payments a second; `None` where each is alone.
    rate: Option<u32>,
}

const CASES: [Case; 8] = [
    Case { delivery: "at-least-once", commit_interval_ms: "100", rate: None },
    Case { delivery: "at-least-once", commit_interval_ms: "100", rate: Some(2_000) },
    Case { delivery: "at-least-once", commit_interval_ms: "100", rate: Some(10_000) },
    Case { delivery: "exactly-once", commit_interval_ms: "100", rate: None },
    Case { delivery: "exactly-once", commit_interval_ms: "100", rate: Some(2_000) },
    Case { delivery: "exactly-once", commit_interval_ms: "100", rate: Some(10_000) },
    Case { delivery: "exactly-once", commit_interval_ms: "20", rate: Some(2_000) },
    Case { delivery: "exactly-once", commit_interval_ms: "20", rate: Some(10_000) },
];

fn main() -> ExitCode {
    let (beside, seconds) = match asked(std::env::args().skip(1)) {
        Ok(asked) => asked,
        Err(why) => {
            eprintln!("error: {why}");
            eprintln!("usage: latency [--seconds N] [--beside FOLDER]");
            return ExitCode::from(2);
        }
    };
    build_programs();
    let folder = tempfile::tempdir().unwrap();
    let payments = simulated_payments(folder.path(), PAYMENTS, USERS);
    let payments: Vec<String> = std::fs::read_to_string(payments).unwrap().lines().map(str::to_owned).collect();
    let kafka = Kafka::start().expect("Apache Kafka");
    create_topics(&kafka, &[]);
    let programs: Vec<(&str, Program)> =
        [("this", Program::this())].into_iter().chain(beside.map(|program| ("beside", program))).collect();
    println!("{:<38}{:>8}{:>9}{:>9}{:>9}{:>9}{:>10}", "milliseconds", "", "p50", "p90", "p99", "p99.9", "verdicts");
    let mut next = 0;
    for (number, case) in CASES.iter().enumerate() {
        for (name, program) in &programs {
            let state = folder.path().join(format!("{name}-{number}"));
            let latencies = case.measure(&kafka, program, &state, seconds, &payments, &mut next);
            let of = |share| quantile(&latencies, share);
            let (p50, p90, p99, p999) = (of(0.5), of(0.9), of(0.99), of(0.999));
            let count = latencies.len();
            println!("{:<38}{name:>8}{p50:>9.1}{p90:>9.1}{p99:>9.1}{p999:>9.1}{count:>10}", case.name());
            for (share, millis) in [("p50", p50), ("p99", p99)] {
                note(&format!("latency, {}, {name}, {share} ms", case.name()), millis, Better::Lower);
            }
        }
    }
    ExitCode::SUCCESS
}

fn asked(mut arguments: impl Iterator<Item = String>) -> Result<(Option<Program>, u64), String> {
    let (mut beside, mut seconds) = (None, 15);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--beside" => beside = Some(Program::of_checkout(Path::new(&value))?),
            "--seconds" => seconds = value.parse().map_err(|_| format!("{value} is no number of seconds"))?,
            _ => return Err(format!("{name} is not known")),
        }
    }
    Ok((beside, seconds))
}

impl Case {
    fn name(&self) -> String {
        let rate = self.rate.map_or_else(|| "lone".to_owned(), |rate| format!("{rate}/s"));
        match self.delivery {
            "exactly-once" => format!("exactly once, {} ms, {rate}", self.commit_interval_ms),
            _ => format!("at least once, {rate}"),
        }
    }

    /// Milliseconds from each payment to each of its verdicts.
    fn measure(
        &self,
        kafka: &Kafka,
        program: &Program,
        state: &Path,
        seconds: u64,
        payments: &[String],
        next: &mut usize,
    ) -> Vec<f64> {
        let group = state.file_name().unwrap().to_str().unwrap();
        let pipeline = program.root.join("resources/pipelines/transactions.toml");
        let models = program.root.join("models");
        let what = ["run", "--brokers", &kafka.brokers, "--group", group, "--device", "cpu", "--all-verdicts"];
        let files = ["--pipeline", text(&pipeline), "--models", text(&models), "--state-dir", text(state)];
        let how = ["--delivery", self.delivery, "--commit-interval-ms", self.commit_interval_ms];
        // It begins with what comes from now on.
        let scorer = program.start(&[&what[..], &files, &how, &["-X", "auto.offset.reset=latest"]].concat());
        let reader = TimedReader::start(&kafka.brokers);
        let mut sender = TimedSender::new(&kafka.brokers);
        let mut send = |count: usize| {
            for _ in 0..count {
                sender.send(&payments[*next % payments.len()]);
                *next += 1;
            }
        };
        // The first records may come before the scorer knows where it begins.
        let start = Instant::now();
        while !reader.has_any() {
            assert!(start.elapsed() < PATIENCE, "no verdict comes: {}", scorer.stderr());
            send(1);
            thread::sleep(Duration::from_millis(100));
        }
        self.feed(&mut send, WARM_UP);
        let first = sender.next();
        let mut send = |count: usize| {
            for _ in 0..count {
                sender.send(&payments[*next % payments.len()]);
                *next += 1;
            }
        };
        self.feed(&mut send, Duration::from_secs(seconds));
        sender.flush();
        let last = sender.next() - 1;
        let arrived = reader.read_through(last);
        let (run, _) = scorer.terminate();
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let measured = arrived.into_iter().filter(|arrived| arrived.offset >= first);
        let latencies: Vec<f64> = measured.filter_map(|arrived| sender.latency(arrived)).collect();
        let expected = VERDICTS_A_PAYMENT as i64 * (last - first + 1);
        assert_eq!(latencies.len() as i64, expected, "each payment has its verdicts");
        latencies
    }

    /// Sends payments for so long, evenly.
    fn feed(&self, send: &mut impl FnMut(usize), length: Duration) {
        let start = Instant::now();
        let mut sent = 0;
        while start.elapsed() < length {
            let due = match self.rate {
                Some(rate) => (start.elapsed().as_secs_f64() * f64::from(rate)) as usize,
                None => sent + 1,
            };
            send(due - sent);
            sent = due;
            thread::sleep(if self.rate.is_some() { Duration::from_millis(1) } else { LONE });
        }
    }
}
