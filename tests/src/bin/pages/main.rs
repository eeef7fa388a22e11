//! What open pages of the window cost the stream, and how long a record takes until it is seen on one of them.
//!
//! `cargo run -p tests --bin pages` measures three things with simulated payments, and needs Chromium. `rates`: payments a
//! second without a window, with one, and with pages open. `latencies`: the time from a payment to its verdict while
//! programs listen to the window. `pixels`: the time from an anomalous payment to its row on the page Anomalies. It takes
//! about half an hour; `--payments`, `--rounds`, `--seconds` and `--anomalies` make it shorter or longer.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on panics")]

mod latencies;
mod pixels;
mod rates;
mod readers;
mod scorers;

use std::process::ExitCode;

use tests::browser::Driver;
use tests::build_programs;

const DELIVERIES: [&str; 2] = ["exactly-once", "at-least-once"];

/// Pages, or programs instead of them, that are many.
const MANY: usize = 10;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Plan {
    /// Payments that a scorer reads in a turn.
    payments: u32,
    /// Turns that count; one more before them warms everything up.
    rounds: usize,
    /// How long a turn with payments at a fixed rate takes.
    seconds: u64,
    /// Anomalies that are looked for on a page.
    anomalies: usize,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(plan) = plan(&arguments) else {
        eprintln!("usage: pages [--payments N] [--rounds N] [--seconds N] [--anomalies N]");
        return ExitCode::from(2);
    };
    build_programs();
    let driver = Driver::start().expect("Chromium");
    rates::measure(&driver, &plan);
    latencies::measure(&plan);
    pixels::measure(&driver, &plan);
    ExitCode::SUCCESS
}

fn plan(arguments: &[String]) -> Option<Plan> {
    let mut plan = Plan { payments: 1_000_000, rounds: 5, seconds: 10, anomalies: 100 };
    for pair in arguments.chunks(2) {
        let [name, value] = pair else { return None };
        let value: u32 = value.parse().ok().filter(|value| *value > 0)?;
        match name.as_str() {
            "--payments" => plan.payments = value,
            "--rounds" => plan.rounds = value as usize,
            "--seconds" => plan.seconds = u64::from(value),
            "--anomalies" => plan.anomalies = value as usize,
            _ => return None,
        }
    }
    Some(plan)
}
