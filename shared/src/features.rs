//! Features: one number each, an aggregate over the lines of an entity.
//!
//! The language is small and closed: `mean`, `min`, `max`, `sum`, `first` and `last` of a column, or of the
//! `hour` of a datetime column, and `count()`. The scorer folds lines into [`Accumulators`]; the trainer
//! computes the same aggregates over columns, and a test holds the two together on real data.

use crate::line::Value;
use crate::pipeline::{Column, ColumnType};
use crate::time;

/// What is made of the values of an entity's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    /// Arithmetic mean.
    Mean,
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
}

/// What an aggregate is taken of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// The lines themselves.
    Lines,
    /// A number column.
    Number(usize),
    /// The hour of day, 0 to 23, of a datetime column.
    Hour(usize),
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

/// An expression that was read but whose column was not looked up yet.
#[derive(Debug)]
pub(crate) struct ParsedFeature {
    name: String,
    aggregate: Aggregate,
    hour: bool,
    /// The column it is about, unless it is `count()`.
    pub(crate) column_name: Option<String>,
}

const AGGREGATES: [(&str, Aggregate); 7] = [
    ("mean", Aggregate::Mean),
    ("min", Aggregate::Min),
    ("max", Aggregate::Max),
    ("sum", Aggregate::Sum),
    ("first", Aggregate::First),
    ("last", Aggregate::Last),
    ("count", Aggregate::Count),
];

impl Feature {
    /// Reads `aggregate(column)`, `aggregate(hour(column))` or `count()`.
    pub(crate) fn parse(name: &str, expression: &str) -> Result<ParsedFeature, String> {
        let unreadable = || {
            format!(
                "`{expression}` is no feature: write mean, min, max, sum, first or last of a column, as in mean(UnitPrice), or count()"
            )
        };
        let (function, argument) = call(expression).ok_or_else(unreadable)?;
        let aggregate =
            AGGREGATES.iter().find(|(known, _)| *known == function).map(|(_, found)| *found).ok_or_else(unreadable)?;
        let (hour, column) = match call(argument) {
            Some(("hour", column)) => (true, column),
            Some(_) => return Err(unreadable()),
            None => (false, argument),
        };
        let is_count = aggregate == Aggregate::Count;
        if is_count != column.is_empty() || (is_count && hour) {
            return Err(unreadable());
        }
        let column_name = (!is_count).then(|| column.to_owned());
        Ok(ParsedFeature { name: name.to_owned(), aggregate, hour, column_name })
    }

    /// The expression that was read, without white space.
    pub(crate) fn expression(&self, columns: &[Column]) -> String {
        let function = AGGREGATES.iter().find(|(_, known)| *known == self.aggregate).map_or("", |(name, _)| name);
        match self.operand {
            Operand::Lines => format!("{function}()"),
            Operand::Number(column) => format!("{function}({})", columns[column].name),
            Operand::Hour(column) => format!("{function}(hour({}))", columns[column].name),
        }
    }

    /// The index of the number column that the feature reads.
    pub(crate) fn number_column(&self, columns: &[Column]) -> Option<usize> {
        match self.operand {
            Operand::Number(index) if columns[index].kind != ColumnType::Datetime => Some(index),
            _ => None,
        }
    }
}

impl ParsedFeature {
    /// The feature, once its column was found.
    pub(crate) fn resolve(self, column: Option<usize>, columns: &[Column]) -> Result<Feature, String> {
        let operand = match column {
            None => Operand::Lines,
            Some(index) => match (self.hour, columns[index].kind) {
                (true, ColumnType::Datetime) => Operand::Hour(index),
                (true, _) => return Err(format!("`{}` is not of type datetime", columns[index].name)),
                (false, ColumnType::Integer | ColumnType::Float) => Operand::Number(index),
                (false, _) => return Err(format!("`{}` is not of type int or float", columns[index].name)),
            },
        };
        Ok(Feature { name: self.name, aggregate: self.aggregate, operand })
    }
}

/// Splits `name(argument)`.
fn call(expression: &str) -> Option<(&str, &str)> {
    let (function, rest) = expression.trim().split_once('(')?;
    let argument = rest.trim_end().strip_suffix(')')?;
    Some((function.trim(), argument.trim()))
}

/// The running state of one feature over the lines seen so far.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Accumulator {
    /// Sum, extreme, first or last, as the aggregate has it.
    value: f64,
    /// Lines that had a value.
    count: u64,
}

/// The running state of every feature of an entity.
#[derive(Debug, Clone, PartialEq)]
pub struct Accumulators {
    states: Box<[Accumulator]>,
}

impl Accumulators {
    /// No line yet.
    pub fn new(features: &[Feature]) -> Self {
        Self { states: vec![Accumulator { value: 0.0, count: 0 }; features.len()].into() }
    }

    /// Folds a line in.
    pub fn add(&mut self, features: &[Feature], line: &[Value<'_>]) {
        for (state, feature) in self.states.iter_mut().zip(features) {
            if let Some(value) = feature.operand.value(line) {
                state.add(feature.aggregate, value);
            }
        }
    }

    /// The features' values; NaN for one whose column no line had.
    pub fn values(&self, features: &[Feature]) -> Vec<f64> {
        self.states.iter().zip(features).map(|(state, feature)| state.finish(feature.aggregate)).collect()
    }
}

impl Operand {
    fn value(self, line: &[Value<'_>]) -> Option<f64> {
        match self {
            Self::Lines => Some(1.0),
            Self::Number(column) => match line[column] {
                Value::Integer(number) => Some(number as f64),
                Value::Float(number) => Some(number),
                _ => None,
            },
            Self::Hour(column) => line[column].datetime().map(|moment| time::hour(moment) as f64),
        }
    }
}

impl Accumulator {
    fn add(&mut self, aggregate: Aggregate, value: f64) {
        let first = self.count == 0;
        self.count += 1;
        match aggregate {
            Aggregate::Mean | Aggregate::Sum | Aggregate::Count => self.value += value,
            Aggregate::Min if first || value < self.value => self.value = value,
            Aggregate::Max if first || value > self.value => self.value = value,
            Aggregate::First if first => self.value = value,
            Aggregate::Last => self.value = value,
            Aggregate::Min | Aggregate::Max | Aggregate::First => {}
        }
    }

    fn finish(self, aggregate: Aggregate) -> f64 {
        match (aggregate, self.count) {
            (Aggregate::Count, _) => self.value,
            (_, 0) => f64::NAN,
            (Aggregate::Mean, count) => self.value / count as f64,
            _ => self.value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Pipeline;

    fn parse(expression: &str) -> Option<(Aggregate, bool, Option<String>)> {
        Feature::parse("f", expression).ok().map(|parsed| (parsed.aggregate, parsed.hour, parsed.column_name))
    }

    #[test]
    fn the_language_is_small_and_closed() {
        assert_eq!(parse("mean(UnitPrice)"), Some((Aggregate::Mean, false, Some("UnitPrice".into()))));
        assert_eq!(parse(" first( hour( InvoiceDate ) ) "), Some((Aggregate::First, true, Some("InvoiceDate".into()))));
        assert_eq!(parse("count()"), Some((Aggregate::Count, false, None)));
        for bad in ["", "mean", "mean()", "median(x)", "mean(x", "count(x)", "hour(x)", "mean(minute(x))", "mean(x))("]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn accumulators_hold_the_features_of_an_invoice() {
        let features = Pipeline::load("invoices").unwrap().features;
        let line = |quantity, price, hour: i64| {
            let mut line = [Value::Missing; 8];
            line[3] = Value::Integer(quantity);
            line[4] = Value::Datetime(hour * 3_600_000);
            line[5] = Value::Float(price);
            line
        };
        let mut state = Accumulators::new(&features);
        state.add(&features, &line(74_215, 0.04, 9));
        state.add(&features, &line(-1, 2.04, 10));
        assert_eq!(state.values(&features), [1.04, 0.04, 2.04, 9.0, 74_214.0]);
    }

    #[test]
    fn a_feature_without_values_is_not_a_number() {
        let features = Pipeline::load("invoices").unwrap().features;
        assert!(Accumulators::new(&features).values(&features).iter().all(|value| value.is_nan()));
    }
}
