//! The thread that follows changelogs, and decides which.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::Offset;
use shared::memory::Size;

use super::choice::followed;
use super::copies::Copies;
use super::copy::{Misfit, StandbyCopy};
use crate::clock::now_since_epoch;
use crate::kafka::client::consumer::{GroupConsumer, last_seen_ends, member_id};
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::group_members::{GroupView, look_at};
use crate::kafka::client::offsets::{ends_once, positions_of};
use crate::kafka::client::settings::{QuietContext, create_consumer};
use crate::kafka::state::changelogs::Changelogs;
use crate::status::StatusCell;

/// The longest wait for a record.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// How often it looks what has changed. So long a client reads what it was given at the least: librdkafka aborts the process
/// where partitions that have just been assigned are given up again at once.
const LOOK: Duration = Duration::from_secs(1);

/// How often the group is asked for its members where nothing is known to have changed.
const ASK: Duration = Duration::from_secs(5);

/// How long one question about the group may take.
const ANSWER: Duration = Duration::from_secs(2);

const FOLLOWING: &str = "following changelogs";

/// A copy may take so much more than a partition's share of the memory, one part in so many: sizes are estimates.
const TOLERANCE: usize = 4;

/// Follows the changelogs of partitions that other instances own.
pub(super) struct Follower {
    pub changelogs: Changelogs,
    pub copies: Arc<Copies>,
    /// The instance as a member of its group. Whoever leaves the group waits for nobody here.
    pub member: Weak<GroupConsumer>,
    /// How many instances keep a copy of a partition.
    pub standbys: usize,
    /// Bytes that a partition's state may take.
    pub max_bytes: usize,
    pub status: StatusCell,
    /// What is read by the present client.
    pub read: BTreeSet<i32>,
    /// Partitions of which a copy would take too much.
    pub too_large: BTreeSet<i32>,
    /// When the group was asked for the last time; `None` where it is to be asked now.
    pub asked_at: Option<Instant>,
    /// Whether it was said that the group does not tell who its members are.
    pub has_told: bool,
}

impl Follower {
    /// Follows until nobody wants copies any more. Each choice has a client of its own: nothing that an earlier one had fetched
    /// can then be taken for the first record of a copy.
    ///
    /// # Errors
    /// When librdkafka refuses a setting.
    pub(super) fn run(mut self) -> Result<(), KafkaError> {
        while !self.copies.is_over() {
            let consumer = self.client()?;
            self.follow(&consumer);
        }
        Ok(())
    }

    /// A client that reads every copy on.
    fn client(&mut self) -> Result<BaseConsumer<QuietContext>, KafkaError> {
        let Changelogs { settings, topics, group, .. } = &self.changelogs;
        let mut config = settings.reader_config(&format!("{group}-standby"));
        // Nobody waits for what comes.
        config.set("fetch.wait.max.ms", "100");
        config.set("queued.min.messages", "2000");
        // Where records are gone that were to be read next, a copy begins anew; to go on elsewhere would be to miss them.
        config.set("auto.offset.reset", "error");
        let consumer = create_consumer(&config, QuietContext)?;
        let position =
            |partition: i32, copy: &StandbyCopy| (partition, copy.next().map_or(Offset::Beginning, Offset::Offset));
        let positions = self.copies.each(position);
        self.read = positions.iter().map(|(partition, _)| *partition).collect();
        if !positions.is_empty() {
            positions_of(&topics.state, positions)
                .and_then(|assignment| consumer.assign(&assignment))
                .map_err(KafkaError::failed(FOLLOWING))?;
        }
        Ok(consumer)
    }

    /// Reads until something else is to be read, or nothing any more.
    fn follow(&mut self, consumer: &BaseConsumer<QuietContext>) {
        let begun = Instant::now();
        let mut looked_at = begun;
        loop {
            match consumer.poll(POLL_TIMEOUT) {
                Some(Ok(message)) => self.take(&message),
                Some(Err(ClientError::PartitionEOF(partition))) => self.on_end(partition),
                Some(Err(ClientError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset))) => self.on_gone(),
                // The client goes on by itself.
                Some(Err(error)) => tracing::debug!(%error, "{FOLLOWING}"),
                None => {}
            }
            if self.copies.is_over() && begun.elapsed() >= LOOK {
                return;
            }
            if looked_at.elapsed() < LOOK {
                continue;
            }
            looked_at = Instant::now();
            self.confirm(consumer);
            self.choose(consumer);
            self.report(consumer);
            if self.copies.each(|partition, _| partition).into_iter().collect::<BTreeSet<i32>>() != self.read {
                return;
            }
        }
    }

    // --- what is read ---------------------------------------------------------------------------------------------

    fn take(&mut self, message: &BorrowedMessage<'_>) {
        let (partition, key) = (message.partition(), message.key().unwrap_or_default());
        // What was to begin anew is read by the next client.
        if !self.read.contains(&partition) {
            return;
        }
        let changelogs = &self.changelogs;
        let taken = self.copies.with(partition, |copy| -> Result<Option<usize>, Misfit> {
            #[cfg(feature = "fault-injection")]
            if changelogs.faults.is_standby_trusted() && copy.is_usable() {
                // Who believes it finds out what comes of one that is behind.
                return Ok(None);
            }
            copy.take(&changelogs.pipeline, message.offset(), key, message.payload())?;
            Ok(copy.measure())
        });
        match taken {
            // It was taken over.
            None => {}
            Some(Ok(bytes)) => {
                if let Some(bytes) =
                    bytes.filter(|bytes| *bytes > self.max_bytes.saturating_add(self.max_bytes / TOLERANCE))
                {
                    self.give_up(partition, bytes);
                }
            }
            Some(Err(misfit)) => self.begin_anew(partition, misfit),
        }
    }

    fn on_end(&mut self, partition: i32) {
        if !self.read.contains(&partition) {
            return;
        }
        let ended = self.copies.with(partition, |copy| (copy.on_end(now_since_epoch()), copy.records()));
        match ended {
            Some((Ok(true), records)) => tracing::info!(partition, records, "a standby copy is up to date"),
            Some((Ok(false), _)) | None => {}
            Some((Err(misfit), _)) => self.begin_anew(partition, misfit),
        }
    }

    /// Records that were to be read next are gone; the client does not say of which partition.
    fn on_gone(&mut self) {
        tracing::info!("records of a changelog are gone: standby copies begin anew");
        for partition in std::mem::take(&mut self.read) {
            self.copies.remove(partition);
        }
        self.asked_at = None;
    }

    fn begin_anew(&mut self, partition: i32, why: Misfit) {
        tracing::info!(partition, ?why, "a standby copy begins anew");
        self.drop_copy(partition);
    }

    /// A copy takes more than its share: its owner has more memory.
    fn give_up(&mut self, partition: i32, bytes: usize) {
        let (state, share) = (Size(bytes as u64), Size(self.max_bytes as u64));
        tracing::warn!(
            partition, %state, %share,
            "a standby copy would take more than a partition's share of --max-memory: there is none here"
        );
        self.too_large.insert(partition);
        self.drop_copy(partition);
    }

    fn drop_copy(&mut self, partition: i32) {
        self.copies.remove(partition);
        // It is not what this client reads: the next one begins with it, where there is to be one.
        self.read.remove(&partition);
        self.asked_at = None;
    }

    /// Where nothing has come for long, the brokers tell whether that is so because there is nothing.
    fn confirm(&mut self, consumer: &BaseConsumer<QuietContext>) {
        let now = now_since_epoch();
        let due = self.copies.each(|partition, copy| copy.is_to_be_confirmed(now).then_some(partition));
        for partition in due.into_iter().flatten() {
            // No broker tells at the moment: it may be too long for a copy, which is found out then.
            let Ok(ends) = ends_once(consumer, &self.changelogs.topics.state, partition, FOLLOWING) else { break };
            self.copies.with(partition, |copy| copy.confirm(ends, now));
        }
        let old = self.copies.each(|partition, copy| copy.is_too_old(now).then_some(partition));
        for partition in old.into_iter().flatten() {
            self.begin_anew(partition, Misfit::TooOld);
        }
    }

    // --- what is to be read ---------------------------------------------------------------------------------------

    /// Chooses anew where partitions came or went, and every few seconds.
    fn choose(&mut self, consumer: &BaseConsumer<QuietContext>) {
        let is_due = self.asked_at.is_none_or(|asked| asked.elapsed() >= ASK);
        if !self.copies.take_change() && !is_due {
            return;
        }
        // Until it is known, everything stays as it is.
        self.asked_at = None;
        let Changelogs { topics, group, origin, .. } = &self.changelogs;
        let GroupView { is_stable, members } = match look_at(consumer.client(), group, &topics.input, ANSWER) {
            Ok(view) => view,
            Err(error) => return self.tell(&error),
        };
        let me = self.member.upgrade().and_then(|member| member_id(&member));
        let me = me.filter(|me| members.iter().any(|member| member.id == *me));
        let Some(me) = me.filter(|_| is_stable) else { return };
        self.asked_at = Some(Instant::now());
        let mut wanted = followed(origin.partitions, &members, &me, self.standbys);
        self.too_large.retain(|partition| wanted.contains(partition));
        wanted.retain(|partition| !self.too_large.contains(partition));
        self.copies.keep(&wanted);
        let new = || StandbyCopy::new(&self.changelogs.pipeline, origin.clone(), now_since_epoch());
        for partition in self.copies.begin(&wanted, new) {
            // Where an earlier copy of it is still read, this is not what this one begins with.
            self.read.remove(&partition);
        }
    }

    fn tell(&mut self, error: &ClientError) {
        if std::mem::replace(&mut self.has_told, true) {
            tracing::debug!(%error, "asking for the members of the group");
        } else {
            tracing::warn!(%error, "the group does not tell its members: standby copies stay as they are meanwhile");
        }
    }

    fn report(&self, consumer: &BaseConsumer<QuietContext>) {
        let topic = &self.changelogs.topics.state;
        let lag = |partition: i32, copy: &StandbyCopy| {
            copy.lag(last_seen_ends(consumer, topic, partition).map_or(0, |(_, high)| high))
        };
        let lags: Vec<u64> = self.copies.each(lag);
        self.status.update(|status| {
            status.standby_partitions = lags.len();
            status.standby_lag = lags.iter().sum();
        });
    }
}
