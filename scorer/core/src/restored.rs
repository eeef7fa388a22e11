//! A partition's state, read back from the records of its changelog or of a snapshot.

use std::collections::HashMap;

use shared::codec::Reader;
use shared::expiry::ExpiryMap;
use shared::history::{History, Restoring};
use shared::pipeline::{Pipeline, Records, Scored};
use shared::time::Timestamp;

use super::cancellations::Cancelled;
use super::clock::PartitionClock;
use super::entity::OpenEntity;
use super::held::Held;
use super::judging::kept_columns;
use super::lists::{Lists, decode_keys};
use super::sessions::Open;
use super::state::{
    CANCELLED, CLOSED, ENTITY, HEAD, HELD, Head, Origin, PAST, PAST_CLOCK, StateError, StateRecord, VERSION, WINDOWED,
    WINDOWS, entity_record, past_clock_record, past_record, windows_record,
};
use super::windows::Windows;
use super::zscore::{self, ZScores};

/// A partition's state.
#[derive(Debug)]
pub struct Restored {
    pub(super) open: ExpiryMap<Open>,
    pub(super) closed: ExpiryMap<()>,
    pub(super) closed_lists: Lists,
    pub(super) cancelled: Cancelled,
    pub(super) cancelled_lists: Lists,
    pub(super) windows: Option<Windows>,
    /// What is remembered of records, and those that wait: to be judged, and for their windows; where each is scored by
    /// itself.
    pub(super) past: Option<(History, Held, ZScores)>,
    head: Option<Head>,
    records: u64,
}

/// A partition's state, as far as its records have been read.
#[derive(Debug)]
pub struct StateReader {
    restored: Restored,
    held: Held,
    /// Parts of the past by their keys: they fit together only once all are there.
    parts: HashMap<Box<[u8]>, Box<[u8]>>,
    past_clock: Option<Timestamp>,
    windowed: zscore::Restoring,
    origin: Origin,
}

impl StateReader {
    /// The key of heads: after one, the state is whole.
    pub const HEAD_KEY: &'static [u8] = &[HEAD];

    /// Nothing read yet.
    pub fn new(pipeline: &Pipeline, origin: Origin) -> Self {
        let kept = match &pipeline.scored {
            Scored::Sessions(_) => Vec::new(),
            Scored::Records(records) => kept_columns(pipeline, records),
        };
        Self {
            restored: Restored {
                open: ExpiryMap::default(),
                closed: ExpiryMap::default(),
                closed_lists: Lists::closed(),
                cancelled: Cancelled::new(pipeline),
                cancelled_lists: Lists::cancelled(),
                windows: None,
                past: None,
                head: None,
                records: 0,
            },
            held: Held::new(kept, false),
            parts: HashMap::new(),
            past_clock: None,
            windowed: zscore::Restoring::default(),
            origin,
        }
    }

    /// Takes in the next record.
    ///
    /// # Errors
    /// [`StateError`]: nothing of the state may be used then.
    pub fn take(&mut self, pipeline: &Pipeline, key: &[u8], value: Option<&[u8]>) -> Result<(), StateError> {
        self.restored.records += 1;
        let (&kind, rest) = key.split_first().ok_or(StateError::Damaged)?;
        match (kind, value) {
            (ENTITY, Some(value)) => self.take_entity(pipeline, rest, value),
            (ENTITY, None) => {
                self.restored.open.remove(text(rest)?);
                Ok(())
            }
            (CLOSED, Some(value)) => {
                let (closed, mut ordered) = (&mut self.restored.closed, true);
                let last = decode_keys(value, |until, key| {
                    ordered &= closed.last_deadline().is_none_or(|last| last <= until);
                    closed.insert(key, until, ());
                })?;
                self.restored.closed_lists.note(number(rest)?, last);
                if ordered { Ok(()) } else { Err(StateError::Disordered) }
            }
            (CANCELLED, Some(value)) => {
                let last = decode_keys(value, |first, key| {
                    self.restored.cancelled.add(key, first);
                })?;
                self.restored.cancelled.forget_added();
                self.restored.cancelled_lists.note(number(rest)?, last);
                Ok(())
            }
            // Keys are forgotten by their times: a list that is gone held none that counts.
            (CLOSED, None) => {
                let gone = number(rest)?;
                self.restored.closed_lists.drop_list(gone);
                Ok(())
            }
            (CANCELLED, None) => {
                let gone = number(rest)?;
                self.restored.cancelled_lists.drop_list(gone);
                Ok(())
            }
            (WINDOWS, Some(value)) => {
                if let Some(settings) = &pipeline.cancellations {
                    self.restored.windows = Some(Windows::decode(settings, value)?);
                }
                Ok(())
            }
            (PAST, value) => {
                match value {
                    Some(value) => self.parts.insert(rest.into(), value.into()),
                    None => self.parts.remove(rest),
                };
                Ok(())
            }
            (PAST_CLOCK, Some(value)) => {
                let mut reader = Reader(value);
                if reader.byte()? != VERSION {
                    return Err(StateError::Damaged);
                }
                self.past_clock = Some(reader.signed()?);
                Ok(reader.end()?)
            }
            (HELD, value) => Ok(self.held.restore(rest, value)?),
            (WINDOWED, value) => {
                self.windowed.take(rest, value);
                Ok(())
            }
            (HEAD, Some(value)) => self.take_head(Head::decode(key, value)?.ok_or(StateError::Damaged)?),
            _ => Err(StateError::Damaged),
        }
    }

    fn take_entity(&mut self, pipeline: &Pipeline, key: &[u8], value: &[u8]) -> Result<(), StateError> {
        let key = text(key)?;
        let mut reader = Reader(value);
        if reader.byte()? != VERSION {
            return Err(StateError::Damaged);
        }
        let deadline = reader.signed()?;
        let entity = OpenEntity::decode(pipeline, &mut reader)?;
        reader.end()?;
        if self.restored.open.last_deadline().is_some_and(|last| last > deadline) {
            return Err(StateError::Disordered);
        }
        self.restored.open.insert(key, deadline, Open::written_down(entity));
        Ok(())
    }

    fn take_head(&mut self, head: Head) -> Result<(), StateError> {
        if head.origin != self.origin {
            return Err(StateError::Foreign {
                found: head.origin.beside(&self.origin),
                wanted: self.origin.beside(&head.origin),
            });
        }
        self.forget_expired(head.watermark);
        self.restored.head = Some(head);
        Ok(())
    }

    /// Drops keys that are no longer remembered: those whose time has passed, and all once no list holds any.
    fn forget_expired(&mut self, clock: Option<Timestamp>) {
        let now = clock.unwrap_or(Timestamp::MIN);
        while self.restored.closed.pop_expired(now).is_some() {}
        self.restored.cancelled.forget_before(now);
        if self.restored.closed_lists.is_empty() {
            self.restored.closed = ExpiryMap::default();
        }
        if self.restored.cancelled_lists.is_empty() {
            self.restored.cancelled.forget_all();
        }
    }

    /// The last head that was read: the state is whole only there.
    pub fn head(&self) -> Option<&Head> {
        self.restored.head()
    }

    /// The state, all of whose records have been read.
    ///
    /// # Errors
    /// [`StateError`] when parts do not fit together.
    pub fn finish(self, pipeline: &Pipeline) -> Result<Restored, StateError> {
        let Self { mut restored, held, parts, past_clock, windowed, .. } = self;
        if let (Scored::Records(records), Some(_)) = (&pipeline.scored, &restored.head) {
            restored.past = Some((past(records, parts, past_clock)?, held, windowed.finish(pipeline)?));
        }
        Ok(restored)
    }
}

/// What is remembered, put together from its parts.
fn past(
    records: &Records,
    parts: HashMap<Box<[u8]>, Box<[u8]>>,
    clock: Option<Timestamp>,
) -> Result<History, StateError> {
    if clock.is_none() && !parts.is_empty() {
        return Err(StateError::Damaged);
    }
    let mut restoring = Restoring::default();
    for (key, value) in parts {
        restoring.add(&records.features, &key, &value)?;
    }
    Ok(restoring.finish(&records.features, clock, true)?)
}

impl Restored {
    /// The last head that was read: the state is whole only there.
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Records taken in.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Open entities, and records that wait.
    pub fn open_entities(&self) -> usize {
        self.open.len() + self.past.as_ref().map_or(0, |(_, held, _)| held.len() as usize)
    }

    /// Keys whose past is remembered.
    pub fn keys_with_a_past(&self) -> usize {
        self.past.as_ref().map_or(0, |(history, ..)| history.len())
    }

    /// Closed keys that are remembered.
    pub fn closed_keys(&self) -> usize {
        self.closed.len()
    }

    /// Cancelled keys that are remembered.
    pub fn cancelled_keys(&self) -> usize {
        self.cancelled.iter().len()
    }

    /// The end of the last window that was published, where the windows are of this partition.
    pub fn windows_through(&self) -> Option<Timestamp> {
        self.windows.as_ref().map(Windows::published_through).filter(|through| *through > Timestamp::MIN)
    }

    pub(super) fn clock(&self) -> PartitionClock {
        self.head
            .as_ref()
            .map_or_else(PartitionClock::default, |head| PartitionClock::resumed(head.watermark, head.idle_since))
    }

    /// The state as records: what the changelog would hold if it held each key once.
    pub fn snapshot(&self, pipeline: &Pipeline) -> Vec<StateRecord> {
        let clock = self.clock().watermark().unwrap_or(Timestamp::MIN);
        let mut out = Vec::new();
        let mut put = |record| out.push(record);
        self.open.iter().for_each(|(key, deadline, open)| put(entity_record(key, deadline, open.entity())));
        if let (Scored::Records(records), Some((history, held, zscores))) = (&pipeline.scored, &self.past) {
            held.snapshot(&mut put);
            history.parts(&records.features, |part| put(past_record(part)));
            history.clock().map(past_clock_record).into_iter().for_each(&mut put);
            zscores.snapshot(&mut put);
        }
        let closed = self.closed.iter().map(|(key, until, ())| (until, key)).filter(|(until, _)| *until > clock);
        self.closed_lists.snapshot(closed, &mut put);
        let live = |first: Timestamp| first.saturating_add(self.cancelled.remember()) > clock;
        self.cancelled_lists.snapshot(self.cancelled.iter().filter(|(first, _)| live(*first)), &mut put);
        self.windows.iter().for_each(|windows| put(windows_record(windows.encode())));
        self.head.iter().for_each(|head| put(head.record()));
        out
    }
}

fn text(bytes: &[u8]) -> Result<&str, StateError> {
    std::str::from_utf8(bytes).map_err(|_| StateError::Damaged)
}

fn number(bytes: &[u8]) -> Result<u64, StateError> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| StateError::Damaged)
}
