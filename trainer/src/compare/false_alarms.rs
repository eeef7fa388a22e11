//! How many false alarms there are beside how many were asked for.
//!
//! Split conformal prediction (Papadopoulos et al., ECML 2002; Laxhammar and Falkman, "Conformal prediction for distribution-
//! independent anomaly detection", 2010; Bates et al., "Testing for outliers with conformal p-values", Annals of Statistics
//! 51, 2023): a detector is fitted on one part, its threshold is set on normal rows of another, and on normal rows of a third,
//! which are like those of the second, at most the asked share exceeds it, on average.

use shared::matrix::FeatureMatrix;
use shared::pipeline::DetectorSpec;
use shared::threshold::{Threshold, ThresholdPolicy};

use super::contenders::Contender;
use super::run::{Clock, Data, Runner, Scaled, score};

/// The shares that are asked for.
pub const ASKED: [f64; 3] = [0.001, 0.01, 0.05];

/// What became of one share that was asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Realised {
    /// The share of normal rows that may be reported.
    pub asked: f64,
    /// The threshold; none where there are too few rows to set one that keeps the promise.
    pub threshold: Option<f32>,
    /// Normal rows that were reported.
    pub false_alarms: u64,
    /// Normal rows that were looked at.
    pub n_normal: u64,
}

impl Realised {
    /// The share of normal rows that was reported; none without a threshold.
    pub fn rate(&self) -> Option<f64> {
        self.threshold.map(|_| self.false_alarms as f64 / self.n_normal.max(1) as f64)
    }
}

/// The false alarms of a detector, or why there are none to count.
#[derive(Debug, Clone)]
pub struct FalseAlarms {
    /// The detector.
    pub name: String,
    /// One for each of [`ASKED`].
    pub outcome: Result<Vec<Realised>, String>,
}

/// Rows in three parts.
#[derive(Debug)]
pub struct ThreeParts {
    /// What is fitted on.
    pub fit: FeatureMatrix,
    /// Normal rows that thresholds are set on.
    pub calibration: FeatureMatrix,
    /// Normal rows on which false alarms are counted.
    pub held_out: FeatureMatrix,
}

impl ThreeParts {
    /// Fits every contender on the first part, sets its thresholds on the second and counts on the third.
    pub fn run(self, contenders: &[Contender], runner: &Runner<'_>) -> Vec<FalseAlarms> {
        let Self { fit, calibration, held_out } = self;
        let (n_calibration, n_features) = (calibration.n_samples(), calibration.n_features());
        let mut both = calibration.into_values();
        both.extend_from_slice(held_out.values());
        let both = FeatureMatrix::from_values(n_features, both);
        let data = Data { fit, test: Some(both), labels: None, synthetic: None };
        let bar = runner.progress.steps("false alarms", contenders.len() as u64);
        let mut scaled: Option<Scaled> = None;
        let of_contender = |contender: &Contender| {
            let scaled = Scaled::renew(&mut scaled, &plain(contender), &data, runner.seed);
            let outcome = runner.on_a_device(|runner| realised(runner, contender, scaled, n_calibration));
            bar.inc(1);
            FalseAlarms { name: contender.spec.name.clone(), outcome }
        };
        let all = contenders.iter().map(of_contender).collect();
        bar.finish_and_clear();
        all
    }
}

fn realised(
    runner: &Runner<'_>,
    contender: &Contender,
    scaled: &Scaled,
    n_calibration: usize,
) -> Result<Vec<Realised>, String> {
    let (fitted, _) = runner.fit(contender, &scaled.fit, runner.seed)?;
    let rows = scaled.scored();
    let scores = score(&*fitted.detector, rows, &mut Clock::new(rows.0.n_samples(), runner.max_seconds))?.values;
    let (calibration, held_out) = scores.split_at(n_calibration);
    let of_rate = |asked| {
        let threshold = Threshold::fit(ThresholdPolicy::FalseAlarmRate(asked), calibration).ok();
        let is_alarm = |score: &&f32| threshold.as_ref().is_some_and(|threshold| threshold.is_exceeded(**score, None));
        Realised {
            asked,
            false_alarms: held_out.iter().filter(is_alarm).count() as u64,
            n_normal: held_out.len() as u64,
            threshold: threshold.map(|threshold| threshold.value),
        }
    };
    Ok(ASKED.map(of_rate).to_vec())
}

/// The contender as if its own threshold held nothing out: what thresholds are set on here is held out already.
fn plain(contender: &Contender) -> DetectorSpec {
    DetectorSpec { threshold: ThresholdPolicy::Top(1), ..contender.spec.clone() }
}
