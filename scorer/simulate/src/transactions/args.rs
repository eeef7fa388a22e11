//! The command line of `scorer simulate transactions`.

use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use records::time::parse_span;

use super::config::Config;
use super::file::Format;
use super::scenario::Scenario;

const EXAMPLES: &str = "\
Examples:
  A history to train on:
    scorer simulate transactions --count 1000000 --anomaly-rate 0.002 --output history.parquet
  Labelled payments to evaluate detectors:
    scorer simulate transactions --count 200000 --seed 8 --output test.jsonl
  A live stream, 500 payments per second, until Ctrl-C:
    scorer simulate transactions --brokers localhost:9092 --topic transactions --rate 500
  A million users in real time, for an hour:
    scorer simulate transactions --topic transactions --users 1000000 --rate 35 --speed 1 --duration 1h
  Only two kinds of fraud, piped into another program:
    scorer simulate transactions --scenario stolen_card --scenario card_testing | head";

/// Simulation and destination.
#[derive(Debug, Clone, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct TransactionsArgs {
    /// Stop after N records
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,

    /// Stop after the records of this real-time span, such as 90s, 15m, 8h or 2d; writing a file takes less time
    #[arg(long, value_name = "SPAN", value_parser = parse_duration)]
    pub duration: Option<i64>,

    /// Seed of all randomness
    #[arg(long, value_name = "N", default_value_t = Config::default().seed)]
    pub seed: u64,

    /// Start of the simulated time, as 2024-01-01 or 2024-01-01T09:30:00Z
    #[arg(long, value_name = "TIME", default_value = "2024-01-01T00:00:00Z", value_parser = parse_start)]
    pub start: DateTime<Utc>,

    /// Mean number of records per second [default: 100]
    ///
    /// Kafka receives records at this rate; standard output does so only if --rate or --speed is given. Otherwise, and for
    /// files, records are written as fast as possible.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub rate: Option<f64>,

    /// Simulated seconds per second; 1 is real time [default: such that a user pays three times a day]
    #[arg(long, value_name = "FACTOR", allow_negative_numbers = true)]
    pub speed: Option<f64>,

    /// Number of users
    #[arg(long, value_name = "N", default_value_t = Config::default().users)]
    pub users: u32,

    /// Number of merchants at a time
    #[arg(long, value_name = "N", default_value_t = Config::default().merchants)]
    pub merchants: u32,

    /// Share of records that are anomalous
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true, default_value_t = Config::default().anomaly_rate)]
    pub anomaly_rate: f64,

    /// Kind of anomaly; may be repeated; by default all kinds
    #[arg(long = "scenario", value_name = "NAME", value_enum)]
    pub scenarios: Vec<Scenario>,

    /// Output: FILE.jsonl, FILE.csv or FILE.parquet; - means JSON lines on standard output
    ///
    /// With --count, the file appears only when it is complete. Without --count, the file grows, and readers see the
    /// records written so far.
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,

    /// Output format, if the name of the file does not tell it
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub format: Option<Format>,

    /// Send the records to Kafka at HOST:PORT, several separated by commas [with --topic: $ATALAYA_BROKERS or
    /// localhost:9092]
    #[arg(long, value_name = "LIST", conflicts_with_all = ["output", "format"])]
    pub brokers: Option<String>,

    /// Send the records to this topic of Kafka, keyed by user [with --brokers: transactions]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["output", "format"])]
    pub topic: Option<String>,
}

/// Where records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A file, in a format.
    File(PathBuf, Format),
    /// The standard output, in a format.
    StandardOutput(Format),
    /// A topic of Kafka; brokers, if any were named.
    Kafka {
        /// `host:port`, several with commas.
        brokers: Option<String>,
        /// The topic.
        topic: String,
    },
}

/// Why it is not clear where records go.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DestinationError {
    /// A name that says no format.
    #[error(
        "cannot tell the format of {}: name it FILE.jsonl, FILE.csv or FILE.parquet, or give one with --format",
        .0.display()
    )]
    Format(PathBuf),
}

impl TransactionsArgs {
    /// What is to be simulated.
    pub fn config(&self) -> Config {
        Config {
            seed: self.seed,
            start: self.start,
            users: self.users,
            merchants: self.merchants,
            rate: self.rate.unwrap_or(Config::default().rate),
            speed: self.speed,
            anomaly_rate: self.anomaly_rate,
            scenarios: self.scenarios.clone(),
        }
    }

    /// Where it goes.
    ///
    /// # Errors
    /// A file whose format cannot be told.
    pub fn destination(&self) -> Result<Destination, DestinationError> {
        if self.brokers.is_some() || self.topic.is_some() {
            let topic = self.topic.clone().unwrap_or_else(|| "transactions".to_owned());
            return Ok(Destination::Kafka { brokers: self.brokers.clone(), topic });
        }
        if self.output == Path::new("-") {
            return Ok(Destination::StandardOutput(self.format.unwrap_or(Format::Jsonl)));
        }
        let format = self.format.or_else(|| Format::of(&self.output));
        match format {
            Some(format) => Ok(Destination::File(self.output.clone(), format)),
            None => Err(DestinationError::Format(self.output.clone())),
        }
    }
}

fn parse_start(text: &str) -> Result<DateTime<Utc>, String> {
    let moment = DateTime::parse_from_rfc3339(text).map(|moment| moment.to_utc());
    let without_zone = || NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S").map(|moment| moment.and_utc());
    let day = || NaiveDate::parse_from_str(text, "%Y-%m-%d").map(|day| day.and_time(chrono::NaiveTime::MIN).and_utc());
    moment
        .or_else(|_| without_zone())
        .or_else(|_| day())
        .map_err(|_| "not a valid time; write 2024-01-01 or 2024-01-01T09:30:00Z".to_owned())
}

fn parse_duration(text: &str) -> Result<i64, String> {
    parse_span(text).ok_or_else(|| "write a span above 0 such as 250ms, 90s, 15m, 8h or 2d".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        transactions: TransactionsArgs,
    }

    fn parse(line: &str) -> Result<TransactionsArgs, String> {
        let words = std::iter::once("transactions").chain(line.split_whitespace());
        match Line::try_parse_from(words) {
            Ok(line) => Ok(line.transactions),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn no_option_means_the_default_config_on_the_standard_output() {
        let args = parse("").expect("nothing is required");
        assert_eq!(args.config(), Config::default());
        assert_eq!(args.destination(), Ok(Destination::StandardOutput(Format::Jsonl)));
    }

    #[test]
    fn options_reach_the_config() {
        let line = "--seed 1 --start 2025-06-01T12:00:00+02:00 --rate 5.5 --speed 60 --users 300 --merchants 400 \
                    --anomaly-rate 0.1 --scenario card_testing --scenario amount_low";
        let expected = Config {
            seed: 1,
            start: DateTime::parse_from_rfc3339("2025-06-01T10:00:00Z").expect("a moment").to_utc(),
            users: 300,
            merchants: 400,
            rate: 5.5,
            speed: Some(60.0),
            anomaly_rate: 0.1,
            scenarios: vec![Scenario::CardTesting, Scenario::AmountLow],
        };
        assert_eq!(parse(line).expect("all known").config(), expected);
    }

    #[test]
    fn the_name_or_the_option_says_the_format() {
        let destination = |line: &str| parse(line).expect("all known").destination();
        let file = |name: &str, format| Ok(Destination::File(PathBuf::from(name), format));
        assert_eq!(destination("-o a.jsonl"), file("a.jsonl", Format::Jsonl));
        assert_eq!(destination("-o a.csv"), file("a.csv", Format::Csv));
        assert_eq!(destination("-o a.parquet"), file("a.parquet", Format::Parquet));
        assert_eq!(destination("-o a.txt --format csv"), file("a.txt", Format::Csv));
        assert_eq!(destination("--format csv"), Ok(Destination::StandardOutput(Format::Csv)));
        let error = destination("-o a.txt").expect_err("no format").to_string();
        assert!(error.contains("a.txt") && error.contains("--format"), "{error}");
    }

    #[test]
    fn brokers_or_a_topic_mean_kafka() {
        let kafka = |brokers: Option<&str>, topic: &str| {
            Ok(Destination::Kafka { brokers: brokers.map(str::to_owned), topic: topic.to_owned() })
        };
        assert_eq!(parse("--topic t").expect("known").destination(), kafka(None, "t"));
        assert_eq!(parse("--brokers b:9").expect("known").destination(), kafka(Some("b:9"), "transactions"));
        assert!(parse("--topic t --output a.csv").is_err());
    }

    #[test]
    fn mistakes_are_refused_in_words() {
        let error = |line: &str| parse(line).expect_err(line);
        let unknown = error("--scenario amount_hgh");
        assert!(Scenario::ALL.iter().all(|scenario| unknown.contains(scenario.label())), "{unknown}");
        assert!(error("--start 2024-02-30").contains("2024-01-01T09:30:00Z"));
        assert!(error("--duration 5").contains("90s"));
        assert!(error("--count 0").contains('0'));
    }
}
