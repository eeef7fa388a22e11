//! Random numbers that follow from a record alone.

/// Which record it is, as a number that looks random.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity(u64);

impl Identity {
    /// Of an entity of this key whose first record has this place.
    pub fn of_record(partition: i32, offset: i64, key: &str) -> Self {
        // FNV-1a over the key: several entities may come of one record.
        let hash = key
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        let place = mix(offset as u64).wrapping_add(partition as u64);
        Self(mix(hash ^ mix(place)))
    }

    /// Of whatever has this number.
    pub fn of_number(number: u64) -> Self {
        Self(mix(number))
    }

    /// A number between 0 and 1, and neither of them: another for each purpose.
    pub fn uniform(self, purpose: u64) -> f64 {
        let bits = mix(self.0.wrapping_add(purpose.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        ((bits >> 12) as f64 + 0.5) / (1u64 << 52) as f64
    }
}

/// The output function of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spread_over_the_unit_interval() {
        const N: u64 = 20_000;
        for purpose in [0, 1, 7] {
            let drawn: Vec<f64> =
                (0..N).map(|offset| Identity::of_record(3, offset as i64, "k").uniform(purpose)).collect();
            assert!(drawn.iter().all(|x| *x > 0.0 && *x < 1.0));
            let mean = drawn.iter().sum::<f64>() / N as f64;
            assert!((mean - 0.5).abs() < 0.01, "{mean}");
            let low = drawn.iter().filter(|x| **x < 0.1).count();
            assert!((1_800..2_200).contains(&low), "{low}");
        }
        let of = |partition, offset, key| Identity::of_record(partition, offset, key).uniform(0);
        assert_eq!(of(1, 2, "a"), of(1, 2, "a"));
        assert!(of(1, 2, "a") != of(2, 1, "a") && of(1, 2, "a") != of(1, 2, "b"));
    }
}
