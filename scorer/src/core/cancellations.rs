//! Cancellations of the last minutes: distinct cancelled keys by the time of their first line, counted over a sliding
//! window.
//!
//! Each partition keeps panes, one a slide; one publisher adds them up, so that the number is one for all partitions.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use shared::pipeline::{Cancellations, Pipeline};
use shared::time::{Millis, Timestamp};

use super::Output;

/// A published count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CancellationCount {
    /// The window's first moment.
    pub window_start: Timestamp,
    /// The moment after its last.
    pub window_end: Timestamp,
    /// Distinct cancelled keys whose first line lies in it.
    pub cancellations: u64,
}

/// The cancelled keys of one partition.
#[derive(Debug)]
pub(super) struct Cancelled {
    slide: Millis,
    /// How long a key is known, so that its further lines are not counted again.
    remember: Millis,
    seen: HashSet<Arc<str>>,
    order: VecDeque<(Timestamp, Arc<str>)>,
    /// Keys by the start of the pane their first line lies in.
    panes: BTreeMap<Timestamp, u64>,
}

impl Cancelled {
    pub(super) fn new(pipeline: &Pipeline) -> Self {
        let settings = pipeline.cancellations.as_ref();
        Self {
            slide: settings.map_or(1, |settings| settings.slide),
            remember: settings.map_or(0, |settings| settings.window.max(pipeline.entity.remember)),
            seen: HashSet::new(),
            order: VecDeque::new(),
            panes: BTreeMap::new(),
        }
    }

    /// Notes a cancelled key at the time of its line; whether it is new.
    pub(super) fn add(&mut self, key: Arc<str>, now: Timestamp) -> bool {
        while self.order.front().is_some_and(|(first, _)| first.saturating_add(self.remember) <= now) {
            if let Some((_, key)) = self.order.pop_front() {
                self.seen.remove(&key);
            }
        }
        let new = self.seen.insert(key.clone());
        if new {
            self.order.push_back((now, key));
            *self.panes.entry(floor(now, self.slide)).or_default() += 1;
        }
        new
    }

    fn count(&self, from: Timestamp, to: Timestamp) -> u64 {
        self.panes.range(from..to).map(|(_, count)| count).sum()
    }

    fn forget_before(&mut self, start: Timestamp) {
        self.panes = self.panes.split_off(&start);
    }

    fn first_pane(&self) -> Option<Timestamp> {
        self.panes.keys().next().copied()
    }
}

/// Publishes the count of each window once the common clock has passed its end.
#[derive(Debug)]
pub(super) struct Publisher {
    window: Millis,
    slide: Millis,
    /// The end of the last window that was dealt with.
    through: Option<Timestamp>,
    last_count: u64,
}

impl Publisher {
    pub(super) fn new(settings: &Cancellations) -> Self {
        Self { window: settings.window, slide: settings.slide, through: None, last_count: 0 }
    }

    pub(super) fn published_through(&self) -> Timestamp {
        self.through.unwrap_or(Timestamp::MIN)
    }

    /// Goes on after windows that an earlier owner published.
    pub(super) fn resume(&mut self, through: Timestamp) {
        if through > Timestamp::MIN {
            self.through = self.through.max(Some(through));
        }
    }

    /// Publishes every window that ends by `clock`. A zero that follows a zero is not repeated.
    pub(super) fn advance<'a>(
        &mut self,
        clock: Timestamp,
        partitions: impl Iterator<Item = &'a mut Cancelled>,
        out: &mut Vec<Output>,
    ) {
        let last_end = floor(clock, self.slide);
        if self.through.is_some_and(|through| last_end <= through) {
            return;
        }
        let mut partitions: Vec<&mut Cancelled> = partitions.collect();
        // The first windows are those that the first cancellation is in: before it there were zeros.
        while let Some(end) = self.next_end(&partitions, last_end) {
            let start = end - self.window;
            let cancellations = partitions.iter().map(|partition| partition.count(start, end)).sum();
            if cancellations > 0 || self.last_count > 0 {
                out.push(Output::Cancellations(CancellationCount {
                    window_start: start,
                    window_end: end,
                    cancellations,
                }));
            }
            self.last_count = cancellations;
            self.through = Some(end);
            // The next window begins one slide later.
            partitions.iter_mut().for_each(|partition| partition.forget_before(start + self.slide));
        }
        self.through = Some(last_end);
    }

    /// Publishes on until a zero, as if time went on: for when no record will ever come.
    pub(super) fn finish<'a>(&mut self, partitions: impl Iterator<Item = &'a mut Cancelled>, out: &mut Vec<Output>) {
        let partitions: Vec<&mut Cancelled> = partitions.collect();
        let last_pane = partitions.iter().filter_map(|partition| partition.panes.keys().next_back()).max().copied();
        if let Some(pane) = last_pane {
            self.advance(pane + self.slide + self.window, partitions.into_iter(), out);
        }
    }

    /// The end of the next window to deal with: the next one while counts go on, else the first that has a pane.
    fn next_end(&self, partitions: &[&mut Cancelled], last_end: Timestamp) -> Option<Timestamp> {
        let first_pane = partitions.iter().filter_map(|partition| partition.first_pane()).min();
        let end = match (self.through, first_pane) {
            (Some(through), _) if self.last_count > 0 => through + self.slide,
            (Some(through), Some(pane)) => (pane + self.slide).max(through + self.slide),
            (None, Some(pane)) => pane + self.slide,
            (_, None) => return None,
        };
        (end <= last_end).then_some(end)
    }
}

fn floor(timestamp: Timestamp, step: Millis) -> Timestamp {
    timestamp - timestamp.rem_euclid(step)
}
