//! What the parts of a run's window need to know of Kafka.

use window::Keeping;

use crate::kafka::{KafkaSettings, TopicSettings};

/// Where a window finds what it shows, and what is said in it goes.
pub(super) struct OnKafka<'a> {
    pub(super) settings: &'a KafkaSettings,
    pub(super) group: &'a str,
    /// How topics are created, or `None` when they must be there.
    pub(super) create: Option<TopicSettings>,
    pub(super) keeping: Keeping,
    /// Whether people read what it says, or programs do.
    pub(super) is_json: bool,
}
