//! `[currency]`: amounts in several currencies become amounts in one.

use super::checker::Checker;
use super::file::CurrencySection;
use super::{Column, ColumnType, Currency, PipelineError};

pub(super) fn check(
    checker: &Checker<'_>,
    section: &CurrencySection,
    columns: &[Column],
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
    Ok(Currency { column, amount, base: section.base.clone(), rates: section.rates.clone() })
}
