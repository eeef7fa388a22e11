//! The three stages of a stream, and what goes from one to the next.

pub(crate) mod batch;
pub(crate) mod commit;
pub(crate) mod consume;
pub(crate) mod publish;
pub(crate) mod score;
