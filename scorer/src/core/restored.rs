//! A partition's state, read back from the records of its changelog or of a snapshot.

use shared::codec::Reader;
use shared::expiry::ExpiryMap;
use shared::pipeline::Pipeline;
use shared::time::Timestamp;

use super::cancellations::Cancelled;
use super::clock::PartitionClock;
use super::entity::OpenEntity;
use super::lists::{Lists, decode_keys};
use super::sessions::Open;
use super::state::{
    CANCELLED, CLOSED, ENTITY, HEAD, Head, Origin, StateError, StateRecord, VERSION, WINDOWS, entity_record,
    windows_record,
};
use super::windows::Windows;

/// A partition's state, as far as its records have been read.
#[derive(Debug)]
pub struct Restored {
    pub(super) open: ExpiryMap<Open>,
    pub(super) closed: ExpiryMap<()>,
    pub(super) closed_lists: Lists,
    pub(super) cancelled: Cancelled,
    pub(super) cancelled_lists: Lists,
    pub(super) windows: Option<Windows>,
    head: Option<Head>,
    origin: Origin,
    records: u64,
}

impl Restored {
    /// The key of heads: after one, the state is whole.
    pub const HEAD_KEY: &'static [u8] = &[HEAD];

    /// Nothing read yet.
    pub fn new(pipeline: &Pipeline, origin: Origin) -> Self {
        Self {
            open: ExpiryMap::default(),
            closed: ExpiryMap::default(),
            closed_lists: Lists::closed(),
            cancelled: Cancelled::new(pipeline),
            cancelled_lists: Lists::cancelled(),
            windows: None,
            head: None,
            origin,
            records: 0,
        }
    }

    /// Takes in the next record.
    ///
    /// # Errors
    /// [`StateError`]: nothing of the state may be used then.
    pub fn take(&mut self, pipeline: &Pipeline, key: &[u8], value: Option<&[u8]>) -> Result<(), StateError> {
        self.records += 1;
        let (&kind, rest) = key.split_first().ok_or(StateError::Damaged)?;
        match (kind, value) {
            (ENTITY, Some(value)) => self.take_entity(pipeline, rest, value),
            (ENTITY, None) => {
                self.open.remove(text(rest)?);
                Ok(())
            }
            (CLOSED, Some(value)) => {
                let (closed, mut ordered) = (&mut self.closed, true);
                let last = decode_keys(value, |until, key| {
                    ordered &= closed.last_deadline().is_none_or(|last| last <= until);
                    closed.insert(key, until, ());
                })?;
                self.closed_lists.note(number(rest)?, last);
                if ordered { Ok(()) } else { Err(StateError::Disordered) }
            }
            (CANCELLED, Some(value)) => {
                let last = decode_keys(value, |first, key| {
                    self.cancelled.add(key, first);
                })?;
                self.cancelled.forget_added();
                self.cancelled_lists.note(number(rest)?, last);
                Ok(())
            }
            // Keys are forgotten by their times: a list that is gone held none that counts.
            (CLOSED, None) => {
                let gone = number(rest)?;
                self.closed_lists.drop_list(gone);
                Ok(())
            }
            (CANCELLED, None) => {
                let gone = number(rest)?;
                self.cancelled_lists.drop_list(gone);
                Ok(())
            }
            (WINDOWS, Some(value)) => {
                if let Some(settings) = &pipeline.cancellations {
                    self.windows = Some(Windows::decode(settings, value)?);
                }
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
        if self.open.last_deadline().is_some_and(|last| last > deadline) {
            return Err(StateError::Disordered);
        }
        self.open.insert(key, deadline, Open::written_down(entity));
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
        self.head = Some(head);
        Ok(())
    }

    /// Drops keys that are no longer remembered: those whose time has passed, and all once no list holds any.
    fn forget_expired(&mut self, clock: Option<Timestamp>) {
        let now = clock.unwrap_or(Timestamp::MIN);
        while self.closed.pop_expired(now).is_some() {}
        self.cancelled.forget_before(now);
        if self.closed_lists.is_empty() {
            self.closed = ExpiryMap::default();
        }
        if self.cancelled_lists.is_empty() {
            self.cancelled.forget_all();
        }
    }

    /// The last head that was read: the state is whole only there.
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// What the state belongs to.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Records taken in.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Open entities.
    pub fn open_entities(&self) -> usize {
        self.open.len()
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
    pub fn snapshot(&self) -> Vec<StateRecord> {
        let clock = self.clock().watermark().unwrap_or(Timestamp::MIN);
        let mut out = Vec::new();
        let mut put = |record| out.push(record);
        self.open.iter().for_each(|(key, deadline, open)| put(entity_record(key, deadline, open.entity())));
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
