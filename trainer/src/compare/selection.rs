//! Which detectors take part: those of the pipeline as its file has them, and every other with its defaults.

use shared::detectors::{self, Algorithm, AnyLearned, ArrayMut, DefaultDetector};
use shared::device::Device;
use shared::pipeline::{
    DEFAULT_CALIBRATION_SHARE, DEFAULT_THRESHOLD, DetectorSpec, HeldOut, Pipeline, Scaling, ThresholdPolicy,
};

use super::contenders::{Contender, FitContender, ReadyDetector};

/// The detectors that take part, those of the pipeline first.
///
/// # Errors
/// When one that was named is not known.
pub fn contenders(
    pipeline: Option<&Pipeline>,
    named: &[String],
    scaling: Option<Scaling>,
    threshold: Option<ThresholdPolicy>,
) -> anyhow::Result<Vec<Contender>> {
    let own = pipeline.map_or(&[][..], |pipeline| &pipeline.detectors);
    let mut specs: Vec<DetectorSpec> = own.to_vec();
    for spec in &mut specs {
        spec.threshold = threshold.unwrap_or(spec.threshold);
    }
    for mut spec in defaults(scaling, threshold.unwrap_or(DEFAULT_THRESHOLD)) {
        if specs.iter().any(|own| learns_the_same(own, &spec)) {
            continue;
        }
        if specs.iter().any(|own| own.name == spec.name) {
            spec.name.push_str("-default");
        }
        specs.push(spec);
    }
    let known: Vec<String> = specs.iter().map(|spec| spec.name.clone()).collect();
    if let Some(unknown) = named.iter().find(|name| !known.contains(name)) {
        anyhow::bail!("there is no detector `{unknown}` to compare; there are {}", known.join(", "));
    }
    specs.retain(|spec| named.is_empty() || named.contains(&spec.name));
    Ok(specs.into_iter().map(|spec| Contender { fit: fit_of(spec.algorithm.clone()), spec }).collect())
}

/// Every detector with its defaults.
fn defaults(scaling: Option<Scaling>, threshold: ThresholdPolicy) -> Vec<DetectorSpec> {
    let spec = |detector: DefaultDetector| DetectorSpec {
        name: detector.name.to_owned(),
        algorithm: detector.algorithm,
        scaling: scaling.unwrap_or(detector.scaling),
        threshold,
        per_cluster: false,
        calibration: HeldOut::Random,
        calibration_share: DEFAULT_CALIBRATION_SHARE,
        topic: String::new(),
    };
    detectors::defaults().into_iter().map(spec).collect()
}

/// Whether two would learn the same, and report the same.
fn learns_the_same(a: &DetectorSpec, b: &DetectorSpec) -> bool {
    (&a.algorithm, a.scaling, a.threshold, a.per_cluster) == (&b.algorithm, b.scaling, b.threshold, b.per_cluster)
}

fn fit_of(algorithm: Algorithm) -> FitContender {
    Box::new(move |rows, context| Ok(ready(algorithm.fit(rows, context)?, context.device)))
}

/// What was learned, on a device; only how large it is stays of the rest.
fn ready(mut learned: AnyLearned, device: &Device) -> ReadyDetector {
    let detector = learned.on_device(device);
    let n_clusters = learned.clusters().map(|clusters| clusters.n_clusters());
    let of_arrays: usize = learned
        .arrays()
        .into_iter()
        .map(|(_, array)| match array {
            ArrayMut::F32(array) => 4 * array.take().len(),
            ArrayMut::I32(array) => 4 * array.take().len(),
        })
        .sum();
    // What is not in arrays is text in a model file.
    let of_text = serde_json::to_vec(&learned).map_or(0, |text| text.len());
    ReadyDetector { bytes: (of_arrays + of_text) as u64, n_clusters, detector }
}
