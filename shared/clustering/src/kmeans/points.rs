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

/// Bytes that are sent to the device, and summed, at a time: less than any adapter lets a kernel read.
const PIECE_BYTES: usize = 64 << 20;

/// Bytes of a buffer that points stay in on the device, where it allows as many: a launch for each of them is then next to
/// nothing beside what it does.
const BUFFER_BYTES: u64 = 1 << 30;

/// Points to cluster: rows in memory or in a file, and the device that passes over them.
///
/// A GPU gets them piece by piece. Where it has room for all, it gets them once and keeps them, many pieces in a buffer;
/// where it has not, every pass sends them again. The pieces are the same either way, and wherever the rows are, and they are
/// what sums are made of, so results are the same, too.
#[derive(Debug)]
pub struct Points {
    rows: RowStore,
    device: Device,
    mean_variance: f64,
    /// Bytes of a piece.
    piece_bytes: usize,
    /// Bytes of a buffer on the device, at most.
    buffer_bytes: u64,
    /// Whether the device has room for all; it is asked when this is first needed.
    fits: OnceLock<bool>,
    /// What [`Points::held`] has sent to the device.
    held: OnceLock<Vec<Tensor<2>>>,
}

/// Rows that a pass has come to.
#[allow(clippy::large_enum_variant, reason = "there are few: each is up to a GiB of points")]
enum Block {
    /// On the device: `(rows, n_features)`.
    Held(Tensor<2>),
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
        Ok(Self {
            mean_variance,
            rows,
            device: device.clone(),
            piece_bytes: PIECE_BYTES,
            buffer_bytes: BUFFER_BYTES,
            fits: OnceLock::new(),
            held: OnceLock::new(),
        })
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

    /// Rows of a piece; the last one may have fewer.
    pub(super) fn most_rows(&self) -> usize {
        (self.piece_bytes / size_of::<f32>() / self.n_features()).max(1)
    }

    /// All points on the device, buffer after buffer, `(rows, n_features)`, where it has room for them. All but the last have
    /// whole pieces. The first call sends them there, and there they stay.
    pub(super) fn held(&self) -> Result<Option<&[Tensor<2>]>, KMeansError> {
        if self.held.get().is_none() {
            if !self.fit_on_device() {
                return Ok(None);
            }
            let most_pieces = self.most_pieces();
            let (mut buffers, mut pieces) = (Vec::new(), Vec::new());
            self.each_block(|rows| {
                let len = rows.values().len();
                pieces.push(rows.into_tensor(&self.device).reshape([len])); // (rows * n_features)
                if pieces.len() == most_pieces {
                    buffers.push(joined(std::mem::take(&mut pieces), self.n_features())); // (rows, n_features)
                }
                Ok(())
            })?;
            if !pieces.is_empty() {
                buffers.push(joined(pieces, self.n_features())); // (rows, n_features)
            }
            return Ok(Some(self.held.get_or_init(|| buffers)));
        }
        Ok(self.held.get().map(Vec::as_slice))
    }

    fn fit_on_device(&self) -> bool {
        *self.fits.get_or_init(|| match self.device.as_dispatch() {
            DispatchDevice::Cube(device) => cube::has_room(device, self.rows.bytes()),
            // The CPU computes on the rows where they are.
            #[allow(unreachable_patterns)]
            _ => false,
        })
    }

    /// Pieces of a buffer.
    fn most_pieces(&self) -> usize {
        let most_bytes = match self.device.as_dispatch() {
            DispatchDevice::Cube(device) => self.buffer_bytes.min(cube::largest_buffer(device)),
            #[allow(unreachable_patterns)]
            _ => self.buffer_bytes,
        };
        let piece = (self.most_rows() * self.n_features() * size_of::<f32>()) as u64;
        usize::try_from(most_bytes / piece).unwrap_or(usize::MAX).max(1)
    }

    /// Calls `visit` with the members of each piece on the device, `(rows, n_features)`, and their indices, in order.
    ///
    /// Where points are sent in every pass, the next piece is read while the device is at work on one.
    pub(super) fn each_tensor(
        &self,
        members: Option<&Members>,
        mut visit: impl FnMut(Box<dyn Iterator<Item = usize>>, &Tensor<2>) -> Result<(), KMeansError>,
    ) -> Result<(), KMeansError> {
        let mut members = members.map(|members| members.indices().peekable());
        let mut first = 0;
        let mut on_block = |block: Block| {
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
        let Some(held) = self.held()? else { return self.each_block(|rows| on_block(Block::Read(rows))) };
        for x in held {
            let n_rows = x.dims()[0];
            for start in (0..n_rows).step_by(self.most_rows()) {
                let piece = self.most_rows().min(n_rows - start);
                on_block(Block::Held(x.clone().narrow(0, start, piece)))?; // (piece, n_features)
            }
        }
        Ok(())
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

impl Block {
    fn n_rows(&self) -> usize {
        match self {
            Self::Held(x) => x.dims()[0],
            Self::Read(rows) => rows.n_samples(),
        }
    }

    /// Calls `visit` with all rows on the device: `(n_rows, n_features)`.
    fn visit<T>(self, device: &Device, visit: impl FnOnce(&Tensor<2>) -> T) -> T {
        match self {
            Self::Held(x) => visit(&x),
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
                x.clone().select(0, rows) // (rows, n_features)
            }
            Self::Read(all) => {
                let values = rows.into_iter().flat_map(|row| all.row(row)).copied().collect();
                Matrix::from_values(all.n_features(), values).into_tensor(device) // (rows, n_features)
            }
        }
    }
}

/// Pieces `(rows * n_features)` in one buffer: `(rows, n_features)`.
fn joined(mut pieces: Vec<Tensor<1>>, n_features: usize) -> Tensor<2> {
    let all = if pieces.len() == 1 { pieces.swap_remove(0) } else { Tensor::cat(pieces, 0) };
    let n_rows = all.dims()[0] / n_features;
    all.reshape([n_rows, n_features])
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
    /// The same on a device that has room for so many bytes of them, gets them in pieces of so many, and keeps them in
    /// buffers of so many.
    pub(super) fn on_device_with(mut self, room: u64, piece_bytes: usize, buffer_bytes: u64) -> Self {
        self.fits = OnceLock::from(self.rows.bytes() <= room);
        self.piece_bytes = piece_bytes;
        self.buffer_bytes = buffer_bytes;
        self
    }

    /// Puts rows that are no numbers in the place of those that the points were made of.
    pub(super) fn forget_rows(&mut self) {
        let values = vec![f32::NAN; self.n_samples() * self.n_features()];
        self.rows = RowStore::from_matrix(Matrix::from_values(self.n_features(), values));
    }
}
