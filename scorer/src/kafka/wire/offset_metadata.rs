//! What stands beside a committed offset: exactly once a [`Tag`], at least once a [`Resume`].

use serde::{Deserialize, Serialize};
use shared::time::Timestamp;

use crate::core::{Head, Resume};

/// What stands beside a committed offset: which change of the state it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tag {
    v: u32,
    /// When the state began.
    pub birth: i64,
    /// The number of its last change.
    pub sequence: u64,
}

impl Tag {
    const VERSION: u32 = 2;

    pub(crate) fn of(head: &Head) -> Self {
        Self { v: Self::VERSION, birth: head.birth, sequence: head.sequence }
    }

    pub(crate) fn encode(self) -> String {
        serde_json::to_string(&self).expect("numbers are plain data")
    }

    pub(crate) fn decode(metadata: &str) -> Option<Self> {
        serde_json::from_str(metadata).ok().filter(|tag: &Self| tag.v == Self::VERSION)
    }
}

/// What a [`Resume`] looks like beside a committed offset.
#[derive(Debug, Serialize, Deserialize)]
struct Metadata {
    v: u32,
    offset: i64,
    to: i64,
    closed: Timestamp,
    windows: Timestamp,
}

pub(crate) fn encode_resume(resume: &Resume) -> String {
    let Resume { offset, published_to, closed_through, windows_through } = *resume;
    let metadata = Metadata { v: 1, offset, to: published_to, closed: closed_through, windows: windows_through };
    serde_json::to_string(&metadata).expect("numbers are plain data")
}

/// `None` for offsets that somebody else committed, without a word of ours beside them.
pub(crate) fn decode_resume(metadata: &str) -> Option<Resume> {
    let Metadata { v, offset, to, closed, windows } = serde_json::from_str(metadata).ok()?;
    (v == 1).then_some(Resume { offset, published_to: to, closed_through: closed, windows_through: windows })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_committed_is_read_back() {
        let resume = Resume { offset: 5, published_to: 9, closed_through: -1, windows_through: Timestamp::MIN };
        assert_eq!(decode_resume(&encode_resume(&resume)), Some(resume));
        assert_eq!(decode_resume(""), None);
        assert_eq!(decode_resume("someone else's"), None);
    }
}
