//! The scorer: a stream of lines in, verdicts out.
//!
//! `core` is the pure state machine and `simulate` makes sample data: crates of their own, which know nothing of Kafka
//! nor of models. `scoring` and `messages` turn what the core says into Kafka messages, `truth` holds what detectors found
//! beside what is known, `agreement` how two of them agree, `drift` whether the stream is still like the training; `posted` scores what somebody posts, and `pasts` asks a stream what it
//! remembers; `kafka` is the only module that talks to a broker, `file`,
//! `snapshot` and `private` the only ones that touch files, `clock` the only one that knows the time of day. `alerting` says what
//! a pipeline file and verdicts are to `alerts`, a crate of its own. `memory` divides what a stream may take; `traces` sends traces of
//! its batches, behind the cargo feature `otel`. `args` and
//! `commands` wire them together for the command line, and `exit_code` tells a supervisor what an error means.

pub mod agreement;
pub mod alerting;
pub mod args;
mod clock;
pub mod commands;
pub mod drift;
pub mod exit_code;
pub mod file;
pub mod kafka;
pub mod memory;
pub mod messages;
mod pasts;
pub mod posted;
pub mod private;
pub mod scoring;
pub mod snapshot;
pub mod status;
#[cfg(feature = "otel")]
pub mod traces;
pub mod truth;
mod window_snapshot;

pub use ::simulate;
pub use scorer_core as core;

use std::ffi::OsString;
use std::process::ExitCode;

use configuration::{Failure, Parsed};
use shared::text::{printable_lines, sentence};

/// The exit code of a command line that cannot be understood, whether it was typed or not.
const WRONG_COMMAND_LINE: u8 = 2;

/// What the program does: reads the options, does what they ask for, and says in one sentence what went wrong.
pub fn main() -> ExitCode {
    let parsed = match options() {
        Ok(parsed) => parsed,
        Err(Failure::CommandLine(error)) => {
            // Where nobody reads it there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(WRONG_COMMAND_LINE));
        }
        Err(error) => {
            eprintln!("error: {}", printable_lines(&error.to_string()));
            return ExitCode::from(WRONG_COMMAND_LINE);
        }
    };
    match commands::execute(parsed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", sentence(error.as_ref()));
            exit_code::of(&error)
        }
    }
}

fn options() -> Result<Parsed<args::Cli>, Failure> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let environment: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    configuration::parse(&args::PROGRAM, &arguments, &environment)
}
