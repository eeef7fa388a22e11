//! The command lines of `score` and `replay`: files, scored without Kafka or sent to it.

use std::path::PathBuf;

use clap::Args;

use super::{BrokerArgs, CreateArgs, PipelineArgs};

/// Options of `score`.
#[derive(Debug, Clone, Args)]
pub struct ScoreArgs {
    /// File to score: .csv or .jsonl, also compressed as .gz; `-` is standard input.
    #[arg(value_name = "FILE")]
    pub input: PathBuf,
    /// Pipeline, models, device.
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    /// Output: FILE.jsonl, FILE.csv or FILE.parquet, with every message; `-` means JSON lines on standard output.
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
    /// Leave out verdicts on normal invoices.
    #[arg(long)]
    pub anomalies_only: bool,
}

/// Options of `replay`.
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// File to send: .csv or .jsonl, in the format of the topic, also compressed as .gz; `-` is standard input.
    #[arg(value_name = "FILE")]
    pub input: PathBuf,
    /// Pipeline that ships with the program, or pipeline file; it names the topic and the columns.
    #[arg(long, value_name = "NAME|FILE", default_value = "invoices")]
    pub pipeline: String,
    /// Brokers.
    #[command(flatten)]
    pub brokers: BrokerArgs,
    /// Topics.
    #[command(flatten)]
    pub create: CreateArgs,
    /// Consumer group; its internal topics are created too.
    #[arg(long, value_name = "ID", default_value = "atalaya")]
    pub group: String,
    /// Lines per second; without --rate and --speed, as fast as possible.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// Speed relative to the dates of the lines: 60 sends an hour of lines in a minute.
    #[arg(long, value_name = "FACTOR", conflicts_with = "rate", value_parser = parse_speed)]
    pub speed: Option<f64>,
}

fn parse_speed(text: &str) -> Result<f64, String> {
    let speed = text.parse::<f64>().ok().filter(|speed| speed.is_finite() && *speed > 0.0);
    speed.ok_or_else(|| "use a number above 0".to_owned())
}
