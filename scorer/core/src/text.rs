//! Values as verdicts and messages show them.

use std::borrow::Cow;

use shared::line::Value;
use shared::time::format_timestamp;

/// A value as text.
pub(crate) fn to_text(value: Value<'_>) -> Option<Cow<'_, str>> {
    match value {
        Value::Missing => None,
        Value::Text(text) => Some(Cow::Borrowed(text)),
        Value::Integer(number) => Some(Cow::Owned(number.to_string())),
        Value::Float(number) => Some(Cow::Owned(number.to_string())),
        Value::Datetime(moment) => Some(Cow::Owned(format_timestamp(moment))),
    }
}
