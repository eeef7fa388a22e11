//! Closed entities in, verdicts out: one batch of features, every detector of the pipeline.

use std::path::Path;
use std::sync::Arc;

use shared::detector::Detector;
use shared::device::ChosenDevice;
use shared::matrix::FeatureMatrix;
use shared::model::{Model, ModelError};
use shared::pipeline::Pipeline;
use shared::verdict::Verdict;

use crate::core::ClosedEntity;

/// The detectors of a pipeline on a device, each with the topic of its verdicts.
#[derive(Debug)]
pub struct Detectors {
    detectors: Vec<(Detector, Arc<str>)>,
    n_features: usize,
}

impl Detectors {
    /// Loads the model of every detector of `pipeline`.
    ///
    /// # Errors
    /// [`ModelError`] of the first that is missing, damaged, or trained for something else.
    pub fn load(models: &Path, pipeline: &Pipeline, device: &ChosenDevice) -> Result<Self, ModelError> {
        let load = |spec: &shared::pipeline::DetectorSpec| {
            let model = Model::load(models, pipeline, &spec.name)?;
            Ok((Detector::new(model, &device.device), spec.topic.as_str().into()))
        };
        let detectors = pipeline.detectors.iter().map(load).collect::<Result<_, ModelError>>()?;
        Ok(Self { detectors, n_features: pipeline.features.len() })
    }

    /// The detectors' names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.detectors.iter().map(|(detector, _)| detector.model().detector.as_str())
    }

    /// The verdicts on each entity, one a detector, with the topic each goes to; on normal entities only where `all` are
    /// asked for, because nearly all are normal.
    pub fn verdicts(&self, entities: &[ClosedEntity], all: bool) -> Vec<Vec<(Arc<str>, Verdict)>> {
        let mut features = FeatureMatrix::new(self.n_features);
        entities.iter().for_each(|entity| features.push(&entity.features));
        let mut verdicts: Vec<Vec<(Arc<str>, Verdict)>> = entities.iter().map(|_| Vec::new()).collect();
        for (detector, topic) in &self.detectors {
            for ((entity, score), verdicts) in entities.iter().zip(detector.score(&features)).zip(&mut verdicts) {
                if !all && !detector.model().threshold.is_exceeded(score.score) {
                    continue;
                }
                let verdict = Verdict::new(detector, &entity.summary, &entity.features, &score);
                verdicts.push((topic.clone(), verdict));
            }
        }
        verdicts
    }
}
