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

    /// What it is called.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Fit { .. } => "this fit".to_owned(),
            Self::Batch { n_samples, .. } => format!("a batch of {n_samples}"),
        }
    }
}

impl Speed {
    /// Seconds that the job would take.
    pub fn seconds(&self, job: &Job) -> f64 {
        match *job {
            Job::Fit { n_passes, work } => n_passes * self.pass.fixed_seconds + work / self.pass.work_per_second,
            Job::Batch { work, .. } => self.batch.fixed_seconds + work / self.batch.work_per_second,
        }
    }

    /// Whether the numbers are such as a measurement gives.
    pub(super) fn is_sound(&self) -> bool {
        let sound = |cost: &Cost| {
            let rate = cost.work_per_second;
            cost.fixed_seconds.is_finite() && cost.fixed_seconds >= 0.0 && rate.is_finite() && rate > 0.0
        };
        sound(&self.pass) && sound(&self.batch)
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

/// Seconds as people read them.
pub(super) fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds >= 100.0 => format!("{seconds:.0} s"),
        seconds if seconds >= 0.1 => format!("{seconds:.1} s"),
        seconds if seconds >= 1e-3 => format!("{:.1} ms", seconds * 1e3),
        seconds => format!("{:.3} ms", seconds * 1e3),
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
            cpu: Speed { pass: cost(5e-6, 1e10), batch: cost(1e-5, 1e10) },
            gpu: Speed { pass: cost(1e-4, 1e12), batch: cost(5e-4, 5e10) },
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
    fn a_fit_and_a_batch_of_the_same_rows_may_go_to_different_devices() {
        assert!(is_gpu_faster(&Job::fit(60_000, 8, 10.0, 100.0)));
        assert!(!is_gpu_faster(&Job::batch(60_000, 8, 10)));
        assert!(is_gpu_faster(&Job::batch(10_000_000, 8, 10)));
    }

    #[test]
    fn durations_are_short() {
        let shown = [123.4, 1.25, 0.25, 0.0123, 0.000_012].map(duration);
        assert_eq!(shown, ["123 s", "1.2 s", "0.2 s", "12.3 ms", "0.012 ms"]);
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
