//! Random Fourier features: with frequencies ω drawn from a normal distribution, the mean of cos(ω (x - y)) is the
//! kernel.
//!
//! A frequency has two features, cos(ω x) and sin(ω x), which approximate the kernel better than one with a random
//! phase (Sutherland and Schneider, "On the error of random Fourier features", 2015).

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::random::Stream;

/// `n_components` frequencies for the kernel with `gamma`, in turns a unit: `(n_features, n_components)`.
pub(super) fn frequencies(n_features: usize, n_components: usize, gamma: f32, seed: u64) -> Vec<f32> {
    let mut rng = Stream::Frequencies.of(seed);
    let deviation = (2.0 * f64::from(gamma)).sqrt() / (2.0 * std::f64::consts::PI);
    let n_values = n_features * n_components;
    let draw = |_| {
        let [x, y] = normal_pair(&mut rng);
        [(deviation * x) as f32, (deviation * y) as f32]
    };
    (0..n_values.div_ceil(2)).flat_map(draw).take(n_values).collect()
}

/// Two draws from the standard normal distribution (Box and Muller 1958).
fn normal_pair(rng: &mut ChaCha8Rng) -> [f64; 2] {
    let length = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    let (sine, cosine) = (2.0 * std::f64::consts::PI * rng.random::<f64>()).sin_cos();
    [length * cosine, length * sine]
}

/// cos(2π t) of angles t in turns, in place; within 1e-6.
///
/// Written out so that the compiler makes vector instructions of it: 1 - 2 sin²(π f), with f between -1/2 and 1/2.
pub(super) fn cos_turns(turns: &mut [f32]) {
    // Adding 1.5 · 2²³ rounds to a whole number.
    const WHOLE: f32 = 12_582_912.0;
    // (-1)ⁿ πᵐ / m! with m = 2n + 1
    const TERMS: [f32; 7] =
        [4.663_028e-4, -7.370_431e-3, 8.214_588_7e-2, -5.992_645e-1, 2.550_164, -5.167_712_8, std::f32::consts::PI];
    for value in turns {
        let fraction = (*value - ((*value + WHOLE) - WHOLE)).clamp(-0.5, 0.5);
        let square = fraction * fraction;
        let sine = fraction * TERMS.iter().fold(0.0, |sum, term| sum * square + term);
        *value = 1.0 - 2.0 * sine * sine;
    }
}
