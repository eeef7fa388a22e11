//! Flags that take the place of what the pipeline file says, for every detector of the pipeline that has what they set.

use shared::pipeline::{Algorithm, KSelection, Pipeline, Scaling, ThresholdPolicy};

/// What `--elbow` or `--max-k` leaves open when the pipeline file names a fixed k.
const DEFAULT_ELBOW: f64 = 0.7;
const DEFAULT_MAX_K: usize = 20;

/// The values that were given; `None` leaves the pipeline file's.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Overrides {
    /// A fixed number of clusters.
    pub k: Option<usize>,
    /// Largest number of clusters that the elbow rule tries.
    pub max_k: Option<usize>,
    /// The ratio of the elbow rule.
    pub elbow: Option<f64>,
    /// The quantile that is the threshold.
    pub quantile: Option<f64>,
    /// The rank of the score that is the threshold.
    pub top: Option<usize>,
    /// How features are scaled.
    pub scaling: Option<Scaling>,
    /// Restarts.
    pub n_init: Option<usize>,
    /// Most iterations a restart.
    pub max_iter: Option<usize>,
    /// Relative tolerance.
    pub tol: Option<f64>,
}

impl Overrides {
    /// Changes the detectors of `pipeline`.
    pub fn apply(&self, pipeline: &mut Pipeline) {
        for spec in &mut pipeline.detectors {
            spec.threshold = self.threshold(spec.threshold);
            spec.scaling = self.scaling.unwrap_or(spec.scaling);
            let clustering = match &mut spec.algorithm {
                Algorithm::KMeans(it) => (&mut it.k, &mut it.n_init, &mut it.max_iter, &mut it.tol),
                Algorithm::BisectingKMeans(it) => (&mut it.k, &mut it.n_init, &mut it.max_iter, &mut it.tol),
                _ => continue,
            };
            let (k, n_init, max_iter, tol) = clustering;
            *k = self.k_selection(*k);
            *n_init = self.n_init.unwrap_or(*n_init);
            *max_iter = self.max_iter.unwrap_or(*max_iter);
            *tol = self.tol.unwrap_or(*tol);
        }
    }

    fn k_selection(&self, from_file: KSelection) -> KSelection {
        if let Some(k) = self.k {
            return KSelection::Fixed(k);
        }
        if self.elbow.is_none() && self.max_k.is_none() {
            return from_file;
        }
        let (elbow, max) = match from_file {
            KSelection::Elbow { elbow, max } => (elbow, max),
            KSelection::Fixed(_) => (DEFAULT_ELBOW, DEFAULT_MAX_K),
        };
        KSelection::Elbow { elbow: self.elbow.unwrap_or(elbow), max: self.max_k.unwrap_or(max) }
    }

    fn threshold(&self, from_file: ThresholdPolicy) -> ThresholdPolicy {
        let quantile = self.quantile.map(ThresholdPolicy::Quantile);
        quantile.or(self.top.map(ThresholdPolicy::Top)).unwrap_or(from_file)
    }
}

#[cfg(test)]
mod tests {
    use shared::pipeline::DetectorSpec;

    use super::*;

    fn changed(overrides: Overrides) -> Pipeline {
        let mut pipeline = Pipeline::load("invoices").unwrap();
        overrides.apply(&mut pipeline);
        pipeline
    }

    fn k_of(spec: &DetectorSpec) -> (KSelection, usize) {
        match &spec.algorithm {
            Algorithm::KMeans(it) => (it.k, it.n_init),
            Algorithm::BisectingKMeans(it) => (it.k, it.n_init),
            other => panic!("{} has no clusters", other.name()),
        }
    }

    #[test]
    fn without_flags_the_pipeline_file_holds() {
        let file = Pipeline::load("invoices").unwrap();
        for (changed, spec) in changed(Overrides::default()).detectors.iter().zip(&file.detectors) {
            assert_eq!((&changed.algorithm, changed.threshold), (&spec.algorithm, spec.threshold));
            assert_eq!(changed.scaling, spec.scaling);
        }
    }

    #[test]
    fn a_flag_changes_every_detector_and_nothing_else() {
        for spec in changed(Overrides { elbow: Some(0.5), top: Some(9), ..Overrides::default() }).detectors {
            assert_eq!(k_of(&spec), (KSelection::Elbow { elbow: 0.5, max: 20 }, 10));
            assert_eq!(spec.threshold, ThresholdPolicy::Top(9));
        }
        assert!(
            changed(Overrides { k: Some(4), ..Overrides::default() })
                .detectors
                .iter()
                .all(|spec| k_of(spec).0 == KSelection::Fixed(4))
        );
    }

    #[test]
    fn the_elbow_may_take_the_place_of_a_fixed_k() {
        let max = Overrides { max_k: Some(12), ..Overrides::default() };
        assert_eq!(max.k_selection(KSelection::Fixed(3)), KSelection::Elbow { elbow: 0.7, max: 12 });
    }
}
