//! What stands in the headers of records.

use rdkafka::message::{Header, Headers as _, Message, OwnedHeaders};
use shared::pipeline::Pipeline;

/// The header that names the original's partition and offset.
const SOURCE: &str = "source";

/// The header of a copy.
pub(crate) fn source_header((partition, offset): (i32, i64)) -> OwnedHeaders {
    let value = format!("{partition}:{offset}");
    OwnedHeaders::new_with_capacity(1).insert(Header { key: SOURCE, value: Some(&value) })
}

/// The partition and offset of a copy's original.
pub(crate) fn source_of(message: &impl Message) -> Option<(i32, i64)> {
    decode_source(value_of(message, SOURCE)?)
}

/// What a header of the record says it is, where the pipeline names one.
pub(crate) fn label_of<'a>(message: &'a impl Message, pipeline: &Pipeline) -> Option<&'a str> {
    let name = pipeline.label.as_ref()?.header.as_ref()?;
    std::str::from_utf8(value_of(message, name)?).ok()
}

fn value_of<'a>(message: &'a impl Message, name: &str) -> Option<&'a [u8]> {
    message.headers()?.iter().find(|header| header.key == name)?.value
}

fn decode_source(value: &[u8]) -> Option<(i32, i64)> {
    let (partition, offset) = std::str::from_utf8(value).ok()?.split_once(':')?;
    Some((partition.parse().ok()?, offset.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_names_its_original() {
        let headers = source_header((3, 1 << 40));
        let header = headers.get(0);
        assert_eq!((header.key, header.value.and_then(decode_source)), (SOURCE, Some((3, 1 << 40))));
        assert_eq!(decode_source(b"somebody else's"), None);
    }
}
