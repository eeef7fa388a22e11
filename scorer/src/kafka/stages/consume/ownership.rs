//! The group's wishes, answered: partitions come with their state, and go once what was read of them is committed.

use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{ConsumeLoop, SEEK_TIMEOUT};
use crate::core::{Counters, Input, Start};
use crate::kafka::client::consumer::Ownership;
use crate::kafka::client::error::KafkaError;
use crate::kafka::membership::rejoin::read_on;
use crate::kafka::state::reports::ReportReader;
use crate::kafka::state::restore::Begin;

impl ConsumeLoop<'_> {
    /// Answers what the group wants.
    pub(super) fn follow_ownership(&mut self) -> Result<(), KafkaError> {
        for change in self.inlet.consumer.context().take_changes() {
            match change {
                Ownership::Assigned(partitions) => self.take_on(&partitions)?,
                Ownership::Revoked { partitions, lost } => self.give_up(&partitions, lost)?,
                Ownership::Failed(code) => tracing::warn!(%code, "the consumer group could not share out partitions"),
            }
        }
        Ok(())
    }

    pub(super) fn take_on(&mut self, partitions: &[i32]) -> Result<(), KafkaError> {
        let consumer = &*self.inlet.consumer;
        self.refuse_new_partitions(partitions)?;
        let Some(begins) = self.inlet.restorer.begin(consumer, partitions, &self.inlet.stop)? else { return Ok(()) };
        let mut list = TopicPartitionList::new();
        for begin in begins {
            list.add_partition_offset(&self.inlet.topics.input, begin.partition, Offset::Offset(begin.offset))
                .map_err(KafkaError::failed("taking partitions on"))?;
            self.next_offsets.insert(begin.partition, begin.offset);
            self.assigned(begin.partition, begin.start)?;
        }
        read_on(consumer, &self.inlet.options.group, &self.inlet.topics.input, &list, &self.inlet.watchdog)
            .map_err(KafkaError::failed("taking partitions on"))?;
        consumer.context().take_on(partitions);
        self.owned.extend(partitions);
        Ok(())
    }

    pub(super) fn assigned(&mut self, partition: i32, start: Start) -> Result<(), KafkaError> {
        self.caught_up.remove(&partition);
        self.core.apply(Input::Assigned { partition, start }, &mut self.outputs);
        // State that came with the partition is committed already.
        let counters = self.core.counters();
        self.committed.open_lines += counters.taken_over_lines - self.committed.taken_over_lines;
        self.committed.taken_over_lines = counters.taken_over_lines;
        if self.reports.is_none()
            && let Some(position) = self.core.reports_from()
        {
            self.reports = Some(ReportReader::start(&self.inlet.restorer.settings, &self.inlet.topics, position)?);
        }
        Ok(())
    }

    /// A key's partition depends on how many there are: lines of an open invoice would go elsewhere from now on.
    pub(super) fn refuse_new_partitions(&self, partitions: &[i32]) -> Result<(), KafkaError> {
        let before = self.inlet.restorer.origin.partitions;
        match partitions.iter().max() {
            Some(&largest) if largest >= before => Err(KafkaError::PartitionsChanged {
                topic: self.inlet.topics.input.clone(),
                before,
                now: largest + 1,
                group: self.inlet.options.group.clone(),
            }),
            _ => Ok(()),
        }
    }

    pub(super) fn give_up(&mut self, partitions: &[i32], lost: bool) -> Result<(), KafkaError> {
        let consumer = &*self.inlet.consumer;
        let lost = lost || consumer.assignment_lost();
        if lost {
            tracing::warn!(
                ?partitions,
                "partitions were lost to other instances; what was not committed is theirs to do"
            );
            self.forget_batches();
        } else {
            // What was read is committed before anybody else goes on from there.
            self.settle()?;
        }
        consumer.context().give_up(partitions);
        self.owned.retain(|owned| !partitions.contains(owned));
        self.caught_up.retain(|caught_up| !partitions.contains(caught_up));
        if lost {
            // All of them are lost together.
            self.core.roll_back(self.given_up());
        } else {
            for &partition in partitions {
                self.core.apply(Input::Revoked { partition }, &mut self.outputs);
            }
        }
        self.committed = self.core.counters();
        if self.core.reports_from().is_none() {
            self.reports = None;
        }
        let list = assignment(&self.inlet.topics.input, partitions);
        if let Err(error) = consumer.incremental_unassign(&list) {
            // A session that is over has nothing assigned any more.
            tracing::debug!(%error, "giving partitions up");
        }
        Ok(())
    }

    /// What had been counted at the last commit, with what was open then as somebody else's.
    pub(super) fn given_up(&self) -> Counters {
        let mut counters = self.committed.clone();
        counters.given_up_lines += counters.open_lines;
        counters
    }

    /// State, timers, counters and position as they were at the last commit.
    pub(super) fn roll_back(&mut self) -> Result<(), KafkaError> {
        self.forget_batches();
        self.reports = None;
        let consumer = &*self.inlet.consumer;
        let owned = Vec::from_iter(self.owned.iter().copied());
        // A consumer whose session is over will hear of it when it is polled, and then begins anew.
        if owned.is_empty() || consumer.assignment_lost() {
            self.core.roll_back(self.given_up());
            return Ok(());
        }
        self.core.roll_back(self.committed.clone());
        let Some(begins) = self.inlet.restorer.begin(consumer, &owned, &self.inlet.stop)? else { return Ok(()) };
        let mut list = TopicPartitionList::new();
        for Begin { partition, offset, start } in begins {
            list.add_partition_offset(&self.inlet.topics.input, partition, Offset::Offset(offset))
                .map_err(KafkaError::failed("going back to the last commit"))?;
            self.next_offsets.insert(partition, offset);
            let start = match start {
                Start::Restored(restored) => Start::RolledBack(restored),
                other => other,
            };
            self.assigned(partition, start)?;
        }
        self.seek(list)
    }

    pub(super) fn seek(&self, list: TopicPartitionList) -> Result<(), KafkaError> {
        let _watched = self.inlet.watchdog.watch("seeking", SEEK_TIMEOUT * 2);
        let sought = self.inlet.consumer.seek_partitions(list, SEEK_TIMEOUT).map_err(KafkaError::failed("seeking"))?;
        match sought.elements().iter().find_map(|element| element.error().err()) {
            Some(error) => Err(KafkaError::failed("seeking")(error)),
            None => Ok(()),
        }
    }
}

fn assignment(topic: &str, partitions: &[i32]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    partitions.iter().for_each(|partition| {
        list.add_partition(topic, *partition);
    });
    list
}
