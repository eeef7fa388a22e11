//! The copy of one partition's state, as far as its changelog was followed.
//!
//! A copy is never the truth. Whoever takes it over reads the changelog on from where the copy is, up to the change that the
//! committed offset names and then to its end, as it does from a snapshot. So a copy may be behind, and be in the middle of a
//! change. It may not have missed a deletion: brokers keep one for some time only, and within that time its reader has to have
//! come by. That is so where the end of the changelog was reached less than [`MAX_AGE`](crate::snapshot::MAX_AGE) ago: what
//! was deleted since is still there.

use std::time::Duration;

use shared::pipeline::Pipeline;

use crate::core::{Origin, StateReader};
use crate::kafka::wire::offset_metadata::StateTag;
use crate::snapshot::Stamp;

/// Records after which a copy is measured again, in addition to as many as the state had then: to measure it is to look at
/// every key.
const MEASURED_AFTER: u64 = 100_000;

/// Bytes in memory that make one record of the changelog, about.
const BYTES_A_RECORD: usize = 96;

/// How long after its end was reached a copy to which nothing comes is looked at: whether that is still the end.
const CONFIRMED_AFTER: Duration = Duration::from_secs(60 * 60);

/// The copy of a partition's state.
#[derive(Debug)]
pub(crate) struct StandbyCopy {
    state: StateReader,
    /// Where the changelog goes on; `None` before its first record.
    next: Option<i64>,
    /// When it was known the last time that nothing of the changelog was missing, in milliseconds since 1970. At first, when it
    /// was begun.
    whole_at: i64,
    /// Whether the end was reached at all.
    is_whole: bool,
    /// Whether the end was reached since the last record.
    is_at_end: bool,
    /// Whether the last record ended a change.
    is_at_head: bool,
    /// How many records are to have come until it is measured again.
    measure_at: u64,
}

/// Why a copy cannot be followed any further and has to begin anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misfit {
    /// Another changelog has taken the place of the one that was followed.
    OtherChangelog,
    /// Its end was not reached for so long that deletions may have been missed.
    TooOld,
}

impl StandbyCopy {
    /// Nothing is read yet at the moment `now`.
    pub(super) fn new(pipeline: &Pipeline, origin: Origin, now: i64) -> Self {
        Self {
            state: StateReader::new(pipeline, origin),
            next: None,
            whole_at: now,
            is_whole: false,
            is_at_end: false,
            is_at_head: false,
            measure_at: MEASURED_AFTER,
        }
    }

    /// Takes in the record at `offset` of the changelog.
    ///
    /// # Errors
    /// [`Misfit`].
    pub(super) fn take(
        &mut self,
        pipeline: &Pipeline,
        offset: i64,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), Misfit> {
        // What cannot be used may be of before a reset, which comes later: who takes over is told.
        let _ = self.state.take(pipeline, key, value);
        (self.next, self.is_at_end) = (Some(offset + 1), false);
        self.is_at_head = key == StateReader::HEAD_KEY;
        if self.state.is_mixed() { Err(Misfit::OtherChangelog) } else { Ok(()) }
    }

    /// The end of the changelog is reached at the moment `now`; whether that is so for the first time.
    ///
    /// # Errors
    /// [`Misfit::TooOld`].
    pub(super) fn on_end(&mut self, now: i64) -> Result<bool, Misfit> {
        if self.is_too_old(now) {
            return Err(Misfit::TooOld);
        }
        (self.whole_at, self.is_at_end) = (now, true);
        Ok(!std::mem::replace(&mut self.is_whole, true))
    }

    /// Whether to look where the changelog ends: nothing has come for long.
    pub(super) fn is_to_be_confirmed(&self, now: i64) -> bool {
        self.is_at_end && now.saturating_sub(self.whole_at) > CONFIRMED_AFTER.as_millis() as i64
    }

    /// At the moment `now` the changelog went from `low` to before `high`.
    pub(super) fn confirm(&mut self, (low, high): (i64, i64), now: i64) {
        // Behind the last change stands the marker of its transaction.
        let is_end = self.next.is_some_and(|next| low <= next && (next..=next + 1).contains(&high));
        if is_end && !self.is_too_old(now) {
            self.whole_at = now;
        }
    }

    /// Whether a deletion may have been missed.
    pub(super) fn is_too_old(&self, now: i64) -> bool {
        let stamp = Stamp { birth: 0, sequence: 0, offset: 0, time: Some(self.whole_at) };
        // A clock that went back tells nothing.
        now >= self.whole_at && stamp.is_stale_at(now)
    }

    /// Where the changelog goes on.
    pub(super) fn next(&self) -> Option<i64> {
        self.next
    }

    /// Records that are missing where the changelog ends before `high`, with the markers of transactions among them.
    pub(super) fn lag(&self, high: i64) -> u64 {
        if self.is_at_end { 0 } else { u64::try_from(high.saturating_sub(self.next.unwrap_or(0))).unwrap_or(0) }
    }

    /// Records taken in.
    pub(super) fn records(&self) -> u64 {
        self.state.records()
    }

    /// The bytes of the state, about, where they may have become many more since the last time.
    pub(super) fn measure(&mut self) -> Option<usize> {
        if self.state.records() < self.measure_at {
            return None;
        }
        let bytes = self.state.state_bytes();
        self.measure_at = self.state.records() + MEASURED_AFTER + (bytes / BYTES_A_RECORD) as u64;
        Some(bytes)
    }

    /// What a restore begins with at the moment `now`: the state, where the changelog goes on, and whether it is already at the
    /// change that the tag names. `None` where the copy does not fit the tag.
    pub(crate) fn fit(self, tag: StateTag, now: i64) -> Option<(StateReader, Stamp, bool)> {
        if self.state.refused().is_some() || self.state.is_mixed() || self.is_too_old(now) {
            return None;
        }
        let is_reached = match self.state.head() {
            // Read from the beginning on, and no change has come to its end yet.
            None => false,
            Some(head) if head.birth != tag.incarnation || head.sequence > tag.commit_number => return None,
            Some(head) => head.sequence == tag.commit_number,
        };
        // Nothing comes after the change that is named.
        if is_reached && !self.is_at_head {
            return None;
        }
        let stamp = self.stamp(tag)?;
        Some((self.state, stamp, is_reached))
    }

    /// The same whether it fits or not: a guarantee that tests break.
    #[cfg(feature = "fault-injection")]
    pub(crate) fn believed(self, tag: StateTag) -> Option<(StateReader, Stamp, bool)> {
        self.state.head()?;
        let stamp = self.stamp(tag)?;
        Some((self.state, stamp, true))
    }

    /// Whether the end was reached, and there is a state.
    #[cfg(feature = "fault-injection")]
    pub(super) fn is_usable(&self) -> bool {
        self.is_whole && self.state.head().is_some()
    }

    fn stamp(&self, tag: StateTag) -> Option<Stamp> {
        let sequence = self.state.head().map_or(0, |head| head.sequence);
        Some(Stamp { birth: tag.incarnation, sequence, offset: self.next?, time: Some(self.whole_at) })
    }
}
