//! Says which figures of the newest run of benchmarks are worse than they were: beside the median of up to seven runs before it.
//!
//! `cargo run -p tests --bin slower -- FOLDER --by 15`: the folder has a file for each run, and the names of the files are in the
//! order of the runs (`.ci/nightly` writes them). Exit codes: 0 nothing is worse by more than so many per cent, 1 something is,
//! 2 a mistake on the command line, or a file that cannot be read.

use std::path::Path;
use std::process::ExitCode;

use tests::history::{Change, changes, runs};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((folder, percent)) = asked(&arguments) else {
        eprintln!("usage: slower FOLDER [--by PER-CENT]");
        return ExitCode::from(2);
    };
    let runs = match runs(Path::new(folder)) {
        Ok(runs) => runs,
        Err(why) => {
            eprintln!("error: {why}");
            return ExitCode::from(2);
        }
    };
    let mut changes = changes(&runs);
    changes.sort_by(|a, b| a.ratio.total_cmp(&b.ratio));
    println!("{:<70}{:>14}{:>14}{:>8}", "figure", "before", "now", "ratio");
    for Change { name, before, now, ratio } in &changes {
        println!("{name:<70}{before:>14.2}{now:>14.2}{ratio:>8.2}");
    }
    let worse = changes.iter().filter(|change| change.ratio < 1.0 - percent / 100.0).count();
    println!("{worse} of {} figures are worse by more than {percent} %, of {} runs", changes.len(), runs.len());
    if worse == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn asked(arguments: &[String]) -> Option<(&str, f64)> {
    match arguments {
        [folder] => Some((folder, 15.0)),
        [folder, by, percent] if by == "--by" => {
            Some((folder, percent.parse().ok().filter(|percent| (0.0..100.0).contains(percent))?))
        }
        _ => None,
    }
}
