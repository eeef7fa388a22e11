//! What a key's records add up to, pane by pane: bounded, however many records there were.
//!
//! Time is cut into panes, short ones for short windows and long ones for long windows. A pane that no short window
//! can reach any more is merged into the longer one around it, and goes when the longest window has passed it. A window
//! of span W consists of the whole panes that began after the moment it looks back to: it covers between W less one
//! pane, and W. (Panes after Li et al., "No pane, no gain", SIGMOD Record 2005.)

use std::cmp::Reverse;

use records::time::{Millis, Timestamp};

use super::{make_room, room_bytes, shrink};

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
    /// What is kept of each number column.
    keeps: Vec<Keeps>,
}

/// What is kept of the values of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// Their sum, where nothing else is asked for: a quarter of everything.
    Sum,
    /// All of [`Stats`].
    All,
}

impl Keeps {
    /// How many numbers that are.
    pub const fn width(self) -> usize {
        match self {
            Self::Sum => 1,
            Self::All => 4,
        }
    }

    /// The numbers that are kept of `stats`.
    fn numbers(self, stats: &Stats) -> impl ExactSizeIterator<Item = f64> + use<> {
        [stats.sum, stats.squares, stats.min, stats.max].into_iter().take(self.width())
    }

    /// What is known by the numbers that are kept.
    fn stats(self, numbers: &[f64]) -> Stats {
        match self {
            Self::Sum => Stats { sum: numbers[0], ..Stats::EMPTY },
            Self::All => Stats { sum: numbers[0], squares: numbers[1], min: numbers[2], max: numbers[3] },
        }
    }

    /// Adds what these numbers keep of `from_count` values to what `count` values add up to. Of a sum nothing else is asked for,
    /// so the divisions that a spread takes are left out.
    fn add(self, into: &mut Stats, count: u64, from: &[f64], from_count: u64) {
        match self {
            Self::Sum if count == 0 => into.sum = from[0],
            Self::Sum if from_count == 0 => {}
            Self::Sum => into.sum += from[0],
            Self::All => into.merge(count, &self.stats(from), from_count),
        }
    }
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
    /// For windows of these spans, each at least [`SHORTEST_WINDOW`], over columns of which this is kept.
    pub fn new(mut windows: Vec<Millis>, keeps: Vec<Keeps>) -> Self {
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
        Self { windows, level_of, levels, keeps }
    }

    /// What is kept of each number column: `(n_columns)`.
    pub fn keeps(&self) -> &[Keeps] {
        &self.keeps
    }

    /// How many numbers are kept of a pane.
    fn width(&self) -> usize {
        self.keeps.iter().map(|keeps| keeps.width()).sum()
    }

    /// Adds what one pane holds to what another one holds.
    fn merge(&self, into: &mut [f64], count: u64, from: &[f64], from_count: u64) {
        let mut at = 0;
        for keeps in &self.keeps {
            let range = at..at + keeps.width();
            let mut stats = keeps.stats(&into[range.clone()]);
            keeps.add(&mut stats, count, &from[range.clone()], from_count);
            into[range].iter_mut().zip(keeps.numbers(&stats)).for_each(|(into, number)| *into = number);
            at += keeps.width();
        }
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

    /// As many windows as `layout` has, of no record, in the room of those that were there before.
    pub fn clear(layout: &Layout, windows: &mut Vec<Self>) {
        let n_columns = layout.keeps.len();
        windows.resize_with(layout.windows.len(), || Self::empty(n_columns));
        for window in windows {
            window.count = 0;
            window.of.fill(Stats::EMPTY);
        }
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

/// A pane in sixteen bytes: there may be a billion.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Pane {
    start: Timestamp,
    /// From the lowest bit: whether it has been written down, whether that is out of date, the level (8 bits), the count.
    packed: u64,
}

const IS_WRITTEN: u64 = 1;
const HAS_CHANGED: u64 = 2;
const LEVEL_SHIFT: u32 = 2;
const COUNT_SHIFT: u32 = 10;

/// The largest count that a pane can tell from larger ones.
const MOST: u64 = u64::MAX >> COUNT_SHIFT;

impl Pane {
    fn new(id: PaneId, count: u64, is_written: bool, has_changed: bool) -> Self {
        let flags = (u64::from(is_written) * IS_WRITTEN) | (u64::from(has_changed) * HAS_CHANGED);
        let packed = (count.min(MOST) << COUNT_SHIFT) | (u64::from(id.level) << LEVEL_SHIFT) | flags;
        Self { start: id.start, packed }
    }

    fn id(self) -> PaneId {
        PaneId { level: (self.packed >> LEVEL_SHIFT) as u8, start: self.start }
    }

    fn count(self) -> u64 {
        self.packed >> COUNT_SHIFT
    }

    fn is_written(self) -> bool {
        self.packed & IS_WRITTEN != 0
    }

    fn has_changed(self) -> bool {
        self.packed & HAS_CHANGED != 0
    }

    /// Counts more records, which nobody has written down yet.
    fn add(&mut self, count: u64) {
        *self = Self::new(self.id(), self.count().saturating_add(count), self.is_written(), true);
    }

    /// Notes that it has been written down as it is.
    fn set_written(&mut self) {
        self.packed = (self.packed | IS_WRITTEN) & !HAS_CHANGED;
    }
}

/// The panes of one key, oldest first.
#[derive(Debug, Clone)]
pub struct Panes {
    panes: Vec<Pane>,
    numbers: Vec<f64>, // (n_panes, width)
    /// Written down and gone since.
    gone: Vec<PaneId>,
    /// The first horizon at which a pane is to be merged or dropped.
    due: Timestamp,
}

impl Default for Panes {
    fn default() -> Self {
        Self { panes: Vec::new(), numbers: Vec::new(), gone: Vec::new(), due: Timestamp::MAX }
    }
}

impl PartialEq for Panes {
    /// Whether they hold the same; what has been written down does not matter.
    fn eq(&self, other: &Self) -> bool {
        let same = |(a, b): (&Pane, &Pane)| (a.id(), a.count()) == (b.id(), b.count());
        self.panes.len() == other.panes.len()
            && self.panes.iter().zip(&other.panes).all(same)
            && self.numbers == other.numbers
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
        room_bytes::<Pane>(self.panes.len()) + room_bytes::<f64>(self.numbers.len())
    }

    /// Merges and drops panes that no record from `horizon` on needs as they are.
    pub fn settle(&mut self, layout: &Layout, horizon: Timestamp) {
        if horizon < self.due {
            return;
        }
        let width = layout.width();
        self.due = Timestamp::MAX;
        let mut kept = 0;
        for index in 0..self.panes.len() {
            let pane = self.panes[index];
            let id = layout.settled(pane.id(), horizon);
            if id != Some(pane.id()) && pane.is_written() {
                self.gone.push(pane.id());
            }
            let Some(id) = id else { continue };
            self.due = self.due.min(layout.due(id));
            // Most stay as they are and where they are.
            if id == pane.id() && kept == index && (kept == 0 || self.panes[kept - 1].id() != id) {
                kept += 1;
                continue;
            }
            if kept > 0 && self.panes[kept - 1].id() == id {
                let into = &mut self.panes[kept - 1];
                let (earlier, later) = self.numbers.split_at_mut(index * width);
                layout.merge(&mut earlier[(kept - 1) * width..], into.count(), later, pane.count());
                into.add(pane.count());
                continue;
            }
            let is_new = id != pane.id();
            self.panes[kept] = Pane::new(id, pane.count(), pane.is_written() && !is_new, pane.has_changed() || is_new);
            self.numbers.copy_within(index * width..(index + 1) * width, kept * width);
            kept += 1;
        }
        self.panes.truncate(kept);
        self.numbers.truncate(kept * width);
        shrink(&mut self.panes);
        shrink(&mut self.numbers);
    }

    /// Adds a record at `time` with these values, one a column; no later record is before `horizon`. One that no window
    /// reaches any more is passed over.
    pub fn add(&mut self, layout: &Layout, time: Timestamp, horizon: Timestamp, values: &[f64]) {
        self.settle(layout, horizon);
        let Some(shortest) = layout.levels.first() else { return };
        let of_time = PaneId { level: 0, start: floor(time, shortest.length) };
        let Some(id) = layout.settled(of_time, horizon) else { return };
        let place = self.place_after(id);
        if place > 0 && self.panes[place - 1].id() == id {
            let pane = &mut self.panes[place - 1];
            let mut at = (place - 1) * layout.width();
            for (keeps, value) in layout.keeps.iter().zip(values) {
                let numbers = &mut self.numbers[at..at + keeps.width()];
                let mut stats = keeps.stats(numbers);
                keeps.add(&mut stats, pane.count(), &[*value, 0.0, *value, *value], 1);
                numbers.iter_mut().zip(keeps.numbers(&stats)).for_each(|(into, number)| *into = number);
                at += keeps.width();
            }
            pane.add(1);
            return;
        }
        self.insert(layout, place, Pane::new(id, 1, false, true), values.iter().map(|value| Stats::of(*value)));
    }

    /// Where a pane would stand behind those that are not after it.
    fn place_after(&self, id: PaneId) -> usize {
        self.panes.partition_point(|pane| pane.id().order() <= id.order())
    }

    fn insert(&mut self, layout: &Layout, place: usize, pane: Pane, stats: impl Iterator<Item = Stats>) {
        self.due = self.due.min(layout.due(pane.id()));
        make_room(&mut self.panes, 1);
        self.panes.insert(place, pane);
        let width = layout.width();
        make_room(&mut self.numbers, width);
        let mut at = place * width;
        for (keeps, stats) in layout.keeps.iter().zip(stats) {
            for number in keeps.numbers(&stats) {
                self.numbers.insert(at, number);
                at += 1;
            }
        }
    }

    /// What each window holds for a record at `time`, without it: `(n_windows)`, in the order of the layout.
    pub fn windows(&self, layout: &Layout, time: Timestamp, out: &mut Vec<WindowStats>) {
        WindowStats::clear(layout, out);
        let width = layout.width();
        let mut left = self.panes.partition_point(|pane| pane.start <= time);
        for window in 0..out.len() {
            // Each window goes on from the one that is shorter.
            let (shorter, longer) = out.split_at_mut(window);
            let sums = &mut longer[0];
            if let Some(shorter) = shorter.last() {
                sums.count = shorter.count;
                sums.of.copy_from_slice(&shorter.of);
            }
            let boundary = layout.boundary(window, time);
            while left > 0 && self.panes[left - 1].start >= boundary {
                left -= 1;
                let count = self.panes[left].count();
                let mut rest = &self.numbers[left * width..(left + 1) * width];
                for (keeps, sums_of) in layout.keeps.iter().zip(&mut sums.of) {
                    let (own, after) = rest.split_at(keeps.width());
                    rest = after;
                    keeps.add(sums_of, sums.count, own, count);
                }
                sums.count += count;
            }
        }
    }

    /// Panes that were written down and are gone, since the last time.
    pub fn take_gone(&mut self) -> Vec<PaneId> {
        std::mem::take(&mut self.gone)
    }

    /// Panes that were written down and are still there.
    pub fn written(&self) -> impl Iterator<Item = PaneId> + '_ {
        self.panes.iter().filter(|pane| pane.is_written()).map(|pane| pane.id())
    }

    /// The last pane, if it is not written down by itself, with the numbers that are kept of it: `(width)`. It is what nearly
    /// every record changes, so it is written with what else is said of the key.
    pub fn newest(&self, layout: &Layout) -> Option<(PaneId, u64, &[f64])> {
        let pane = self.panes.last().filter(|pane| !pane.is_written())?;
        Some((pane.id(), pane.count(), &self.numbers[self.numbers.len() - layout.width()..]))
    }

    /// Visits the panes that are to be written down by themselves, each with the numbers that are kept of it, `(width)`: those
    /// that changed since the last time, and the one that is not the [newest](Self::newest) any more.
    pub fn take_changed(&mut self, layout: &Layout, mut visit: impl FnMut(PaneId, u64, &[f64])) {
        let (width, last) = (layout.width(), self.panes.len().saturating_sub(1));
        for (index, pane) in self.panes.iter_mut().enumerate() {
            let is_newest = index == last && !pane.is_written();
            if !is_newest && (pane.has_changed() || !pane.is_written()) {
                pane.set_written();
                visit(pane.id(), pane.count(), &self.numbers[index * width..][..width]);
            }
        }
    }

    /// Every pane but the [newest](Self::newest), oldest first, with the numbers that are kept of it: `(width)`.
    pub fn iter(&self, layout: &Layout) -> impl Iterator<Item = (PaneId, u64, &[f64])> {
        let width = layout.width();
        let numbers = move |index: usize| &self.numbers[index * width..][..width];
        let count = self.panes.len() - usize::from(self.newest(layout).is_some());
        self.panes[..count].iter().enumerate().map(move |(index, pane)| (pane.id(), pane.count(), numbers(index)))
    }

    /// Takes a pane that was written down, in the place of an earlier version of it; `false` when it is not of `layout`.
    pub fn restore(&mut self, layout: &Layout, id: PaneId, count: u64, stats: Vec<Stats>) -> bool {
        self.take_in(layout, Pane::new(id, count, true, false), stats)
    }

    /// Takes the pane that was written down as the newest, or that there is none, in the place of what was before; `false`
    /// when it is not of `layout`.
    pub fn restore_newest(&mut self, layout: &Layout, newest: Option<(PaneId, u64, Vec<Stats>)>) -> bool {
        if let Some(place) = self.panes.iter().rposition(|pane| !pane.is_written()) {
            self.take_out(layout, place);
        }
        newest.is_none_or(|(id, count, stats)| self.take_in(layout, Pane::new(id, count, false, false), stats))
    }

    fn take_in(&mut self, layout: &Layout, pane: Pane, stats: Vec<Stats>) -> bool {
        let id = pane.id();
        if usize::from(id.level) >= layout.levels.len() || stats.len() != layout.keeps.len() {
            return false;
        }
        if let Some(place) = self.place_of(id) {
            self.take_out(layout, place);
        }
        self.insert(layout, self.place_after(id), pane, stats.into_iter());
        true
    }

    /// Takes out a pane that was deleted where it was written down.
    pub fn remove(&mut self, layout: &Layout, id: PaneId) {
        if let Some(place) = self.place_of(id).filter(|place| self.panes[*place].is_written()) {
            self.take_out(layout, place);
        }
    }

    fn place_of(&self, id: PaneId) -> Option<usize> {
        self.place_after(id).checked_sub(1).filter(|place| self.panes[*place].id() == id)
    }

    fn take_out(&mut self, layout: &Layout, place: usize) {
        self.panes.remove(place);
        let width = layout.width();
        self.numbers.drain(place * width..(place + 1) * width);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.panes.is_empty()
    }
}
