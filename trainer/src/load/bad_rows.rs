//! Rows that are not valid, counted by reason.

use std::collections::HashMap;

use shared::reason::Reason;

use super::RowLocation;

/// Rows with the same reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    /// How many there are.
    pub count: u64,
    /// The first of them.
    pub first: RowLocation,
}

/// Rows by reason. A row with several reasons counts once, for the first, so that the counts add up.
#[derive(Debug, Clone, Default)]
pub struct BadRows {
    by_reason: HashMap<Reason, BadRow>,
}

impl BadRows {
    /// Counts a row with these reasons.
    pub(super) fn add(&mut self, reasons: Vec<Reason>, location: impl FnOnce() -> RowLocation) {
        let Some(reason) = reasons.into_iter().next() else { return };
        self.by_reason.entry(reason).or_insert_with(|| BadRow { count: 0, first: location() }).count += 1;
    }

    /// Adds those of a later file.
    pub(super) fn add_all(&mut self, others: &Self) {
        for (reason, bad) in &others.by_reason {
            match self.by_reason.get_mut(reason) {
                Some(known) => known.count += bad.count,
                None => {
                    self.by_reason.insert(reason.clone(), bad.clone());
                }
            }
        }
    }

    /// How many rows there are.
    pub fn total(&self) -> u64 {
        self.by_reason.values().map(|bad| bad.count).sum()
    }

    /// Reasons with their rows, the most frequent first.
    pub fn by_frequency(&self) -> Vec<(&Reason, &BadRow)> {
        let mut pairs: Vec<_> = self.by_reason.iter().collect();
        pairs.sort_by(|a, b| b.1.count.cmp(&a.1.count).then(a.0.cmp(b.0)));
        pairs
    }

    /// The most frequent reason.
    pub fn most_frequent(&self) -> Option<(&Reason, &BadRow)> {
        self.by_frequency().into_iter().next()
    }
}
