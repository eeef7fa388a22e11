//! What the detectors have in common that learn from labels: which rows they learn from, how much each class counts, and how
//! what they compute becomes a probability.
//!
//! The newest labelled rows have no part in the fit. By them a fit knows when to stop, and log-odds are calibrated by them, so
//! that the probability is that of rows to come and not of rows that were learned by heart.

mod platt;
mod score;

use serde::{Deserialize, Serialize};

use super::FitError;

pub(crate) use platt::{Platt, log_loss, sigmoid};
pub(crate) use score::{LogOdds, Probabilities};

/// Fewest rows of a class that are learned from.
pub(crate) const LEAST_OLDER: usize = 7;

/// Fewest rows of a class that log-odds are calibrated by.
pub(crate) const LEAST_NEWEST: usize = 3;

/// Labelled rows.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Labelled {
    /// Their places among all rows, rising: `(n_labelled)`.
    pub rows: Vec<usize>,
    /// Whether each is an anomaly: `(n_labelled)`.
    pub is_anomaly: Vec<bool>,
}

impl Labelled {
    fn of(rows: &[(usize, bool)]) -> Self {
        let (rows, is_anomaly) = rows.iter().copied().unzip();
        Self { rows, is_anomaly }
    }

    /// How many rows are anomalies.
    pub fn n_anomalies(&self) -> usize {
        self.is_anomaly.iter().filter(|&&is_anomaly| is_anomaly).count()
    }
}

/// The labelled rows in two parts, by their order, which is that of time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parts {
    /// What is learned from.
    pub older: Labelled,
    /// What is held back.
    pub newest: Labelled,
}

impl Parts {
    /// Holds back this share of the labelled rows, the newest ones, and more where these have too few of a class.
    ///
    /// # Errors
    /// [`FitError::TooFewLabels`] when a class is missing or too small.
    pub fn split(labels: &[Option<bool>], share: f64) -> Result<Self, FitError> {
        let labelled: Vec<(usize, bool)> =
            labels.iter().enumerate().filter_map(|(row, label)| Some((row, (*label)?))).collect();
        let wanted = labelled.len() - ((labelled.len() as f64 * share).round() as usize).min(labelled.len());
        let start = [true, false].into_iter().fold(wanted, |start, class| start.min(newest_of(&labelled, class)));
        let (older, newest) = labelled.split_at(start);
        let count = |rows: &[(usize, bool)], class: bool| rows.iter().filter(|row| row.1 == class).count();
        let has_too_few = |&class: &bool| {
            let (n_older, n_newest) = (count(older, class), count(newest, class));
            n_older < LEAST_OLDER || n_newest < LEAST_NEWEST
        };
        // Of a class that lacks rows, the other one may seem to lack older ones.
        let mut classes = [true, false];
        classes.sort_by_key(|&class| count(&labelled, class));
        if let Some(class) = classes.into_iter().find(has_too_few) {
            return Err(FitError::TooFewLabels {
                class: if class { "anomalies" } else { "normal" },
                n_class: count(&labelled, class),
                n_labelled: labelled.len(),
            });
        }
        Ok(Self { older: Labelled::of(older), newest: Labelled::of(newest) })
    }
}

/// Where the newest rows begin that have enough of a class; 0 where there are too few.
fn newest_of(labelled: &[(usize, bool)], class: bool) -> usize {
    let places = labelled.iter().enumerate().rev().filter(|(_, row)| row.1 == class);
    places.map(|(place, _)| place).nth(LEAST_NEWEST - 1).unwrap_or(0)
}

/// How much a row of each class counts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "must be \"balanced\" or { normal = 1, anomaly = 20 }")]
pub enum ClassWeight {
    /// By a name.
    Named(NamedWeight),
    /// By numbers.
    Each(EachWeight),
}

/// A class weight that has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamedWeight {
    /// Both classes count as much, however many rows they have.
    Balanced,
}

/// A weight for each class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EachWeight {
    /// Of a normal row.
    pub normal: f64,
    /// Of an anomaly.
    pub anomaly: f64,
}

impl ClassWeight {
    /// Checks what can be checked without data.
    pub(crate) fn check(self) -> Result<(), String> {
        /// The largest weight, and the smallest by its inverse.
        const MOST: f64 = 1e6;
        match self {
            Self::Each(EachWeight { normal, anomaly })
                if ![normal, anomaly].iter().all(|weight| (1.0 / MOST..=MOST).contains(weight)) =>
            {
                Err("class_weight: normal and anomaly must be between 0.000001 and 1000000, such as 1 and 20".into())
            }
            _ => Ok(()),
        }
    }

    /// The weights of normal rows and of anomalies, where there are so many of each; 1 for both where none was asked for.
    pub(crate) fn of(asked: Option<Self>, labelled: &Labelled) -> EachWeight {
        let (n, anomalies) = (labelled.rows.len() as f64, labelled.n_anomalies() as f64);
        match asked {
            None => EachWeight { normal: 1.0, anomaly: 1.0 },
            Some(Self::Each(weights)) => weights,
            Some(Self::Named(NamedWeight::Balanced)) => {
                EachWeight { normal: n / (2.0 * (n - anomalies)), anomaly: n / (2.0 * anomalies) }
            }
        }
    }
}

impl EachWeight {
    pub(crate) fn of(self, is_anomaly: bool) -> f64 {
        if is_anomaly { self.anomaly } else { self.normal }
    }
}

/// Checks `validation_fraction`, which all of these detectors have.
pub(crate) fn check_validation_fraction(share: f64) -> Result<(), String> {
    if (0.05..=0.5).contains(&share) { Ok(()) } else { Err("validation_fraction must be between 0.05 and 0.5".into()) }
}

#[cfg(test)]
pub(crate) mod tests;
