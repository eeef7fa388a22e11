//! Which entry of each key is the newest: what a write has to have seen.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use serde::Deserialize;

use super::{Entry, Write};

/// The newest entry of each key, in a few bytes: keys and requests by their hashes. Two keys of one hash, which nobody will
/// see, would refuse a write that could have been kept, and keep none that had to be refused.
#[derive(Debug, Default)]
pub struct Versions {
    hasher: RandomState,
    newest: HashMap<u64, Newest>,
}

#[derive(Debug, Clone, Copy)]
struct Newest {
    version: u64,
    request: Option<u64>,
    /// Whether it was taken back: then it is as if there had been none.
    is_gone: bool,
}

/// What a write comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Its writer saw the newest entry.
    New,
    /// It is the newest entry.
    Kept,
    /// There is a newer entry than its writer saw.
    Stale,
}

#[derive(Deserialize)]
struct Named {
    request: Option<String>,
}

impl Versions {
    /// Notes an entry.
    pub fn note(&mut self, entry: &Entry) {
        let named = entry.value.as_deref().and_then(|value| serde_json::from_slice::<Named>(value).ok());
        let request = named.and_then(|named| named.request).map(|request| self.hasher.hash_one(request));
        let newest = Newest { version: entry.version, request, is_gone: entry.value.is_none() };
        self.newest.insert(self.hasher.hash_one(&entry.key), newest);
    }

    /// What a write comes to now.
    pub fn check(&self, write: &Write) -> Check {
        let newest = self.newest.get(&self.hasher.hash_one(&write.key));
        if newest.is_some_and(|newest| newest.request == Some(self.hasher.hash_one(&write.request))) {
            return Check::Kept;
        }
        let version = newest.filter(|newest| !newest.is_gone).map(|newest| newest.version);
        if version == write.seen { Check::New } else { Check::Stale }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn write(seen: Option<u64>, request: &str) -> Write {
        Write { key: "k".into(), value: Vec::new(), seen, request: request.into(), answer: oneshot::channel().0 }
    }

    fn entry(version: u64, value: Option<&str>) -> Entry {
        Entry { key: "k".into(), value: value.map(|value| value.as_bytes().to_vec()), version }
    }

    #[test]
    fn a_write_has_to_have_seen_the_newest_entry_and_counts_once() {
        let mut versions = Versions::default();
        assert_eq!(versions.check(&write(None, "a")), Check::New);
        assert_eq!(versions.check(&write(Some(3), "a")), Check::Stale, "what was seen is not there");
        versions.note(&entry(3, Some(r#"{"request":"a"}"#)));
        assert_eq!(versions.check(&write(None, "a")), Check::Kept, "it comes again");
        assert_eq!(versions.check(&write(None, "b")), Check::Stale);
        assert_eq!(versions.check(&write(Some(3), "b")), Check::New);
        // Another tool names no request, and may write anything.
        versions.note(&entry(4, Some("{}")));
        assert_eq!(versions.check(&write(Some(3), "a")), Check::Stale);
        versions.note(&entry(5, None));
        assert_eq!(versions.check(&write(None, "c")), Check::New, "it was taken back");
        assert_eq!(versions.check(&write(Some(5), "c")), Check::Stale);
    }
}
