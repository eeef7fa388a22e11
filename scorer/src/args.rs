//! The command line.

mod ab;
mod brokers;
mod config;
mod files;
mod grow;
mod labels;
mod redrive;
mod run;
mod standbys;
mod threads;
mod watch;

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use shared::device::{DEVICE_NAMES, DeviceError, DeviceRequest};
use window::Address;

use crate::kafka::ResetTo;
use crate::simulate::invoices::InvoicesArgs;
use crate::simulate::transactions::TransactionsArgs;

pub use ab::AbArgs;
pub use brokers::{BrokerArgs, CreateArgs, PropertyArgs};
pub use config::{CheckArgs, ConfigCommand, DoctorArgs, PROGRAM, ShowArgs, VersionArgs};
pub use files::{ReplayArgs, ScoreArgs};
pub use grow::{GrowArgs, PartitionerArg};
pub use labels::{ExportArgs, LabelsCommand};
pub use redrive::RedriveArgs;
#[cfg(feature = "fault-injection")]
pub use run::MutationArg;
pub use run::{DeliveryArg, GroupProtocolArg, OnLostArg, RepartitionArg, RunArgs};
pub use standbys::StandbyArgs;
pub use threads::ThreadArgs;
pub use watch::{ReportArgs, WatchArgs};

/// Finds anomalous invoices and transactions in a Kafka stream, with the models of `trainer`.
///
/// Without a command, it runs: it reads the pipeline's topic, assembles lines into invoices, scores each complete invoice
/// with every model of the pipeline, and publishes anomalies, erroneous records and cancellation counts to their topics.
#[derive(Debug, Parser)]
#[command(name = "scorer", version, args_conflicts_with_subcommands = true, after_long_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of `run`, the default command.
    #[command(flatten)]
    pub run: RunArgs,
}

const EXAMPLES: &str = "\
Examples:
  scorer demo                                   see it work, without a broker
  scorer --brokers kafka-1:9092,kafka-2:9092    score a live topic
  scorer replay history.csv --rate 500          send a file to the topic, 500 lines per second
  scorer run --clock event                      score a replayed file by the dates of its lines
  scorer score history.csv --output out.jsonl   score a file, without Kafka
  scorer ab --a kmeans --b bisecting-kmeans     compare what two detectors published
  scorer watch --severity high                  show anomalies in a terminal, as they come
  scorer report --since 24h                     write a page about the last day, to send by mail
  scorer labels export --output labels.csv      write what analysts said of anomalies
  scorer init --topic payments                  write a pipeline file for the records of a topic
  scorer topics                                 show the topics of the pipeline, and create the missing ones
  scorer state                                  show open invoices, lag and the size of the state
  scorer reset --to earliest                    start a group again
  scorer grow --partitions 8                    give the topic more partitions, and carry the state over
  scorer redrive --reason late_line             send erroneous records to the topic again
  scorer alerts test --pipeline my.toml         send a test through each channel of alerts
  scorer config show --config scorer.toml       show every option of `run`, and where it comes from
  scorer check                                  look whether `run` would start, and change nothing
  scorer doctor                                 print what a report about a problem needs

Every option is also taken from ATALAYA_<OPTION> in the environment, such as ATALAYA_BROKERS, and from the TOML file of
--config. The command line has precedence, then the environment, then the file.

Exit codes: 0 success, 1 error, 2 wrong command line.";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Score a live topic (the default).
    Run(RunArgs),
    /// See it work with an in-process Kafka, sample models and sample data; there is nothing to install.
    Demo(DemoArgs),
    /// Score a file without Kafka, for backtests and as a reference for the stream.
    Score(ScoreArgs),
    /// Compare two detectors, from the live topics or from files: how far they agree, and which one is right.
    Ab(AbArgs),
    /// Show the anomalies of a live pipeline in the terminal, a line each, and go on as they come.
    Watch(WatchArgs),
    /// Write one page about what was found in a time: anomalies, erroneous records, and what analysts said.
    Report(ReportArgs),
    /// What analysts said of anomalies in the window: write it into a file.
    #[command(subcommand)]
    Labels(LabelsCommand),
    /// Write a pipeline file for the records of a topic, from the newest of them; `trainer init` does so for a file.
    Init(InitArgs),
    /// Send a file to the pipeline's topic, as a producer would; the key is the invoice number, or the column whose
    /// earlier records the features read.
    Replay(ReplayArgs),
    /// Write sample data from a seed.
    #[command(subcommand)]
    Simulate(Simulation),
    /// Show the pipeline's topics, and create the missing ones.
    Topics(TopicsArgs),
    /// Show the state of a group: open invoices, lag, watermark, size of the changelog; or set a watermark back.
    State(StateArgs),
    /// Start a group again: delete its state and move its offsets, in one step.
    Reset(ResetArgs),
    /// Give a group's topic more partitions: open invoices and all that is remembered of keys go to where their records are
    /// from then on.
    Grow(GrowArgs),
    /// Send erroneous records to the input topic again, after their cause was mended; each is sent once, however often
    /// this runs.
    Redrive(RedriveArgs),
    /// Try the channels of alerts.
    #[command(subcommand)]
    Alerts(AlertsCommand),
    /// What the options of `run` are, and where each comes from.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look whether `run` would start with these options: pipeline, models, device, brokers, topics, schemas. Nothing is written
    /// or created. It ends as `run` would end.
    Check(CheckArgs),
    /// Print what a report about a problem needs: versions, the machine, options, models, topics, lag. Secrets are left out.
    Doctor(DoctorArgs),
    /// Print the version, how the program was built, and which formats it knows.
    Version(VersionArgs),
}

/// What to do about alerts.
#[derive(Debug, Subcommand)]
pub enum AlertsCommand {
    /// Send one test alert through each channel of the pipeline file, once, and say what became of it.
    Test(AlertsTestArgs),
}

/// Options of `alerts test`.
#[derive(Debug, Clone, Args)]
pub struct AlertsTestArgs {
    /// Pipeline file.
    #[arg(long, value_name = "NAME|FILE", default_value = "invoices")]
    pub pipeline: String,
    /// Only through this channel.
    #[arg(long, value_name = "NAME")]
    pub channel: Option<String>,
    /// Brokers, for channels that are topics.
    #[command(flatten)]
    pub brokers: BrokerArgs,
}

/// What to simulate.
#[derive(Debug, Subcommand)]
pub enum Simulation {
    /// Purchase lines of a shop, with labelled anomalies.
    Invoices(InvoicesArgs),
    /// Card payments of a population, with labelled anomalies, as a stream or as a file.
    ///
    /// The same options give the same bytes. A file has a label column; for a normal payment it is empty (in JSON, absent).
    /// In Kafka the label is the record header `label`, and the value does not contain it.
    Transactions(Box<SimulateTransactionsArgs>),
}

/// Options of `simulate transactions`.
#[derive(Debug, Clone, Args)]
pub struct SimulateTransactionsArgs {
    /// Simulation and destination.
    #[command(flatten)]
    pub transactions: TransactionsArgs,
    /// Settings of librdkafka.
    #[command(flatten)]
    pub properties: PropertyArgs,
    /// Topics.
    #[command(flatten)]
    pub create: CreateArgs,
}

/// Which pipeline, models and device.
#[derive(Debug, Clone, Args)]
pub struct PipelineArgs {
    /// Pipeline that ships with the program (invoices, invoices-spark, transactions, fraud-handbook, online-retail, paysim, sparkov, creditcard), or pipeline file.
    #[arg(long, value_name = "NAME|FILE", default_value = "invoices")]
    pub pipeline: String,
    /// Folder with the models that `trainer` wrote; by default `models`. If it has none of a pipeline that ships, models
    /// that are built into the program take their place; they were trained on sample data.
    #[arg(long, value_name = "DIR")]
    pub models: Option<PathBuf>,
    /// Device that computes the scores: auto (a discrete GPU if it has kernels for them and there is enough to do, else the CPU),
    /// cpu, gpu, gpu:N, software, vulkan or vulkan:N.
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = parse_device)]
    pub device: DeviceRequest,
}

/// Clock of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ClockArg {
    /// The timestamp that Kafka stores with each record.
    Record,
    /// The date of the line, for replays of history.
    Event,
}

/// Options of `demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Pipeline, models, device.
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    /// File to replay; by default the pipeline's sample data.
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Lines per second; 0 means as fast as possible.
    #[arg(long, value_name = "N", default_value_t = 1_500)]
    pub rate: u32,
    /// Address on this machine where the window in the browser is; port 0 is any that is free. By default it is 127.0.0.1:8600,
    /// or another port where that one is taken, if the demo runs in a terminal. The window stays open until Ctrl-C.
    #[arg(long, value_name = "ADDRESS", value_parser = parse_local_address)]
    pub listen: Option<Address>,
    /// Open no window.
    #[arg(long, conflicts_with = "listen")]
    pub no_listen: bool,
}

/// Options of `init`.
#[derive(Debug, Clone, Args)]
pub struct InitArgs {
    /// Topic whose records are looked at: CSV without a header, or JSON objects. Nothing is committed.
    #[arg(long, value_name = "TOPIC")]
    pub topic: String,
    /// Brokers.
    #[command(flatten)]
    pub brokers: BrokerArgs,
    /// Number of newest records to look at, of all partitions together.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = parse_positive)]
    pub records: usize,
    /// Name of the pipeline; by default, that of the topic.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The pipeline file to write; by default, NAME.toml.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Overwrite the pipeline file.
    #[arg(long)]
    pub force: bool,
}

/// Options of `topics`.
#[derive(Debug, Clone, Args)]
pub struct TopicsArgs {
    /// Pipeline that ships with the program, or pipeline file.
    #[arg(long, value_name = "NAME|FILE", default_value = "invoices")]
    pub pipeline: String,
    /// Brokers.
    #[command(flatten)]
    pub brokers: BrokerArgs,
    /// Topics.
    #[command(flatten)]
    pub create: CreateArgs,
    /// Consumer group; the internal topics are named after it.
    #[arg(long, value_name = "ID", default_value = "atalaya")]
    pub group: String,
}

/// Options of `state`.
#[derive(Debug, Clone, Args)]
pub struct StateArgs {
    /// Pipeline, brokers and group.
    #[command(flatten)]
    pub of: GroupArgs,
    /// Set watermarks that are later than this time back to it, all or that of one partition, while no scorer of the group
    /// runs: open invoices then close as if their last lines had come at that time at the latest.
    #[arg(long, value_name = "[PARTITION=]TIME", value_parser = parse_watermark)]
    pub set_watermark: Option<WatermarkArg>,
}

/// A watermark that is to be set: of one partition, or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatermarkArg {
    /// The partition; without one, all.
    pub partition: Option<i32>,
    /// Milliseconds since 1970.
    pub time: i64,
}

/// A group of a pipeline.
#[derive(Debug, Clone, Args)]
pub struct GroupArgs {
    /// Pipeline that ships with the program, or pipeline file.
    #[arg(long, value_name = "NAME|FILE", default_value = "invoices")]
    pub pipeline: String,
    /// Clock of the group, as it was given to `run`.
    #[arg(long, value_name = "CLOCK")]
    pub clock: Option<ClockArg>,
    /// Brokers.
    #[command(flatten)]
    pub brokers: BrokerArgs,
    /// Consumer group.
    #[arg(long, value_name = "ID", default_value = "atalaya")]
    pub group: String,
}

/// Options of `reset`.
#[derive(Debug, Clone, Args)]
pub struct ResetArgs {
    /// Pipeline, brokers and group.
    #[command(flatten)]
    pub of: GroupArgs,
    /// New position: `earliest`, `latest`, or a time such as 2026-11-21T09:30:00Z.
    #[arg(long, value_name = "WHERE", value_parser = parse_reset_to)]
    pub to: ResetTo,
    /// Do not ask for confirmation.
    #[arg(long)]
    pub yes: bool,
}

fn parse_device(text: &str) -> Result<DeviceRequest, String> {
    DeviceRequest::from_str(text).map_err(|error| match error {
        DeviceError::Unknown(_) => format!("use {DEVICE_NAMES}"),
        other => other.to_string(),
    })
}

/// An address that only this machine reaches.
fn parse_local_address(text: &str) -> Result<Address, String> {
    let address = Address::from_str(text).map_err(|error| error.to_string())?;
    if address.is_local() {
        Ok(address)
    } else {
        Err("the demo's window is for this machine alone; use an address such as 127.0.0.1:8600".to_owned())
    }
}

fn parse_positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "use a whole number above 0".to_owned())
}

fn parse_reset_to(text: &str) -> Result<ResetTo, String> {
    match text {
        "earliest" => Ok(ResetTo::Earliest),
        "latest" => Ok(ResetTo::Latest),
        time => parse_time(time).map(ResetTo::Time).ok_or_else(|| {
            "use earliest, latest, or a time such as 2026-11-21T09:30:00Z or milliseconds since 1970".to_owned()
        }),
    }
}

fn parse_watermark(text: &str) -> Result<WatermarkArg, String> {
    const USE: &str = "use a time such as 2026-11-21T09:30:00Z or milliseconds since 1970, or PARTITION=TIME";
    let (partition, time) = match text.split_once('=') {
        Some((partition, time)) => {
            let partition: i32 = partition.parse().ok().filter(|number| *number >= 0).ok_or(USE)?;
            (Some(partition), time)
        }
        None => (None, text),
    };
    Ok(WatermarkArg { partition, time: parse_time(time).ok_or(USE)? })
}

fn parse_since(text: &str) -> Result<i64, String> {
    parse_time(text).ok_or_else(|| "use a time such as 2026-11-21T09:30:00Z or milliseconds since 1970".to_owned())
}

fn parse_time(text: &str) -> Option<i64> {
    let date = || Some(chrono::DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis());
    text.parse().ok().filter(|millis| *millis >= 0).or_else(date)
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
        assert_eq!(cli.run.brokers.properties.properties, ["security.protocol=ssl"]);
        assert!(matches!(
            Cli::try_parse_from(["scorer", "run", "--group", "g"]).unwrap().command,
            Some(Command::Run(_))
        ));
    }

    #[test]
    fn a_watermark_is_of_one_partition_or_of_all() {
        let watermark = |text: &str| {
            let cli = Cli::try_parse_from(["scorer", "state", "--set-watermark", text]).ok()?;
            let Some(Command::State(args)) = cli.command else { return None };
            args.set_watermark.map(|watermark| (watermark.partition, watermark.time))
        };
        assert_eq!(watermark("1970-01-01T00:00:01Z"), Some((None, 1_000)));
        assert_eq!(watermark("3=1000"), Some((Some(3), 1_000)));
        for wrong in ["", "soon", "-1=1000", "one=1000", "3=", "3=soon"] {
            assert_eq!(watermark(wrong), None, "{wrong}");
        }
    }

    /// Only the program of the tests can break a guarantee.
    #[cfg(not(feature = "fault-injection"))]
    #[test]
    fn no_flag_breaks_a_guarantee() {
        let asked = ["scorer", "run", "--mutation", "offsets-outside-transaction"];
        let refused = Cli::try_parse_from(asked).unwrap_err();
        assert_eq!(refused.kind(), clap::error::ErrorKind::UnknownArgument);
    }

    #[test]
    fn mistakes_are_refused() {
        for bad in [
            &["scorer", "--device", "tpu"][..],
            &["scorer", "--max-memory", "lots"],
            &["scorer", "--threads", "0"],
            &["scorer", "run", "--threads", "few"],
            &["scorer", "--instance-id", "a/b"],
            &["scorer", "--group-protocol", "eager"],
            &["scorer", "reset", "--to", "yesterday"],
            &["scorer", "ab", "--since", "yesterday"],
            &["scorer", "redrive", "--since", "yesterday"],
            &["scorer", "grow"],
            &["scorer", "grow", "--partitions", "1"],
            &["scorer", "grow", "--partitions", "4", "--partitioner", "random"],
            &["scorer", "run", "--until-end", "--until-caught-up"],
            &["scorer", "run", "--status-interval", "10s"],
            &["scorer", "run", "--json-logs", "--status-interval", "10"],
            &["scorer", "run", "--json-logs", "--status-interval", "500ms"],
            &["scorer", "watch", "--since", "yesterday"],
            &["scorer", "watch", "--severity", "bad"],
            &["scorer", "report", "--since", "-1h"],
            &["scorer", "ab", "--since", "5", "--input", "f"],
            &["scorer", "replay", "f", "--rate", "0"],
            &["scorer", "replay", "f", "--speed", "-1"],
            &["scorer", "replay", "f", "--speed", "2", "--rate", "3"],
        ] {
            assert!(Cli::try_parse_from(bad).is_err(), "{bad:?}");
        }
    }
}
