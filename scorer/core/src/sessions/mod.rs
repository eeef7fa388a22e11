//! Entities of several lines: those that are open, and how they close.

mod entity;

use std::collections::VecDeque;

use shared::codec::put_signed;
use shared::expiry::ExpiryMap;
use shared::line::Value;
use shared::pipeline::{Pipeline, Sessions};
use shared::reason::Reason;
use shared::time::{Millis, Timestamp};

use crate::changelog::record::{ChangelogKind, Changes, StateError, StateRecord, VERSION, text, versioned};
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
    /// Where lines are read again after a restart: first offsets of open entities, oldest first; entities that closed
    /// are skipped when they reach the front.
    first_offsets: Option<VecDeque<(i64, Box<str>)>>,
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
        let first_offsets = (recovery == Recovery::Reread).then(VecDeque::new);
        Self { limits, open: ExpiryMap::default(), lines: 0, bytes: 0, gone: Vec::new(), first_offsets }
    }

    /// Open entities and their lines.
    pub fn size(&self) -> (u64, u64) {
        (self.open.len() as u64, self.lines)
    }

    /// The first clock at which one closes.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.open.next_deadline()
    }

    /// The first line of the oldest open entity.
    pub fn oldest_offset(&self) -> Option<i64> {
        let mut first_offsets = self.first_offsets.iter().flatten();
        first_offsets.find(|(offset, key)| self.is_open_since(key, *offset)).map(|(offset, _)| *offset)
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
            open.entity.add(step.pipeline, line, timestamp, offset);
            open.has_changed = true;
            self.bytes = self.bytes + open.entity.heap_bytes() - before;
            self.lines += 1;
            if open.entity.lines() >= self.limits.max_lines
                && let Some((key, _, open)) = self.open.remove(key)
            {
                self.close_early(key, open, progress, step);
            }
        } else {
            if progress.seen_keys.knows(key, now) {
                return LineOutcome::Refused(Reason::LateLine);
            }
            let mut entity = OpenEntity::new(step.pipeline, timestamp, offset);
            entity.add(step.pipeline, line, timestamp, offset);
            if let Some(first_offsets) = &mut self.first_offsets {
                first_offsets.push_back((offset, key.into()));
            }
            self.bytes += open_bytes(key, &entity);
            self.lines += 1;
            self.open.insert(key, deadline, Open { entity, is_persisted: false, has_changed: true });
        }
        self.enforce_limits(progress, step);
        LineOutcome::Taken
    }

    /// Closes what is due when the clock shows `clock`, in the order of deadlines.
    pub fn close_due(&mut self, clock: Timestamp, progress: &mut PartitionProgress, step: &mut Step<'_>) {
        while let Some((key, deadline, open)) = self.open.pop_expired(clock) {
            let until = deadline.saturating_add(step.pipeline.entity.remember);
            self.close(key, open, until, false, progress, step);
        }
        self.forget_first_offsets();
    }

    /// Closes the oldest entities while there are more than the pipeline allows.
    fn enforce_limits(&mut self, progress: &mut PartitionProgress, step: &mut Step<'_>) {
        let Limits { max_open, max_bytes, .. } = self.limits;
        while self.open.len() > max_open || (self.bytes > max_bytes && self.open.len() > 1) {
            let Some((key, _, open)) = self.open.pop_oldest() else { return };
            self.close_early(key, open, progress, step);
        }
    }

    fn close_early(&mut self, key: Box<str>, open: Open, progress: &mut PartitionProgress, step: &mut Step<'_>) {
        step.counters.closed_early += 1;
        let clock = progress.now().max(progress.closed_through);
        self.close(key, open, clock.saturating_add(step.pipeline.entity.remember), true, progress, step);
        self.forget_first_offsets();
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
        self.lines -= lines;
        self.bytes -= open_bytes(&key, &open.entity);
        let output = open.entity.close(step.pipeline, &key, progress.number, early);
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
        if open.is_persisted {
            self.gone.push(key.clone());
        }
        progress.seen_keys.add(key, remembered_until);
    }

    fn forget_first_offsets(&mut self) {
        let Some(mut first_offsets) = self.first_offsets.take() else { return };
        while first_offsets.front().is_some_and(|(offset, key)| !self.is_open_since(key, *offset)) {
            first_offsets.pop_front();
        }
        self.first_offsets = Some(first_offsets);
    }

    /// Whether the open entity with this key is the one that began at `offset`, and not a later one.
    fn is_open_since(&self, key: &str, offset: i64) -> bool {
        self.open.get(key).is_some_and(|open| open.entity.first_offset() == offset)
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
        reader.end()?;
        if self.open.last_deadline().is_some_and(|last| last > deadline) {
            return Err(StateError::Disordered);
        }
        self.open.insert(key, deadline, Open { entity, is_persisted: true, has_changed: false });
        Ok(())
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
            out.push(entity_record(key, deadline, &open.entity));
        }
        out[start..].reverse();
        self.open.change_newest(|open| {
            open.is_persisted = true;
            std::mem::take(&mut open.has_changed)
        });
    }

    fn snapshot(&self, _: &Pipeline, _: Timestamp, put: &mut dyn FnMut(StateRecord)) {
        self.open.iter().for_each(|(key, deadline, open)| put(entity_record(key, deadline, &open.entity)));
    }
}

fn state_key(key: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 1);
    out.push(OpenSessions::KIND);
    out.extend_from_slice(key.as_bytes());
    out
}

fn entity_record(key: &str, deadline: Timestamp, entity: &OpenEntity) -> StateRecord {
    let mut value = Vec::with_capacity(160);
    value.push(VERSION);
    put_signed(&mut value, deadline);
    entity.encode(&mut value);
    StateRecord { key: state_key(key), value: Some(value) }
}

fn open_bytes(key: &str, entity: &OpenEntity) -> usize {
    ExpiryMap::<Open>::ENTRY_BYTES + key.len() + entity.heap_bytes()
}
