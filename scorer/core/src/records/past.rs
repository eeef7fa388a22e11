//! What is remembered of the past of keys, and how the changelog has it.

use std::collections::HashMap;

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
    /// While state is restored, its parts by their keys: they fit together only once all are there.
    parts: HashMap<Box<[u8]>, Box<[u8]>>,
}

impl Past {
    /// The first byte of the keys of parts in the changelog.
    pub const PART: u8 = b'p';
    /// The key of the largest time.
    pub const CLOCK: u8 = b't';

    /// Nothing is remembered yet.
    pub fn new(features: &RecordFeatures, recovery: Recovery) -> Self {
        let history = History::new(features, recovery == Recovery::Changelog);
        Self { history, persisted_clock: None, parts: HashMap::new() }
    }
}

impl ChangelogKind for Past {
    fn kinds(&self) -> &'static [u8] {
        &[Self::PART, Self::CLOCK]
    }

    fn restore(&mut self, _: &Pipeline, kind: u8, key: &[u8], value: Option<&[u8]>) -> Result<(), StateError> {
        match (kind, value) {
            (Self::PART, Some(value)) => {
                self.parts.insert(key.into(), value.into());
            }
            (Self::PART, None) => {
                self.parts.remove(key);
            }
            (_, Some(value)) => {
                let mut reader = versioned(value)?;
                self.persisted_clock = Some(reader.signed()?);
                reader.end()?;
            }
            (_, None) => self.persisted_clock = None,
        }
        Ok(())
    }

    fn finish_restoring(&mut self, pipeline: &Pipeline) -> Result<(), StateError> {
        let Scored::Records(records) = &pipeline.scored else { return Ok(()) };
        if self.persisted_clock.is_none() && !self.parts.is_empty() {
            return Err(StateError::Damaged);
        }
        let mut restoring = Restoring::default();
        for (key, value) in std::mem::take(&mut self.parts) {
            restoring.add(&records.features, &key, &value)?;
        }
        self.history = restoring.finish(&records.features, self.persisted_clock, true)?;
        Ok(())
    }

    fn take_changes(&mut self, pipeline: &Pipeline, changes: &mut Changes) {
        let Scored::Records(records) = &pipeline.scored else { return };
        let out = &mut changes.records;
        self.history.take_parts(&records.features, |part| out.push(part_record(part)));
        if self.persisted_clock != self.history.clock() {
            self.persisted_clock = self.history.clock();
            out.extend(self.persisted_clock.map(clock_record));
        }
    }

    fn snapshot(&self, pipeline: &Pipeline, _: Timestamp, put: &mut dyn FnMut(StateRecord)) {
        let Scored::Records(records) = &pipeline.scored else { return };
        self.history.parts(&records.features, |part| put(part_record(part)));
        self.history.clock().map(clock_record).into_iter().for_each(put);
    }
}

fn part_record(part: Part) -> StateRecord {
    let mut key = part.key;
    key.insert(0, Past::PART);
    StateRecord { key, value: part.value }
}

fn clock_record(clock: Timestamp) -> StateRecord {
    let mut value = vec![VERSION];
    put_signed(&mut value, clock);
    StateRecord { key: vec![Past::CLOCK], value: Some(value) }
}
