//! Where work on a partition goes on: its committed offset, and its state from the changelog.
//!
//! The offset is asked for first, and the broker answers when no transaction on it is open: the partition's earlier owner
//! can commit nothing more. The tag beside the offset names the commit of the state that it belongs to. The changelog is
//! read until that commit has been seen, so a transaction that is just being completed is waited for. It is then read to its
//! end: a later commit says, as a missing one does, that the offset was moved by hand. Where this instance kept a copy of the
//! state, the changelog is read from where that is.

use std::sync::Arc;

use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::changelogs::{Changelogs, Found, Wanted};
use super::standby::standbys::Standbys;
use crate::core::{Resume, Start};
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::offsets::{committed_offsets, ends_once, first_offset};
use crate::kafka::client::settings::QuietContext;
use crate::kafka::options::Delivery;
use crate::kafka::wire::offset_metadata::{StateTag, decode_resume};

/// Finds out where work on partitions goes on, while other things are done.
pub(crate) trait Restore {
    /// Begins with partitions. What becomes of each is an [`outcome`](Self::outcome).
    fn begin(&mut self, partitions: &[i32]);

    /// What became of a partition, once that is known. It waits for nothing.
    fn outcome(&mut self) -> Option<Restoration>;

    /// Nothing more is wanted of partitions: they have no outcome any more, until they are begun with again.
    fn cancel(&mut self, partitions: &[i32]);
}

/// What became of a partition that was to be restored.
#[derive(Debug)]
pub(crate) struct Restoration {
    pub partition: i32,
    pub result: Result<StartPosition, KafkaError>,
}

/// Where work on a partition begins.
#[derive(Debug)]
pub(crate) struct StartPosition {
    /// The first record to read.
    pub offset: i64,
    pub start: Start,
}

/// Restores partitions from committed offsets, changelogs and local snapshots.
pub(crate) struct StateRestorer {
    pub delivery: Delivery,
    pub changelogs: Changelogs,
    /// Copies of what other instances own; none where none are kept.
    pub standbys: Option<Arc<Standbys>>,
}

/// What is committed for a partition.
#[derive(Debug, Clone, Copy)]
enum Committed {
    Nothing,
    /// An offset with nothing of ours beside it.
    Offset(i64),
    Resume(Resume),
    Tagged(i64, StateTag),
}

impl Committed {
    /// The offset, whatever stands beside it, unless that is of another delivery.
    fn offset(self) -> Option<i64> {
        match self {
            Self::Tagged(offset, _) | Self::Offset(offset) => Some(offset),
            Self::Nothing | Self::Resume(_) => None,
        }
    }
}

/// Gets what becomes of each partition.
type Give<'a> = &'a mut dyn FnMut(i32, Result<StartPosition, KafkaError>);

impl StateRestorer {
    /// Hands over where work on partitions goes on, or why that cannot be found out: of each as soon as it is known, and
    /// nothing of those that are no longer wanted. Blocks.
    pub(crate) fn restore(&self, partitions: &[i32], is_wanted: &dyn Fn(i32) -> bool, give: Give<'_>) {
        let mut left = partitions.to_vec();
        let mut given = |partition: i32, result: Result<StartPosition, KafkaError>| {
            left.retain(|known| *known != partition);
            give(partition, result);
        };
        let restored = self.try_to_restore(partitions, is_wanted, &mut given);
        if let Err(error) = restored {
            left.iter().for_each(|partition| give(*partition, Err(error.clone())));
        }
    }

    /// As [`restore`](Self::restore).
    ///
    /// # Errors
    /// What is true of all partitions that were not handed over.
    fn try_to_restore(
        &self,
        partitions: &[i32],
        is_wanted: &dyn Fn(i32) -> bool,
        give: Give<'_>,
    ) -> Result<(), KafkaError> {
        let Changelogs { settings, input, group, .. } = &self.changelogs;
        // A client of its own, which is no member: what the group has committed is told to anybody who may read it.
        let consumer = settings.reader(group)?;
        // A group may be assigned a topic again that was made anew meanwhile, and whose offsets are gone.
        input.refuse_recreated(consumer.client())?;
        self.refuse_new_partitions(partitions)?;
        let is_stopped = || !partitions.iter().any(|partition| is_wanted(*partition));
        let Some(committed) = self.committed(&consumer, partitions, is_stopped)? else { return Ok(()) };
        match self.delivery {
            Delivery::ExactlyOnce => self.restore_state(&consumer, &committed, is_wanted, give),
            Delivery::AtLeastOnce => {
                for (partition, committed) in committed {
                    give(partition, self.reread(&consumer, partition, committed));
                }
                Ok(())
            }
        }
    }

    /// A key's partition depends on how many there are: lines of an open invoice would go elsewhere from now on.
    fn refuse_new_partitions(&self, partitions: &[i32]) -> Result<(), KafkaError> {
        let Changelogs { origin, topics, group, pipeline, .. } = &self.changelogs;
        match partitions.iter().max() {
            Some(&largest) if largest >= origin.partitions => Err(KafkaError::PartitionsChanged {
                topic: topics.input.clone(),
                before: origin.partitions,
                now: largest + 1,
                group: group.clone(),
                can_grow: pipeline.placed_by().len() < 2,
            }),
            _ => Ok(()),
        }
    }

    fn committed(
        &self,
        consumer: &BaseConsumer<QuietContext>,
        partitions: &[i32],
        is_stopped: impl Fn() -> bool,
    ) -> Result<Option<Vec<(i32, Committed)>>, KafkaError> {
        let Changelogs { topics, watchdog, .. } = &self.changelogs;
        let committed = committed_offsets(consumer, &topics.input, partitions, watchdog, is_stopped)?;
        let Some(committed) = committed else { return Ok(None) };
        let of = |&partition: &i32| {
            let found = committed.find_partition(&topics.input, partition);
            let offset = found.as_ref().and_then(|found| found.offset().to_raw()).filter(|offset| *offset >= 0);
            let metadata = found.as_ref().map_or("", |found| found.metadata());
            self.changelogs.input.refuse_foreign(metadata)?;
            let committed = match (offset, StateTag::decode(metadata), decode_resume(metadata)) {
                (None, ..) => Committed::Nothing,
                (Some(offset), Some(tag), _) => Committed::Tagged(offset, tag),
                (Some(_), None, Some(resume)) => Committed::Resume(resume),
                (Some(offset), None, None) => Committed::Offset(offset),
            };
            Ok((partition, committed))
        };
        partitions.iter().map(of).collect::<Result<_, KafkaError>>().map(Some)
    }

    /// At least once: what was open is read again.
    fn reread(
        &self,
        consumer: &BaseConsumer<QuietContext>,
        partition: i32,
        committed: Committed,
    ) -> Result<StartPosition, KafkaError> {
        match committed {
            Committed::Tagged(..) => Err(KafkaError::OtherDelivery { group: self.changelogs.group.clone() }),
            committed => self.without_state(consumer, partition, committed),
        }
    }

    fn without_state(
        &self,
        consumer: &BaseConsumer<QuietContext>,
        partition: i32,
        committed: Committed,
    ) -> Result<StartPosition, KafkaError> {
        let (offset, start) = match committed {
            Committed::Resume(resume) => (resume.offset, Start::Reread(resume)),
            Committed::Offset(offset) | Committed::Tagged(offset, _) => (offset, Start::At(offset)),
            Committed::Nothing => {
                let Changelogs { settings, topics, watchdog, .. } = &self.changelogs;
                let offset = first_offset(consumer, &topics.input, partition, settings, watchdog)?;
                (offset, Start::At(offset))
            }
        };
        tracing::info!(partition, offset, "assigned");
        Ok(StartPosition { offset, start })
    }

    /// Exactly once: the state as it was when the offset was committed.
    fn restore_state(
        &self,
        consumer: &BaseConsumer<QuietContext>,
        committed: &[(i32, Committed)],
        is_wanted: &dyn Fn(i32) -> bool,
        give: Give<'_>,
    ) -> Result<(), KafkaError> {
        let wanted: Vec<(i32, Wanted)> = committed
            .iter()
            .map(|(partition, committed)| match committed {
                #[cfg(feature = "fault-injection")]
                Committed::Tagged(..) if self.changelogs.faults.is_tag_ignored() => (*partition, Wanted::Everything),
                Committed::Tagged(_, tag) => (*partition, Wanted::Last(*tag)),
                _ => (*partition, Wanted::Everything),
            })
            .collect();
        let mut without_state = Vec::new();
        // Not before it is known what is committed: until then they get what comes.
        let partitions = committed.iter().map(|(partition, _)| *partition).filter(|partition| is_wanted(*partition));
        let copies = self.standbys.as_ref().map(|standbys| standbys.take_over(partitions)).unwrap_or_default();
        self.changelogs.read_each_on(&wanted, copies, is_wanted, &mut |partition, found| {
            let of = committed.iter().find(|(known, _)| *known == partition);
            match self.with_state(consumer, partition, found, of.map_or(Committed::Nothing, |(_, of)| *of)) {
                Ok(Some(start)) => give(partition, Ok(start)),
                Ok(None) => without_state.push(partition),
                Err(error) => give(partition, Err(error)),
            }
        })?;
        // These last: it may take long until a broker tells where one begins.
        for (partition, committed) in committed.iter().filter(|(partition, _)| without_state.contains(partition)) {
            give(*partition, self.without_state(consumer, *partition, *committed));
        }
        Ok(())
    }

    /// `None` where there is no state.
    fn with_state(
        &self,
        consumer: &BaseConsumer<QuietContext>,
        partition: i32,
        found: Found,
        committed: Committed,
    ) -> Result<Option<StartPosition>, KafkaError> {
        let read = found?;
        #[cfg(feature = "fault-injection")]
        let is_believed = self.changelogs.faults.believes_offsets(read.source == super::changelogs::STANDBY);
        #[cfg(not(feature = "fault-injection"))]
        let is_believed = false;
        let restored = self.changelogs.finish(partition, read)?;
        let Some(state_at) = restored.head().map(|head| head.next_offset) else {
            return match committed {
                Committed::Tagged(..) => Err(self.changelogs.torn(partition, "there is no state")),
                _ => Ok(None),
            };
        };
        let offset = match committed.offset().filter(|_| is_believed) {
            Some(offset) => offset,
            None => self.offset_of_state(partition, state_at, committed)?,
        };
        self.refuse_shorter_topic(consumer, partition, offset)?;
        Ok(Some(StartPosition { offset, start: Start::Restored(Box::new(restored)) }))
    }

    fn offset_of_state(&self, partition: i32, state_at: i64, committed: Committed) -> Result<i64, KafkaError> {
        match committed {
            // Groups are forgotten after days without members; the state says where they were.
            Committed::Nothing => Ok(state_at),
            Committed::Tagged(offset, _) if offset == state_at => Ok(offset),
            Committed::Tagged(offset, _) | Committed::Offset(offset) => {
                let how = format!("the state is at offset {state_at}, the group at {offset}");
                Err(self.changelogs.torn(partition, &how))
            }
            Committed::Resume(_) => Err(KafkaError::OtherDelivery { group: self.changelogs.group.clone() }),
        }
    }

    /// A topic that ends before the state is not the one that the state is of. Where nobody can tell, whoever reads the
    /// partition finds out.
    fn refuse_shorter_topic(
        &self,
        consumer: &BaseConsumer<QuietContext>,
        partition: i32,
        offset: i64,
    ) -> Result<(), KafkaError> {
        let Changelogs { topics, group, .. } = &self.changelogs;
        match ends_once(consumer, &topics.input, partition, "asking for the ends of a partition") {
            Ok((_, end)) if offset > end => {
                let (topic, group) = (topics.input.clone(), group.clone());
                Err(KafkaError::TopicShortened { topic, partition, end, next: offset, group })
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }
}
