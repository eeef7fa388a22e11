//! The detectors that are compared.

use shared::detectors::{Algorithm, AnyLearned, ArrayMut, Context, FitError, Score};
use shared::device::Device;
use shared::matrix::Matrix;
use shared::pipeline::DetectorSpec;

/// Learns from scaled rows.
pub type FitContender = Box<dyn Fn(&Matrix, &Context<'_>) -> Result<ReadyDetector, FitError> + Send + Sync>;

/// A detector that takes part.
pub struct Contender {
    /// What it is called, how features are scaled for it and how its threshold is set.
    pub spec: DetectorSpec,
    /// How it learns.
    pub fit: FitContender,
    /// The detector that this is with other settings, where a search made it.
    pub variant_of: Option<String>,
}

/// What was learned, ready to score.
pub struct ReadyDetector {
    /// Bytes of what was learned, as a model file holds it.
    pub bytes: u64,
    /// How many clusters there are, where the detector looks for some.
    pub n_clusters: Option<usize>,
    /// The detector.
    pub detector: Box<dyn Score>,
}

/// A detector with these settings.
pub(super) fn contender(spec: DetectorSpec) -> Contender {
    Contender { fit: fit_of(spec.algorithm.clone()), spec, variant_of: None }
}

fn fit_of(algorithm: Algorithm) -> FitContender {
    if algorithm.needs_labels() {
        let why = "it learns from labels, which this comparison keeps for judging: --prequential takes it along";
        return Box::new(move |_, _| Err(FitError::Numeric(why.to_owned())));
    }
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
