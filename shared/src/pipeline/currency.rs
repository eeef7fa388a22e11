//! `[currency]`: amounts in several currencies become amounts in one.

use super::checker::Checker;
use super::file::CurrencySection;
use super::{Column, ColumnType, Currency, PipelineError};

/// Checks the section; what keeps the amount as it came is added to `columns`.
pub(super) fn check(
    checker: &Checker<'_>,
    section: &CurrencySection,
    columns: &mut Vec<Column>,
) -> Result<Currency, PipelineError> {
    let column = checker.resolve("[currency] column", &section.column, columns)?;
    if columns[column].kind != ColumnType::Text {
        return checker.error("[currency] column", format!("`{}` must be a text column", section.column));
    }
    let amount = checker.resolve("[currency] amount", &section.amount, columns)?;
    if columns[amount].kind != ColumnType::Float {
        return checker.error("[currency] amount", format!("`{}` must be of type float", section.amount));
    }
    let is_name = |name: &str| !name.is_empty() && name.trim() == name;
    if !is_name(&section.base) {
        return checker.error("[currency] base", format!("`{}` is no currency, such as \"EUR\"", section.base));
    }
    for (name, rate) in &section.rates {
        let place = format!("[currency] rates {name}");
        if !is_name(name) {
            return checker.error(&place, "is no currency, such as USD");
        }
        if *name == section.base {
            return checker.error(&place, "is the base: its rate is 1 and is not given");
        }
        if !(rate.is_finite() && *rate > 0.0) {
            return checker.error(&place, format!("{rate} must be a number above 0: what one {name} is in the base"));
        }
    }
    let original = section.original.as_deref().map(|name| original(checker, name, amount, columns)).transpose()?;
    Ok(Currency { column, amount, original, base: section.base.clone(), rates: section.rates.clone() })
}

/// The index of a new column for amounts as they came.
fn original(
    checker: &Checker<'_>,
    name: &str,
    amount: usize,
    columns: &mut Vec<Column>,
) -> Result<usize, PipelineError> {
    let place = "[currency] original";
    if name.is_empty() || name.trim() != name {
        return checker.error(place, format!("`{name}` is no name, such as \"original_amount\""));
    }
    if columns.iter().any(|column| column.is_called(name)) {
        return checker
            .error(place, format!("`{name}` is a column of the input: give the amount as it came another name"));
    }
    let range = columns[amount].range;
    columns.push(Column { is_derived: true, optional: true, range, ..Column::new(name, ColumnType::Float) });
    Ok(columns.len() - 1)
}

/// Fails where features or windows read the column that keeps amounts as they came: they compare amounts.
pub(super) fn check_not_compared(
    checker: &Checker<'_>,
    currency: &Currency,
    needed: &[usize],
    columns: &[Column],
) -> Result<(), PipelineError> {
    match currency.original {
        Some(original) if needed.contains(&original) => {
            let (original, amount) = (&columns[original].name, &columns[currency.amount].name);
            let problem = format!(
                "`{original}` is for [outputs] fields alone, because amounts are compared in one currency: features and \
                 detectors read `{amount}`, which is in {}",
                currency.base
            );
            checker.error("[currency] original", problem)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use records::line::LineParser;

    use super::super::{FieldValue, Pipeline};

    const TRANSACTIONS: &str = include_str!("../../../resources/pipelines/transactions.toml");

    fn replaced(from: &str, to: &str) -> String {
        assert!(TRANSACTIONS.contains(from), "the shipped file has `{from}`");
        TRANSACTIONS.replacen(from, to, 1)
    }

    /// The fields of a payment of 1,234.56 in this currency.
    fn fields(currency: &str) -> Vec<(String, FieldValue)> {
        let pipeline = Pipeline::parse(TRANSACTIONS, "test.toml").unwrap();
        let payment = format!(
            r#"{{"transaction_id":"t","user_id":"u","merchant_id":"m","amount":1234.56,{currency}"latitude":40.5,"longitude":-3.5,"timestamp":"2026-01-01T10:00:00Z"}}"#
        );
        let mut parser = LineParser::new(pipeline.schema.clone());
        let values = parser.parse(payment.as_bytes(), |line| pipeline.fields.of_record(line)).unwrap();
        pipeline.fields.names().map(str::to_owned).zip(values.iter().cloned()).collect()
    }

    #[test]
    fn a_payment_is_told_in_its_own_currency_and_in_the_base() {
        let number = |name: &str, value: f64| (name.to_owned(), FieldValue::Number(value));
        let text = |name: &str, value: &str| (name.to_owned(), FieldValue::Text(value.into()));
        let expected = [
            number("amount", 1234.56),
            text("currency", "MXN"),
            number("amount_eur", 1234.56 * 0.0541),
            text("merchant_id", "m"),
            number("latitude", 40.5),
            number("longitude", -3.5),
        ];
        assert_eq!(fields(r#""currency":"MXN","#), expected);
        let in_base = fields("");
        assert_eq!((&in_base[0], &in_base[2]), (&number("amount", 1234.56), &number("amount_eur", 1234.56)));
        assert_eq!(in_base[1].1, FieldValue::Missing);
    }

    /// A model is none the worse for what its verdicts repeat.
    #[test]
    fn the_amount_as_it_came_is_no_part_of_what_features_mean() {
        let without =
            replaced("original = \"original_amount\"", "# nothing").replace("amount = original_amount", "amount");
        let without = Pipeline::parse(&without, "test.toml").unwrap();
        let with = Pipeline::parse(TRANSACTIONS, "test.toml").unwrap();
        assert_eq!((&without.definition, &without.meaning), (&with.definition, &with.meaning));
        assert_ne!(without.state_layout(), with.state_layout(), "records that wait keep their fields");
    }

    #[test]
    fn a_name_for_the_amount_as_it_came_is_new_and_only_fields_read_it() {
        let cases = [
            ("\"original_amount\"", "\" \"", "[currency] original: ` ` is no name"),
            ("\"original_amount\"", "\"user_id\"", "[currency] original: `user_id` is a column of the input"),
            ("ratio(amount) by user_id", "ratio(original_amount) by user_id", "read `amount`, which is in EUR"),
            ("value = \"amount\"", "value = \"original_amount\"", "`original_amount` is for [outputs] fields alone"),
            ("column = \"label\"", "column = \"original_amount\"", "`original_amount` is the column of [label]"),
            ("original =", "originale =", "unknown key `originale` in [currency]; did you mean `original`?"),
        ];
        for (from, to, expected) in cases {
            let found = Pipeline::parse(&replaced(from, to), "test.toml").expect_err(to).to_string();
            assert!(found.contains(expected), "{found}\n  should say: {expected}");
        }
    }
}
