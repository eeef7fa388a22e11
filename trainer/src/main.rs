//! The program `trainer`: from history to models.

use std::ffi::OsString;
use std::process::ExitCode;

use configuration::{Failure, Parsed};
use shared::text::{printable_lines, sentence};
use trainer::args::{Args, PROGRAM};

/// The exit code of a command line that cannot be understood, whether it was typed or not.
const WRONG_COMMAND_LINE: u8 = 2;

/// 0: done. 1: it could not be done. 2: it was asked for in a way that cannot be understood.
fn main() -> ExitCode {
    let Parsed { command_line, warnings, .. } = match options() {
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
    for warning in &warnings {
        eprintln!("warning: {}", printable_lines(warning));
    }
    match trainer::run(&command_line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", sentence(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Parsed<Args>, Failure> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let environment: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    configuration::parse(&PROGRAM, &arguments, &environment)
}
