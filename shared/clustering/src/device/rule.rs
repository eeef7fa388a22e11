//! When `auto` takes a GPU.

use super::predict::{Calibration, Job};

/// The rule, in one line, as help and documents say it.
pub const AUTO_RULE: &str = "`auto` takes a GPU if it is discrete, has kernels for the work, and rows x features x \
    clusters x rounds are above a break-even that is measured once; else the CPU";

/// What the measure of work is called.
const WORK: &str = "rows x features x clusters x rounds";

/// Whether the GPU is taken for a job, and why.
#[derive(Debug, PartialEq)]
pub(super) struct Decision {
    /// Whether it is; else the CPU.
    pub takes_gpu: bool,
    /// Why.
    pub reason: String,
}

/// Decides between the CPU and the discrete GPU called `gpu`.
pub(super) fn decide(job: &Job, gpu: &str, calibration: &Calibration) -> Decision {
    let on_cpu = |reason: String| Decision { takes_gpu: false, reason };
    let Some(work) = job.work() else { return on_cpu(format!("no detector here has kernels for {gpu}")) };
    let Some(break_even) = calibration.break_even(job) else {
        return on_cpu(format!("{gpu} is no faster, however much there is to do"));
    };
    if work > break_even {
        let reason = format!("{WORK} are {work:.1e}, above the break-even of {break_even:.1e}");
        return Decision { takes_gpu: true, reason };
    }
    on_cpu(format!("{WORK} are {work:.1e}, not above the break-even of {gpu}, {break_even:.1e}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::predict::{Cost, Speed};
    use super::*;

    /// An NVIDIA H100 and the 16 threads beside it: passes over 1M and 10M rows x 8 x 20, and the calls around them.
    fn h100() -> Calibration {
        let (million, ten_millions) = (1.6e8, 1.6e9);
        let cpu = Cost::of_two_calls((million, 1.15e-3), (ten_millions, 17.3e-3));
        let gpu = Speed {
            start_seconds: 2.5,
            pass: Cost::of_two_calls((million, 0.75e-3), (ten_millions, 1.7e-3)),
            batch: Cost::of_two_calls((million, 4.7e-3), (ten_millions, 50.7e-3)),
        };
        Calibration { cpu: Speed { start_seconds: 0.0, pass: cpu, batch: cpu }, gpu }
    }

    fn fit(n_samples: usize, n_features: usize, n_clusters: f64, n_rounds: f64) -> Job {
        Job::fit(n_samples, n_features, n_clusters, n_rounds)
    }

    /// What was measured there says who is sooner done, a first call with its kernels to compile included.
    #[test]
    fn the_rule_gives_what_was_measured() {
        let table = [
            // 12,030 invoices: 0.09 s on the CPU, 0.93 s on the GPU.
            (fit(12_030, 2, 10.5, 15.0 * 10.0 * 20.0), false),
            // One call of 20 rounds: 0.35 s on the CPU; on the GPU the kernels alone take longer.
            (fit(10_000_000, 8, 20.0, 20.0), false),
            // Ten restarts of every k up to 20.
            (fit(10_000_000, 8, 10.5, 15.0 * 10.0 * 20.0), true),
            (fit(100_000_000, 8, 10.5, 15.0 * 10.0 * 20.0), true),
            // 104 and 53 ms a round on the CPU, 14 and 3 ms on the GPU: worth its start where there are many.
            (fit(10_000_000, 30, 100.0, 1000.0), true),
            (fit(1_000_000, 64, 256.0, 1000.0), true),
            // Rows on their way to the GPU and labels on their way back.
            (Job::batch(2_048, 8, 20), false),
            (Job::batch(1_000_000, 8, 20), false),
            (Job::WithoutKernel, false),
        ];
        for (job, expected) in table {
            let decision = decide(&job, "H100", &h100());
            assert_eq!(decision.takes_gpu, expected, "{job:?}: {decision:?}");
        }
    }

    #[test]
    fn the_reason_tells_the_work_and_the_break_even() {
        let reason = |job: Job| decide(&job, "H100", &h100()).reason;
        let large = reason(fit(100_000_000, 8, 10.0, 3000.0));
        assert!(
            large.starts_with("rows x features x clusters x rounds are 2.4e13, above the break-even of "),
            "{large}"
        );
        let small = reason(fit(1000, 8, 10.0, 30.0));
        assert!(small.starts_with("rows x features x clusters x rounds are 2.4e6, not above the break-even of H100, "));
        assert_eq!(reason(Job::WithoutKernel), "no detector here has kernels for H100");
        let slow = Calibration { gpu: h100().cpu, ..h100() };
        let never = decide(&fit(1000, 8, 10.0, 30.0), "a slow GPU", &slow);
        assert_eq!(never.reason, "a slow GPU is no faster, however much there is to do");
    }

    proptest! {
        /// The break-even is where both are predicted to take as long.
        #[test]
        fn the_gpu_is_taken_where_it_is_sooner_done(
            n in 1usize..100_000_000, k in 1.0..300f64, rounds in 1.0..3000f64, is_batch: bool
        ) {
            let job = if is_batch { Job::batch(n, 8, k as usize) } else { fit(n, 8, k, rounds) };
            let (cpu, gpu) = (h100().cpu.seconds(&job), h100().gpu.seconds(&job));
            // Where both are the same but for rounding, either is right.
            prop_assume!((cpu - gpu).abs() > 1e-9 * cpu.max(gpu));
            prop_assert_eq!(decide(&job, "H100", &h100()).takes_gpu, gpu < cpu);
        }
    }
}
