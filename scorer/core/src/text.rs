//! Values as verdicts and messages show them.

use shared::line::Value;
use shared::time::format_timestamp;

/// A value as text.
pub(crate) fn to_text(value: Value<'_>) -> Option<String> {
    match value {
        Value::Missing => None,
        Value::Text(text) => Some(text.to_owned()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Datetime(moment) => Some(format_timestamp(moment)),
    }
}
