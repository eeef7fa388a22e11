//! What a key's records add up to, pane by pane: bounded, however many records there were.
//!
//! Time is cut into panes, short ones for short windows and long ones for long windows. A pane that no short window
//! can reach any more is merged into the longer one around it, and goes when the longest window has passed it. A window
//! of span W consists of the whole panes that began after the moment it looks back to: it covers between W less one
//! pane, and W. (Panes after Li et al., "No pane, no gain", SIGMOD Record 2005.)

use std::cmp::Reverse;

use records::time::{Millis, Timestamp};

use super::room;

/// Lengths of panes, each a multiple of the one before, so that a merged pane lies in one longer pane.
const LENGTHS: [Millis; 11] =
    [1_000, 5_000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000, 3_600_000, 21_600_000, 86_400_000];

/// A window has at least this many panes.
const PANES_A_WINDOW: Millis = 12;

/// The panes that serve a set of windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Spans of the windows, ascending.
    windows: Vec<Millis>,
    /// For each window the level of the panes that bound it.
    level_of: Vec<usize>,
    /// Shortest first.
    levels: Vec<Level>,
    /// How many number columns are summed up.
    n_columns: usize,
}

/// Panes of one length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Level {
    length: Millis,
    /// The longest window that such panes bound.
    reach: Millis,
}

/// The shortest span that a window may have: twelve of the shortest panes.
pub const SHORTEST_WINDOW: Millis = LENGTHS[0] * PANES_A_WINDOW;

impl Layout {
    /// For windows of these spans, each at least [`SHORTEST_WINDOW`], over `n_columns` columns of numbers.
    pub fn new(mut windows: Vec<Millis>, n_columns: usize) -> Self {
        windows.sort_unstable();
        windows.dedup();
        let length = |window: Millis| {
            let fitting = LENGTHS.iter().rev().find(|length| **length * PANES_A_WINDOW <= window);
            fitting.copied().unwrap_or(LENGTHS[0])
        };
        let mut levels: Vec<Level> = Vec::new();
        let mut level_of = Vec::new();
        for &window in &windows {
            match levels.last_mut().filter(|level| level.length == length(window)) {
                Some(level) => level.reach = window,
                None => levels.push(Level { length: length(window), reach: window }),
            }
            level_of.push(levels.len() - 1);
        }
        Self { windows, level_of, levels, n_columns }
    }

    /// Spans of the windows, ascending.
    pub fn windows(&self) -> &[Millis] {
        &self.windows
    }

    /// The longest window; 0 where there is none.
    pub fn longest(&self) -> Millis {
        self.windows.last().copied().unwrap_or(0)
    }

    /// Where what is in pane `id` belongs when no record before `horizon` comes any more; `None` when no window reaches it.
    fn settled(&self, mut id: PaneId, horizon: Timestamp) -> Option<PaneId> {
        while self.due(id) <= horizon {
            let longer = self.levels.get(usize::from(id.level) + 1)?;
            id = PaneId { level: id.level + 1, start: floor(id.start, longer.length) };
        }
        Some(id)
    }

    /// The first horizon from which on no window that such panes bound reaches pane `id`.
    fn due(&self, id: PaneId) -> Timestamp {
        let level = self.levels[usize::from(id.level)];
        id.start.saturating_add(level.length).saturating_add(level.reach)
    }

    /// The start of the first pane of window `window` for a record at `time`.
    fn boundary(&self, window: usize, time: Timestamp) -> Timestamp {
        let length = self.levels[self.level_of[window]].length;
        floor(time.saturating_sub(self.windows[window]), length).saturating_add(length)
    }
}

fn floor(time: Timestamp, length: Millis) -> Timestamp {
    time.saturating_sub(time.rem_euclid(length))
}

/// What the values of one column add up to; how many they are is kept beside it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stats {
    /// Their sum.
    pub sum: f64,
    /// The sum of their squared differences to their mean.
    pub squares: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Stats {
    /// Of no value.
    pub const EMPTY: Self = Self { sum: 0.0, squares: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY };

    /// Of one value.
    pub fn of(value: f64) -> Self {
        Self { sum: value, squares: 0.0, min: value, max: value }
    }

    /// Adds what `other_count` other values add up to, to that of `count`.
    ///
    /// Squared differences are merged as in Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for
    /// computing sample variances", 1979: a sum of squares would lose the spread of large values.
    pub fn merge(&mut self, count: u64, other: &Self, other_count: u64) {
        if count == 0 || other_count == 0 {
            if count == 0 {
                *self = *other;
            }
            return;
        }
        let (mine, others) = (count as f64, other_count as f64);
        let apart = other.sum / others - self.sum / mine;
        self.squares += other.squares + apart * apart * (mine * others / (mine + others));
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }
}

/// A window as a record finds it.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowStats {
    /// How many records it holds.
    pub count: u64,
    /// What they add up to, one a column: `(n_columns)`.
    pub of: Vec<Stats>,
}

impl WindowStats {
    /// Of no record.
    pub fn empty(n_columns: usize) -> Self {
        Self { count: 0, of: vec![Stats::EMPTY; n_columns] }
    }

    /// With the same record once more.
    pub fn with(&self, column: usize, value: f64) -> (u64, Stats) {
        let mut stats = self.of[column];
        stats.merge(self.count, &Stats::of(value), 1);
        (self.count + 1, stats)
    }
}

/// Names a pane of a key: the place of its length in the layout, and where it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PaneId {
    /// Which of the layout's lengths.
    pub level: u8,
    /// Where it starts.
    pub start: Timestamp,
}

impl PaneId {
    /// Panes stand in this order: a long one before the short ones that begin with it.
    fn order(self) -> (Timestamp, Reverse<u8>) {
        (self.start, Reverse(self.level))
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Pane {
    id: PaneId,
    count: u64,
    /// Whether it has been written down, and whether that is out of date.
    is_written: bool,
    has_changed: bool,
}

/// The panes of one key, oldest first.
#[derive(Debug, Clone)]
pub struct Panes {
    panes: Vec<Pane>,
    stats: Vec<Stats>, // (n_panes, n_columns)
    /// Written down and gone since.
    gone: Vec<PaneId>,
    /// The first horizon at which a pane is to be merged or dropped.
    due: Timestamp,
}

impl Default for Panes {
    fn default() -> Self {
        Self { panes: Vec::new(), stats: Vec::new(), gone: Vec::new(), due: Timestamp::MAX }
    }
}

impl PartialEq for Panes {
    /// Whether they hold the same; what has been written down does not matter.
    fn eq(&self, other: &Self) -> bool {
        let same = |(a, b): (&Pane, &Pane)| (a.id, a.count) == (b.id, b.count);
        self.panes.len() == other.panes.len()
            && self.panes.iter().zip(&other.panes).all(same)
            && self.stats == other.stats
    }
}

impl Panes {
    /// How many panes there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.panes.len()
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        room(self.panes.len()) * size_of::<Pane>() + room(self.stats.len()) * size_of::<Stats>()
    }

    /// Merges and drops panes that no record from `horizon` on needs as they are.
    pub fn settle(&mut self, layout: &Layout, horizon: Timestamp) {
        if horizon < self.due {
            return;
        }
        let n_columns = layout.n_columns;
        self.due = Timestamp::MAX;
        let mut kept = 0;
        for index in 0..self.panes.len() {
            let pane = self.panes[index];
            let id = layout.settled(pane.id, horizon);
            if id != Some(pane.id) && pane.is_written {
                self.gone.push(pane.id);
            }
            let Some(id) = id else { continue };
            self.due = self.due.min(layout.due(id));
            if kept > 0 && self.panes[kept - 1].id == id {
                let into = &mut self.panes[kept - 1];
                let (earlier, later) = self.stats.split_at_mut(index * n_columns);
                for (into_of, from) in earlier[(kept - 1) * n_columns..].iter_mut().zip(&later[..n_columns]) {
                    into_of.merge(into.count, from, pane.count);
                }
                into.count += pane.count;
                into.has_changed = true;
                continue;
            }
            let is_new = id != pane.id;
            let (is_written, has_changed) = (pane.is_written && !is_new, pane.has_changed || is_new);
            self.panes[kept] = Pane { id, count: pane.count, is_written, has_changed };
            self.stats.copy_within(index * n_columns..(index + 1) * n_columns, kept * n_columns);
            kept += 1;
        }
        self.panes.truncate(kept);
        self.stats.truncate(kept * n_columns);
    }

    /// Adds a record at `time` with these values, one a column; no later record is before `horizon`. One that no window
    /// reaches any more is passed over.
    pub fn add(&mut self, layout: &Layout, time: Timestamp, horizon: Timestamp, values: &[f64]) {
        self.settle(layout, horizon);
        let Some(shortest) = layout.levels.first() else { return };
        let of_time = PaneId { level: 0, start: floor(time, shortest.length) };
        let Some(id) = layout.settled(of_time, horizon) else { return };
        let n_columns = layout.n_columns;
        let place = self.panes.partition_point(|pane| pane.id.order() <= id.order());
        if place > 0 && self.panes[place - 1].id == id {
            let pane = &mut self.panes[place - 1];
            let stats = &mut self.stats[(place - 1) * n_columns..][..n_columns];
            for (stats, value) in stats.iter_mut().zip(values) {
                stats.merge(pane.count, &Stats::of(*value), 1);
            }
            pane.count += 1;
            pane.has_changed = true;
            return;
        }
        self.due = self.due.min(layout.due(id));
        self.panes.insert(place, Pane { id, count: 1, is_written: false, has_changed: true });
        self.stats.splice(place * n_columns..place * n_columns, values.iter().map(|value| Stats::of(*value)));
    }

    /// What each window holds for a record at `time`, without it: `(n_windows)`, in the order of the layout.
    pub fn windows(&self, layout: &Layout, time: Timestamp, out: &mut Vec<WindowStats>) {
        let n_columns = layout.n_columns;
        out.resize_with(layout.windows.len(), || WindowStats::empty(n_columns));
        let mut sums = WindowStats::empty(n_columns);
        let mut left = self.panes.partition_point(|pane| pane.id.start <= time);
        for (window, out) in out.iter_mut().enumerate() {
            let boundary = layout.boundary(window, time);
            while left > 0 && self.panes[left - 1].id.start >= boundary {
                left -= 1;
                let count = self.panes[left].count;
                for (sums_of, stats) in sums.of.iter_mut().zip(&self.stats[left * n_columns..]) {
                    sums_of.merge(sums.count, stats, count);
                }
                sums.count += count;
            }
            out.count = sums.count;
            out.of.copy_from_slice(&sums.of);
        }
    }

    /// Panes that were written down and are gone, since the last time.
    pub fn take_gone(&mut self) -> Vec<PaneId> {
        std::mem::take(&mut self.gone)
    }

    /// Panes that were written down and are still there.
    pub fn written(&self) -> impl Iterator<Item = PaneId> + '_ {
        self.panes.iter().filter(|pane| pane.is_written).map(|pane| pane.id)
    }

    /// Visits the panes that changed since the last time.
    pub fn take_changed(&mut self, n_columns: usize, mut visit: impl FnMut(PaneId, u64, &[Stats])) {
        for (index, pane) in self.panes.iter_mut().enumerate().filter(|(_, pane)| pane.has_changed) {
            (pane.has_changed, pane.is_written) = (false, true);
            visit(pane.id, pane.count, &self.stats[index * n_columns..][..n_columns]);
        }
    }

    /// Every pane, oldest first.
    pub fn iter(&self, n_columns: usize) -> impl Iterator<Item = (PaneId, u64, &[Stats])> {
        let stats = move |index: usize| &self.stats[index * n_columns..][..n_columns];
        self.panes.iter().enumerate().map(move |(index, pane)| (pane.id, pane.count, stats(index)))
    }

    /// Puts panes that were written down in their places; `None` when two are the same, or one is not of `layout`.
    pub fn restore(layout: &Layout, mut written: Vec<(PaneId, u64, Vec<Stats>)>) -> Option<Self> {
        written.sort_unstable_by_key(|(id, ..)| id.order());
        let fits = |(id, _, stats): &(PaneId, u64, Vec<Stats>)| {
            usize::from(id.level) < layout.levels.len() && stats.len() == layout.n_columns
        };
        if !written.iter().all(fits) || written.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return None;
        }
        let mut panes = Self::default();
        for (id, count, stats) in written {
            panes.due = panes.due.min(layout.due(id));
            panes.panes.push(Pane { id, count, is_written: true, has_changed: false });
            panes.stats.extend(stats);
        }
        Some(panes)
    }
}
