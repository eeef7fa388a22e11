//! Everything that talks to Kafka.
//!
//! A stream runs on three threads, joined by bounded channels, so that a slow stage holds the one before it back:
//! `consume` polls and drives the state machine, `score` computes on the device, `publish` commits. None of them is a
//! tokio worker. What became of a batch goes back to the first: after a failure it goes back to the last commit.
//!
//! `group`, `rounds`, `restore` and `snapshots` are about what is ours and how it got here; `transaction` and `producer` about
//! what goes out; `reports` about the one number that all instances have in common. `repartition`, on a fourth thread,
//! brings lines together first where their producer did not. `verdicts` only looks at what was published.

mod client;
mod clock;
mod membership;
mod options;
mod repartition;
mod stages;
mod state;
mod stop;
mod stream;
mod topics;
mod verdicts;
mod wire;

pub use client::error::KafkaError;
pub use client::producer::Sender;
pub use client::settings::KafkaSettings;
pub use options::{Delivery, EndWhen, Mutation, OnMessage, Progress, StreamOptions};
pub use repartition::misplaced::{Misplaced, find_misplaced, has_direct_state};
pub use stages::commit::{Fault, Faults, Step};
pub use state::reset::{PartitionState, ResetTo, reset, states};
pub use stop::StopHandle;
pub use stream::Stream;
pub use topics::admin::TopicSettings;
pub use topics::check::{TopicState, check_topics, ensure_topic, ensure_topics};
pub use topics::names::Topics;
pub use verdicts::{VerdictTopics, read_topic_labels};

pub use crate::status::{Status, StatusCell};
