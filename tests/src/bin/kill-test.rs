//! Kills instances of the scorer at random moments under load and counts what is lost and what is duplicated.
//!
//! `cargo run -p tests --bin kill-test -- --rounds 100 --instances 3`; `--pipeline transactions` or `fraud-handbook` instead
//! of `invoices`; `--seed N` repeats the moments of a run, `--mutate` breaks the guarantee, which has to be found out. Exit codes: 0 nothing is lost or duplicated, 1 something
//! is, 2 a mistake on the command line.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use tests::kill::{Outcome, Plan, run};
use tests::{Subject, build_broken_scorer, build_programs};

fn main() -> ExitCode {
    let Some(plan) = plan(std::env::args().skip(1)) else {
        eprintln!("usage: kill-test [--pipeline NAME] [--rounds N] [--instances N] [--seed N] [--mutate]");
        return ExitCode::from(2);
    };
    build_programs();
    if plan.mutate {
        build_broken_scorer();
    }
    let Some(Outcome { records, lost, duplicated, from_snapshots }) = run(&plan) else { return ExitCode::FAILURE };
    let Plan { rounds, instances, .. } = plan;
    println!(
        "rounds={rounds} instances={instances} records={records} lost={lost} duplicated={duplicated} \
         partitions from snapshots={from_snapshots}"
    );
    if lost + duplicated == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn plan(mut arguments: impl Iterator<Item = String>) -> Option<Plan> {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    let mut plan = Plan { subject: Subject::Invoices, rounds: 100, instances: 3, seed, mutate: false };
    while let Some(name) = arguments.next() {
        match name.as_str() {
            "--pipeline" => plan.subject = Subject::of(&arguments.next()?)?,
            "--rounds" => plan.rounds = arguments.next()?.parse().ok().filter(|rounds| *rounds > 0)?,
            "--instances" => plan.instances = arguments.next()?.parse().ok().filter(|count| *count > 0)?,
            "--seed" => plan.seed = arguments.next()?.parse().ok()?,
            "--mutate" => plan.mutate = true,
            _ => return None,
        }
    }
    Some(plan)
}
