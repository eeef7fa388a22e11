//! The memory of a scorer in floods: of new keys, of open invoices, of records that come faster than they are read, and
//! before a slow broker. The memory is printed second by second, and its peak beside the bound.
//!
//! `cargo run -p tests --bin memory -- --max-memory 1GiB --seconds 120`; with `--records N`, at most so many come, and
//! with `--flood new-keys` only that flood does (`open-invoices`, `slow-broker`, `backlog`).
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on panics")]

use std::process::ExitCode;

use shared::memory::Size;
use tests::build_programs;
use tests::flood::{self, Flood, Plan};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((floods, plan)) = plan(&arguments) else {
        eprintln!("usage: memory [--flood NAME] [--max-memory SIZE] [--seconds N] [--records N]");
        return ExitCode::from(2);
    };
    build_programs();
    let mut is_within = true;
    for flood in floods {
        let outcome = flood::run(flood, &plan).expect("Apache Kafka");
        is_within &= outcome.peak.max(outcome.peak_after_restart) <= plan.max_memory;
    }
    println!("bound {}: {}", Size(plan.max_memory), if is_within { "kept" } else { "exceeded" });
    if is_within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn plan(arguments: &[String]) -> Option<(Vec<Flood>, Plan)> {
    let mut floods = Flood::ALL.to_vec();
    let mut plan = Plan { max_memory: 512 << 20, seconds: 60, records: u64::MAX };
    for pair in arguments.chunks(2) {
        let [name, value] = pair else { return None };
        match name.as_str() {
            "--flood" => floods = vec![Flood::named(value)?],
            "--max-memory" => plan.max_memory = value.parse::<Size>().ok()?.0,
            "--seconds" => plan.seconds = value.parse().ok()?,
            "--records" => plan.records = value.parse().ok()?,
            _ => return None,
        }
    }
    Some((floods, plan))
}
