//! What a column holds, and what features it makes.

use std::collections::BTreeMap;

use shared::time::{DatetimeFormats, DatetimeParser};

use super::rows::Cell;
use crate::compare::args::CategoricalRule;

/// Most values of a column that becomes a feature a value.
const MOST_CATEGORIES: usize = 32;

/// Dates that are read without being told how they are written; days may stand without a time.
const DATE_FORMATS: [&str; 9] = [
    "rfc3339",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%Y/%m/%d %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%m/%d/%Y",
];

/// A reader of these dates.
pub(super) fn dates() -> DatetimeParser {
    DatetimeParser::new(DatetimeFormats::read(&DATE_FORMATS, None).expect("a test reads each of them"))
}

fn seconds(text: &str, dates: &mut DatetimeParser) -> Option<f64> {
    Some(dates.parse(text)? as f64 / 1e3)
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// `true` and `false`, and what else people write for them.
pub(super) fn flag(text: &str) -> Option<bool> {
    let is = |names: &[&str]| names.iter().any(|name| text.eq_ignore_ascii_case(name));
    match text.len() {
        1..=5 if is(&["true", "t", "yes", "y"]) => Some(true),
        1..=5 if is(&["false", "f", "no", "n"]) => Some(false),
        _ => None,
    }
}

/// What was seen of a column so far.
#[derive(Debug)]
pub(super) struct Seen {
    n_values: u64,
    are_numbers: bool,
    are_flags: bool,
    /// A reader, while every value is a date.
    dates: Option<DatetimeParser>,
    /// The values, while they are few.
    categories: Option<BTreeMap<String, ()>>,
    first_text: Option<String>,
    /// A type of its values that is no number.
    other: Option<String>,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            n_values: 0,
            are_numbers: true,
            are_flags: true,
            dates: Some(dates()),
            categories: Some(BTreeMap::new()),
            first_text: None,
            other: None,
        }
    }
}

impl Seen {
    /// Sees a cell of it.
    pub(super) fn see(&mut self, cell: Cell<'_>) {
        let text = match cell {
            Cell::Missing => return,
            Cell::Other(dtype) => {
                self.n_values += 1;
                self.other.get_or_insert_with(|| dtype.to_owned());
                return;
            }
            Cell::Number(_) => {
                // Of a Parquet file, whose columns are of one type.
                self.n_values += 1;
                return;
            }
            Cell::Text(text) => text,
        };
        self.n_values += 1;
        if self.are_numbers && number(&text).is_some() {
            // Whether a column of numbers has few values does not matter; a text may still follow.
            if let Some(categories) = &mut self.categories {
                Self::count(categories, &text);
            }
            self.forget_many();
            return;
        }
        let not_before = self.are_numbers && self.n_values > 1;
        self.are_numbers = false;
        self.first_text.get_or_insert_with(|| text.to_string());
        // Numbers that stood before a text are neither flags nor dates.
        self.are_flags &= !not_before && flag(&text).is_some();
        if not_before || self.dates.as_mut().is_some_and(|dates| seconds(&text, dates).is_none()) {
            self.dates = None;
        }
        if let Some(categories) = &mut self.categories {
            Self::count(categories, &text);
        }
        self.forget_many();
    }

    fn count(categories: &mut BTreeMap<String, ()>, text: &str) {
        if !categories.contains_key(text) {
            categories.insert(text.to_owned(), ());
        }
    }

    fn forget_many(&mut self) {
        if self.categories.as_ref().is_some_and(|categories| categories.len() > MOST_CATEGORIES) {
            self.categories = None;
        }
    }

    /// What the column holds.
    pub(super) fn kind(self, rule: CategoricalRule) -> ColumnKind {
        if self.n_values == 0 {
            return ColumnKind::Empty;
        }
        if let Some(dtype) = self.other {
            return ColumnKind::Other(dtype);
        }
        if self.are_numbers {
            return ColumnKind::Number;
        }
        if self.are_flags {
            return ColumnKind::Flag;
        }
        if self.dates.is_some() {
            return ColumnKind::Moment;
        }
        match self.categories {
            Some(categories) if rule == CategoricalRule::OneHot => {
                ColumnKind::Category(categories.into_keys().collect())
            }
            _ => ColumnKind::Text(self.first_text.unwrap_or_default()),
        }
    }
}

/// What a column holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ColumnKind {
    /// Nothing.
    Empty,
    /// Numbers.
    Number,
    /// `true` and `false`: 1 and 0.
    Flag,
    /// Dates: seconds since 1970.
    Moment,
    /// A few texts, each a feature that is 1 where it stands and 0 elsewhere.
    Category(Vec<String>),
    /// Texts that are no features, such as this one.
    Text(String),
    /// Values of this type, which is no number.
    Other(String),
}

impl ColumnKind {
    /// The features that the column `name` makes.
    pub(super) fn feature_names(&self, name: &str) -> Vec<String> {
        match self {
            Self::Category(texts) => texts.iter().map(|text| format!("{name}={text}")).collect(),
            _ => vec![name.to_owned()],
        }
    }

    /// Adds the features of a cell; a missing one is not a number, and of no category.
    pub(super) fn push(&self, cell: Cell<'_>, dates: &mut DatetimeParser, values: &mut Vec<f64>) {
        let text = match (self, cell) {
            (Self::Category(texts), Cell::Missing | Cell::Number(_) | Cell::Other(_)) => {
                values.extend(texts.iter().map(|_| 0.0));
                return;
            }
            (_, Cell::Missing | Cell::Other(_)) => {
                values.push(f64::NAN);
                return;
            }
            (_, Cell::Number(number)) => {
                values.push(number);
                return;
            }
            (_, Cell::Text(text)) => text,
        };
        let value = match self {
            Self::Category(texts) => {
                values.extend(texts.iter().map(|known| f64::from(u8::from(*known == text))));
                return;
            }
            Self::Flag => flag(&text).map(|flag| f64::from(u8::from(flag))),
            Self::Moment => seconds(&text, dates),
            Self::Number | Self::Empty | Self::Text(_) | Self::Other(_) => {
                number(&text).filter(|number| number.is_finite())
            }
        };
        values.push(value.unwrap_or(f64::NAN));
    }
}
