//! How well scores tell anomalies from what is normal, where labels say which are which, and how far detectors agree.
//!
//! Labels are for judging here. All of it is plain arithmetic over scores; higher scores are more
//! anomalous, equal ones are ties, and no measure depends on the order in which tied rows stand.

mod agreement;
mod binomial;
mod bootstrap;
mod confusion;
mod daily;
mod mcnemar;
mod prequential;
mod ranking;
pub mod statistics;

use thiserror::Error;

pub use agreement::{Overlap, average_ranks, pearson, spearman};
pub use bootstrap::{Bootstrap, Interval, Intervals};
pub use confusion::Confusion;
pub use daily::{DailyPrecision, DailyRow, Day};
pub use mcnemar::{McNemar, mcnemar};
pub use prequential::{Fold, Prequential};
pub use ranking::Ranking;

/// Why there is nothing to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EvaluationError {
    /// Scores and labels of different rows.
    #[error("there are {n_scores} scores and {n_labels} labels: each row needs one score and one label")]
    Lengths {
        /// How many scores.
        n_scores: usize,
        /// How many labels.
        n_labels: usize,
    },
    /// Nothing to find.
    #[error("none of the {n_samples} rows is labelled as an anomaly: there is nothing to find")]
    NoAnomaly {
        /// How many rows.
        n_samples: usize,
    },
    /// Nothing to leave alone.
    #[error("all of the {n_samples} rows are labelled as anomalies: there is no normal row to compare with")]
    NothingNormal {
        /// How many rows.
        n_samples: usize,
    },
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
