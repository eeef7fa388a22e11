//! What is wanted of a simulation, and what cannot be had.

use chrono::{Datelike, NaiveDate};

/// The years whose dates the written format and every reader of it can hold.
const YEARS: std::ops::RangeInclusive<i32> = 1900..=2200;
/// Ten years: enough for any backtest, and few enough that an invoice number never overflows.
const MAX_DAYS: u32 = 3660;
const INVOICES_PER_DAY: std::ops::RangeInclusive<f64> = 0.1..=100_000.0;
const FIRST_INVOICE: std::ops::RangeInclusive<u32> = 100_000..=999_999;

/// What is wanted: unchecked, with sensible defaults. Rates are shares between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// Everything random follows from it: the same seed and settings give the same bytes.
    pub seed: u64,
    /// The first day.
    pub start: NaiveDate,
    /// Calendar days, the closed Saturdays included.
    pub days: u32,
    /// Mean number of purchases on a weekday; a Sunday has half as many.
    pub invoices_per_day: f64,
    /// The number of the first invoice: six digits, so that numbers sort as text too.
    pub first_invoice: u32,
    /// Share of purchases that are anomalous.
    pub anomaly_rate: f64,
    /// Share of the lines of ordinary purchases that cannot be parsed (the first line of each always can).
    pub malformed_rate: f64,
    /// Share of ordinary purchases without a customer.
    pub missing_customer_rate: f64,
    /// Cancellations for each purchase.
    pub cancellation_rate: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 7,
            start: NaiveDate::from_ymd_opt(2009, 12, 1).unwrap_or_default(),
            days: 30,
            invoices_per_day: 60.0,
            first_invoice: 489_434,
            anomaly_rate: 0.02,
            malformed_rate: 0.002,
            missing_customer_rate: 0.05,
            cancellation_rate: 0.1,
        }
    }
}

impl Config {
    /// Checks every field; only what it returns can be simulated.
    ///
    /// # Errors
    /// The first field that is out of its range, with the range.
    pub fn check(self) -> Result<CheckedConfig, ConfigError> {
        if !YEARS.contains(&self.start.year()) {
            return Err(ConfigError::Start(self.start));
        }
        if !(1..=MAX_DAYS).contains(&self.days) {
            return Err(ConfigError::Days(self.days));
        }
        if !INVOICES_PER_DAY.contains(&self.invoices_per_day) {
            return Err(ConfigError::InvoicesPerDay(self.invoices_per_day));
        }
        if !FIRST_INVOICE.contains(&self.first_invoice) {
            return Err(ConfigError::FirstInvoice(self.first_invoice));
        }
        check_rate("anomaly rate", self.anomaly_rate)?;
        check_rate("malformed rate", self.malformed_rate)?;
        check_rate("missing customer rate", self.missing_customer_rate)?;
        check_rate("cancellation rate", self.cancellation_rate)?;
        Ok(CheckedConfig(self))
    }
}

/// A [`Config`] whose every field is in its range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CheckedConfig(Config);

impl std::ops::Deref for CheckedConfig {
    type Target = Config;

    fn deref(&self) -> &Config {
        &self.0
    }
}

/// A field of [`Config`] that is out of its range.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// The start date is in a year that the date format cannot carry to every reader.
    #[error(
        "the start date {0} is out of range: its year must be from {first} to {last}",
        first = YEARS.start(),
        last = YEARS.end()
    )]
    Start(NaiveDate),
    /// No day at all, or more than ten years.
    #[error("{0} days cannot be simulated: give a number from 1 to {MAX_DAYS}")]
    Days(u32),
    /// Too few invoices to be a shop, or more than a disk holds.
    #[error(
        "{0} invoices per day cannot be simulated: give a number from {least} to {most}",
        least = INVOICES_PER_DAY.start(),
        most = INVOICES_PER_DAY.end()
    )]
    InvoicesPerDay(f64),
    /// The first invoice number does not have six digits.
    #[error(
        "the first invoice number {0} does not have six digits: give one from {least} to {most}",
        least = FIRST_INVOICE.start(),
        most = FIRST_INVOICE.end()
    )]
    FirstInvoice(u32),
    /// A rate is not a share.
    #[error("the {name} {value} is not a share: give a number from 0 to 1")]
    Rate {
        /// Which rate, in words.
        name: &'static str,
        /// What was given.
        value: f64,
    },
}

fn check_rate(name: &'static str, value: f64) -> Result<(), ConfigError> {
    if (0.0..=1.0).contains(&value) {
        Ok(()) // NaN is in no range, so it ends below
    } else {
        Err(ConfigError::Rate { name, value })
    }
}
