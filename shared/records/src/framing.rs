//! Which schema a record was written with, as Confluent's serializers say it: before the record's own bytes, or in a header.

use std::fmt;

use crate::reason::Reason;

/// The header in which newer serializers say it.
pub const SCHEMA_HEADER: &str = "__value_schema_id";

/// Before a number of four bytes, the last one least.
const NUMBER: u8 = 0;
/// Before sixteen bytes that are the same in every registry.
const GUID: u8 = 1;

/// What a registry calls a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SchemaId {
    /// A number, which one registry gave it.
    Number(u32),
    /// A UUID, which is made of its text.
    Guid([u8; 16]),
}

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Guid(bytes) => write_uuid(f, bytes),
        }
    }
}

/// Sixteen bytes as a UUID is written.
pub(crate) fn write_uuid(f: &mut fmt::Formatter<'_>, bytes: &[u8; 16]) -> fmt::Result {
    for (index, byte) in bytes.iter().enumerate() {
        let hyphen = if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" };
        write!(f, "{hyphen}{byte:02x}")?;
    }
    Ok(())
}

/// A message, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framed<'m> {
    /// The schema that it was written with.
    pub id: SchemaId,
    /// What stands between the id and the record where a header names the schema: the place of a Protobuf message in it.
    pub(crate) in_header: Option<&'m [u8]>,
    /// What follows the id in the message.
    pub(crate) body: &'m [u8],
}

impl<'m> Framed<'m> {
    /// Takes `message` apart; `header` is what [`SCHEMA_HEADER`] holds, where the record has it.
    ///
    /// # Errors
    /// [`Reason::NoSchemaId`] where neither begins as it should.
    pub fn read(message: &'m [u8], header: Option<&'m [u8]>) -> Result<Self, Reason> {
        match header {
            Some(header) => {
                let (id, in_header) = split(header)?;
                Ok(Self { id, in_header: Some(in_header), body: message })
            }
            None => {
                let (id, body) = split(message)?;
                Ok(Self { id, in_header: None, body })
            }
        }
    }
}

fn split(bytes: &[u8]) -> Result<(SchemaId, &[u8]), Reason> {
    match bytes.split_first() {
        Some((&NUMBER, rest)) => {
            let (number, rest) = rest.split_first_chunk().ok_or(Reason::NoSchemaId)?;
            Ok((SchemaId::Number(u32::from_be_bytes(*number)), rest))
        }
        Some((&GUID, rest)) => {
            let (guid, rest) = rest.split_first_chunk().ok_or(Reason::NoSchemaId)?;
            Ok((SchemaId::Guid(*guid), rest))
        }
        _ => Err(Reason::NoSchemaId),
    }
}

/// The bytes that say in a message what `id` is.
pub fn lead_of(id: SchemaId) -> Vec<u8> {
    match id {
        SchemaId::Number(number) => [&[NUMBER][..], &number.to_be_bytes()].concat(),
        SchemaId::Guid(guid) => [&[GUID][..], &guid].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stand_before_the_record_or_in_a_header() {
        let framed =
            |message, header| Framed::read(message, header).map(|it| (it.id.to_string(), it.in_header, it.body));
        assert_eq!(framed(b"\0\0\0\x01\x02rest", None), Ok(("258".to_owned(), None, &b"rest"[..])));
        let header = [&[1][..], &(0..16).collect::<Vec<u8>>(), &[0]].concat();
        let guid = "00010203-0405-0607-0809-0a0b0c0d0e0f".to_owned();
        assert_eq!(framed(b"rest", Some(&header)), Ok((guid.clone(), Some(&[0][..]), &b"rest"[..])));
        assert_eq!(framed(&header, None), Ok((guid, None, &[0][..])));
        for broken in [&b""[..], b"\0\0\0\0", b"{\"a\":1}", b"\x01too short"] {
            assert_eq!(framed(broken, None), Err(Reason::NoSchemaId));
            assert_eq!(framed(b"\0\0\0\0\x01", Some(broken)), Err(Reason::NoSchemaId), "the header says what is true");
        }
    }

    #[test]
    fn what_is_written_before_a_record_is_read_again() {
        for id in [SchemaId::Number(u32::MAX), SchemaId::Guid([7; 16])] {
            assert_eq!(Framed::read(&lead_of(id), None).map(|framed| framed.id), Ok(id));
        }
    }
}
