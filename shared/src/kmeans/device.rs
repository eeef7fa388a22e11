//! Passes over the points on a device that tensors are sent to.

use burn::tensor::Tensor;

use super::lloyd::{Farthest, Limits, Run, Start, Totals, squared_shift};
use super::{KMeansError, Members, Points};
use crate::matrix::Matrix;
use crate::ops;
use crate::ops::cpu::{CHUNK, Evaluation};

/// As [`super::lloyd::lloyd`].
pub(super) fn lloyd(
    points: &Points,
    starts: Vec<Start<'_>>,
    limits: Limits,
    on_run: &(dyn Fn() + Sync),
) -> Result<Vec<Run>, KMeansError> {
    let run = |start: Start<'_>| {
        let run = one_run(points, start, limits);
        on_run();
        run
    };
    starts.into_iter().map(run).collect()
}

fn one_run(points: &Points, start: Start<'_>, limits: Limits) -> Result<Run, KMeansError> {
    let (mut centroids, mut n_iter) = (start.centroids, 0);
    while n_iter < limits.max_iter {
        n_iter += 1;
        let mut totals = Totals::zeros(&centroids);
        points.each_tensor(start.members, |_, x| {
            let part = ops::assign_and_accumulate(x, &centroids.to_tensor(points.device()));
            totals.sums.iter_mut().zip(&part.sums).for_each(|(total, part)| *total += part);
            totals.counts.iter_mut().zip(&part.counts).for_each(|(total, part)| *total += *part as i64);
        })?;
        if totals.n_empty() > 0 {
            let mut farthest = Farthest::for_empty(&totals);
            let mut row = vec![0.0; points.n_features()];
            each_nearest(points, &centroids, start.members, |index, label, distance| {
                points.rows().row(index, &mut row)?;
                farthest.offer(label, distance, &row);
                Ok(())
            })?;
            totals.fill_empty(&farthest);
        }
        let next = totals.means(&centroids);
        let shift = squared_shift(&centroids, &next);
        centroids = next;
        if shift <= start.tolerance {
            break;
        }
    }
    Ok(Run { centroids, n_iter })
}

/// As [`super::lloyd::evaluate`].
pub(super) fn evaluate(
    points: &Points,
    centroids: &[(&Matrix, Option<&Members>)],
) -> Result<Vec<Evaluation>, KMeansError> {
    let one = |&(centroids, members): &(&Matrix, Option<&Members>)| {
        let mut evaluation = Evaluation::empty(centroids.n_samples());
        each_nearest(points, centroids, members, |index, label, distance| {
            evaluation.add(index, label, distance);
            Ok(())
        })?;
        Ok(evaluation)
    };
    centroids.iter().map(one).collect()
}

/// As [`super::lloyd::labels`].
pub(super) fn labels(points: &Points, centroids: &Matrix, members: &Members) -> Result<Vec<Vec<u16>>, KMeansError> {
    let mut labels = vec![Vec::new(); points.n_chunks()];
    each_nearest(points, centroids, Some(members), |index, label, _| {
        labels[index / CHUNK].push(label as u16);
        Ok(())
    })?;
    Ok(labels)
}

/// Calls `visit` with the index, the label and the squared distance of each member, in order.
fn each_nearest(
    points: &Points,
    centroids: &Matrix,
    members: Option<&Members>,
    mut visit: impl FnMut(usize, usize, f32) -> Result<(), KMeansError>,
) -> Result<(), KMeansError> {
    let centroids: Tensor<2> = centroids.to_tensor(points.device()); // (n_clusters, n_features)
    let mut nearest = Vec::new();
    points.each_tensor(members, |indices, x| {
        let (labels, distances) = ops::nearest(x, &centroids); // (rows), (rows)
        let (labels, distances) = (labels.into_data(), distances.into_data());
        let found = labels.iter::<i32>().zip(distances.iter::<f32>());
        nearest.extend(indices.zip(found).map(|(index, (label, distance))| (index, label as usize, distance)));
    })?;
    nearest.into_iter().try_for_each(|(index, label, distance)| visit(index, label, distance))
}
