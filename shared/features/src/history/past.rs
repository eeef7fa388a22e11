//! What is remembered of one key's earlier records.

use records::time::{Millis, Timestamp};

use super::geo_point::GeoPoint;
use super::panes::{Layout, Panes, WindowStats};
use super::{make_room, room_bytes, shrink};
use crate::allocation::allocated;

/// Companions (such as a customer's merchants) that are remembered of a key; beyond it the one that was met the longest
/// ago is forgotten.
pub(super) const MOST_COMPANIONS: usize = 256;

/// Companions are remembered to the day, so that what is written down of them changes once a day.
const DAY: Millis = 86_400_000;

/// Who was met: fingerprint and the day of the last time, by fingerprint.
pub(super) type Met = Vec<(u64, i64)>;

/// When and where a key was last.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Last {
    pub(super) time: Timestamp,
    /// Of the last record that tells a place, with its time.
    pub(super) place: Option<(GeoPoint, Timestamp)>,
}

/// What is remembered of one key.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Past {
    pub(super) panes: Panes,
    pub(super) last: Option<Last>,
    /// Of each column of companions.
    pub(super) companions: Box<[Met]>,
    pub(super) changes: PastChanges,
}

/// What changed since it was last written down.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PastChanges {
    pub(super) any: bool,
    pub(super) companions: bool,
    /// Whether `last` and the companions have ever been written down.
    pub(super) is_written: (bool, bool),
}

impl PartialEq for PastChanges {
    /// What has been written down is no part of what is remembered.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// A record, as it is remembered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) time: Timestamp,
    /// The values of the relation's number columns: `(n_columns)`.
    pub(super) numbers: &'a [f64],
    pub(super) place: Option<GeoPoint>,
    /// Fingerprints of the companions: `(n_companions)`; `None` where the record has none.
    pub(super) companions: &'a [Option<u64>],
}

impl Past {
    pub(super) fn new(n_companions: usize) -> Self {
        Self { companions: vec![Vec::new(); n_companions].into(), ..Self::default() }
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let companions: usize = self.companions.iter().map(|met| room_bytes::<(u64, i64)>(met.len())).sum();
        self.panes.heap_bytes() + allocated(size_of_val(&*self.companions)) + companions
    }

    /// What the windows hold for a record at `time`.
    pub(super) fn windows(&self, layout: &Layout, time: Timestamp, out: &mut Vec<WindowStats>) {
        self.panes.windows(layout, time, out);
    }

    /// When the last record was, where that was not after `time` and is not forgotten.
    pub(super) fn last_before(&self, time: Timestamp, memory: Millis) -> Option<Timestamp> {
        self.last.map(|last| last.time).filter(|last| is_known(*last, time, memory))
    }

    /// The last place, with its time, where that was not after `time` and is not forgotten.
    pub(super) fn place_before(&self, time: Timestamp, memory: Millis) -> Option<(GeoPoint, Timestamp)> {
        self.last?.place.filter(|(_, last)| is_known(*last, time, memory))
    }

    /// Whether the key has met this companion on a day since `memory` before `time`.
    pub(super) fn has_met(&self, column: usize, companion: u64, time: Timestamp, memory: Millis) -> bool {
        let met = &self.companions[column];
        let found = met.binary_search_by_key(&companion, |(met, _)| *met).ok();
        found.is_some_and(|index| met[index].1 >= time.saturating_sub(memory).div_euclid(DAY))
    }

    /// Remembers a record; none that is to come is before `horizon`, and companions that were not met for `memory` are
    /// forgotten.
    pub(super) fn add(&mut self, layout: &Layout, seen: Seen<'_>, horizon: Timestamp, memory: Millis) {
        self.changes.any = true;
        self.panes.add(layout, seen.time, horizon, seen.numbers);
        if self.last.is_none_or(|last| last.time <= seen.time) {
            // A record without a place tells nothing of where the key was.
            let here = seen.place.map(|place| (place, seen.time));
            let place = here.or(self.last.and_then(|last| last.place));
            self.last = Some(Last { time: seen.time, place });
        }
        let today = seen.time.div_euclid(DAY);
        let oldest = horizon.saturating_sub(memory).div_euclid(DAY);
        for (met, companion) in self.companions.iter_mut().zip(seen.companions) {
            let Some(companion) = *companion else { continue };
            match met.binary_search_by_key(&companion, |(met, _)| *met) {
                Ok(found) if met[found].1 >= today => {}
                Ok(found) => {
                    met[found].1 = today;
                    self.changes.companions = true;
                }
                Err(place) => {
                    make_room(met, 1);
                    met.insert(place, (companion, today));
                    met.retain(|(_, day)| *day >= oldest);
                    if met.len() > MOST_COMPANIONS
                        && let Some(index) = (0..met.len()).min_by_key(|&i| (met[i].1, met[i].0 == companion))
                    {
                        met.remove(index);
                    }
                    shrink(met);
                    self.changes.companions = true;
                }
            }
        }
    }
}

fn is_known(last: Timestamp, time: Timestamp, memory: Millis) -> bool {
    last <= time && time.saturating_sub(last) <= memory
}

/// A fingerprint that is the same on every machine and in every version: FNV-1a of 64 bits (Fowler, Noll and Vo), with
/// the finalizer of SplitMix64, because short texts leave its upper bits poor.
pub(super) fn fingerprint(text: &str) -> u64 {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mixed = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
