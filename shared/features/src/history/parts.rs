//! What is remembered, as parts that can be written down one by one: what changed since the last time, and back again.
//!
//! A part's key begins with the relation and a byte that says what it is: `p`, the level and the start of a pane; `l`,
//! the last record; `c`, the companions. The name of the key it is of follows. A part without a value is no more.

use std::collections::HashMap;

use records::time::Timestamp;
use thiserror::Error;

use super::geo_point::GeoPoint;
use super::panes::{PaneId, Panes, Stats};
use super::past::{Last, MOST_COMPANIONS, Met, Past};
use super::{History, RecordFeatures, entry_bytes};
use crate::codec::{Damaged, Reader, put_signed, put_unsigned};

const PANE: u8 = b'p';
const LAST: u8 = b'l';
const COMPANIONS: u8 = b'c';

/// A part of what is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it is of.
    pub key: Vec<u8>,
    /// What it is; `None` when it is no more.
    pub value: Option<Vec<u8>>,
}

/// Why parts cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PartError {
    /// Bytes that nobody wrote.
    #[error("a part of the state is damaged or of another version")]
    Damaged,
}

impl From<Damaged> for PartError {
    fn from(_: Damaged) -> Self {
        Self::Damaged
    }
}

/// What is to be deleted where it was written down.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes {
    gone: Vec<Vec<u8>>,
}

impl Changes {
    /// Notes that all of a past is forgotten.
    pub(super) fn gone(&mut self, relation: usize, key: &str, mut past: Past) {
        self.gone.extend(past.panes.take_gone().into_iter().map(|id| pane_key(relation, id, key)));
        self.gone.extend(past.panes.written().map(|id| pane_key(relation, id, key)));
        let (last, companions) = past.changes.is_written;
        self.gone.extend(last.then(|| part_key(relation, LAST, key)));
        self.gone.extend(companions.then(|| part_key(relation, COMPANIONS, key)));
    }
}

impl History {
    /// Visits the parts that changed since the last time, those that are no more first.
    pub fn take_parts(&mut self, features: &RecordFeatures, mut visit: impl FnMut(Part)) {
        self.changes.gone.drain(..).for_each(|key| visit(Part { key, value: None }));
        for (index, (pasts, relation)) in self.pasts.iter_mut().zip(&features.relations).enumerate() {
            let n_columns = relation.numbers.len();
            // What changed is what was touched since: the newest of the list.
            pasts.change_newest_entries(|key, deadline, past| {
                if !std::mem::take(&mut past.changes.any) {
                    return false;
                }
                for id in past.panes.take_gone() {
                    visit(Part { key: pane_key(index, id, key), value: None });
                }
                past.panes.take_changed(n_columns, |id, count, stats| visit(pane_part(index, id, key, count, stats)));
                visit(last_part(index, key, deadline, past.last));
                past.changes.is_written.0 = true;
                if std::mem::take(&mut past.changes.companions) {
                    visit(companions_part(index, key, &past.companions));
                    past.changes.is_written.1 = true;
                }
                true
            });
        }
    }

    /// Visits every part, as they are after [`History::take_parts`].
    pub fn parts(&self, features: &RecordFeatures, mut visit: impl FnMut(Part)) {
        for (index, (pasts, relation)) in self.pasts.iter().zip(&features.relations).enumerate() {
            for (key, deadline, past) in pasts.iter() {
                for (id, count, stats) in past.panes.iter(relation.numbers.len()) {
                    visit(pane_part(index, id, key, count, stats));
                }
                visit(last_part(index, key, deadline, past.last));
                if past.changes.is_written.1 {
                    visit(companions_part(index, key, &past.companions));
                }
            }
        }
    }
}

/// The number of a relation: there are no more than a byte tells apart, which the reader of features sees to.
fn number(relation: usize) -> u8 {
    u8::try_from(relation).expect("at most 256 columns are keys")
}

fn part_key(relation: usize, kind: u8, key: &str) -> Vec<u8> {
    let mut out = vec![number(relation), kind];
    out.extend_from_slice(key.as_bytes());
    out
}

fn pane_key(relation: usize, id: PaneId, key: &str) -> Vec<u8> {
    let mut out = vec![number(relation), PANE, id.level];
    put_signed(&mut out, id.start);
    out.extend_from_slice(key.as_bytes());
    out
}

fn put_float(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

fn pane_part(relation: usize, id: PaneId, key: &str, count: u64, stats: &[Stats]) -> Part {
    let mut out = Vec::new();
    put_unsigned(&mut out, count);
    for Stats { sum, squares, min, max } in stats {
        put_float(&mut out, *sum);
        // Of one record everything follows from its value.
        if count > 1 {
            [*squares, *min, *max].into_iter().for_each(|value| put_float(&mut out, value));
        }
    }
    Part { key: pane_key(relation, id, key), value: Some(out) }
}

fn last_part(relation: usize, key: &str, deadline: Timestamp, last: Option<Last>) -> Part {
    let mut out = Vec::new();
    put_signed(&mut out, deadline);
    if let Some(Last { time, place }) = last {
        put_signed(&mut out, time);
        if let Some((GeoPoint { latitude, longitude }, since)) = place {
            put_signed(&mut out, since);
            put_float(&mut out, latitude);
            put_float(&mut out, longitude);
        }
    }
    Part { key: part_key(relation, LAST, key), value: Some(out) }
}

fn companions_part(relation: usize, key: &str, companions: &[Met]) -> Part {
    let mut out = Vec::new();
    for met in companions {
        put_unsigned(&mut out, met.len() as u64);
        for (companion, day) in met {
            out.extend_from_slice(&companion.to_le_bytes());
            put_signed(&mut out, *day);
        }
    }
    Part { key: part_key(relation, COMPANIONS, key), value: Some(out) }
}

/// Parts on their way back to a [`History`], in any order, each the last of its key.
#[derive(Debug, Default)]
pub struct Restoring {
    pasts: HashMap<(usize, String), Gathered>,
}

#[derive(Debug, Default)]
struct Gathered {
    panes: Vec<(PaneId, u64, Vec<Stats>)>,
    last: Option<(Timestamp, Option<Last>)>,
    companions: Option<Box<[Met]>>,
}

impl Restoring {
    /// Takes a part.
    ///
    /// # Errors
    /// [`PartError`] when the bytes are not a part of a past by `features`.
    pub fn add(&mut self, features: &RecordFeatures, key: &[u8], value: &[u8]) -> Result<(), PartError> {
        let (mut key, mut value) = (Reader(key), Reader(value));
        let (index, kind) = (usize::from(key.byte()?), key.byte()?);
        let relation = features.relations.get(index).ok_or(PartError::Damaged)?;
        let pane = match kind {
            PANE => Some(PaneId { level: key.byte()?, start: key.signed()? }),
            LAST | COMPANIONS => None,
            _ => return Err(PartError::Damaged),
        };
        let name = std::str::from_utf8(key.0).map_err(|_| PartError::Damaged)?;
        let gathered = self.pasts.entry((index, name.to_owned())).or_default();
        if let Some(id) = pane {
            let count = value.unsigned()?;
            let stats = relation.numbers.iter().map(|_| read_stats(&mut value, count)).collect::<Result<_, _>>()?;
            gathered.panes.push((id, count, stats));
        } else if kind == LAST {
            let deadline = value.signed()?;
            let last = if value.0.is_empty() { None } else { Some(read_last(&mut value)?) };
            gathered.last = Some((deadline, last));
        } else {
            gathered.companions =
                Some(relation.companions.iter().map(|_| read_met(&mut value)).collect::<Result<_, _>>()?);
        }
        Ok(value.end()?)
    }

    /// What is remembered, when the largest time of a record was `clock`.
    ///
    /// # Errors
    /// [`PartError`] when parts are missing or do not fit.
    pub fn finish(
        self,
        features: &RecordFeatures,
        clock: Option<Timestamp>,
        is_kept: bool,
    ) -> Result<History, PartError> {
        let mut history = History::new(features, is_kept);
        history.clock = clock.unwrap_or(Timestamp::MIN);
        let mut pasts = Vec::with_capacity(self.pasts.len());
        for ((index, key), Gathered { panes, last, companions }) in self.pasts {
            let relation = &features.relations[index];
            let (deadline, last) = last.ok_or(PartError::Damaged)?;
            let mut past = Past::new(relation.companions.len());
            past.panes = Panes::restore(&relation.layout, panes).ok_or(PartError::Damaged)?;
            past.last = last;
            past.changes.is_written = (true, companions.is_some());
            if let Some(companions) = companions {
                past.companions = companions;
            }
            pasts.push((deadline, index, key, past));
        }
        pasts.sort_unstable_by(|a, b| (a.0, a.1, &a.2).cmp(&(b.0, b.1, &b.2)));
        for (deadline, index, key, past) in pasts {
            history.bytes += entry_bytes(&key, &past);
            history.pasts[index].insert(&key, deadline, past);
        }
        Ok(history)
    }
}

fn read_stats(value: &mut Reader<'_>, count: u64) -> Result<Stats, Damaged> {
    // Any number: values near the largest add up to none, and what was written has to be read.
    let sum = value.float()?;
    Ok(match count {
        0 => return Err(Damaged),
        1 => Stats::of(sum),
        _ => Stats { sum, squares: value.float()?, min: value.float()?, max: value.float()? },
    })
}

fn read_last(value: &mut Reader<'_>) -> Result<Last, Damaged> {
    let time = value.signed()?;
    let place = match value.0.is_empty() {
        true => None,
        false => {
            let since = value.signed()?;
            Some((GeoPoint { latitude: value.float()?, longitude: value.float()? }, since))
        }
    };
    Ok(Last { time, place })
}

fn read_met(value: &mut Reader<'_>) -> Result<Met, Damaged> {
    let count = value.count()?;
    if count > MOST_COMPANIONS {
        return Err(Damaged);
    }
    let mut met: Met = Vec::with_capacity(count);
    for _ in 0..count {
        let (bytes, rest) = value.0.split_first_chunk::<8>().ok_or(Damaged)?;
        value.0 = rest;
        let companion = u64::from_le_bytes(*bytes);
        if met.last().is_some_and(|(before, _)| *before >= companion) {
            return Err(Damaged);
        }
        met.push((companion, value.signed()?));
    }
    Ok(met)
}
