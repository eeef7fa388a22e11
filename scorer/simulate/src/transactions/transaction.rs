//! A transaction as the simulation knows it.

use super::places::{Currency, Position};
use super::scenario::Scenario;

/// One payment. Numbers are whole, so that there is one way to write each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transaction {
    /// Different for every payment of a simulation.
    pub id: u64,
    /// Who pays.
    pub user: u32,
    /// Who is paid.
    pub merchant: u32,
    /// In the currency's smallest coin: cents, or yen.
    pub amount: u64,
    /// The currency of the merchant's country.
    pub currency: Currency,
    /// Where the payment was made: at the terminal, or, to an online merchant, where the user is.
    pub position: Position,
    /// Milliseconds since 1970-01-01 UTC.
    pub timestamp: i64,
    /// What is strange about it, if anything is.
    pub label: Option<Scenario>,
}

impl Transaction {
    /// The amount in whole units of the currency.
    pub fn amount_in_currency(&self) -> f64 {
        self.amount as f64 / f64::from(self.currency.coins())
    }

    /// The amount in euros, by the simulation's rates.
    pub fn amount_in_euros(&self) -> f64 {
        self.amount_in_currency() / self.currency.per_euro()
    }
}
