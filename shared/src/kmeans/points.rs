//! Points that were checked and lie where they are computed on.

use std::sync::OnceLock;

use burn::backend::DispatchDevice;
use burn::tensor::{Device, Tensor};
use rayon::prelude::*;

use super::{KMeansError, Members};
use crate::matrix::Matrix;
use crate::ops::cpu::{CHUNK, Rows, Spread};
use crate::rows::RowStore;

/// Bytes of a block on the device: less than any adapter lets a kernel read.
const TENSOR_BYTES: usize = 64 << 20;

/// Points to cluster: rows in memory or in a file, and the device that passes over them.
#[derive(Debug)]
pub struct Points {
    rows: RowStore,
    device: Device,
    mean_variance: f64,
    /// What [`Points::held`] has sent to the device.
    held: OnceLock<Vec<Tensor<2>>>,
}

impl Points {
    /// Takes rows in memory, after a check.
    ///
    /// # Errors
    /// As [`Points::from_rows`].
    pub fn new(matrix: Matrix, n_clusters: usize, device: &Device) -> Result<Self, KMeansError> {
        Self::from_rows(RowStore::from_matrix(matrix), n_clusters, device)
    }

    /// Takes rows wherever they are, after a check.
    ///
    /// # Errors
    /// [`KMeansError`] when there are fewer rows than `n_clusters`, or a value is not finite or too large to be squared,
    /// or all rows are equal, or the rows cannot be read.
    pub fn from_rows(rows: RowStore, n_clusters: usize, device: &Device) -> Result<Self, KMeansError> {
        let n_samples = rows.n_samples();
        if n_samples < n_clusters.max(1) {
            return Err(KMeansError::TooFewRows { n_samples, n_clusters });
        }
        let mut first = vec![0.0; rows.n_features()];
        rows.row(0, &mut first)?;
        let spread = spread(&rows, &first)?;
        if n_clusters > 1 && spread.is_zero() {
            return Err(KMeansError::AllEqual { n_samples });
        }
        let mean_variance = spread.mean_variance(n_samples);
        Ok(Self { mean_variance, rows, device: device.clone(), held: OnceLock::new() })
    }

    /// How many points.
    pub fn n_samples(&self) -> usize {
        self.rows.n_samples()
    }

    /// How many features each has.
    pub fn n_features(&self) -> usize {
        self.rows.n_features()
    }

    /// Where passes over the points are computed.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Mean of the features' variances.
    pub fn mean_variance(&self) -> f64 {
        self.mean_variance
    }

    /// Whether the CPU's kernels pass over the points.
    pub(super) fn on_cpu(&self) -> bool {
        matches!(self.device.as_dispatch(), DispatchDevice::Flex(_))
    }

    /// The rows.
    pub(super) fn rows(&self) -> &RowStore {
        &self.rows
    }

    /// Most rows of a block on the device.
    pub(super) fn most_rows(&self) -> usize {
        (TENSOR_BYTES / size_of::<f32>() / self.n_features()).max(1)
    }

    /// All points on the device, in blocks `(rows, n_features)` that follow each other. The first call sends them there,
    /// and there they stay.
    pub(super) fn held(&self) -> Result<&[Tensor<2>], KMeansError> {
        if self.held.get().is_none() {
            let mut blocks = Vec::new();
            self.each_tensor(None, |_, x| blocks.push(x.clone()))?;
            return Ok(self.held.get_or_init(|| blocks));
        }
        Ok(self.held.get().map_or(&[], Vec::as_slice))
    }

    /// Calls `visit` with blocks of the members on the device, `(rows, n_features)`, and their indices, in order.
    pub(super) fn each_tensor(
        &self,
        members: Option<&Members>,
        mut visit: impl FnMut(Box<dyn Iterator<Item = usize>>, &Tensor<2>),
    ) -> Result<(), KMeansError> {
        let most = self.most_rows();
        if let Some(members) = members {
            let indices: Vec<usize> = members.indices().collect();
            for indices in indices.chunks(most) {
                visit(Box::new(indices.to_vec().into_iter()), &self.gather(indices)?.to_tensor(&self.device));
            }
            return Ok(());
        }
        if let Some(held) = self.held.get() {
            let mut first = 0;
            for x in held {
                let next = first + x.dims()[0];
                visit(Box::new(first..next), x);
                first = next;
            }
            return Ok(());
        }
        self.rows.for_each_block(|first_row, values| {
            for (index, values) in values.chunks(most * self.n_features()).enumerate() {
                let matrix = Matrix::from_values(self.n_features(), values.to_vec());
                let first = first_row + index * most;
                visit(Box::new(first..first + matrix.n_samples()), &matrix.to_tensor(&self.device));
            }
            Ok(())
        })
    }

    /// How many chunks of [`CHUNK`] rows there are.
    pub(super) fn n_chunks(&self) -> usize {
        self.n_samples().div_ceil(CHUNK)
    }

    /// The rows at `indices`: `(indices, n_features)`.
    pub(super) fn gather(&self, indices: &[usize]) -> Result<Matrix, KMeansError> {
        let n_features = self.n_features();
        let mut values = vec![0.0; indices.len() * n_features];
        for (&index, row) in indices.iter().zip(values.chunks_exact_mut(n_features)) {
            self.rows.row(index, row)?;
        }
        Ok(Matrix::from_values(n_features, values))
    }
}

/// Checks every value and sums how far it is from the first row's.
fn spread(rows: &RowStore, first: &[f32]) -> Result<Spread, KMeansError> {
    let n_features = rows.n_features();
    let mut total = Spread::new(n_features);
    rows.for_each_block(|first_row, values| {
        let block = Rows { values, n_features };
        let chunks: Vec<Result<Spread, usize>> =
            (0..block.n_chunks()).into_par_iter().map(|chunk| Spread::of(block.chunk(chunk), first)).collect();
        for (chunk, spread) in chunks.into_iter().enumerate() {
            let row = |row: usize| first_row + chunk * CHUNK + row;
            total.merge(&spread.map_err(|bad| KMeansError::NotFinite { row: row(bad) })?);
        }
        Ok::<(), KMeansError>(())
    })?;
    Ok(total)
}
