//! The head of a partition's state: what the state belongs to, and how far it is.

use shared::codec::{Damaged, put_bytes, put_optional, put_signed, put_unsigned};
use shared::time::{Millis, Timestamp};

use super::record::{StateError, StateRecord, VERSION, versioned};
use crate::clock::WallMillis;

/// What a partition's state belongs to: state of one origin is never read for another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The topic whose partition it is of.
    pub topic: String,
    /// How many partitions that topic has.
    pub partitions: i32,
    /// What the state of an entity is made of.
    pub layout: String,
    /// What tells the topic from one that had the same name before, or has it later (KIP-516); `None` where the broker or
    /// the build that wrote the state did not know it.
    pub topic_id: Option<String>,
}

/// The head of a partition's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// What the state belongs to.
    pub origin: Origin,
    /// When this state began, by the driver's clock: tells a changelog from one that took its place.
    pub birth: i64,
    /// Counts the changes; committed beside the input's offset, so that the two can be told to belong together.
    pub sequence: u64,
    /// The first record of the input that is not in the state.
    pub next_offset: i64,
    pub(crate) watermark: Option<Timestamp>,
    /// Since when there was nothing to read, by the writer's clock: for earlier builds, which know no other.
    pub(crate) idle_since: Option<WallMillis>,
    /// How long there had been nothing to read; earlier builds did not say so.
    pub(crate) idle_for: Option<Millis>,
    pub(crate) closed_through: Timestamp,
    pub(crate) next_list: u64,
}

/// The tag of the idle time.
const IDLE_FOR: u8 = b'i';

/// The tag of the topic's id.
const TOPIC_ID: u8 = b't';

impl Head {
    /// The key of heads: after one, the state is whole.
    pub const KEY: &'static [u8] = b"h";

    pub(crate) fn record(&self) -> StateRecord {
        let mut out = vec![VERSION];
        put_signed(&mut out, self.birth);
        put_unsigned(&mut out, self.sequence);
        put_signed(&mut out, self.next_offset);
        put_optional(&mut out, self.watermark);
        put_optional(&mut out, self.idle_since);
        put_signed(&mut out, self.closed_through);
        put_unsigned(&mut out, self.next_list);
        put_bytes(&mut out, self.origin.topic.as_bytes());
        put_unsigned(&mut out, self.origin.partitions as u64);
        put_bytes(&mut out, self.origin.layout.as_bytes());
        // What came later stands at the end, each with its tag: a head of an earlier build is without it.
        if let Some(idle_for) = self.idle_for {
            out.push(IDLE_FOR);
            put_signed(&mut out, idle_for);
        }
        if let Some(id) = &self.origin.topic_id {
            out.push(TOPIC_ID);
            put_bytes(&mut out, id.as_bytes());
        }
        StateRecord { key: Self::KEY.to_vec(), value: Some(out) }
    }

    /// The head, when `key` is that of one.
    ///
    /// # Errors
    /// [`Damaged`] bytes.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Option<Self>, Damaged> {
        if key != Self::KEY {
            return Ok(None);
        }
        let mut reader = versioned(value)?;
        let (birth, sequence, next_offset) = (reader.signed()?, reader.unsigned()?, reader.signed()?);
        let (watermark, idle_since) = (reader.optional()?, reader.optional()?);
        let (closed_through, next_list) = (reader.signed()?, reader.unsigned()?);
        let topic = reader.text()?.to_owned();
        let partitions = i32::try_from(reader.unsigned()?).map_err(|_| Damaged)?;
        let origin = Origin { topic, partitions, layout: reader.text()?.to_owned(), topic_id: None };
        let mut head = Self {
            origin,
            birth,
            sequence,
            next_offset,
            watermark,
            idle_since,
            idle_for: None,
            closed_through,
            next_list,
        };
        while !reader.0.is_empty() {
            match reader.byte()? {
                IDLE_FOR => head.idle_for = Some(reader.signed()?),
                TOPIC_ID => head.origin.topic_id = Some(reader.text()?.to_owned()),
                _ => return Err(Damaged),
            }
        }
        Ok(Some(head))
    }
}

impl Head {
    /// Whether this is where a reset begins: nothing was read yet.
    pub(crate) fn is_blank(&self) -> bool {
        self.sequence == 1
            && self.next_list == 0
            && (self.watermark, self.idle_since, self.closed_through) == (None, None, Timestamp::MIN)
    }
}

impl Origin {
    /// Why state of this origin cannot be used for `wanted`.
    pub(crate) fn refusal(&self, wanted: &Self) -> Option<StateError> {
        let what = |origin: &Self| (origin.topic.clone(), origin.partitions, origin.layout.clone());
        if what(self) != what(wanted) {
            return Some(StateError::Foreign {
                found: self.difference_from(wanted),
                wanted: wanted.difference_from(self),
            });
        }
        let ids = self.topic_id.as_ref().zip(wanted.topic_id.as_ref());
        ids.filter(|(found, wanted)| found != wanted).map(|_| StateError::OfEarlierTopic { topic: self.topic.clone() })
    }

    /// What is different from `other`, on one line.
    pub(crate) fn difference_from(&self, other: &Self) -> String {
        let other = other.parts();
        let different: Vec<String> = self.parts().into_iter().filter(|part| !other.contains(part)).collect();
        if different.is_empty() { "less than that".to_owned() } else { different.join(", ") }
    }

    fn parts(&self) -> Vec<String> {
        let topic = [format!("topic `{}`", self.topic), format!("{} partitions", self.partitions)];
        topic.into_iter().chain(self.layout.lines().map(|line| format!("`{line}`"))).collect()
    }
}
