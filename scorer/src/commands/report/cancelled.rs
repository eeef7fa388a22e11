//! Cancellations, as they were published window by window.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Deserialize;

/// Counts by the window that they are of. Windows may overlap, so counts of several are not added up.
#[derive(Debug, Default)]
pub(super) struct Cancelled {
    /// By its beginning: its end, and how many.
    windows: BTreeMap<String, (String, u64)>,
}

/// `docs/messages.md`.
#[derive(Deserialize)]
struct Count {
    window_start: String,
    window_end: String,
    cancellations: u64,
}

impl Cancelled {
    /// Takes a message in. One of a window that is there takes its place.
    pub(super) fn add(&mut self, payload: &[u8]) {
        if let Ok(Count { window_start, window_end, cancellations }) = serde_json::from_slice(payload) {
            self.windows.insert(window_start, (window_end, cancellations));
        }
    }

    /// How many windows there are.
    pub(super) fn len(&self) -> usize {
        self.windows.len()
    }

    /// The windows with the most, the newest first of those with as many: beginning, end, and how many. Those with none are
    /// left out.
    pub(super) fn most(&self, most: usize) -> Vec<(&str, &str, u64)> {
        let counted = self.windows.iter().filter(|(_, (_, count))| *count > 0);
        let mut counted: Vec<_> =
            counted.rev().map(|(start, (end, count))| (start.as_str(), end.as_str(), *count)).collect();
        counted.sort_by_key(|(_, _, count)| Reverse(*count));
        counted.truncate(most);
        counted
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn windows_are_counted_once_and_the_fullest_come_first() {
        let mut cancelled = Cancelled::default();
        for (start, count) in [("1", 2), ("2", 0), ("3", 5), ("4", 2), ("1", 2)] {
            let value = json!({ "pipeline": "p", "window_start": start, "window_end": "9", "cancellations": count });
            cancelled.add(value.to_string().as_bytes());
        }
        cancelled.add(b"no JSON");
        assert_eq!(cancelled.len(), 4);
        assert_eq!(cancelled.most(9), [("3", "9", 5), ("4", "9", 2), ("1", "9", 2)]);
        assert_eq!(cancelled.most(1).len(), 1);
    }
}
