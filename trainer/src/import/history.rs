//! What a history says of a model that was trained elsewhere: how rare scores are, and what is usual. Verdicts do not change.

use std::sync::Arc;

use shared::detector::Detector;
use shared::device::{DeviceRequest, choose};
use shared::matrix::FeatureMatrix;
use shared::model::{Model, TrainingSummary, fingerprint_of_numbers};
use shared::pipeline::Pipeline;
use shared::threshold::Calibration;

use super::args::SparkArgs;
use crate::fit::typical_and_usual;
use crate::load;
use crate::memory::Budget;
use crate::progress::Progress;
use crate::timings::Timings;
use crate::train::{self, Settings};

/// Entities that are scored at a time.
const ROWS_A_BATCH: usize = 1 << 16;

/// The model with medians, usual ranges and p-values of the history that the flags name.
///
/// # Errors
/// When the history cannot be read, as in a training.
pub(super) fn add(model: Model, args: &SparkArgs, pipeline: &Pipeline) -> anyhow::Result<Model> {
    let settings = Settings {
        pipeline: Arc::new(pipeline.clone()),
        files: load::resolve(&args.history)?.into_iter().map(Into::into).collect(),
        models: args.models.clone(),
        device: DeviceRequest::Cpu,
        seed: 0,
        budget: Budget::new(args.max_memory),
        max_bad: args.max_bad,
        analysts: None,
        quiet: args.quiet,
        is_sample: false,
        force: false,
        moments: false,
    };
    let (_, entities) = train::read(&settings, Progress { quiet: args.quiet }, &mut Timings::default())?;
    let model = with_features(model, &entities.features)?;
    model.check().map_err(|problem| anyhow::anyhow!("this history cannot be used: {problem}"))?;
    Ok(model)
}

/// The same from the features of the history's entities `(n_samples, n_features)`.
fn with_features(model: Model, features: &FeatureMatrix) -> anyhow::Result<Model> {
    let detector = Detector::new(model.clone(), &choose(DeviceRequest::Cpu)?.device);
    let mut scores = Vec::with_capacity(features.n_samples());
    let mut anomalies = 0;
    for rows in features.values().chunks(ROWS_A_BATCH * features.n_features()) {
        let batch = detector.score(&FeatureMatrix::from_values(features.n_features(), rows.to_vec()));
        anomalies += batch.iter().filter(|score| detector.is_anomalous(*score)).count();
        scores.extend(batch.iter().map(|(score, _)| score));
    }
    let (typical, usual) = features.map_columns(|mut column| typical_and_usual(&mut column)).into_iter().unzip();
    let training = TrainingSummary {
        rows: features.n_samples(),
        anomalies,
        data_fingerprint: fingerprint_of_numbers(features.values()),
        ..model.training
    };
    Ok(Model { typical, usual, calibration: Calibration::fit(&scores), training, ..model })
}
