//! What records were found to be, away from the thread that makes chunks of them.

use shared::line::{Value, odd_date};
use shared::reason::Reason;
use shared::time::Timestamp;

/// What is kept of lines, and which dates are odd.
#[derive(Debug, Clone)]
pub(super) struct Keeping {
    /// Columns of the pipeline, rising, and whether their text is read.
    pub columns: Vec<(usize, bool)>,
    /// The present.
    pub now: Timestamp,
}

/// A record of a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    /// The place of its first byte.
    pub start: usize,
    /// The line it stands on, from the first one of what was read with it.
    pub line: u64,
    pub outcome: Outcome,
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Outcome {
    /// A line; the first odd date in it, with its column.
    Line { odd: Option<(usize, Timestamp)> },
    /// It is erroneous.
    Bad(Vec<Reason>),
}

/// Records one after the other, and the lines among them.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub records: Vec<Record>,
    /// The values of every line, as many as columns are kept.
    values: Vec<Stored>,
    texts: String,
}

/// A value.
#[derive(Debug, Clone, Copy)]
enum Stored {
    Missing,
    /// From one place in the texts to another.
    Text(usize, usize),
    Integer(i64),
    Float(f64),
    Datetime(Timestamp),
}

impl Records {
    /// Adds the values of a line, whose record is pushed next; says which of its dates is odd.
    pub(super) fn keep(&mut self, line: &[Value<'_>], keeping: &Keeping) -> Option<(usize, Timestamp)> {
        for &(column, is_text_read) in &keeping.columns {
            let stored = match line[column] {
                Value::Missing => Stored::Missing,
                Value::Text(text) => {
                    let start = self.texts.len();
                    if is_text_read {
                        self.texts.push_str(text);
                    }
                    Stored::Text(start, self.texts.len())
                }
                Value::Integer(number) => Stored::Integer(number),
                Value::Float(number) => Stored::Float(number),
                Value::Datetime(moment) => Stored::Datetime(moment),
            };
            self.values.push(stored);
        }
        odd_date(line, Some(keeping.now))
    }

    /// The values of line `index`, of which `width` are kept.
    pub(super) fn values(&self, index: usize, width: usize) -> impl Iterator<Item = Value<'_>> {
        self.values[index * width..(index + 1) * width].iter().map(|stored| match *stored {
            Stored::Missing => Value::Missing,
            Stored::Text(start, end) => Value::Text(&self.texts[start..end]),
            Stored::Integer(number) => Value::Integer(number),
            Stored::Float(number) => Value::Float(number),
            Stored::Datetime(moment) => Value::Datetime(moment),
        })
    }
}
