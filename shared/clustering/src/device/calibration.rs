//! How fast a GPU and the CPU are on this machine: measured once, then remembered.
//!
//! This is the one place of this crate that reads a clock, and what it reads decides only where something is computed.

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::predict::{Calibration, Cost, Speed};
use super::{ChosenDevice, DeviceError, guarded};
use crate::matrix::Matrix;
use crate::ops;
use whole_files::write_atomically;

/// Rows of the two calls that are measured: one that costs little more than any call, and one that keeps a device busy.
const ROWS: [usize; 2] = [4_096, 262_144];
const N_FEATURES: usize = 8;
const N_CLUSTERS: usize = 16;

/// A call is measured so often, and the fastest counts: whatever disturbs it makes it slower.
const REPEATS: usize = 3;

/// Seconds from which on a call is measured once: the device is slow, and that is all there is to know.
const SLOW: f64 = 0.5;

/// What the file of a calibration says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remembered {
    program_version: String,
    device: String,
    cpu_threads: usize,
    calibration: Calibration,
}

/// Where calibrations are remembered: `$XDG_CACHE_HOME/atalaya`, or else `~/.cache/atalaya`.
pub fn cache_folder() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    Some(folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")))?.join("atalaya"))
}

/// What is remembered of `gpu` in the folder `cache`, or what is measured now and remembered from now on.
///
/// A file that is damaged, or of another version of the program, or of another number of threads, is measured anew. One
/// that cannot be written is done without.
///
/// # Errors
/// [`DeviceError::Lost`] when the GPU fails.
pub(super) fn calibrate(gpu: &ChosenDevice, cache: Option<&Path>) -> Result<Calibration, DeviceError> {
    let file = cache.map(|folder| folder.join(file_name(&gpu.name)));
    if let Some(calibration) = file.as_deref().and_then(|file| remembered(file, &gpu.name)) {
        return Ok(calibration);
    }
    let on_gpu = guarded(gpu, || measure(&gpu.device))?;
    let calibration = Calibration { cpu: measure(&Device::flex()), gpu: on_gpu };
    if let Some(file) = file {
        // The next run measures again.
        let _ = remember(&file, &gpu.name, calibration);
    }
    Ok(calibration)
}

fn file_name(device: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    format!("speed-of-{}.json", device.chars().map(plain).collect::<String>())
}

fn remembered(file: &Path, device: &str) -> Option<Calibration> {
    let found: Remembered = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
    let is_ours = found.program_version == env!("CARGO_PKG_VERSION")
        && found.device == device
        && found.cpu_threads == rayon::current_num_threads();
    let is_sound = found.calibration.cpu.is_sound() && found.calibration.gpu.is_sound();
    (is_ours && is_sound).then_some(found.calibration)
}

fn remember(file: &Path, device: &str, calibration: Calibration) -> std::io::Result<()> {
    let remembered = Remembered {
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        device: device.to_owned(),
        cpu_threads: rayon::current_num_threads(),
        calibration,
    };
    write_atomically(file, &serde_json::to_vec_pretty(&remembered)?)
}

/// Measures a device.
fn measure(device: &Device) -> Speed {
    let [small, large] = ROWS.map(|n_samples| measure_calls(device, n_samples));
    Speed {
        start_seconds: small.start + large.start,
        pass: Cost::of_two_calls((small.work, small.pass), (large.work, large.pass)),
        batch: Cost::of_two_calls((small.work, small.batch), (large.work, large.batch)),
    }
}

/// What calls with so many rows take.
struct Calls {
    work: f64,
    /// Seconds of the first pass beyond those of the others: its kernels are compiled.
    start: f64,
    /// Seconds of a pass.
    pass: f64,
    /// Seconds of a batch.
    batch: f64,
}

fn measure_calls(device: &Device, n_samples: usize) -> Calls {
    let rows = points(n_samples);
    let centroids = points(N_CLUSTERS).to_tensor(device); // (n_clusters, n_features)
    let x = rows.to_tensor(device); // (n_samples, n_features)
    let mut one_pass = || {
        black_box(ops::assign_and_accumulate(&x, &centroids).inertia);
    };
    let first = seconds_of(&mut one_pass);
    let pass = fastest(one_pass);
    let batch = fastest(|| {
        let result = ops::assign_and_accumulate(&rows.to_tensor(device), &centroids);
        black_box((result.labels.into_data(), result.squared_distances.into_data()));
    });
    let start = (first - pass).max(0.0);
    Calls { work: (n_samples * N_FEATURES * N_CLUSTERS) as f64, start, pass, batch }
}

/// Seconds of the fastest of several calls, after one that makes ready: kernels are compiled, memory is taken.
pub(super) fn fastest(mut call: impl FnMut()) -> f64 {
    call();
    let mut best = f64::INFINITY;
    for _ in 0..REPEATS {
        best = best.min(seconds_of(&mut call));
        if best > SLOW {
            break;
        }
    }
    best
}

fn seconds_of(call: &mut impl FnMut()) -> f64 {
    let start = Instant::now();
    call();
    start.elapsed().as_secs_f64()
}

/// Rows that are spread out, the same every time: `(n_samples, n_features)`.
pub(super) fn points(n_samples: usize) -> Matrix {
    let value = |index: usize| ((index as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32;
    Matrix::from_values(N_FEATURES, (0..n_samples * N_FEATURES).map(value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Devices, Job, choose_by_name};

    const COST: Cost = Cost { fixed_seconds: 1e-4, work_per_second: 1e12 };
    const SPEED: Speed = Speed { start_seconds: 0.0, pass: COST, batch: COST };

    #[test]
    fn what_was_measured_is_remembered_of_this_device_and_program_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(file_name("Some GPU/2"));
        assert!(file.ends_with("speed-of-some-gpu-2.json"));
        assert_eq!(remembered(&file, "Some GPU/2"), None);
        let calibration = Calibration { cpu: SPEED, gpu: SPEED };
        remember(&file, "Some GPU/2", calibration).unwrap();
        assert_eq!(remembered(&file, "Some GPU/2"), Some(calibration));
        assert_eq!(remembered(&file, "Some GPU 2"), None, "another device whose file has the same name");
        let text = fs::read_to_string(&file).unwrap();
        for (from, to) in [
            (env!("CARGO_PKG_VERSION"), "0.0.0-other"),
            ("cpu_threads\": ", "cpu_threads\": 9"),
            ("1000000000000.0", "-1.0"),
            ("start_seconds\": 0.0", "start_seconds\": -0.5"),
            ("\n}", ""),
            ("{", "x"),
        ] {
            assert!(text.contains(from), "{from}");
            fs::write(&file, text.replace(from, to)).unwrap();
            assert_eq!(remembered(&file, "Some GPU/2"), None, "with {to}");
        }
    }

    #[test]
    fn the_cpu_can_be_measured() {
        let speed = measure(&Device::flex());
        assert!(speed.is_sound(), "{speed:?}");
    }

    /// Where there is no GPU, the software adapter stands in for it.
    #[test]
    fn a_gpu_is_taken_above_its_break_even_and_says_so() {
        let Some(software) = requirements::gpu(choose_by_name) else { return };
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path();
        let devices = Devices::measured(software.clone(), Some(cache));
        let Devices::Measured { calibration, .. } = &devices else { panic!("{devices:?}") };
        assert_eq!(calibrate(&software, Some(cache)).as_ref(), Ok(calibration), "it was remembered");
        let chosen = devices.for_job(&Job::batch(10, 8, 16));
        assert!(chosen.is_cpu(), "{chosen}");
        assert!(chosen.reason.contains(&software.name) && chosen.reason.ends_with(" threads"), "{chosen}");
        let slow_cpu = Speed { pass: Cost { fixed_seconds: 1e3, work_per_second: 1.0 }, ..SPEED };
        let calibration = Calibration { cpu: slow_cpu, gpu: SPEED };
        let devices = Devices::Measured { gpu: software.clone(), calibration };
        let chosen = devices.for_job(&Job::fit(1000, 8, 16.0, 10.0));
        assert_eq!(chosen.name, software.name);
        assert!(chosen.reason.contains("above the break-even"), "{chosen}");
    }
}
