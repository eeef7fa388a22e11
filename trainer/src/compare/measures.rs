//! What is measured of a detector.

use shared::evaluation::{Bootstrap, Confusion, EvaluationError, Intervals, Ranking, average_ranks, mcnemar, pearson};
use shared::evaluation::{McNemar, Overlap, statistics};
use shared::threshold::Threshold;

use super::injected::SyntheticMeasures;

/// Most rows that rank correlations are taken of: every so many-th where there are more, which leaves the third decimal to
/// chance.
const ROWS_TO_CORRELATE: usize = 200_000;

/// A detector that was asked to take part.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Whether it is an ensemble of several detectors.
    pub is_ensemble: bool,
    /// The detector that this is with other settings, where a search made it.
    pub variant_of: Option<String>,
    /// What was measured, or why it could not take part, in a sentence.
    pub outcome: Result<Measured, String>,
}

/// What was measured of a detector that took part.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Its score of each row: `(n_test)`.
    pub scores: Vec<f32>,
    /// The cluster of each row, where each cluster has a threshold of its own: `(n_test)`.
    pub clusters: Option<Vec<i32>>,
    /// From which score on a row is reported.
    pub threshold: Threshold,
    /// Seconds of the fit.
    pub fit_seconds: f64,
    /// Seconds of scoring all that was scored.
    pub score_seconds: f64,
    /// How many rows those seconds were for.
    pub n_scored: usize,
    /// Bytes of the model.
    pub model_bytes: u64,
    /// Mean rank correlation with the scores of the others; none when it is alone, or gives every row the same score.
    pub agreement: Option<f64>,
    /// Mean share of reported rows that are reported in common with each of the others.
    pub overlap: Option<f64>,
    /// Mean rank correlation between the scores of fits with different seeds.
    pub stability: Option<f64>,
    /// What labels tell.
    pub labelled: Option<Labelled>,
    /// What anomalies tell that were made.
    pub synthetic: Option<SyntheticMeasures>,
}

/// What labels tell of a detector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Labelled {
    /// Area under the ROC curve.
    pub roc_auc: f64,
    /// Average precision.
    pub average_precision: f64,
    /// Precision, and recall, among as many rows as there are anomalies.
    pub precision_at_n: f64,
    /// What the threshold makes of the rows.
    pub at_threshold: Confusion,
    /// Bounds by bootstrap.
    pub intervals: Intervals,
}

impl Labelled {
    /// Measures scores `(n_samples)`, and what of it is reported, beside labels `(n_samples)`.
    ///
    /// # Errors
    /// When there are not rows of both kinds.
    pub fn new(
        scores: &[f32],
        reported: impl Iterator<Item = bool>,
        labels: &[bool],
        bootstrap: &Bootstrap,
    ) -> Result<Self, EvaluationError> {
        let ranking = Ranking::new(scores, labels)?;
        let at_threshold = Confusion::of(reported.zip(labels.iter().copied()));
        Ok(Self {
            roc_auc: ranking.roc_auc(),
            average_precision: ranking.average_precision(),
            precision_at_n: ranking.precision_at_n_anomalies(),
            at_threshold,
            intervals: bootstrap.intervals(&ranking, at_threshold),
        })
    }
}

impl Measured {
    /// Whether each row is reported: `(n_test)`.
    pub fn reported(&self) -> impl Iterator<Item = bool> {
        (0..self.scores.len()).map(|row| self.scores[row] > self.threshold_of(row))
    }

    /// The threshold that a row's score is held to.
    pub fn threshold_of(&self, row: usize) -> f32 {
        self.threshold.of_cluster(self.clusters.as_ref().map(|clusters| clusters[row]))
    }

    /// How many rows are reported.
    pub fn n_reported(&self) -> usize {
        self.reported().filter(|reported| *reported).count()
    }

    /// Rows scored per second, most first.
    pub fn score_rows_per_second(&self) -> f64 {
        // Less than the clock can tell is no time.
        self.n_scored as f64 / self.score_seconds.max(1e-9)
    }
}

/// Two detectors beside each other.
#[derive(Debug, Clone)]
pub struct Pair {
    /// A detector.
    pub a: String,
    /// Another.
    pub b: String,
    /// How alike they order the rows; none when one gives every row the same score.
    pub spearman: Option<f64>,
    /// How far they report the same rows.
    pub overlap: Overlap,
    /// Whether one is right more often at its threshold, where labels tell.
    pub mcnemar: Option<McNemar>,
}

/// Every pair of detectors that took part; their mean agreement with the others goes into `entries`.
pub fn agree(entries: &mut [Entry], labels: Option<&[bool]>) -> Vec<Pair> {
    let ranks = |entry: &Entry| entry.outcome.as_ref().ok().map(|measured| average_ranks(&thinned(&measured.scores)));
    let ranks: Vec<Option<Vec<f64>>> = entries.iter().map(ranks).collect();
    let mut pairs = Vec::new();
    let mut of_entry: Vec<(Vec<f64>, Vec<f64>)> = vec![Default::default(); entries.len()];
    for first in 0..entries.len() {
        for second in first + 1..entries.len() {
            let (Ok(a), Ok(b)) = (&entries[first].outcome, &entries[second].outcome) else { continue };
            let both = ranks[first].as_ref().zip(ranks[second].as_ref());
            let pair = Pair {
                a: entries[first].name.clone(),
                b: entries[second].name.clone(),
                spearman: both.and_then(|(a, b)| pearson(a, b)),
                overlap: Overlap::of(a.reported().zip(b.reported())),
                mcnemar: labels.map(|labels| only_one_is_right(a, b, labels)),
            };
            for (entry, other) in [(first, second), (second, first)] {
                // Settings that a search tries do not speak for each other, nor for the detector whose they are.
                if entries[other].variant_of.is_none()
                    && entries[entry].variant_of.as_ref() != Some(&entries[other].name)
                {
                    of_entry[entry].0.extend(pair.spearman);
                    of_entry[entry].1.push(pair.overlap.jaccard());
                }
            }
            pairs.push(pair);
        }
    }
    for (entry, (correlations, overlaps)) in entries.iter_mut().zip(of_entry) {
        if let Ok(measured) = &mut entry.outcome {
            measured.agreement = mean(&correlations);
            measured.overlap = mean(&overlaps);
        }
    }
    pairs
}

/// As many scores as are correlated, evenly from all.
pub(super) fn thinned(scores: &[f32]) -> Vec<f32> {
    scores.iter().step_by(scores.len().div_ceil(ROWS_TO_CORRELATE).max(1)).copied().collect()
}

fn only_one_is_right(a: &Measured, b: &Measured, labels: &[bool]) -> McNemar {
    let (mut only_first, mut only_second) = (0, 0);
    for ((a, b), label) in a.reported().zip(b.reported()).zip(labels) {
        only_first += u64::from(a == *label && b != *label);
        only_second += u64::from(a != *label && b == *label);
    }
    mcnemar(only_first, only_second)
}

pub(super) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| statistics::mean(values.iter().copied()))
}
