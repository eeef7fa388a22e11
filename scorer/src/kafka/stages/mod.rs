//! The three stages of a stream, and what goes from one to the next.

pub(crate) mod batch;
pub(crate) mod commit;
pub(crate) mod consume;
pub(crate) mod consume_options;
pub(crate) mod faults;
pub(crate) mod idle_clock;
pub(crate) mod in_flight;
pub(crate) mod open_batch;
pub(crate) mod peers;
pub(crate) mod publication;
pub(crate) mod publish;
pub(crate) mod read_times;
pub(crate) mod restoring;
pub(crate) mod score;
pub(crate) mod tasks;
pub(crate) mod transaction_error;
