//! What is remembered of the past of keys, and how the changelog has it.

use shared::codec::put_signed;
use shared::history::{History, Part, RecordFeatures, Restoring};
use shared::pipeline::{Pipeline, Scored};
use shared::time::Timestamp;

use crate::changelog::record::{ChangelogKind, Changes, StateError, StateRecord, VERSION, versioned};
use crate::resume::Recovery;

/// What is remembered of the past of keys.
#[derive(Debug)]
pub(super) struct Past {
    pub history: History,
    /// The history's clock, as the changelog has it.
    persisted_clock: Option<Timestamp>,
    /// While state is restored: its parts, which fit together only once all are there.
    restoring: Option<Restoring>,
    /// Whether one of them cannot be read. The head may still say that it is the state of another pipeline.
    is_damaged: bool,
}

impl Past {
    /// The first byte of the keys of parts in the changelog.
    pub const PART: u8 = b'p';
    /// The key of the largest time.
    pub const CLOCK: u8 = b't';

    /// Nothing is remembered yet.
    pub fn new(features: &RecordFeatures, recovery: Recovery) -> Self {
        let history = History::new(features, recovery == Recovery::Changelog);
        Self { history, persisted_clock: None, restoring: None, is_damaged: false }
    }
}

impl ChangelogKind for Past {
    fn kinds(&self) -> &'static [u8] {
        &[Self::PART, Self::CLOCK]
    }

    fn restore(&mut self, pipeline: &Pipeline, kind: u8, key: &[u8], value: Option<&[u8]>) -> Result<(), StateError> {
        if kind == Self::CLOCK {
            self.persisted_clock = value.map(decode_clock).transpose()?;
            return Ok(());
        }
        let Scored::Records(records) = &pipeline.scored else { return Ok(()) };
        let features = records.own();
        let restoring = self.restoring.get_or_insert_with(|| Restoring::new(features));
        let taken = match value {
            Some(value) => restoring.add(features, key, value),
            None => restoring.remove(features, key),
        };
        self.is_damaged |= taken.is_err();
        Ok(())
    }

    fn restoring_bytes(&self) -> usize {
        self.restoring.as_ref().map_or(0, Restoring::bytes)
    }

    fn finish_restoring(&mut self, pipeline: &Pipeline) -> Result<(), StateError> {
        let Scored::Records(records) = &pipeline.scored else { return Ok(()) };
        let features = records.own();
        let restoring = self.restoring.take().unwrap_or_else(|| Restoring::new(features));
        if self.is_damaged || (self.persisted_clock.is_none() && !restoring.is_empty()) {
            return Err(StateError::Damaged);
        }
        self.history = restoring.finish(self.persisted_clock, true)?;
        Ok(())
    }

    fn take_changes(&mut self, pipeline: &Pipeline, changes: &mut Changes) {
        let Scored::Records(records) = &pipeline.scored else { return };
        let out = &mut changes.records;
        self.history.take_parts(records.own(), |part| out.push(part_record(part)));
        if self.persisted_clock != self.history.clock() {
            self.persisted_clock = self.history.clock();
            out.extend(self.persisted_clock.map(clock_record));
        }
    }

    fn snapshot(&self, pipeline: &Pipeline, _: Timestamp, put: &mut dyn FnMut(StateRecord)) {
        let Scored::Records(records) = &pipeline.scored else { return };
        self.history.parts(records.own(), |part| put(part_record(part)));
        self.history.clock().map(clock_record).into_iter().for_each(put);
    }
}

fn part_record(part: Part) -> StateRecord {
    let mut key = part.key;
    key.insert(0, Past::PART);
    StateRecord { key, value: part.value }
}

fn decode_clock(value: &[u8]) -> Result<Timestamp, StateError> {
    let mut reader = versioned(value)?;
    let clock = reader.signed()?;
    reader.end()?;
    Ok(clock)
}

fn clock_record(clock: Timestamp) -> StateRecord {
    let mut value = vec![VERSION];
    put_signed(&mut value, clock);
    StateRecord { key: vec![Past::CLOCK], value: Some(value) }
}
