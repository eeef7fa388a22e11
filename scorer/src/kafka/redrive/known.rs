//! The records that were sent before.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

use rdkafka::message::Message as _;

use crate::kafka::client::error::KafkaError;
use crate::kafka::client::settings::KafkaSettings;
use crate::kafka::look::Look;

/// Bytes of a record that is remembered, with the room that a table leaves: about.
pub(super) const BYTES: usize = 48;

/// The places of the records that were sent, as two hashes each: a few bytes, and nobody will see two places of one pair.
#[derive(Debug, Default)]
pub(super) struct Known {
    hashers: [RandomState; 2],
    places: HashSet<[u64; 2]>,
}

impl Known {
    /// Reads the topic that remembers them.
    ///
    /// # Errors
    /// [`KafkaError`] when no broker answers, or there are more than `most`.
    pub(super) fn read(settings: &KafkaSettings, memory: &str, most: usize) -> Result<Self, KafkaError> {
        let mut known = Self::default();
        Look::new(settings, memory, None)?.read(|message| {
            known.insert(&String::from_utf8_lossy(message.key().unwrap_or_default()));
            if known.places.len() <= most {
                return Ok(());
            }
            let problem = format!("names more than {most} records that were sent: use `scorer redrive`");
            Err(KafkaError::UnfitTopic { topic: memory.to_owned(), problem })
        })?;
        Ok(known)
    }

    pub(super) fn contains(&self, place: &str) -> bool {
        self.places.contains(&self.hashes(place))
    }

    pub(super) fn insert(&mut self, place: &str) {
        self.places.insert(self.hashes(place));
    }

    fn hashes(&self, place: &str) -> [u64; 2] {
        self.hashers.each_ref().map(|hasher| hasher.hash_one(place))
    }
}
