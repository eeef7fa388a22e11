//! Columns of a table, in memory.

use std::ops::Range;

/// A column: its name, and its values row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its values: `(n_rows)`.
    pub values: Values,
}

/// The values of a column; each may be missing.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// Texts.
    Texts(Texts),
    /// Yes or no.
    Bools(Vec<Option<bool>>),
    /// Whole numbers of 32 bits.
    Integers(Vec<Option<i32>>),
    /// Whole numbers from 0, of 64 bits.
    Counts(Vec<Option<u64>>),
    /// Floating-point numbers of 32 bits.
    Floats(Vec<Option<f32>>),
    /// Floating-point numbers of 64 bits.
    Doubles(Vec<Option<f64>>),
    /// Moments, in milliseconds since 1970 UTC.
    Moments(Vec<Option<i64>>),
}

/// Texts in one allocation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Texts {
    bytes: Vec<u8>,
    places: Vec<Option<Range<usize>>>,
}

impl Column {
    /// A column of texts.
    pub fn texts<T: AsRef<str>>(name: &str, texts: impl IntoIterator<Item = Option<T>>) -> Self {
        let mut values = Texts::default();
        texts.into_iter().for_each(|text| values.push(text.as_ref().map(AsRef::as_ref)));
        Self::new(name, Values::Texts(values))
    }

    /// A column of any values.
    pub fn new(name: &str, values: Values) -> Self {
        Self { name: name.to_owned(), values }
    }
}

impl Values {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.places.len(),
            Self::Bools(values) => values.len(),
            Self::Integers(values) => values.len(),
            Self::Counts(values) => values.len(),
            Self::Floats(values) => values.len(),
            Self::Doubles(values) => values.len(),
            Self::Moments(values) => values.len(),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a row as text; empty where it is missing.
    pub fn text(&self, row: usize) -> String {
        fn of<T: ToString>(values: &[Option<T>], row: usize) -> String {
            values.get(row).and_then(Option::as_ref).map(T::to_string).unwrap_or_default()
        }
        match self {
            Self::Texts(texts) => texts.get(row).unwrap_or_default().to_owned(),
            Self::Bools(values) => of(values, row),
            Self::Integers(values) => of(values, row),
            Self::Counts(values) => of(values, row),
            Self::Floats(values) => of(values, row),
            Self::Doubles(values) => of(values, row),
            Self::Moments(values) => of(values, row),
        }
    }
}

impl Texts {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Adds a row.
    pub fn push(&mut self, text: Option<&str>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(text.unwrap_or_default().as_bytes());
        self.places.push(text.map(|_| start..self.bytes.len()));
    }

    /// The text of a row, unless it is missing.
    pub fn get(&self, row: usize) -> Option<&str> {
        let place = self.places.get(row)?.clone()?;
        // Only whole texts were put in.
        std::str::from_utf8(&self.bytes[place]).ok()
    }

    /// The bytes of all rows, and where each stands in them.
    pub(crate) fn into_parts(self) -> (Vec<u8>, Vec<Option<Range<usize>>>) {
        (self.bytes, self.places)
    }
}
