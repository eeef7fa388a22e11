//! A line of an invoice, and its price.

use std::fmt;
use std::sync::Arc;

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
