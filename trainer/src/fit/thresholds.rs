//! From the scores of entities to the threshold and the p-values of a model.

use shared::model::Model;
use shared::pipeline::DetectorSpec;
use shared::threshold::{Calibration, Cost, Threshold, TooFewScores};

use super::TrainingScore;
use crate::cost::CostReport;

/// The model with threshold and p-values from these scores.
pub(super) fn with_threshold(
    model: Model,
    spec: &DetectorSpec,
    scores: &[TrainingScore],
) -> Result<Model, TooFewScores> {
    let values: Vec<f32> = scores.iter().map(|score| score.score).collect();
    let calibration = Calibration::fit_for(spec.threshold, &values);
    let clusters: Option<Vec<i32>> = scores.iter().map(|score| score.cluster).collect();
    let n_clusters = model.learned.clusters().map_or(0, |clusters| clusters.n_clusters());
    let Some(clusters) = clusters.filter(|_| spec.per_cluster && n_clusters > 0) else {
        let threshold = Threshold::fit(spec.threshold, &values)?;
        return Ok(Model { threshold, calibration, ..model });
    };
    let (threshold, calibration_by_cluster) =
        Threshold::fit_by_cluster(spec.threshold, &values, &clusters, n_clusters)?;
    Ok(Model { threshold, calibration, calibration_by_cluster, ..model })
}

/// The model with the threshold of least cost and p-values from these scores, and what is known of their entities.
pub(super) fn with_cost(
    model: Model,
    cost: Cost,
    scores: &[TrainingScore],
    known: &[Option<bool>],
) -> Result<(Model, CostReport), TooFewScores> {
    let values: Vec<f32> = scores.iter().map(|score| score.score).collect();
    let labelled = values.iter().zip(known).filter_map(|(score, label)| Some((*score, (*label)?)));
    let (labelled, is_anomaly): (Vec<f32>, Vec<bool>) = labelled.unzip();
    let (threshold, curve) = Threshold::fit_by_cost(cost, &labelled, &is_anomaly)?;
    let report = CostReport::new(cost, threshold.value, &curve);
    let calibration = Calibration::fit_for(threshold.policy, &values);
    Ok((Model { threshold, calibration, ..model }, report))
}
