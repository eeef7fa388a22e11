//! Passes over the points on a device that tensors are sent to.

mod program;

use burn::tensor::Tensor;

use self::program::Program;
use super::run::{Limits, Run, Start};
use super::totals::{Farthest, Totals, squared_shift};
use super::{KMeansError, Members, Points};
use crate::matrix::{Matrix, host_values};
use crate::ops;
use crate::ops::cpu::{CHUNK, Evaluation};
use crate::ops::cube::runs::RunStart;

/// As [`super::lloyd::lloyd`]: on a GPU in one program, elsewhere with plain operations, one run after the other.
pub(super) fn lloyd(
    points: &Points,
    starts: Vec<Start<'_>>,
    limits: Limits,
    on_run: &(dyn Fn() + Sync),
) -> Result<Vec<Run>, KMeansError> {
    let mut runs: Vec<DeviceRun<'_>> = starts.into_iter().map(DeviceRun::new).collect();
    match Program::new(points) {
        _ if limits.max_iter == 0 => runs.iter().for_each(|_| on_run()),
        Some(program) => program.finish(&mut runs, limits, on_run)?,
        None => {
            for run in &mut runs {
                run.finish(points, limits)?;
                on_run();
            }
        }
    }
    let clusters = evaluate(points, &runs)?;
    runs.into_iter().zip(clusters).map(|(run, clusters)| run.stopped(points, clusters)).collect()
}

/// A run in progress.
struct DeviceRun<'a> {
    centroids: Matrix,
    n_iter: usize,
    members: Option<&'a Members>,
    tolerance: f64,
    keep_labels: bool,
}

impl<'a> DeviceRun<'a> {
    fn new(start: Start<'a>) -> Self {
        let Start { centroids, members, tolerance, keep_labels } = start;
        Self { centroids, n_iter: 0, members, tolerance, keep_labels }
    }

    /// As the GPU's kernels take it.
    fn start(&self, leaf: i32) -> RunStart<'_> {
        RunStart { centroids: self.centroids.values(), n_iter: self.n_iter, leaf, tolerance: self.tolerance as f32 }
    }

    /// Runs to the end, with plain operations.
    fn finish(&mut self, points: &Points, limits: Limits) -> Result<(), KMeansError> {
        while self.n_iter < limits.max_iter && !self.round(points, limits)? {}
        Ok(())
    }

    /// One round with plain operations; whether the run stops.
    fn round(&mut self, points: &Points, limits: Limits) -> Result<bool, KMeansError> {
        let mut totals = Totals::zeros(&self.centroids);
        points.each_tensor(self.members, |_, x| {
            let part = ops::assign_and_accumulate(x, &self.centroids.to_tensor(points.device()));
            totals.sums.iter_mut().zip(&part.sums).for_each(|(total, part)| *total += part);
            totals.counts.iter_mut().zip(&part.counts).for_each(|(total, part)| *total += *part as i64);
            Ok(())
        })?;
        if totals.n_empty() > 0 {
            let mut farthest = Farthest::for_empty(&totals);
            let mut row = vec![0.0; points.n_features()];
            each_nearest(points, &self.centroids, self.members, |index, label, distance| {
                if farthest.wants(distance) {
                    points.rows().row(index, &mut row)?;
                    farthest.offer(label, distance, &row);
                }
                Ok(())
            })?;
            totals.fill_empty(&farthest);
        }
        let next = totals.means(&self.centroids);
        let shift = squared_shift(&self.centroids, &next);
        self.centroids = next;
        self.n_iter += 1;
        Ok(shift <= self.tolerance || self.n_iter >= limits.max_iter)
    }

    /// What the clusters are like, with plain operations.
    fn evaluate(&self, points: &Points) -> Result<Evaluation, KMeansError> {
        let mut evaluation = Evaluation::empty(self.centroids.n_samples());
        each_nearest(points, &self.centroids, self.members, |index, label, distance| {
            evaluation.add(index, label, distance);
            Ok(())
        })?;
        Ok(evaluation)
    }

    /// The run, after its end.
    fn stopped(self, points: &Points, clusters: Evaluation) -> Result<Run, KMeansError> {
        let labels = if self.keep_labels { nearest_labels(points, &self.centroids, self.members)? } else { Vec::new() };
        Ok(Run { centroids: self.centroids, n_iter: self.n_iter, clusters, labels })
    }
}

/// What the clusters of each run are like.
fn evaluate(points: &Points, runs: &[DeviceRun<'_>]) -> Result<Vec<Evaluation>, KMeansError> {
    let on_gpu = Program::new(points).map(|program| program.evaluate(runs)).transpose()?;
    let on_gpu = on_gpu.unwrap_or_else(|| vec![None; runs.len()]);
    let plain = |(run, done): (&DeviceRun<'_>, Option<Evaluation>)| done.map_or_else(|| run.evaluate(points), Ok);
    runs.iter().zip(on_gpu).map(plain).collect()
}

/// As [`super::lloyd::labels`].
pub(super) fn labels(points: &Points, centroids: &Matrix, members: &Members) -> Result<Vec<Vec<u16>>, KMeansError> {
    nearest_labels(points, centroids, Some(members))
}

/// As [`labels`], of all points without members: on a GPU in 16 bits each, as they are kept.
fn nearest_labels(
    points: &Points,
    centroids: &Matrix,
    members: Option<&Members>,
) -> Result<Vec<Vec<u16>>, KMeansError> {
    let on_gpu = Program::new(points).map(|program| program.labels(centroids, members)).transpose()?;
    if let Some(chunks) = on_gpu.flatten() {
        return Ok(chunks);
    }
    let mut chunks = vec![Vec::new(); points.n_chunks()];
    each_nearest(points, centroids, members, |index, label, _| {
        chunks[index / CHUNK].push(label as u16);
        Ok(())
    })?;
    Ok(chunks)
}

/// Adds the labels of the points from index `first` on to their chunks.
fn append(chunks: &mut [Vec<u16>], first: usize, labels: &[u16]) {
    let (mut first, mut left) = (first, labels);
    while !left.is_empty() {
        let (of_chunk, others) = left.split_at(left.len().min(CHUNK - first % CHUNK));
        chunks[first / CHUNK].extend_from_slice(of_chunk);
        first += of_chunk.len();
        left = others;
    }
}

/// Calls `visit` with the index, the label and the squared distance of each member, in order.
fn each_nearest(
    points: &Points,
    centroids: &Matrix,
    members: Option<&Members>,
    mut visit: impl FnMut(usize, usize, f32) -> Result<(), KMeansError>,
) -> Result<(), KMeansError> {
    let centroids: Tensor<2> = centroids.to_tensor(points.device()); // (n_clusters, n_features)
    points.each_tensor(members, |indices, x| {
        let (labels, distances) = ops::nearest(x, &centroids); // (rows), (rows)
        let (labels, distances): (Vec<i32>, Vec<f32>) =
            (host_values(labels.into_data()), host_values(distances.into_data()));
        let found = labels.into_iter().zip(distances);
        indices.zip(found).try_for_each(|(index, (label, distance))| visit(index, label as usize, distance))
    })
}

#[cfg(test)]
mod tests;
