//! Bank transactions: people who pay by card as people do, and eight kinds of fraud and error, from a seed.
//!
//! [`Config`] says what is wanted, [`Config::check`] refuses what makes no sense, and [`Simulation`] yields one
//! [`Transaction`] after another, without end. [`TransactionFile`] takes them; `commands` paces
//! them and sends them to Kafka.
//!
//! `places`, `category` and `rhythm` say what the world is like; `users` and `merchants` are drawn from it, and `awake` picks
//! who pays; `scenario` names
//! what can be strange; `payments` makes single payments, `episodes` remembers fraud that lasts, and `simulation` puts all in
//! the order of time. A name of a field, a format or a label that is written once is read by others: it stays.

mod alias;
mod args;
mod awake;
mod category;
mod config;
mod episodes;
mod file;
mod merchants;
mod parquet;
mod payments;
mod places;
mod random;
mod rhythm;
mod scenario;
mod simulation;
mod summary;
mod text;
mod transaction;
mod users;

#[cfg(test)]
mod tests;

pub use args::{Destination, TransactionsArgs};
pub use config::{CheckedConfig, Config, ConfigError};
pub use file::{Format, TransactionFile};
pub use places::{Currency, Position};
pub use scenario::Scenario;
pub use simulation::Simulation;
pub use summary::Summary;
pub use text::{HEADER, TextWriter, push_user};
pub use transaction::Transaction;
