//! From clusters and a threshold to a model of a pipeline.

use anyhow::{anyhow, bail};
use shared::detectors::clusters::{BisectingKMeans, Cluster, Clusters, Correction, Distance, Exact, KMeans, Partition};
use shared::detectors::{Algorithm, AnyLearned};
use shared::evaluation::statistics::place;
use shared::kmeans::{BisectingTree, TreeNode};
use shared::model::{FORMAT_VERSION, Imported, Model, TrainingSummary};
use shared::pipeline::{DetectorSpec, KSelection, Pipeline, Scaling};
use shared::scaler::Scaler;
use shared::threshold::{Calibration, Threshold};

use super::spark::{SparkClusters, SparkModel};

/// What a model is made of.
#[derive(Debug)]
pub(super) struct Source {
    /// The clusters.
    pub found: SparkModel,
    /// What is compared with the threshold.
    pub distance: Distance,
    /// The threshold.
    pub threshold: f64,
    /// SHA-256 of all files.
    pub fingerprint: String,
}

impl Source {
    /// The model for a detector of a pipeline.
    ///
    /// # Errors
    /// When the pipeline has other features, or the model could not be used.
    pub(super) fn model(self, pipeline: &Pipeline, spec: &DetectorSpec) -> anyhow::Result<Model> {
        let (n_features, expected) = (self.found.clusters.n_features(), pipeline.n_features());
        if n_features != expected {
            bail!(
                "its centres have {n_features} features and pipeline `{}` has {expected}: {}; the job must have computed these, \
                 in this order",
                pipeline.name,
                pipeline.feature_names().join(", ")
            );
        }
        let typical = typical(&self.found.clusters);
        // What is scaled is for explanations: it is centred, so that float32 keeps the digits that matter.
        let scaler = Scaler {
            method: Scaling::None,
            center: typical.clone(),
            scale: vec![1.0; n_features],
            symlog: None,
            quantiles: None,
        };
        let learned = self.learned(&scaler);
        let threshold = Threshold { policy: spec.threshold, value: self.threshold as f32, by_cluster: Vec::new() };
        let SparkModel { class, version, .. } = self.found;
        let model = Model {
            format_version: FORMAT_VERSION,
            pipeline: pipeline.name.clone(),
            detector: spec.name.clone(),
            parameters: parameters(&spec.algorithm, learned.n_clusters()),
            promoted: false,
            imported: Some(Imported { program: "spark".into(), class, version, fingerprint: self.fingerprint }),
            features: pipeline.feature_names(),
            definition: Some(pipeline.meaning.clone()),
            scaler,
            typical,
            usual: Vec::new(),
            learned: match &spec.algorithm {
                Algorithm::BisectingKMeans(_) => AnyLearned::BisectingKMeans(learned),
                _ => AnyLearned::KMeans(learned),
            },
            weights: None,
            profile: None,
            threshold,
            calibration: Calibration::fit(&[]),
            calibration_by_cluster: Vec::new(),
            training: TrainingSummary {
                rows: 0,
                held_out: 0,
                seed: 0,
                device: "spark".into(),
                anomalies: 0,
                data_fingerprint: String::new(),
            },
        };
        model.check().map_err(|problem| anyhow!(problem))?;
        Ok(model)
    }

    fn learned(&self, scaler: &Scaler) -> Clusters {
        let scaled = |center: &[f64]| scaler.transform_row(center).collect::<Vec<f32>>();
        let (partition, centers) = match &self.found.clusters {
            SparkClusters::Centers(centers) => {
                // Spark does not store how many rows a cluster has.
                let cluster = |center: &Vec<f64>| Cluster { center: scaled(center), size: 0 };
                (Partition::Centroids(centers.iter().map(cluster).collect()), centers.clone())
            }
            SparkClusters::Tree(nodes) => {
                let tree = nodes.iter().map(|node| TreeNode {
                    center: scaled(&node.center),
                    size: node.size,
                    inertia: node.cost,
                    children: node.children,
                });
                let centers = nodes.iter().map(|node| node.center.clone()).collect();
                (Partition::Tree(BisectingTree { nodes: tree.collect() }), centers)
            }
        };
        let exact = Exact { centers, distance: self.distance, threshold: self.threshold };
        Clusters { partition, inertia_by_k: Vec::new(), corrected: None, exact: Some(exact) }
    }
}

/// A value of each feature that is normal, as far as the clusters tell: the mean of all rows, where that is known, or else the
/// median of the centres.
fn typical(clusters: &SparkClusters) -> Vec<f64> {
    match clusters {
        SparkClusters::Tree(nodes) => nodes.first().map(|root| root.center.clone()).unwrap_or_default(),
        SparkClusters::Centers(centers) => {
            let middle = |index: usize| {
                let mut values: Vec<f64> = centers.iter().map(|center| center[index]).collect();
                let middle = (values.len() - 1) / 2;
                place(&mut values, &[middle], f64::total_cmp);
                values[middle]
            };
            (0..clusters.n_features()).map(middle).collect()
        }
    }
}

/// What the pipeline file asks for, as far as it is true of the model: Spark's number of clusters, and nothing corrected.
fn parameters(algorithm: &Algorithm, n_clusters: usize) -> Algorithm {
    let (k, correction, min_share) = (KSelection::Fixed(n_clusters), Correction::None, None);
    match algorithm {
        Algorithm::KMeans(parameters) => Algorithm::KMeans(KMeans { k, correction, min_share, ..parameters.clone() }),
        Algorithm::BisectingKMeans(parameters) => {
            Algorithm::BisectingKMeans(BisectingKMeans { k, correction, min_share, ..parameters.clone() })
        }
        other => other.clone(),
    }
}
