//! A scorer that runs for hours: payments come at a steady rate, and its memory and how long verdicts take are printed by the
//! minute. The memory has to be flat: in the last quarter the most that it has is no more than a tenth above the most in the
//! quarter before the middle.
//!
//! `cargo run -p tests --bin soak -- --minutes 120 --rate 1000`. Exit codes: 0 flat, 1 it grew, 2 a mistake on the command line.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on panics")]

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use tests::history::{Better, note};
use tests::measure::{Program, memory, quantile, simulated_payments};
use tests::timed::{TimedReader, TimedSender, create_topics};
use tests::{Kafka, build_programs, text};

const USERS: u32 = 5_000;

const MINUTE: Duration = Duration::from_secs(60);

/// How often memory is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What the broker keeps of a topic: the disk is not to be full after some hours.
const KEPT: [(&str, &str); 2] = [("retention.bytes", "268435456"), ("segment.bytes", "67108864")];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((minutes, rate)) = asked(&arguments) else {
        eprintln!("usage: soak [--minutes N, from 4 on] [--rate PAYMENTS-A-SECOND]");
        return ExitCode::from(2);
    };
    build_programs();
    let memory = soak(minutes, rate);
    let most = |range: std::ops::Range<usize>| memory[range].iter().copied().max().unwrap();
    let (early, late) = (most(minutes / 4..minutes / 2), most(minutes * 3 / 4..minutes));
    note(&format!("soak, {rate}/s, peak KiB"), late as f64, Better::Lower);
    let is_flat = late <= early + early / 10;
    println!(
        "at most {early} KiB before the middle, {late} KiB in the end: {}",
        if is_flat { "flat" } else { "it grew" }
    );
    if is_flat { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The most memory by the minute, in KiB.
fn soak(minutes: usize, rate: u32) -> Vec<u64> {
    let folder = tempfile::tempdir().unwrap();
    // Some more than are sent: those that come while the scorer starts.
    let count = rate * 60 * (u32::try_from(minutes).unwrap() + 1);
    let payments = File::open(simulated_payments(folder.path(), count, USERS)).unwrap();
    let mut payments = BufReader::new(payments).lines().map(Result::unwrap);
    let kafka = Kafka::start().expect("Apache Kafka");
    create_topics(&kafka, &KEPT);
    let (program, state) = (Program::this(), folder.path().join("state"));
    let what = ["run", "--brokers", &kafka.brokers, "--group", "soak", "--pipeline", "transactions", "--device", "cpu"];
    let scorer = program.start(&[&what[..], &["--all-verdicts", "--state-dir", text(&state)]].concat());
    let (reader, mut sender) = (TimedReader::start(&kafka.brokers), TimedSender::new(&kafka.brokers));
    let (start, mut peaks) = (Instant::now(), Vec::new());
    let (mut sent, mut verdicts, mut looked) = (0, 0, start);
    println!("{:>6}{:>12}{:>12}{:>10}{:>9}{:>9}", "minute", "payments", "verdicts", "MiB", "p50 ms", "p99 ms");
    for minute in 1..=minutes {
        let mut peak = 0;
        while start.elapsed() < MINUTE * minute as u32 {
            let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as usize;
            payments.by_ref().take(due - sent).for_each(|payment| sender.send(&payment));
            sent = due;
            if looked.elapsed() >= LOOK {
                (looked, peak) = (Instant::now(), peak.max(memory(&scorer, "VmRSS")));
            }
            thread::sleep(Duration::from_millis(1));
        }
        let latencies: Vec<f64> = reader.take().into_iter().filter_map(|arrived| sender.latency(arrived)).collect();
        assert!(!latencies.is_empty(), "no verdict came for a minute: {}", scorer.stderr());
        verdicts += latencies.len();
        let (p50, p99) = (quantile(&latencies, 0.5), quantile(&latencies, 0.99));
        println!("{minute:>6}{sent:>12}{verdicts:>12}{:>10}{p50:>9.1}{p99:>9.1}", peak / 1024);
        peaks.push(peak);
    }
    sender.flush();
    let (run, _) = scorer.terminate();
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    peaks
}

fn asked(arguments: &[String]) -> Option<(usize, u32)> {
    let (mut minutes, mut rate) = (120, 1_000);
    for pair in arguments.chunks(2) {
        let [name, value] = pair else { return None };
        match name.as_str() {
            "--minutes" => minutes = value.parse().ok().filter(|minutes| *minutes >= 4)?,
            "--rate" => rate = value.parse().ok().filter(|rate| (1..=100_000).contains(rate))?,
            _ => return None,
        }
    }
    Some((minutes, rate))
}
