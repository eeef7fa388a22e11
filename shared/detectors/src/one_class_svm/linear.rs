//! The linear one-class machine in random Fourier features, by tensor arithmetic.
//!
//! Its dual is the shortest vector `w = Σ αᵢ zᵢ` with `0 <= αᵢ <= 1 / (ν n)` and `Σ αᵢ = 1`. Some `δ ν n |α|² / 2` is
//! added, which rounds the corner of the hinge at ρ (Nesterov, "Smooth minimization of non-smooth functions", 2005):
//! for a w, the best α are `clamp((ρ - w zᵢ) / δ, 0, 1) / (ν n)` with the ρ that makes them add up to 1, and the
//! gradient by w is `w - Σ αᵢ zᵢ`. The objective is smooth and strongly convex, so accelerated descent comes within
//! `|gradient|` of the solution, whatever the order of rows.

use burn::tensor::{Device, Tensor};
use clustering::matrix::{Matrix, host_values};
use clustering::sample::stratified;

use super::{FourierMachine, OneClassSvm, fourier};
use crate::random::Stream;
use crate::{Array, Context};

/// Most rows that are trained with: a quantile of so many is within a quarter of a percent of that of all.
const MAX_ROWS: usize = 1 << 15;

/// Rows of a tensor: what a GPU can bind at once is limited.
const BLOCK: usize = 8192;

/// Most values of all tensors; with more features of a row there are fewer rows.
const MAX_VALUES: usize = 1 << 26;

/// The width of the hinge's corner, as a share of the length of the mean of all rows.
const CORNER: f64 = 0.02;

/// Steps that find the largest eigenvalue.
const POWER_STEPS: usize = 8;

/// What the eigenvalue may be larger than was found.
const MARGIN: f64 = 1.25;

/// Most steps.
const MAX_STEPS: usize = 1000;

/// Trains on a sample of the rows.
pub(super) fn fit(x: &Matrix, params: &OneClassSvm, gamma: f32, context: &Context<'_>) -> FourierMachine {
    let (p, k) = (x.n_features(), params.n_components);
    let frequencies = fourier::frequencies(p, k, gamma, context.seed);
    let n_rows = MAX_ROWS.min(MAX_VALUES / (2 * k));
    let indices = stratified(x.n_samples(), n_rows, &mut Stream::MachineRows.of(context.seed));
    let rows = FourierRows::new(x, &indices, &Matrix::from_values(k, frequencies.clone()), context.device);
    let (weights, rho) = shortest(&rows, params.nu, params.tol);
    machine(&weights, rho, Array::new([p, k], frequencies))
}

/// `c cos(t) + s sin(t)` is one cosine with an amplitude and a phase.
fn machine(weights: &[f64], rho: f64, frequencies: Array<f32>) -> FourierMachine {
    let n_components = weights.len() / 2;
    let scale = (n_components as f64).sqrt();
    let pairs = || (0..n_components).map(|index| (weights[index] / scale, weights[n_components + index] / scale));
    let amplitudes: Vec<f32> = pairs().map(|(cosine, sine)| cosine.hypot(sine) as f32).collect();
    let phases: Vec<f32> =
        pairs().map(|(cosine, sine)| (-sine.atan2(cosine) / (2.0 * std::f64::consts::PI)) as f32).collect();
    FourierMachine {
        frequencies,
        phases: Array::new([n_components], phases),
        amplitudes: Array::new([n_components], amplitudes),
        rho: rho as f32,
    }
}

/// Features of rows on a device.
struct FourierRows {
    /// Each `(BLOCK, 2 n_components)`, the last one with what rows are left: cosines, then sines, all divided by the
    /// root of `n_components`, so that a row has length 1.
    blocks: Vec<Tensor<2>>,
    n_rows: usize,
    width: usize,
    device: Device,
}

impl FourierRows {
    fn new(x: &Matrix, indices: &[usize], frequencies: &Matrix, device: &Device) -> Self {
        let k = frequencies.n_features();
        let frequencies = frequencies.to_tensor(device); // (n_features, n_components)
        let block = |indices: &[usize]| {
            let values: Vec<f32> = indices.iter().flat_map(|&index| x.row(index).iter().copied()).collect();
            let phase_in_turns =
                Matrix::from_values(x.n_features(), values).into_tensor(device).matmul(frequencies.clone());
            // The part of a turn: cosines of large angles are not exact on every GPU.
            let angles = (phase_in_turns.clone() - phase_in_turns.round()).mul_scalar(2.0 * std::f32::consts::PI);
            Tensor::cat(vec![angles.clone().cos(), angles.sin()], 1).mul_scalar(1.0 / (k as f32).sqrt())
        };
        let blocks = indices.chunks(BLOCK).map(block).collect();
        Self { blocks, n_rows: indices.len(), width: 2 * k, device: device.clone() }
    }

    /// `w zᵢ` of every row.
    fn products(&self, w: &[f64]) -> Vec<f64> {
        let w = Matrix::from_values(1, w.iter().map(|&value| value as f32).collect()).into_tensor(&self.device);
        let products: Vec<Tensor<2>> = self.blocks.iter().map(|z| z.clone().matmul(w.clone())).collect(); // (BLOCK, 1)
        host_values(Tensor::cat(products, 0).into_data())
    }

    /// `Σ αᵢ zᵢ`
    fn combination(&self, alpha: &[f64]) -> Vec<f64> {
        let block = |(z, alpha): (&Tensor<2>, &[f64])| {
            let alpha: Vec<f32> = alpha.iter().map(|&value| value as f32).collect();
            Matrix::from_values(alpha.len(), alpha).into_tensor(&self.device).matmul(z.clone()) // (1, width)
        };
        let parts = self.blocks.iter().zip(alpha.chunks(BLOCK)).map(block).collect();
        let parts: Vec<f64> = host_values(Tensor::cat(parts, 0).into_data()); // (n_blocks, width)
        let mut sum = vec![0.0; self.width];
        parts.iter().enumerate().for_each(|(index, value)| sum[index % self.width] += value);
        sum
    }
}

/// The shortest combination of rows, and ρ.
fn shortest(rows: &FourierRows, nu: f64, tol: f64) -> (Vec<f64>, f64) {
    let n = rows.n_rows as f64;
    let mean = rows.combination(&vec![1.0 / n; rows.n_rows]);
    let corner = CORNER * dot(&mean, &mean).max(1e-6);
    let smoothness = 1.0 + MARGIN * largest_eigenvalue(rows, &mean) / (nu * corner);
    let root = smoothness.sqrt();
    let momentum = (root - 1.0) / (root + 1.0);
    let (mut w, mut ahead) = (mean.clone(), mean);
    for _ in 0..MAX_STEPS {
        let products = rows.products(&ahead);
        let (alpha, _) = best_combination(&products, nu, corner);
        let combined = rows.combination(&alpha);
        let gradient: Vec<f64> = ahead.iter().zip(&combined).map(|(w, sum)| w - sum).collect();
        if dot(&gradient, &gradient) <= tol * tol * dot(&ahead, &ahead) {
            break;
        }
        let next: Vec<f64> = ahead.iter().zip(&gradient).map(|(w, slope)| w - slope / smoothness).collect();
        ahead = next.iter().zip(&w).map(|(next, last)| next + momentum * (next - last)).collect();
        w = next;
    }
    let (_, rho) = best_combination(&rows.products(&ahead), nu, corner);
    (ahead, rho)
}

/// Of the rows' second moments, from below.
fn largest_eigenvalue(rows: &FourierRows, start: &[f64]) -> f64 {
    let mut vector = start.to_vec();
    let mut eigenvalue = 0.0;
    for _ in 0..POWER_STEPS {
        let length = dot(&vector, &vector).sqrt().max(f64::MIN_POSITIVE);
        vector.iter_mut().for_each(|value| *value /= length);
        let products: Vec<f64> = rows.products(&vector).iter().map(|value| value / rows.n_rows as f64).collect();
        vector = rows.combination(&products);
        eigenvalue = dot(&vector, &vector).sqrt();
    }
    eigenvalue
}

/// The α for a w with these products, and the ρ that makes them add up to 1: found by halving.
fn best_combination(products: &[f64], nu: f64, corner: f64) -> (Vec<f64>, f64) {
    const HALVINGS: usize = 60;
    let total = nu * products.len() as f64;
    let share = |rho: f64, product: f64| ((rho - product) / corner).clamp(0.0, 1.0);
    let (least, most) = products
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), &product| (least.min(product), most.max(product)));
    let (mut low, mut high) = (least, most + corner);
    for _ in 0..HALVINGS {
        let middle = low / 2.0 + high / 2.0;
        let sum: f64 = products.iter().map(|&product| share(middle, product)).sum();
        if sum < total { low = middle } else { high = middle }
    }
    (products.iter().map(|&product| share(high, product) / total).collect(), high)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
