//! Which entities are known to be anomalies, by their keys.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The keys of anomalies. All others count as normal.
///
/// A key is kept as 64 bits of its hash: of ten million keys, any two have the same with a probability of three in a
/// million.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    anomalies: HashSet<u64>,
    records: u64,
}

impl Labels {
    /// Takes what a record says of `key`; of a key that comes again, once an anomaly is enough.
    pub fn add(&mut self, key: &str, is_anomaly: bool) {
        self.records += 1;
        if is_anomaly {
            self.anomalies.insert(hash_of(key.trim()));
        }
    }

    /// Whether `key` is an anomaly's.
    pub fn is_anomaly(&self, key: &str) -> bool {
        self.anomalies.contains(&hash_of(key))
    }

    /// How many keys are anomalies'.
    pub fn n_anomalies(&self) -> u64 {
        self.anomalies.len() as u64
    }

    /// How many records had a key.
    pub fn records(&self) -> u64 {
        self.records
    }
}

/// 64 bits that are the same in every run.
pub(super) fn hash_of(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_that_is_an_anomaly_makes_its_entity_one() {
        let mut labels = Labels::default();
        for (key, is_anomaly) in [("1", false), ("2", true), ("2", false), (" 3 ", true)] {
            labels.add(key, is_anomaly);
        }
        assert_eq!(["1", "2", "3", "4"].map(|key| labels.is_anomaly(key)), [false, true, true, false]);
        assert_eq!((labels.n_anomalies(), labels.records()), (2, 4));
    }
}
