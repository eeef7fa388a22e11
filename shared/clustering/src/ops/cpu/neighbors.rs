//! The nearest neighbours of every row: exact, without the distances that cannot matter.
//!
//! A batch of rows that lie close together goes through the [`BoxTree`] from the nearest boxes to the farthest. A box is
//! passed over by each row that has enough neighbours nearer than the box; a leaf's 64 rows are compared 16 at a time,
//! and it is rare that one of them comes among the nearest.
//!
//! What is passed over could not have changed a bit. The distance to a box is that to its nearest point, computed as
//! distances to rows are: feature by feature it is no larger than for any row in the box, and neither subtraction nor
//! multiplication nor addition, rounded, turns that around.

use rayon::prelude::*;

use super::boxes::{BoxTree, LEAF, NO_ROW, TILES, order};
use super::lanes::{Column, LANES, Lanes};
use super::{Rows, multiversion};

/// Rows that go through the boxes together, so that a leaf is read from the cache once it is there.
const BATCH: usize = 32;

/// Rows that are put in order at a time.
const ROWS_IN_ORDER: usize = 1 << 16;

/// Features between two looks at whether a leaf's rows are too far away already.
const FEATURES_A_LOOK: usize = 16;

/// The `k` nearest rows of `tree` for each row of `x`: squared distances, rising, at most [`f32::MAX`], and indices, the
/// lowest first on a tie; both `(n_samples, k)`.
///
/// `x` is finite, and `k` from 1 to the number of rows in the tree.
pub(crate) fn neighbors(x: Rows<'_>, tree: &BoxTree, k: usize) -> (Vec<f32>, Vec<i32>) {
    assert!(x.n_features == tree.n_features() && (1..=tree.n_rows()).contains(&k));
    let mut distances = vec![f32::INFINITY; x.len() * k];
    let mut indices = vec![NO_ROW; x.len() * k];
    if x.len() <= BATCH {
        search_batch(x, tree, k, &mut distances, &mut indices);
    } else {
        let outputs = distances.chunks_mut(ROWS_IN_ORDER * k).zip(indices.chunks_mut(ROWS_IN_ORDER * k));
        for (values, (distances, indices)) in x.values.chunks(ROWS_IN_ORDER * x.n_features).zip(outputs) {
            search_in_order(Rows { values, ..x }, tree, k, distances, indices);
        }
    }
    // Beyond float32 all are equally far away.
    distances.iter_mut().for_each(|distance| *distance = distance.min(f32::MAX));
    (distances, indices)
}

/// Searches in an order in which neighbours come one after the other, and puts what was found where it belongs.
fn search_in_order(x: Rows<'_>, tree: &BoxTree, k: usize, distances: &mut [f32], indices: &mut [i32]) {
    let order = order(x, BATCH);
    let search = |members: &[u32]| {
        let values: Vec<f32> = members.iter().flat_map(|&row| x.row(row as usize)).copied().collect();
        let (mut distances, mut indices) = (vec![f32::INFINITY; members.len() * k], vec![NO_ROW; members.len() * k]);
        search_batch(Rows { values: &values, ..x }, tree, k, &mut distances, &mut indices);
        (distances, indices)
    };
    let found: Vec<_> = order.par_chunks(BATCH).map(search).collect();
    for (members, (found_distances, found_indices)) in order.chunks(BATCH).zip(&found) {
        for (position, &row) in members.iter().enumerate() {
            let (from, to) = (position * k..(position + 1) * k, row as usize * k..(row as usize + 1) * k);
            distances[to.clone()].copy_from_slice(&found_distances[from.clone()]);
            indices[to].copy_from_slice(&found_indices[from]);
        }
    }
}

/// A box that is still to be looked into, by the rows that stand last in the list of [`Visitor`]s from `visitors` on.
struct Visit {
    /// 0 for a leaf, 1 for a box around leaves.
    height: usize,
    index: usize,
    first_index: i32,
    visitors: usize,
}

/// A row, and its squared distance to the box.
#[derive(Clone, Copy)]
struct Visitor {
    row: u16,
    bound: f32,
}

/// The nearest rows so far: `(n_rows, k)`, in order.
struct NearestRows<'a> {
    k: usize,
    distances: &'a mut [f32],
    indices: &'a mut [i32],
}

impl NearestRows<'_> {
    /// The last of a row's nearest: its squared distance and its index.
    #[inline(always)]
    fn last(&self, row: usize) -> (f32, i32) {
        (self.distances[(row + 1) * self.k - 1], self.indices[(row + 1) * self.k - 1])
    }

    /// Whether rows from `index` on, and no nearer than `distance`, may come before the last.
    #[inline(always)]
    fn admits(&self, row: usize, distance: f32, index: i32) -> bool {
        let (last, last_index) = self.last(row);
        distance < last || (distance == last && index < last_index)
    }

    /// Takes in what [`admits`](Self::admits) said yes to.
    #[inline(always)]
    fn insert(&mut self, row: usize, distance: f32, index: i32) {
        let slots = row * self.k..(row + 1) * self.k;
        let (distances, indices) = (&mut self.distances[slots.clone()], &mut self.indices[slots]);
        let mut at = distances.len() - 1;
        while at > 0 && (distance < distances[at - 1] || (distance == distances[at - 1] && index < indices[at - 1])) {
            distances[at] = distances[at - 1];
            indices[at] = indices[at - 1];
            at -= 1;
        }
        distances[at] = distance;
        indices[at] = index;
    }
}

multiversion!(fn search_batch(x: Rows<'_>, tree: &BoxTree, k: usize, distances: &mut [f32], indices: &mut [i32]) = search_body);

#[inline(always)]
unsafe fn search_body<V: Lanes>(x: Rows<'_>, tree: &BoxTree, k: usize, distances: &mut [f32], indices: &mut [i32]) {
    let mut nearest = NearestRows { k, distances, indices };
    let mut visitors: Vec<Visitor> = (0..x.len()).map(|row| Visitor { row: row as u16, bound: 0.0 }).collect();
    let mut visits = vec![Visit { height: tree.n_levels(), index: 0, first_index: 0, visitors: 0 }];
    let mut bounds: Vec<(u16, Column, u16)> = Vec::new();
    while let Some(visit) = visits.pop() {
        if visit.height == 0 {
            for &Visitor { row, bound } in &visitors[visit.visitors..] {
                let row = usize::from(row);
                if nearest.admits(row, bound, visit.first_index) {
                    // SAFETY: this is a version for the processor's instructions.
                    unsafe { compare::<V>(x.row(row), row, tree.leaf(visit.index), &mut nearest) };
                }
            }
            visitors.truncate(visit.visitors);
            continue;
        }
        let (ends, first_indices) = tree.group(visit.height - 1, visit.index);
        bounds.clear();
        let mut closest = [f32::INFINITY; LANES];
        for &Visitor { row, bound } in &visitors[visit.visitors..] {
            if nearest.admits(usize::from(row), bound, visit.first_index) {
                let (last, _) = nearest.last(usize::from(row));
                // SAFETY: as above.
                unsafe {
                    let distances = to_boxes::<V>(x.row(usize::from(row)), ends);
                    let near = V::at_most(distances, V::splat(last));
                    let distances = V::floats(distances);
                    for lane in 0..LANES {
                        closest[lane] = if distances[lane] < closest[lane] { distances[lane] } else { closest[lane] };
                    }
                    bounds.push((row, Column(distances), near));
                }
            }
        }
        visitors.truncate(visit.visitors);
        // The nearest box comes last, which is looked into first; on a tie the one with the lower indices.
        let mut order: [u8; LANES] = std::array::from_fn(|lane| lane as u8);
        order.sort_unstable_by(|&a, &b| {
            let key = |lane: u8| (closest[usize::from(lane)], first_indices[usize::from(lane)]);
            let ((a, a_index), (b, b_index)) = (key(a), key(b));
            b.total_cmp(&a).then(b_index.cmp(&a_index))
        });
        for lane in order.map(usize::from) {
            let start = visitors.len();
            for (row, bounds, near) in &bounds {
                if near >> lane & 1 == 1 && nearest.admits(usize::from(*row), bounds.0[lane], first_indices[lane]) {
                    visitors.push(Visitor { row: *row, bound: bounds.0[lane] });
                }
            }
            if visitors.len() > start {
                let (height, index) = (visit.height - 1, visit.index * LANES + lane);
                visits.push(Visit { height, index, first_index: first_indices[lane], visitors: start });
            }
        }
    }
}

/// The squared distance of a row to each of 16 boxes.
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
unsafe fn to_boxes<V: Lanes>(row: &[f32], ends: &[[Column; 2]]) -> V::Floats {
    unsafe {
        let mut sum = V::splat(0.0);
        for (value, [low, high]) in row.iter().zip(ends) {
            let value = V::splat(*value);
            sum = V::add_squared_difference(sum, value, V::clamp(value, V::load(low), V::load(high)));
        }
        sum
    }
}

/// Compares a row with those of a leaf.
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
unsafe fn compare<V: Lanes>(x: &[f32], row: usize, leaf: (&[[Column; TILES]], &[i32]), nearest: &mut NearestRows<'_>) {
    let (columns, indices) = leaf;
    let (last, _) = nearest.last(row);
    unsafe {
        let limit = V::splat(last);
        let mut sums = [V::splat(0.0); TILES];
        for (x, columns) in x.chunks(FEATURES_A_LOOK).zip(columns.chunks(FEATURES_A_LOOK)) {
            for (value, column) in x.iter().zip(columns) {
                let value = V::splat(*value);
                for (sum, column) in sums.iter_mut().zip(column) {
                    *sum = V::add_squared_difference(*sum, value, V::load(column));
                }
            }
            // Sums only grow.
            let smallest = V::min(V::min(sums[0], sums[1]), V::min(sums[2], sums[3]));
            if V::at_most(smallest, limit) == 0 {
                return;
            }
        }
        for (sums, indices) in sums.into_iter().zip(indices.chunks_exact(LEAF / TILES)) {
            let mut near = V::at_most(sums, limit);
            let distances = V::floats(sums);
            while near != 0 {
                let lane = near.trailing_zeros() as usize;
                near &= near - 1;
                if nearest.admits(row, distances[lane], indices[lane]) {
                    nearest.insert(row, distances[lane], indices[lane]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
