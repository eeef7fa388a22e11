//! How much of what is looked at each day is worth it, where a few keys (cards, accounts) can be looked at.

use std::collections::{HashMap, HashSet};

/// A scored row: on a day, of a key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DailyRow {
    /// The day, by any count of days.
    pub day: i64,
    /// The number of the key.
    pub key: u32,
    /// Higher is more anomalous.
    pub score: f32,
    /// What it is.
    pub is_anomaly: bool,
}

/// What was found on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    /// The day.
    pub day: i64,
    /// How many keys had anomalies, of those that were not found before.
    pub anomalous: u64,
    /// How many of them were among the keys that were looked at.
    pub found: u64,
}

/// Precision among the first `k` keys of each day, as the Fraud Detection Handbook counts it for cards (Le Borgne, Siblini, Lebichot
/// and Bontempi 2022, chapter 4): a key has the highest score of its rows of the day, and is anomalous on a day on which one of them
/// is. A key that was found is blocked: its later rows count no more.
///
/// Of keys with one score, that with the smaller number comes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DailyPrecision {
    k: u64,
    days: Vec<Day>,
}

impl DailyPrecision {
    /// Looks at `k` keys a day, at least one.
    pub fn new(rows: &[DailyRow], k: u64) -> Self {
        let k = k.max(1);
        let mut by_day: HashMap<i64, HashMap<u32, (f32, bool)>> = HashMap::new();
        for row in rows {
            let key = by_day.entry(row.day).or_default().entry(row.key).or_insert((row.score, row.is_anomaly));
            key.0 = if row.score.total_cmp(&key.0).is_gt() { row.score } else { key.0 };
            key.1 |= row.is_anomaly;
        }
        let mut numbers: Vec<i64> = by_day.keys().copied().collect();
        numbers.sort_unstable();
        let mut blocked: HashSet<u32> = HashSet::new();
        let mut days = Vec::with_capacity(numbers.len());
        for day in numbers {
            let keys = by_day.remove(&day).unwrap_or_default();
            let mut keys: Vec<(u32, (f32, bool))> =
                keys.into_iter().filter(|(key, _)| !blocked.contains(key)).collect();
            keys.sort_unstable_by(|a, b| b.1.0.total_cmp(&a.1.0).then(a.0.cmp(&b.0)));
            let anomalous = keys.iter().filter(|(_, (_, is_anomaly))| *is_anomaly).count() as u64;
            let looked_at = usize::try_from(k).unwrap_or(usize::MAX);
            let found: Vec<u32> =
                keys.iter().take(looked_at).filter(|(_, (_, is_anomaly))| *is_anomaly).map(|(key, _)| *key).collect();
            days.push(Day { day, anomalous, found: found.len() as u64 });
            blocked.extend(found);
        }
        Self { k, days }
    }

    /// The days, rising.
    pub fn days(&self) -> &[Day] {
        &self.days
    }

    /// The mean over the days of the share of the `k` keys that were anomalous; none where there is no day.
    pub fn mean(&self) -> Option<f64> {
        let found: f64 = self.days.iter().map(|day| day.found as f64).sum();
        (!self.days.is_empty()).then(|| found / (self.k as f64 * self.days.len() as f64))
    }

    /// The same of someone who knew: what no score can exceed on these days, with these keys blocked.
    pub fn best(&self) -> Option<f64> {
        let findable: f64 = self.days.iter().map(|day| day.anomalous.min(self.k) as f64).sum();
        (!self.days.is_empty()).then(|| findable / (self.k as f64 * self.days.len() as f64))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(rows: &[(i64, u32, f32, bool)]) -> Vec<DailyRow> {
        rows.iter().map(|&(day, key, score, is_anomaly)| DailyRow { day, key, score, is_anomaly }).collect()
    }

    #[test]
    fn a_key_that_was_found_counts_no_more() {
        let rows = rows(&[
            (0, 1, 0.9, false),
            (0, 1, 0.2, true), // its card has a score of 0.9
            (0, 2, 0.8, false),
            (0, 3, 0.1, true),
            (1, 1, 0.9, true), // blocked since yesterday
            (1, 3, 0.5, true),
            (1, 2, 0.4, false),
        ]);
        let one = DailyPrecision::new(&rows, 1);
        assert_eq!(one.days()[0], Day { day: 0, anomalous: 2, found: 1 });
        assert_eq!(one.days()[1], Day { day: 1, anomalous: 1, found: 1 });
        assert_eq!((one.mean(), one.best()), (Some(1.0), Some(1.0)));
        let two = DailyPrecision::new(&rows, 2);
        assert_eq!((two.mean(), two.best()), (Some(0.5), Some(0.75)));
        assert_eq!(DailyPrecision::new(&[], 5).mean(), None);
    }

    proptest! {
        /// Neither the order of rows nor what keeps the order of scores matters, no day finds more than there is, and no key is
        /// found twice.
        #[test]
        fn what_is_found_is_there(
            drawn in proptest::collection::vec((0i64..5, 0u32..8, 0u8..20, any::<bool>()), 0..80), k in 1u64..10, turn in 0usize..80,
        ) {
            let rows: Vec<DailyRow> = drawn
                .iter()
                .map(|&(day, key, score, is_anomaly)| DailyRow { day, key, score: f32::from(score), is_anomaly })
                .collect();
            let found = DailyPrecision::new(&rows, k);
            prop_assert!(found.days().iter().all(|day| day.found <= day.anomalous.min(k)));
            prop_assert!(found.days().is_sorted_by(|a, b| a.day < b.day));
            let anomalous: HashSet<u32> = rows.iter().filter(|row| row.is_anomaly).map(|row| row.key).collect();
            prop_assert!(found.days().iter().map(|day| day.found).sum::<u64>() <= anomalous.len() as u64);
            prop_assert!(found.mean() <= found.best());
            let mut turned: Vec<DailyRow> =
                rows.iter().map(|row| DailyRow { score: row.score.powi(3) - 7.0, ..*row }).collect();
            let by = turn % rows.len().max(1);
            turned.rotate_left(by);
            prop_assert_eq!(DailyPrecision::new(&turned, k), found);
        }

        /// Whoever may look at every key finds all of them, once.
        #[test]
        fn with_enough_looks_everything_is_found(
            drawn in proptest::collection::vec((0i64..5, 0u32..8, 0u8..20, any::<bool>()), 1..80),
        ) {
            let rows: Vec<DailyRow> = drawn
                .iter()
                .map(|&(day, key, score, is_anomaly)| DailyRow { day, key, score: f32::from(score), is_anomaly })
                .collect();
            let found = DailyPrecision::new(&rows, 8);
            let anomalous: HashSet<u32> = rows.iter().filter(|row| row.is_anomaly).map(|row| row.key).collect();
            prop_assert_eq!(found.days().iter().map(|day| day.found).sum::<u64>(), anomalous.len() as u64);
            prop_assert_eq!(found.mean(), found.best());
        }
    }
}
