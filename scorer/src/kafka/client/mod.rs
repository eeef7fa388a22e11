//! The clients of librdkafka: how they are set, what they say, what can go wrong.

pub(crate) mod blocking;
pub(crate) mod consumer;
pub(crate) mod error;
mod error_kind;
pub(crate) mod group_members;
pub(crate) mod group_protocol;
mod java;
pub(crate) mod log_ends;
pub(crate) mod named_for;
mod obstacle;
pub(crate) mod offsets;
pub(crate) mod producer;
mod properties;
mod reach;
pub(crate) mod read_to_end;
pub(crate) mod readable;
pub(crate) mod settings;
mod tls_probe;
pub(crate) mod token;
mod topic_handle;
pub(crate) mod topic_id;
pub(crate) mod watchdog;
