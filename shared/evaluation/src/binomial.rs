//! The binomial distribution: probabilities that stay exact for large counts, and draws from it.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// The probability of `successes` in `trials`, each a success with the probability `p`.
///
/// Loader's saddle-point form (C. Loader, "Fast and Accurate Computation of Binomial Probabilities", 2000): where
/// logarithms of factorials would cancel and lose their digits, it has small terms only.
pub(super) fn probability(successes: u64, trials: u64, p: f64) -> f64 {
    let (x, n, q) = (successes as f64, trials as f64, 1.0 - p);
    if successes > trials {
        return 0.0;
    }
    if successes == 0 {
        return (n * (-p).ln_1p()).exp();
    }
    if successes == trials {
        return (n * p.ln()).exp();
    }
    let error = stirling_error(n) - stirling_error(x) - stirling_error(n - x);
    let deviances = deviance(x, n * p) + deviance(n - x, n * q);
    (error - deviances).exp() * (n / (2.0 * std::f64::consts::PI * x * (n - x))).sqrt()
}

/// What Stirling's formula leaves of `ln n!`, for whole n of at least 1.
fn stirling_error(n: f64) -> f64 {
    if n < 16.0 {
        // n! is exact in float64 here.
        let factorial: f64 = (1..=n as u32).map(f64::from).product();
        let stirling = 0.5 * (2.0 * std::f64::consts::PI * n).ln() + n * n.ln() - n;
        return factorial.ln() - stirling;
    }
    let square = n * n;
    (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - (1.0 / 1680.0 - 1.0 / 1188.0 / square) / square) / square) / square)
        / n
}

/// `x ln(x / mean) + mean - x`, by a series where the two are close and the difference would cancel.
fn deviance(x: f64, mean: f64) -> f64 {
    let difference = x - mean;
    if difference.abs() >= 0.1 * (x + mean) {
        return x * (x / mean).ln() + mean - x;
    }
    let v = difference / (x + mean);
    let (mut sum, mut term) = (difference * v, 2.0 * x * v);
    for index in 1..1000 {
        term *= v * v;
        let next = sum + term / f64::from(2 * index + 1);
        if next == sum {
            break;
        }
        sum = next;
    }
    sum
}

/// Draws how many of `trials` are successes.
///
/// The distribution is searched from its mode, downwards and upwards in turns (Kemp, "A modal method for generating
/// binomial variables", Communications in Statistics 15, 1986): about as many steps as its standard deviation is wide.
pub(super) fn draw(trials: u64, p: f64, rng: &mut ChaCha8Rng) -> u64 {
    if trials == 0 || p <= 0.0 {
        return 0;
    }
    if p >= 1.0 {
        return trials;
    }
    let (n, odds) = (trials as f64, p / (1.0 - p));
    let mode = (((n + 1.0) * p).floor() as u64).min(trials);
    let at_mode = probability(mode, trials, p);
    let mut left = rng.random::<f64>() - at_mode;
    let (mut low, mut low_probability) = (mode, at_mode);
    let (mut high, mut high_probability) = (mode, at_mode);
    while left >= 0.0 {
        if low == 0 && high == trials {
            // What is left is rounding.
            return mode;
        }
        if high < trials {
            high_probability *= (n - high as f64) / (high as f64 + 1.0) * odds;
            high += 1;
            left -= high_probability;
            if left < 0.0 {
                return high;
            }
        }
        if low > 0 {
            low_probability *= low as f64 / ((n - low as f64 + 1.0) * odds);
            low -= 1;
            left -= low_probability;
            if left < 0.0 {
                return low;
            }
        }
        if low_probability + high_probability < f64::MIN_POSITIVE {
            return mode;
        }
    }
    mode
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn probabilities_are_those_of_scipy() {
        // binom.pmf of SciPy 1.17.1.
        for (trials, successes, p, expected) in [
            (10, 3, 0.3, 0.266_827_931_999_999_8),
            (1_000, 250, 0.25, 0.029_124_105_883_705_09),
            (5_000_000, 123_456, 0.0247, 0.001_140_491_263_184_422),
            (7, 0, 0.1, 0.478_296_899_999_999_97),
            (7, 7, 0.1, 1e-7),
            (1_000_000, 999_990, 0.999_99, 0.125_110_661_275_899_2),
        ] {
            let found = probability(successes, trials, p);
            assert!((found / expected - 1.0).abs() < 1e-10, "{trials} {successes}: {found} instead of {expected}");
        }
        assert_eq!(probability(8, 7, 0.5), 0.0);
    }

    #[test]
    fn probabilities_add_up_to_one() {
        for (trials, p) in [(1, 0.5), (17, 0.02), (60, 0.9), (400, 0.37)] {
            let sum: f64 = (0..=trials).map(|successes| probability(successes, trials, p)).sum();
            assert!((sum - 1.0).abs() < 1e-12, "{sum}");
        }
    }

    #[test]
    fn draws_have_the_mean_and_the_variance_of_the_distribution() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        for (trials, p) in [(1u64, 0.3), (12, 0.5), (40, 0.01), (5_000, 0.7), (3_000_000, 0.2)] {
            let draws: Vec<f64> = (0..20_000).map(|_| draw(trials, p, &mut rng) as f64).collect();
            let n = draws.len() as f64;
            let mean = draws.iter().sum::<f64>() / n;
            let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
            let (expected_mean, expected_variance) = (trials as f64 * p, trials as f64 * p * (1.0 - p));
            let error = (expected_variance / n).sqrt();
            assert!((mean - expected_mean).abs() < 4.0 * error, "{trials} {p}: {mean}");
            assert!((variance / expected_variance - 1.0).abs() < 0.08, "{trials} {p}: {variance}");
        }
        assert_eq!((draw(9, 0.0, &mut rng), draw(9, 1.0, &mut rng), draw(0, 0.5, &mut rng)), (0, 9, 0));
    }
}
