//! The fused CPU kernels: points are read once, a tile of 16 at a time, and no distance matrix is written.
//!
//! Each kernel is compiled for AVX-512, for AVX2 with fused multiply-add, and for the baseline (NEON on aarch64), and
//! the best that the processor has is taken at run time. Work is cut into chunks of a fixed size whose sums are merged
//! in order, in float64: one thread or sixteen give the same result.

mod assign;
mod boxes;
mod descend;
mod lanes;
mod lloyd;
mod neighbors;
mod scan;
mod screen;
mod seeding;
mod sets;
mod spread;
mod tiles;

use crate::matrix::Matrix;

pub(crate) use assign::{Evaluation, assign, labels, nearest};
pub(crate) use boxes::BoxTree;
pub(crate) use descend::descend;
pub(crate) use lloyd::{LloydChunk, Scratch, SumDelta, evaluate_labels, shift_table, sum_labels};
pub(crate) use neighbors::neighbors;
pub(crate) use scan::{Packed, squared_distance};
pub(crate) use screen::Screen;
pub(crate) use seeding::{draw_in_chunk, seed_step};
pub(crate) use sets::{MOST_NEAREST, sums_of_distances};
pub(crate) use spread::Spread;

/// Points a chunk: small enough for the second-level cache, large enough to be worth a task.
pub(crate) const CHUNK: usize = 4096;

/// A point set: `values` holds rows of `n_features`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub values: &'a [f32],
    pub n_features: usize,
}

impl<'a> From<&'a Matrix> for Rows<'a> {
    fn from(matrix: &'a Matrix) -> Self {
        Self { values: matrix.values(), n_features: matrix.n_features() }
    }
}

impl<'a> Rows<'a> {
    pub(crate) fn len(self) -> usize {
        self.values.len() / self.n_features
    }

    pub(crate) fn row(self, index: usize) -> &'a [f32] {
        &self.values[index * self.n_features..(index + 1) * self.n_features]
    }

    /// Chunk `index`, of [`CHUNK`] rows or what is left of them.
    pub(crate) fn chunk(self, index: usize) -> Self {
        let start = index * CHUNK * self.n_features;
        let end = (start + CHUNK * self.n_features).min(self.values.len());
        Self { values: &self.values[start..end], ..self }
    }

    /// How many chunks there are.
    pub(crate) fn n_chunks(self) -> usize {
        self.len().div_ceil(CHUNK)
    }
}

/// Whether the kernels' multiplications and additions are fused on this processor.
pub(crate) fn fused() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        cfg!(target_arch = "aarch64")
    }
}

/// Compiles a kernel, generic over [`Lanes`](lanes::Lanes), once for each instruction set, and calls the best that this
/// processor has.
macro_rules! multiversion {
    ($(#[$attribute:meta])* $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $output:ty)? = $body:ident) => {
        $(#[$attribute])*
        #[allow(clippy::too_many_arguments)]
        $visibility fn $name($($argument: $type),*) $(-> $output)? {
            use $crate::ops::cpu::lanes::Portable;
            #[cfg(target_arch = "x86_64")]
            {
                use $crate::ops::cpu::lanes::Avx512;
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw")]
                #[allow(clippy::too_many_arguments)]
                fn avx512($($argument: $type),*) $(-> $output)? {
                    // SAFETY: this version is called only where the processor has these instructions.
                    unsafe { $body::<Avx512>($($argument),*) }
                }
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx2($($argument: $type),*) $(-> $output)? {
                    // SAFETY: arrays need no instruction in particular.
                    unsafe { $body::<Portable<true>>($($argument),*) }
                }
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
                    && $crate::ops::cpu::fused()
                {
                    // SAFETY: the processor has these instructions.
                    return unsafe { avx512($($argument),*) };
                }
                if $crate::ops::cpu::fused() {
                    // SAFETY: the processor has these instructions.
                    return unsafe { avx2($($argument),*) };
                }
            }
            // SAFETY: arrays need no instruction in particular.
            unsafe { $body::<Portable<{ cfg!(target_arch = "aarch64") }>>($($argument),*) }
        }
    };
}
use multiversion;

#[cfg(test)]
mod tests;
