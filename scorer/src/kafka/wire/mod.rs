//! What a record carries beside its content, and an offset beside its number.

pub(crate) mod headers;
pub(crate) mod offset_metadata;
