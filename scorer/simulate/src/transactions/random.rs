//! Random numbers that are the same on every machine.
//!
//! ChaCha8 is the same everywhere, and so is arithmetic; logarithms and cosines are not, so they come from `libm`, which
//! is written in Rust, and never from the system. The ways from bits to numbers are here, so that no change of a library
//! changes what a seed means.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A generator, and the few distributions that the simulation draws from.
#[derive(Debug, Clone)]
pub(super) struct Random(ChaCha8Rng);

impl Random {
    /// One seed gives as many independent generators as are asked for.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// 64 random bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// From 0 up to, and without, 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// From 0 up to, and without, `n`; 0 when `n` is 0. The bias of the multiplication is below n / 2⁶⁴.
    pub(super) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    /// Whether something of this probability happens.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Evenly between two numbers.
    pub(super) fn between(&mut self, least: f64, most: f64) -> f64 {
        least + (most - least) * self.unit()
    }

    /// Between two positive numbers, evenly by their logarithm.
    pub(super) fn log_between(&mut self, least: f64, most: f64) -> f64 {
        libm::exp(self.between(libm::log(least), libm::log(most)))
    }

    /// The standard normal distribution (Box and Muller, 1958), cut at 3.5 deviations: one in 2,000 is nearer.
    pub(super) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * libm::log(1.0 - self.unit())).sqrt();
        (radius * libm::cos(std::f64::consts::TAU * self.unit())).clamp(-3.5, 3.5)
    }

    /// Around `median`; its logarithm is normal with deviation `sigma`.
    pub(super) fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        median * libm::exp(sigma * self.normal())
    }

    /// The time to the next of events that come at random, `mean` apart.
    pub(super) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * libm::log(1.0 - self.unit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean_of(n: u32, mut draw: impl FnMut() -> f64) -> f64 {
        (0..n).map(|_| draw()).sum::<f64>() / f64::from(n)
    }

    #[test]
    fn distributions_have_their_means() {
        let mut random = Random::new(1, 0);
        assert!((mean_of(100_000, || random.unit()) - 0.5).abs() < 0.01);
        assert!(mean_of(100_000, || random.normal()).abs() < 0.02);
        assert!((mean_of(100_000, || random.normal().powi(2)) - 1.0).abs() < 0.03);
        assert!((mean_of(100_000, || random.exponential(3.0)) - 3.0).abs() < 0.05);
        assert!((mean_of(100_000, || random.log_normal(20.0, 0.5).ln()) - 20_f64.ln()).abs() < 0.02);
    }

    #[test]
    fn a_seed_means_the_same_for_ever() {
        // Figures that were seen once: another library, version or machine must not change them.
        let mut random = Random::new(7, 1);
        let drawn = [random.unit(), random.normal(), random.exponential(1.0), random.log_normal(10.0, 0.5)];
        let seen: Vec<String> = drawn.iter().map(|value| format!("{:016x}", value.to_bits())).collect();
        insta::assert_snapshot!(seen.join(" "), @"3fefbf5ae6f51af5 bf988019acc01f18 3fe80831e7d8fb48 4021558f4ecc7e07");
        assert!((0..1000).all(|_| random.below(3) < 3));
    }
}
