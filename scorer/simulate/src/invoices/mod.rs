//! A gift wholesaler's invoices: ordinary ones, cancelled ones, broken ones and strange ones, from a seed.
//!
//! [`Config`] says what is wanted, [`Config::check`] refuses what makes no sense, and [`Simulation`] yields one
//! [`Day`] of invoices after another. [`write_files`] puts them into a CSV with the columns and the date format
//! of UCI's "Online Retail" data, and the labels of the anomalous ones into another.
//!
//! The shop (its catalogue and its customers) depends on the seed only, and what happens on a day on the seed
//! and that day. So two simulations of one seed and different dates are the history and the future of one shop.

mod anomaly;
mod args;
mod basket;
mod calendar;
mod cancellation;
mod catalogue;
mod config;
mod customers;
mod flaw;
mod invoice;
mod line;
mod products;
mod simulation;
mod summary;
mod write;

#[cfg(test)]
mod tests;

pub use anomaly::Anomaly;
pub use args::InvoicesArgs;
pub use config::{CheckedConfig, Config, ConfigError};
pub use flaw::Flaw;
pub use invoice::Invoice;
pub use line::{Line, Pence};
pub use simulation::{Day, Simulation};
pub use summary::Summary;
pub use write::{Error, LABELS_HEADER, LINES_HEADER, write_files, write_to_standard_output};
