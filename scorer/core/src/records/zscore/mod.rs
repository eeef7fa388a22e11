//! Detectors that compare each record with the others of its windows (`algorithm = "zscore-window"`).
//!
//! A window is judged for all keys at once, when the clock is far enough past its end. Records lie in panes as long as
//! windows are apart, so each is kept once however many windows hold it. A pane gets no record any more once its first
//! window is judged; it is put in order then, which is what makes every sum independent of the order in which records
//! came. Of a judged window a summary a key is kept until the last pane of it goes; a record's verdict is made when its
//! own pane goes, from the summaries of all windows that held it. So nothing that was written down ever changes: it only
//! comes and goes.

mod carry;
mod chunks;
mod pane;
mod parts;
mod rank;

use std::collections::BTreeMap;

use shared::allocation::allocated;
use shared::pipeline::{Hop, Pipeline, ZScoreSpec};
use shared::time::Timestamp;
use shared::verdict::EntitySummary;
use shared::zscore::WindowSummary;

use crate::growth::CameFrom;
use crate::output::{Output, WindowVerdict};
use crate::resume::Recovery;
use pane::{Pane, Waiting};

/// Bytes of a window's summary of a key.
fn summary_bytes(by: &str) -> usize {
    size_of::<(Box<str>, WindowSummary)>() + allocated(by.len())
}

/// What became of a record that was to be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Joined {
    /// It waits for its windows.
    Waits,
    /// A window that would have held it was judged already.
    TooLate,
}

/// The detectors of a pipeline.
#[derive(Debug)]
pub(crate) struct ZScores {
    detectors: Vec<ZScore>,
    recovery: Recovery,
    /// While state is restored, its records by their keys: they fit together only once all are there.
    parts: BTreeMap<Box<[u8]>, Box<[u8]>>,
}

/// One detector: what waits for its windows.
#[derive(Debug)]
struct ZScore {
    /// Its place in the pipeline.
    place: usize,
    spec: ZScoreSpec,
    /// By their start.
    panes: BTreeMap<Timestamp, Pane>,
    /// By their end: those that were judged and of which a pane is still here.
    judged: BTreeMap<Timestamp, JudgedWindow>,
    /// Every window that ends by then was judged.
    judged_through: Timestamp,
    persisted_through: Timestamp,
    bytes: usize,
    /// What is to be deleted where it was written down.
    gone: Vec<Vec<u8>>,
}

/// What a judged window said of the keys of which records still wait for others, by key.
#[derive(Debug)]
struct JudgedWindow {
    summaries: Vec<(Box<str>, WindowSummary)>,
    is_persisted: bool,
}

impl ZScores {
    /// The first byte of the keys of what waits in the changelog.
    pub const KIND: u8 = chunks::KIND;

    /// Nothing waits yet. A hop has the detectors whose windows are of its column.
    pub fn new(pipeline: &Pipeline, recovery: Recovery) -> Self {
        let column = pipeline.hop().map(Hop::column);
        let all = pipeline.zscores.iter().enumerate();
        let own = all.filter(|(_, spec)| column.is_none() || spec.by == column);
        Self {
            detectors: own.map(|(place, spec)| ZScore::new(place, spec.clone())).collect(),
            recovery,
            parts: BTreeMap::new(),
        }
    }

    /// Bytes of what waits, about: by that alone, so that what was read back has as many.
    pub fn bytes(&self) -> usize {
        self.detectors.iter().map(|detector| detector.bytes).sum()
    }

    /// How many records the changelog holds of this, about.
    pub fn state_records(&self) -> u64 {
        let of =
            |detector: &ZScore| detector.judged.len() as u64 + detector.panes.values().map(Pane::chunks).sum::<u64>();
        self.detectors.iter().map(of).sum()
    }

    /// The first clock at which a window is judged.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.detectors.iter().filter_map(ZScore::next_deadline).min()
    }

    /// The end of the last window that counts as judged.
    pub fn judged_through(&self) -> Option<Timestamp> {
        self.detectors.iter().map(|detector| detector.judged_through).filter(|end| *end > Timestamp::MIN).max()
    }

    /// The first record that waits, where records are read again after a restart.
    pub fn oldest_offset(&self) -> Option<i64> {
        let panes = self.detectors.iter().flat_map(|detector| detector.panes.values());
        match self.recovery {
            Recovery::Changelog => None,
            Recovery::Reread => panes.map(|pane| pane.first_offset).min(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.detectors.is_empty()
    }

    /// Lets a record wait for the windows of each detector; for how many it comes too late. `at` is its offset, and the
    /// partition that this is of; `of` tells, of a detector, the record's value and its key.
    pub fn add<'a>(
        &mut self,
        entity: &EntitySummary,
        truth: Option<&str>,
        at: (CameFrom, i64),
        of: impl Fn(&ZScoreSpec) -> (f64, &'a str),
    ) -> u64 {
        let mut too_late = 0;
        for detector in &mut self.detectors {
            let (value, by) = of(&detector.spec);
            let waiting = Waiting::new(by, value, entity, truth, at);
            too_late += u64::from(detector.add(waiting, at.1) == Joined::TooLate);
        }
        too_late
    }

    /// Judges the windows of a partition that the clock is far enough past; whether there were any.
    pub fn judge_due(&mut self, clock: Timestamp, partition: i32, out: &mut Vec<Output>) -> bool {
        let mut any = false;
        for detector in &mut self.detectors {
            let place = detector.place;
            let mut emit = |of: CameFrom, verdict| out.push(of_detector(place, of.partition(partition), verdict));
            any |= detector.judge_due(clock, &mut emit);
        }
        any
    }

    /// Judges the oldest windows of all detectors until `bytes` are enough; how many.
    pub fn shrink_to(&mut self, bytes: usize, partition: i32, out: &mut Vec<Output>) -> u64 {
        let mut early = 0;
        while self.bytes() > bytes {
            let ends = self.detectors.iter().enumerate().filter_map(|(index, it)| Some((it.next_end()?, index)));
            let Some((end, index)) = ends.min() else { break };
            let place = self.detectors[index].place;
            let mut emit = |of: CameFrom, verdict| out.push(of_detector(place, of.partition(partition), verdict));
            self.detectors[index].judge(end, true, &mut emit);
            early += 1;
        }
        early
    }
}

fn of_detector(detector: usize, partition: i32, verdict: WindowVerdict) -> Output {
    Output::Windowed(WindowVerdict { detector, partition, ..verdict })
}

impl ZScore {
    fn new(place: usize, spec: ZScoreSpec) -> Self {
        Self {
            place,
            spec,
            panes: BTreeMap::new(),
            judged: BTreeMap::new(),
            judged_through: Timestamp::MIN,
            persisted_through: Timestamp::MIN,
            bytes: 0,
            gone: Vec::new(),
        }
    }

    fn add(&mut self, waiting: Waiting, offset: i64) -> Joined {
        let start = waiting.time.saturating_sub(waiting.time.rem_euclid(self.spec.slide));
        // The first window that holds the record ends with its pane.
        if start.saturating_add(self.spec.slide) <= self.judged_through {
            return Joined::TooLate;
        }
        self.bytes += waiting.bytes();
        self.panes.entry(start).or_insert_with(|| Pane::new(offset)).add(waiting, offset);
        Joined::Waits
    }

    /// The end of the next window that holds a record.
    fn next_end(&self) -> Option<Timestamp> {
        let (start, _) = self.panes.first_key_value()?;
        Some(start.max(&self.judged_through).saturating_add(self.spec.slide))
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        Some(self.next_end()?.saturating_add(self.spec.watermark))
    }

    fn judge_due(&mut self, clock: Timestamp, emit: &mut impl FnMut(CameFrom, WindowVerdict)) -> bool {
        let mut any = false;
        while let Some(end) = self.next_end().filter(|end| end.saturating_add(self.spec.watermark) <= clock) {
            self.judge(end, false, emit);
            any = true;
        }
        // Windows without a record are judged too: what comes for them later is late. At the end of everything there is
        // no such time.
        if clock < Timestamp::MAX && clock > Timestamp::MIN {
            let through = clock.saturating_sub(self.spec.watermark);
            let through = through.saturating_sub(through.rem_euclid(self.spec.slide));
            self.judged_through = self.judged_through.max(through);
        }
        any
    }

    /// Judges the window that ends at `end`; `early` when records of it may still be on their way.
    fn judge(&mut self, end: Timestamp, early: bool, emit: &mut impl FnMut(CameFrom, WindowVerdict)) {
        let (start, slide) = (end.saturating_sub(self.spec.window), self.spec.slide);
        // The other panes of the window were put in order with windows before.
        if let Some(newest) = self.panes.get_mut(&end.saturating_sub(slide)) {
            newest.seal();
        }
        let mut summaries = self.summaries(start, end);
        // The partition that some keys came from had judged it: for them, what was said then holds.
        if let Some(before) = self.judged.remove(&end) {
            self.bytes -= before.bytes();
            self.gone.extend(before.persisted_keys(end));
            summaries = before.completed_by(summaries);
        }
        self.judged.insert(end, JudgedWindow { summaries, is_persisted: false });
        self.judged_through = end;
        if let Some(pane) = self.panes.remove(&start) {
            self.bytes -= pane.bytes();
            self.emit(start, &pane, early, emit);
            self.gone.extend(pane.persisted_keys(start));
        }
        if let Some(judged) = self.judged.get_mut(&end) {
            // Of keys without a record in the panes that are left nobody will ask.
            let panes = &self.panes;
            let still_waits = |by: &str| panes.range(start..end).any(|(_, pane)| pane.has(by));
            judged.summaries.retain(|(by, _)| still_waits(by));
            self.bytes += judged.bytes();
        }
        self.forget();
    }

    /// What the window says of each key that has a record in it: `(n_keys)`, by key.
    fn summaries(&self, start: Timestamp, end: Timestamp) -> Vec<(Box<str>, WindowSummary)> {
        let mut runs: Vec<&[Waiting]> = self.panes.range(start..end).map(|(_, pane)| pane.records()).collect();
        let (mut summaries, mut values) = (Vec::new(), Vec::new());
        while let Some(by) = runs.iter().filter_map(|run| run.first()).map(|first| &first.by).min() {
            values.clear();
            for run in &mut runs {
                let n = run.iter().take_while(|waiting| waiting.by == *by).count();
                values.extend(run[..n].iter().map(|waiting| waiting.value));
                *run = &run[n..];
            }
            summaries.push((by.clone(), WindowSummary::of(&mut values, self.spec.is_robust)));
        }
        summaries
    }

    /// The verdicts on a pane's records: each by the window that says the most, the first of those that say as much. Each goes
    /// with whose offset it names.
    fn emit(&self, start: Timestamp, pane: &Pane, early: bool, emit: &mut impl FnMut(CameFrom, WindowVerdict)) {
        let ends = start.saturating_add(self.spec.slide)..=start.saturating_add(self.spec.window);
        let windows: Vec<&JudgedWindow> = self.judged.range(ends).map(|(_, judged)| judged).collect();
        for of_key in pane.records().chunk_by(|a, b| a.by == b.by) {
            let of = |judged: &&JudgedWindow| judged.of(&of_key[0].by);
            let summaries: Vec<WindowSummary> = windows.iter().filter_map(of).collect();
            for waiting in of_key {
                let score = |window: &WindowSummary| {
                    if window.count < self.spec.min_count { 0.0 } else { window.score(waiting.value) }
                };
                let scored = summaries.iter().map(|window| (score(window), *window));
                let best = scored.reduce(|best, next| if next.0 > best.0 { next } else { best });
                if let Some((score, window)) = best {
                    let summary = waiting.summary(early);
                    let (value, truth, offset) = (waiting.value, waiting.truth.clone(), waiting.offset);
                    // Its detector and partition are added by those who know them.
                    let (detector, partition) = (0, 0);
                    let verdict = WindowVerdict { detector, summary, truth, value, score, window, partition, offset };
                    emit(waiting.came_from, verdict);
                }
            }
        }
    }

    /// Forgets the windows of which no pane is left.
    fn forget(&mut self) {
        let oldest = self.panes.keys().next().copied().unwrap_or(Timestamp::MAX);
        while let Some(entry) = self.judged.first_entry().filter(|entry| *entry.key() <= oldest) {
            let (end, judged) = entry.remove_entry();
            self.bytes -= judged.bytes();
            self.gone.extend(judged.persisted_keys(end));
        }
    }
}

impl JudgedWindow {
    fn bytes(&self) -> usize {
        self.summaries.iter().map(|(by, _)| summary_bytes(by)).sum()
    }

    fn of(&self, by: &str) -> Option<WindowSummary> {
        let found = self.summaries.binary_search_by(|(key, _)| (**key).cmp(by)).ok()?;
        Some(self.summaries[found].1)
    }
}
