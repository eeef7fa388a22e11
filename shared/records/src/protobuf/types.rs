//! What a schema says of messages, as far as it is needed to read them.

use super::wire::Wire;
use crate::reason::Reason;

/// Most steps from the top of a schema to a message in it.
const MOST_STEPS: i64 = 64;

/// All messages of a schema, and of those that it imports. They refer to each other by their places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Messages {
    messages: Vec<MessageType>,
    enums: Vec<Vec<(i32, String)>>,
    /// The messages at the top of the schema, in its order.
    top: Vec<usize>,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MessageType {
    /// Its fields.
    pub fields: Vec<FieldType>,
    /// The messages that are declared in it, in their order.
    pub inside: Vec<usize>,
    /// What it means beyond its fields.
    pub meaning: Option<Meaning>,
}

/// What some messages mean that everybody uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// `google.protobuf.Timestamp`.
    Timestamp,
    /// `google.protobuf.StringValue` and the like: the value of field 1.
    Wrapper,
    /// `confluent.type.Decimal`.
    Decimal,
}

/// A field of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldType {
    /// Its number.
    pub number: u32,
    /// What it is called in the schema, and in JSON.
    pub names: [String; 2],
    /// The type of its values.
    pub kind: Kind,
    /// Whether it may have several; a map has entries, which are messages.
    pub is_list: bool,
    /// Whether it is a map.
    pub is_map: bool,
    /// Whether a message says if it has the field. One that does not has the value 0 where it is not there.
    pub has_presence: bool,
    /// The `oneof` that it is of.
    pub one_of: Option<usize>,
}

/// The type of a field's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // The names are those of the language.
pub enum Kind {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    String,
    Bytes,
    /// An enumeration, by its place.
    Enum(usize),
    /// A message, by its place.
    Message(usize),
    /// A message as proto2 once wrote it: it is passed over.
    Group,
}

impl Messages {
    /// Messages and enumerations that refer to each other, and which of them are at the top of the schema; `None` where a place
    /// is out of range.
    pub fn new(messages: Vec<MessageType>, enums: Vec<Vec<(i32, String)>>, top: Vec<usize>) -> Option<Self> {
        let is_there = |field: &FieldType| match field.kind {
            Kind::Enum(place) => place < enums.len(),
            Kind::Message(place) => place < messages.len(),
            _ => true,
        };
        let mut places = top.iter().chain(messages.iter().flat_map(|message| &message.inside));
        let are_there = places.all(|place| *place < messages.len());
        let all = messages.iter().flat_map(|message| &message.fields).all(is_there);
        (are_there && all).then_some(Self { messages, enums, top })
    }

    pub(crate) fn get(&self, place: usize) -> &MessageType {
        &self.messages[place]
    }

    /// What a number of an enumeration is called.
    pub(crate) fn symbol(&self, place: usize, number: i32) -> Option<&str> {
        self.enums[place].iter().find(|(known, _)| *known == number).map(|(_, name)| name.as_str())
    }

    /// The message that a list of places leads to, which `wire` begins with.
    pub(crate) fn find(&self, wire: &mut Wire<'_>) -> Result<usize, Reason> {
        let count = wire.zigzag()?;
        let mut step = |from: &[usize], place: Option<i64>| {
            let place = place.map_or_else(|| wire.zigzag(), Ok)?;
            let place = usize::try_from(place).ok().and_then(|place| from.get(place).copied());
            place.ok_or(Reason::NotProtobuf)
        };
        match count {
            // The first message, which most are.
            0 => step(&self.top, Some(0)),
            1..=MOST_STEPS => {
                let mut found = step(&self.top, None)?;
                for _ in 1..count {
                    found = step(&self.messages[found].inside, None)?;
                }
                Ok(found)
            }
            _ => Err(Reason::NotProtobuf),
        }
    }
}
