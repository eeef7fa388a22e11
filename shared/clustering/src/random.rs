//! Random generators from a seed, one for each purpose: what is drawn for one thing says nothing about what is drawn for
//! another, although both come from the same seed.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// How many purposes are this crate's own, from 0 on. A crate that stands on this one numbers its purposes from here on.
pub const OWN_PURPOSES: u16 = 16;

/// What this crate draws for.
#[derive(Debug, Clone, Copy)]
#[repr(u16)]
pub(crate) enum Purpose {
    /// The centroids of a restart, which is the index.
    Seeding,
    /// The points that seeds are drawn from, where all are too many.
    SeedSample,
}

/// The generator of a seed for a purpose; `index` tells things of one purpose apart, such as trees or restarts, and is below
/// 2⁴⁸.
///
/// Each is a stream of its own of ChaCha8 (Bernstein, "ChaCha, a variant of Salsa20", 2008): streams of one seed do not
/// overlap.
pub fn generator(seed: u64, purpose: u16, index: u64) -> ChaCha8Rng {
    debug_assert!(index < 1 << 48, "an index of 48 bits");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream((u64::from(purpose) << 48) | index);
    rng
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    #[test]
    fn every_purpose_and_index_has_its_own_numbers() {
        let first = |purpose, index| generator(7, purpose, index).random::<u64>();
        let mut drawn: Vec<u64> = (0..40).flat_map(|purpose| (0..40).map(move |index| first(purpose, index))).collect();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), 1600);
        assert_eq!(first(3, 4), first(3, 4));
    }
}
