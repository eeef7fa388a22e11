//! The counts of what was committed.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use shared::detectors::drift::{Alarm, Cells, Recent, ScoreTest, population_stability};

use super::observations::Observations;
use super::plan::Plan;
use super::report::{DetectorReport, FeatureReport, LEAST_CHANGE, Report};

/// How often it is looked whether a change that is certain has become large, in entities.
const LOOK_EVERY: u64 = 100;

/// Whether what was committed is still like the training. Copies share what they count: all threads of a stream are one stream.
#[derive(Clone, Default)]
pub struct Drift(Option<Arc<Watched>>);

impl fmt::Debug for Drift {
    /// What was found, which is of use in a log; all counts are not.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Drift").field(&self.report()).finish()
    }
}

struct Watched {
    plan: Plan,
    counts: Mutex<Counts>,
}

#[derive(Debug, Clone)]
struct Counts {
    n: u64,
    /// By detector.
    scores: Vec<Option<Scores>>,
    /// By feature.
    features: Vec<Recent>,
}

/// The scores of a detector.
#[derive(Debug, Clone)]
struct Scores {
    test: ScoreTest,
    /// The newest ones.
    recent: Recent,
    /// The alarm, once the change is certain and large.
    alarm: Option<Alarm>,
}

impl Counts {
    /// Raises the alarm of each detector whose test has found a change, if that is large by now; which.
    fn raise(&mut self, plan: &Plan, time: i64) -> Vec<usize> {
        let is_waiting = |scores: &Scores| scores.alarm.is_none() && scores.test.alarm().is_some();
        if !self.n.is_multiple_of(LOOK_EVERY) || !self.scores.iter().flatten().any(is_waiting) {
            return Vec::new();
        }
        let is_large = |cells: &Cells, recent: &Recent| {
            population_stability(cells.weights(), &recent.counts()).is_some_and(|index| index >= LEAST_CHANGE)
        };
        let is_any_feature = plan.features.iter().zip(&self.features).any(|(of, recent)| is_large(&of.cells, recent));
        let mut raised = Vec::new();
        for (index, (detector, scores)) in plan.detectors.iter().zip(&mut self.scores).enumerate() {
            let (Some(cells), Some(scores)) = (&detector.cells, scores) else { continue };
            let found = scores.test.alarm().filter(|_| scores.alarm.is_none());
            if let Some(found) = found.filter(|_| is_any_feature || is_large(cells, &scores.recent)) {
                scores.alarm = Some(Alarm { after: scores.test.n(), raised: time, ..found });
                raised.push(index);
            }
        }
        raised
    }
}

impl Drift {
    /// Begins to watch.
    pub fn new(plan: Plan) -> Self {
        let recent = || Recent::new(plan.spec.window);
        let test = |cells| Scores { test: ScoreTest::new(cells, plan.spec.alpha), recent: recent(), alarm: None };
        let counts = Counts {
            n: 0,
            scores: plan.detectors.iter().map(|detector| detector.cells.as_ref().map(test)).collect(),
            features: plan.features.iter().map(|_| recent()).collect(),
        };
        Self(Some(Arc::new(Watched { plan, counts: Mutex::new(counts) })))
    }

    /// What is watched, where anything is.
    pub fn plan(&self) -> Option<&Plan> {
        self.0.as_ref().map(|watched| &watched.plan)
    }

    /// Counts entities that were committed, and says in a sentence each which detectors raise an alarm with them.
    pub fn add(&self, observations: &Observations) -> Vec<String> {
        let Some(watched) = self.0.as_ref().filter(|_| !observations.is_empty()) else { return Vec::new() };
        let mut raised = Vec::new();
        {
            let mut counts = watched.counts.lock().unwrap_or_else(PoisonError::into_inner);
            for (entity, mut places) in observations.rows(watched.plan.width()) {
                counts.n += 1;
                for (index, score) in counts.scores.iter_mut().enumerate() {
                    let (Some(place), Some(scores)) = (places.next(), score) else { continue };
                    let Some(cell) = place.cell else { continue };
                    scores.recent.add(Some(cell), false);
                    scores.test.add(cell, Observations::in_cell(entity, index), entity.time);
                }
                for (recent, place) in counts.features.iter_mut().zip(places) {
                    recent.add(place.cell, place.is_outside);
                }
                raised.extend(counts.raise(&watched.plan, entity.time));
            }
        }
        if raised.is_empty() {
            return Vec::new();
        }
        let report = self.report().unwrap_or_default();
        raised.iter().filter_map(|index| Some(report.said(report.detectors.get(*index)?))).collect()
    }

    /// What was found so far; `None` where nothing is trained.
    pub fn report(&self) -> Option<Report> {
        let watched = self.0.as_ref().filter(|watched| !watched.plan.detectors.is_empty())?;
        let plan = &watched.plan;
        let Counts { n, scores, features } = watched.counts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let detectors = plan.detectors.iter().zip(&scores).map(|(detector, score)| DetectorReport {
            name: detector.name.clone(),
            is_exact: detector.is_exact,
            scores: score.as_ref().map_or(0, |scores| scores.test.n()),
            evidence: score.as_ref().map(|scores| scores.test.evidence()),
            changed: score.as_ref().and_then(|scores| scores.test.alarm()),
            alarm: score.as_ref().and_then(|scores| scores.alarm),
            stability: score
                .as_ref()
                .zip(detector.cells.as_ref())
                .and_then(|(scores, cells)| population_stability(cells.weights(), &scores.recent.counts())),
        });
        let features = plan.features.iter().zip(&features).map(|(feature, recent)| {
            let counts = recent.counts();
            FeatureReport {
                name: feature.name.clone(),
                stability: population_stability(feature.cells.weights(), &counts),
                outside: counts.outside(),
                missing: counts.missing(),
            }
        });
        Some(Report { spec: plan.spec, n, detectors: detectors.collect(), features: features.collect() })
    }
}
