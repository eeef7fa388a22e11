//! What waits for its windows, as records of the changelog.
//!
//! None is ever written again; they are deleted with their pane or their window.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use shared::allocation::allocated;
use shared::codec::{Damaged, Reader, put_bytes, put_optional, put_signed, put_unsigned};
use shared::pipeline::{FieldValue, Pipeline};
use shared::time::Timestamp;
use shared::zscore::WindowSummary;

use super::chunks::{KIND, PANE, SUMMARIES, THROUGH, fitting, pane_key, part_key, record};
use super::pane::{Pane, Waiting};
use super::{JudgedWindow, ZScore, ZScores, summary_bytes};
use crate::changelog::record::{ChangelogKind, Changes, StateError, StateRecord, VERSION, versioned};
use crate::growth::CameFrom;

/// Moments beyond this are nobody's: arithmetic on others cannot leave the numbers there are.
const LARGEST_TIME: Timestamp = 1 << 60;

/// The first bytes of the fields of a record.
const MISSING: u8 = 0;
const TEXT: u8 = b't';
const NUMBER: u8 = b'n';

fn pane_record(detector: u8, start: Timestamp, chunk: u32, records: &[&Waiting]) -> StateRecord {
    let mut out = vec![VERSION];
    put_unsigned(&mut out, records.len() as u64);
    for Waiting { by, time, key, value, customer, truth, .. } in records {
        put_bytes(&mut out, by.as_bytes());
        put_unsigned(&mut out, time.saturating_sub(start) as u64);
        put_bytes(&mut out, key.as_bytes());
        out.extend_from_slice(&value.to_bits().to_le_bytes());
        for text in [customer.as_deref(), truth.as_deref()] {
            out.push(u8::from(text.is_some()));
            text.iter().for_each(|text| put_bytes(&mut out, text.as_bytes()));
        }
    }
    // As in a head, what came later stands at the end.
    for Waiting { offset, fields, .. } in records {
        put_optional(&mut out, *offset);
        put_unsigned(&mut out, fields.len() as u64);
        fields.iter().for_each(|field| put_field(&mut out, field));
    }
    // Offsets are those of other partitions where a topic has grown, or where a hop before has sent records on.
    if records.iter().any(|waiting| waiting.came_from != CameFrom::HERE) {
        records.iter().for_each(|waiting| put_optional(&mut out, waiting.came_from.elsewhere().map(i64::from)));
    }
    record(detector, &pane_key(start, chunk), Some(out))
}

fn put_field(out: &mut Vec<u8>, field: &FieldValue) {
    match field {
        FieldValue::Missing => out.push(MISSING),
        FieldValue::Text(text) => {
            out.push(TEXT);
            put_bytes(out, text.as_bytes());
        }
        FieldValue::Number(number) => {
            out.push(NUMBER);
            out.extend_from_slice(&number.to_bits().to_le_bytes());
        }
    }
}

fn read_field(value: &mut Reader<'_>) -> Result<FieldValue, Damaged> {
    match value.byte()? {
        MISSING => Ok(FieldValue::Missing),
        TEXT => Ok(FieldValue::Text(value.text()?.into())),
        NUMBER => Some(value.float()?).filter(|number| number.is_finite()).map(FieldValue::Number).ok_or(Damaged),
        _ => Err(Damaged),
    }
}

fn through_record(detector: u8, through: Timestamp) -> StateRecord {
    let mut out = vec![VERSION];
    put_signed(&mut out, through);
    record(detector, &[THROUGH], Some(out))
}

impl JudgedWindow {
    /// As numbered records.
    fn chunks(&self, detector: u8, end: Timestamp, mut put: impl FnMut(StateRecord)) {
        let mut all: Vec<&(Box<str>, WindowSummary)> = self.summaries.iter().collect();
        for (number, chunk) in (0..).zip(fitting(&mut all, |(by, _)| summary_bytes(by))) {
            let mut out = vec![VERSION];
            put_unsigned(&mut out, chunk.len() as u64);
            for (by, WindowSummary { count, center, spread, .. }) in chunk.iter() {
                put_bytes(&mut out, by.as_bytes());
                put_unsigned(&mut out, *count);
                out.extend_from_slice(&center.to_bits().to_le_bytes());
                out.extend_from_slice(&spread.to_bits().to_le_bytes());
            }
            put(record(detector, &part_key(SUMMARIES, end, number), Some(out)));
        }
    }

    /// The keys of what was written, without the detector's number.
    pub(super) fn persisted_keys(&self, end: Timestamp) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        if self.is_persisted {
            self.chunks(0, end, |record| keys.push(record.key[2..].to_vec()));
        }
        keys
    }
}

impl ZScore {
    fn take_changes(&mut self, detector: u8, out: &mut Vec<StateRecord>) {
        out.extend(self.gone.drain(..).map(|part| record(detector, &part, None)));
        for (&start, pane) in &mut self.panes {
            pane.take_unpersisted(|chunk, records| out.push(pane_record(detector, start, chunk, records)));
        }
        for (&end, judged) in &mut self.judged {
            if !std::mem::replace(&mut judged.is_persisted, true) {
                judged.chunks(detector, end, |record| out.push(record));
            }
        }
        if self.persisted_through != self.judged_through {
            self.persisted_through = self.judged_through;
            out.push(through_record(detector, self.judged_through));
        }
    }

    fn snapshot(&self, detector: u8, put: &mut dyn FnMut(StateRecord)) {
        for (&start, pane) in &self.panes {
            pane.persisted(|chunk, records| put(pane_record(detector, start, chunk, records)));
        }
        for (&end, judged) in self.judged.iter().filter(|(_, judged)| judged.is_persisted) {
            judged.chunks(detector, end, &mut *put);
        }
        if self.persisted_through != Timestamp::MIN {
            put(through_record(detector, self.persisted_through));
        }
    }
}

impl ChangelogKind for ZScores {
    fn kinds(&self) -> &'static [u8] {
        &[KIND]
    }

    /// Keeps a record until all are there.
    fn restore(&mut self, _: &Pipeline, _: u8, key: &[u8], value: Option<&[u8]>) -> Result<(), StateError> {
        match value {
            Some(value) => self.parts.insert(key.into(), value.into()),
            None => self.parts.remove(key),
        };
        Ok(())
    }

    fn restoring_bytes(&self) -> usize {
        self.parts
            .iter()
            .map(|(key, value)| size_of::<[Box<[u8]>; 2]>() + allocated(key.len()) + allocated(value.len()))
            .sum()
    }

    fn finish_restoring(&mut self, _: &Pipeline) -> Result<(), StateError> {
        let mut chunks: Vec<Chunks> = self.detectors.iter().map(|_| Chunks::new()).collect();
        for (key, value) in std::mem::take(&mut self.parts) {
            let (&[detector, kind], rest) = key.split_first_chunk::<2>().ok_or(Damaged)?;
            let detector = usize::from(detector);
            let of = self.detectors.get_mut(detector).ok_or(Damaged)?;
            of.read_part(kind, rest, &value, &mut chunks[detector])?;
        }
        for (detector, panes) in self.detectors.iter_mut().zip(chunks) {
            detector.put_together(panes)?;
        }
        Ok(())
    }

    fn take_changes(&mut self, _: &Pipeline, changes: &mut Changes) {
        for (index, detector) in (0..).zip(&mut self.detectors) {
            detector.take_changes(index, &mut changes.records);
        }
    }

    fn snapshot(&self, _: &Pipeline, _: Timestamp, put: &mut dyn FnMut(StateRecord)) {
        for (index, detector) in (0..).zip(&self.detectors) {
            detector.snapshot(index, put);
        }
    }
}

/// By the start of a pane: its records, and the numbers of the chunks that they came in.
type Chunks = BTreeMap<Timestamp, (Vec<Waiting>, BTreeSet<u32>)>;

impl ZScore {
    /// Reads a record whose key has `rest` after its kind; records that wait go to `chunks` until all are there.
    fn read_part(&mut self, kind: u8, rest: &[u8], value: &[u8], chunks: &mut Chunks) -> Result<(), Damaged> {
        let mut value = versioned(value)?;
        if kind == THROUGH && rest.is_empty() {
            self.judged_through = moment(value.signed()?, self.spec.slide)?;
            self.persisted_through = self.judged_through;
            return value.end();
        }
        let (time, chunk) = rest.split_first_chunk::<8>().ok_or(Damaged)?;
        let time = moment(i64::from_be_bytes(*time) ^ Timestamp::MIN, self.spec.slide)?;
        let chunk = u32::from_be_bytes(chunk.try_into().map_err(|_| Damaged)?);
        match kind {
            PANE => {
                let (records, numbers) = chunks.entry(time).or_default();
                read_records(&mut value, (time, self.spec.slide, chunk), records)?;
                numbers.insert(chunk);
            }
            SUMMARIES => self.read_summaries(&mut value, time)?,
            _ => return Err(Damaged),
        }
        value.end()
    }

    fn read_summaries(&mut self, value: &mut Reader<'_>, end: Timestamp) -> Result<(), Damaged> {
        let judged =
            self.judged.entry(end).or_insert_with(|| JudgedWindow { summaries: Vec::new(), is_persisted: true });
        for _ in 0..value.count()? {
            let by: Box<str> = value.text()?.into();
            // Keys come in their order, from record to record.
            if judged.summaries.last().is_some_and(|(before, _)| *before >= by) {
                return Err(Damaged);
            }
            let (count, center, spread) = (value.unsigned()?, value.float()?, value.float()?);
            self.bytes += summary_bytes(&by);
            judged.summaries.push((by, WindowSummary { count, center, spread, is_robust: self.spec.is_robust }));
        }
        Ok(())
    }

    /// Takes the panes on.
    fn put_together(&mut self, panes: Chunks) -> Result<(), Damaged> {
        for (start, (records, numbers)) in panes {
            let n_chunks = u32::try_from(numbers.len()).map_err(|_| Damaged)?;
            let is_whole = numbers.last().is_some_and(|&last| last == n_chunks - 1);
            let is_over = start.saturating_add(self.spec.window) <= self.judged_through;
            if records.is_empty() || !is_whole || is_over {
                return Err(Damaged);
            }
            let mut pane = Pane::restored(records, n_chunks);
            if start.saturating_add(self.spec.slide) <= self.judged_through {
                pane.seal();
            }
            self.bytes += pane.bytes();
            self.panes.insert(start, pane);
        }
        let oldest = self.panes.keys().next().copied().unwrap_or(Timestamp::MAX);
        // After a topic has grown, windows may have been judged for some keys that are not due yet.
        if self.judged.keys().all(|end| *end > oldest) { Ok(()) } else { Err(Damaged) }
    }
}

/// A moment at which panes begin.
fn moment(time: Timestamp, slide: i64) -> Result<Timestamp, Damaged> {
    let is_one = time.unsigned_abs() <= LARGEST_TIME.unsigned_abs() && time.rem_euclid(slide) == 0;
    if is_one { Ok(time) } else { Err(Damaged) }
}

fn read_records(
    value: &mut Reader<'_>,
    (start, slide, chunk): (Timestamp, i64, u32),
    records: &mut Vec<Waiting>,
) -> Result<(), Damaged> {
    let first = records.len();
    for _ in 0..value.count()? {
        let by = value.text()?.into();
        let since = i64::try_from(value.unsigned()?).ok().filter(|since| *since < slide).ok_or(Damaged)?;
        let (key, number) = (value.text()?.into(), value.float()?);
        let (customer, truth) = (optional_text(value)?.map(Into::into), optional_text(value)?.map(Into::into));
        if !number.is_finite() {
            return Err(Damaged);
        }
        let (offset, came_from, fields) = (None, CameFrom::HERE, Arc::default());
        let time = start + since;
        records.push(Waiting { by, time, key, value: number, customer, truth, offset, came_from, fields, chunk });
    }
    // Records of earlier programs end here.
    if !value.0.is_empty() {
        for waiting in &mut records[first..] {
            waiting.offset = value.optional()?;
            waiting.fields = (0..value.count()?).map(|_| read_field(value)).collect::<Result<_, Damaged>>()?;
        }
    }
    if !value.0.is_empty() {
        for waiting in &mut records[first..] {
            if let Some(partition) = value.optional()? {
                let partition = i32::try_from(partition).ok().filter(|partition| *partition >= 0).ok_or(Damaged)?;
                waiting.came_from = CameFrom::of(partition);
            }
        }
    }
    Ok(())
}

fn optional_text<'a>(value: &mut Reader<'a>) -> Result<Option<&'a str>, Damaged> {
    match value.byte()? {
        0 => Ok(None),
        1 => Ok(Some(value.text()?)),
        _ => Err(Damaged),
    }
}
