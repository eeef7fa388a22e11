//! Everything that talks to Kafka.
//!
//! A stream runs on three threads, joined by bounded channels, so that a slow stage holds the one before it back:
//! `consume` polls and drives the state machine, `score` computes on the device, `publish` commits. None of them is a
//! tokio worker. What became of a batch goes back to the first: after a failure it goes back to the last commit.
//!
//! `group`, `rounds`, `restore` and `snapshots` are about what is ours and how it got here; `transaction` and `producer` about
//! what goes out; `reports` about the one number that all instances have in common. `repartition`, on a fourth thread,
//! brings lines together first where their producer did not. `verdicts` only looks at what was published.

mod consume;
mod ends;
mod group;
mod identity;
mod misplaced;
mod producer;
mod publish;
mod repartition;
mod reports;
mod reset;
mod restore;
mod resume;
mod rounds;
mod settings;
mod snapshots;
mod status;
mod stream;
mod topics;
mod transaction;
mod verdicts;
mod watchdog;

pub use misplaced::{Misplaced, find_misplaced, has_direct_state};
pub use producer::Sender;
pub use reset::{PartitionState, ResetTo, reset, states};
pub use settings::{KafkaError, KafkaSettings};
pub use status::{Status, StatusCell};
pub use stream::{Delivery, EndWhen, Mutation, OnMessage, Progress, StopHandle, Stream, StreamOptions, Topics};
pub use topics::{TopicSettings, TopicState, check_topics, ensure_topic, ensure_topics};
pub use transaction::{Fault, Faults, Step};
pub use verdicts::{VerdictTopics, read_topic_labels};
