//! Features: one number each, an aggregate over the lines of an entity.
//!
//! The language is small and closed: `mean`, `min`, `max`, `sum`, `first` and `last` of a column, of the `hour` or the
//! `day_of_week` of a datetime column, or of two number columns with an operator between them (`Quantity * UnitPrice`); and `count()`. The scorer folds lines into [`Accumulators`]; the trainer
//! computes the same aggregates over columns, and a test holds the two together on real data.

mod language;

use records::time;
use records::value::Value;

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
    /// The day of the week, 0 to 6 and Monday is 0, of a datetime column.
    DayOfWeek(usize),
    /// What an operator makes of two number columns of a line, in float64. A line that lacks one of them, or where the result is
    /// no finite number, has no value.
    Arithmetic(usize, Operator, usize),
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

    /// The indices of the number columns that the feature reads.
    pub fn number_columns(&self) -> impl Iterator<Item = usize> + use<> {
        let (first, second) = match self.operand {
            Operand::Number(index) => (Some(index), None),
            Operand::Arithmetic(left, _, right) => (Some(left), Some(right)),
            Operand::Lines | Operand::Hour(_) | Operand::DayOfWeek(_) => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// The indices of all columns that the feature reads.
    pub fn columns(&self) -> impl Iterator<Item = usize> + use<> {
        let moment = match self.operand {
            Operand::Hour(index) | Operand::DayOfWeek(index) => Some(index),
            _ => None,
        };
        self.number_columns().chain(moment)
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
        !matches!(self.aggregate, Aggregate::Sum | Aggregate::Count)
    }
}

/// The running state of every feature of an entity.
///
/// It is small, because a partition may hold a million of them: a number a feature, and one more for a mean, in the
/// features' order.
#[derive(Debug, Clone)]
pub struct Accumulators {
    state: Box<[f64]>, // (state_len)
}

impl Accumulators {
    /// No line yet.
    pub fn new(features: &[Feature]) -> Self {
        let mut state = Vec::with_capacity(Self::state_len(features));
        state.extend(features.iter().flat_map(|feature| feature.aggregate.empty()));
        Self { state: state.into() }
    }

    /// Continues from a [`state`](Self::state) that was written down; `None` when its length does not fit `features`.
    pub fn from_state(features: &[Feature], state: Box<[f64]>) -> Option<Self> {
        (state.len() == Self::state_len(features)).then_some(Self { state })
    }

    /// How many numbers the state of `features` has.
    pub fn state_len(features: &[Feature]) -> usize {
        features.iter().map(|feature| feature.aggregate.empty().len()).sum()
    }

    /// The running state, to be written down: `(state_len)`. NaN where there is no value yet, so write the bits.
    pub fn state(&self) -> &[f64] {
        &self.state
    }

    /// Folds a line in.
    pub fn add(&mut self, features: &[Feature], line: &[Value<'_>]) {
        let mut rest = &mut *self.state;
        for feature in features {
            let state;
            (state, rest) = rest.split_at_mut(feature.aggregate.empty().len());
            if let Some(value) = feature.operand.value(line) {
                feature.aggregate.add(state, value);
            }
        }
    }

    /// The features' values; NaN for one whose column no line had.
    pub fn values(&self, features: &[Feature]) -> Vec<f64> {
        values_of(features, &self.state).collect()
    }
}

/// The values of `features` whose running state is `state`, `(state_len)`; NaN for one whose column no line had.
pub fn values_of<'a>(features: &'a [Feature], mut state: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
    features.iter().map(move |feature| {
        let (mine, rest) = state.split_at(feature.aggregate.empty().len());
        state = rest;
        feature.aggregate.finish(mine)
    })
}

/// Adds to `state`, `(state_len)`, what later lines of the same entity made of theirs: the state of all of them, in order.
/// A sum may be another in its last bits than if the lines had been added one by one.
pub fn merge(features: &[Feature], mut state: &mut [f64], mut later: &[f64]) {
    for feature in features {
        let len = feature.aggregate.empty().len();
        let (mine, rest) = state.split_at_mut(len);
        feature.aggregate.merge(mine, &later[..len]);
        (state, later) = (rest, &later[len..]);
    }
}

impl PartialEq for Accumulators {
    /// By bits: two features without a value yet are alike, although NaN is not equal to itself.
    fn eq(&self, other: &Self) -> bool {
        let bits = |state: &[f64]| state.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
        bits(&self.state) == bits(&other.state)
    }
}

impl Operand {
    fn value(self, line: &[Value<'_>]) -> Option<f64> {
        match self {
            Self::Lines => Some(1.0),
            Self::Number(column) => line[column].number(),
            Self::Arithmetic(left, operator, right) => {
                let value = operator.of(line[left].number()?, line[right].number()?);
                value.is_finite().then_some(value)
            }
            Self::Hour(column) => line[column].datetime().map(|moment| time::hour(moment) as f64),
            Self::DayOfWeek(column) => line[column].datetime().map(|moment| time::day_of_week(moment) as f64),
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
    /// The state before the first value. NaN says "no value yet": values are finite, the parser guarantees it, and
    /// finite values never add up to NaN.
    fn empty(self) -> &'static [f64] {
        match self {
            // Sum and count. The count is exact up to 2^53 values.
            Self::Mean => &[0.0, 0.0],
            Self::Count => &[0.0],
            Self::Min | Self::Max | Self::Sum | Self::First | Self::Last => &[f64::NAN],
        }
    }

    fn add(self, state: &mut [f64], value: f64) {
        let first = state[0].is_nan();
        match self {
            Self::Mean => {
                state[0] += value;
                state[1] += 1.0;
            }
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
            Self::Mean => {
                state[0] = added(state[0], later[0]);
                state[1] += later[1];
            }
            Self::Count => state[0] += later[0],
            _ if later[0].is_nan() => {}
            Self::Sum if !state[0].is_nan() => state[0] = added(state[0], later[0]),
            _ => self.add(state, later[0]),
        }
    }

    fn finish(self, state: &[f64]) -> f64 {
        match self {
            // The constant, because the sign of 0 / 0 is the processor's choice.
            Self::Mean if state[1] == 0.0 => f64::NAN,
            Self::Mean => state[0] / state[1],
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
mod tests {
    use proptest::prelude::*;
    use records::schema::Column;

    use super::language::AGGREGATES;
    use super::*;

    /// What the invoices that ship are scored by: of the lines' quantity, date and price.
    fn invoice_features() -> Vec<Feature> {
        let columns =
            ["InvoiceNo", "StockCode", "Description", "Quantity:int", "InvoiceDate:datetime", "UnitPrice:float"];
        let columns = columns.map(|declared| declared.parse::<Column>().unwrap());
        let resolve = |name: &str| columns.iter().position(|column| column.name == name).ok_or_else(|| name.to_owned());
        let read = |expression| Feature::read("f", expression, &columns, resolve, |problem| problem).unwrap();
        let expressions =
            ["mean(UnitPrice)", "min(UnitPrice)", "max(UnitPrice)", "first(hour(InvoiceDate))", "sum(Quantity)"];
        expressions.map(read).to_vec()
    }

    #[test]
    fn accumulators_hold_the_features_of_an_invoice() {
        let features = &invoice_features();
        let line = |quantity, price, hour: i64| {
            let mut line = [Value::Missing; 8];
            line[3] = Value::Integer(quantity);
            line[4] = Value::Datetime(hour * 3_600_000);
            line[5] = Value::Float(price);
            line
        };
        let mut state = Accumulators::new(features);
        state.add(features, &line(74_215, 0.04, 9));
        state.add(features, &line(-1, 2.04, 10));
        assert_eq!(state.values(features), [1.04, 0.04, 2.04, 9.0, 74_214.0]);
    }

    #[test]
    fn a_feature_without_values_is_not_a_number() {
        let features = &invoice_features();
        assert!(Accumulators::new(features).values(features).iter().all(|value| value.is_nan()));
    }

    #[test]
    fn the_state_of_an_invoice_is_six_numbers() {
        let features = &invoice_features();
        let state = Accumulators::new(features).state().to_vec();
        assert_eq!((state.len(), Accumulators::state_len(features)), (6, 6), "five features, and the mean's count");
        for len in [0, 5, 7] {
            assert_eq!(Accumulators::from_state(features, vec![0.0; len].into()), None);
        }
        assert_eq!(Accumulators::from_state(features, state.into()), Some(Accumulators::new(features)));
    }

    /// Every aggregate of a number column and of an hour, and `count()` between them.
    fn every_feature() -> Vec<Feature> {
        let feature = |operand| {
            move |(name, aggregate): &(&str, Aggregate)| {
                let operand = if *aggregate == Aggregate::Count { Operand::Lines } else { operand };
                Feature { name: (*name).to_owned(), aggregate: *aggregate, operand }
            }
        };
        let operators = [Operator::Plus, Operator::Minus, Operator::Times, Operator::By];
        let arithmetic = operators.map(|operator| Operand::Arithmetic(0, operator, 2));
        let operands = [Operand::Number(0), Operand::Hour(1), Operand::DayOfWeek(1)].into_iter().chain(arithmetic);
        operands.flat_map(|operand| AGGREGATES.iter().map(feature(operand))).collect()
    }

    fn number() -> impl Strategy<Value = Value<'static>> {
        prop_oneof![
            Just(Value::Missing),
            Just(Value::Float(-0.0)),
            any::<i64>().prop_map(Value::Integer),
            (-1e9f64..1e9).prop_map(Value::Float),
            any::<f64>().prop_filter("values are finite", |number| number.is_finite()).prop_map(Value::Float),
        ]
    }

    fn lines() -> impl Strategy<Value = Vec<[Value<'static>; 3]>> {
        let date = prop_oneof![Just(Value::Missing), (0i64..1 << 40).prop_map(Value::Datetime)];
        proptest::collection::vec((number(), date, number()).prop_map(|(a, date, b)| [a, date, b]), 0..12)
    }

    fn fold(mut accumulators: Accumulators, lines: &[[Value<'_>; 3]]) -> Accumulators {
        lines.iter().for_each(|line| accumulators.add(&every_feature(), line));
        accumulators
    }

    /// The sum of the sizes of a feature's values.
    fn added_up(feature: &Feature, lines: &[[Value<'_>; 3]]) -> f64 {
        lines.iter().filter_map(|line| feature.operand.value(line)).map(f64::abs).sum()
    }

    fn bits(numbers: &[f64]) -> Vec<u64> {
        numbers.iter().map(|number| number.to_bits()).collect()
    }

    /// The feature of all lines at once.
    fn defined(feature: &Feature, lines: &[[Value<'_>; 3]]) -> f64 {
        let values: Vec<f64> = lines.iter().filter_map(|line| feature.operand.value(line)).collect();
        let sum = values.iter().fold(0.0, |sum, value| sum + value);
        match feature.aggregate {
            Aggregate::Count => lines.len() as f64,
            _ if values.is_empty() => f64::NAN,
            Aggregate::Mean => sum / values.len() as f64,
            Aggregate::Sum => sum,
            Aggregate::First => values[0],
            Aggregate::Last => values[values.len() - 1],
            // Of equal values, such as 0.0 and -0.0, the first.
            Aggregate::Min => values.into_iter().reduce(|min, value| if value < min { value } else { min }).unwrap(),
            Aggregate::Max => values.into_iter().reduce(|max, value| if value > max { value } else { max }).unwrap(),
        }
    }

    proptest! {
        #[test]
        fn line_by_line_is_all_at_once(lines in lines()) {
            let features = every_feature();
            let values = fold(Accumulators::new(&features), &lines).values(&features);
            let expected: Vec<f64> = features.iter().map(|feature| defined(feature, &lines)).collect();
            prop_assert_eq!(bits(&values), bits(&expected), "{:?} should be {:?}", values, expected);
        }

        #[test]
        fn merged_states_are_those_of_all_lines(lines in lines(), more in lines()) {
            let features = every_feature();
            let mut merged = fold(Accumulators::new(&features), &lines).state().to_vec();
            merge(&features, &mut merged, fold(Accumulators::new(&features), &more).state());
            let whole: Vec<f64> = fold(fold(Accumulators::new(&features), &lines), &more).values(&features);
            for ((merged, whole), feature) in values_of(&features, &merged).zip(&whole).zip(&features) {
                let is_sum = matches!(feature.aggregate, Aggregate::Sum | Aggregate::Mean);
                // Sums of another order may differ in their last bits, relative to what was added.
                let size = added_up(feature, &lines) + added_up(feature, &more);
                let close = is_sum && (size == f64::INFINITY || (merged - whole).abs() <= 1e-12 * size);
                prop_assert!(merged.to_bits() == whole.to_bits() || close, "{}: {merged} and {whole}", feature.name);
            }
        }

        #[test]
        fn a_state_that_was_written_down_goes_on_as_if_nothing_happened(lines in lines(), more in lines()) {
            let features = every_feature();
            let before = fold(Accumulators::new(&features), &lines);
            let resumed = fold(Accumulators::from_state(&features, before.state().into()).unwrap(), &more);
            let whole = fold(before, &more);
            prop_assert_eq!(bits(resumed.state()), bits(whole.state()));
            prop_assert_eq!(bits(&resumed.values(&features)), bits(&whole.values(&features)));
            prop_assert_eq!(resumed, whole);
        }

        #[test]
        fn arithmetic_is_of_numbers_that_are_both_there(a in number(), b in number()) {
            let of = |operator| Operand::Arithmetic(0, operator, 1).value(&[a, b]);
            let both = a.number().zip(b.number());
            let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
            prop_assert_eq!(of(Operator::Plus), finite(both.map(|(a, b)| a + b)));
            prop_assert_eq!(of(Operator::Minus), finite(both.map(|(a, b)| a - b)));
            prop_assert_eq!(of(Operator::Times), finite(both.map(|(a, b)| a * b)));
            prop_assert_eq!(of(Operator::By), finite(both.map(|(a, b)| a / b)));
        }
    }
}
