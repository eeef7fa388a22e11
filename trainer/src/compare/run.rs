//! Fits detectors and lets them score; what one of them cannot do is its own affair.

use std::time::Instant;

use shared::detectors::{Algorithm, Context, Score, Scores};
use shared::device::{self, ChosenDevice};
use shared::evaluation::{Bootstrap, spearman};
use shared::matrix::{FeatureMatrix, Matrix};
use shared::pipeline::{DetectorSpec, Scaling};
use shared::scaler::Scaler;
use shared::threshold::{HeldOut, Threshold};

use super::contenders::{Contender, ReadyDetector};
use super::injected::Synthetic;
use super::measures::{Entry, Labelled, Measured, mean, thinned};
use super::split::gather;
use crate::fit::places_in_fit;
use crate::numbers::grouped;
use crate::progress::Progress;

/// Numbers of a batch of rows that is scored at a time, unless a row has more.
const NUMBERS_A_BATCH: usize = 1 << 20;

/// Rows of the first batch; while batches take less than this many seconds, they grow.
const FIRST_BATCH: usize = 256;
const SHORT: f64 = 0.1;

/// With more rows than this, small fits tell how long the whole one would take.
const ROWS_TO_TRY: usize = 200_000;

/// Rows of the first of them; each has twice as many as the one before, until one takes so many seconds.
const TRIAL_ROWS: usize = 10_000;
const LONG_ENOUGH: f64 = 0.3;

/// Seconds that are not enough to tell how long scoring will take.
const TOO_SOON: f64 = 2.0;

/// How many more fits tell how much scores change with the seed.
const MORE_SEEDS: u64 = 2;

/// Rows in parts, whole and in their own units.
#[derive(Debug)]
pub struct Data {
    /// What is fitted on: `(n_fit, n_features)`.
    pub fit: FeatureMatrix,
    /// What is scored: `(n_test, n_features)`; none where it is what is fitted on.
    pub test: Option<FeatureMatrix>,
    /// Which of the scored rows are anomalies, where that is known: `(n_test)`.
    pub labels: Option<Vec<bool>>,
    /// Anomalies that were made, where it is not.
    pub synthetic: Option<Synthetic>,
}

impl Data {
    /// What is scored.
    pub fn scored(&self) -> &FeatureMatrix {
        self.test.as_ref().unwrap_or(&self.fit)
    }
}

/// How detectors are run.
#[derive(Clone, Copy)]
pub struct Runner<'a> {
    /// What computes.
    pub device: &'a ChosenDevice,
    /// Seed of all randomness.
    pub seed: u64,
    /// Most bytes that a fit may remember beside the rows, where it has a choice.
    pub state_bytes: Option<usize>,
    /// A detector that would take longer to score is skipped.
    pub max_seconds: f64,
    /// How intervals are found.
    pub bootstrap: Bootstrap,
    /// Whether scores of other seeds are compared.
    pub stability: bool,
    /// Bars.
    pub progress: Progress,
}

/// Rows scaled in one way.
pub(super) struct Scaled {
    way: Way,
    pub(super) fit: Matrix,
    /// What was held out of the fit, and of the scaler, to set a threshold on.
    held_out: Option<Matrix>,
    test: Option<Matrix>,
    /// Which rows of `test` were held out of the fit, where it is the history and the others were not.
    is_out: Option<Vec<bool>>,
    synthetic: Option<Matrix>,
}

/// Which of the rows that are scored were in the fit.
#[derive(Debug, Clone, Copy)]
pub(super) enum InFit<'a> {
    /// None of them.
    None,
    /// All, in this order.
    All,
    /// All, in this order, but these: `(n_samples)`.
    AllBut(&'a [bool]),
}

impl<'a> InFit<'a> {
    /// The place in the fit of each row, one after the other.
    fn places(self) -> Box<dyn Iterator<Item = Option<usize>> + 'a> {
        match self {
            Self::None => Box::new(std::iter::repeat(None)),
            Self::All => Box::new(places_in_fit(&[])),
            Self::AllBut(is_out) => Box::new(places_in_fit(is_out)),
        }
    }
}

/// How rows are scaled, and which share of those that are fitted on is held out, when any is.
type Way = (Scaling, Option<f64>);

impl Scaled {
    fn new((method, share): Way, data: &Data, seed: u64) -> Self {
        let is_out = share.map(|share| HeldOut::Random.choose(data.fit.n_samples(), share, seed));
        let rows = |wanted: bool| {
            let rows = 0..data.fit.n_samples() as u32;
            let is_wanted = |row: &u32| is_out.as_ref().is_some_and(|is_out| is_out[*row as usize] == wanted);
            is_out.as_ref().map(|_| gather(&data.fit, &rows.filter(is_wanted).collect::<Vec<u32>>()))
        };
        let (kept, out) = (rows(false), rows(true));
        let fit = kept.as_ref().unwrap_or(&data.fit);
        let scaler = Scaler::fit(method, fit);
        // What is scored is what is fitted on, unless some of that was held out.
        let test = data.test.as_ref().or(kept.as_ref().map(|_| &data.fit));
        Self {
            way: (method, share),
            fit: scaler.transform(fit),
            held_out: out.map(|out| scaler.transform(&out)),
            test: test.map(|test| scaler.transform(test)),
            is_out: is_out.filter(|_| data.test.is_none()),
            synthetic: data.synthetic.as_ref().map(|synthetic| scaler.transform(&synthetic.rows)),
        }
    }

    /// Scales for this detector, unless that is how it was done last.
    pub(super) fn renew<'a>(last: &'a mut Option<Self>, spec: &DetectorSpec, data: &Data, seed: u64) -> &'a Self {
        let way = (spec.scaling, spec.threshold.needs_calibration().then_some(spec.calibration_share));
        if last.as_ref().is_some_and(|scaled| scaled.way != way) {
            // What was scaled in another way goes before there is more.
            *last = None;
        }
        last.get_or_insert_with(|| Self::new(way, data, seed))
    }

    /// What is scored.
    pub(super) fn scored(&self) -> (&Matrix, InFit<'_>) {
        match (&self.test, &self.is_out) {
            (Some(test), Some(is_out)) => (test, InFit::AllBut(is_out)),
            (Some(test), None) => (test, InFit::None),
            (None, _) => (&self.fit, InFit::All),
        }
    }

    /// What thresholds are set on.
    fn calibration(&self) -> (&Matrix, InFit<'_>) {
        self.held_out.as_ref().map_or((&self.fit, InFit::All), |held_out| (held_out, InFit::None))
    }
}

impl Runner<'_> {
    /// Measures every contender, in order.
    pub fn run(&self, contenders: &[Contender], data: &Data) -> Vec<Entry> {
        let bar = self.progress.steps("comparing", contenders.len() as u64);
        let mut scaled: Option<Scaled> = None;
        let measure = |contender: &Contender| {
            bar.set_message(contender.spec.name.clone());
            let scaled = Scaled::renew(&mut scaled, &contender.spec, data, self.seed);
            let outcome = self.on_a_device(|runner| runner.measure(contender, scaled, data));
            bar.inc(1);
            Entry {
                name: contender.spec.name.clone(),
                is_ensemble: matches!(contender.spec.algorithm, Algorithm::Ensemble(_)),
                variant_of: contender.variant_of.clone(),
                outcome,
            }
        };
        let entries = contenders.iter().map(measure).collect();
        bar.finish_and_clear();
        entries
    }

    /// Does `work` with the device or, when that fails and may be replaced, on the CPU; a device that was named and fails is
    /// a reason not to take part.
    pub(super) fn on_a_device<T>(&self, work: impl Fn(&Runner<'_>) -> Result<T, String>) -> Result<T, String> {
        match device::guarded(self.device, || work(self)) {
            Ok(result) => result,
            Err(failure) => {
                let cpu = self.device.replaced_after(failure).map_err(|failure| failure.to_string())?;
                work(&Runner { device: &cpu, ..*self })
            }
        }
    }

    fn measure(&self, contender: &Contender, scaled: &Scaled, data: &Data) -> Result<Measured, String> {
        self.check_time(contender, &scaled.fit)?;
        let (fitted, fit_seconds) = self.fit(contender, &scaled.fit, self.seed)?;
        let calibration = scaled.calibration();
        let parts = [Some(calibration.0), scaled.test.as_ref(), scaled.synthetic.as_ref()];
        let n_scored = parts.iter().flatten().map(|rows| rows.n_samples()).sum();
        let mut clock = Clock::new(n_scored, self.max_seconds);
        let calibration = score(&*fitted.detector, calibration, &mut clock)?;
        let threshold = threshold(&contender.spec, &fitted, &calibration)?;
        let Scores { values: scores, clusters } = match &scaled.test {
            Some(_) => score(&*fitted.detector, scaled.scored(), &mut clock)?,
            None => calibration,
        };
        let made = scaled.synthetic.as_ref().map(|made| score(&*fitted.detector, (made, InFit::None), &mut clock));
        let made = made.transpose()?;
        let stability = if self.stability { self.stability(contender, scaled, &scores)? } else { None };
        let mut measured = Measured {
            scores,
            clusters: clusters.filter(|_| !threshold.by_cluster.is_empty()),
            threshold,
            fit_seconds,
            score_seconds: clock.seconds,
            n_scored,
            model_bytes: fitted.bytes,
            agreement: None,
            overlap: None,
            stability,
            labelled: None,
            synthetic: None,
        };
        if let Some(labels) = &data.labels {
            let labelled = Labelled::new(&measured.scores, measured.reported(), labels, &self.bootstrap);
            measured.labelled = Some(labelled.map_err(|error| error.to_string())?);
        }
        if let (Some(synthetic), Some(made)) = (&data.synthetic, made) {
            let found = synthetic.measure(&measured.scores, &made.values);
            measured.synthetic = Some(found.map_err(|error| error.to_string())?);
        }
        Ok(measured)
    }

    /// Fits, and says how many seconds it took.
    pub(super) fn fit(&self, contender: &Contender, rows: &Matrix, seed: u64) -> Result<(ReadyDetector, f64), String> {
        let context = Context { device: &self.device.device, seed, max_state_bytes: self.state_bytes, on_step: &|| {} };
        let start = Instant::now();
        let fitted = (contender.fit)(rows, &context).map_err(|error| error.to_string())?;
        Ok((fitted, start.elapsed().as_secs_f64()))
    }

    /// Whether fitting so many rows would take too long, as small fits tell.
    ///
    /// # Errors
    /// That it would.
    fn check_time(&self, contender: &Contender, rows: &Matrix) -> Result<(), String> {
        let n_samples = rows.n_samples();
        let seconds = |n_rows: usize| {
            let some = rows.rows().step_by(n_samples / n_rows).take(n_rows).flatten().copied().collect();
            Ok::<f64, String>(self.fit(contender, &Matrix::from_values(rows.n_features(), some), self.seed)?.1)
        };
        let mut half = 0.0;
        for n_rows in trials(n_samples, contender.spec.algorithm.changes_after()) {
            let mut whole = seconds(n_rows)?;
            if whole < LONG_ENOUGH || half == 0.0 {
                half = whole;
                continue;
            }
            let times = n_samples as f64 / n_rows as f64;
            if extrapolated(half, whole, times) > self.max_seconds {
                // Once more, because others use the machine too.
                (half, whole) = (half.min(seconds(n_rows / 2)?), whole.min(seconds(n_rows)?));
            }
            let minutes = (extrapolated(half, whole, times) / 60.0).ceil();
            if extrapolated(half, whole, times) <= self.max_seconds {
                return Ok(());
            }
            return Err(format!(
                "fitting {} rows would take about {minutes} minutes, estimated from {} rows: skipped; --max-minutes {minutes} \
                 allows it",
                grouped(n_samples as u64),
                grouped(n_rows as u64)
            ));
        }
        Ok(())
    }

    /// Mean rank correlation of the scores with those of fits with other seeds.
    fn stability(&self, contender: &Contender, scaled: &Scaled, scores: &[f32]) -> Result<Option<f64>, String> {
        let rows = scaled.scored();
        let scores = thinned(scores);
        let mut correlations = Vec::new();
        for more in 1..=MORE_SEEDS {
            let (other, _) = self.fit(contender, &scaled.fit, self.seed.wrapping_add(more))?;
            let mut clock = Clock::new(rows.0.n_samples(), self.max_seconds);
            let others = score(&*other.detector, rows, &mut clock)?.values;
            correlations.extend(spearman(&scores, &thinned(&others)));
        }
        Ok(mean(&correlations))
    }
}

/// How long scoring takes, and may take.
pub(super) struct Clock {
    seconds: f64,
    rows: usize,
    n_scored: usize,
    max_seconds: f64,
}

impl Clock {
    /// For `n_scored` rows in all.
    pub(super) fn new(n_scored: usize, max_seconds: f64) -> Self {
        Self { seconds: 0.0, rows: 0, n_scored, max_seconds }
    }

    /// Counts rows that took so long.
    ///
    /// # Errors
    /// When at that pace all of them would take too long.
    fn count(&mut self, rows: usize, seconds: f64) -> Result<(), String> {
        self.rows += rows;
        self.seconds += seconds;
        let all = self.seconds * self.n_scored as f64 / self.rows.max(1) as f64;
        if self.seconds < TOO_SOON || all <= self.max_seconds {
            return Ok(());
        }
        let minutes = (all / 60.0).ceil();
        Err(format!(
            "scoring {} rows would take about {minutes} minutes: skipped; --max-minutes {minutes} allows it",
            grouped(self.n_scored as u64)
        ))
    }
}

/// How many rows tell how long a fit of all `n_samples` takes, one after the other, each twice as many as the one before: all of
/// them learned from in the same way as all rows are, which `changes` after so many. What a quarter of the rows takes no time
/// for, all of them take little for.
fn trials(n_samples: usize, changes: usize) -> impl Iterator<Item = usize> {
    let first = if n_samples > changes { TRIAL_ROWS.max(changes + 1) } else { TRIAL_ROWS };
    let wanted = n_samples > ROWS_TO_TRY;
    std::iter::successors(Some(first), |n_rows| Some(2 * n_rows))
        .take_while(move |&n_rows| wanted && n_rows <= n_samples / 4)
}

/// Seconds of a fit of so many `times` as many rows, by those of it and of one of half as many: the time is some power of the
/// number of rows.
fn extrapolated(half: f64, whole: f64, times: f64) -> f64 {
    let power = (whole / half.max(1e-6)).log2().clamp(0.0, 2.0);
    whole * times.powf(power)
}

/// The threshold that the detector's policy finds among these scores.
fn threshold(spec: &DetectorSpec, fitted: &ReadyDetector, scores: &Scores) -> Result<Threshold, String> {
    match (&scores.clusters, fitted.n_clusters) {
        (Some(clusters), Some(n_clusters)) if spec.per_cluster => {
            Threshold::fit_by_cluster(spec.threshold, &scores.values, clusters, n_clusters)
                .map(|(threshold, _)| threshold)
        }
        _ => Threshold::fit(spec.threshold, &scores.values),
    }
    .map_err(|error| error.to_string())
}

/// The scores of rows, each as if it had not been in the fit, and their clusters where there are any: `(n_samples)`.
pub(super) fn score(
    detector: &dyn Score,
    (rows, in_fit): (&Matrix, InFit<'_>),
    clock: &mut Clock,
) -> Result<Scores, String> {
    let mut places = in_fit.places();
    let n_features = rows.n_features();
    let most_rows = (NUMBERS_A_BATCH / n_features).max(1);
    let mut n_rows = FIRST_BATCH.min(most_rows);
    let (mut scores, mut clusters) = (Vec::with_capacity(rows.n_samples()), Vec::new());
    while scores.len() < rows.n_samples() {
        let end = rows.n_samples().min(scores.len() + n_rows);
        let batch =
            Matrix::from_values(n_features, rows.values()[scores.len() * n_features..end * n_features].to_vec());
        let places: Vec<Option<usize>> = places.by_ref().take(batch.n_samples()).collect();
        let start = Instant::now();
        let of_batch = detector.score_training(&batch, &places);
        let seconds = start.elapsed().as_secs_f64();
        clock.count(batch.n_samples(), seconds)?;
        if seconds < SHORT {
            n_rows = (4 * n_rows).min(most_rows);
        }
        scores.extend(of_batch.values);
        clusters.extend(of_batch.clusters.into_iter().flatten());
    }
    match scores.iter().position(|score| !score.is_finite()) {
        Some(row) => Err(format!("its score of row {row} is not a finite number")),
        None => Ok(Scores { clusters: (clusters.len() == scores.len()).then_some(clusters), values: scores }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fit of 10,000 rows that is exact says nothing of one of a million that is not.
    #[test]
    fn small_fits_learn_as_the_large_one_does() {
        let svm = Algorithm::by_name("one-class-svm").unwrap();
        assert_eq!(trials(1_000_000, svm.changes_after()).next(), Some(12_001));
        assert_eq!(trials(1_000_000, 0).collect::<Vec<_>>(), [10_000, 20_000, 40_000, 80_000, 160_000]);
        assert_eq!(trials(ROWS_TO_TRY, 0).next(), None, "so few are fitted at once");
        for n_samples in [200_001, 240_000, 619_326, 5_000_000] {
            for changes in [0, 9_999, 10_000, 12_000, 50_000, 240_000, 1_000_000] {
                let found: Vec<usize> = trials(n_samples, changes).collect();
                let is_alike =
                    |n_rows: &usize| (*n_rows > changes) == (n_samples > changes) && *n_rows <= n_samples / 4;
                assert!(found.iter().all(is_alike), "{n_samples} {changes} {found:?}");
            }
        }
    }

    #[test]
    fn the_time_of_a_fit_is_a_power_of_its_rows() {
        assert!((extrapolated(0.5, 1.0, 10.0) - 10.0).abs() < 1e-9);
        assert!((extrapolated(0.25, 1.0, 10.0) - 100.0).abs() < 1e-9);
        assert!((extrapolated(1.0, 1.0, 10.0) - 1.0).abs() < 1e-9);
        // No detector takes more than the square of its rows.
        assert!((extrapolated(0.001, 0.5, 10.0) - 50.0).abs() < 1e-9);
    }
}
