//! What a one-class support vector machine scores rows with.

use burn::tensor::{Device, Tensor};
use clustering::matrix::Matrix;
use clustering::ops::is_cpu;
use serde::{Deserialize, Serialize};

use super::fourier::cos_turns;
use super::kernel::exp_minus;
use crate::dense::{Packed, finite, in_blocks, map_chunks};
use crate::{Array, ArrayMut, Learned, Score, Scores};

/// Rows that a device scores at a time.
const BLOCK: usize = 1024;

/// A trained machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SupportVectorMachine {
    /// The exact one.
    Kernel(KernelMachine),
    /// The one in random Fourier features.
    Fourier(FourierMachine),
}

/// The score is `rho - Σ coefficientᵢ exp(-gamma |x - support_vectorᵢ|²)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelMachine {
    /// `(n_support_vectors, n_features)`
    pub support_vectors: Array<f32>,
    /// They add up to 1: `(n_support_vectors)`.
    pub coefficients: Array<f32>,
    /// What multiplies squared distances.
    pub gamma: f32,
    /// The boundary's value.
    pub rho: f32,
}

/// The score is `rho - Σ amplitudeⱼ cos(2π (x frequencyⱼ + phaseⱼ))`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FourierMachine {
    /// In turns a unit: `(n_features, n_components)`.
    pub frequencies: Array<f32>,
    /// In turns: `(n_components)`.
    pub phases: Array<f32>,
    /// `(n_components)`
    pub amplitudes: Array<f32>,
    /// The boundary's value.
    pub rho: f32,
}

impl Learned for SupportVectorMachine {
    fn check(&self, n_features: usize) -> Result<(), String> {
        match self {
            Self::Kernel(machine) => machine.check(n_features),
            Self::Fourier(machine) => machine.check(n_features),
        }
    }

    fn arrays(&mut self) -> Vec<(&'static str, ArrayMut<'_>)> {
        match self {
            Self::Kernel(machine) => vec![
                ("support_vectors", ArrayMut::F32(&mut machine.support_vectors)),
                ("coefficients", ArrayMut::F32(&mut machine.coefficients)),
            ],
            Self::Fourier(machine) => vec![
                ("frequencies", ArrayMut::F32(&mut machine.frequencies)),
                ("phases", ArrayMut::F32(&mut machine.phases)),
                ("amplitudes", ArrayMut::F32(&mut machine.amplitudes)),
            ],
        }
    }

    fn on_device(&self, device: &Device) -> Box<dyn Score> {
        Box::new(if is_cpu(device) { self.on_cpu() } else { self.on_gpu(device) })
    }
}

impl KernelMachine {
    fn check(&self, n_features: usize) -> Result<(), String> {
        let n = self.coefficients.shape().first().copied().unwrap_or(0);
        if n == 0 || !self.coefficients.has_shape(&[n]) || !self.support_vectors.has_shape(&[n, n_features]) {
            return Err(format!("it has not one coefficient for each of its support vectors of {n_features} features"));
        }
        if !(self.support_vectors.is_finite() && self.coefficients.is_finite() && self.rho.is_finite()) {
            return Err("its support vectors, coefficients or rho are not finite".to_owned());
        }
        if !(self.gamma.is_finite() && self.gamma > 0.0) {
            return Err("its gamma is not above 0".to_owned());
        }
        Ok(())
    }
}

impl FourierMachine {
    fn check(&self, n_features: usize) -> Result<(), String> {
        let k = self.amplitudes.shape().first().copied().unwrap_or(0);
        if k == 0 || !self.amplitudes.has_shape(&[k]) || !self.phases.has_shape(&[k]) {
            return Err("it has not one amplitude and one phase for each of its components".to_owned());
        }
        if !self.frequencies.has_shape(&[n_features, k]) {
            return Err(format!("its frequencies are not {k} for each of {n_features} features"));
        }
        let arrays = [&self.frequencies, &self.phases, &self.amplitudes];
        if !(arrays.iter().all(|array| array.is_finite()) && self.rho.is_finite()) {
            return Err("its frequencies, phases, amplitudes or rho are not finite".to_owned());
        }
        Ok(())
    }
}

impl SupportVectorMachine {
    pub(super) fn on_cpu(&self) -> SvmScorer {
        match self {
            Self::Kernel(machine) => {
                let vectors = &machine.support_vectors;
                let (n, p) = (vectors.shape()[0], vectors.shape()[1]);
                let points = Packed::new(p, n, |feature, row| vectors.row(row)[feature]);
                // No more coefficients than support vectors: the points that fill up the last lanes have none.
                let coefficients = machine.coefficients.values().to_vec();
                SvmScorer::CpuKernel { points, coefficients, gamma: machine.gamma, rho: machine.rho }
            }
            Self::Fourier(machine) => {
                let (p, k) = (machine.frequencies.shape()[0], machine.frequencies.shape()[1]);
                let frequencies = Packed::new(p, k, |feature, column| machine.frequencies.row(feature)[column]);
                let (phases, amplitudes) = (machine.phases.values().to_vec(), machine.amplitudes.values().to_vec());
                SvmScorer::CpuFourier { frequencies, phases, amplitudes, rho: machine.rho }
            }
        }
    }

    pub(super) fn on_gpu(&self, device: &Device) -> SvmScorer {
        let tensor = |n_columns: usize, values: Vec<f32>| Matrix::from_values(n_columns, values).into_tensor(device);
        match self {
            Self::Kernel(machine) => {
                let vectors = &machine.support_vectors;
                let (n, p) = (vectors.shape()[0], vectors.shape()[1]);
                let columns = (0..p).flat_map(|feature| (0..n).map(move |row| vectors.row(row)[feature])).collect();
                SvmScorer::GpuKernel {
                    device: device.clone(),
                    vectors: tensor(n, columns),
                    coefficients: tensor(n, machine.coefficients.values().to_vec()),
                    gamma: machine.gamma,
                    rho: machine.rho,
                }
            }
            Self::Fourier(machine) => {
                let k = machine.amplitudes.values().len();
                SvmScorer::GpuFourier {
                    device: device.clone(),
                    frequencies: tensor(k, machine.frequencies.values().to_vec()),
                    phases: tensor(k, machine.phases.values().to_vec()),
                    amplitudes: tensor(1, machine.amplitudes.values().to_vec()),
                    rho: machine.rho,
                }
            }
        }
    }
}

/// A machine where it computes.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a detector has one of it")]
pub(super) enum SvmScorer {
    CpuKernel {
        /// `(n_features, n_support_vectors)`
        points: Packed,
        coefficients: Vec<f32>,
        gamma: f32,
        rho: f32,
    },
    CpuFourier {
        /// `(n_features, n_components)`
        frequencies: Packed,
        phases: Vec<f32>,
        amplitudes: Vec<f32>,
        rho: f32,
    },
    GpuKernel {
        device: Device,
        /// `(n_features, n_support_vectors)`
        vectors: Tensor<2>,
        /// `(1, n_support_vectors)`
        coefficients: Tensor<2>,
        gamma: f32,
        rho: f32,
    },
    GpuFourier {
        device: Device,
        /// `(n_features, n_components)`
        frequencies: Tensor<2>,
        /// `(1, n_components)`
        phases: Tensor<2>,
        /// `(n_components, 1)`
        amplitudes: Tensor<2>,
        rho: f32,
    },
}

impl Score for SvmScorer {
    fn score(&self, x: &Matrix) -> Scores {
        let (sums, rho) = match self {
            Self::CpuKernel { points, coefficients, gamma, rho } => {
                let of_rows = |rows: &[f32]| {
                    let mut values = points.squared_distances(rows); // (n_rows, width)
                    exp_minus(*gamma, &mut values);
                    weighted(&values, points.width(), coefficients)
                };
                (map_chunks(x, of_rows), *rho)
            }
            Self::CpuFourier { frequencies, phases, amplitudes, rho } => {
                let of_rows = |rows: &[f32]| {
                    let mut turns = frequencies.products(rows); // (n_rows, width)
                    for row in turns.chunks_exact_mut(frequencies.width()) {
                        row.iter_mut().zip(phases).for_each(|(turns, phase)| *turns += phase);
                    }
                    cos_turns(&mut turns);
                    weighted(&turns, frequencies.width(), amplitudes)
                };
                (map_chunks(x, of_rows), *rho)
            }
            Self::GpuKernel { device, rho, .. } | Self::GpuFourier { device, rho, .. } => {
                (in_blocks(x, device, BLOCK, |x| self.sums(x)), *rho)
            }
        };
        Scores::new(sums.into_iter().map(|sum| finite(rho - sum)).collect())
    }
}

impl SvmScorer {
    /// The sums of a block on a device: `(block, n_features) -> (block, 1)`.
    fn sums(&self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::GpuKernel { vectors, coefficients, gamma, .. } => {
                // From the differences, feature by feature: `|x|² + |v|² - 2xv` loses small distances of large values, and a
                // product of matrices has fewer digits on some GPUs.
                let of_feature = |feature: usize| {
                    let difference = x.clone().narrow(1, feature, 1) - vectors.clone().narrow(0, feature, 1);
                    difference.clone() * difference // (block, n_support_vectors)
                };
                let [n_features, _] = vectors.dims();
                let distances = (1..n_features).fold(of_feature(0), |sum, feature| sum + of_feature(feature));
                (distances.mul_scalar(-*gamma).exp() * coefficients.clone()).sum_dim(1) // (block, 1)
            }
            Self::GpuFourier { frequencies, phases, amplitudes, .. } => {
                let phase_in_turns = x.matmul(frequencies.clone()) + phases.clone(); // (block, n_components)
                // The part of a turn: cosines of large angles are not exact on every GPU.
                let angles = (phase_in_turns.clone() - phase_in_turns.round()).mul_scalar(2.0 * std::f32::consts::PI);
                angles.cos().matmul(amplitudes.clone()) // (block, 1)
            }
            Self::CpuKernel { .. } | Self::CpuFourier { .. } => x,
        }
    }
}

/// The sum of each row's values times the weights, sixteen sums at a time.
fn weighted(values: &[f32], width: usize, weights: &[f32]) -> Vec<f32> {
    const LANES: usize = 16;
    let sum = |row: &[f32]| {
        let mut sums = [0.0_f32; LANES];
        let (blocks, rest) = weights.as_chunks::<LANES>();
        for (values, weights) in row.as_chunks::<LANES>().0.iter().zip(blocks) {
            (0..LANES).for_each(|lane| sums[lane] += values[lane] * weights[lane]);
        }
        let tail = &row[blocks.len() * LANES..];
        sums.iter_mut().zip(tail).zip(rest).for_each(|((sum, value), weight)| *sum += value * weight);
        sums.iter().map(|&sum| f64::from(sum)).sum::<f64>() as f32
    };
    values.chunks_exact(width).map(sum).collect()
}
