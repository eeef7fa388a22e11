//! The batch that is being filled.

use std::time::{Duration, Instant};

/// Room is made for as many items as came before, and for no more than so many.
const MOST_ROOM: usize = 1024;

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
    /// When the oldest item came that was not taken.
    items_since: Option<Instant>,
    /// When the last batch was closed.
    restarted: Option<Instant>,
    records: usize,
    bytes: usize,
    /// How many of the items are in these bytes.
    counted: usize,
    limits: Limits,
}

impl<T> OpenBatch<T> {
    /// An empty batch.
    pub(crate) fn new(limits: Limits) -> Self {
        let (since, items_since, restarted) = (None, None, None);
        Self { items: Vec::new(), since, items_since, restarted, records: 0, bytes: 0, counted: 0, limits }
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
        let has_items = !self.items.is_empty();
        if (self.since.is_none() && (self.records > 0 || has_items)) || (self.items_since.is_none() && has_items) {
            let now = Instant::now();
            self.since.get_or_insert(now);
            self.items_since = self.items_since.or(has_items.then_some(now));
        }
    }

    /// The records so far.
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    /// Whether it holds as much as it may.
    pub(crate) fn is_full(&self) -> bool {
        self.records >= self.limits.records || self.bytes >= self.limits.bytes
    }

    /// When its oldest record or item came; `None` while it is empty.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// When it is due; `None` while it is empty. Its oldest record waits for `interval` at most. Where nothing more is at hand it
    /// waits for `quiet`; but then there is never more than one batch in an `interval`.
    pub(crate) fn due(&self, interval: Duration, quiet: Option<Duration>) -> Option<Instant> {
        let since = self.since?;
        let at_latest = since + interval;
        let Some(quiet) = quiet else { return Some(at_latest) };
        let next = self.restarted.map_or(since, |restarted| restarted + interval);
        Some(at_latest.min(next.max(since + quiet)))
    }

    /// Whether an item has waited for `interval`.
    pub(crate) fn has_old_items(&self, interval: Duration) -> bool {
        self.items_since.is_some_and(|since| since.elapsed() >= interval)
    }

    /// Resets the counts and the time; the items stay until they are taken.
    pub(crate) fn restart(&mut self) {
        self.since = None;
        self.restarted = Some(Instant::now());
        (self.records, self.bytes) = (0, 0);
    }

    /// As if the last batch was closed long ago.
    #[cfg(test)]
    pub(crate) fn after_a_pause(&mut self) {
        self.restarted = None;
    }

    /// Takes the items. What they take still counts.
    pub(crate) fn take_items(&mut self) -> Vec<T> {
        self.counted = 0;
        self.items_since = None;
        // What comes next is about as much: it need not grow into its room step by step.
        let room = Vec::with_capacity(self.items.len().min(MOST_ROOM));
        std::mem::replace(&mut self.items, room)
    }

    /// Puts items back that were taken in vain.
    pub(crate) fn put_back(&mut self, items: Vec<T>) {
        self.counted = items.len();
        self.items = items;
        self.start_time();
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

    const DAY: Duration = Duration::from_secs(86_400);

    fn is_due(batch: &OpenBatch<char>, interval: Duration, quiet: Option<Duration>) -> Option<bool> {
        batch.due(interval, quiet).map(|due| due <= Instant::now())
    }

    #[test]
    fn its_time_runs_while_there_is_something_in_it() {
        let mut batch = OpenBatch::new(LIMITS);
        batch.start_time();
        assert_eq!(is_due(&batch, Duration::ZERO, None), None);
        batch.items_mut().push('a');
        batch.start_time();
        assert_eq!((is_due(&batch, Duration::ZERO, None), is_due(&batch, DAY, None)), (Some(true), Some(false)));
        assert!(batch.has_old_items(Duration::ZERO) && !batch.has_old_items(DAY));
        assert!(batch.since().is_some_and(|since| since <= Instant::now()));
        batch.restart();
        assert_eq!(is_due(&batch, Duration::ZERO, None), None, "its time starts again");
        assert_eq!(batch.take_items(), ['a'], "the items are still there");
        assert!(!batch.has_old_items(Duration::ZERO));
    }

    #[test]
    fn the_first_batch_after_a_pause_does_not_wait_and_the_next_one_does() {
        let mut batch = OpenBatch::new(LIMITS);
        let add = |batch: &mut OpenBatch<char>| {
            batch.items_mut().push('a');
            batch.start_time();
        };
        add(&mut batch);
        assert_eq!(
            (is_due(&batch, DAY, Some(Duration::ZERO)), is_due(&batch, DAY, Some(DAY))),
            (Some(true), Some(false))
        );
        batch.restart();
        add(&mut batch);
        assert_eq!(is_due(&batch, DAY, Some(Duration::ZERO)), Some(false), "one in a day");
        assert_eq!(is_due(&batch, Duration::ZERO, Some(DAY)), Some(true), "and never later than that");
    }

    #[test]
    fn what_is_put_back_counts_once() {
        let mut batch = OpenBatch::new(LIMITS);
        batch.add_record(1);
        batch.items_mut().push(30);
        batch.count_items(|size| *size);
        let items = batch.take_items();
        batch.put_back(items);
        batch.count_items(|size| *size);
        assert_eq!((batch.bytes(), batch.items()), (31, &[30][..]));
        assert_eq!(batch.take_items(), [30]);
        batch.put_back(Vec::new());
        assert!(!batch.has_old_items(Duration::ZERO), "nothing waits");
    }
}
