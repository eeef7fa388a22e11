//! Features in bins: a split looks at the edges between bins, of which there are few, and not at every value.

use clustering::matrix::Matrix;
use rayon::prelude::*;

/// Most bins of a feature: a bin's number is a byte.
pub(super) const MAX_BINS: usize = 255;

/// The rows that trees are grown on, feature by feature.
#[derive(Debug)]
pub(super) struct Binned {
    /// The bin of each row: `(n_features, n_samples)`.
    pub bins: Vec<Vec<u8>>,
    /// Between bin `i` and the next one: a value up to and including edge `i` is in bin `i` or below. `(n_features, n_bins - 1)`
    pub edges: Vec<Vec<f32>>,
}

impl Binned {
    /// Some rows of `x`, in this order.
    pub fn of(x: &Matrix, rows: &[usize], max_bins: usize) -> Self {
        let of_feature = |feature: usize| {
            let values: Vec<f32> = rows.iter().map(|&row| x.row(row)[feature]).collect();
            let edges = edges(values.clone(), max_bins);
            let bins: Vec<u8> = values.iter().map(|&value| edges.partition_point(|&edge| edge < value) as u8).collect();
            (bins, edges)
        };
        let (bins, edges) = (0..x.n_features()).into_par_iter().map(of_feature).unzip();
        Self { bins, edges }
    }

    pub fn n_bins(&self, feature: usize) -> usize {
        self.edges[feature].len() + 1
    }
}

/// The edges between at most `max_bins` bins: between all values that differ, if these are few enough, and else those that
/// divide the rows most evenly. Which rows an edge divides depends on the order of the values alone.
fn edges(mut values: Vec<f32>, max_bins: usize) -> Vec<f32> {
    values.sort_unstable_by(f32::total_cmp);
    let n_different = values.chunk_by(|a, b| a == b).count();
    let mut edges = Vec::new();
    let mut rows_before = 0;
    let mut runs = values.chunk_by(|a, b| a == b).peekable();
    while let (Some(run), Some(next)) = (runs.next(), runs.peek()) {
        let first = rows_before;
        rows_before += run.len();
        // The multiples of an even part that lie among the rows of this value.
        let parts = |rows: usize| rows * max_bins / values.len();
        if n_different <= max_bins || parts(rows_before) > parts(first) {
            edges.push(between(run[0], next[0]));
        }
    }
    edges.truncate(max_bins - 1);
    edges
}

/// A number from `low` on and below `high`.
fn between(low: f32, high: f32) -> f32 {
    let middle = (0.5 * (f64::from(low) + f64::from(high))) as f32;
    if middle < high { middle.max(low) } else { low }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn binned(values: &[f32], max_bins: usize) -> Binned {
        let rows: Vec<usize> = (0..values.len()).collect();
        Binned::of(&Matrix::from_values(1, values.to_vec()), &rows, max_bins)
    }

    #[test]
    fn few_values_have_a_bin_each() {
        let binned = binned(&[3.0, 1.0, 1.0, 7.0, f32::MAX, f32::MIN], 255);
        assert_eq!(binned.bins[0], [2, 1, 1, 3, 4, 0]);
        assert_eq!(binned.edges[0][1..3], [2.0, 5.0]);
        assert_eq!(super::edges(vec![2.0; 9], 255), [0.0f32; 0]);
    }

    #[test]
    fn many_values_are_divided_evenly() {
        let values: Vec<f32> = (0..10_000).map(|i| ((i * 7919) % 10_007) as f32).collect();
        let binned = binned(&values, 100);
        let mut counts = [0; 100];
        binned.bins[0].iter().for_each(|&bin| counts[usize::from(bin)] += 1);
        assert!(counts.iter().all(|count| (99..=101).contains(count)), "{counts:?}");
    }

    proptest! {
        /// Bins rise with the values, and a map that keeps the order keeps the bins.
        #[test]
        fn bins_depend_on_the_order_alone(values in proptest::collection::vec(-40i32..40, 1..200), max_bins in 2usize..60) {
            let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
            let plain = binned(&values, max_bins);
            prop_assert!(plain.n_bins(0) <= max_bins && plain.edges[0].is_sorted_by(|a, b| a < b));
            for (a, &bin_a) in values.iter().zip(&plain.bins[0]) {
                for (b, &bin_b) in values.iter().zip(&plain.bins[0]) {
                    prop_assert!(a < b || bin_a >= bin_b);
                }
            }
            let mapped: Vec<f32> = values.iter().map(|value| value.powi(3) + 2.0 * value - 5.0).collect();
            prop_assert_eq!(&binned(&mapped, max_bins).bins, &plain.bins);
        }

        #[test]
        fn an_edge_is_between_its_values(a in any::<i32>(), b in any::<i32>()) {
            let (a, b) = (f32::from_bits(a as u32), f32::from_bits(b as u32));
            prop_assume!(a.is_finite() && b.is_finite() && a != b);
            let (low, high) = if a < b { (a, b) } else { (b, a) };
            let edge = between(low, high);
            prop_assert!(low <= edge && edge < high, "{low} {edge} {high}");
        }
    }
}
