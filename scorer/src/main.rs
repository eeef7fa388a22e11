//! The `scorer` program.

use std::process::ExitCode;

use clap::Parser;
use scorer::args::Cli;
use scorer::commands;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match commands::execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
