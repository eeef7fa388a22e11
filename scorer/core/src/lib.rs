//! The scorer's pure heart: a state machine from records and time to closed entities, erroneous records and
//! cancellation counts.
//!
//! It does no I/O and reads no clock: the time that passed is part of its inputs. Everything that can reach it is
//! one closed enum, [`Input`], so that Kafka, a file and a test drive the same code.
//!
//! [`Core`] has one `partition` for each input partition. A partition has its clock, the keys that it is done with, and
//! what is made of its records: `sessions` where an entity has many lines, `records` where each is scored by itself.
//! `cancellations` are counted beside both. What these hold is written to a `changelog`. When a topic gets more partitions
//! (`growth`), it is divided among them. A partition may be one hop of several, whose records come from another or go on to
//! one: `watermarks` are how far others are then.

mod aggregation;
mod cancellations;
mod changelog;
mod clock;
mod counters;
mod growth;
mod input;
mod key_queue;
mod known_keys;
mod listed_keys;
mod machine;
mod output;
mod partition;
mod progress;
mod record;
mod records;
mod resume;
mod seen_keys;
mod sessions;
mod step;
mod text;
mod watermarks;

pub use changelog::head::{Head, Origin};
pub use changelog::reader::{Restored, StateReader};
pub use changelog::record::{StateError, StateRecord, VERSION as STATE_FORMAT};
pub use changelog::rekey::{NewLife, rekey};
pub use changelog::reset::LiveKeys;
pub use clock::WallMillis;
pub use counters::Counters;
pub use growth::{Growth, GrowthError};
pub use input::{Input, Start};
pub use machine::{Core, PartitionChanges, Remembered};
pub use output::{CancellationCount, ClosedEntity, Erroneous, Forwarded, Output, Report, WindowVerdict};
pub use record::Record;
pub use resume::{Recovery, Resume};
pub use shared::codec::Damaged;

#[cfg(test)]
mod tests;
