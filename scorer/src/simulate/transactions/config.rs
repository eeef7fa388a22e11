//! What is wanted of a simulation, and what cannot be had.

use chrono::{DateTime, Datelike, Utc};

use super::merchants::FEWEST;
use super::scenario::Scenario;

const YEARS: std::ops::RangeInclusive<i32> = 1970..=2200;
const USERS: std::ops::RangeInclusive<u32> = 100..=1_000_000;
const MERCHANTS: std::ops::RangeInclusive<u32> = FEWEST as u32..=100_000;
const RATE: std::ops::RangeInclusive<f64> = 0.001..=10_000_000.0;
const SPEED: std::ops::RangeInclusive<f64> = 0.001..=100_000_000.0;
/// What is more common than the rest is no anomaly.
const ANOMALY_RATE: std::ops::RangeInclusive<f64> = 0.0..=0.5;
/// Records in a second of simulated time: from nine a day, with which a month is a stream, to a thousand a millisecond.
const SIMULATED_RATE: std::ops::RangeInclusive<f64> = 0.0001..=1_000_000.0;
/// How often a user pays on a day where nobody says how fast time passes.
const PAYMENTS_A_DAY: f64 = 3.0;
const SECONDS_A_DAY: f64 = 86_400.0;

/// What is wanted: unchecked, with sensible defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Everything random follows from it: the same seed and settings give the same bytes.
    pub seed: u64,
    /// When simulated time begins.
    pub start: DateTime<Utc>,
    /// How many users there are.
    pub users: u32,
    /// Number of merchants at a time.
    pub merchants: u32,
    /// Records a second of real time, on the average.
    pub rate: f64,
    /// Simulated seconds in a second of real time; without it, so many that a user pays three times a simulated day.
    pub speed: Option<f64>,
    /// Share of records that are anomalous.
    pub anomaly_rate: f64,
    /// The scenarios of the anomalous ones; none means all.
    pub scenarios: Vec<Scenario>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 7,
            // A Monday.
            start: DateTime::from_timestamp(1_704_067_200, 0).unwrap_or_default(),
            users: 5_000,
            merchants: 1_500,
            rate: 100.0,
            speed: None,
            anomaly_rate: 0.02,
            scenarios: Vec::new(),
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
        in_range("number of users", f64::from(self.users), f64::from(*USERS.start()), f64::from(*USERS.end()))?;
        in_range(
            "number of merchants",
            f64::from(self.merchants),
            f64::from(*MERCHANTS.start()),
            f64::from(*MERCHANTS.end()),
        )?;
        in_range("rate", self.rate, *RATE.start(), *RATE.end())?;
        if let Some(speed) = self.speed {
            in_range("speed", speed, *SPEED.start(), *SPEED.end())?;
        }
        in_range("anomaly rate", self.anomaly_rate, *ANOMALY_RATE.start(), *ANOMALY_RATE.end())?;
        let checked = CheckedConfig(self);
        let per_second = checked.simulated_rate();
        if !SIMULATED_RATE.contains(&per_second) {
            return Err(ConfigError::SimulatedRate { rate: checked.rate, speed: checked.speed(), per_second });
        }
        Ok(checked)
    }
}

/// A [`Config`] whose every field is in its range.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedConfig(Config);

impl CheckedConfig {
    /// Simulated seconds in a second of real time.
    pub fn speed(&self) -> f64 {
        let natural = || self.rate * SECONDS_A_DAY / (f64::from(self.users) * PAYMENTS_A_DAY);
        self.speed.unwrap_or_else(natural)
    }

    /// Records in a simulated second.
    pub fn simulated_rate(&self) -> f64 {
        match self.speed {
            Some(speed) => self.rate / speed,
            // Not by way of the rate: simulated time does not depend on it, not in its last bits either.
            None => f64::from(self.users) * PAYMENTS_A_DAY / SECONDS_A_DAY,
        }
    }

    /// The scenarios of this simulation, each once, in the order of [`Scenario::ALL`].
    pub fn chosen_scenarios(&self) -> Vec<Scenario> {
        let is_chosen = |scenario: &Scenario| self.scenarios.is_empty() || self.scenarios.contains(scenario);
        Scenario::ALL.into_iter().filter(is_chosen).collect()
    }

    /// The share of records that each scenario has.
    pub fn share_of(&self, scenario: Scenario) -> f64 {
        let chosen = self.chosen_scenarios();
        let sum: f64 = chosen.iter().map(|one| one.weight()).sum();
        if chosen.contains(&scenario) { self.anomaly_rate * scenario.weight() / sum } else { 0.0 }
    }
}

impl std::ops::Deref for CheckedConfig {
    type Target = Config;

    fn deref(&self) -> &Config {
        &self.0
    }
}

/// A field of [`Config`] that is out of its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// The start is in a year that other programs may not know.
    #[error(
        "the start {0} is out of range: its year must be from {first} to {last}",
        first = YEARS.start(),
        last = YEARS.end()
    )]
    Start(DateTime<Utc>),
    /// A number is out of its range.
    #[error("the {name} {value} cannot be simulated: give a number from {least} to {most}")]
    Range {
        /// Which number, in words.
        name: &'static str,
        /// What was given.
        value: f64,
        /// The least that can be.
        least: f64,
        /// The most that can be.
        most: f64,
    },
    /// Rate and speed do not go together.
    #[error(
        "rate {rate} at speed {speed} is {per_second} records in a simulated second: choose them so that it is from {least} \
         to {most}",
        least = SIMULATED_RATE.start(),
        most = SIMULATED_RATE.end()
    )]
    SimulatedRate {
        /// Records a second.
        rate: f64,
        /// Simulated seconds a second.
        speed: f64,
        /// What that makes.
        per_second: f64,
    },
}

fn in_range(name: &'static str, value: f64, least: f64, most: f64) -> Result<(), ConfigError> {
    if (least..=most).contains(&value) {
        Ok(()) // NaN is in no range, so it ends below
    } else {
        Err(ConfigError::Range { name, value, least, most })
    }
}
