//! Keys that are remembered for a while, as the scorer remembers them: a record that has one of them is a copy.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use shared::time::{Millis, Timestamp};

/// Keys, each until a time.
#[derive(Debug, Default)]
pub(super) struct RecentKeys {
    keys: HashSet<Arc<str>>,
    /// In the order of their times.
    until: VecDeque<(Timestamp, Arc<str>)>,
    text_bytes: usize,
}

impl RecentKeys {
    /// Whether a record at `now`, which is not before that of any other, is the first with its key for so long; its key is
    /// remembered then.
    pub(super) fn is_new(&mut self, key: &str, now: Timestamp, remember: Millis) -> bool {
        while self.until.front().is_some_and(|(until, _)| *until <= now) {
            let Some((_, old)) = self.until.pop_front() else { break };
            self.text_bytes -= old.len();
            self.keys.remove(&old);
        }
        if self.keys.contains(key) {
            return false;
        }
        let key: Arc<str> = key.into();
        self.text_bytes += key.len();
        self.keys.insert(Arc::clone(&key));
        self.until.push_back((now.saturating_add(remember), key));
        true
    }

    /// Bytes of memory that they take, about.
    pub(super) fn memory(&self) -> usize {
        // A text has its counts, and stands in a set that has room to grow.
        self.text_bytes + self.until.len() * (size_of::<(Timestamp, Arc<str>)>() + 4 * size_of::<Arc<str>>())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// By its definition: there is no record with the key that was new and whose time is not over.
        #[test]
        fn a_key_is_new_where_none_is_remembered(
            records in prop::collection::vec(("[ab]", 0..5i64), 0..60), remember in 1..12i64,
        ) {
            let (mut recent, mut taken, mut now) = (RecentKeys::default(), Vec::<(String, i64)>::new(), 0);
            for (key, passed) in records {
                now += passed;
                let is_new = !taken.iter().any(|(known, time)| *known == key && now < time + remember);
                prop_assert_eq!(recent.is_new(&key, now, remember), is_new);
                if is_new { taken.push((key, now)) }
            }
            prop_assert_eq!(recent.keys.len(), recent.until.len());
        }
    }
}
