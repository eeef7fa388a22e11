//! Everything that talks to Kafka.
//!
//! A stream runs on three threads, joined by bounded channels, so that a slow stage holds the one before it back:
//! `consume` polls and drives the state machine, `score` computes on the device, `publish` produces, waits for the
//! acknowledgements and commits. None of them is a tokio worker.

mod consume;
mod publish;
mod settings;
mod status;
mod stream;
mod topics;

pub use publish::Sender;
pub use settings::{KafkaError, KafkaSettings};
pub use status::{Status, StatusCell};
pub use stream::{EndWhen, Progress, StopHandle, Stream, StreamOptions};
pub use topics::{TopicSettings, TopicState, check_topics, ensure_topics};
