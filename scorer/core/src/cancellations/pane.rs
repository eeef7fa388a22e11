//! Panes: cancellations are counted by the slide of the window that their first line lies in.

use shared::time::{Millis, Timestamp};

/// The start of the pane of length `step` that holds `timestamp`.
pub(super) fn floor(timestamp: Timestamp, step: Millis) -> Timestamp {
    timestamp.saturating_sub(timestamp.rem_euclid(step))
}
