//! How long a device would take for a job, from what a few calls took.

use serde::{Deserialize, Serialize};

/// What a call costs: something for the call itself, and more the more there is to do.
///
/// Work is counted in rows x features x clusters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Seconds of a call with nothing to do.
    pub fixed_seconds: f64,
    /// Work done in a second.
    pub work_per_second: f64,
}

/// How fast a device is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Speed {
    /// Seconds that come before the first pass of a fit: kernels are compiled.
    pub start_seconds: f64,
    /// A pass over rows that lie on the device, as in a fit.
    pub pass: Cost,
    /// A batch that is brought to the device, and its labels and distances brought back, as in the scorer.
    pub batch: Cost,
}

/// How fast the two devices are that there is a choice of.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// The CPU.
    pub cpu: Speed,
    /// The GPU.
    pub gpu: Speed,
}

/// Something to compute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Job {
    /// A fit: passes over the same rows.
    Fit {
        /// How many passes.
        n_passes: f64,
        /// The work of all of them.
        work: f64,
    },
    /// A batch of rows to score.
    Batch {
        /// How many rows.
        n_samples: usize,
        /// Its work.
        work: f64,
    },
    /// Something that no GPU has kernels for.
    WithoutKernel,
}

impl Job {
    /// A fit of `n_passes` passes over `n_samples` rows, with `n_clusters` in a pass on average.
    pub fn fit(n_samples: usize, n_features: usize, n_clusters: f64, n_passes: f64) -> Self {
        Self::Fit { n_passes, work: n_samples as f64 * n_features as f64 * n_clusters * n_passes }
    }

    /// A batch of `n_samples` rows to be scored against `n_clusters` clusters.
    pub fn batch(n_samples: usize, n_features: usize, n_clusters: usize) -> Self {
        Self::Batch { n_samples, work: n_samples as f64 * n_features as f64 * n_clusters as f64 }
    }

    /// Its work, all passes together; none where a GPU has no kernels for it.
    pub fn work(&self) -> Option<f64> {
        match *self {
            Self::Fit { work, .. } | Self::Batch { work, .. } => Some(work),
            Self::WithoutKernel => None,
        }
    }
}

impl Calibration {
    /// The work of a job like this from which on the GPU is sooner done; none where it never is, or has no kernels.
    pub fn break_even(&self, job: &Job) -> Option<f64> {
        let ((cpu_fixed, cpu_unit), (gpu_fixed, gpu_unit)) = (self.cpu.costs(job)?, self.gpu.costs(job)?);
        let gain = cpu_unit - gpu_unit;
        (gain > 0.0).then(|| ((gpu_fixed - cpu_fixed) / gain).max(0.0))
    }
}

impl Speed {
    /// Seconds that the job would take; no end of them where there are no kernels for it.
    pub fn seconds(&self, job: &Job) -> f64 {
        let (Some((fixed, unit)), Some(work)) = (self.costs(job), job.work()) else { return f64::INFINITY };
        fixed + unit * work
    }

    /// Seconds of a job that do not depend on its work, and seconds for each unit of work.
    ///
    /// A fit is a batch, by which the rows come to the device, and then its passes.
    fn costs(&self, job: &Job) -> Option<(f64, f64)> {
        let (pass, batch) = (&self.pass, &self.batch);
        match *job {
            Job::Fit { n_passes, .. } => {
                let fixed = self.start_seconds + batch.fixed_seconds + n_passes * pass.fixed_seconds;
                let unit = 1.0 / (n_passes.max(1.0) * batch.work_per_second) + 1.0 / pass.work_per_second;
                Some((fixed, unit))
            }
            Job::Batch { .. } => Some((batch.fixed_seconds, 1.0 / batch.work_per_second)),
            Job::WithoutKernel => None,
        }
    }

    /// Whether the numbers are such as a measurement gives.
    pub(super) fn is_sound(&self) -> bool {
        let sound = |cost: &Cost| {
            let rate = cost.work_per_second;
            cost.fixed_seconds.is_finite() && cost.fixed_seconds >= 0.0 && rate.is_finite() && rate > 0.0
        };
        let is_start_sound = self.start_seconds.is_finite() && self.start_seconds >= 0.0;
        is_start_sound && sound(&self.pass) && sound(&self.batch)
    }
}

impl Cost {
    /// The cost that explains two calls: a small one and one with more work, each with its work and its seconds.
    pub(super) fn of_two_calls(small: (f64, f64), large: (f64, f64)) -> Self {
        let more = large.1 - small.1;
        // A device that does more in no more time does nothing but wait: then the large call is the better measure.
        let work_per_second = if more > 0.0 { (large.0 - small.0) / more } else { large.0 / large.1.max(1e-9) };
        let fixed_seconds = (small.1 - small.0 / work_per_second).max(0.0);
        Self { fixed_seconds, work_per_second }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A CPU that starts at once, and a GPU that is a hundred times as fast once it is under way, but far away.
    fn calibration() -> Calibration {
        let cost = |fixed_seconds, work_per_second| Cost { fixed_seconds, work_per_second };
        Calibration {
            cpu: Speed { start_seconds: 0.0, pass: cost(5e-6, 1e10), batch: cost(1e-5, 1e10) },
            gpu: Speed { start_seconds: 0.01, pass: cost(1e-4, 1e12), batch: cost(5e-4, 5e10) },
        }
    }

    fn is_gpu_faster(job: &Job) -> bool {
        calibration().gpu.seconds(job) < calibration().cpu.seconds(job)
    }

    #[test]
    fn a_small_fit_is_faster_on_the_cpu_and_a_large_one_on_the_gpu() {
        assert!(!is_gpu_faster(&Job::fit(12_000, 5, 10.0, 2_000.0)));
        assert!(is_gpu_faster(&Job::fit(10_000_000, 5, 10.0, 2_000.0)));
    }

    #[test]
    fn what_no_gpu_has_kernels_for_never_is_faster_there() {
        assert_eq!(calibration().break_even(&Job::WithoutKernel), None);
        assert!(!is_gpu_faster(&Job::WithoutKernel));
    }

    #[test]
    fn a_fit_and_a_batch_of_the_same_rows_may_go_to_different_devices() {
        assert!(is_gpu_faster(&Job::fit(60_000, 8, 10.0, 100.0)));
        assert!(!is_gpu_faster(&Job::batch(60_000, 8, 10)));
        assert!(is_gpu_faster(&Job::batch(10_000_000, 8, 10)));
    }

    #[test]
    fn a_device_that_only_waits_has_a_cost_too() {
        let cost = Cost::of_two_calls((1e5, 2e-3), (1e7, 1e-3));
        assert!(cost.work_per_second > 0.0 && cost.fixed_seconds >= 0.0, "{cost:?}");
    }

    proptest! {
        #[test]
        fn the_cost_is_found_again_from_two_calls(fixed in 1e-6..1e-2f64, rate in 1e8..1e13f64) {
            let call = |work: f64| (work, fixed + work / rate);
            let cost = Cost::of_two_calls(call(1e6), call(1e8));
            prop_assert!((cost.fixed_seconds - fixed).abs() <= 1e-6 * fixed + 1e-9);
            prop_assert!((cost.work_per_second / rate - 1.0).abs() < 1e-3);
        }
    }
}
