//! How much memory a fit takes, beside the matrix itself.

use std::fs;

use burn::tensor::Device;
use clustering::kmeans::{KMeansParams, Points, fit_from};

use crate::data::{first_rows, overlapping};
use crate::{Failure, Options};

/// Most memory that a fit may take, in sizes of the matrix.
const AT_MOST: f64 = 1.5;

/// Fits a matrix that was made where it lies, and prints the largest resident memory until then.
pub fn run(options: &Options, device: &Device) -> Result<bool, Failure> {
    let Options { n_samples, n_features, n_clusters, max_iter, seed, .. } = *options;
    let matrix = overlapping(n_samples, n_features, seed);
    let matrix_bytes = size_of_val(matrix.values()) as f64;
    let start = first_rows(&matrix, n_clusters);
    let before = peak_bytes()?;
    let points = Points::new(matrix, n_clusters, device)?;
    let params = KMeansParams { n_init: 1, max_iter, tol: 0.0, seed, max_state_bytes: None };
    let (fit, _labels) = fit_from(&points, start, &params)?;
    let (peak, mebibyte) = (peak_bytes()?, f64::from(1 << 20));
    println!("{n_samples} rows of {n_features} features, {n_clusters} clusters, {} iterations", fit.n_iter);
    println!(
        "matrix={:.0} MiB before={:.0} MiB peak={:.0} MiB ratio={:.2}",
        matrix_bytes / mebibyte,
        before / mebibyte,
        peak / mebibyte,
        peak / matrix_bytes
    );
    Ok(peak <= AT_MOST * matrix_bytes)
}

/// The largest resident memory that this process has had, as Linux tells it.
fn peak_bytes() -> Result<f64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let kibibytes =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB")?.trim().parse().ok());
    let kibibytes: f64 = kibibytes.ok_or("/proc/self/status does not tell VmHWM")?;
    Ok(kibibytes * 1024.0)
}
