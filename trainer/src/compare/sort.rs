//! What the table is sorted by.

use clap::ValueEnum;

use super::measures::{Entry, Measured};

/// A measure to sort by, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SortBy {
    /// An ensemble first, then by agreement: the order where no label tells which detector is best
    Ensemble,
    /// Area under the ROC curve
    RocAuc,
    /// Average precision
    AveragePrecision,
    /// Precision at the threshold
    Precision,
    /// Recall at the threshold
    Recall,
    /// F1 at the threshold
    F1,
    /// Precision if as many rows are reported as there are anomalies
    PrecisionAtN,
    /// Agreement with the other detectors
    Agreement,
    /// Stability of scores across seeds
    Stability,
    /// Area under the ROC curve, on synthetic anomalies
    SyntheticRocAuc,
    /// Average precision, on synthetic anomalies
    SyntheticAveragePrecision,
    /// Seconds of the fit, fewest first
    FitSeconds,
    /// Rows scored per second, most first
    ScoreRowsPerSecond,
    /// Bytes of the model, fewest first
    ModelBytes,
}

impl SortBy {
    /// As it is typed.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Whether it takes labels.
    pub fn needs_labels(self) -> bool {
        matches!(
            self,
            Self::RocAuc | Self::AveragePrecision | Self::Precision | Self::Recall | Self::F1 | Self::PrecisionAtN
        )
    }

    /// Whether it is measured on anomalies that were made, which is done where there are no labels.
    pub fn needs_synthetic_anomalies(self) -> bool {
        matches!(self, Self::SyntheticRocAuc | Self::SyntheticAveragePrecision)
    }

    /// The measure, such that more is better; none where it could not be taken.
    fn worth(self, of: &Measured) -> Option<f64> {
        let labelled = of.labelled.as_ref();
        match self {
            Self::RocAuc => labelled.map(|labelled| labelled.roc_auc),
            Self::AveragePrecision => labelled.map(|labelled| labelled.average_precision),
            Self::Precision => labelled.map(|labelled| labelled.at_threshold.precision()),
            Self::Recall => labelled.map(|labelled| labelled.at_threshold.recall()),
            Self::F1 => labelled.map(|labelled| labelled.at_threshold.f1()),
            Self::PrecisionAtN => labelled.map(|labelled| labelled.precision_at_n),
            Self::Agreement | Self::Ensemble => of.agreement,
            Self::Stability => of.stability,
            Self::SyntheticRocAuc => of.synthetic.as_ref().map(|synthetic| synthetic.all.roc_auc),
            Self::SyntheticAveragePrecision => of.synthetic.as_ref().map(|synthetic| synthetic.all.average_precision),
            Self::FitSeconds => Some(-of.fit_seconds),
            Self::ScoreRowsPerSecond => Some(of.score_rows_per_second()),
            Self::ModelBytes => Some(-(of.model_bytes as f64)),
        }
    }

    /// Sorts entries, the best first; those without the measure come last, and equal ones are in the order of their names.
    pub fn sort(self, entries: &mut [Entry]) {
        let worth = |entry: &Entry| {
            let measured = entry.outcome.as_ref().ok()?;
            match self {
                // More than any agreement, which is at most 1.
                Self::Ensemble if entry.is_ensemble => Some(2.0),
                _ => self.worth(measured),
            }
        };
        entries.sort_by(|a, b| {
            let by_worth = match (worth(a), worth(b)) {
                (Some(a), Some(b)) => b.total_cmp(&a),
                (a, b) => b.is_some().cmp(&a.is_some()),
            };
            // A detector that took part comes before one that could not.
            let took_part = || b.outcome.is_ok().cmp(&a.outcome.is_ok());
            by_worth.then_with(took_part).then_with(|| a.name.cmp(&b.name))
        });
    }
}
