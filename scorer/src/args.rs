//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use shared::device::{DEVICE_NAMES, DeviceRequest};

use crate::kafka::{KafkaSettings, ResetTo};
use crate::simulate::invoices::InvoicesArgs;
use crate::simulate::transactions::TransactionsArgs;

/// Finds anomalous invoices and transactions in a Kafka stream, with the models that `trainer` made.
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
  scorer ab --a kmeans --b bisecting-kmeans     how far two detectors agree on what they published
  scorer topics                                 which topics the pipeline needs, and which are there
  scorer state                                  open invoices, lag, size of the state
  scorer reset --to earliest                    begin anew

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
    /// Which of two detectors is right: how far they agree, from the live topics or from files.
    Ab(AbArgs),
    /// Send a file to the pipeline's topic, as a producer would: keyed by invoice number, or by whose past is looked at.
    Replay(ReplayArgs),
    /// Write sample data from a seed.
    #[command(subcommand)]
    Simulate(Simulation),
    /// Show the pipeline's topics, and create those that are missing.
    Topics(TopicsArgs),
    /// Show what a group holds: open invoices, lag, size of the changelog.
    State(StateArgs),
    /// Begin anew: move a group's offsets and delete its state, together.
    Reset(ResetArgs),
}

/// What to simulate.
#[derive(Debug, Subcommand)]
pub enum Simulation {
    /// Purchase lines of a shop, with labelled anomalies.
    Invoices(InvoicesArgs),
    /// Card payments of a population, with labelled anomalies: a stream, or a file of it.
    ///
    /// The same options give the same bytes. A file has a label column (empty, or in JSON absent, where nothing is strange);
    /// in Kafka the label is a record header, `label`, and never in the value.
    Transactions(Box<SimulateTransactionsArgs>),
}

/// Options of `simulate transactions`.
#[derive(Debug, Clone, Args)]
pub struct SimulateTransactionsArgs {
    /// What is simulated, and where it goes.
    #[command(flatten)]
    pub transactions: TransactionsArgs,
    /// A setting of librdkafka, such as security.protocol=SASL_SSL; may be given several times.
    #[arg(short = 'X', long = "kafka-property", value_name = "KEY=VALUE", value_parser = parse_property)]
    pub properties: Vec<(String, String)>,
    /// Topics.
    #[command(flatten)]
    pub create: CreateArgs,
}

/// Which pipeline, models and device.
#[derive(Debug, Clone, Args)]
pub struct PipelineArgs {
    /// Pipeline that ships with the program (invoices, invoices-spark, transactions, fraud-handbook), or a pipeline file.
    #[arg(long, value_name = "NAME|FILE", default_value = "invoices")]
    pub pipeline: String,
    /// Folder of the models that `trainer` wrote.
    #[arg(long, value_name = "DIR", default_value = "models")]
    pub models: PathBuf,
    /// Where scores are computed: auto (where it is predicted to be faster), cpu, gpu, gpu:N, software, vulkan, vulkan:N,
    /// cuda or cuda:N.
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

/// What a crash can do to results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeliveryArg {
    /// Every record has its outcome once, whatever dies.
    ExactlyOnce,
    /// Nothing is lost; results of the last moments may come twice.
    AtLeastOnce,
}

/// Whether lines are brought together by their key before invoices are assembled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RepartitionArg {
    /// Where lines are found whose key is not their invoice number, and from then on.
    Auto,
    /// Yes.
    Always,
    /// No.
    Never,
}

/// A guarantee to break.
#[cfg(feature = "fault-injection")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MutationArg {
    /// Commit offsets on their own.
    OffsetsOutsideTransaction,
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
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = parse_positive)]
    pub batch_records: usize,
    /// What a crash can do to results: `exactly-once` nothing, `at-least-once` may publish the last ones twice.
    #[arg(long, value_name = "GUARANTEE", value_enum, default_value_t = DeliveryArg::ExactlyOnce)]
    pub delivery: DeliveryArg,
    /// Send lines through an internal topic in which those of one invoice meet: `auto` where the topic has more than
    /// one partition and its lines are not keyed by invoice number.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = RepartitionArg::Auto)]
    pub repartition: RepartitionArg,
    /// Commit results this often under load, in milliseconds; when there is nothing else to do, at once.
    #[arg(long, value_name = "MS", default_value_t = 100)]
    pub commit_interval_ms: u64,
    /// Name of this instance, the same after a restart: it gets its partitions back at once and shuts its former self
    /// out. Without it, it is one of the nameless instances of its machine.
    #[arg(long, value_name = "NAME", value_parser = parse_instance)]
    pub instance_id: Option<String>,
    /// Folder for local snapshots of state, which make restarts fast; they may be deleted at any time.
    #[arg(long, value_name = "DIR", default_value_os_t = default_state_dir())]
    pub state_dir: PathBuf,
    /// Break a guarantee: for the test that has to notice.
    #[cfg(feature = "fault-injection")]
    #[arg(long, value_name = "WHICH", hide = true)]
    pub mutation: Option<MutationArg>,
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
    /// File to replay; without it, the sample of a pipeline that ships.
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Lines a second; 0 is as fast as it goes.
    #[arg(long, value_name = "N", default_value_t = 1_500)]
    pub rate: u32,
}

/// Options of `score`.
#[derive(Debug, Clone, Args)]
pub struct ScoreArgs {
    /// File to score: .csv or .jsonl, or either as .gz; `-` is standard input.
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

/// Options of `ab`.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = AB_EXAMPLES)]
pub struct AbArgs {
    /// Pipeline, models, device.
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    /// One detector; without it, the pipeline's first.
    #[arg(long, value_name = "NAME")]
    pub a: Option<String>,
    /// The other; without it, the first that is not the one.
    #[arg(long, value_name = "NAME")]
    pub b: Option<String>,
    /// Files of records, which both detectors score now; or of verdicts that `scorer score` wrote, .jsonl or .parquet.
    /// Without it: what was published to the two topics.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub input: Vec<PathBuf>,
    /// Brokers.
    #[command(flatten)]
    pub brokers: BrokerArgs,
    /// Only what was published since then: a time such as 2026-11-21T09:30:00Z, or milliseconds since 1970.
    #[arg(long, value_name = "TIME", conflicts_with = "input", value_parser = parse_since)]
    pub since: Option<i64>,
    /// A CSV or JSON lines file of keys and labels, which say what are anomalies; without FILE, the records of the
    /// pipeline's topic. Records that are scored now bring their labels with them.
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    pub labels: Option<Option<PathBuf>>,
    /// How many entities to show that only one of them calls anomalous.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub examples: usize,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

const AB_EXAMPLES: &str = "\
Examples:
  scorer ab                                            what was published, the pipeline's first two detectors
  scorer ab --since 2026-11-21T09:30:00Z               the same since then, as after a new model
  scorer ab --input day-1.csv day-2.csv                records, scored now
  scorer ab --input verdicts.parquet --labels odd.csv  verdicts of `scorer score --output`, and who was right

Verdicts on normal entities are published by `scorer run --all-verdicts` only. Where they are not, silence is taken for
`normal`, and what both call normal is not known. No consumer group is joined, and nothing is committed.

A file of labels needs a column named as the pipeline's key, and one named as its label or `label`. Entities that it does
not name are normal.";

/// Options of `replay`.
#[derive(Debug, Clone, Args)]
pub struct ReplayArgs {
    /// File to send: .csv or .jsonl, as the topic takes it, or either as .gz; `-` is standard input.
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
    /// Consumer group whose internal topics are created with the others.
    #[arg(long, value_name = "ID", default_value = "atalaya")]
    pub group: String,
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
    /// Consumer group: its internal topics are named after it.
    #[arg(long, value_name = "ID", default_value = "atalaya")]
    pub group: String,
}

/// Options of `state`.
#[derive(Debug, Clone, Args)]
pub struct StateArgs {
    /// Pipeline that ships with the program, or a pipeline file.
    #[arg(long, value_name = "NAME|FILE", default_value = "invoices")]
    pub pipeline: String,
    /// What time it is for the group: as it was given to `run`.
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
    /// Whose state: pipeline, brokers and group.
    #[command(flatten)]
    pub of: StateArgs,
    /// Where to begin anew: `earliest`, `latest`, or at a time such as 2026-11-21T09:30:00Z.
    #[arg(long, value_name = "WHERE", value_parser = parse_reset_to)]
    pub to: ResetTo,
    /// Do it without asking.
    #[arg(long)]
    pub yes: bool,
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

fn parse_instance(text: &str) -> Result<String, String> {
    let fits =
        !text.is_empty() && text.len() <= 200 && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    fits.then(|| text.to_owned()).ok_or_else(|| "use letters, digits, `.`, `_` and `-`".to_owned())
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

fn parse_since(text: &str) -> Result<i64, String> {
    parse_time(text).ok_or_else(|| "use a time such as 2026-11-21T09:30:00Z or milliseconds since 1970".to_owned())
}

fn parse_time(text: &str) -> Option<i64> {
    let date = || Some(chrono::DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis());
    text.parse().ok().filter(|millis| *millis >= 0).or_else(date)
}

/// Where the system keeps the state of programs.
fn default_state_dir() -> PathBuf {
    let of_user = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state"));
    let base = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).or_else(of_user);
    base.unwrap_or_else(std::env::temp_dir).join("atalaya")
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
            &["scorer", "-X", "nonsense"],
            &["scorer", "--instance-id", "a/b"],
            &["scorer", "reset", "--to", "yesterday"],
            &["scorer", "ab", "--since", "yesterday"],
            &["scorer", "ab", "--since", "5", "--input", "f"],
            &["scorer", "replay", "f", "--rate", "0"],
            &["scorer", "replay", "f", "--speed", "-1"],
            &["scorer", "replay", "f", "--speed", "2", "--rate", "3"],
        ] {
            assert!(Cli::try_parse_from(bad).is_err(), "{bad:?}");
        }
    }
}
