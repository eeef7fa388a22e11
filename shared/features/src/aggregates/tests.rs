//! What accumulators promise.

use proptest::prelude::*;
use records::schema::Column;

use super::language::AGGREGATES;
use super::*;
use crate::codec::{Damaged, Reader};

/// What the invoices that ship are scored by: of the lines' quantity, date and price.
fn invoice_features() -> Vec<Feature> {
    let columns = ["InvoiceNo", "StockCode", "Description", "Quantity:int", "InvoiceDate:datetime", "UnitPrice:float"];
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
fn a_single_line_needs_no_accumulators() {
    let columns = ["Quantity:int", "UnitPrice:float", "At:datetime"].map(|it| it.parse::<Column>().unwrap());
    let resolve = |name: &str| columns.iter().position(|column| column.name == name).ok_or_else(|| name.to_owned());
    let (quantities, prices) =
        ([Value::Missing, Value::Integer(-3)], [Value::Missing, Value::Float(-0.0), Value::Float(2.5)]);
    let mut found = 0;
    for of in ["UnitPrice", "Quantity * UnitPrice", "hour(At)"] {
        for name in ["mean", "median", "min", "max", "sum", "first", "last", "count_distinct"] {
            let expression = format!("{name}({of})");
            let Ok(feature) = Feature::read("f", &expression, &columns, resolve, |problem| problem) else { continue };
            let features = std::slice::from_ref(&feature);
            for quantity in quantities {
                for price in prices {
                    let line = [quantity, price, Value::Datetime(3_600_000)];
                    let mut state = Accumulators::new(features);
                    state.add(features, &line);
                    let (one, all) = (feature.of_line(&line), state.values(features)[0]);
                    assert_eq!(one.to_bits(), all.to_bits(), "{expression} of {line:?}: {one} is {all}");
                    found += 1;
                }
            }
        }
    }
    assert!(found >= 15 * quantities.len() * prices.len(), "{found}");
}

#[test]
fn a_feature_without_values_is_not_a_number() {
    let features = &invoice_features();
    assert!(Accumulators::new(features).values(features).iter().all(|value| value.is_nan()));
}

#[test]
fn the_state_of_an_invoice_is_six_numbers() {
    let features = &invoice_features();
    let state = Accumulators::new(features);
    assert_eq!(
        (written(&state).len(), Accumulators::state_len(features)),
        (48, 6),
        "five features, and the mean's count"
    );
    for len in [0, 8, 47] {
        assert_eq!(Accumulators::decode(features, &mut Reader(&[0; 48][..len])), Err(Damaged));
    }
    assert_eq!(restored(features, &state), state);
    // As before there were features that keep values.
    assert_eq!((size_of::<Accumulators>(), state.heap_bytes(), state.is_full()), (16, 64, false));
}

fn written(state: &Accumulators) -> Vec<u8> {
    let mut out = Vec::new();
    state.encode(&mut out);
    out
}

/// What is read of a state that was written down.
fn restored(features: &[Feature], state: &Accumulators) -> Accumulators {
    let written = written(state);
    let mut reader = Reader(&written);
    let restored = Accumulators::decode(features, &mut reader).unwrap();
    reader.end().unwrap();
    restored
}

#[test]
fn an_invoice_is_full_at_a_bound_and_a_state_says_what_it_takes() {
    let columns = ["Code", "Price:float"].map(|declared| declared.parse::<Column>().unwrap());
    let resolve = |name: &str| columns.iter().position(|column| column.name == name).ok_or_else(|| name.to_owned());
    let read = |expression| Feature::read("f", expression, &columns, resolve, |problem| problem).unwrap();
    let features = &["count_distinct(Code)", "share(Code = 'c1')", "median(Price)"].map(read);
    let mut state = Accumulators::new(features);
    let mut n_lines = 0;
    while !state.is_full() {
        let code = format!("c{}", n_lines % 10);
        state.add(features, &[Value::Text(&code), Value::Float(f64::from(n_lines))]);
        n_lines += 1;
    }
    // Ten codes of two characters each, and the length of each.
    assert_eq!(n_lines as usize, (MAX_KEPT_BYTES - 30).div_ceil(8));
    let middle = f64::from(n_lines - 1) / 2.0;
    let share = f64::from((0..n_lines).filter(|line| line % 10 == 1).count() as u32) / f64::from(n_lines);
    assert_eq!(state.values(features), [10.0, share, middle]);
    let again = restored(features, &state);
    assert_eq!((again.heap_bytes(), again.is_full()), (state.heap_bytes(), true));
    let said = state.heap_bytes();
    assert!((MAX_KEPT_BYTES..3 * MAX_KEPT_BYTES).contains(&said), "{said}");
}

#[test]
fn whole_numbers_are_told_apart_by_all_their_digits() {
    let columns = ["Id:int", "Price:float", "At:datetime"].map(|declared| declared.parse::<Column>().unwrap());
    let resolve = |name: &str| columns.iter().position(|column| column.name == name).ok_or_else(|| name.to_owned());
    let read = |expression| Feature::read("f", expression, &columns, resolve, |problem| problem).unwrap();
    let features = &["count_distinct(Id)", "count_distinct(Price)", "count_distinct(At)"].map(read);
    let mut state = Accumulators::new(features);
    assert_eq!(state.values(features), [0.0; 3], "of nothing, nothing differs");
    for (id, price, at) in [(1 << 60, 0.0, 7), ((1 << 60) + 1, -0.0, 7), (1 << 60, 0.5, 8)] {
        state.add(features, &[Value::Integer(id), Value::Float(price), Value::Datetime(at)]);
    }
    assert_eq!(state.values(features), [2.0, 2.0, 2.0]);
}

/// Every aggregate of a number column and of an hour; between them `count()`, the share of a kind, and how many texts and
/// dates differ.
fn every_feature() -> Vec<Feature> {
    let feature = |operand: Operand| {
        move |(name, aggregate): &(&str, Aggregate)| {
            let operand = match (aggregate, &operand) {
                (Aggregate::Count, _) => Operand::Lines,
                (Aggregate::Share, _) => Operand::Is(3, "a".to_owned()),
                (Aggregate::CountDistinct, Operand::Hour(_)) => Operand::Text(3),
                (Aggregate::CountDistinct, Operand::DayOfWeek(_)) => Operand::Moment(1),
                _ => operand.clone(),
            };
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

fn lines() -> impl Strategy<Value = Vec<[Value<'static>; 4]>> {
    let date = prop_oneof![Just(Value::Missing), (0i64..1 << 40).prop_map(Value::Datetime)];
    let text =
        proptest::sample::select(vec![Value::Missing, Value::Text("a"), Value::Text("b"), Value::Text("\u{e9}")]);
    let line = (number(), date, number(), text).prop_map(|(a, date, b, text)| [a, date, b, text]);
    proptest::collection::vec(line, 0..12)
}

fn fold(mut accumulators: Accumulators, lines: &[[Value<'_>; 4]]) -> Accumulators {
    lines.iter().for_each(|line| accumulators.add(&every_feature(), line));
    accumulators
}

/// The sum of the sizes of a feature's values.
fn added_up(feature: &Feature, lines: &[[Value<'_>; 4]]) -> f64 {
    lines.iter().filter_map(|line| feature.operand.value(line)).map(f64::abs).sum()
}

fn bits(numbers: &[f64]) -> Vec<u64> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

/// The feature of all lines at once.
fn defined(feature: &Feature, lines: &[[Value<'_>; 4]]) -> f64 {
    let values: Vec<f64> = lines.iter().filter_map(|line| feature.operand.value(line)).collect();
    let sum = values.iter().fold(0.0, |sum, value| sum + value);
    match feature.aggregate {
        Aggregate::Count => lines.len() as f64,
        Aggregate::CountDistinct => {
            let mut distinct: Vec<KeptValue<'_>> = Vec::new();
            for value in lines.iter().filter_map(|line| feature.operand.distinct(line)) {
                if !distinct.contains(&value) {
                    distinct.push(value);
                }
            }
            distinct.len() as f64
        }
        _ if values.is_empty() => f64::NAN,
        Aggregate::Share => values.iter().filter(|value| **value == 1.0).count() as f64 / lines.len() as f64,
        Aggregate::Median => {
            let mut sorted = values;
            sorted.sort_by(f64::total_cmp);
            let (lower, upper) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
            if sorted.len() % 2 == 1 { upper } else { lower / 2.0 + upper / 2.0 }
        }
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
        let mut merged = fold(Accumulators::new(&features), &lines).numbers().to_vec();
        merge(&features, &mut merged, fold(Accumulators::new(&features), &more).numbers());
        let whole = fold(fold(Accumulators::new(&features), &lines), &more);
        let (kept, whole) = (whole.kept(), whole.values(&features));
        for ((merged, whole), feature) in values_of(&features, &merged, kept).zip(&whole).zip(&features) {
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
        let resumed = restored(&features, &before);
        prop_assert_eq!(resumed.heap_bytes(), before.heap_bytes());
        let (resumed, whole) = (fold(resumed, &more), fold(before, &more));
        prop_assert_eq!(bits(resumed.numbers()), bits(whole.numbers()));
        prop_assert_eq!(resumed.heap_bytes(), whole.heap_bytes());
        prop_assert_eq!(bits(&resumed.values(&features)), bits(&whole.values(&features)));
        prop_assert_eq!(resumed, whole);
    }

    #[test]
    fn no_bytes_make_decoding_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        let features = every_feature();
        if let Ok(state) = Accumulators::decode(&features, &mut Reader(&bytes)) {
            prop_assert_eq!(state.values(&features).len(), features.len());
        }
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
