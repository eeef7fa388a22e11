//! The documents say what the program can do.

#[path = "../../../tests/documents/commands.rs"]
mod commands;

use clap::CommandFactory as _;
use scorer::args::Cli;

#[test]
fn every_command_and_option_is_on_the_page_of_commands() {
    let missing = commands::undocumented(&Cli::command());
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn every_command_that_the_documents_show_exists() {
    let lacks: &[&str] = if cfg!(feature = "otel") { &[] } else { &["otlp-endpoint"] };
    let (n_shown, wrong) = commands::shown(&Cli::command(), lacks);
    assert!(n_shown > 30, "{n_shown} commands");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
