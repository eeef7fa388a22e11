//! `[outputs] fields`: what verdicts repeat of an entity, so that a reader can act on them.

use std::sync::Arc;

use features::aggregates::Feature;
use records::time::format_timestamp;
use records::value::Value;

use super::checker::Checker;
use super::{Column, ColumnType, PipelineError};

/// Bytes of a text that a field keeps.
pub const MAX_FIELD_BYTES: usize = 256;

/// Most fields of a pipeline.
const MOST_FIELDS: usize = 64;

/// The value of a field of an entity.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub enum FieldValue {
    /// No line had one.
    Missing,
    /// A text, or a date in RFC 3339.
    Text(Box<str>),
    /// A number, which is finite.
    Number(f64),
}

/// What verdicts repeat of an entity.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    fields: Vec<Field>,
    /// The aggregates of those that are numbers.
    numbers: Vec<Feature>,
}

#[derive(Debug, Clone)]
struct Field {
    /// Shared by verdicts.
    name: Arc<str>,
    of: Of,
}

/// Where a field's value comes from.
#[derive(Debug, Clone, Copy)]
enum Of {
    /// The first value of a column of texts or dates.
    Text(usize),
    /// An aggregate, by its place among the numbers.
    Number(usize),
}

impl Fields {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|field| &*field.name)
    }

    /// The same, for verdicts to share.
    pub fn shared_names(&self) -> impl Iterator<Item = Arc<str>> + '_ {
        self.fields.iter().map(|field| Arc::clone(&field.name))
    }

    /// The aggregates of those that are numbers.
    pub fn numbers(&self) -> &[Feature] {
        &self.numbers
    }

    /// The columns of texts and dates, in order; one that several fields read stands several times.
    pub fn text_columns(&self) -> impl Iterator<Item = usize> + '_ {
        self.fields.iter().filter_map(|field| if let Of::Text(column) = field.of { Some(column) } else { None })
    }

    /// Every column that fields read.
    pub fn columns(&self) -> impl Iterator<Item = usize> + '_ {
        self.text_columns().chain(self.numbers.iter().flat_map(Feature::columns))
    }

    /// Their values, by the first text of a column and by the values of the aggregates, `(n_numbers)`; NaN where there is none.
    pub fn values<'a>(&self, text: impl Fn(usize) -> Option<&'a str>, numbers: &[f64]) -> Arc<[FieldValue]> {
        if self.is_empty() {
            return Arc::default();
        }
        let value = |field: &Field| match field.of {
            Of::Text(column) => text(column).map_or(FieldValue::Missing, |text| FieldValue::Text(cut(text).into())),
            Of::Number(place) => match numbers.get(place) {
                Some(number) if number.is_finite() => FieldValue::Number(*number),
                _ => FieldValue::Missing,
            },
        };
        self.fields.iter().map(value).collect()
    }

    /// Their values for an entity of one record.
    pub fn of_record(&self, line: &[Value<'_>]) -> Arc<[FieldValue]> {
        if self.is_empty() {
            return Arc::default();
        }
        let value = |field: &Field| match field.of {
            Of::Text(column) => match line[column] {
                Value::Text(text) => FieldValue::Text(cut(text).into()),
                Value::Datetime(moment) => FieldValue::Text(format_timestamp(moment).into()),
                Value::Missing | Value::Integer(_) | Value::Float(_) => FieldValue::Missing,
            },
            Of::Number(place) => match self.numbers[place].of_line(line) {
                number if number.is_finite() => FieldValue::Number(number),
                _ => FieldValue::Missing,
            },
        };
        self.fields.iter().map(value).collect()
    }

    /// What the state of an entity depends on, one fact a field.
    pub(super) fn layout<'a>(&'a self, columns: &'a [Column]) -> impl Iterator<Item = String> + 'a {
        self.fields.iter().map(|field| match field.of {
            Of::Text(column) => format!("field {}={}", field.name, columns[column].name),
            Of::Number(place) => format!("field {}={}", field.name, self.numbers[place].expression(columns)),
        })
    }
}

/// The beginning of a text that a field keeps.
pub fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_FIELD_BYTES)]
}

/// Reads `Column`, `name = Column` and `name = expression`.
pub(super) fn check(checker: &Checker<'_>, declared: &[String], columns: &[Column]) -> Result<Fields, PipelineError> {
    let place = "[outputs] fields";
    if declared.len() > MOST_FIELDS {
        return checker.error(place, format!("at most {MOST_FIELDS} fields are repeated"));
    }
    let mut fields = Fields::default();
    let find = |name: &str| columns.iter().position(|column| column.name == name);
    for text in declared {
        let (name, expression) = match text.split_once('=') {
            Some((name, expression)) if find(text.trim()).is_none() && !is_open(name) => {
                (name.trim(), expression.trim())
            }
            _ => (text.trim(), text.trim()),
        };
        if name.is_empty() || expression.is_empty() || name.contains(char::is_control) {
            let problem = format!("`{text}` is no field: write a column, or \"total = sum(Quantity * UnitPrice)\"");
            return checker.error(place, problem);
        }
        if fields.names().any(|known| known == name) {
            return checker.error(
                place,
                format!("`{name}` stands twice: give one of them another name, as in \"name = column\""),
            );
        }
        let of = match find(expression) {
            Some(column) if matches!(columns[column].kind, ColumnType::Text | ColumnType::Datetime) => Of::Text(column),
            Some(column) => fields.number(Feature::first_of(name, column)),
            None => fields.number(read(checker, place, name, expression, columns)?),
        };
        fields.fields.push(Field { name: name.into(), of });
    }
    Ok(fields)
}

/// Whether a parenthesis in the text waits for its end, as in `share(Country`.
fn is_open(text: &str) -> bool {
    text.matches('(').count() > text.matches(')').count()
}

impl Fields {
    fn number(&mut self, feature: Feature) -> Of {
        self.numbers.push(feature);
        Of::Number(self.numbers.len() - 1)
    }
}

/// An aggregate; of arithmetic alone, the first value.
fn read(
    checker: &Checker<'_>,
    place: &str,
    name: &str,
    expression: &str,
    columns: &[Column],
) -> Result<Feature, PipelineError> {
    let resolve = |column: &str| checker.resolve(place, column, columns);
    let problem = |problem: String| checker.invalid(place, problem);
    if expression.contains('(') {
        return Feature::read(name, expression, columns, resolve, problem);
    }
    if !expression.contains(['+', '-', '*', '/']) {
        resolve(expression)?;
    }
    Feature::read(name, &format!("first({expression})"), columns, resolve, problem)
}
