//! Finding the column that fits best.

use super::names::{Hint, strength};
use super::profile::{Profile, shown_names};
use super::sample::Sample;
use super::{About, Doubt};

/// A finder of roles, in the order in which they are found: each leaves out what others took.
pub(super) struct Finder<'a> {
    pub sample: &'a Sample,
    pub columns: &'a [Profile],
    pub doubts: &'a mut Vec<Doubt>,
}

impl Finder<'_> {
    pub(super) fn doubt(&mut self, about: About, text: String) {
        self.doubts.push(Doubt::new(about, text));
    }

    pub(super) fn shown(&self, index: usize) -> String {
        shown_names(&self.columns[index].name, index)
    }

    pub(super) fn strength(&self, index: usize, hint: Hint) -> u32 {
        strength(&self.columns[index].name, hint)
    }

    /// The column with the largest rank, the first of those with the same.
    pub(super) fn best<R: Ord>(&self, rank: impl Fn(usize) -> Option<R>) -> Option<usize> {
        let ranked = (0..self.columns.len()).filter_map(|index| Some((rank(index)?, index)));
        ranked.max_by(|(a, first), (b, second)| a.cmp(b).then(second.cmp(first))).map(|(_, index)| index)
    }

    pub(super) fn texts(&self, index: usize) -> Vec<Option<&str>> {
        let is_there = |text: &&str| !crate::dialect::NULLS.iter().any(|null| null.eq_ignore_ascii_case(text));
        self.sample.column(index).map(|cell| cell.text().filter(is_there)).collect()
    }
}
