//! What of a topic was written and is not in the state of the group.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::Offset;

use super::DOING;
use super::partitioner::Partitioner;
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::offsets::ends_once;
use crate::kafka::client::read_to_end::{Next, Part, ReadToEnd};
use crate::kafka::state::reset::Access;

const TIMEOUT: Duration = Duration::from_secs(30);

/// Records that are not read.
#[derive(Debug, Default)]
pub(super) struct Unread {
    /// By partition: the first one that was placed by another number of partitions, and how many there are from the first
    /// one that was not read.
    pub records: BTreeMap<i32, (i64, i64)>,
    /// Partitions in which a transaction is open.
    pub open: Vec<i32>,
}

/// Which records may be there: those that are judged in their order after the growth as well.
#[derive(Debug, Clone, Copy)]
pub(super) enum Allowed {
    /// None: the topic has not grown yet.
    None,
    /// Those with a key that lies where it is placed among so many partitions.
    PlacedBy(Partitioner, i32),
    /// Any: nothing is placed by a key.
    Any,
}

impl Allowed {
    fn allows(self, partition: i32, key: Option<&[u8]>) -> bool {
        match self {
            Self::None => false,
            Self::PlacedBy(partitioner, partitions) => {
                key.is_some_and(|key| partitioner.place(key, partitions) == partition)
            }
            Self::Any => true,
        }
    }
}

impl Unread {
    /// Looks at what the topic has from these offsets of its partitions on.
    pub(super) fn find(access: &Access, offsets: &[(i32, i64)], allowed: Allowed) -> Result<Self, KafkaError> {
        let changelogs = &access.changelogs;
        let (settings, topic) = (&changelogs.settings, &changelogs.topics.input);
        let (committed, all) = (settings.reader(&format!("{}-grow", changelogs.group))?, settings.reader_of_ends()?);
        let (mut unread, mut parts) = (Self::default(), Vec::new());
        let mut lengths = BTreeMap::new();
        for &(partition, from) in offsets {
            let (low, end) = ends_once(&committed, topic, partition, DOING)?;
            if end < from {
                let (topic, group) = (topic.clone(), changelogs.group.clone());
                return Err(KafkaError::TopicShortened { topic, partition, end, next: from, group });
            }
            if end < ends_once(&all, topic, partition, DOING)?.1 {
                unread.open.push(partition);
            }
            let from = from.max(low);
            if from < end {
                lengths.insert(partition, end - from);
                parts.push(Part { partition, from: Offset::Offset(from), ends_at_end: true });
            }
        }
        let reader = ReadToEnd { consumer: &committed, topic, doing: DOING, silence: TIMEOUT };
        reader.read_all(&parts, |message| {
            let partition = message.partition();
            if allowed.allows(partition, message.key()) {
                return Ok(Next::ReadOn);
            }
            let length = lengths.get(&partition).copied().unwrap_or(0);
            unread.records.insert(partition, (message.offset(), length));
            Ok(Next::PartitionDone)
        })?;
        Ok(unread)
    }

    /// In words, if there is anything.
    pub(super) fn words(&self) -> Option<String> {
        let records = self.records.iter().map(|(partition, (first, length))| {
            format!("partition {partition} has {length} offsets from {first} on that are not read")
        });
        let open = self.open.iter().map(|partition| format!("a transaction is open in partition {partition}"));
        let all: Vec<String> = records.chain(open).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_may_be_there_that_lies_where_it_is_placed_now() {
        let by = Partitioner::Crc32;
        let place = by.place(b"536365", 5);
        assert!(Allowed::PlacedBy(by, 5).allows(place, Some(b"536365")));
        assert!(!Allowed::PlacedBy(by, 5).allows((place + 1) % 5, Some(b"536365")));
        assert!(!Allowed::PlacedBy(by, 5).allows(place, None), "it may be of any invoice");
        assert!(Allowed::Any.allows(0, None) && !Allowed::None.allows(place, Some(b"536365")));
    }

    #[test]
    fn what_is_left_is_said_by_partition() {
        let mut unread = Unread::default();
        assert_eq!(unread.words(), None);
        unread.records.insert(2, (17, 3));
        unread.open.push(0);
        insta::assert_snapshot!(unread.words().unwrap(), @"partition 2 has 3 offsets from 17 on that are not read, a transaction is open in partition 0");
    }
}
