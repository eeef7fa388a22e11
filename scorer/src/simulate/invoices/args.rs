//! The command line of `scorer simulate invoices`.

use std::path::{Path, PathBuf};

use chrono::NaiveDate;

use super::config::Config;
use super::summary::Summary;
use super::write::{Error, write_files, write_to_standard_output};

const EXAMPLES: &str = "\
Examples:
  A month of invoices, and which of them are anomalous:
    scorer simulate invoices --output invoices.csv --labels labels.csv
  A clean history to train on:
    scorer simulate invoices --days 90 --anomaly-rate 0.002 --output history.csv
  The later invoices of the same shop (same seed, later start, higher numbers), to score:
    scorer simulate invoices --start 2010-03-01 --first-invoice 600000 \\
      --output later.csv --labels labels.csv
  Pipe the lines into another program:
    scorer simulate invoices --days 1 | head";

/// Writes the invoices of an invented gift wholesaler as CSV, with the columns and date format of the UCI
/// "Online Retail" data.
///
/// The same options give the same bytes. The shop (its articles and customers) depends on the seed alone, so one
/// seed with two start dates gives the history and the future of the same shop.
#[derive(Debug, Clone, PartialEq, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub struct InvoicesArgs {
    /// Seed of all randomness
    #[arg(long, value_name = "N", default_value_t = Config::default().seed)]
    pub seed: u64,

    /// First day, as YEAR-MONTH-DAY
    #[arg(long, value_name = "DATE", default_value_t = Config::default().start, value_parser = parse_date)]
    pub start: NaiveDate,

    /// Number of calendar days; the shop is closed on Saturdays
    #[arg(long, value_name = "N", default_value_t = Config::default().days)]
    pub days: u32,

    /// Mean number of purchases on a weekday; a Sunday has half as many
    #[arg(long, value_name = "MEAN", default_value_t = Config::default().invoices_per_day)]
    pub invoices_per_day: f64,

    /// Number of the first invoice, six digits; each further invoice or cancellation has the next number
    #[arg(long, value_name = "N", default_value_t = Config::default().first_invoice)]
    pub first_invoice: u32,

    /// Share of purchases that are anomalous; there are six kinds
    ///
    /// bulk_quantity (thousands of one article), price_spike (a unit price a hundred times too high),
    /// night_order (between 1:00 and 3:59), pence_as_pounds (every unit price), huge_basket (dozens of lines of
    /// several boxes each), unmarked_return (many items below zero, without the C of a cancellation).
    #[arg(long, value_name = "SHARE", default_value_t = Config::default().anomaly_rate)]
    pub anomaly_rate: f64,

    /// Share of the lines of ordinary purchases that cannot be parsed
    ///
    /// They have words or 20 digits as the quantity, the 30th of February as the date, NaN or inf as the price, or
    /// too few or too many fields. The first line of an invoice is never malformed.
    #[arg(long, value_name = "SHARE", default_value_t = Config::default().malformed_rate)]
    pub malformed_rate: f64,

    /// Share of ordinary purchases without a customer number
    #[arg(long, value_name = "SHARE", default_value_t = Config::default().missing_customer_rate)]
    pub missing_customer_rate: f64,

    /// Number of cancellations (number with a C, quantities below zero) per purchase
    #[arg(long, value_name = "SHARE", default_value_t = Config::default().cancellation_rate)]
    pub cancellation_rate: f64,

    /// Output file for the lines; - is standard output
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,

    /// Output file for the labels: a CSV with the number of each anomalous invoice and the kind of its anomaly
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
}

impl InvoicesArgs {
    /// Simulates and writes. What it returns is for the user's eyes, and not for the standard output, where the
    /// lines may be.
    ///
    /// # Errors
    /// Options that make no sense, and files that cannot be written; nothing is left half-written.
    pub fn run(self) -> Result<Summary, Error> {
        let config = self.config().check()?;
        let labels = self.labels.as_deref();
        if labels.is_some_and(is_standard_output) {
            return Err(Error::LabelsToStandardOutput);
        }
        if is_standard_output(&self.output) {
            write_to_standard_output(config, labels)
        } else {
            write_files(config, &self.output, labels)
        }
    }

    fn config(&self) -> Config {
        Config {
            seed: self.seed,
            start: self.start,
            days: self.days,
            invoices_per_day: self.invoices_per_day,
            first_invoice: self.first_invoice,
            anomaly_rate: self.anomaly_rate,
            malformed_rate: self.malformed_rate,
            missing_customer_rate: self.missing_customer_rate,
            cancellation_rate: self.cancellation_rate,
        }
    }
}

fn is_standard_output(path: &Path) -> bool {
    path == Path::new("-")
}

fn parse_date(text: &str) -> Result<NaiveDate, String> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d")
        .map_err(|_| "not a valid date; write the first of March as 2010-03-01".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        invoices: InvoicesArgs,
    }

    fn parse(line: &str) -> Result<InvoicesArgs, String> {
        let words = std::iter::once("invoices").chain(line.split_whitespace());
        match Line::try_parse_from(words) {
            Ok(line) => Ok(line.invoices),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn no_option_means_the_default_config() {
        let args = parse("").expect("nothing is required");
        assert_eq!(args.config(), Config::default());
        assert!(is_standard_output(&args.output));
    }

    #[test]
    fn options_reach_the_config() {
        let line = "--seed 1 --start 2010-03-02 --days 3 --invoices-per-day 4.5 --first-invoice 500000 \
                    --anomaly-rate 0.1 --malformed-rate 0.2 --missing-customer-rate 0.3 \
                    --cancellation-rate 0.4";
        let expected = Config {
            seed: 1,
            start: NaiveDate::from_ymd_opt(2010, 3, 2).expect("a day"),
            days: 3,
            invoices_per_day: 4.5,
            first_invoice: 500_000,
            anomaly_rate: 0.1,
            malformed_rate: 0.2,
            missing_customer_rate: 0.3,
            cancellation_rate: 0.4,
        };
        assert_eq!(parse(line).expect("all known").config(), expected);
    }

    #[test]
    fn a_day_that_does_not_exist_is_refused() {
        let error = parse("--start 2010-02-30").expect_err("February has 28 days");
        assert!(error.contains("2010-02-30") && error.contains("2010-03-01"), "{error}");
    }

    #[test]
    fn labels_do_not_go_to_the_standard_output() {
        let args = parse("--labels -").expect("a file name");
        assert!(matches!(args.run(), Err(Error::LabelsToStandardOutput)));
    }

    #[test]
    fn a_bad_rate_is_refused_before_anything_is_written() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let output = directory.path().join("lines.csv");
        let mut args = parse("--anomaly-rate 2").expect("a number");
        args.output.clone_from(&output);
        assert!(matches!(args.run(), Err(Error::Config(_))));
        assert!(!output.exists());
    }
}
