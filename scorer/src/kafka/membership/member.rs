//! A member of a consumer group on a broker, and the partitions that it reads.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::assignment::Assignment;
use super::commit_fence::CommitFence;
use super::evidence::Evidence;
use super::join::{fatal_error, join};
use super::lost::LostRange;
use super::rejoin::rejoin_if_orphans;
use super::source::{Event, PartitionSource};
use crate::clock::WallClock;
use crate::core::WallMillis;
use crate::kafka::client::consumer::{GroupChange, GroupConsumer, last_seen_ends, member_id, queued_events, unassign};
use crate::kafka::client::error::{KafkaError, is_denial};
use crate::kafka::client::group_members::{GroupMember, look_at};
use crate::kafka::client::log_ends::LogEnds;
use crate::kafka::client::offsets::{ends_of, partitions_of, positions_of, seek};
use crate::kafka::client::settings::KafkaSettings;
use crate::kafka::client::watchdog::Watchdog;
use crate::kafka::topics::input::{InputTopic, TopicWatch};

const ENDS: &str = "asking for the ends of a partition";

/// How long one question about the group may take.
const MEMBERS_TIMEOUT: Duration = Duration::from_secs(2);

/// A member of a group that reads a topic.
pub(crate) struct Member {
    pub consumer: Arc<GroupConsumer>,
    pub topic: InputTopic,
    /// The name of a static member.
    instance_id: Option<String>,
    settings: KafkaSettings,
    watchdog: Watchdog,
}

impl Member {
    /// Joins the topic's group. Blocks where the broker hands out partitions, as long as another member has the name.
    ///
    /// # Errors
    /// When librdkafka refuses a setting or the subscription, or the broker the member.
    pub(crate) fn join(
        settings: &KafkaSettings,
        topic: InputTopic,
        instance_id: Option<&str>,
        watchdog: &Watchdog,
    ) -> Result<Self, KafkaError> {
        let consumer = join(settings, &topic, instance_id)?;
        Ok(Self {
            consumer: Arc::new(consumer),
            topic,
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
            is_resting: false,
            jumped: BTreeSet::new(),
            watch: TopicWatch::new(),
            clock,
            ends: None,
            evidence: Evidence::default(),
        }
    }

    /// Whether reading goes on after an error of the client.
    fn judge(&self, error: &ClientError) -> Result<(), KafkaError> {
        if matches!(error, ClientError::MessageConsumption(RDKafkaErrorCode::UnknownTopicOrPartition)) {
            return Err(self.topic.gone());
        }
        if let Some(fatal) = self.fatal_error() {
            return Err(fatal);
        }
        // A right that was taken away does not come back by itself, and what cannot be read would be missed in silence.
        if error.rdkafka_error_code().is_some_and(is_denial) {
            return Err(KafkaError::of("reading records", error));
        }
        // librdkafka goes on by itself after anything else, such as a broker that went away.
        tracing::warn!(%error, "reading records");
        Ok(())
    }

    /// Why the client can do nothing any more, if so: most often, another instance has taken its name.
    fn fatal_error(&self) -> Option<KafkaError> {
        fatal_error(&self.consumer, &self.topic.group, self.instance_id.as_deref(), "reading records")
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
    /// Whether nothing is fetched, nor handed out.
    is_resting: bool,
    /// Partitions whose ends were seen behind records that are gone, as long as records of theirs may still be queued.
    jumped: BTreeSet<i32>,
    watch: TopicWatch<'a>,
    clock: WallClock,
    /// Asks where partitions end, once anybody wants to know what has been read.
    ends: Option<LogEnds>,
    evidence: Evidence,
}

impl<'a> GroupSource<'a> {
    /// A change of the assignment, or else what was fetched with the changes.
    fn pending(&mut self) -> Result<Option<Event<BorrowedMessage<'a>>>, KafkaError> {
        match self.changes.pop_front() {
            Some(GroupChange::Assigned(partitions)) => Ok(Some(Event::Assigned(partitions))),
            Some(GroupChange::Revoked { partitions, lost }) => {
                Ok(Some(Event::Revoked { partitions, lost: lost || self.is_lost() }))
            }
            None => match self.fetched.take_if(|_| !self.is_resting) {
                Some(event) => self.admit(event),
                None => Ok(None),
            },
        }
    }

    /// What the group says while nothing is fetched.
    fn poll_at_rest(&mut self, wait: Duration) -> Result<Event<BorrowedMessage<'a>>, KafkaError> {
        if let Some(change) = self.pending()? {
            return Ok(change);
        }
        let consumer = &*self.member.consumer;
        let polled = consumer.poll(wait);
        self.changes.extend(consumer.context().take_changes());
        match polled {
            // To drop it would be to lose it.
            Some(Ok(record)) => {
                let cause = format!("partition {} goes on at offset {}", record.partition(), record.offset());
                return Err(KafkaError::Bug { what: "pausing partitions", cause });
            }
            // Where a partition ends is said again when it is read on.
            Some(Err(ClientError::PartitionEOF(_))) | None => {}
            Some(Err(error)) => self.member.judge(&error)?,
        }
        Ok(self.pending()?.unwrap_or(Event::Nothing))
    }

    /// The partitions that are read.
    fn read_partitions(&self) -> TopicPartitionList {
        let read: Vec<i32> = self.assignment.positions().into_iter().map(|(partition, _)| partition).collect();
        partitions_of(&self.member.topic.name, &read)
    }

    /// An error of the client. One that can do nothing any more refuses everything: then the reason is what it says of itself.
    fn refused(&self, action: &'static str, error: &ClientError) -> KafkaError {
        self.member.fatal_error().unwrap_or_else(|| KafkaError::of(action, error))
    }

    /// Notes an event, or first what was lost before it. `None` where it is of a partition that is not ours, as one that was
    /// fetched before a revocation.
    fn admit(&mut self, event: Event<BorrowedMessage<'a>>) -> Result<Option<Event<BorrowedMessage<'a>>>, KafkaError> {
        match &event {
            Event::Record(record) => {
                let (partition, offset) = (record.partition(), record.offset());
                let Some(next) = self.assignment.next_offset(partition) else { return Ok(None) };
                self.jumped.remove(&partition);
                if offset < next {
                    self.refuse_shortened(partition, next)?;
                    self.read_from(&[(partition, next)])?;
                    return Ok(None);
                }
                // Offsets between two records may also be of markers of transactions, or compaction has removed them.
                let gone = if offset > next { self.first_offset(partition)?.min(offset) } else { next };
                if gone > next {
                    self.fetched = Some(event);
                    return Ok(Some(self.lose(partition, next, gone)));
                }
                self.assignment.on_record(partition, offset);
            }
            &Event::CaughtUp(partition) => {
                let Some(next) = self.assignment.next_offset(partition) else { return Ok(None) };
                if self.last_seen_ends(partition).is_some_and(|(_, high)| next > high) {
                    self.refuse_shortened(partition, next)?;
                }
                // Either the client has jumped towards the end, or it has fetched more, which is gone by now.
                if next < self.first_offset(partition)? {
                    self.jumped.insert(partition);
                    return Ok(None);
                }
                self.pass_markers(partition);
                self.assignment.on_caught_up(partition);
            }
            Event::ReadThrough { .. }
            | Event::Lost(_)
            | Event::Assigned(_)
            | Event::Revoked { .. }
            | Event::Nothing => {}
        }
        Ok(Some(event))
    }

    /// Records from `first` on, up to `next`, are gone.
    fn lose(&mut self, partition: i32, first: i64, next: i64) -> Event<BorrowedMessage<'a>> {
        self.assignment.on_passed(partition, next);
        Event::Lost(LostRange { partition, first, last: next - 1 })
    }

    /// What was lost before an end, once no record is left that had been fetched.
    fn take_jump(&mut self) -> Result<Event<BorrowedMessage<'a>>, KafkaError> {
        if self.jumped.is_empty() || !self.changes.is_empty() || queued_events(&self.member.consumer) > 0 {
            return Ok(Event::Nothing);
        }
        let Some(partition) = self.jumped.pop_first() else { return Ok(Event::Nothing) };
        let Some(next) = self.assignment.next_offset(partition) else { return Ok(Event::Nothing) };
        let low = self.first_offset(partition)?;
        self.fetched = Some(Event::CaughtUp(partition));
        Ok(if low > next { self.lose(partition, next, low) } else { Event::Nothing })
    }

    /// Moves the position of a partition whose end was just seen past the markers of transactions, which come last and are no
    /// records.
    fn pass_markers(&mut self, partition: i32) {
        let Member { consumer, topic, .. } = self.member;
        let positions = consumer.position().ok();
        let found = positions.as_ref().and_then(|positions| positions.find_partition(&topic.name, partition));
        if let Some(next) = found.and_then(|found| found.offset().to_raw()).filter(|next| *next >= 0) {
            self.assignment.on_passed(partition, next);
        }
    }

    /// The client reads what was read before, or there is less than that: the topic is another one, or its brokers have lost
    /// records.
    fn refuse_shortened(&self, partition: i32, next: i64) -> Result<(), KafkaError> {
        let Member { consumer, topic, watchdog, .. } = self.member;
        topic.confirm(consumer.client(), None)?;
        let (_, end) = ends_of(&**consumer, &topic.name, partition, ENDS, watchdog)?;
        if next > end {
            let (topic, group) = (topic.name.clone(), topic.group.clone());
            return Err(KafkaError::TopicShortened { topic, partition, end, next, group });
        }
        Ok(())
    }

    fn last_seen_ends(&self, partition: i32) -> Option<(i64, i64)> {
        last_seen_ends(&self.member.consumer, &self.member.topic.name, partition)
    }

    /// The first record that is left of a partition.
    fn first_offset(&self, partition: i32) -> Result<i64, KafkaError> {
        let Member { consumer, topic, watchdog, .. } = self.member;
        match self.last_seen_ends(partition) {
            Some((low, _)) => Ok(low),
            None => Ok(ends_of(&**consumer, &topic.name, partition, ENDS, watchdog)?.0),
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

impl<'a> PartitionSource for GroupSource<'a> {
    type Record = BorrowedMessage<'a>;

    fn poll(&mut self, wait: Duration) -> Result<Event<Self::Record>, KafkaError> {
        if self.is_resting {
            return self.poll_at_rest(wait);
        }
        let consumer = &*self.member.consumer;
        loop {
            if let Some(event) = self.pending()?.or_else(|| self.proven()) {
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
                None => {
                    self.watch.look(&self.member.topic, consumer.client())?;
                    self.take_jump()?
                }
            };
            if !self.changes.is_empty() {
                self.fetched = Some(event).filter(|event| !matches!(event, Event::Nothing));
            } else if let Some(event) = self.admit(event)? {
                return Ok(event);
            }
        }
    }

    fn find_out(&mut self, due: WallMillis) -> Result<(), KafkaError> {
        // What is not read has no time; nor may a broker that nobody answers for hold the others up.
        let read: Vec<i32> = self.assignment.positions().into_iter().map(|(partition, _)| partition).collect();
        if read.is_empty() || !self.evidence.is_wanted(self.clock.now(), due) {
            return Ok(());
        }
        let Member { settings, topic, .. } = self.member;
        let ends = match self.ends.take() {
            Some(ends) => ends,
            None => LogEnds::start(settings, &topic.name, self.clock)?,
        };
        ends.ask(read);
        self.evidence.on_question();
        self.ends = Some(ends);
        Ok(())
    }

    fn assignment(&self) -> &Assignment {
        &self.assignment
    }

    fn assign(&mut self, partitions: &[i32]) -> Result<(), KafkaError> {
        let Member { consumer, topic, watchdog, .. } = self.member;
        // The group has its answer, and the client gets each partition once it is known where to read it. Until then there
        // is nothing to fetch, and nothing to drop.
        rejoin_if_orphans(consumer, &topic.group, &topic.name, watchdog)
            .and_then(|()| consumer.incremental_assign(&TopicPartitionList::new()))
            .map_err(KafkaError::failed("taking partitions on"))?;
        consumer.context().assign(partitions.iter().copied());
        self.assignment.hold(partitions);
        Ok(())
    }

    fn read_from(&mut self, positions: &[(i32, i64)]) -> Result<(), KafkaError> {
        let member = self.member;
        let Member { consumer, topic, watchdog, .. } = member;
        let failed = |error| member.fatal_error().unwrap_or_else(|| KafkaError::of("reading partitions", &error));
        let known = consumer.assignment().map_err(failed)?;
        let is_known = |&(partition, _): &(i32, i64)| known.find_partition(&topic.name, partition).is_some();
        let (moved, new): (Vec<_>, Vec<_>) = positions.iter().copied().partition(is_known);
        let is_moved = |partition: i32| positions.iter().any(|(moved, _)| *moved == partition);
        self.fetched.take_if(|event| match event {
            Event::Record(record) => is_moved(record.partition()),
            Event::CaughtUp(partition) => is_moved(*partition),
            _ => false,
        });
        self.jumped.retain(|jumped| !is_moved(*jumped));
        self.assignment.read_from(positions);
        if !new.is_empty() {
            let new = new.into_iter().map(|(partition, offset)| (partition, Offset::Offset(offset)));
            let new = positions_of(&topic.name, new).map_err(failed)?;
            consumer.incremental_assign(&new).map_err(failed)?;
        }
        if !moved.is_empty() {
            // A client that can do nothing any more refuses to seek, too: then the reason is what it says of itself.
            seek(consumer, &topic.name, &moved, watchdog).map_err(|error| member.fatal_error().unwrap_or(error))?;
        }
        // The client remembers what was held, even where it was revoked meanwhile.
        let read: Vec<i32> = positions.iter().map(|(partition, _)| *partition).collect();
        consumer.resume(&partitions_of(&topic.name, &read)).map_err(failed)
    }

    fn hold(&mut self, partitions: &[i32]) -> Result<(), KafkaError> {
        let member = self.member;
        self.assignment.hold(partitions);
        let failed = |error| member.fatal_error().unwrap_or_else(|| KafkaError::of("holding partitions", &error));
        member.consumer.pause(&partitions_of(&member.topic.name, partitions)).map_err(failed)
    }

    fn rest(&mut self) -> Result<(), KafkaError> {
        self.is_resting = true;
        let (consumer, read) = (&self.member.consumer, self.read_partitions());
        consumer.pause(&read).map_err(|error| self.refused("pausing partitions", &error))
    }

    fn read_on(&mut self) -> Result<(), KafkaError> {
        self.is_resting = false;
        // What is lost is not there to be resumed, as the next event says.
        if self.is_lost() {
            return Ok(());
        }
        let (consumer, read) = (&self.member.consumer, self.read_partitions());
        consumer.resume(&read).map_err(|error| self.refused("resuming partitions", &error))
    }

    fn revoke(&mut self, partitions: &[i32]) {
        let consumer = &*self.member.consumer;
        // Before the group is told: from here on no commit that was prepared before can succeed (see `CommitFence`).
        consumer.context().revoke(partitions);
        self.assignment.revoke(partitions);
        unassign(consumer, &partitions_of(&self.member.topic.name, partitions));
    }

    fn is_lost(&self) -> bool {
        self.member.consumer.assignment_lost()
    }

    fn fence(&self) -> Option<CommitFence> {
        CommitFence::now(&self.member.consumer)
    }

    fn member_id(&self) -> Option<String> {
        member_id(&self.member.consumer)
    }

    fn members(&self) -> Option<Vec<GroupMember>> {
        let Member { consumer, topic, watchdog, .. } = self.member;
        let _watched = watchdog.watch("looking at the group", MEMBERS_TIMEOUT * 12);
        let found = look_at(consumer.client(), &topic.group, &topic.name, MEMBERS_TIMEOUT);
        let view = found.inspect_err(|error| tracing::debug!(%error, "looking at the group")).ok()?;
        // While it is being rebalanced, nobody knows what is whose.
        Some(if view.is_stable { view.members } else { Vec::new() })
    }

    fn seems_caught_up(&self) -> bool {
        let is_read = |partition| {
            let (next, ends) = (self.assignment.next_offset(partition), self.last_seen_ends(partition));
            next.zip(ends).is_some_and(|(next, (_, end))| next >= end)
        };
        self.assignment.reads_any() && self.assignment.behind().all(is_read)
    }

    fn lag(&self) -> Option<i64> {
        if self.assignment.holds_any() || !self.assignment.reads_any() {
            return None;
        }
        // The client's own figure counts from what it has committed itself, which in a transaction is nothing.
        let waiting = |partition| {
            let (next, (_, end)) = (self.assignment.next_offset(partition)?, self.last_seen_ends(partition)?);
            Some((end - next).max(0))
        };
        self.assignment.behind().map(waiting).sum()
    }
}

impl Drop for GroupSource<'_> {
    fn drop(&mut self) {
        self.member.consumer.context().close();
    }
}
