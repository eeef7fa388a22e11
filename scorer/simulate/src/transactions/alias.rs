//! Choosing one of many by weight, in constant time.

use super::random::Random;

/// Weights, so arranged that one draw chooses (Vose, "A linear algorithm for generating random numbers with a given
/// distribution", 1991).
#[derive(Debug, Clone, Default)]
pub(super) struct AliasTable {
    /// For each of n equal slots: how much of it is its own, of 2³², and who has the rest.
    slots: Vec<(u32, u32)>,
}

impl AliasTable {
    /// A table of these weights, finite and not below 0; where their sum is 0 all are equally likely.
    pub(super) fn new(weights: &[f64]) -> Self {
        let sum: f64 = weights.iter().sum();
        let n = weights.len() as f64;
        let mut shares: Vec<f64> =
            weights.iter().map(|weight| if sum > 0.0 { weight / sum * n } else { 1.0 }).collect();
        let mut slots: Vec<(u32, u32)> = (0..weights.len() as u32).map(|at| (u32::MAX, at)).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..shares.len()).partition(|&at| shares[at] < 1.0);
        while let (Some(&less), Some(&more)) = (small.last(), large.last()) {
            small.pop();
            slots[less] = ((shares[less] * (1_u64 << 32) as f64) as u32, more as u32);
            shares[more] -= 1.0 - shares[less];
            if shares[more] < 1.0 {
                large.pop();
                small.push(more);
            }
        }
        Self { slots }
    }

    /// A position, as likely as its weight; 0 of an empty table.
    pub(super) fn pick(&self, random: &mut Random) -> usize {
        let bits = random.bits();
        let at = (((bits >> 32) * self.slots.len() as u64) >> 32) as usize;
        match self.slots.get(at) {
            Some(&(own, other)) if (bits as u32) >= own => other as usize,
            _ => at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_weighs_twice_comes_twice_as_often_and_what_weighs_nothing_never() {
        let weights = [1.0, 2.0, 0.0, 4.0, 1.0];
        let table = AliasTable::new(&weights);
        let (mut random, mut seen) = (Random::new(1, 0), [0_u32; 5]);
        for _ in 0..80_000 {
            seen[table.pick(&mut random)] += 1;
        }
        for (weight, seen) in weights.iter().zip(seen) {
            assert!((f64::from(seen) - weight * 10_000.0).abs() < 400.0, "{weight}: {seen}");
        }
        assert_eq!(seen[2], 0);
    }
}
