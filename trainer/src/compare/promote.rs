//! The winner becomes the model of one of the pipeline's detectors.

use std::path::{Path, PathBuf};

use shared::device::ChosenDevice;
use shared::matrix::FeatureMatrix;
use shared::model::Model;
use shared::pipeline::{DetectorSpec, Pipeline};

use crate::fit::TrainingSet;
use crate::memory::Plan;
use crate::output::Output;

/// The pipeline's detector with this name, or the first where none is named.
///
/// # Errors
/// When there is none.
pub fn target<'a>(pipeline: &'a Pipeline, name: &str) -> anyhow::Result<&'a DetectorSpec> {
    let mut detectors = pipeline.detectors.iter();
    let found = if name.is_empty() { detectors.next() } else { detectors.find(|spec| spec.name == name) };
    found.ok_or_else(|| {
        let known: Vec<&str> = pipeline.detectors.iter().map(|spec| spec.name.as_str()).collect();
        anyhow::anyhow!(
            "pipeline `{}` has no detector `{name}` whose model --promote could replace; it has {}",
            pipeline.name,
            if known.is_empty() { "none that is trained".to_owned() } else { known.join(", ") }
        )
    })
}

/// Fits `winner` on all of the history, `rows`, and adds its model in the place of that of `target`: with the threshold's
/// policy and the topic of `target`, its own algorithm, parameters and scaling.
///
/// # Errors
/// When it cannot be fitted on all rows.
pub fn add_model(
    pipeline: &Pipeline,
    (target, winner): (&DetectorSpec, &DetectorSpec),
    rows: &FeatureMatrix,
    (device, seed, plan): (&ChosenDevice, u64, Plan),
    models: &Path,
    output: &mut Output<'_>,
) -> anyhow::Result<PathBuf> {
    let spec = DetectorSpec {
        name: target.name.clone(),
        topic: target.topic.clone(),
        threshold: target.threshold,
        calibration: target.calibration,
        calibration_share: target.calibration_share,
        ..winner.clone()
    };
    let set = TrainingSet::new(pipeline, rows, device, seed, plan);
    let trained = set.score(set.fit(&spec, &|| {})?)?;
    let model = Model { promoted: true, ..trained.model };
    output.add_model(models, &model);
    Ok(Model::path(models, &pipeline.name, &spec.name))
}
