//! What `benches/compare/kmeans.py` measures beside other libraries, and figures that no timing shows.
//!
//! ```text
//! cargo build -p clustering -p trainer --example kmeans-bench
//! target/debug/examples/kmeans-bench accuracy --rows 50000000 --features 4 --clusters 8
//! target/debug/examples/kmeans-bench memory --rows 10000000 --features 8 --clusters 20
//! ```
//!
//! Exit codes: 0 done, and within bounds where there are any; 1 out of bounds, or it could not be done; 2 a mistake on
//! the command line.

mod accuracy;
mod data;
mod memory;
mod options;
mod reference;
mod serve;

use std::process::ExitCode;

use clustering::device::Survey;
use options::{Command, Options};

/// What makes a command end early.
type Failure = Box<dyn std::error::Error>;

const USAGE: &str = "\
usage: kmeans-bench accuracy [--rows N] [--features N] [--clusters N] [--iterations N] [--seed N] [--device D]
       kmeans-bench memory   [--rows N] [--features N] [--clusters N] [--iterations N] [--seed N] [--device D]
       kmeans-bench serve    [--device D]      answers the requests that come on standard input, one a line
       kmeans-bench devices                    tells the devices of this machine and what was measured on them, as JSON";

fn main() -> ExitCode {
    let Some(options) = Options::parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything was within bounds.
fn run(options: &Options) -> Result<bool, Failure> {
    let chosen = clustering::device::choose(options.device)?;
    match options.command {
        Command::Accuracy => accuracy::run(options, &chosen.device),
        Command::Memory => memory::run(options, &chosen.device),
        Command::Serve => serve::run(&chosen),
        Command::Devices => devices(),
    }
}

/// As `trainer devices --json`.
fn devices() -> Result<bool, Failure> {
    println!("{}", serde_json::to_string_pretty(&Survey::take())?);
    Ok(true)
}
