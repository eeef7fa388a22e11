//! Scores: on the CPU by a kernel of their own, on other devices in tensor operations.

use burn::tensor::Device;
use clustering::matrix::Matrix;
use clustering::ops::is_cpu;

use super::Forest;
use super::cpu::PackedForest;
use super::tensors::TensorForest;
use crate::{Score, Scores};

/// A forest on a device.
#[derive(Debug)]
pub(super) struct ForestScores {
    trees: Trees,
    /// What a row's path lengths are divided by.
    normal_path_lengths: f64,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a detector has one of it")]
enum Trees {
    Cpu(PackedForest),
    Tensors(TensorForest),
}

impl ForestScores {
    /// Of a forest that [`check`](crate::Learned::check) accepts.
    pub(super) fn new(forest: &Forest, device: &Device) -> Self {
        let trees = if is_cpu(device) {
            Trees::Cpu(PackedForest::new(forest))
        } else {
            Trees::Tensors(TensorForest::new(forest, device))
        };
        Self { trees, normal_path_lengths: forest.normal_path_lengths() }
    }

    #[cfg(test)]
    pub(super) fn in_tensors(forest: &Forest, device: &Device) -> Self {
        let trees = Trees::Tensors(TensorForest::new(forest, device));
        Self { trees, normal_path_lengths: forest.normal_path_lengths() }
    }
}

impl Score for ForestScores {
    /// `2^(-E[h] / c(sample))` of each row.
    fn score(&self, x: &Matrix) -> Scores {
        let mut sums = match &self.trees {
            Trees::Cpu(trees) => trees.sums(x),
            Trees::Tensors(trees) => trees.sums(x),
        };
        sums.iter_mut().for_each(|sum| *sum = (-f64::from(*sum) / self.normal_path_lengths).exp2() as f32);
        Scores::new(sums)
    }
}
