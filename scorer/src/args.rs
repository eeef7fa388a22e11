//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use shared::device::{DEVICE_NAMES, DeviceRequest};

use crate::kafka::KafkaSettings;
use crate::simulate::invoices::InvoicesArgs;

/// Finds anomalous invoices in a Kafka stream, with the models that `trainer` made.
///
/// Without a command it runs: it reads the pipeline's topic, assembles lines into invoices, scores each complete one with
/// every model of the pipeline, and publishes anomalies, erroneous records and cancellation counts to their topics.
#[derive(Debug, Parser)]
#[command(name = "scorer", version, args_conflicts_with_subcommands = true, after_long_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of `run`, which is the command when none is named.
    #[command(flatten)]
    pub run: RunArgs,
}

const EXAMPLES: &str = "\
Examples:
  scorer demo                                   see it work, without a broker
  scorer --brokers kafka-1:9092,kafka-2:9092    score a live topic
  scorer replay history.csv --rate 500          send a file to the topic, 500 lines a second
  scorer run --clock event                      score what was replayed, by the dates of its lines
  scorer score history.csv --output out.jsonl   score a file, without Kafka
  scorer topics                                 which topics the pipeline needs, and which are there

Exit codes: 0 done, 1 an error, 2 a mistake on the command line.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Score a live topic (the default).
    Run(RunArgs),
    /// See it work: an in-process Kafka, sample models, sample data, nothing to install.
    Demo(DemoArgs),
    /// Score a file without Kafka: backtests, and the reference for the stream.
    Score(ScoreArgs),
    /// Send a CSV file to the pipeline's topic, as a producer would, keyed by invoice number.
    Replay(ReplayArgs),
    /// Write sample data from a seed.
    #[command(subcommand)]
    Simulate(Simulation),
    /// Show the pipeline's topics, and create those that are missing.
    Topics(TopicsArgs),
}

/// What to simulate.
#[derive(Debug, Subcommand)]
pub enum Simulation {
    /// Purchase lines of a shop, with labelled anomalies.
    Invoices(InvoicesArgs),
}

/// Which pipeline, models and device.
#[derive(Debug, Clone, Args)]
pub struct PipelineArgs {
    /// Pipeline that ships with the program (invoices, invoices-spark), or a pipeline file.
    #[arg(long, value_name = "NAME|FILE", default_value = "invoices")]
    pub pipeline: String,
    /// Folder of the models that `trainer` wrote.
    #[arg(long, value_name = "DIR", default_value = "models")]
    pub models: PathBuf,
    /// Where scores are computed: auto, cpu, gpu, gpu:N, software, vulkan, vulkan:N, cuda or cuda:N.
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = parse_device)]
    pub device: DeviceRequest,
}

/// How to reach Kafka.
#[derive(Debug, Clone, Args)]
pub struct BrokerArgs {
    /// Kafka brokers, HOST:PORT, several with commas.
    #[arg(long, value_name = "LIST", env = "ATALAYA_BROKERS", default_value = "localhost:9092")]
    pub brokers: String,
    /// A setting of librdkafka, such as security.protocol=SASL_SSL; may be given several times.
    #[arg(short = 'X', long = "kafka-property", value_name = "KEY=VALUE", value_parser = parse_property)]
    pub properties: Vec<(String, String)>,
}

/// How missing topics are created.
#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    /// Partitions of a topic that is created.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
    pub partitions: i32,
    /// Copies of a topic that is created; -1 is the broker's default.
    #[arg(long, value_name = "N", default_value_t = -1, allow_negative_numbers = true)]
    pub replication_factor: i32,
    /// Create nothing: a missing topic is an error.
    #[arg(long)]
    pub no_create_topics: bool,
}

/// What time it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ClockArg {
    /// The timestamp that Kafka keeps with each record.
    Record,
    /// The date of the line: for replays of history.
    Event,
}

/// Options of `run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Pipeline, models, device.
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    /// Brokers.
    #[command(flatten)]
    pub brokers: BrokerArgs,
    /// Topics.
    #[command(flatten)]
    pub create: CreateArgs,
    /// Consumer group; instances of one group share the partitions.
    #[arg(long, value_name = "ID", default_value = "atalaya")]
    pub group: String,
    /// What time it is: `record` or `event`; without it, as the pipeline file says.
    #[arg(long, value_name = "CLOCK")]
    pub clock: Option<ClockArg>,
    /// Publish verdicts on normal invoices as well.
    #[arg(long)]
    pub all_verdicts: bool,
    /// Close a micro-batch after so many records.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = parse_positive)]
    pub batch_records: usize,
    /// Close a micro-batch when its oldest result is this old, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 20)]
    pub batch_age_ms: u64,
    /// Stop once everything in the topic has been read; invoices still open are complete then.
    #[arg(long)]
    pub until_end: bool,
    /// Write logs as JSON to standard error, for services; there is no status line then.
    #[arg(long)]
    pub json_logs: bool,
}

/// Options of `demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Pipeline, models, device.
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    /// File to replay.
    #[arg(long, value_name = "FILE", default_value = "resources/production.csv")]
    pub input: PathBuf,
    /// Lines a second; 0 is as fast as it goes.
    #[arg(long, value_name = "N", default_value_t = 1_500)]
    pub rate: u32,
}

/// Options of `score`.
#[derive(Debug, Clone, Args)]
pub struct ScoreArgs {
    /// CSV file (or .csv.gz) to score; `-` is standard input.
    #[arg(value_name = "FILE")]
    pub input: PathBuf,
    /// Pipeline, models, device.
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    /// Where results go: FILE.jsonl (every message), FILE.parquet (verdicts); `-` is JSON lines on standard output.
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
    /// Leave out verdicts on normal invoices.
    #[arg(long)]
    pub anomalies_only: bool,
}

/// Options of `replay`.
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// CSV file (or .csv.gz) to send; `-` is standard input.
    #[arg(value_name = "FILE")]
    pub input: PathBuf,
    /// Pipeline that ships with the program, or a pipeline file: it names the topic and the columns.
    #[arg(long, value_name = "NAME|FILE", default_value = "invoices")]
    pub pipeline: String,
    /// Brokers.
    #[command(flatten)]
    pub brokers: BrokerArgs,
    /// Topics.
    #[command(flatten)]
    pub create: CreateArgs,
    /// Lines a second; without it and --speed, as fast as it goes.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// Times the pace of the lines' dates: 60 sends an hour in a minute.
    #[arg(long, value_name = "FACTOR", conflicts_with = "rate", value_parser = parse_speed)]
    pub speed: Option<f64>,
}

/// Options of `topics`.
#[derive(Debug, Clone, Args)]
pub struct TopicsArgs {
    /// Pipeline that ships with the program, or a pipeline file.
    #[arg(long, value_name = "NAME|FILE", default_value = "invoices")]
    pub pipeline: String,
    /// Brokers.
    #[command(flatten)]
    pub brokers: BrokerArgs,
    /// Topics.
    #[command(flatten)]
    pub create: CreateArgs,
}

impl BrokerArgs {
    /// The settings that these flags mean.
    pub fn settings(&self) -> KafkaSettings {
        KafkaSettings { brokers: self.brokers.clone(), properties: self.properties.clone() }
    }
}

fn parse_device(text: &str) -> Result<DeviceRequest, String> {
    DeviceRequest::from_str(text).map_err(|_| format!("use {DEVICE_NAMES}"))
}

fn parse_property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        // The text is not repeated: it may hold a secret.
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

fn parse_positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "use a whole number above 0".to_owned())
}

fn parse_speed(text: &str) -> Result<f64, String> {
    let speed = text.parse::<f64>().ok().filter(|speed| speed.is_finite() && *speed > 0.0);
    speed.ok_or_else(|| "use a number above 0".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_is_the_command_when_none_is_named() {
        let cli = Cli::try_parse_from(["scorer", "--group", "g", "-X", "security.protocol=ssl"]).unwrap();
        assert!(cli.command.is_none());
        assert_eq!(cli.run.brokers.properties, [("security.protocol".to_owned(), "ssl".to_owned())]);
        assert!(matches!(
            Cli::try_parse_from(["scorer", "run", "--group", "g"]).unwrap().command,
            Some(Command::Run(_))
        ));
    }

    #[test]
    fn mistakes_are_refused() {
        for bad in [
            &["scorer", "--device", "tpu"][..],
            &["scorer", "-X", "nonsense"],
            &["scorer", "replay", "f", "--rate", "0"],
            &["scorer", "replay", "f", "--speed", "-1"],
            &["scorer", "replay", "f", "--speed", "2", "--rate", "3"],
        ] {
            assert!(Cli::try_parse_from(bad).is_err(), "{bad:?}");
        }
    }
}
