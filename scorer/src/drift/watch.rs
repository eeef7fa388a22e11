//! The counts of what was committed.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use shared::detectors::drift::{Recent, ScoreTest, population_stability};

use super::observations::Observations;
use super::plan::Plan;
use super::report::{DetectorReport, FeatureReport, Report};

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
    /// By detector: the test, and the newest scores.
    scores: Vec<Option<(ScoreTest, Recent)>>,
    /// By feature.
    features: Vec<Recent>,
}

impl Drift {
    /// Begins to watch.
    pub fn new(plan: Plan) -> Self {
        let recent = || Recent::new(plan.spec.window);
        let test = |cells| (ScoreTest::new(cells, plan.spec.alpha), recent());
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
                    let (Some(place), Some((test, recent))) = (places.next(), score) else { continue };
                    let Some(cell) = place.cell else { continue };
                    recent.add(Some(cell), false);
                    if test.add(cell, Observations::in_cell(entity, index), entity.time) {
                        raised.push(index);
                    }
                }
                for (recent, place) in counts.features.iter_mut().zip(places) {
                    recent.add(place.cell, place.is_outside);
                }
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
            scores: score.as_ref().map_or(0, |(test, _)| test.n()),
            evidence: score.as_ref().map(|(test, _)| test.evidence()),
            alarm: score.as_ref().and_then(|(test, _)| test.alarm()),
            stability: score
                .as_ref()
                .zip(detector.cells.as_ref())
                .and_then(|((_, recent), cells)| population_stability(cells.weights(), &recent.counts())),
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
