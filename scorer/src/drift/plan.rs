//! What to watch.

use shared::detectors::drift::Cells;
use shared::model::Model;
use shared::pipeline::{DriftSpec, Pipeline};

/// What to watch, by the models of a pipeline.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The trained detectors, in their order.
    pub(super) detectors: Vec<WatchedDetector>,
    /// The features, in their order; none where no model says how they were.
    pub(super) features: Vec<WatchedFeature>,
    pub(super) spec: DriftSpec,
}

/// A trained detector.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WatchedDetector {
    pub name: String,
    /// Where scores fall; `None` where its model does not say how they were.
    pub cells: Option<Cells>,
    /// Whether the scores of the training are of entities that the detector had not seen.
    pub is_exact: bool,
}

/// A feature.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WatchedFeature {
    pub name: String,
    pub cells: Cells,
}

impl Plan {
    /// What to watch of a pipeline with these models.
    pub fn new<'a>(pipeline: &Pipeline, models: impl Iterator<Item = &'a Model>) -> Self {
        let (mut detectors, mut features) = (Vec::new(), Vec::new());
        for model in models {
            if let Some(profile) = model.profile.as_ref().filter(|_| features.is_empty()) {
                let named = model.features.iter().zip(&profile.features);
                features = named
                    .map(|(name, reference)| WatchedFeature { name: name.clone(), cells: Cells::new(reference) })
                    .collect();
            }
            let scores = model.profile.as_ref().map(|profile| &profile.scores).filter(|scores| scores.n_samples > 0);
            detectors.push(WatchedDetector {
                name: model.detector.clone(),
                cells: scores.map(Cells::new),
                is_exact: model.training.held_out > 0,
            });
        }
        Self { detectors, features, spec: pipeline.drift }
    }

    /// Whether there is anything to compare with.
    pub fn is_watching(&self) -> bool {
        !self.features.is_empty() || self.detectors.iter().any(|detector| detector.cells.is_some())
    }

    /// Numbers that are noted of each entity.
    pub(super) fn width(&self) -> usize {
        self.detectors.len() + self.features.len()
    }
}
