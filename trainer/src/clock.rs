//! The present.

use std::time::{SystemTime, UNIX_EPOCH};

use shared::time::Timestamp;

/// What time it is.
pub(crate) fn now() -> Timestamp {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as Timestamp)
}
