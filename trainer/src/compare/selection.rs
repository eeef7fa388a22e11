//! Which detectors take part: those of the pipeline as its file has them, and every other with its defaults.

use shared::detectors::{Context, FitError, Score, Scores};
use shared::device::Device;
use shared::kmeans::{self, KMeansParams, Points, elbow, fit_sweep, fit_tree};
use shared::matrix::Matrix;
use shared::pipeline::{Algorithm, DetectorSpec, KSelection, Pipeline, Scaling, ThresholdPolicy};

use super::contenders::{Contender, FitContender, Fitted};

/// The detectors that take part, those of the pipeline first.
///
/// # Errors
/// When one that was named is not known.
pub fn contenders(
    pipeline: Option<&Pipeline>,
    named: &[String],
    scaling: Scaling,
    threshold: Option<ThresholdPolicy>,
) -> anyhow::Result<Vec<Contender>> {
    let own = pipeline.map_or(&[][..], |pipeline| &pipeline.detectors);
    let mut specs: Vec<DetectorSpec> = own.to_vec();
    for spec in &mut specs {
        spec.threshold = threshold.unwrap_or(spec.threshold);
    }
    for mut spec in defaults(scaling, threshold.unwrap_or(ThresholdPolicy::Quantile(0.99))) {
        if specs.iter().any(|own| is_same(own, &spec)) {
            continue;
        }
        if specs.iter().any(|own| own.name == spec.name) {
            spec.name.push_str("-default");
        }
        specs.push(spec);
    }
    let known: Vec<String> = specs.iter().map(|spec| spec.name.clone()).collect();
    if let Some(unknown) = named.iter().find(|name| !known.contains(name)) {
        anyhow::bail!("there is no detector `{unknown}`; there are {}", known.join(", "));
    }
    specs.retain(|spec| named.is_empty() || named.contains(&spec.name));
    Ok(specs.into_iter().map(|spec| Contender { fit: fit_of(&spec), spec }).collect())
}

/// Every algorithm with its defaults.
fn defaults(scaling: Scaling, threshold: ThresholdPolicy) -> Vec<DetectorSpec> {
    let spec = |name: &str, algorithm| DetectorSpec {
        name: name.to_owned(),
        algorithm,
        scaling,
        k: KSelection::Elbow { elbow: 0.7, max: 20 },
        threshold,
        topic: String::new(),
        n_init: 10,
        max_iter: 300,
        tol: 1e-4,
    };
    vec![spec("kmeans", Algorithm::KMeans), spec("bisecting-kmeans", Algorithm::BisectingKmeans)]
}

/// Whether two would learn the same.
fn is_same(a: &DetectorSpec, b: &DetectorSpec) -> bool {
    (a.algorithm, a.scaling, a.k, a.n_init, a.max_iter) == (b.algorithm, b.scaling, b.k, b.n_init, b.max_iter)
        && a.tol == b.tol
        && a.name == b.name
}

fn fit_of(spec: &DetectorSpec) -> FitContender {
    let spec = spec.clone();
    Box::new(move |rows, context| fit_clusters(&spec, rows, context))
}

#[derive(Debug)]
struct Nearest {
    centroids: Matrix,
    device: Device,
}

impl Score for Nearest {
    fn score(&self, x: &Matrix) -> Scores {
        let (_, distances) = kmeans::predict(&x.to_tensor(&self.device), &self.centroids.to_tensor(&self.device));
        Scores::new(distances)
    }
}

fn fit_clusters(spec: &DetectorSpec, rows: &Matrix, context: &Context<'_>) -> Result<Fitted, FitError> {
    let max_k = spec.k.largest().min(rows.n_samples());
    let points = Points::new(rows.clone(), max_k, context.device)?;
    let params = KMeansParams {
        n_init: spec.n_init,
        max_iter: spec.max_iter,
        tol: spec.tol,
        seed: context.seed,
        max_state_bytes: context.max_state_bytes,
    };
    let centroids = match spec.algorithm {
        Algorithm::KMeans => {
            let mut fits = fit_sweep(&points, max_k, &params, context.on_step)?;
            let inertia: Vec<f64> = fits.iter().map(|fit| fit.inertia).collect();
            let k = match spec.k {
                KSelection::Fixed(k) => k.min(max_k),
                KSelection::Elbow { elbow: ratio, .. } => elbow(&inertia, ratio),
            };
            fits.swap_remove(k - 1).centroids
        }
        Algorithm::BisectingKmeans => fit_tree(&points, max_k, &params, context.on_step)?.centers(),
    };
    let bytes = size_of_val(centroids.values()) as u64;
    Ok(Fitted { bytes, detector: Box::new(Nearest { centroids, device: context.device.clone() }) })
}
