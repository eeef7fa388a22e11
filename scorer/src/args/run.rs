//! The command line of `run`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use shared::memory::Size;
use window::Address;

use super::{BrokerArgs, ClockArg, CreateArgs, PipelineArgs, StandbyArgs, ThreadArgs, parse_positive};
#[cfg(feature = "fault-injection")]
use crate::kafka::SuddenEnd;
use crate::private;

/// What a crash can do to results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeliveryArg {
    /// The result of every record is published once, whatever fails.
    ExactlyOnce,
    /// Nothing is lost; the last results may be published twice.
    AtLeastOnce,
}

/// Who hands out the partitions of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GroupProtocolArg {
    /// One of its instances; every broker can do with that.
    Classic,
    /// The broker (KIP-848), from Apache Kafka 4.0 on.
    Consumer,
}

/// Whether lines are repartitioned by their key before invoices are assembled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RepartitionArg {
    /// If the key of some lines is not their invoice number; permanent once chosen.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What to do when records were deleted before they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnLostArg {
    /// Count them as lost, publish a message about them to the erroneous topic, and go on with the first record that is left.
    Continue,
    /// End with an error; nothing behind them is committed.
    Fail,
}

/// A guarantee to break.
#[cfg(feature = "fault-injection")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MutationArg {
    /// Commit offsets on their own.
    OffsetsOutsideTransaction,
    /// Send changes of state on their own.
    StateOutsideTransaction,
    /// Send results on their own.
    ResultsOutsideTransaction,
    /// Commit for anybody.
    NoFence,
    /// Believe that offset and state belong together.
    TagIgnored,
    /// Believe every snapshot.
    SnapshotTrusted,
    /// Believe every standby copy.
    StandbyTrusted,
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
    /// Consumer group; the instances of a group share the partitions.
    #[arg(long, value_name = "ID", default_value = "atalaya")]
    pub group: String,
    /// Stream threads.
    #[command(flatten)]
    pub threads: ThreadArgs,
    /// Clock of the stream: `record` or `event`; by default as the pipeline file says.
    #[arg(long, value_name = "CLOCK")]
    pub clock: Option<ClockArg>,
    /// Also publish verdicts on normal invoices.
    #[arg(long)]
    pub all_verdicts: bool,
    /// Close a micro-batch after N records.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = parse_positive)]
    pub batch_records: usize,
    /// Most memory that the process may take, such as 2GiB; by default three quarters of the machine's, or of its control
    /// group's. It is divided among the clients of Kafka, batches in flight, and the state of all partitions of the topic.
    #[arg(long, value_name = "SIZE", value_parser = Size::from_str)]
    pub max_memory: Option<Size>,
    /// Guarantee after a crash: with `at-least-once`, the last results may be published twice.
    #[arg(long, value_name = "GUARANTEE", value_enum, default_value_t = DeliveryArg::ExactlyOnce)]
    pub delivery: DeliveryArg,
    /// Send lines through an internal topic that puts all lines of one invoice into one partition; `auto` does so if the
    /// topic has several partitions and its lines are not keyed by invoice number.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = RepartitionArg::Auto)]
    pub repartition: RepartitionArg,
    /// Commit interval under load, in milliseconds; after a pause, results are committed at once. With `at-least-once`, only
    /// offsets are committed so, and results never wait.
    #[arg(long, value_name = "MS", default_value_t = 100)]
    pub commit_interval_ms: u64,
    /// Who hands out the group's partitions: with `classic` one of its instances, with `consumer` the broker (KIP-848, Apache
    /// Kafka 4.0 or later). It has to be the same for all instances of a group.
    #[arg(long, value_name = "PROTOCOL", value_enum, default_value_t = GroupProtocolArg::Classic)]
    pub group_protocol: GroupProtocolArg,
    /// Fixed name of this instance. After a restart the instance gets its partitions back at once, and an earlier
    /// instance with the same name ends; with --group-protocol consumer, it waits until the earlier one has ended instead. By
    /// default, an instance has no fixed name. Of several threads, the first has this name, the second NAME-thread-2, and so on.
    #[arg(long, value_name = "NAME", value_parser = parse_instance)]
    pub instance_id: Option<String>,
    /// Folder for local snapshots of the state; they make restarts fast and may be deleted at any time.
    #[arg(long, value_name = "DIR", default_value_os_t = default_state_dir())]
    pub state_dir: PathBuf,
    /// Standby copies.
    #[command(flatten)]
    pub standby: StandbyArgs,
    /// Break a guarantee: for the test that has to notice.
    #[cfg(feature = "fault-injection")]
    #[arg(long, value_name = "WHICH", hide = true)]
    pub mutation: Option<MutationArg>,
    /// End without a farewell at a moment that matters, such as kill:before:commit:3 or panic:before:read.
    #[cfg(feature = "fault-injection")]
    #[arg(long, value_name = "WHERE", hide = true, value_parser = parse_end)]
    pub end_at: Option<std::sync::Arc<SuddenEnd>>,
    /// What to do when records were deleted before they were read, for example by the topic's retention: `continue` counts
    /// them, publishes a message about them and goes on; `fail` ends.
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = OnLostArg::Continue)]
    pub on_lost_records: OnLostArg,
    /// Stop when everything in the topic has been read; open invoices then count as complete.
    #[arg(long)]
    pub until_end: bool,
    /// Stop when everything in the topic has been read and committed; open invoices stay open, for the next run.
    #[arg(long, conflicts_with = "until_end")]
    pub until_caught_up: bool,
    /// Open a window on the stream at this address, such as 127.0.0.1:8600: pages for people, a JSON API, and metrics for
    /// Prometheus. Port 0 is any that is free; the address is printed. An address that other machines reach needs
    /// --auth-token-file.
    #[arg(long, value_name = "ADDRESS", value_parser = Address::from_str)]
    pub listen: Option<Address>,
    /// File with a secret, one line of at least 16 characters, that whoever opens the window has to know: as a bearer token,
    /// or as the password that a browser asks for. The connection is not encrypted: put a proxy with TLS in front.
    #[arg(long, value_name = "FILE", requires = "listen")]
    pub auth_token_file: Option<PathBuf>,
    /// File with those who may log in by name, one a line: NAME:HASH, with a hash of Argon2id of the password. The name stands under
    /// what somebody says of anomalies. The token of --auth-token-file, if there is one, is for programs then.
    #[arg(long, value_name = "FILE", requires = "listen")]
    pub auth_basic_file: Option<PathBuf>,
    /// Write logs as JSON to standard error, for services; this turns off the status line.
    #[arg(long)]
    pub json_logs: bool,
    /// How often --json-logs writes a line with the numbers of the run, by the names of the metrics: a span such as 10s or 5m, one
    /// second or more. By default it is 60s. The last line comes at the end.
    #[arg(long, value_name = "SPAN", requires = "json_logs", value_parser = parse_interval)]
    pub status_interval: Option<Duration>,
    /// Send traces of the batches to this receiver of OpenTelemetry, such as http://localhost:4318: OTLP over HTTP, as JSON. The
    /// path /v1/traces is added.
    #[cfg(feature = "otel")]
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT", hide_env_values = true)]
    pub otlp_endpoint: Option<String>,
}

#[cfg(feature = "fault-injection")]
pub(super) fn parse_end(text: &str) -> Result<std::sync::Arc<SuddenEnd>, String> {
    text.parse().map(std::sync::Arc::new)
}

/// A span of a second or more.
fn parse_interval(text: &str) -> Result<Duration, String> {
    let millis = shared::time::parse_span(text).and_then(|millis| u64::try_from(millis).ok());
    let interval = millis.map(Duration::from_millis).filter(|interval| *interval >= Duration::from_secs(1));
    interval.ok_or_else(|| "use a span of one second or more, such as 10s or 5m".to_owned())
}

fn parse_instance(text: &str) -> Result<String, String> {
    let fits =
        !text.is_empty() && text.len() <= 200 && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    fits.then(|| text.to_owned()).ok_or_else(|| "use letters, digits, `.`, `_` and `-`".to_owned())
}

/// Where the system keeps the state of programs.
fn default_state_dir() -> PathBuf {
    state_dir_by(|name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute()))
}

/// Without a home, the folder for temporary files, which users share: each has a folder of their own there.
fn state_dir_by(variable: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    let of_user = || Some(variable("HOME")?.join(".local/state"));
    match variable("XDG_STATE_HOME").or_else(of_user) {
        Some(base) => base.join("atalaya"),
        None => std::env::temp_dir().join(format!("atalaya-{}", private::user_id())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_kept_in_a_folder_of_the_user() {
        let by = |variables: &[(&str, &str)]| {
            let find = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, path)| path.into());
            state_dir_by(find)
        };
        assert_eq!(by(&[("HOME", "/h"), ("XDG_STATE_HOME", "/s")]), PathBuf::from("/s/atalaya"));
        assert_eq!(by(&[("HOME", "/h")]), PathBuf::from("/h/.local/state/atalaya"));
        assert_eq!(by(&[]), std::env::temp_dir().join(format!("atalaya-{}", private::user_id())));
    }
}
