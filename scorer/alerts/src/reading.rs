//! The numbers of the stream at a moment, and how they were a while ago.

use std::collections::VecDeque;

/// The numbers of the stream. Counters begin at 0 when the process starts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// Records that were read.
    pub records: u64,
    /// Records and entities that were published as erroneous.
    pub erroneous: u64,
    /// Records that wait to be read, as far as that is known.
    pub lag: Option<u64>,
    /// How old the record is that was read last, in milliseconds, while there are more to read; 0 where there are none.
    pub lag_age: Option<i64>,
    /// Whether this instance has partitions to read. One without any hears of no records, and that means nothing.
    pub is_reading: bool,
    /// Detectors to which the stream is no longer like the training.
    pub drifting: u64,
    /// What is said of that, where there is any.
    pub drift: Option<String>,
}

/// Steps that a window is divided into: so many numbers are kept, however long it is.
const STEPS: i64 = 60;

/// Counters over a window of time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Past(VecDeque<(i64, u64, u64)>);

impl Past {
    /// Adds a moment, and says how many records and errors came in the window that ends with it. A transaction that fails takes
    /// counters back; that counts as nothing until the same records are read again.
    pub(crate) fn add(&mut self, at: i64, reading: &Reading, window: i64) -> (u64, u64) {
        let step = (window / STEPS).max(1);
        if self.0.back().is_none_or(|(last, ..)| at - last >= step) {
            self.0.push_back((at, reading.records, reading.erroneous));
        }
        // The last number before the window is what it is compared with.
        while self.0.get(1).is_some_and(|(second, ..)| *second <= at - window) {
            self.0.pop_front();
        }
        let (_, records, erroneous) = self.0.front().copied().unwrap_or((at, reading.records, reading.erroneous));
        (reading.records.saturating_sub(records), reading.erroneous.saturating_sub(erroneous))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_came_in_the_window_counts_and_few_numbers_are_kept() {
        let mut past = Past::default();
        let at = |second: u64| Reading { records: second * 10, erroneous: second, ..Reading::default() };
        for second in 0..10_000u64 {
            let (records, erroneous) = past.add(second as i64 * 1000, &at(second), 600_000);
            let seconds = second.min(600);
            assert!(records >= seconds * 10 && records <= (seconds + 11) * 10, "{records} at {second}");
            assert_eq!(records, erroneous * 10);
            assert!(past.0.len() < 64);
        }
        // Back by a rollback.
        assert_eq!(past.add(10_000_000, &at(3), 600_000), (0, 0));
    }
}
