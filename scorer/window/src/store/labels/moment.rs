//! Moments in the form of RFC 3339, which is how messages write them.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

/// The text of a moment in milliseconds since 1970.
pub(crate) fn text(at: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(at).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The moment that a text names.
pub(crate) fn parse(text: &str) -> Option<i64> {
    Some(DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis())
}

pub(super) fn serialize<S: Serializer>(at: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    text(*at).serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).ok_or_else(|| serde::de::Error::custom("it is no moment in the form of RFC 3339"))
}

/// The same where there may be none.
pub(super) mod maybe {
    use super::*;

    pub(in crate::store::labels) fn serialize<S: Serializer>(
        at: &Option<i64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        at.map(text).serialize(serializer)
    }

    pub(in crate::store::labels) fn deserialize<'de, D: Deserializer<'de>>(of: D) -> Result<Option<i64>, D::Error> {
        let text = Option::<String>::deserialize(of)?;
        let moment =
            text.map(|text| parse(&text).ok_or_else(|| serde::de::Error::custom("it is no moment of RFC 3339")));
        moment.transpose()
    }
}
