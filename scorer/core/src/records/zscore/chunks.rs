//! Chunks: as much of what waits as goes into one record of the changelog, and the keys of those records.
//!
//! After the byte that all share comes the number of the detector and a byte that says what it is: `p`, the start of a
//! pane and a number: records that came; `s`, the end of a window and a number: what it said of keys; `t`: the end of the
//! last window that was judged.

use shared::time::Timestamp;

use crate::changelog::record::StateRecord;

/// The first byte of all keys.
pub(super) const KIND: u8 = b'z';

pub(super) const PANE: u8 = b'p';
pub(super) const SUMMARIES: u8 = b's';
pub(super) const THROUGH: u8 = b't';

/// Bytes of records that go into one of the changelog's; more take several.
const CHUNK_BYTES: usize = 256 << 10;

/// Cuts `all` into chunks that fit a record of the changelog, each of at least one.
pub(super) fn fitting<T>(all: &mut [T], bytes: impl Fn(&T) -> usize) -> impl Iterator<Item = &mut [T]> {
    let mut rest = all;
    std::iter::from_fn(move || {
        let mut sum = 0;
        let fits = |it: &&T| {
            sum += bytes(it);
            sum <= CHUNK_BYTES
        };
        let n = rest.iter().take_while(fits).count().max(1).min(rest.len());
        let (chunk, after) = std::mem::take(&mut rest).split_at_mut(n);
        rest = after;
        (n > 0).then_some(chunk)
    })
}

/// The key of a chunk of a pane, without what is before the kind.
pub(super) fn pane_key(start: Timestamp, chunk: u32) -> Vec<u8> {
    part_key(PANE, start, chunk)
}

pub(super) fn part_key(kind: u8, time: Timestamp, chunk: u32) -> Vec<u8> {
    let mut key = vec![kind];
    // They sort as times do.
    key.extend_from_slice(&(time ^ Timestamp::MIN).to_be_bytes());
    key.extend_from_slice(&chunk.to_be_bytes());
    key
}

/// A record of the changelog, whose key has `part` after the detector.
pub(super) fn record(detector: u8, part: &[u8], value: Option<Vec<u8>>) -> StateRecord {
    StateRecord { key: [&[KIND, detector], part].concat(), value }
}
