//! Which detectors take part: those of the pipeline as its file has them, and every other with its defaults.

use shared::detectors::{self, DefaultDetector};
use shared::pipeline::{
    DEFAULT_CALIBRATION_SHARE, DEFAULT_THRESHOLD, DetectorSpec, HeldOut, Pipeline, Scaling, ThresholdPolicy,
};

use super::contenders::{Contender, contender};
use super::search;

/// The detectors that take part, those of the pipeline first, and other settings of each after them where these are searched.
///
/// # Errors
/// When one that was named is not known.
pub fn contenders(
    pipeline: Option<&Pipeline>,
    named: &[String],
    scaling: Option<Scaling>,
    threshold: Option<ThresholdPolicy>,
    is_search: bool,
) -> anyhow::Result<Vec<Contender>> {
    let own = pipeline.map_or(&[][..], |pipeline| &pipeline.detectors);
    let mut specs: Vec<DetectorSpec> = own.to_vec();
    for spec in &mut specs {
        // Labels are for judging here, so no threshold is chosen by them.
        let own = if spec.threshold.needs_labels() { DEFAULT_THRESHOLD } else { spec.threshold };
        spec.threshold = threshold.unwrap_or(own);
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
    let mut contenders: Vec<Contender> = specs.into_iter().map(contender).collect();
    if is_search {
        contenders.extend(search::variants(&contenders));
    }
    Ok(contenders)
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
