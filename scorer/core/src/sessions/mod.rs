//! Entities of several lines: those that are open, and how they close.

mod carry;
mod entity;

use std::collections::BTreeSet;

use shared::allocation::allocated;
use shared::codec::put_signed;
use shared::expiry::ExpiryMap;
use shared::line::Value;
use shared::pipeline::{Pipeline, Sessions};
use shared::reason::Reason;
use shared::time::{Millis, Timestamp};

use crate::changelog::record::{ChangelogKind, Changes, StateError, StateRecord, VERSION, text, versioned};
use crate::growth::CameFrom;
use crate::output::{Erroneous, Output};
use crate::progress::{LineOutcome, PartitionProgress};
use crate::resume::Recovery;
use crate::step::Step;
use entity::OpenEntity;

/// The open entities of a partition.
#[derive(Debug)]
pub(crate) struct OpenSessions {
    limits: Limits,
    open: ExpiryMap<Open>,
    lines: u64,
    /// What open entities take, keys and all.
    bytes: usize,
    /// Closed since the last commit, where the changelog has them.
    gone: Vec<Box<str>>,
    /// Where lines are read again after a restart: the first offset of each open entity.
    first_offsets: Option<BTreeSet<i64>>,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    gap: Millis,
    max_open: usize,
    max_lines: u64,
    max_bytes: usize,
}

/// An open entity, and how the changelog has it.
#[derive(Debug)]
struct Open {
    entity: OpenEntity,
    /// The partition whose offsets it has: its further lines in this one are only counted.
    came_from: CameFrom,
    /// Whether the changelog has any version of it: then closing it has to delete that.
    is_persisted: bool,
    /// Whether it changed since it was last written down.
    has_changed: bool,
}

impl OpenSessions {
    /// The first byte of the keys of open entities in the changelog.
    pub const KIND: u8 = b'e';

    /// Nothing is open yet.
    pub fn new(pipeline: &Pipeline, sessions: &Sessions, recovery: Recovery) -> Self {
        let Sessions { gap, max_open, max_lines, .. } = *sessions;
        let limits = Limits { gap, max_open, max_lines, max_bytes: pipeline.entity.max_state_bytes };
        let first_offsets = (recovery == Recovery::Reread).then(BTreeSet::new);
        Self { limits, open: ExpiryMap::default(), lines: 0, bytes: 0, gone: Vec::new(), first_offsets }
    }

    /// Open entities and their lines.
    pub fn size(&self) -> (u64, u64) {
        (self.open.len() as u64, self.lines)
    }

    /// Bytes that open entities take, keys and all.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The first clock at which one closes.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.open.next_deadline()
    }

    /// The first line of the oldest open entity.
    pub fn oldest_offset(&self) -> Option<i64> {
        self.first_offsets.as_ref()?.first().copied()
    }

    /// When an entity closes whose last line comes at `time`.
    pub fn deadline_after(&self, time: Timestamp) -> Timestamp {
        time.saturating_add(self.limits.gap)
    }

    /// No entity is open for longer than if its last line had come at `time`.
    pub fn set_back(&mut self, time: Timestamp) {
        let latest = self.deadline_after(time);
        let mut entities = ExpiryMap::default();
        while let Some((key, deadline, open)) = self.open.pop_oldest() {
            entities.insert(&key, deadline.min(latest), open);
        }
        self.open = entities;
    }

    /// Takes a line of the entity `key`.
    pub fn line(
        &mut self,
        key: &str,
        line: &[Value<'_>],
        (timestamp, offset): (Timestamp, i64),
        progress: &mut PartitionProgress,
        step: &mut Step<'_>,
    ) -> LineOutcome {
        // Before the first dated line there is no time: such an entity closes as soon as there is one.
        let now = progress.now();
        let deadline = self.deadline_after(now);
        if let Some(open) = self.open.touch(key, deadline) {
            let before = open.entity.heap_bytes();
            let offset = if open.came_from == CameFrom::HERE { offset } else { open.entity.last_offset() };
            open.entity.add(step.pipeline, line, timestamp, offset);
            open.has_changed = true;
            self.bytes = self.bytes + open.entity.heap_bytes() - before;
            self.lines += 1;
            if (open.entity.lines() >= self.limits.max_lines || open.entity.is_full())
                && let Some((key, _, open)) = self.open.remove(key)
            {
                self.close_early(key, open, progress, step);
            }
        } else {
            if progress.keys.seen.knows(key) {
                return LineOutcome::Refused(Reason::LateLine);
            }
            let mut entity = OpenEntity::new(step.pipeline, timestamp, offset);
            entity.add(step.pipeline, line, timestamp, offset);
            if let Some(first_offsets) = &mut self.first_offsets {
                first_offsets.insert(offset);
            }
            self.bytes += open_bytes(key, &entity);
            self.lines += 1;
            self.open.insert(
                key,
                deadline,
                Open { entity, came_from: CameFrom::HERE, is_persisted: false, has_changed: true },
            );
        }
        self.keep_within_limits(progress, step);
        LineOutcome::Taken
    }

    /// Closes what is due when the clock shows `clock`, in the order of deadlines.
    pub fn close_due(&mut self, clock: Timestamp, progress: &mut PartitionProgress, step: &mut Step<'_>) {
        while let Some((key, deadline, open)) = self.open.pop_expired(clock) {
            let until = deadline.saturating_add(step.pipeline.entity.remember);
            self.close(key, open, until, false, progress, step);
        }
    }

    /// While there is more than the pipeline allows, forgets keys that are done with, then closes the oldest entities.
    pub fn keep_within_limits(&mut self, progress: &mut PartitionProgress, step: &mut Step<'_>) {
        let Limits { max_open, max_bytes, .. } = self.limits;
        loop {
            progress.keys.make_room(max_bytes, self.bytes, step.counters);
            let is_over = self.bytes + progress.keys.bytes() > max_bytes && self.open.len() > 1;
            if self.open.len() <= max_open && !is_over {
                return;
            }
            let Some((key, _, open)) = self.open.pop_oldest() else { return };
            self.close_early(key, open, progress, step);
        }
    }

    fn close_early(&mut self, key: Box<str>, open: Open, progress: &mut PartitionProgress, step: &mut Step<'_>) {
        step.counters.closed_early += 1;
        let clock = progress.now().max(progress.closed_through);
        self.close(key, open, clock.saturating_add(step.pipeline.entity.remember), true, progress, step);
    }

    fn close(
        &mut self,
        key: Box<str>,
        open: Open,
        remembered_until: Timestamp,
        early: bool,
        progress: &mut PartitionProgress,
        step: &mut Step<'_>,
    ) {
        let lines = open.entity.lines();
        if let Some(first_offsets) = &mut self.first_offsets {
            first_offsets.remove(&open.entity.first_offset());
        }
        self.lines -= lines;
        self.bytes -= open_bytes(&key, &open.entity);
        let partition = open.came_from.partition(progress.number);
        let output = open.entity.close(step.pipeline, &key, partition, early);
        match &output {
            Output::Erroneous(Erroneous::Entity { reasons, .. }) => {
                step.counters.erroneous_entities += 1;
                step.counters.erroneous_entity_lines += lines;
                step.counters.add_reasons(reasons);
            }
            _ => {
                step.counters.scored_entities += 1;
                step.counters.scored_lines += lines;
            }
        }
        step.out.push(output);
        progress.has_changed = true;
        progress.keys.seen.add(&key, remembered_until);
        if open.is_persisted {
            self.gone.push(key);
        }
    }
}

impl ChangelogKind for OpenSessions {
    fn kinds(&self) -> &'static [u8] {
        &[Self::KIND]
    }

    fn restore(&mut self, pipeline: &Pipeline, _: u8, key: &[u8], value: Option<&[u8]>) -> Result<(), StateError> {
        let key = text(key)?;
        let Some(value) = value else {
            self.open.remove(key);
            return Ok(());
        };
        let mut reader = versioned(value)?;
        let deadline = reader.signed()?;
        let entity = OpenEntity::decode(pipeline, &mut reader)?;
        let came_from = CameFrom::decode(reader)?;
        if self.open.last_deadline().is_some_and(|last| last > deadline) {
            return Err(StateError::Disordered);
        }
        self.open.insert(key, deadline, Open { entity, came_from, is_persisted: true, has_changed: false });
        Ok(())
    }

    fn restoring_bytes(&self) -> usize {
        self.open.iter().map(|(key, _, open)| open_bytes(key, &open.entity)).sum()
    }

    fn finish_restoring(&mut self, _: &Pipeline) -> Result<(), StateError> {
        for (key, _, open) in self.open.iter() {
            self.lines += open.entity.lines();
            self.bytes += open_bytes(key, &open.entity);
        }
        Ok(())
    }

    /// The changelog keeps the order of deadlines.
    fn take_changes(&mut self, _: &Pipeline, changes: &mut Changes) {
        let out = &mut changes.records;
        out.extend(self.gone.drain(..).map(|key| StateRecord { key: state_key(&key), value: None }));
        // What changed is what was touched since: the newest of the list.
        let start = out.len();
        for (key, deadline, open) in self.open.newest_first().take_while(|(_, _, open)| open.has_changed) {
            out.push(entity_record(key, deadline, open));
        }
        out[start..].reverse();
        self.open.change_newest(|open| {
            open.is_persisted = true;
            std::mem::take(&mut open.has_changed)
        });
    }

    fn snapshot(&self, _: &Pipeline, _: Timestamp, put: &mut dyn FnMut(StateRecord)) {
        self.open.iter().for_each(|(key, deadline, open)| put(entity_record(key, deadline, open)));
    }
}

fn state_key(key: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 1);
    out.push(OpenSessions::KIND);
    out.extend_from_slice(key.as_bytes());
    out
}

fn entity_record(key: &str, deadline: Timestamp, open: &Open) -> StateRecord {
    let mut value = Vec::with_capacity(160);
    value.push(VERSION);
    put_signed(&mut value, deadline);
    open.entity.encode(&mut value);
    open.came_from.encode(&mut value);
    StateRecord { key: state_key(key), value: Some(value) }
}

/// With its first offset, which a tree has too where lines are read again.
fn open_bytes(key: &str, entity: &OpenEntity) -> usize {
    ExpiryMap::<Open>::ENTRY_BYTES + 2 * size_of::<i64>() + allocated(key.len()) + entity.heap_bytes()
}
