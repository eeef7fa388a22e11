//! What trials send: records that never end, of one pipeline or another.

use crate::{Cards, Lines, Payments};

/// A record of an input topic: its key and its payload.
pub type Record = (String, String);

/// Records for the input topic of a pipeline, without end.
pub trait Records: Iterator<Item = Record> + Send {
    /// How many there are before they are repeated, if they are.
    fn in_file(&self) -> Option<usize>;

    /// Whether a record leads to no message of its own.
    fn is_without_message(&self, _record: &Record) -> bool {
        false
    }

    /// What is sent to a partition at last so that nothing is open there, and its date as messages write it.
    fn last_of(&self, _partition: u32) -> Option<(Record, String)> {
        None
    }
}

impl Records for Lines {
    fn in_file(&self) -> Option<usize> {
        Some(Lines::in_file(self))
    }

    /// Cancellations are only counted.
    fn is_without_message(&self, (key, _): &Record) -> bool {
        key.starts_with('C')
    }

    fn last_of(&self, partition: u32) -> Option<(Record, String)> {
        Some((self.last_record(partition), self.last_date()))
    }
}

/// Later than all simulated payments, and earlier than today: a payment of tomorrow would be erroneous.
const LAST_PAYMENT: &str = "2026-01-01T00:00:00Z";

/// The user of that payment.
const LAST_KEY: &str = "last";

impl Records for Spoilt<Payments> {
    fn in_file(&self) -> Option<usize> {
        None
    }

    /// A payment so late that the windows of all others are over.
    fn last_of(&self, _partition: u32) -> Option<(Record, String)> {
        let names = r#""transaction_id":"last","user_id":"last","merchant_id":"last""#;
        let payload = format!(r#"{{{names},"amount":1.0,"timestamp":"{LAST_PAYMENT}"}}"#);
        Some(((LAST_KEY.to_owned(), payload), LAST_PAYMENT.to_owned()))
    }
}

/// Payments that wait for those before them: nobody judges the last ones but one who knows that it is the end.
pub struct Waiting(pub Spoilt<Payments>);

impl Iterator for Waiting {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        self.0.next()
    }
}

impl Records for Waiting {
    fn in_file(&self) -> Option<usize> {
        self.0.in_file()
    }

    fn is_without_message(&self, (key, _): &Record) -> bool {
        key == LAST_KEY
    }

    fn last_of(&self, partition: u32) -> Option<(Record, String)> {
        self.0.last_of(partition)
    }
}

impl Records for Spoilt<Cards> {
    fn in_file(&self) -> Option<usize> {
        Some(self.records.in_file())
    }
}

/// Records with some among them that a producer should not have sent: broken ones, and some that come a second time.
#[derive(Debug, Clone)]
pub struct Spoilt<I> {
    records: I,
    number: u64,
    latest: Option<Record>,
}

impl<I> Spoilt<I> {
    /// One in a hundred is broken, and one in a hundred comes again.
    pub fn new(records: I) -> Self {
        Self { records, number: 0, latest: None }
    }
}

impl<I: Iterator<Item = Record>> Iterator for Spoilt<I> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        self.number += 1;
        match (self.number % 100, &self.latest) {
            (33, Some((key, _))) => Some((key.clone(), format!("broken {}", self.number))),
            (66, Some(again)) => Some(again.clone()),
            _ => {
                self.latest = self.records.next();
                self.latest.clone()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_hundred_records_one_is_broken_and_one_comes_again() {
        let numbers = (0..).map(|number: u32| (format!("k{number}"), number.to_string()));
        let records: Vec<Record> = Spoilt::new(numbers).take(200).collect();
        let broken: Vec<&Record> = records.iter().filter(|(_, payload)| payload.starts_with("broken")).collect();
        assert_eq!(
            broken,
            [&("k31".to_owned(), "broken 33".to_owned()), &("k129".to_owned(), "broken 133".to_owned())]
        );
        assert_eq!(records[65], records[64]);
        let mut good: Vec<&Record> = records.iter().filter(|(_, payload)| !payload.starts_with("broken")).collect();
        good.dedup();
        assert_eq!(good.len(), 196, "nothing else is changed");
    }
}
