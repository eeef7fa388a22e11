//! What stands in the headers of records.
//!
//! Kafka's headers are bytes, their names too. The client library takes every name for UTF-8 and panics where it is not
//! (`BorrowedHeaders::try_get`), so that one record of any producer would end the scorer. [`RecordHeaders`] compares bytes.

use std::ffi::{CStr, CString};
use std::ptr;

use rdkafka::bindings::{rd_kafka_header_get, rd_kafka_message_headers};
use rdkafka::error::IsError as _;
use rdkafka::message::{BorrowedMessage, Header, Message, OwnedHeaders};
use shared::framing::SCHEMA_HEADER;
use shared::pipeline::{Pipeline, Schema};

/// The header that names the original's partition and offset.
const SOURCE: &str = "source";

/// Bytes of a header's name, with the zero behind it, that need no allocation.
const USUAL_NAME: usize = 64;

/// What a copy was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Original {
    /// The partition and the offset of the message.
    pub at: (i32, i64),
    /// The place of the record in it, where it holds several.
    pub item: Option<u32>,
}

/// A record whose headers can be asked for by name, whatever bytes the others are.
pub(crate) trait RecordHeaders: Message {
    /// The value of the first header of this name. `None` also where the header has no value.
    fn header(&self, name: &str) -> Option<&[u8]>;
}

impl RecordHeaders for BorrowedMessage<'_> {
    fn header(&self, name: &str) -> Option<&[u8]> {
        // A name with a zero byte is no name that librdkafka can hold. This is asked of every record: a usual name takes no
        // allocation.
        let (mut room, own) = ([0; USUAL_NAME], name.len() >= USUAL_NAME);
        let own = own.then(|| CString::new(name)).transpose().ok()?;
        let name = match &own {
            Some(own) => own.as_c_str(),
            None => {
                room[..name.len()].copy_from_slice(name.as_bytes());
                CStr::from_bytes_with_nul(&room[..=name.len()]).ok()?
            }
        };
        let mut headers = ptr::null_mut();
        let (mut value, mut size) = (ptr::null(), 0);
        // SAFETY: the message is alive as long as `self`. librdkafka fills the out parameters only when it returns no
        // error, and what they point to belongs to the message.
        unsafe {
            if rd_kafka_message_headers(self.ptr(), &raw mut headers).is_error()
                || rd_kafka_header_get(headers, 0, name.as_ptr(), &raw mut value, &raw mut size).is_error()
                || value.is_null()
            {
                return None;
            }
            Some(std::slice::from_raw_parts(value.cast::<u8>(), size))
        }
    }
}

/// The header of a copy.
pub(crate) fn source_header(Original { at: (partition, offset), item }: Original) -> OwnedHeaders {
    let item = item.map_or_else(String::new, |item| format!(":{item}"));
    let value = format!("{partition}:{offset}{item}");
    OwnedHeaders::new_with_capacity(1).insert(Header { key: SOURCE, value: Some(&value) })
}

/// The original of a copy.
pub(crate) fn source_of(message: &impl RecordHeaders) -> Option<Original> {
    decode_source(message.header(SOURCE)?)
}

/// What a header of the record says it is, where the pipeline names one. A value that is not UTF-8 says nothing.
pub(crate) fn label_of<'a>(message: &'a impl RecordHeaders, pipeline: &Pipeline) -> Option<&'a str> {
    let name = pipeline.label.as_ref()?.header.as_ref()?;
    std::str::from_utf8(message.header(name)?).ok()
}

/// What a header of the record says of its schema, where records have any.
pub(crate) fn schema_of<'a>(message: &'a impl RecordHeaders, schema: &Schema) -> Option<&'a [u8]> {
    schema.schemas.as_ref()?;
    message.header(SCHEMA_HEADER)
}

fn decode_source(value: &[u8]) -> Option<Original> {
    let (partition, rest) = std::str::from_utf8(value).ok()?.split_once(':')?;
    let (offset, item) = rest.split_once(':').map_or((rest, None), |(offset, item)| (offset, Some(item)));
    let item = item.map(str::parse).transpose().ok()?;
    Some(Original { at: (partition.parse().ok()?, offset.parse().ok()?), item })
}

#[cfg(test)]
mod tests {
    use rdkafka::message::Headers as _;

    use super::*;

    #[test]
    fn a_copy_names_its_original() {
        for original in [Original { at: (3, 1 << 40), item: None }, Original { at: (0, 7), item: Some(12) }] {
            let headers = source_header(original);
            let header = headers.get(0);
            assert_eq!((header.key, header.value.and_then(decode_source)), (SOURCE, Some(original)));
        }
        assert_eq!(decode_source(b"somebody else's"), None);
        assert_eq!(decode_source(b"1:2:x"), None);
    }
}
