//! Capital that grows where p-values are not uniform.

/// The share of the capital that is staked, at each p-value, on another bet than before: what has changed may change again.
const JUMP: f64 = 0.001;

/// What is bet on.
const N_BETS: usize = 9;

/// Where the capital is written anew, so that no number leaves float64.
const LARGE: f64 = 1e100;

/// The part of the p-values in which the bet on anomalies lies.
const TAIL: f64 = 0.01;

/// What is staked on that part.
const STAKE: f64 = 0.05;

/// A test martingale: of independent, uniform p-values it is worth as much at the next one as it is now, in expectation. It begins at
/// 1 and is never negative, so it ever reaches `1 / alpha` with a probability of at most `alpha`.
///
/// It is a jumper (Vovk, Petej, Nouretdinov, Ahlberg, Carlsson and Gammerman 2021) over several bets: p-values are larger, smaller,
/// further apart or closer together than they should be, or too many are very small. Capital sleeps until it is staked for the first
/// time: after `n` p-values, `1 / (n + 1)` of it still does. So, however long all was well, what is left to win is a factor of
/// `n + 1` short of what it was at the start, and no more.
#[derive(Debug, Clone, PartialEq)]
pub struct Martingale {
    n: u64,
    asleep: f64,
    staked: [f64; N_BETS],
    /// What all of it is to be multiplied with, as its decimal logarithm.
    log10_scale: f64,
}

impl Default for Martingale {
    fn default() -> Self {
        Self { n: 0, asleep: 1.0, staked: [0.0; N_BETS], log10_scale: 0.0 }
    }
}

impl Martingale {
    /// Bets on a p-value above 0 and at most 1.
    pub fn add(&mut self, p: f64) {
        self.n += 1;
        let woken = self.asleep / (self.n + 1) as f64;
        self.asleep -= woken;
        let share = (self.staked.iter().sum::<f64>() * JUMP + woken) / N_BETS as f64;
        for (staked, odds) in self.staked.iter_mut().zip(odds(p)) {
            *staked = (*staked * (1.0 - JUMP) + share) * odds;
        }
        let capital = self.capital();
        if capital > LARGE {
            self.asleep /= capital;
            self.staked.iter_mut().for_each(|staked| *staked /= capital);
            self.log10_scale += capital.log10();
        }
    }

    /// The decimal logarithm of the capital.
    pub fn log10(&self) -> f64 {
        self.capital().log10() + self.log10_scale
    }

    fn capital(&self) -> f64 {
        self.asleep + self.staked.iter().sum::<f64>()
    }
}

/// What each bet pays for a p-value: a density over the unit interval, so 1 on average.
fn odds(p: f64) -> [f64; N_BETS] {
    let from_middle = p - 0.5;
    // From -1 in the middle to 2 at the ends, and 0 on average.
    let spread = 12.0 * from_middle * from_middle - 1.0;
    [
        1.0 - 1.5 * from_middle,
        1.0 - 0.5 * from_middle,
        1.0 + 0.5 * from_middle,
        1.0 + 1.5 * from_middle,
        1.0 + 0.4 * spread,
        1.0 - 0.3 * spread,
        0.5 / p.sqrt(),
        0.8 * p.powf(-0.2),
        if p < TAIL { 1.0 - STAKE + STAKE / TAIL } else { 1.0 - STAKE },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The property that everything else rests on.
    #[test]
    fn every_bet_is_fair() {
        // The roots of p are steep at 0: so many points that the first of them matters little.
        const N: usize = 4_000_000;
        let mut sums = [0.0; N_BETS];
        for index in 0..N {
            let odds = odds((index as f64 + 0.5) / N as f64);
            assert!(odds.iter().all(|odds| *odds > 0.0));
            sums.iter_mut().zip(odds).for_each(|(sum, odds)| *sum += odds / N as f64);
        }
        assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-3), "{sums:?}");
    }

    #[test]
    fn what_sleeps_bounds_what_is_lost() {
        let mut martingale = Martingale::default();
        for n in 1..=100_000u64 {
            // As even as p-values can be: every bet loses.
            martingale.add((n as f64 * 0.618_033_988_749_895).fract().max(1e-6));
            assert!(martingale.log10() >= -((n + 1) as f64).log10() - 1e-9, "{n}: {}", martingale.log10());
        }
        assert!(martingale.log10() < 0.0);
    }

    #[test]
    fn capital_that_leaves_float64_is_still_counted() {
        let mut martingale = Martingale::default();
        let mut before = martingale.log10();
        for _ in 0..10_000 {
            martingale.add(1e-9);
            assert!(martingale.log10() > before && martingale.log10().is_finite());
            before = martingale.log10();
        }
        assert!(before > 1_000.0, "{before}");
    }
}
