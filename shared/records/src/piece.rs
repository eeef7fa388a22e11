//! Where a record stands in its message.

use std::borrow::Cow;

use crate::framing::{Framed, lead_of};

/// A record of a message, and where it stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece<'m> {
    /// The message, without what names its schema where that stands in it.
    body: &'m [u8],
    /// What names the schema: it stands before the body, or is to stand there.
    lead: Lead<'m>,
    item: Option<Item<'m>>,
}

/// What names the schema of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Lead<'m> {
    /// Nothing.
    None,
    /// The beginning of this message.
    Before(&'m [u8]),
    /// A header, which says this.
    InHeader(Vec<u8>),
}

/// One of several records of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Item<'m> {
    /// Its place among them.
    index: u32,
    /// What stands before the records, the record, and what stands behind all of them.
    parts: [&'m [u8]; 3],
    /// What opens and closes a list of one.
    brackets: [&'static [u8]; 2],
}

impl<'m> Piece<'m> {
    /// The whole message.
    pub(crate) fn whole(message: &'m [u8]) -> Self {
        Self { body: message, lead: Lead::None, item: None }
    }

    /// A whole message that a schema is named with.
    pub(crate) fn framed(message: &'m [u8], framed: &Framed<'m>) -> Self {
        let lead = match framed.in_header {
            None => Lead::Before(message),
            Some(rest) => Lead::InHeader([&lead_of(framed.id)[..], rest].concat()),
        };
        Self { body: framed.body, lead, item: None }
    }

    /// One of several records of this message.
    pub(crate) fn item(&self, index: u32, parts: [&'m [u8]; 3], brackets: [&'static [u8]; 2]) -> Self {
        Self { item: Some(Item { index, parts, brackets }), ..self.clone() }
    }

    /// Its place among the records of its message, from 0, where that is an array of records.
    pub fn index(&self) -> Option<u32> {
        self.item.as_ref().map(|item| item.index)
    }

    /// A message that holds this record alone, and names its schema itself: the message, or one whose array has no other item.
    pub fn alone(&self) -> Cow<'m, [u8]> {
        let lead: &[u8] = match (&self.lead, &self.item) {
            (Lead::None, None) => return Cow::Borrowed(self.body),
            (&Lead::Before(message), None) => return Cow::Borrowed(message),
            (Lead::None, Some(_)) => &[],
            (Lead::Before(message), Some(_)) => &message[..message.len() - self.body.len()],
            (Lead::InHeader(lead), _) => lead,
        };
        let body = match &self.item {
            None => vec![lead, self.body],
            Some(Item { parts: [before, record, after], brackets: [open, close], .. }) => {
                vec![lead, *before, *open, *record, *close, *after]
            }
        };
        Cow::Owned(body.concat())
    }
}
