//! Kills and stops instances of the scorer, and the broker, under load, at random moments and right before and after each
//! call of a transaction; counts what is lost and what is duplicated.
//!
//! `cargo run -p tests --bin kill-test -- --rounds 100 --instances 3`; `--pipeline transactions`, `transactions-waiting` (in
//! hops) or `fraud-handbook` instead of `invoices`; `--clock record` instead of `event`; `--group-protocol consumer` instead of
//! `classic`; `--threads 4` gives each instance so many stream threads; `--standbys N` with copies of the state; `--seed N`
//! repeats the moments of a run; `--mutation NAME` breaks a guarantee, which has to be found out. Exit codes: 0 every guarantee
//! was kept, 1 one was not, 2 a mistake on the command line.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use tests::kill::{GroupProtocol, MUTATIONS, Outcome, Plan, run};
use tests::{Clock, Subject, build_broken_scorer, build_programs};

fn main() -> ExitCode {
    let Some(plan) = plan(std::env::args().skip(1)) else {
        eprintln!(
            "usage: kill-test [--pipeline NAME] [--clock event|record] [--group-protocol classic|consumer] [--rounds N] \
             [--instances N] [--threads N] [--standbys N] [--seed N] [--mutation {}]",
            MUTATIONS.join("|")
        );
        return ExitCode::from(2);
    };
    build_programs();
    build_broken_scorer();
    let Some(outcome) = run(&plan) else { return ExitCode::FAILURE };
    let Plan { rounds, instances, threads, .. } = plan;
    let Outcome { records, lost, duplicated, unsound, from_snapshots, from_standbys } = outcome;
    println!(
        "rounds={rounds} instances={instances} threads={threads} records={records} lost={lost} duplicated={duplicated} \
         unsound={unsound} partitions from snapshots={from_snapshots}, from standby copies={from_standbys}"
    );
    if outcome.is_exact() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn plan(mut arguments: impl Iterator<Item = String>) -> Option<Plan> {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    let mut plan = Plan {
        subject: Subject::Invoices,
        clock: Clock::Event,
        group_protocol: GroupProtocol::Classic,
        threads: 1,
        rounds: 100,
        instances: 3,
        standbys: 0,
        seed,
        mutation: None,
    };
    while let Some(name) = arguments.next() {
        let value = arguments.next()?;
        match name.as_str() {
            "--pipeline" => plan.subject = Subject::of(&value)?,
            "--clock" => plan.clock = Clock::of(&value)?,
            "--group-protocol" => plan.group_protocol = GroupProtocol::of(&value)?,
            "--threads" => plan.threads = value.parse::<usize>().ok().filter(|count| (1..=32).contains(count))?,
            "--rounds" => plan.rounds = value.parse().ok().filter(|rounds| *rounds > 0)?,
            "--instances" => plan.instances = value.parse().ok().filter(|count| *count > 0)?,
            "--standbys" => plan.standbys = value.parse().ok()?,
            "--seed" => plan.seed = value.parse().ok()?,
            "--mutation" => plan.mutation = Some(MUTATIONS.into_iter().find(|known| *known == value)?),
            _ => return None,
        }
    }
    Some(plan)
}
