//! How producers placed the keys that a group remembers: each key lies in a partition, and few hashes explain all of them.

use shared::text::printable;

use super::partitioner::Partitioner;

/// What keys in known partitions say of how they were placed.
#[derive(Debug)]
pub(super) struct Evidence {
    before: i32,
    now: i32,
    keys: u64,
    candidates: [Candidate; 3],
    /// Whether two of those that explain all keys place one of them in two partitions from now on.
    disagree: [bool; 3],
}

#[derive(Debug)]
struct Candidate {
    partitioner: Partitioner,
    /// A key that it does not explain, and where that is.
    unexplained: Option<(String, i32)>,
    /// Keys that it places elsewhere from now on.
    moved: u64,
}

/// Pairs of candidates.
const PAIRS: [(usize, usize); 3] = [(0, 1), (0, 2), (1, 2)];

impl Evidence {
    /// Nothing is known yet of keys in `before` partitions, which become `now`.
    pub(super) fn new(before: i32, now: i32) -> Self {
        let candidate = |partitioner| Candidate { partitioner, unexplained: None, moved: 0 };
        Self { before, now, keys: 0, candidates: Partitioner::ALL.map(candidate), disagree: [false; 3] }
    }

    /// A key lies in a partition.
    pub(super) fn add(&mut self, key: &str, partition: i32) {
        self.keys += 1;
        let mut places = [0; 3];
        for (candidate, place) in self.candidates.iter_mut().zip(&mut places) {
            if candidate.unexplained.is_some() {
                continue;
            }
            if candidate.partitioner.place(key.as_bytes(), self.before) != partition {
                candidate.unexplained = Some((key.to_owned(), partition));
            }
            *place = candidate.partitioner.place(key.as_bytes(), self.now);
            candidate.moved += u64::from(*place != partition);
        }
        for ((a, b), disagree) in PAIRS.into_iter().zip(&mut self.disagree) {
            *disagree |= places[a] != places[b];
        }
    }

    /// How many keys there were.
    pub(super) fn keys(&self) -> u64 {
        self.keys
    }

    /// How many keys go to another partition.
    pub(super) fn moved(&self, by: Partitioner) -> u64 {
        self.candidates.iter().find(|candidate| candidate.partitioner == by).map_or(0, |candidate| candidate.moved)
    }

    /// How the keys were placed: as `said`, if that is so, or else by the one that explains all of them.
    ///
    /// # Errors
    /// Why that is not known, after "its keys ".
    pub(super) fn partitioner(&self, said: Option<Partitioner>) -> Result<Partitioner, String> {
        if let Some(candidate) = self.candidates.iter().find(|candidate| Some(candidate.partitioner) == said) {
            let Candidate { partitioner, unexplained, .. } = candidate;
            return match unexplained {
                None => Ok(*partitioner),
                Some(found) => Err(format!("were not placed by {partitioner}: {}", self.lies(found))),
            };
        }
        let left: Vec<usize> = (0..3).filter(|&index| self.candidates[index].unexplained.is_none()).collect();
        let are_apart = PAIRS.iter().zip(self.disagree).any(|((a, b), is)| is && left.contains(a) && left.contains(b));
        match left.first() {
            Some(&first) if !are_apart => Ok(self.candidates[first].partitioner),
            Some(_) => {
                let names: Vec<&str> = left.iter().map(|&index| self.candidates[index].partitioner.name()).collect();
                Err(format!(
                    "may have been placed by {}: say which one its producers use with --partitioner (Java's producers use \
                     murmur2, librdkafka's crc32, if they are not told otherwise)",
                    names.join(" or by ")
                ))
            }
            None => {
                let found = self.candidates.iter().find_map(|candidate| candidate.unexplained.as_ref());
                let lies = found.map_or_else(String::new, |found| format!(": {}", self.lies(found)));
                Err(format!(
                    "were placed neither by murmur2 nor by crc32 nor by fnv1a{lies}. Where they will go is not known, so \
                     nothing can be carried over; a new group reads the topic from its beginning, and with `run --repartition \
                     always` it can grow from then on"
                ))
            }
        }
    }

    fn lies(&self, (key, partition): &(String, i32)) -> String {
        format!("`{}` is in partition {partition} of {}", printable(key), self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What keys say that were placed by one of the known ones.
    fn evidence(by: Partitioner, before: i32, now: i32, keys: u32) -> Evidence {
        let mut evidence = Evidence::new(before, now);
        for key in (0..keys).map(|number| (536_365 + number).to_string()) {
            evidence.add(&key, by.place(key.as_bytes(), before));
        }
        evidence
    }

    #[test]
    fn many_keys_tell_how_they_were_placed() {
        for by in Partitioner::ALL {
            let evidence = evidence(by, 2, 5, 100);
            assert_eq!(evidence.partitioner(None), Ok(by));
            assert_eq!(evidence.partitioner(Some(by)), Ok(by));
            assert!(evidence.moved(by) > 0 && evidence.moved(by) < evidence.keys());
            for other in Partitioner::ALL.into_iter().filter(|other| *other != by) {
                assert!(evidence.partitioner(Some(other)).unwrap_err().contains("were not placed by"));
            }
        }
    }

    #[test]
    fn one_partition_tells_nothing() {
        let evidence = evidence(Partitioner::Crc32, 1, 4, 100);
        assert!(evidence.partitioner(None).unwrap_err().contains("--partitioner"));
        assert_eq!(evidence.partitioner(Some(Partitioner::Fnv1a)), Ok(Partitioner::Fnv1a));
        // Where there is nothing to place, it does not matter.
        assert!(Evidence::new(1, 4).partitioner(None).is_ok());
    }

    #[test]
    fn keys_that_no_hash_explains_are_refused() {
        let mut evidence = evidence(Partitioner::Murmur2, 2, 4, 100);
        let astray = 1 - Partitioner::Murmur2.place(b"astray", 2);
        evidence.add("astray", astray);
        let refused = evidence.partitioner(None).unwrap_err();
        assert!(refused.contains("neither by murmur2 nor by crc32") && refused.contains("of 2"), "{refused}");
    }
}
