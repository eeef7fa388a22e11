//! Everything that talks to Kafka.
//!
//! A stream has one or several stream threads, each a member of the group by itself. A stream thread has three stages with a
//! thread of the system each, joined by bounded channels, so that a slow stage holds the one before it back: `consume` polls and
//! drives the state machine, `score` computes on the device, `publish` commits. None of them is a tokio worker. What became of a
//! batch goes back to the first: after a failure it goes back to the last commit. Partitions are restored, and snapshots are made
//! of them, on threads that come and go beside these. Where standby copies are wanted,
//! one more thread follows the changelogs of partitions that other instances own.
//!
//! The rooms, each of which knows only those before it: `client` (the clients of librdkafka), `wire` (headers, what
//! stands beside an offset), `topics`; `membership` (what is ours, and for whom we may commit); `state` (how a partition's
//! state gets here, and is kept); `stages`; `repartition`, on a thread of its own, one in a process, which copies lines to the right partition
//! where their producer did not see to that; `hops`, where records go through several streams of this kind, one after the other;
//! `grow`, which gives a topic more partitions; `stream`, which starts it all on `threads`.
//! `verdicts` only looks at what was
//! published, through `look`, `look_over` at what a stream needs before it starts, `recent` at the newest of it, and `follow` at what comes too; `redrive` sends erroneous records to the input again; `labels`
//! keeps what analysts say; `alert_topic` is a channel of alerts. `schemas` is for records that name a schema: they wait until
//! it is known.

mod alert_topic;
mod client;
mod follow;
mod grow;
mod hops;
mod labels;
mod look;
mod look_over;
mod membership;
mod options;
mod recent;
mod redrive;
mod repartition;
mod schemas;
mod stages;
mod state;
mod stop;
mod stream;
mod threads;
mod topics;
mod verdicts;
mod wire;

pub use alert_topic::AlertTopic;
pub use client::error::{ErrorKind, KafkaError};
pub use client::group_protocol::GroupProtocol;
pub use client::producer::Producer;
pub use client::settings::KafkaSettings;
pub use follow::{Follower, TopicMessage};
pub use grow::{GrowOptions, Grown, GrownPartition, Partitioner, grow};
pub use labels::{ensure_labels_topic, keep_labels, labels_topic, read_labels_topic};
pub use look::newest_records;
pub use look_over::{PartitionLag, ask_registry, count_topics, lag, look_at_group};
pub use options::{BatchTrace, Delivery, EndWhen, OnBatch, OnLostRecords, OnMessage, Progress, StreamOptions};
pub use recent::{RecentMessage, read_recent};
pub use redrive::{Redrive, Redriven, Which};
pub use repartition::misplaced::{Misplaced, find_misplaced, has_direct_state};
pub use stages::faults::FaultInjection;
#[cfg(feature = "fault-injection")]
pub use stages::faults::{Fault, Faults, Mutation, Step, SuddenEnd};
pub use state::reset::{PartitionState, ResetTo, reset, states};
pub use state::watermark::{SetBack, set_watermark};
pub use stop::StopHandle;
pub use stream::{Stream, ThreadCount};
pub use topics::admin::TopicSettings;
pub use topics::check::{TopicState, check_topics, ensure_topic, ensure_topics, missing_topics};
pub use topics::names::{HopTopics, Topics};
pub use topics::way::topology;
pub use verdicts::{VerdictTopics, read_topic_labels};

// The names under which others still ask for these.
pub use client::producer::Producer as Sender;

pub use crate::status::Status;
