//! A record of the input topic or of a file.

use shared::pipeline::{Pipeline, key_in_file};
use shared::time::Timestamp;

/// A record of the input topic or of a file.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The timestamp that Kafka keeps with it; 0 or less where there is none.
    pub timestamp: Timestamp,
    /// A moment at which it had been written, by another clock than its writer's: when the broker appended it, or the
    /// present. Where there is none, nothing is said of its being ahead.
    pub written_by: Option<Timestamp>,
    /// The key that Kafka keeps with it.
    pub key: Option<&'a [u8]>,
    /// What a header says it is.
    pub label: Option<&'a str>,
    /// What a header says of the schema that it was written with.
    pub schema: Option<&'a [u8]>,
    /// Its bytes.
    pub payload: &'a [u8],
    /// Its place among the records of its message, where that holds several.
    pub item: Option<u32>,
    /// The file in which it stands; `None` for one of the pipeline's topic.
    pub file: Option<&'a str>,
    /// The partition and offset where it was first, named when it is erroneous.
    pub source: (i32, i64),
}

impl<'a> Record<'a> {
    /// A record without a key that is where it was first.
    pub fn new(partition: i32, offset: i64, timestamp: Timestamp, payload: &'a [u8]) -> Self {
        Self {
            partition,
            offset,
            timestamp,
            written_by: None,
            key: None,
            label: None,
            schema: None,
            payload,
            item: None,
            file: None,
            source: (partition, offset),
        }
    }

    /// The key of a record that has none but the place where it stands.
    pub(crate) fn key_of_place(&self, pipeline: &Pipeline) -> String {
        match self.file {
            Some(file) => key_in_file(file, self.offset.unsigned_abs(), self.item),
            None => pipeline.key_in_topic(self.source, self.item),
        }
    }

    /// The latest moment at which its writer can have known it: dates in it that are later lie in the future.
    pub(crate) fn latest(&self) -> Option<Timestamp> {
        let stamped = Some(self.timestamp).filter(|timestamp| *timestamp > 0);
        stamped.into_iter().chain(self.written_by).min()
    }
}
