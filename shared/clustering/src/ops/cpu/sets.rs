//! How far a row's neighbour in each of many small sets is: every distance is computed, because sets of a few hundred rows have
//! nothing that could be passed over.
//!
//! The nearest rows so far of 16 points lie in registers, in order. A new distance goes through them from the nearest to the
//! farthest: each keeps the smaller one and hands the larger one on. There is no branch, and no index is kept.

use rayon::prelude::*;

use super::lanes::{LANES, Lanes};
use super::scan::{Packed, Tile, smallest};
use super::tiles::Tiles;
use super::{Rows, multiversion};

/// Most neighbours of a row that are kept in registers.
pub(crate) const MOST_NEAREST: usize = 8;

/// Points that go through a set together, which is then in the first-level cache, and they in the second-level one.
const POINTS: usize = 512;

/// For each row of `x`, the sum over `sets` of the distance to its `k`-th nearest row there, squared distances being at most
/// [`f32::MAX`].
///
/// `x` is finite, and each set has `k` rows or more; `k` is from 1 to [`MOST_NEAREST`].
pub(crate) fn sums_of_distances(x: Rows<'_>, sets: &[Packed], k: usize) -> Vec<f64> {
    assert!((1..=MOST_NEAREST).contains(&k) && sets.iter().all(|set| set.n_clusters() >= k));
    let mut sums = vec![0.0; x.len()];
    let chunks = x.values.par_chunks(POINTS * x.n_features).zip(sums.par_chunks_mut(POINTS));
    chunks.for_each(|(values, sums)| add_chunk(Rows { values, ..x }, sets, k, sums));
    sums
}

multiversion!(fn add_chunk(x: Rows<'_>, sets: &[Packed], k: usize, sums: &mut [f64]) = add_body);

#[inline(always)]
unsafe fn add_body<V: Lanes>(x: Rows<'_>, sets: &[Packed], k: usize, sums: &mut [f64]) {
    // SAFETY: this is a version for the processor's instructions, and so are those that it calls.
    unsafe {
        match k {
            1 => add_of::<V, 1>(x, sets, sums),
            2 => add_of::<V, 2>(x, sets, sums),
            3 => add_of::<V, 3>(x, sets, sums),
            4 => add_of::<V, 4>(x, sets, sums),
            5 => add_of::<V, 5>(x, sets, sums),
            6 => add_of::<V, 6>(x, sets, sums),
            7 => add_of::<V, 7>(x, sets, sums),
            _ => add_of::<V, MOST_NEAREST>(x, sets, sums),
        }
    }
}

/// Adds the distance to the last of the `N` nearest rows of each set.
#[inline(always)]
unsafe fn add_of<V: Lanes, const N: usize>(x: Rows<'_>, sets: &[Packed], sums: &mut [f64]) {
    let (mut tiles, mut loaded) = (Tiles::new(x, None, x.len()), Vec::<Tile>::with_capacity(POINTS / LANES));
    unsafe {
        while tiles.next::<V>().is_some() {
            loaded.push(tiles.tile().clone());
        }
        for set in sets {
            for (tile, sums) in loaded.iter().zip(sums.chunks_mut(LANES)) {
                let nearest = smallest::<V, N>(tile, set);
                for (lane, sum) in sums.iter_mut().enumerate() {
                    *sum += f64::from(nearest[N - 1][lane].min(f32::MAX).sqrt());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::lanes::Portable;
    use super::super::{fused, squared_distance};
    use super::*;

    fn by_definition(x: Rows<'_>, sets: &[Rows<'_>], k: usize) -> Vec<f64> {
        let in_set = |row: &[f32], set: &Rows<'_>| {
            let mut squared: Vec<f32> = (0..set.len()).map(|index| squared_distance(row, set.row(index))).collect();
            squared.sort_by(f32::total_cmp);
            f64::from(squared[k - 1].min(f32::MAX).sqrt())
        };
        (0..x.len())
            .map(|row| sets.iter().map(|set| in_set(x.row(row), set)).fold(0.0, |sum, part| sum + part))
            .collect()
    }

    #[test]
    fn what_is_beyond_float32_is_far_away() {
        let (x, set) = ([3e38, 0.0], [-3e38, 1.0, -3e38]);
        let found = sums_of_distances(
            Rows { values: &x, n_features: 1 },
            &[Packed::new(Rows { values: &set, n_features: 1 })],
            2,
        );
        assert_eq!(found, [f64::from(f32::MAX.sqrt()); 2]);
    }

    proptest! {
        /// Values on a grid, so that rows are equal, and those in between.
        #[test]
        fn sums_are_those_of_the_definition_to_the_bit(
            values in proptest::collection::vec(prop_oneof![(0i8..4).prop_map(f32::from), -9.0f32..9.0], 60..3_000),
            d in 1usize..11,
            n_sets in 1usize..4,
            k in 1..=MOST_NEAREST,
            points in 1usize..600,
        ) {
            let rows: Vec<&[f32]> = values.chunks_exact(d).collect();
            prop_assume!(rows.len() >= k);
            let set = |number: usize| -> Vec<f32> {
                let count = k + (number * 37) % (rows.len() - k + 1);
                (0..count).flat_map(|row| rows[(row * 7 + number) % rows.len()]).copied().collect()
            };
            let sets: Vec<Vec<f32>> = (0..n_sets).map(set).collect();
            let sets: Vec<Rows<'_>> = sets.iter().map(|values| Rows { values, n_features: d }).collect();
            let x: Vec<f32> = (0..points).flat_map(|row| rows[row % rows.len()]).copied().collect();
            let x = Rows { values: &x, n_features: d };
            let packed: Vec<Packed> = sets.iter().map(|set| Packed::new(*set)).collect();
            let expected = by_definition(x, &sets, k);
            prop_assert_eq!(&sums_of_distances(x, &packed, k), &expected);
            let mut portable = vec![0.0; x.len()];
            // SAFETY: arrays need no instruction in particular.
            unsafe {
                if fused() {
                    add_body::<Portable<true>>(x, &packed, k, &mut portable);
                } else {
                    add_body::<Portable<false>>(x, &packed, k, &mut portable);
                }
            }
            prop_assert_eq!(portable, expected);
        }
    }
}
