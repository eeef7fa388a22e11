//! A member of a consumer group on a broker, and the partitions that it reads.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};

use super::assignment::Assignment;
use super::commit_fence::CommitFence;
use super::evidence::Evidence;
use super::rejoin::assign_and_rejoin_if_orphans;
use super::source::{Event, PartitionSource};
use crate::clock::WallClock;
use crate::core::WallMillis;
use crate::kafka::client::consumer::{GroupChange, GroupConsumer, GroupContext};
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::log_ends::LogEnds;
use crate::kafka::client::offsets::{partitions_of, seek};
use crate::kafka::client::settings::KafkaSettings;
use crate::kafka::client::watchdog::Watchdog;

/// A member of `group` that reads `topic`.
pub(crate) struct Member {
    pub consumer: Arc<GroupConsumer>,
    pub group: String,
    pub topic: String,
    /// The name of a static member.
    instance_id: Option<String>,
    settings: KafkaSettings,
    watchdog: Watchdog,
}

impl Member {
    /// Joins the group.
    ///
    /// # Errors
    /// When librdkafka refuses a setting or the subscription.
    pub(crate) fn join(
        settings: &KafkaSettings,
        group: &str,
        topic: &str,
        instance_id: Option<&str>,
        watchdog: &Watchdog,
    ) -> Result<Self, KafkaError> {
        let consumer: GroupConsumer = settings
            .consumer(group, instance_id)
            .create_with_context(GroupContext::new(instance_id))
            .map_err(KafkaError::settings)?;
        consumer.subscribe(&[topic]).map_err(KafkaError::failed("subscribing"))?;
        Ok(Self {
            consumer: Arc::new(consumer),
            group: group.to_owned(),
            topic: topic.to_owned(),
            instance_id: instance_id.map(str::to_owned),
            settings: settings.clone(),
            watchdog: watchdog.clone(),
        })
    }

    /// What this member reads; moments are by `clock`.
    pub(crate) fn source(&self, clock: WallClock) -> GroupSource<'_> {
        GroupSource {
            member: self,
            assignment: Assignment::default(),
            changes: VecDeque::new(),
            fetched: None,
            clock,
            ends: None,
            evidence: Evidence::default(),
        }
    }

    /// Whether reading goes on after an error of the client.
    fn judge(&self, error: &ClientError) -> Result<(), KafkaError> {
        if matches!(error, ClientError::MessageConsumption(RDKafkaErrorCode::UnknownTopicOrPartition)) {
            return Err(KafkaError::MissingTopic(self.topic.clone()));
        }
        if let Some(fatal) = self.fatal_error() {
            return Err(fatal);
        }
        // librdkafka goes on by itself after anything else, such as a broker that went away.
        tracing::warn!(%error, "reading records");
        Ok(())
    }

    /// Why the client can do nothing any more, if so: most often, another instance has taken its name.
    fn fatal_error(&self) -> Option<KafkaError> {
        let (code, cause) = self.consumer.client().fatal_error()?;
        Some(match code {
            RDKafkaErrorCode::FencedInstanceId => {
                KafkaError::Fenced { group: self.group.clone(), name: self.instance_id.clone().unwrap_or_default() }
            }
            _ => KafkaError::Failed { action: "reading records", cause },
        })
    }
}

/// The partitions of a [`Member`]. Once this is dropped, nothing polls the consumer any more, and its callback answers
/// the group itself.
pub(crate) struct GroupSource<'a> {
    member: &'a Member,
    assignment: Assignment,
    /// Changes that were not handed out yet.
    changes: VecDeque<GroupChange>,
    /// What was fetched together with them.
    fetched: Option<Event<BorrowedMessage<'a>>>,
    clock: WallClock,
    /// Asks where partitions end, once anybody wants to know what has been read.
    ends: Option<LogEnds>,
    evidence: Evidence,
}

impl<'a> GroupSource<'a> {
    /// A change of the assignment, or else what was fetched with the changes.
    fn pending(&mut self) -> Option<Event<BorrowedMessage<'a>>> {
        match self.changes.pop_front() {
            Some(GroupChange::Assigned(partitions)) => Some(Event::Assigned(partitions)),
            Some(GroupChange::Revoked { partitions, lost }) => {
                Some(Event::Revoked { partitions, lost: lost || self.is_lost() })
            }
            None => self.fetched.take().filter(|event| admits(&mut self.assignment, event)),
        }
    }

    /// What an answer of the brokers proves, once there is one.
    fn proven(&mut self) -> Option<Event<BorrowedMessage<'a>>> {
        let answer = self.ends.as_ref()?.answer()?;
        let at = self.evidence.on_answer(&answer)?;
        let ends_seen = self.member.consumer.context().ends_seen();
        let partitions = self.assignment.read_through(answer.ends.as_deref()?, &ends_seen);
        (!partitions.is_empty()).then_some(Event::ReadThrough { partitions, at })
    }
}

/// Notes an event; `false` where it is of a partition that is not ours, as one that was fetched before a revocation.
fn admits(assignment: &mut Assignment, event: &Event<BorrowedMessage<'_>>) -> bool {
    match event {
        Event::Record(record) => assignment.on_record(record.partition(), record.offset()),
        Event::CaughtUp(partition) => assignment.on_caught_up(*partition),
        Event::ReadThrough { .. } | Event::Assigned(_) | Event::Revoked { .. } | Event::Nothing => true,
    }
}

impl<'a> PartitionSource for GroupSource<'a> {
    type Record = BorrowedMessage<'a>;

    fn poll(&mut self, wait: Duration) -> Result<Event<Self::Record>, KafkaError> {
        let consumer = &*self.member.consumer;
        loop {
            if let Some(event) = self.pending().or_else(|| self.proven()) {
                return Ok(event);
            }
            let polled = consumer.poll(wait);
            self.changes.extend(consumer.context().take_changes());
            let event = match polled {
                Some(Ok(message)) => Event::Record(message),
                Some(Err(ClientError::PartitionEOF(partition))) => Event::CaughtUp(partition),
                Some(Err(error)) => {
                    self.member.judge(&error)?;
                    Event::Nothing
                }
                None => Event::Nothing,
            };
            if self.changes.is_empty() && admits(&mut self.assignment, &event) {
                return Ok(event);
            }
            self.fetched = Some(event).filter(|event| !self.changes.is_empty() && !matches!(event, Event::Nothing));
        }
    }

    fn find_out(&mut self, due: WallMillis) -> Result<(), KafkaError> {
        if self.assignment.is_empty() || !self.evidence.is_wanted(self.clock.now(), due) {
            return Ok(());
        }
        let Member { settings, topic, .. } = self.member;
        let ends = match self.ends.take() {
            Some(ends) => ends,
            None => LogEnds::start(settings, topic, self.clock)?,
        };
        ends.ask(self.assignment.partitions());
        self.evidence.on_question();
        self.ends = Some(ends);
        Ok(())
    }

    fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    fn assign(&mut self, positions: &[(i32, i64)]) -> Result<(), KafkaError> {
        let Member { consumer, group, topic, watchdog, .. } = self.member;
        assign_and_rejoin_if_orphans(consumer, group, topic, positions, watchdog)
            .map_err(KafkaError::failed("taking partitions on"))?;
        self.member.consumer.context().assign(positions.iter().map(|&(partition, _)| partition));
        self.assignment.assign(positions);
        Ok(())
    }

    fn revoke(&mut self, partitions: &[i32]) {
        let consumer = &*self.member.consumer;
        // Before the group is told: from here on no commit that was prepared before can succeed (see `CommitFence`).
        consumer.context().revoke(partitions);
        self.assignment.revoke(partitions);
        if let Err(error) = consumer.incremental_unassign(&partitions_of(&self.member.topic, partitions)) {
            // A session that is over has nothing assigned any more.
            tracing::debug!(%error, "revoking partitions");
        }
    }

    fn is_lost(&self) -> bool {
        self.member.consumer.assignment_lost()
    }

    fn seek(&mut self, positions: &[(i32, i64)]) -> Result<(), KafkaError> {
        self.drop_fetched();
        self.assignment.assign(positions);
        // A client that can do nothing any more refuses to seek, too: then the reason is what it says of itself.
        seek(&self.member.consumer, &self.member.topic, positions, &self.member.watchdog)
            .map_err(|error| self.member.fatal_error().unwrap_or(error))
    }

    fn drop_fetched(&mut self) {
        self.fetched = None;
    }

    fn fence(&self) -> Option<CommitFence> {
        CommitFence::now(&self.member.consumer)
    }

    fn lag(&self) -> Option<i64> {
        if self.assignment.is_caught_up() { Some(0) } else { self.member.consumer.context().lag() }
    }
}

impl Drop for GroupSource<'_> {
    fn drop(&mut self) {
        self.member.consumer.context().close();
    }
}
