//! What stands beside a committed offset: exactly once a [`StateTag`], at least once a [`Resume`].

use serde::{Deserialize, Serialize};
use shared::time::Timestamp;

use crate::core::{Head, Resume};

/// Which commit of the state an offset belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StateTag {
    v: u32,
    /// When this incarnation of the state began.
    #[serde(rename = "birth")]
    pub incarnation: i64,
    /// The number of the commit.
    #[serde(rename = "sequence")]
    pub commit_number: u64,
}

impl StateTag {
    const VERSION: u32 = 2;

    pub(crate) fn of(head: &Head) -> Self {
        Self { v: Self::VERSION, incarnation: head.birth, commit_number: head.sequence }
    }

    pub(crate) fn encode(self) -> String {
        serde_json::to_string(&self).expect("numbers are plain data")
    }

    /// `None` where something else stands beside the offset.
    pub(crate) fn decode(metadata: &str) -> Option<Self> {
        serde_json::from_str(metadata).ok().filter(|tag: &Self| tag.v == Self::VERSION)
    }
}

/// What a [`Resume`] looks like beside a committed offset.
#[derive(Debug, Serialize, Deserialize)]
struct ResumeMetadata {
    v: u32,
    offset: i64,
    to: i64,
    closed: Timestamp,
    windows: Timestamp,
}

pub(crate) fn encode_resume(resume: &Resume) -> String {
    let Resume { offset, published_to, closed_through, windows_through } = *resume;
    let metadata = ResumeMetadata { v: 1, offset, to: published_to, closed: closed_through, windows: windows_through };
    serde_json::to_string(&metadata).expect("numbers are plain data")
}

/// `None` where something else stands beside the offset.
pub(crate) fn decode_resume(metadata: &str) -> Option<Resume> {
    let ResumeMetadata { v, offset, to, closed, windows } = serde_json::from_str(metadata).ok()?;
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

    /// Groups that run have such tags beside their offsets.
    #[test]
    fn the_text_of_a_tag_stays_as_it_is() {
        let tag = StateTag { v: StateTag::VERSION, incarnation: 1_700_000_000_000, commit_number: 42 };
        insta::assert_snapshot!(tag.encode(), @r#"{"v":2,"birth":1700000000000,"sequence":42}"#);
        assert_eq!(StateTag::decode(&tag.encode()), Some(tag));
        assert_eq!(StateTag::decode(r#"{"v":1,"birth":0,"sequence":0}"#), None);
    }
}
