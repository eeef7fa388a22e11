//! How far detectors say the same of the same rows.

use rayon::prelude::*;

use super::statistics::mean;

/// How two detectors' reports overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Overlap {
    /// Rows that both report.
    pub both: u64,
    /// Rows that only the first reports.
    pub only_first: u64,
    /// Rows that only the second reports.
    pub only_second: u64,
}

impl Overlap {
    /// Counts rows, of which each comes as whether the first and whether the second detector reports it.
    pub fn of(rows: impl IntoIterator<Item = (bool, bool)>) -> Self {
        let mut overlap = Self::default();
        for row in rows {
            match row {
                (true, true) => overlap.both += 1,
                (true, false) => overlap.only_first += 1,
                (false, true) => overlap.only_second += 1,
                (false, false) => {}
            }
        }
        overlap
    }

    /// The share of rows that either reports which both report (Jaccard 1901); 1 when neither reports any.
    pub fn jaccard(self) -> f64 {
        let either = self.both + self.only_first + self.only_second;
        if either == 0 { 1.0 } else { self.both as f64 / either as f64 }
    }
}

/// The rank of each score, from 1 for the lowest; scores that tie share the mean of their ranks: `(n_samples)`.
pub fn average_ranks(scores: &[f32]) -> Vec<f64> {
    let mut order: Vec<u32> = (0..scores.len() as u32).collect();
    order.par_sort_unstable_by(|&a, &b| scores[a as usize].total_cmp(&scores[b as usize]));
    let (mut ranks, mut before) = (vec![0.0; scores.len()], 0);
    for tied in order.chunk_by(|&a, &b| scores[a as usize] == scores[b as usize]) {
        let rank = before as f64 + (tied.len() as f64 + 1.0) / 2.0;
        tied.iter().for_each(|&row| ranks[row as usize] = rank);
        before += tied.len();
    }
    ranks
}

/// The correlation of two columns `(n_samples)`; none when one of them does not vary.
pub fn pearson(a: &[f64], b: &[f64]) -> Option<f64> {
    let n = a.len().min(b.len());
    let (a, b) = (&a[..n], &b[..n]);
    let (mean_a, mean_b) = (mean(a.iter().copied()), mean(b.iter().copied()));
    let (mut together, mut of_a, mut of_b) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        together += (a - mean_a) * (b - mean_b);
        of_a += (a - mean_a) * (a - mean_a);
        of_b += (b - mean_b) * (b - mean_b);
    }
    (of_a > 0.0 && of_b > 0.0).then(|| (together / (of_a * of_b).sqrt()).clamp(-1.0, 1.0))
}

/// The rank correlation of two detectors' scores `(n_samples)` of the same rows (Spearman 1904): 1 when they put the rows
/// into the same order. None when one of them gives every row the same score.
pub fn spearman(a: &[f32], b: &[f32]) -> Option<f64> {
    pearson(&average_ranks(a), &average_ranks(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rank_correlation_is_that_of_scipy() {
        // spearmanr of SciPy 1.17.1.
        let (a, b) = ([1.0, 2.0, 2.0, 3.0, 5.0, 5.0, 5.0, 8.0], [2.0, 1.0, 4.0, 4.0, 3.0, 9.0, 9.0, 7.0]);
        assert!((spearman(&a, &b).unwrap() - 0.689_560_714_965_216_5).abs() < 1e-14);
        assert_eq!(spearman(&a, &[1.0; 8]), None);
        assert_eq!(spearman(&[], &[]), None);
    }

    #[test]
    fn detectors_that_report_nothing_agree() {
        assert_eq!(Overlap::of([(false, false)]).jaccard(), 1.0);
        assert_eq!(Overlap::of([(true, true), (true, false), (false, true), (false, false)]).jaccard(), 1.0 / 3.0);
    }

    proptest! {
        #[test]
        fn ranks_are_the_mean_place_among_equals(scores in proptest::collection::vec(-4..4i32, 1..40)) {
            let scores: Vec<f32> = scores.into_iter().map(|score| score as f32).collect();
            for (rank, score) in average_ranks(&scores).into_iter().zip(&scores) {
                let below = scores.iter().filter(|other| *other < score).count() as f64;
                let equal = scores.iter().filter(|other| *other == score).count() as f64;
                prop_assert_eq!(rank, below + (equal + 1.0) / 2.0);
            }
        }

        #[test]
        fn any_rising_function_keeps_the_order(scores in proptest::collection::vec(-40..40i32, 3..40)) {
            let scores: Vec<f32> = scores.into_iter().map(|score| score as f32 / 8.0).collect();
            let risen: Vec<f32> = scores.iter().map(|score| score.exp()).collect();
            if let Some(correlation) = spearman(&scores, &risen) {
                prop_assert!((correlation - 1.0).abs() < 1e-12);
            }
        }
    }
}
