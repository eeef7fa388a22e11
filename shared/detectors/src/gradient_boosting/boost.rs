//! Tree after tree, until the newest rows are told no better.

use clustering::matrix::Matrix;
use rayon::prelude::*;

use super::bins::Binned;
use super::grow::{Grown, Slope, grow};
use super::trees::{Tree, Trees};
use super::{BoostedTrees, GradientBoosting};
use crate::supervised::{ClassWeight, EachWeight, Labelled, Parts, Platt, log_loss, sigmoid};
use crate::{Array, Context, FitError};

/// Rows a task.
const CHUNK: usize = 1 << 12;

/// Grows the trees, and calibrates what they say.
pub(super) fn boost(
    params: &GradientBoosting,
    x: &Matrix,
    Parts { older, newest }: &Parts,
    context: &Context<'_>,
) -> Result<BoostedTrees, FitError> {
    let weights = ClassWeight::of(params.class_weight, older);
    let (anomalies, n) = (older.n_anomalies() as f64, older.rows.len() as f64);
    let start = (anomalies * weights.anomaly / ((n - anomalies) * weights.normal)).ln();
    let binned = Binned::of(x, &older.rows, params.max_bins);
    let mut log_odds = vec![start; older.rows.len()];
    let mut of_newest = vec![start; newest.rows.len()];
    let mut slopes = vec![Slope::default(); older.rows.len()];
    let mut best = Best { loss: mean_loss(&of_newest, newest, weights), n_trees: 0, log_odds: of_newest.clone() };
    let mut trees: Vec<Tree> = Vec::new();
    while trees.len() < params.max_iter && trees.len() < best.n_trees + params.n_iter_no_change {
        set_slopes(&mut slopes, &log_odds, older, weights);
        let grown = grow(params, &binned, &slopes);
        if grown.leaves.len() < 2 {
            break;
        }
        add(&mut log_odds, &grown);
        let tree = Tree::in_order(&grown.nodes);
        of_newest.par_iter_mut().zip(&newest.rows).with_min_len(CHUNK).for_each(|(sum, &row)| {
            *sum += tree.of_row(x.row(row));
        });
        trees.push(tree);
        let loss = mean_loss(&of_newest, newest, weights);
        if loss < best.loss - params.tol {
            best = Best { loss, n_trees: trees.len(), log_odds: of_newest.clone() };
        }
        (context.on_step)();
    }
    (trees.len()..params.max_iter).for_each(|_| (context.on_step)());
    trees.truncate(best.n_trees);
    if trees.is_empty() {
        return Err(nothing_learned(params));
    }
    Ok(BoostedTrees {
        start,
        trees: Trees::of(&trees),
        normal: medians_of_normal(x, older),
        calibration: Platt::fit(&best.log_odds, &newest.is_anomaly),
    })
}

/// How well the newest rows were told at best.
struct Best {
    loss: f64,
    n_trees: usize,
    /// Their log-odds then: `(n_newest)`.
    log_odds: Vec<f64>,
}

fn nothing_learned(params: &GradientBoosting) -> FitError {
    FitError::Numeric(format!(
        "gradient boosting: no tree tells the newest labelled rows better than a constant does; use features that have to do \
         with the labels, more labelled rows, or a min_samples_leaf below {}",
        params.min_samples_leaf
    ))
}

fn set_slopes(slopes: &mut [Slope], log_odds: &[f64], labelled: &Labelled, weights: EachWeight) {
    let rows = slopes.par_iter_mut().zip(log_odds).zip(&labelled.is_anomaly).with_min_len(CHUNK);
    rows.for_each(|((slope, &log_odds), &is_anomaly)| {
        let (p, weight) = (sigmoid(log_odds), weights.of(is_anomaly));
        *slope = Slope { gradient: weight * (p - f64::from(u8::from(is_anomaly))), hessian: weight * p * (1.0 - p) };
    });
}

/// Adds what a tree says of the rows that it was grown on.
fn add(log_odds: &mut [f64], grown: &Grown) {
    for (node, rows) in &grown.leaves {
        let value = grown.nodes[*node].leaf_value();
        grown.order[rows.clone()].iter().for_each(|&row| log_odds[row as usize] += value);
    }
}

fn mean_loss(log_odds: &[f64], labelled: &Labelled, weights: EachWeight) -> f64 {
    let (mut loss, mut total) = (0.0, 0.0);
    for (&log_odds, &is_anomaly) in log_odds.iter().zip(&labelled.is_anomaly) {
        let weight = weights.of(is_anomaly);
        loss += weight * log_loss(log_odds, f64::from(u8::from(is_anomaly)));
        total += weight;
    }
    loss / total
}

/// The median of each feature among normal rows: the lower one of two.
fn medians_of_normal(x: &Matrix, labelled: &Labelled) -> Array<f32> {
    let normal: Vec<usize> = labelled
        .rows
        .iter()
        .zip(&labelled.is_anomaly)
        .filter(|(_, is_anomaly)| !**is_anomaly)
        .map(|(&row, _)| row)
        .collect();
    let median = |feature: usize| {
        let mut values: Vec<f32> = normal.iter().map(|&row| x.row(row)[feature]).collect();
        let middle = (values.len() - 1) / 2;
        *values.select_nth_unstable_by(middle, f32::total_cmp).1
    };
    let medians: Vec<f32> = (0..x.n_features()).into_par_iter().map(median).collect();
    Array::new([medians.len()], medians)
}
