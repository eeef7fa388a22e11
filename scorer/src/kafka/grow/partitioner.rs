//! How producers choose a partition by a key: each of these takes the remainder of a hash.

use std::fmt;

/// How a producer places keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partitioner {
    /// What Java's producers do by default; `murmur2` and `murmur2_random` of librdkafka.
    Murmur2,
    /// What librdkafka's producers do by default, as `consistent_random`; also `consistent`.
    Crc32,
    /// `fnv1a` and `fnv1a_random` of librdkafka, and the default of Sarama.
    Fnv1a,
}

impl Partitioner {
    /// Those that are known.
    pub const ALL: [Self; 3] = [Self::Murmur2, Self::Crc32, Self::Fnv1a];

    /// The one that librdkafka calls so, if it places by the key.
    pub(super) fn of_librdkafka(name: &str) -> Option<Self> {
        match name.strip_suffix("_random").unwrap_or(name) {
            "consistent" => Some(Self::Crc32),
            "murmur2" => Some(Self::Murmur2),
            "fnv1a" => Some(Self::Fnv1a),
            _ => None,
        }
    }

    /// What users call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Murmur2 => "murmur2",
            Self::Crc32 => "crc32",
            Self::Fnv1a => "fnv1a",
        }
    }

    /// The partition of a key among so many.
    pub(super) fn place(self, key: &[u8], partitions: i32) -> i32 {
        let hash = match self {
            Self::Murmur2 => murmur2(key) & 0x7fff_ffff,
            Self::Crc32 => crc32fast::hash(key),
            Self::Fnv1a => fnv1a(key),
        };
        (hash % partitions.unsigned_abs().max(1)) as i32
    }
}

impl fmt::Display for Partitioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `MurmurHash2` by Austin Appleby, with the seed of Java's clients.
fn murmur2(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ key.len() as u32;
    let words = key.chunks_exact(4);
    let rest = words.remainder();
    for word in words {
        let mut mixed = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        mixed ^= mixed >> 24;
        hash = hash.wrapping_mul(M) ^ mixed.wrapping_mul(M);
    }
    for (index, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * index);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// FNV-1a by Fowler, Noll and Vo; of a number below 0 without its sign, as Sarama has it.
fn fnv1a(key: &[u8]) -> u32 {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    (key.iter().fold(0x811c_9dc5, step) as i32).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of librdkafka's own tests, which come from Java's and Go's clients; the last one is that of the CRC's definition.
    #[test]
    fn hashes_are_those_of_other_clients() {
        let keys: [&[u8]; 5] = [b"kafka", b"giberish123456789", b"1234", b"234", b""];
        assert_eq!(keys.map(murmur2), [0xd067_cf64, 0x8f55_2b0c, 0x9fc9_7b14, 0xe7c0_09ca, 0x106e_08d9]);
        assert_eq!(keys.map(fnv1a), [0x0d33_c4e1, 0x77a5_8295, 0x023b_dd03, 0x2dea_3cd2, 0x7ee3_623b]);
        assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn every_key_has_a_partition_that_there_is() {
        for (partitioner, key) in Partitioner::ALL.into_iter().zip(["536365", "C536379", "12345"]) {
            for partitions in 1..20 {
                assert!((0..partitions).contains(&partitioner.place(key.as_bytes(), partitions)));
            }
        }
        assert_eq!(Partitioner::of_librdkafka("consistent_random"), Some(Partitioner::Crc32));
        assert_eq!(Partitioner::of_librdkafka("random"), None);
    }
}
