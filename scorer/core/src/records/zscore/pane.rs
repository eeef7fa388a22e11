//! The records of a short span of time, each waiting for the windows that hold it.

use std::cmp::Ordering;
use std::sync::Arc;

use shared::allocation::allocated;
use shared::pipeline::FieldValue;
use shared::time::Timestamp;
use shared::verdict::EntitySummary;

use super::chunks;
use super::rank::{Rank, Ranked, in_order};
use crate::growth::CameFrom;

/// Of a record that was not written down yet.
const NO_CHUNK: u32 = u32::MAX;

/// A record that waits.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Waiting {
    /// Whose windows it is in; empty where all records share them.
    pub(super) by: Box<str>,
    pub(super) time: Timestamp,
    pub(super) key: Arc<str>,
    pub(super) value: f64,
    pub(super) customer: Option<Arc<str>>,
    /// The scenario that it is known to be of.
    pub(super) truth: Option<Box<str>>,
    /// Unknown where the state of an earlier program had it.
    pub(super) offset: Option<i64>,
    /// The partition that its offset is of.
    pub(super) came_from: CameFrom,
    /// What verdicts repeat of it.
    pub(super) fields: Arc<[FieldValue]>,
    /// The record of the changelog that has it.
    pub(super) chunk: u32,
}

impl Ranked for Waiting {
    fn rank(&self) -> Rank {
        Rank::of(&self.by, self.time)
    }

    /// The order in which records are summed up and judged: it does not depend on when they came.
    fn in_order(&self, other: &Self) -> Ordering {
        let by_name = self.by.cmp(&other.by).then(self.time.cmp(&other.time)).then_with(|| self.key.cmp(&other.key));
        by_name.then_with(|| {
            let own = (&self.customer, &self.truth, self.offset, self.came_from);
            let others = (&other.customer, &other.truth, other.offset, other.came_from);
            self.value.to_bits().cmp(&other.value.to_bits()).then_with(|| own.cmp(&others))
        })
    }
}

impl Waiting {
    /// A record that just came.
    pub(crate) fn new(
        by: &str,
        value: f64,
        entity: &EntitySummary,
        truth: Option<&str>,
        (came_from, offset): (CameFrom, i64),
    ) -> Self {
        Self {
            by: by.into(),
            time: entity.first_timestamp,
            key: entity.key.clone(),
            value,
            customer: entity.customer.clone(),
            truth: truth.map(Into::into),
            offset: Some(offset),
            came_from,
            fields: entity.fields.clone(),
            chunk: NO_CHUNK,
        }
    }

    /// The same in another changelog, after it went from one partition to another, or to the same.
    pub(super) fn carried(self, from: i32, to: i32) -> Self {
        Self { chunk: NO_CHUNK, came_from: self.came_from.moved(from, to), ..self }
    }

    /// Bytes that it takes, about: its texts are allocations of their own, of which some begin with two counts of who shares
    /// them.
    pub(super) fn bytes(&self) -> usize {
        const COUNTS: usize = 2 * size_of::<usize>();
        let truth = self.truth.as_ref().map_or(0, |text| allocated(text.len()));
        let others = truth + self.customer.as_ref().map_or(0, |text| allocated(COUNTS + text.len()));
        let field = |field: &FieldValue| match field {
            FieldValue::Text(text) => size_of::<FieldValue>() + allocated(text.len()),
            FieldValue::Missing | FieldValue::Number(_) => size_of::<FieldValue>(),
        };
        let fields: usize = self.fields.iter().map(field).sum();
        size_of::<Self>() + allocated(self.by.len()) + allocated(COUNTS + self.key.len()) + others + COUNTS + fields
    }

    pub(super) fn summary(&self, closed_early: bool) -> EntitySummary {
        EntitySummary {
            key: self.key.clone(),
            lines: 1,
            customer: self.customer.clone(),
            first_timestamp: self.time,
            last_timestamp: self.time,
            closed_early,
            fields: self.fields.clone(),
        }
    }
}

/// The records of a pane.
#[derive(Debug)]
pub(super) struct Pane {
    /// In order once the pane is sealed.
    records: Vec<Waiting>,
    is_sealed: bool,
    /// Until the pane is sealed, how many of the records, the first, were written down.
    persisted: usize,
    /// How many records of the changelog have them.
    chunks: u32,
    /// Where records are read again after a restart: the smallest offset of one.
    pub(super) first_offset: i64,
}

impl Pane {
    pub(super) fn new(offset: i64) -> Self {
        Self { records: Vec::new(), is_sealed: false, persisted: 0, chunks: 0, first_offset: offset }
    }

    /// As the changelog has it.
    pub(super) fn restored(records: Vec<Waiting>, chunks: u32) -> Self {
        Self { persisted: records.len(), records, chunks, ..Self::new(i64::MAX) }
    }

    pub(super) fn add(&mut self, waiting: Waiting, offset: i64) {
        self.first_offset = self.first_offset.min(offset);
        self.records.push(waiting);
    }

    /// No record comes any more: those that are here are put in order.
    pub(super) fn seal(&mut self) {
        in_order(&mut self.records);
        self.is_sealed = true;
    }

    pub(super) fn into_records(self) -> Vec<Waiting> {
        self.records
    }

    pub(super) fn records(&self) -> &[Waiting] {
        &self.records
    }

    /// Whether a record of `by` is in the pane, which is sealed.
    pub(super) fn has(&self, by: &str) -> bool {
        self.records.binary_search_by(|waiting| (*waiting.by).cmp(by)).is_ok()
    }

    pub(super) fn bytes(&self) -> usize {
        self.records.iter().map(Waiting::bytes).sum()
    }

    pub(super) fn chunks(&self) -> u64 {
        u64::from(self.chunks)
    }

    /// What is not written down yet, as numbered chunks; then it counts as written.
    pub(super) fn take_unpersisted(&mut self, mut put: impl FnMut(u32, &[&Waiting])) {
        if self.persisted == self.records.len() {
            return;
        }
        // Sealing may have put new ones between old ones, once.
        let from = if self.is_sealed { 0 } else { self.persisted };
        let new = self.records[from..].iter_mut().filter(|it| it.chunk == NO_CHUNK);
        let mut new: Vec<(Rank, &mut Waiting)> = new.map(|waiting| (waiting.rank(), waiting)).collect();
        new.sort_unstable_by(|(a, of_a), (b, of_b)| a.compare(b, || of_a.in_order(of_b)));
        let mut new: Vec<&mut Waiting> = new.into_iter().map(|(_, waiting)| waiting).collect();
        for chunk in chunks::fitting(&mut new, |waiting| waiting.bytes()) {
            chunk.iter_mut().for_each(|waiting| waiting.chunk = self.chunks);
            put(self.chunks, &chunk.iter().map(|waiting| &**waiting).collect::<Vec<_>>());
            self.chunks += 1;
        }
        self.persisted = self.records.len();
    }

    /// Every chunk, as it was written.
    pub(super) fn persisted(&self, mut put: impl FnMut(u32, &[&Waiting])) {
        let mut by_chunk: Vec<&Waiting> = self.records.iter().filter(|waiting| waiting.chunk != NO_CHUNK).collect();
        by_chunk.sort_unstable_by(|a, b| a.chunk.cmp(&b.chunk).then_with(|| a.in_order(b)));
        by_chunk.chunk_by(|a, b| a.chunk == b.chunk).for_each(|chunk| put(chunk[0].chunk, chunk));
    }

    /// The keys of the changelog's records that have this pane, which starts at `start`; without the detector's number.
    pub(super) fn persisted_keys(&self, start: Timestamp) -> impl Iterator<Item = Vec<u8>> + use<> {
        (0..self.chunks).map(move |chunk| chunks::pane_key(start, chunk))
    }
}
