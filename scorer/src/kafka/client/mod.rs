//! The clients of librdkafka: how they are set, what they say, what can go wrong.

pub(crate) mod blocking;
pub(crate) mod consumer;
pub(crate) mod error;
pub(crate) mod group_members;
pub(crate) mod group_protocol;
pub(crate) mod log_ends;
pub(crate) mod offsets;
pub(crate) mod producer;
pub(crate) mod read_to_end;
pub(crate) mod settings;
pub(crate) mod topic_id;
pub(crate) mod watchdog;
