//! Points that were checked and lie where they are computed on.

use std::sync::OnceLock;

use burn::backend::DispatchDevice;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rayon::prelude::*;

use super::pace::Pace;
use super::{KMeansError, MOST_CLUSTERS, Members};
use crate::matrix::Matrix;
use crate::ops::cpu::{CHUNK, Rows, Spread};
use crate::ops::{cube, is_cpu};
use crate::rows::RowStore;

/// Bytes of a block on the device: less than any adapter lets a kernel read.
const BLOCK_BYTES: usize = 64 << 20;

/// Points to cluster: rows in memory or in a file, and the device that passes over them.
///
/// A GPU gets them in blocks. Where it has room for all, it gets them once and keeps them; where it has not, every pass
/// sends them again. The blocks are the same either way, and wherever the rows are, so results are, too.
#[derive(Debug)]
pub struct Points {
    rows: RowStore,
    device: Device,
    mean_variance: f64,
    /// Bytes of a block on the device.
    block_bytes: usize,
    /// Bytes that the device has room for; it is asked when this is first needed.
    room: OnceLock<u64>,
    /// What [`Points::held`] has sent to the device.
    held: OnceLock<Vec<Tensor<2>>>,
}

/// Rows that a pass has come to.
enum Block<'a> {
    /// On the device: `(rows, n_features)`.
    Held(&'a Tensor<2>),
    /// On the host, until the device gets them.
    Read(Matrix),
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
    /// [`KMeansError`] when there are fewer rows than `n_clusters`, or more clusters than [`MOST_CLUSTERS`], or a value is not finite or too large to be squared,
    /// or all rows are equal, or the rows cannot be read.
    pub fn from_rows(rows: RowStore, n_clusters: usize, device: &Device) -> Result<Self, KMeansError> {
        let n_samples = rows.n_samples();
        if n_samples < n_clusters.max(1) {
            return Err(KMeansError::TooFewRows { n_samples, n_clusters });
        }
        if n_clusters > MOST_CLUSTERS {
            return Err(KMeansError::TooManyClusters { n_clusters });
        }
        let mut first = vec![0.0; rows.n_features()];
        rows.row(0, &mut first)?;
        let spread = spread(&rows, &first)?;
        if n_clusters > 1 && spread.is_zero() {
            return Err(KMeansError::AllEqual { n_samples });
        }
        let mean_variance = spread.mean_variance(n_samples);
        let (room, held) = (OnceLock::new(), OnceLock::new());
        Ok(Self { mean_variance, rows, device: device.clone(), block_bytes: BLOCK_BYTES, room, held })
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
        is_cpu(&self.device)
    }

    /// The rows.
    pub fn rows(&self) -> &RowStore {
        &self.rows
    }

    /// Rows of a block on the device; the last one may have fewer.
    pub(super) fn most_rows(&self) -> usize {
        (self.block_bytes / size_of::<f32>() / self.n_features()).max(1)
    }

    /// All points on the device, block after block, `(rows, n_features)`, where it has room for them. The first call
    /// sends them there, and there they stay.
    pub(super) fn held(&self) -> Result<Option<&[Tensor<2>]>, KMeansError> {
        if self.held.get().is_none() {
            if self.rows.bytes() > self.room() {
                return Ok(None);
            }
            let mut blocks = Vec::new();
            self.each_block(|rows| {
                blocks.push(rows.into_tensor(&self.device));
                Ok(())
            })?;
            return Ok(Some(self.held.get_or_init(|| blocks)));
        }
        Ok(self.held.get().map(Vec::as_slice))
    }

    fn room(&self) -> u64 {
        *self.room.get_or_init(|| match self.device.as_dispatch() {
            DispatchDevice::Cube(device) => cube::room(device),
            // The CPU computes on the rows where they are.
            #[allow(unreachable_patterns)]
            _ => 0,
        })
    }

    /// Calls `visit` with blocks of the members on the device, `(rows, n_features)`, and their indices, in order.
    ///
    /// Where points are sent in every pass, the next block is read while the device is at work on one.
    pub(super) fn each_tensor(
        &self,
        members: Option<&Members>,
        mut visit: impl FnMut(Box<dyn Iterator<Item = usize>>, &Tensor<2>) -> Result<(), KMeansError>,
    ) -> Result<(), KMeansError> {
        let mut members = members.map(|members| members.indices().peekable());
        let mut first = 0;
        let mut on_block = |block: Block<'_>| {
            let (start, end) = (first, first + block.n_rows());
            first = end;
            let Some(members) = &mut members else {
                return block.visit(&self.device, |x| visit(Box::new(start..end), x));
            };
            let inside: Vec<usize> = std::iter::from_fn(|| members.next_if(|&index| index < end)).collect();
            if inside.is_empty() {
                return Ok(());
            }
            let rows = inside.iter().map(|index| index - start).collect();
            visit(Box::new(inside.into_iter()), &block.select(rows, &self.device))
        };
        match self.held()? {
            Some(held) => held.iter().try_for_each(|x| on_block(Block::Held(x))),
            None => self.each_block(|rows| on_block(Block::Read(rows))),
        }
    }

    /// Calls `visit` with all rows, block after block, in order. The device may be at work on a block when the next one
    /// is read, and no more than that: what waits for it takes memory.
    fn each_block(&self, mut visit: impl FnMut(Matrix) -> Result<(), KMeansError>) -> Result<(), KMeansError> {
        let n_features = self.n_features();
        let whole = self.most_rows() * n_features;
        let mut pace = Pace::of(&self.device);
        let mut block = Vec::new();
        let mut send = |block: &mut Vec<f32>| {
            visit(Matrix::from_values(n_features, std::mem::take(block)))?;
            pace.sent();
            Ok::<(), KMeansError>(())
        };
        self.rows.for_each_block(|_, mut values| {
            while !values.is_empty() {
                let (taken, left) = values.split_at(values.len().min(whole - block.len()));
                if block.is_empty() && taken.len() < whole {
                    // The rest comes with the file's next blocks.
                    block.reserve_exact(whole.min(self.n_samples() * n_features));
                }
                block.extend_from_slice(taken);
                values = left;
                if block.len() == whole {
                    send(&mut block)?;
                }
            }
            Ok::<(), KMeansError>(())
        })?;
        if block.is_empty() { Ok(()) } else { send(&mut block) }
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

impl Block<'_> {
    fn n_rows(&self) -> usize {
        match self {
            Self::Held(x) => x.dims()[0],
            Self::Read(rows) => rows.n_samples(),
        }
    }

    /// Calls `visit` with all rows on the device: `(n_rows, n_features)`.
    fn visit<T>(self, device: &Device, visit: impl FnOnce(&Tensor<2>) -> T) -> T {
        match self {
            Self::Held(x) => visit(x),
            Self::Read(rows) => visit(&rows.into_tensor(device)),
        }
    }

    /// Some rows, ascending, on the device: `(rows, n_features)`.
    fn select(&self, rows: Vec<usize>, device: &Device) -> Tensor<2> {
        match self {
            Self::Held(x) => {
                let rows: Vec<i32> = rows.into_iter().map(|row| row as i32).collect();
                let shape = [rows.len()];
                let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, shape), device); // (rows)
                Tensor::clone(x).select(0, rows) // (rows, n_features)
            }
            Self::Read(all) => {
                let values = rows.into_iter().flat_map(|row| all.row(row)).copied().collect();
                Matrix::from_values(all.n_features(), values).into_tensor(device) // (rows, n_features)
            }
        }
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

#[cfg(test)]
impl Points {
    /// The same on a device that has room for so many bytes of them, and gets them in blocks of so many.
    pub(super) fn on_device_with(mut self, room: u64, block_bytes: usize) -> Self {
        self.room = OnceLock::from(room);
        self.block_bytes = block_bytes;
        self
    }

    /// Puts rows that are no numbers in the place of those that the points were made of.
    pub(super) fn forget_rows(&mut self) {
        let values = vec![f32::NAN; self.n_samples() * self.n_features()];
        self.rows = RowStore::from_matrix(Matrix::from_values(self.n_features(), values));
    }
}
