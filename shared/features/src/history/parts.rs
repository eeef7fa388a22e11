//! What is remembered, as parts that can be written down one by one: what changed since the last time, and back again.
//!
//! A part's key begins with the relation and a byte that says what it is: `p`, the level and the start of a pane; `l`,
//! the last record and the newest pane; `c`, the companions. The name of the key it is of follows. A part without a value is
//! no more. What nearly every record changes of a key is in one part, so a commit writes one for each key.

use records::time::Timestamp;
use thiserror::Error;

use super::geo_point::GeoPoint;
use super::language::Relation;
use super::panes::{Keeps, Layout, PaneId, Stats};
use super::past::{Last, MOST_COMPANIONS, Met, Past};
use super::{History, RecordFeatures, entry_bytes};
use crate::codec::{Damaged, Reader, put_signed, put_unsigned};

const PANE: u8 = b'p';
const LAST: u8 = b'l';
const COMPANIONS: u8 = b'c';

/// With these bytes the value of the last record begins where the newest pane is in it too. Before, values began with a whole
/// number, which is never written so.
const WITH_PANE: [u8; 2] = [0x80, 0x00];

/// What of the last record there is: a time, a place, and a pane.
const HAS_TIME: u8 = 1;
const HAS_PLACE: u8 = 2;
const HAS_PANE: u8 = 4;

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
            let layout = &relation.layout;
            // What changed is what was touched since: the newest of the list.
            pasts.change_newest_entries(|key, deadline, past| {
                if !std::mem::take(&mut past.changes.any) {
                    return false;
                }
                for id in past.panes.take_gone() {
                    visit(Part { key: pane_key(index, id, key), value: None });
                }
                past.panes.take_changed(layout, |id, count, numbers| {
                    visit(pane_part((index, layout), id, key, count, numbers));
                });
                visit(last_part((index, layout), key, deadline, past));
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
                for (id, count, numbers) in past.panes.iter(&relation.layout) {
                    visit(pane_part((index, &relation.layout), id, key, count, numbers));
                }
                visit(last_part((index, &relation.layout), key, deadline, past));
                if past.changes.is_written.1 {
                    visit(companions_part(index, key, &past.companions));
                }
            }
        }
    }
}

impl RecordFeatures {
    /// The name of the key that a part is of, which the part's own key ends with.
    ///
    /// # Errors
    /// [`PartError`] when that is no key of a part of a past by these features.
    pub fn name_of_part<'a>(&'a self, key: &'a [u8]) -> Result<&'a str, PartError> {
        Ok(PartKey::read(self, key)?.name)
    }
}

/// The number of a relation: there are no more than a byte tells apart, which the reader of features sees to.
fn number(relation: usize) -> u8 {
    u8::try_from(relation).expect("at most 256 columns are keys")
}

/// Bytes of a part's key beside the name, at most: relation, kind, a pane's level and start, and one for what a changelog puts
/// before it.
const KEY_BYTES: usize = 14;

fn part_key(relation: usize, kind: u8, key: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(KEY_BYTES + key.len());
    out.extend_from_slice(&[number(relation), kind]);
    out.extend_from_slice(key.as_bytes());
    out
}

fn pane_key(relation: usize, id: PaneId, key: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(KEY_BYTES + key.len());
    out.extend_from_slice(&[number(relation), PANE, id.level]);
    put_signed(&mut out, id.start);
    out.extend_from_slice(key.as_bytes());
    out
}

fn put_float(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

fn pane_part((relation, layout): (usize, &Layout), id: PaneId, key: &str, count: u64, numbers: &[f64]) -> Part {
    let mut out = Vec::with_capacity(size_of::<u64>() + size_of_val(numbers));
    put_pane(&mut out, layout, count, numbers);
    Part { key: pane_key(relation, id, key), value: Some(out) }
}

fn put_pane(out: &mut Vec<u8>, layout: &Layout, count: u64, numbers: &[f64]) {
    put_unsigned(out, count);
    let mut rest = numbers;
    for keeps in layout.keeps() {
        let (own, after) = rest.split_at(keeps.width());
        rest = after;
        // The sum; of one record everything else follows from its value.
        let written = if count > 1 { own } else { &own[..1] };
        written.iter().for_each(|value| put_float(out, *value));
    }
}

/// Bytes of a last record and the newest pane, at most, without the pane's numbers.
const LAST_BYTES: usize = 80;

fn last_part((relation, layout): (usize, &Layout), key: &str, deadline: Timestamp, past: &Past) -> Part {
    let (newest, place) = (past.panes.newest(layout), past.last.and_then(|last| last.place));
    let has = |is_there, flag| if is_there { flag } else { 0 };
    let flags = has(past.last.is_some(), HAS_TIME) | has(place.is_some(), HAS_PLACE) | has(newest.is_some(), HAS_PANE);
    let mut out = Vec::with_capacity(LAST_BYTES + newest.map_or(0, |(_, _, numbers)| size_of_val(numbers)));
    out.extend_from_slice(&WITH_PANE);
    out.push(flags);
    put_signed(&mut out, deadline);
    if let Some(last) = past.last {
        put_signed(&mut out, last.time);
    }
    if let Some((GeoPoint { latitude, longitude }, since)) = place {
        put_signed(&mut out, since);
        put_float(&mut out, latitude);
        put_float(&mut out, longitude);
    }
    if let Some((id, count, numbers)) = newest {
        out.push(id.level);
        put_signed(&mut out, id.start);
        put_pane(&mut out, layout, count, numbers);
    }
    Part { key: part_key(relation, LAST, key), value: Some(out) }
}

fn companions_part(relation: usize, key: &str, companions: &[Met]) -> Part {
    let n_met: usize = companions.iter().map(Vec::len).sum();
    let mut out = Vec::with_capacity(2 * companions.len() + n_met * (size_of::<u64>() + 3));
    for met in companions {
        put_unsigned(&mut out, met.len() as u64);
        for (companion, day) in met {
            out.extend_from_slice(&companion.to_le_bytes());
            put_signed(&mut out, *day);
        }
    }
    Part { key: part_key(relation, COMPANIONS, key), value: Some(out) }
}

/// Parts on their way back to a [`History`], in any order; a later one takes the place of an earlier one of the same key.
/// They are in their places at once: a state that is read takes hardly more than one that is there.
#[derive(Debug)]
pub struct Restoring {
    history: History,
}

impl Restoring {
    /// No parts yet.
    pub fn new(features: &RecordFeatures) -> Self {
        Self { history: History::new(features, true) }
    }

    /// Takes a part.
    ///
    /// # Errors
    /// [`PartError`] when the bytes are not a part of a past by `features`.
    pub fn add(&mut self, features: &RecordFeatures, key: &[u8], value: &[u8]) -> Result<(), PartError> {
        let PartKey { index, relation, of, name } = PartKey::read(features, key)?;
        let mut value = Reader(value);
        let new = || Past::new(relation.companions.len());
        let pasts = &mut self.history.pasts[index];
        match of {
            PartOf::Pane(id) => {
                let count = value.unsigned()?;
                let stats = read_pane(&mut value, &relation.layout, count)?;
                value.end()?;
                let (_, past) = pasts.get_or_insert_with(name, new);
                if !past.panes.restore(&relation.layout, id, count, stats) {
                    return Err(PartError::Damaged);
                }
            }
            PartOf::Last => {
                let LastPart { deadline: until, last, newest } = read_last_part(&mut value, &relation.layout)?;
                value.end()?;
                let (deadline, past) = pasts.get_or_insert_with(name, new);
                if !past.panes.restore_newest(&relation.layout, newest) {
                    return Err(PartError::Damaged);
                }
                (*deadline, past.last, past.changes.is_written.0) = (until, last, true);
            }
            PartOf::Companions => {
                let companions = relation.companions.iter().map(|_| read_met(&mut value)).collect::<Result<_, _>>()?;
                value.end()?;
                let (_, past) = pasts.get_or_insert_with(name, new);
                (past.companions, past.changes.is_written.1) = (companions, true);
            }
        }
        Ok(())
    }

    /// Takes out a part that is no more.
    ///
    /// # Errors
    /// As [`Restoring::add`].
    pub fn remove(&mut self, features: &RecordFeatures, key: &[u8]) -> Result<(), PartError> {
        let PartKey { index, relation, of, name } = PartKey::read(features, key)?;
        let pasts = &mut self.history.pasts[index];
        if pasts.get(name).is_none() {
            return Ok(());
        }
        let new = || Past::new(relation.companions.len());
        let (_, past) = pasts.get_or_insert_with(name, new);
        match of {
            PartOf::Pane(id) => past.panes.remove(&relation.layout, id),
            PartOf::Last => {
                past.panes.restore_newest(&relation.layout, None);
                (past.last, past.changes.is_written.0) = (None, false);
            }
            PartOf::Companions => (past.companions, past.changes.is_written.1) = (new().companions, false),
        }
        if past.panes.is_empty() && past.changes.is_written == (false, false) {
            pasts.remove(name);
        }
        Ok(())
    }

    /// Bytes that what was taken in takes. It looks at every key.
    pub fn bytes(&self) -> usize {
        let of = |(key, _, past): (&str, Timestamp, &Past)| entry_bytes(key, past);
        self.history.pasts.iter().flat_map(|pasts| pasts.iter().map(of)).sum()
    }

    /// Whether nothing was taken in, or all of it is gone.
    pub fn is_empty(&self) -> bool {
        self.history.is_empty()
    }

    /// What is remembered, when the largest time of a record was `clock`.
    ///
    /// # Errors
    /// [`PartError`] when parts are missing.
    pub fn finish(self, clock: Option<Timestamp>, is_kept: bool) -> Result<History, PartError> {
        let Self { mut history } = self;
        (history.clock, history.is_kept) = (clock.unwrap_or(Timestamp::MIN), is_kept);
        for pasts in &mut history.pasts {
            pasts.put_in_order();
            for (key, _, past) in pasts.iter() {
                if !past.changes.is_written.0 {
                    return Err(PartError::Damaged);
                }
                history.bytes += entry_bytes(key, past);
            }
        }
        Ok(history)
    }
}

/// What the key of a part says.
struct PartKey<'a> {
    index: usize,
    relation: &'a Relation,
    of: PartOf,
    name: &'a str,
}

enum PartOf {
    Pane(PaneId),
    Last,
    Companions,
}

impl<'a> PartKey<'a> {
    fn read(features: &'a RecordFeatures, key: &'a [u8]) -> Result<Self, PartError> {
        let mut key = Reader(key);
        let (index, kind) = (usize::from(key.byte()?), key.byte()?);
        let relation = features.relations.get(index).ok_or(PartError::Damaged)?;
        let of = match kind {
            PANE => PartOf::Pane(PaneId { level: key.byte()?, start: key.signed()? }),
            LAST => PartOf::Last,
            COMPANIONS => PartOf::Companions,
            _ => return Err(PartError::Damaged),
        };
        let name = std::str::from_utf8(key.0).map_err(|_| PartError::Damaged)?;
        Ok(Self { index, relation, of, name })
    }
}

/// What is known of each column. Earlier builds wrote down everything of each, whatever was asked for.
fn read_pane(value: &mut Reader<'_>, layout: &Layout, count: u64) -> Result<Vec<Stats>, Damaged> {
    let is_earlier = value.0.len() == layout.keeps().len() * Keeps::All.width() * size_of::<f64>();
    let keeps = |keeps: &Keeps| if is_earlier { Keeps::All } else { *keeps };
    layout.keeps().iter().map(|of_column| read_stats(value, keeps(of_column), count)).collect()
}

fn read_stats(value: &mut Reader<'_>, keeps: Keeps, count: u64) -> Result<Stats, Damaged> {
    // Any number: values near the largest add up to none, and what was written has to be read.
    let sum = value.float()?;
    Ok(match (count, keeps) {
        (0, _) => return Err(Damaged),
        (1, _) => Stats::of(sum),
        (_, Keeps::Sum) => Stats { sum, ..Stats::EMPTY },
        (_, Keeps::All) => Stats { sum, squares: value.float()?, min: value.float()?, max: value.float()? },
    })
}

/// What a part says of the last record of a key.
struct LastPart {
    deadline: Timestamp,
    last: Option<Last>,
    newest: Option<(PaneId, u64, Vec<Stats>)>,
}

fn read_last_part(value: &mut Reader<'_>, layout: &Layout) -> Result<LastPart, Damaged> {
    let Some(rest) = value.0.strip_prefix(&WITH_PANE) else {
        // As earlier builds wrote it: the newest pane is a part of its own.
        let deadline = value.signed()?;
        let last = if value.0.is_empty() { None } else { Some(read_last(value)?) };
        return Ok(LastPart { deadline, last, newest: None });
    };
    value.0 = rest;
    let flags = value.byte()?;
    let deadline = value.signed()?;
    let has = |flag| flags & flag != 0;
    if flags & !(HAS_TIME | HAS_PLACE | HAS_PANE) != 0 || (has(HAS_PLACE) && !has(HAS_TIME)) {
        return Err(Damaged);
    }
    let time = if has(HAS_TIME) { Some(value.signed()?) } else { None };
    let place = if has(HAS_PLACE) { Some(read_place(value)?) } else { None };
    let newest = match has(HAS_PANE) {
        true => {
            let id = PaneId { level: value.byte()?, start: value.signed()? };
            let count = value.unsigned()?;
            Some((id, count, read_pane(value, layout, count)?))
        }
        false => None,
    };
    Ok(LastPart { deadline, last: time.map(|time| Last { time, place }), newest })
}

fn read_place(value: &mut Reader<'_>) -> Result<(GeoPoint, Timestamp), Damaged> {
    let since = value.signed()?;
    Ok((GeoPoint { latitude: value.float()?, longitude: value.float()? }, since))
}

fn read_last(value: &mut Reader<'_>) -> Result<Last, Damaged> {
    let time = value.signed()?;
    let place = if value.0.is_empty() { None } else { Some(read_place(value)?) };
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

#[cfg(test)]
mod tests {
    use super::super::tests::{ALL, Row, features_of, featurized};
    use super::*;

    const DAY: Timestamp = 86_400_000;

    fn take(history: &mut History, features: &RecordFeatures) -> Vec<Part> {
        let mut parts = Vec::new();
        history.take_parts(features, |part| parts.push(part));
        parts
    }

    /// That is what a commit writes of it.
    #[test]
    fn a_record_is_one_part_of_each_key() {
        let features = &features_of(ALL).unwrap();
        let mut history = History::new(features, true);
        let mut parts_of = |time| {
            featurized(features, &mut history, &[(0, 0, 1.0, None, time)]);
            // Companions change once a day.
            let parts = take(&mut history, features).into_iter();
            (parts.filter(|part| part.key[1] != COMPANIONS).count(), history.len())
        };
        for time in [0, 1, 2, 3] {
            let (parts, keys) = parts_of(time);
            assert_eq!((parts, keys), (2, 2), "at {time}");
        }
        let (parts, _) = parts_of(DAY);
        assert!(parts > 2, "the panes before are written for good");
        assert_eq!(parts_of(DAY + 1).0, 2);
    }

    /// As earlier builds wrote a part: each pane by itself.
    fn as_before(features: &RecordFeatures, part: Part) -> Vec<Part> {
        let PartKey { index, of: PartOf::Last, name, .. } = PartKey::read(features, &part.key).unwrap() else {
            return vec![part];
        };
        let mut reader = Reader(part.value.as_deref().unwrap().strip_prefix(&WITH_PANE).unwrap());
        let flags = reader.byte().unwrap();
        let mut value = Vec::new();
        put_signed(&mut value, reader.signed().unwrap());
        if flags & HAS_TIME != 0 {
            put_signed(&mut value, reader.signed().unwrap());
        }
        if flags & HAS_PLACE != 0 {
            put_signed(&mut value, reader.signed().unwrap());
            (0..2).for_each(|_| put_float(&mut value, reader.float().unwrap()));
        }
        let mut parts = vec![Part { key: part_key(index, LAST, name), value: Some(value) }];
        if flags & HAS_PANE != 0 {
            let id = PaneId { level: reader.byte().unwrap(), start: reader.signed().unwrap() };
            parts.push(Part { key: pane_key(index, id, name), value: Some(reader.0.to_vec()) });
        }
        parts
    }

    #[test]
    fn what_an_earlier_build_wrote_is_read() {
        let features = &features_of(ALL).unwrap();
        let mut history = History::new(features, true);
        let rows: [Row; 3] = [(0, 0, 1.5, Some((40.0, -3.0)), 0), (1, 1, 2.5, None, 10), (0, 2, 4.0, None, DAY)];
        featurized(features, &mut history, &rows);
        let mut restoring = Restoring::new(features);
        for part in take(&mut history, features).into_iter().flat_map(|part| as_before(features, part)) {
            restoring.add(features, &part.key, part.value.as_deref().unwrap()).unwrap();
        }
        let mut restored = restoring.finish(history.clock(), true).unwrap();
        assert!(restored == history, "{restored:#?} should be {history:#?}");
        // A pane that has a part of its own keeps it: one place for each.
        featurized(features, &mut restored, &[(0, 0, 8.0, None, DAY + 1)]);
        let of_user = take(&mut restored, features).into_iter().filter(|part| part.key[0] == 0);
        let kinds: Vec<u8> = of_user.map(|part| part.key[1]).collect();
        assert!(kinds.contains(&PANE) && kinds.contains(&LAST), "{kinds:?}");
    }
}
