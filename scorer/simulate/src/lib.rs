//! Sample data from a seed: streams that look like a shop's, with the answers beside them.
//!
//! A simulator is a pure iterator (no clock, no environment: the seed and the first date are arguments) and a
//! thin writer. Each kind of stream has a module of its own; what they share is where records go (`target`): a file
//! that appears only when it is whole, one that grows, or the standard output.

pub mod invoices;
mod target;
pub mod transactions;

pub use target::WriteError;
