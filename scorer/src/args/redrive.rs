//! The command line of `redrive`.

use clap::Args;

use super::{BrokerArgs, CreateArgs, parse_since};

/// Options of `redrive`.
#[derive(Debug, Clone, Args)]
pub struct RedriveArgs {
    /// Pipeline that ships with the program, or pipeline file; it names the topics.
    #[arg(long, value_name = "NAME|FILE", default_value = "invoices")]
    pub pipeline: String,
    /// Brokers.
    #[command(flatten)]
    pub brokers: BrokerArgs,
    /// Topics.
    #[command(flatten)]
    pub create: CreateArgs,
    /// Consumer group; what was sent is remembered in an internal topic that is named after it.
    #[arg(long, value_name = "ID", default_value = "atalaya")]
    pub group: String,
    /// Send only records with this reason, such as `late_line` or `not_a_number:UnitPrice`.
    #[arg(long, value_name = "REASON")]
    pub reason: Option<String>,
    /// Leave out what was published before this time, such as 2026-11-21T09:30:00Z or milliseconds since 1970.
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    pub since: Option<i64>,
    /// Send only the record that was at this place, as `source` of its message says it: TOPIC:PARTITION:OFFSET, and the place in
    /// the message behind it if that holds several.
    #[arg(long, value_name = "PLACE")]
    pub record: Option<String>,
    /// Send nothing, and say how many records would be sent.
    #[arg(long)]
    pub dry_run: bool,
}
