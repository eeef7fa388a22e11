//! The batch that is being filled.

use std::time::{Duration, Instant};

/// What one batch may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub records: usize,
    /// Bytes of what follows from them, until it is committed.
    pub bytes: usize,
}

/// The items that follow from records since the last batch was closed, how many records these were, and how many bytes all
/// of it takes until it is committed.
#[derive(Debug)]
pub(crate) struct OpenBatch<T> {
    items: Vec<T>,
    /// When its oldest record or item came.
    since: Option<Instant>,
    records: usize,
    bytes: usize,
    /// How many of the items are in these bytes.
    counted: usize,
    limits: Limits,
}

impl<T> OpenBatch<T> {
    /// An empty batch.
    pub(crate) fn new(limits: Limits) -> Self {
        Self { items: Vec::new(), since: None, records: 0, bytes: 0, counted: 0, limits }
    }

    /// Counts a record, from which so many bytes follow beside items.
    pub(crate) fn add_record(&mut self, bytes: usize) {
        self.records += 1;
        self.bytes += bytes;
    }

    /// Counts the items that came since the last time.
    pub(crate) fn count_items(&mut self, bytes_of: impl Fn(&T) -> usize) {
        self.bytes += self.items[self.counted..].iter().map(bytes_of).sum::<usize>();
        self.counted = self.items.len();
    }

    /// The bytes so far.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What follows from the records so far.
    pub(crate) fn items(&self) -> &[T] {
        &self.items
    }

    /// Where to add what follows from a record, or from time.
    pub(crate) fn items_mut(&mut self) -> &mut Vec<T> {
        &mut self.items
    }

    /// Starts the batch's time, where there is something in it.
    pub(crate) fn start_time(&mut self) {
        if self.records > 0 || !self.items.is_empty() {
            self.since.get_or_insert_with(Instant::now);
        }
    }

    /// The records so far.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    /// When its oldest record or item came; `None` while it is empty.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Whether it holds as much as it may.
    pub(crate) fn is_full(&self) -> bool {
        self.records >= self.limits.records || self.bytes >= self.limits.bytes
    }

    /// Whether it has waited for `interval`.
    pub(crate) fn is_old(&self, interval: Duration) -> bool {
        self.since.is_some_and(|since| since.elapsed() >= interval)
    }

    /// How long it may still wait before it is old; `None` while it is empty.
    pub(crate) fn time_left(&self, interval: Duration) -> Option<Duration> {
        self.since.map(|since| (since + interval).saturating_duration_since(Instant::now()))
    }

    /// Resets the counts and the time; the items stay until they are taken.
    pub(crate) fn restart(&mut self) {
        self.since = None;
        (self.records, self.bytes) = (0, 0);
    }

    /// Takes the items.
    pub(crate) fn take_items(&mut self) -> Vec<T> {
        self.counted = 0;
        std::mem::take(&mut self.items)
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self) {
        self.take_items();
        self.restart();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { records: 3, bytes: 100 };

    #[test]
    fn records_or_bytes_make_it_full() {
        let mut batch: OpenBatch<()> = OpenBatch::new(LIMITS);
        (0..2).for_each(|_| batch.add_record(1));
        assert!(!batch.is_full());
        batch.add_record(1);
        assert!(batch.is_full(), "by its records");
        batch.clear();
        batch.add_record(99);
        assert!(!batch.is_full());
        batch.add_record(1);
        assert!(batch.is_full(), "by their bytes");
    }

    #[test]
    fn each_item_counts_once() {
        let mut batch = OpenBatch::new(LIMITS);
        batch.add_record(1);
        for size in [30, 60] {
            batch.items_mut().push(size);
            batch.count_items(|size| *size);
            batch.count_items(|size| *size);
        }
        assert_eq!((batch.bytes(), batch.is_full()), (91, false));
        batch.restart();
        assert_eq!((batch.take_items().len(), batch.bytes()), (2, 0));
        batch.items_mut().push(100);
        batch.count_items(|size| *size);
        assert!(batch.is_full(), "by what follows from a single record");
    }

    #[test]
    fn its_time_runs_while_there_is_something_in_it() {
        let mut batch = OpenBatch::new(LIMITS);
        batch.start_time();
        assert_eq!((batch.time_left(Duration::ZERO), batch.is_old(Duration::ZERO)), (None, false));
        batch.items_mut().push('a');
        batch.start_time();
        let day = Duration::from_secs(86_400);
        assert!(batch.is_old(Duration::ZERO) && !batch.is_old(day));
        assert!(batch.time_left(day).is_some_and(|left| left <= day));
        assert!(batch.since().is_some_and(|since| since <= Instant::now()));
        batch.restart();
        assert!(!batch.is_old(Duration::ZERO), "its time starts again");
        assert_eq!(batch.take_items(), ['a'], "the items are still there");
    }
}
