//! An invoice as the simulation knows it, and its lines as text fields.

use chrono::{Datelike, NaiveDateTime, Timelike};

use super::anomaly::Anomaly;
use super::line::Line;

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
