//! Some of the records of a file: the first ones, one after the other, and more from all over it.

use std::collections::HashMap;

use crate::json_path::JsonPath;
use crate::time::Timestamp;

/// What a record says of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Nothing.
    Missing,
    /// A text, without white space around it.
    Text(String),
    /// A number, as it is written.
    Number(String),
    /// True or false.
    Flag(bool),
    /// A moment, where the file says that it is one.
    Moment(Timestamp),
    /// An object or a list.
    Nested,
}

impl Cell {
    /// What is written there, where it is a text or a number.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Number(text) => Some(text),
            Self::Flag(true) => Some("true"),
            Self::Flag(false) => Some("false"),
            Self::Missing | Self::Moment(_) | Self::Nested => None,
        }
    }
}

/// A column that a record has.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// What it is called.
    pub name: String,
    /// Where it stands, where that is no field of the record itself.
    pub path: Option<JsonPath>,
}

/// Some records.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// The names of the columns, as they are written.
    pub names: Vec<String>,
    /// Where columns stand, by their names, that are no fields of the record itself.
    pub paths: HashMap<String, JsonPath>,
    /// The records in their order, each with a cell for every column: `(n_sampled, n_columns)`.
    pub rows: Vec<Vec<Cell>>,
    /// So many rows are the first records, of which none is left out.
    pub n_first: usize,
    /// How many records there are, as far as they were counted.
    pub n_records: u64,
    /// Records that are not as the others: not one row of the same width, or no object.
    pub n_torn: u64,
    /// The line of the first text that is not UTF-8, and how many there are.
    pub not_utf8: Option<(u64, u64)>,
    /// How many texts have letters beyond ASCII, in UTF-8.
    pub n_beyond_ascii: u64,
}

impl Sample {
    /// The cells of a column, in the order of the rows.
    pub fn column(&self, index: usize) -> impl Iterator<Item = &Cell> {
        self.rows.iter().map(move |row| &row[index])
    }
}

/// Most cells that are kept, and rows.
const MOST_CELLS: usize = 1_500_000;
const MOST_ROWS: usize = 15_000;

/// Records that are read at most.
pub const MOST_RECORDS: u64 = 3_000_000;

/// Keeps some of the records that it is given: the first third of the room is for the first ones, the rest for every n-th
/// of those that follow, where n grows with them.
#[derive(Debug, Default)]
pub struct Sampler {
    names: Vec<String>,
    places: HashMap<String, usize>,
    first: Vec<Vec<Cell>>,
    spread: Vec<Vec<Cell>>,
    /// One of so many is kept, less 1; how many came since.
    passed_over: u64,
    since: u64,
    sample: Sample,
}

impl Sampler {
    /// For records with these columns.
    pub fn new(names: Vec<String>) -> Self {
        Self { names, ..Self::default() }
    }

    /// Whether enough was read.
    pub fn is_done(&self) -> bool {
        self.sample.n_records >= MOST_RECORDS
    }

    /// How many columns there are.
    pub fn width(&self) -> usize {
        self.names.len()
    }

    /// Counts a record that is not as the others.
    pub fn push_torn(&mut self) {
        self.sample.n_records += 1;
        self.sample.n_torn += 1;
    }

    /// Notes that a text on this line is not UTF-8.
    pub(super) fn note_not_utf8(&mut self, line: u64) {
        self.sample.not_utf8.get_or_insert((line, 0)).1 += 1;
    }

    /// Notes a text with letters beyond ASCII.
    pub(super) fn note_beyond_ascii(&mut self) {
        self.sample.n_beyond_ascii += 1;
    }

    /// Adds a record whose cells are made by `cells` if it is kept; how many cells it has is said by `width`.
    pub fn push(&mut self, width: usize, cells: impl FnOnce() -> Vec<Cell>) {
        self.sample.n_records += 1;
        let room = (MOST_CELLS / width.max(1)).clamp(100, MOST_ROWS);
        let (most_first, most_spread) = (room / 3, room - room / 3);
        if self.first.len() < most_first {
            self.first.push(cells());
            return;
        }
        if self.since < self.passed_over {
            self.since += 1;
            return;
        }
        self.since = 0;
        self.spread.push(cells());
        if self.spread.len() > most_spread {
            let mut is_kept = false;
            self.spread.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
            self.passed_over = self.passed_over * 2 + 1;
        }
    }

    /// Adds a record by the names of its columns, of which it may have new ones.
    pub fn push_found(&mut self, fields: Vec<(Found, Cell)>) {
        let mut cells = vec![Cell::Missing; self.names.len()];
        for (Found { name, path }, cell) in fields {
            let paths = &mut self.sample.paths;
            let place = *self.places.entry(name).or_insert_with_key(|name| {
                self.names.push(name.clone());
                paths.extend(path.map(|path| (name.clone(), path)));
                self.names.len() - 1
            });
            cells.resize(cells.len().max(place + 1), Cell::Missing);
            cells[place] = cell;
        }
        self.push(self.names.len(), || cells);
    }

    /// What was kept.
    pub fn finish(self) -> Sample {
        let n_first = self.first.len();
        let mut rows = self.first;
        rows.extend(self.spread);
        rows.iter_mut().for_each(|row| row.resize(self.names.len(), Cell::Missing));
        Sample { names: self.names, rows, n_first, ..self.sample }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbered(n: usize) -> Sample {
        let mut sampler = Sampler::new(vec!["n".to_owned()]);
        (0..n).for_each(|number| sampler.push(1, || vec![Cell::Number(number.to_string())]));
        sampler.finish()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn a_sample_is_bounded_and_in_order_and_from_all_over(n in 0..200_000usize) {
            let sample = numbered(n);
            let numbers: Vec<usize> = sample.column(0).map(|cell| cell.text().unwrap().parse().unwrap()).collect();
            prop_assert!(numbers.len() <= MOST_ROWS && numbers.len() >= n.min(MOST_ROWS / 2));
            prop_assert!(numbers.is_sorted_by(|a, b| a < b));
            prop_assert!(numbers[..sample.n_first].iter().enumerate().all(|(place, number)| place == *number));
            // Nothing larger than a hundredth is left out.
            let gap = numbers.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
            prop_assert!(gap <= (n / 100).max(1), "{gap}");
            prop_assert_eq!(sample.n_records, n as u64);
        }
    }

    #[test]
    fn a_record_may_have_new_columns() {
        let mut sampler = Sampler::default();
        let field = |name: &str| (Found { name: name.to_owned(), path: None }, Cell::Flag(true));
        sampler.push_found(vec![field("a")]);
        sampler.push_found(vec![field("b"), field("a")]);
        let sample = sampler.finish();
        assert_eq!(sample.names, ["a", "b"]);
        assert_eq!(sample.rows[0], [Cell::Flag(true), Cell::Missing]);
    }
}
