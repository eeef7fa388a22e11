//! An invoice as the simulation knows it, and its lines as text fields.

use std::fmt;
use std::sync::Arc;

use chrono::{Datelike, NaiveDateTime, Timelike};

use super::anomaly::Anomaly;
use super::flaw::Flaw;

/// A price in pence, so that prices are exact; written in pounds, e.g. `0.85`, `2.1`, `18.0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pence(pub u32);

impl fmt::Display for Pence {
    /// The shortest decimal that reads back as the same price, with at least one digit after the point.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pounds, pence) = (self.0 / 100, self.0 % 100);
        if pence.is_multiple_of(10) { write!(f, "{pounds}.{}", pence / 10) } else { write!(f, "{pounds}.{pence:02}") }
    }
}

/// One line of an invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Five digits, some with a letter after them; a few words such as `POST`.
    pub stock_code: Arc<str>,
    /// In capitals, with the shop's own commas, quotes and trailing blanks; empty in a stock adjustment.
    pub description: Arc<str>,
    /// Items; negative in a return.
    pub quantity: i64,
    /// The price of one item.
    pub unit_price: Pence,
    /// What keeps the written line from being parsed, if anything does.
    pub flaw: Option<Flaw>,
}

/// One invoice, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    /// Increases by one from invoice to invoice, cancellations included.
    pub number: u32,
    /// A cancellation takes back lines of an earlier purchase; it is no anomaly.
    pub cancels: bool,
    /// What is strange about it, if anything is.
    pub anomaly: Option<Anomaly>,
    /// When it was written, to the minute; all its lines carry this.
    pub minute: NaiveDateTime,
    /// The customer's number, missing when the shop did not ask.
    pub customer: Option<u32>,
    /// The customer's country.
    pub country: &'static str,
    /// Its lines: at least one, and the first one has no flaw.
    pub lines: Vec<Line>,
}

impl Invoice {
    /// The invoice number as written: a cancellation's starts with `C`.
    pub fn key(&self) -> String {
        let prefix = if self.cancels { "C" } else { "" };
        format!("{prefix}{}", self.number)
    }

    /// The text fields of one of its lines: eight, unless the line's flaw is another number of them.
    pub fn fields(&self, line: &Line) -> Vec<String> {
        let mut fields = vec![
            self.key(),
            line.stock_code.to_string(),
            line.description.to_string(),
            line.quantity.to_string(),
            date_field(self.minute),
            line.unit_price.to_string(),
            self.customer.map(|id| id.to_string()).unwrap_or_default(),
            self.country.to_owned(),
        ];
        if let Some(flaw) = line.flaw {
            flaw.apply(&mut fields);
        }
        fields
    }
}

/// `M/D/YYYY H:MM`, without leading zeros in month, day and hour, as the published data have it.
fn date_field(minute: NaiveDateTime) -> String {
    format!("{}/{}/{} {}:{:02}", minute.month(), minute.day(), minute.year(), minute.hour(), minute.minute())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn prices_read_back_as_they_are(pence in 0..100_000_000_u32) {
            let written = Pence(pence).to_string();
            let read: f64 = written.parse().expect("a number");
            prop_assert_eq!((read * 100.0).round() as u32, pence);
            // The shortest form, as the published data write it: 0.85, 2.1, 18.0.
            prop_assert_eq!(format!("{:?}", read), written);
        }
    }
}
