//! Features: one number each, an aggregate over the lines of an entity.
//!
//! The language is small and closed: `mean`, `median`, `min`, `max`, `sum`, `first` and `last` of a column, of the `hour` or the
//! `day_of_week` of a datetime column, or of two number columns with an operator between them (`Quantity * UnitPrice`);
//! `count()`; `count_distinct` of any column; and the share of one kind, `share(Country = 'Spain')`. The scorer folds lines
//! into [`Accumulators`]; the trainer computes the same aggregates over columns, and a test holds the two together on real
//! data.

mod accumulators;
mod kept;
mod language;

use records::time;
use records::value::Value;

pub use accumulators::{Accumulators, merge, values_of};
pub use kept::{Kept, KeptValue, MAX_KEPT_BYTES};

/// What is made of the values of an entity's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    /// Arithmetic mean.
    Mean,
    /// The value in the middle, or the mean of the two.
    Median,
    /// Smallest value.
    Min,
    /// Largest value.
    Max,
    /// Sum.
    Sum,
    /// The first line's value, of the lines that have one.
    First,
    /// The last line's value, of the lines that have one.
    Last,
    /// How many lines.
    Count,
    /// How many values that differ.
    CountDistinct,
    /// The share of the lines that are of one kind.
    Share,
}

/// What an aggregate is taken of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    /// The lines themselves.
    Lines,
    /// A number column.
    Number(usize),
    /// The hour of day, 0 to 23, of a datetime column.
    Hour(usize),
    /// The day of the week, 0 to 6 and Monday is 0, of a datetime column.
    DayOfWeek(usize),
    /// What an operator makes of two number columns of a line, in float64. A line that lacks one of them, or where the result is
    /// no finite number, has no value.
    Arithmetic(usize, Operator, usize),
    /// A text column, whose values are only told apart.
    Text(usize),
    /// A datetime column, whose values are only told apart.
    Moment(usize),
    /// Whether a text column has this value: 1 or 0, of every line.
    Is(usize, String),
}

/// What is made of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// Their sum.
    Plus,
    /// Their difference.
    Minus,
    /// Their product.
    Times,
    /// Their quotient.
    By,
}

/// A feature of the pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// Its name.
    pub name: String,
    /// What is made of the values.
    pub aggregate: Aggregate,
    /// Which values.
    pub operand: Operand,
}

impl Feature {
    /// The first value of a number column.
    pub fn first_of(name: &str, column: usize) -> Self {
        Self { name: name.to_owned(), aggregate: Aggregate::First, operand: Operand::Number(column) }
    }

    /// The feature of an entity that is this one line; NaN where the line does not have its column.
    pub fn of_line(&self, line: &[Value<'_>]) -> f64 {
        if self.aggregate.keeps_values() {
            let features = std::slice::from_ref(self);
            let mut all = Accumulators::new(features);
            all.add(features, line);
            return all.values(features)[0];
        }
        let (empty, mut room) = (self.aggregate.empty(), [0.0; 2]);
        let state = &mut room[..empty.len()];
        state.copy_from_slice(empty);
        if let Some(value) = self.operand.value(line) {
            self.aggregate.add(state, value);
        }
        self.aggregate.finish(state)
    }

    /// The indices of the number columns that the feature reads.
    pub fn number_columns(&self) -> impl Iterator<Item = usize> + use<> {
        let (first, second) = match self.operand {
            Operand::Number(index) => (Some(index), None),
            Operand::Arithmetic(left, _, right) => (Some(left), Some(right)),
            _ => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// The indices of all columns that the feature reads.
    pub fn columns(&self) -> impl Iterator<Item = usize> + use<> {
        let other = match self.operand {
            Operand::Hour(index)
            | Operand::DayOfWeek(index)
            | Operand::Text(index)
            | Operand::Moment(index)
            | Operand::Is(index, _) => Some(index),
            Operand::Lines | Operand::Number(_) | Operand::Arithmetic(..) => None,
        };
        self.number_columns().chain(other)
    }

    /// The column whose values are kept to tell them apart, where the feature counts distinct ones.
    pub fn distinct_column(&self) -> Option<usize> {
        match self.operand {
            _ if self.aggregate != Aggregate::CountDistinct => None,
            Operand::Number(index) | Operand::Text(index) | Operand::Moment(index) => Some(index),
            _ => None,
        }
    }

    /// Whether the feature is the hour of a day, whatever is made of several.
    pub fn is_hour(&self) -> bool {
        matches!(self.operand, Operand::Hour(_)) && self.is_one_of_its_values()
    }

    /// Whether the feature is a day of the week, whatever is made of several.
    pub fn is_day_of_week(&self) -> bool {
        matches!(self.operand, Operand::DayOfWeek(_)) && self.is_one_of_its_values()
    }

    /// Whether what is made of several values is as one of them.
    fn is_one_of_its_values(&self) -> bool {
        !matches!(self.aggregate, Aggregate::Sum | Aggregate::Count | Aggregate::CountDistinct | Aggregate::Share)
    }
}

impl Operand {
    /// The number that aggregates are made of; of what is only told apart, that it is there.
    fn value(&self, line: &[Value<'_>]) -> Option<f64> {
        match *self {
            Self::Lines => Some(1.0),
            Self::Number(column) => line[column].number(),
            Self::Text(column) => line[column].text().map(|_| 1.0),
            Self::Moment(column) => line[column].datetime().map(|_| 1.0),
            Self::Is(column, ref kind) => Some(f64::from(u8::from(line[column].text() == Some(kind.as_str())))),
            Self::Arithmetic(left, operator, right) => {
                let value = operator.of(line[left].number()?, line[right].number()?);
                value.is_finite().then_some(value)
            }
            Self::Hour(column) => line[column].datetime().map(|moment| time::hour(moment) as f64),
            Self::DayOfWeek(column) => line[column].datetime().map(|moment| time::day_of_week(moment) as f64),
        }
    }

    /// The value by which a line is told from others: whole numbers with all their digits.
    fn distinct<'a>(&self, line: &[Value<'a>]) -> Option<KeptValue<'a>> {
        match *self {
            Self::Text(column) => line[column].text().map(KeptValue::Text),
            Self::Moment(column) => line[column].datetime().map(KeptValue::Integer),
            Self::Number(column) => match line[column] {
                Value::Integer(number) => Some(KeptValue::Integer(number)),
                other => other.number().map(KeptValue::Number),
            },
            _ => self.value(line).map(KeptValue::Number),
        }
    }
}

impl Operator {
    fn of(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Plus => left + right,
            Self::Minus => left - right,
            Self::Times => left * right,
            Self::By => left / right,
        }
    }
}

impl Aggregate {
    /// Whether each value is kept, beside the state.
    pub fn keeps_values(self) -> bool {
        matches!(self, Self::Median | Self::CountDistinct)
    }

    /// The state before the first value. NaN says "no value yet": values are finite, the parser guarantees it, and
    /// finite values never add up to NaN.
    fn empty(self) -> &'static [f64] {
        match self {
            // Sum and count. The count is exact up to 2^53 values.
            Self::Mean | Self::Share => &[0.0, 0.0],
            // Of values that are kept, their number.
            Self::Count | Self::Median | Self::CountDistinct => &[0.0],
            Self::Min | Self::Max | Self::Sum | Self::First | Self::Last => &[f64::NAN],
        }
    }

    fn add(self, state: &mut [f64], value: f64) {
        let first = state[0].is_nan();
        match self {
            Self::Mean | Self::Share => {
                state[0] += value;
                state[1] += 1.0;
            }
            Self::Median | Self::CountDistinct => state[0] += 1.0,
            // A sum starts from 0.0, not from its first value: that of -0.0 alone is 0.0.
            Self::Sum if first => state[0] = 0.0 + value,
            Self::Sum | Self::Count => state[0] += value,
            Self::Min if first || value < state[0] => state[0] = value,
            Self::Max if first || value > state[0] => state[0] = value,
            Self::First if first => state[0] = value,
            Self::Last => state[0] = value,
            Self::Min | Self::Max | Self::First => {}
        }
    }

    fn merge(self, state: &mut [f64], later: &[f64]) {
        match self {
            Self::Mean | Self::Share => {
                state[0] = added(state[0], later[0]);
                state[1] += later[1];
            }
            Self::Count | Self::Median | Self::CountDistinct => state[0] += later[0],
            _ if later[0].is_nan() => {}
            Self::Sum if !state[0].is_nan() => state[0] = added(state[0], later[0]),
            _ => self.add(state, later[0]),
        }
    }

    fn finish(self, state: &[f64]) -> f64 {
        match self {
            // The constant, because the sign of 0 / 0 is the processor's choice.
            Self::Mean | Self::Share if state[1] == 0.0 => f64::NAN,
            Self::Mean | Self::Share => state[0] / state[1],
            _ => state[0],
        }
    }
}

/// A sum that has left float64 stays where it is, as it does value by value: infinities that meet are NaN, and
/// would be taken for no value.
fn added(sum: f64, later: f64) -> f64 {
    let both = sum + later;
    if both.is_nan() { sum } else { both }
}

#[cfg(test)]
mod tests;
