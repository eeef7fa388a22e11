//! Models that another program trained.

use detectors::scaler::Scaling;
use serde::{Deserialize, Serialize};

use super::Model;

/// Where a model comes from that another program trained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Imported {
    /// The program: `spark`.
    pub program: String,
    /// What that program calls it: `org.apache.spark.mllib.clustering.KMeansModel`.
    pub class: String,
    /// The version of the format of its files or, where these name that, of the program.
    pub version: String,
    /// SHA-256 of the list of its files, the threshold's among them, each with its own SHA-256.
    pub fingerprint: String,
}

/// Checks that what is computed in float64, if anything, is what the rest of the model says.
pub(super) fn check_exact(model: &Model) -> Result<(), String> {
    let Some(clusters) = model.learned.clusters() else { return Ok(()) };
    let Some(exact) = &clusters.exact else { return Ok(()) };
    if model.threshold.value != exact.threshold as f32 || !model.threshold.by_cluster.is_empty() {
        return Err("its exact threshold is not its threshold".into());
    }
    let centers = clusters.partition.centers();
    let is_same = |(center, exact): (&&[f32], &Vec<f64>)| model.scaler.transform_row(exact).eq(center.iter().copied());
    if model.scaler.method == Scaling::None && centers.iter().zip(&exact.centers).all(is_same) {
        Ok(())
    } else {
        Err("its exact centres are not its centres".into())
    }
}
