//! A step of k-means++: distances to the closest centroid so far, and what a candidate for the next one would leave of them.

use super::lanes::{LANES, Lanes};
use super::scan::{self, Packed};
use super::tiles::Tiles;
use super::{Rows, multiversion};

/// Takes a new centroid, the first of `centers`, into the distances to the closest one of a chunk's points, and weighs
/// the centers after it as candidates: `potentials` gets the sum of the distances that each would leave. Returns the
/// sum of `closest`.
pub(crate) fn seed_step(x: Rows<'_>, closest: &mut [f32], centers: &Packed, potentials: &mut [f64]) -> f64 {
    let mut total = 0.0;
    seed_chunk(x, closest, centers, potentials, &mut total);
    total
}

/// The first point of a chunk at which the running sum of `weights` exceeds `target`.
pub(crate) fn draw_in_chunk(weights: &[f32], target: f64) -> usize {
    let mut sum = 0.0;
    let passes = |weight: &f32| {
        sum += f64::from(*weight);
        sum > target
    };
    let last_possible = || weights.iter().rposition(|&weight| weight > 0.0).unwrap_or(0);
    weights.iter().position(passes).unwrap_or_else(last_possible)
}

multiversion!(fn seed_chunk(x: Rows<'_>, closest: &mut [f32], centers: &Packed, potentials: &mut [f64], total: &mut f64) = seed_body);

#[inline(always)]
unsafe fn seed_body<V: Lanes>(
    x: Rows<'_>,
    closest: &mut [f32],
    centers: &Packed,
    potentials: &mut [f64],
    total: &mut f64,
) {
    let mut distances = vec![[0f32; LANES]; potentials.len() + 1];
    // Sums lane by lane, so that a tile costs additions of whole registers.
    let mut lane_totals = [0f64; LANES];
    let mut lane_potentials = vec![[0f64; LANES]; potentials.len()];
    let mut tiles = Tiles::new(x, None, closest.len());
    unsafe {
        while let Some(tile) = tiles.next::<V>() {
            scan::distances::<V>(tiles.tile(), centers, &mut distances);
            let closest = &mut closest[tile.start..tile.start + tile.len];
            // Lanes without a point are 0 away, and add nothing.
            let mut left = [0f32; LANES];
            left[..tile.len].copy_from_slice(closest);
            for lane in 0..LANES {
                left[lane] = if distances[0][lane] < left[lane] { distances[0][lane] } else { left[lane] };
                lane_totals[lane] += f64::from(left[lane]);
            }
            for (sums, distances) in lane_potentials.iter_mut().zip(&distances[1..]) {
                for lane in 0..LANES {
                    let with = if distances[lane] < left[lane] { distances[lane] } else { left[lane] };
                    sums[lane] += f64::from(with);
                }
            }
            closest.copy_from_slice(&left[..tile.len]);
        }
    }
    *total = lane_totals.iter().sum();
    for (potential, sums) in potentials.iter_mut().zip(&lane_potentials) {
        *potential = sums.iter().sum();
    }
}
