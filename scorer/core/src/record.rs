//! A record of the input topic or of a file.

use shared::time::Timestamp;

/// A record of the input topic or of a file.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The timestamp that Kafka keeps with it.
    pub timestamp: Timestamp,
    /// The key that Kafka keeps with it.
    pub key: Option<&'a [u8]>,
    /// What a header says it is.
    pub label: Option<&'a str>,
    /// Its bytes.
    pub payload: &'a [u8],
    /// The partition and offset where it was first, named when it is erroneous.
    pub source: (i32, i64),
}

impl<'a> Record<'a> {
    /// A record without a key that is where it was first.
    pub fn new(partition: i32, offset: i64, timestamp: Timestamp, payload: &'a [u8]) -> Self {
        Self { partition, offset, timestamp, key: None, label: None, payload, source: (partition, offset) }
    }
}
