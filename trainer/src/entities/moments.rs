//! When records were, and whose: for those that are judged in the order of time.

use std::collections::HashMap;
use std::ops::Range;

use shared::time::Timestamp;

/// The time and the customer of each record, the oldest first.
#[derive(Debug, Clone, Default)]
pub struct Moments {
    times: Vec<Timestamp>,
    /// The number of each record's customer; none where it has no customer.
    customers: Vec<Option<u32>>,
    numbers: HashMap<String, u32>,
}

impl Moments {
    /// The times of the first and of the last record; none where there is no record.
    pub fn first_and_last(&self) -> Option<(Timestamp, Timestamp)> {
        Some((*self.times.first()?, *self.times.last()?))
    }

    /// The records of this time: their places, which follow each other.
    pub fn within(&self, time: &Range<Timestamp>) -> Range<usize> {
        let before = |end: Timestamp| self.times.partition_point(|time| *time < end);
        before(time.start)..before(time.end)
    }

    /// When record `index` was.
    ///
    /// # Panics
    /// When there is no such record.
    pub fn time(&self, index: usize) -> Timestamp {
        self.times[index]
    }

    /// The number of the customer of record `index`.
    ///
    /// # Panics
    /// When there is no such record.
    pub fn customer(&self, index: usize) -> Option<u32> {
        self.customers[index]
    }

    /// Adds a record that is not older than those before.
    pub(super) fn push(&mut self, time: Timestamp, customer: Option<&str>) {
        let next = self.numbers.len() as u32;
        let number = customer.map(|customer| match self.numbers.get(customer) {
            Some(&known) => known,
            None => *self.numbers.entry(customer.to_owned()).or_insert(next),
        });
        self.times.push(time);
        self.customers.push(number);
    }

    /// The same records, of which these are left: `(n_samples)`.
    pub(super) fn retained(&self, is_kept: &[bool]) -> Self {
        let kept = || (0..is_kept.len()).filter(|&index| is_kept[index]);
        Self {
            times: kept().map(|index| self.times[index]).collect(),
            customers: kept().map(|index| self.customers[index]).collect(),
            numbers: self.numbers.clone(),
        }
    }

    /// Bytes of memory that they take, about.
    pub(super) fn memory(&self) -> usize {
        let texts: usize = self.numbers.keys().map(String::len).sum();
        size_of_val(&self.times[..]) + size_of_val(&self.customers[..]) + texts + 48 * self.numbers.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_found_by_their_time() {
        let mut moments = Moments::default();
        for (time, customer) in [(10, Some("a")), (10, None), (20, Some("b")), (35, Some("a"))] {
            moments.push(time, customer);
        }
        assert_eq!(moments.first_and_last(), Some((10, 35)));
        assert_eq!((moments.within(&(10..20)), moments.within(&(11..36)), moments.within(&(0..5))), (0..2, 2..4, 0..0));
        assert_eq!((0..4).map(|index| moments.customer(index)).collect::<Vec<_>>(), [Some(0), None, Some(1), Some(0)]);
        let left = moments.retained(&[false, true, false, true]);
        assert_eq!((left.first_and_last(), left.customer(0), left.customer(1)), (Some((10, 35)), None, Some(0)));
        assert_eq!(Moments::default().first_and_last(), None);
    }
}
