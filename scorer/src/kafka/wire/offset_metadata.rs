//! What stands beside a committed offset: whose it is, and exactly once a [`StateTag`], at least once a [`Resume`].

use serde::{Deserialize, Serialize};
use shared::time::Timestamp;

use crate::core::{Head, Resume};

/// Whose offset it is. Offsets of earlier builds do not say.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct OffsetOwner {
    /// The name of the pipeline that read up to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// The id of the topic that it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
}

impl OffsetOwner {
    /// Alone, as beside the offsets of a repartitioner.
    pub(crate) fn encode(&self) -> String {
        serde_json::to_string(self).expect("text is plain data")
    }

    /// Whoever it is, as far as what stands beside the offset says it.
    pub(crate) fn decode(metadata: &str) -> Self {
        serde_json::from_str(metadata).unwrap_or_default()
    }
}

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

/// A [`StateTag`] and whose it is.
#[derive(Debug, Serialize)]
struct OwnedTag<'a> {
    #[serde(flatten)]
    tag: StateTag,
    #[serde(flatten)]
    owner: &'a OffsetOwner,
}

impl StateTag {
    const VERSION: u32 = 2;

    pub(crate) fn of(head: &Head) -> Self {
        Self::new(head.birth, head.sequence)
    }

    pub(crate) fn new(incarnation: i64, commit_number: u64) -> Self {
        Self { v: Self::VERSION, incarnation, commit_number }
    }

    pub(crate) fn encode(self, owner: &OffsetOwner) -> String {
        serde_json::to_string(&OwnedTag { tag: self, owner }).expect("numbers and text are plain data")
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
    #[serde(flatten)]
    owner: OffsetOwner,
}

pub(crate) fn encode_resume(resume: &Resume, owner: &OffsetOwner) -> String {
    let Resume { offset, published_to, closed_through, windows_through } = *resume;
    let (closed, windows, owner) = (closed_through, windows_through, owner.clone());
    let metadata = ResumeMetadata { v: 1, offset, to: published_to, closed, windows, owner };
    serde_json::to_string(&metadata).expect("numbers and text are plain data")
}

/// `None` where something else stands beside the offset.
pub(crate) fn decode_resume(metadata: &str) -> Option<Resume> {
    let ResumeMetadata { v, offset, to, closed, windows, .. } = serde_json::from_str(metadata).ok()?;
    (v == 1).then_some(Resume { offset, published_to: to, closed_through: closed, windows_through: windows })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> OffsetOwner {
        OffsetOwner { pipeline: Some("invoices".to_owned()), topic_id: Some("sdPbIbuUQzifcPvzoZXz1w".to_owned()) }
    }

    #[test]
    fn what_is_committed_is_read_back() {
        let resume = Resume { offset: 5, published_to: 9, closed_through: -1, windows_through: Timestamp::MIN };
        let metadata = encode_resume(&resume, &owner());
        assert_eq!((decode_resume(&metadata), OffsetOwner::decode(&metadata)), (Some(resume), owner()));
        assert_eq!(OffsetOwner::decode(&owner().encode()), owner());
        for text in ["", "someone else's", "[1]", "7"] {
            assert_eq!((decode_resume(text), OffsetOwner::decode(text)), (None, OffsetOwner::default()));
        }
    }

    #[test]
    fn the_text_of_a_tag_stays_as_it_is() {
        let tag = StateTag { v: StateTag::VERSION, incarnation: 1_700_000_000_000, commit_number: 42 };
        let text = tag.encode(&owner());
        insta::assert_snapshot!(text, @r#"{"v":2,"birth":1700000000000,"sequence":42,"pipeline":"invoices","topic_id":"sdPbIbuUQzifcPvzoZXz1w"}"#);
        assert_eq!((StateTag::decode(&text), OffsetOwner::decode(&text)), (Some(tag), owner()));
        assert_eq!(StateTag::decode(r#"{"v":1,"birth":0,"sequence":0}"#), None);
    }

    /// Groups that run have such texts beside their offsets.
    #[test]
    fn what_an_earlier_build_committed_is_nobodys() {
        let tag = r#"{"v":2,"birth":1700000000000,"sequence":42}"#;
        assert!(StateTag::decode(tag).is_some_and(|tag| tag.commit_number == 42));
        let resume = r#"{"v":1,"offset":5,"to":9,"closed":-1,"windows":0}"#;
        assert!(decode_resume(resume).is_some_and(|resume| resume.published_to == 9));
        for text in [tag, resume] {
            assert_eq!(OffsetOwner::decode(text), OffsetOwner::default());
        }
    }
}
