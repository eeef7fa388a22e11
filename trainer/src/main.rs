//! The program `trainer`: from history to models.

use std::process::ExitCode;

use clap::Parser;
use shared::text::sentence;
use trainer::args::Args;

/// 0: done. 1: it could not be done. 2: it was asked for in a way that cannot be understood.
fn main() -> ExitCode {
    match trainer::run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", sentence(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
