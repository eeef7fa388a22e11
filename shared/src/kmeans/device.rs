//! Lloyd's algorithm (Lloyd 1982) on a GPU, for many models over the same points in one program.
//!
//! A round is one pass over the points for all models that are still running. Whether a model is done is decided on the
//! device, which freezes it, and the host looks only every few rounds; a model's result is the same, bit for bit,
//! whatever runs beside it. A model with an empty cluster is frozen too: the host takes that round for it, by the rule of
//! the CPU's runs, and lets it go on.

use burn::tensor::{Int, IntDType, Tensor, TensorData};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use cubecl::prelude::Client;

use crate::matrix::Matrix;
use crate::ops;
use crate::ops::cube::models::{Batch, Chunk, Model, Outcome, Rule};
use crate::ops::cube::shape::TileShape;

/// Rounds between two looks at the device. A frozen model costs next to nothing, a look a wait for the device.
const ROUNDS: usize = 8;

/// A finished run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DeviceRun {
    /// `(n_clusters, n_features)`
    pub centroids: Matrix,
    /// Rounds until it stopped.
    pub n_iter: usize,
}

/// Which points each model clusters, when it is not all of them: those of one leaf of a tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Groups<'a> {
    /// The leaf each point is in, one tensor `(rows)` a chunk.
    pub leaf_of_point: &'a [Tensor<1, Int>],
    /// The leaf that each model clusters.
    pub leaf_of_model: &'a [i32],
}

/// Runs Lloyd's algorithm for every model over the same points.
///
/// `chunks` hold consecutive rows, `(rows, n_features)` each, on one device; `starts` are the models' first centroids,
/// `(n_clusters, n_features)` each. With `groups` a model clusters the points of its leaf only. A run ends when the
/// squared shift of all its centroids is at most `tolerance`, or after `max_iter` rounds.
///
/// On a device that has no kernels for it the same is computed with the plain operations, one model after the other.
pub(super) fn lloyd_many(
    chunks: &[Tensor<2>],
    starts: &[Matrix],
    groups: Option<Groups<'_>>,
    max_iter: usize,
    tolerance: f64,
) -> Vec<DeviceRun> {
    let mut runs: Vec<DeviceRun> =
        starts.iter().map(|start| DeviceRun { centroids: start.clone(), n_iter: 0 }).collect();
    let points = Points { chunks, groups, on_device: OnDevice::new(chunks, groups), max_iter, tolerance };
    let mut running: Vec<usize> = if max_iter == 0 { Vec::new() } else { (0..runs.len()).collect() };
    while !running.is_empty() {
        running = points.advance(&mut runs, &running);
    }
    runs
}

/// What all models share.
struct Points<'a> {
    chunks: &'a [Tensor<2>],
    groups: Option<Groups<'a>>,
    on_device: Option<OnDevice>,
    max_iter: usize,
    tolerance: f64,
}

impl Points<'_> {
    /// Runs some rounds of the `running` models and returns those that are not done.
    fn advance(&self, runs: &mut [DeviceRun], running: &[usize]) -> Vec<usize> {
        let mut left = Vec::new();
        let (batches, others) = match &self.on_device {
            Some(device) => device.batches(runs, running),
            None => (Vec::new(), running.to_vec()),
        };
        for batch in batches {
            left.extend(self.advance_batch(runs, &batch));
        }
        for model in others {
            if !self.host_round(&mut runs[model], model) {
                left.push(model);
            }
        }
        left.sort_unstable();
        left
    }

    /// Runs some rounds of one batch on the device and returns the models that are not done.
    fn advance_batch(&self, runs: &mut [DeviceRun], planned: &PlannedBatch) -> Vec<usize> {
        let Some(device) = &self.on_device else { return planned.models.clone() };
        let models: Vec<Model<'_>> = planned.models.iter().map(|&model| self.model(&runs[model], model)).collect();
        let batch = Batch::new(&device.client, planned.shape, planned.n_rows, &models);
        let rule = Rule { tolerance: self.tolerance as f32, max_iter: self.max_iter };
        for _ in 0..ROUNDS {
            batch.round(&device.chunks, rule);
        }
        let mut left = Vec::new();
        for (&model, state) in planned.models.iter().zip(batch.read()) {
            let n_features = runs[model].centroids.n_features();
            runs[model] =
                DeviceRun { centroids: Matrix::from_values(n_features, state.centroids), n_iter: state.n_iter };
            let done = match state.outcome {
                Outcome::Running => false,
                Outcome::Done => true,
                Outcome::HasEmptyCluster => self.host_round(&mut runs[model], model),
            };
            if !done {
                left.push(model);
            }
        }
        left
    }

    fn model<'r>(&self, run: &'r DeviceRun, model: usize) -> Model<'r> {
        let leaf = self.groups.map_or(0, |groups| groups.leaf_of_model[model]);
        Model { centroids: run.centroids.values(), n_iter: run.n_iter, leaf }
    }

    /// Runs one round of a model on the host; whether it is done.
    fn host_round(&self, run: &mut DeviceRun, model: usize) -> bool {
        let members = self.members(model);
        let next = moved(&members, &run.centroids);
        let shift = squared_shift(&run.centroids, &next);
        *run = DeviceRun { centroids: next, n_iter: run.n_iter + 1 };
        shift <= self.tolerance || run.n_iter >= self.max_iter
    }

    /// The points that a model clusters.
    fn members(&self, model: usize) -> Vec<Tensor<2>> {
        let chunks = self.chunks.iter().filter(|chunk| chunk.dims()[0] > 0);
        let Some(groups) = self.groups else { return chunks.cloned().collect() };
        let leaf = groups.leaf_of_model[model];
        let leaves = groups.leaf_of_point.iter().filter(|leaves| leaves.dims()[0] > 0);
        chunks.zip(leaves).filter_map(|(chunk, leaves)| rows_of_leaf(chunk, leaves, leaf)).collect()
    }
}

/// The rows of `chunk` that are in `leaf`, if there are any.
fn rows_of_leaf(chunk: &Tensor<2>, leaves: &Tensor<1, Int>, leaf: i32) -> Option<Tensor<2>> {
    let leaves = leaves.to_data();
    let indices: Vec<i32> = (0..).zip(leaves.iter::<i32>()).filter(|&(_, of)| of == leaf).map(|(row, _)| row).collect();
    let count = indices.len();
    let indices = Tensor::<1, Int>::from_data(TensorData::new(indices, [count]), &chunk.device());
    (count > 0).then(|| chunk.clone().select(0, indices)) // (count, n_features)
}

/// The points as the kernels take them.
struct OnDevice {
    client: Client,
    chunks: Vec<Chunk>,
    n_features: usize,
    /// Rows of the largest chunk.
    n_samples: usize,
}

/// Models that the same kernel runs.
#[derive(Debug, Clone, PartialEq)]
struct PlannedBatch {
    shape: TileShape,
    n_rows: usize,
    models: Vec<usize>,
}

impl OnDevice {
    /// `None` when the points are not on a GPU, or there are none.
    fn new(chunks: &[Tensor<2>], groups: Option<Groups<'_>>) -> Option<Self> {
        let mut on_device = Vec::new();
        let (mut client, mut n_features) = (None, 0);
        for (index, chunk) in chunks.iter().enumerate().filter(|(_, chunk)| chunk.dims()[0] > 0) {
            let x = into_contiguous(chunk.clone().try_into_primitive::<CubeBackend>().ok()?);
            let leaves = groups.map(|groups| groups.leaf_of_point[index].clone().cast(IntDType::I32));
            let leaves = match leaves {
                Some(leaves) => Some(into_contiguous(leaves.try_into_primitive::<CubeBackend>().ok()?).handle),
                None => None,
            };
            n_features = chunk.dims()[1];
            client = Some(x.client.clone());
            on_device.push(Chunk { x: x.handle, leaves, n_samples: chunk.dims()[0] });
        }
        let n_samples = on_device.iter().map(|chunk| chunk.n_samples).max()?;
        Some(Self { client: client?, chunks: on_device, n_features, n_samples })
    }

    /// Batches of the `running` models, and the models that have no kernel.
    ///
    /// Models run together that the same kernel serves, so that what a model gets depends on itself alone.
    fn batches(&self, runs: &[DeviceRun], running: &[usize]) -> (Vec<PlannedBatch>, Vec<usize>) {
        let (mut batches, mut others) = (Vec::<PlannedBatch>::new(), Vec::new());
        let mut sizes = Vec::<usize>::new();
        for &model in running {
            let k = runs[model].centroids.n_samples();
            let Some(shape) = TileShape::new(&self.client, self.n_samples, self.n_features, k) else {
                others.push(model);
                continue;
            };
            let n_rows = shape.rows(self.n_samples, k);
            let room = Batch::most_clusters(&self.client, shape, n_rows);
            let fits = |(batch, &size): (&PlannedBatch, &usize)| {
                batch.shape == shape && batch.n_rows == n_rows && size + k <= room
            };
            match batches.iter().zip(&sizes).position(fits) {
                Some(at) => {
                    batches[at].models.push(model);
                    sizes[at] += k;
                }
                None => {
                    batches.push(PlannedBatch { shape, n_rows, models: vec![model] });
                    sizes.push(k);
                }
            }
        }
        (batches, others)
    }
}

/// The centroids after one round: the means of their points, and for an empty cluster the point that is farthest from
/// its centroid.
fn moved(chunks: &[Tensor<2>], centroids: &Matrix) -> Matrix {
    let mut clusters = Clusters::new(centroids);
    for chunk in chunks {
        clusters.add(chunk, centroids);
    }
    clusters.fill_empty(chunks);
    let n_features = centroids.n_features();
    let mean = |cluster: usize| {
        let (count, old) = (clusters.counts[cluster], centroids.row(cluster));
        let sums = &clusters.sums[cluster * n_features..(cluster + 1) * n_features];
        // Still empty: there are fewer distinct points than clusters, and the centroid may stay where it is.
        (0..n_features).map(move |j| if count > 0.0 { (sums[j] / count) as f32 } else { old[j] })
    };
    Matrix::from_values(n_features, (0..centroids.n_samples()).flat_map(mean).collect())
}

/// The clusters of one round on the host.
struct Clusters {
    n_features: usize,
    sums: Vec<f64>,
    counts: Vec<f64>,
    labels: Vec<i32>,
    squared_distances: Vec<f32>,
}

impl Clusters {
    fn new(centroids: &Matrix) -> Self {
        Self {
            n_features: centroids.n_features(),
            sums: vec![0.0; centroids.values().len()],
            counts: vec![0.0; centroids.n_samples()],
            labels: Vec::new(),
            squared_distances: Vec::new(),
        }
    }

    fn add(&mut self, chunk: &Tensor<2>, centroids: &Matrix) {
        let assignment = ops::assign_and_accumulate(chunk, &centroids.to_tensor(&chunk.device()));
        self.sums.iter_mut().zip(assignment.sums).for_each(|(total, sum)| *total += sum);
        self.counts.iter_mut().zip(assignment.counts).for_each(|(total, count)| *total += count);
        self.labels.extend(assignment.labels.into_data().iter::<i32>());
        self.squared_distances.extend(assignment.squared_distances.into_data().iter::<f32>());
    }

    /// Gives each empty cluster the point that is farthest from its centroid, taken out of the cluster it was in.
    fn fill_empty(&mut self, chunks: &[Tensor<2>]) {
        let mut taken = vec![false; self.labels.len()];
        for empty in 0..self.counts.len() {
            if self.counts[empty] > 0.0 {
                continue;
            }
            let Some(point) = self.farthest_movable(&taken) else { return };
            taken[point] = true;
            let from = self.labels[point] as usize;
            self.counts[from] -= 1.0;
            self.counts[empty] = 1.0;
            for (j, value) in row(chunks, point).into_iter().enumerate() {
                self.sums[from * self.n_features + j] -= value;
                self.sums[empty * self.n_features + j] = value;
            }
        }
    }

    /// The first of the farthest points that may leave their cluster: it is not alone there, and not its centroid.
    fn farthest_movable(&self, taken: &[bool]) -> Option<usize> {
        let movable = |&point: &usize| {
            !taken[point] && self.squared_distances[point] > 0.0 && self.counts[self.labels[point] as usize] > 1.0
        };
        let farther =
            |&a: &usize, &b: &usize| self.squared_distances[a].total_cmp(&self.squared_distances[b]).then(b.cmp(&a));
        (0..self.labels.len()).filter(movable).max_by(farther)
    }
}

/// Row `index` of all chunks' rows.
fn row(chunks: &[Tensor<2>], mut index: usize) -> Vec<f64> {
    for chunk in chunks {
        let rows = chunk.dims()[0];
        if index < rows {
            return chunk.clone().narrow(0, index, 1).into_data().iter::<f64>().collect();
        }
        index -= rows;
    }
    Vec::new()
}

fn squared_shift(from: &Matrix, to: &Matrix) -> f64 {
    from.values().iter().zip(to.values()).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
}

#[cfg(test)]
mod tests;
