//! FastMCD (Rousseeuw and Van Driessen 1999, sections 3 and 4).
//!
//! A concentration step takes the h rows that are nearest to a mean by a covariance, and their mean and covariance: its
//! determinant is not larger (theorem 1; with shrinkage, Boudt et al. 2020, theorem 1). Starts are many small random
//! subsets; after two steps only the best go on. With many rows, starts are tried on disjoint groups of them, the best
//! go on with the groups taken together, and the best of these with all rows.

use rand::seq::index::sample;
use rayon::prelude::*;

use super::Mcd;
use super::shape::Shape;
use crate::FitError;
use crate::dense::{Moments, Rows};
use crate::random::Stream;

/// Rows of a group, or five a feature where that is more.
const GROUP: usize = 300;

/// Most groups.
const MAX_GROUPS: usize = 5;

/// Steps before only the best go on.
const FIRST_STEPS: usize = 2;

/// How many go on.
const N_BEST: usize = 10;

/// Values above which fewer than ten go on with all rows: ten of a tenth as many take as long.
const MANY_VALUES: usize = 1_000_000;

/// Mean and shrunk covariance of the rows that have the smallest determinant.
pub(super) fn smallest_determinant(rows: Rows<'_>, params: &Mcd, seed: u64) -> Result<Shape, FitError> {
    let search = Search { rows, params, n_support: params.n_support(rows.len(), rows.n_features) };
    let mut rng = Stream::CovarianceGroups.of(seed);
    let group_size = GROUP.max(5 * rows.n_features);
    let n_groups = (rows.len() / group_size).min(MAX_GROUPS);
    let all: Vec<usize> = (0..rows.len()).collect();
    let (candidates, n_last) = if n_groups < 2 {
        (search.starts(&all, params.n_init, seed, 0)?, N_BEST)
    } else {
        let drawn = sample(&mut rng, rows.len(), n_groups * group_size).into_vec();
        let n_starts = params.n_init.div_ceil(n_groups);
        let mut candidates = Vec::new();
        for (index, group) in drawn.chunks_exact(group_size).enumerate() {
            candidates.extend(search.starts(group, n_starts, seed, index * n_starts)?);
        }
        let n_last = (MANY_VALUES / rows.values.len()).clamp(1, N_BEST);
        (best(search.concentrated(candidates, &drawn, FIRST_STEPS)?, N_BEST), n_last)
    };
    let last = search.concentrated(best(candidates, n_last), &all, params.max_iter)?;
    best(last, 1).pop().ok_or_else(|| FitError::Numeric("the search found no rows".to_owned()))
}

struct Search<'a> {
    rows: Rows<'a>,
    params: &'a Mcd,
    /// h: how many of all rows the determinant is of.
    n_support: usize,
}

impl Search<'_> {
    /// The best of `n_starts` starts within a group, after two steps; start i is number `first + i` of all.
    fn starts(&self, group: &[usize], n_starts: usize, seed: u64, first: usize) -> Result<Vec<Shape>, FitError> {
        let start = |index: usize| {
            let mut rng = Stream::CovarianceStart.nth(seed, first + index);
            let drawn = sample(&mut rng, group.len(), (self.rows.n_features + 1).min(group.len()));
            let subset: Vec<usize> = drawn.iter().map(|position| group[position]).collect();
            self.concentrate(self.shape(&subset)?, group, FIRST_STEPS)
        };
        Ok(best((0..n_starts).into_par_iter().map(start).collect::<Result<_, _>>()?, N_BEST))
    }

    fn concentrated(&self, shapes: Vec<Shape>, among: &[usize], n_steps: usize) -> Result<Vec<Shape>, FitError> {
        shapes.into_par_iter().map(|shape| self.concentrate(shape, among, n_steps)).collect()
    }

    /// Up to `n_steps` steps among rows. The first may raise the determinant, where the start is of other rows.
    fn concentrate(&self, start: Shape, among: &[usize], n_steps: usize) -> Result<Shape, FitError> {
        let n_support = (self.n_support * among.len()).div_ceil(self.rows.len());
        let mut shape = self.step(&start, among, n_support)?;
        for _ in 1..n_steps {
            let next = self.step(&shape, among, n_support)?;
            if next.log_determinant >= shape.log_determinant {
                break;
            }
            shape = next;
        }
        Ok(shape)
    }

    fn step(&self, shape: &Shape, among: &[usize], n_support: usize) -> Result<Shape, FitError> {
        let distances = shape.squared_distances(self.rows, among);
        let mut nearest: Vec<(f64, usize)> = distances.into_iter().zip(among.iter().copied()).collect();
        if n_support < nearest.len() {
            nearest.select_nth_unstable_by(n_support, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            nearest.truncate(n_support);
        }
        let mut support: Vec<usize> = nearest.into_iter().map(|(_, index)| index).collect();
        // In order, so that the same rows have the same sums.
        support.sort_unstable();
        self.shape(&support)
    }

    fn shape(&self, indices: &[usize]) -> Result<Shape, FitError> {
        Shape::new(Moments::of(self.rows, indices), self.params.shrinkage)
    }
}

/// The `n` shapes with the smallest determinants; of equal ones, the first.
fn best(mut shapes: Vec<Shape>, n: usize) -> Vec<Shape> {
    shapes.sort_by(|a, b| a.log_determinant.total_cmp(&b.log_determinant));
    // Many starts come to the same rows.
    shapes.dedup_by(|a, b| a.log_determinant == b.log_determinant && a.mean == b.mean);
    shapes.truncate(n);
    shapes
}
