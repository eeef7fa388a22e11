//! Zones of time: what dates without one are in, and what names and offsets in dates mean.

use std::str::FromStr;

use chrono::{Duration, FixedOffset, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;

use super::Timestamp;

/// A zone of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zone {
    /// The same distance from UTC always.
    Fixed(FixedOffset),
    /// A zone of the IANA database, which knows its summer times.
    Named(Tz),
}

/// Abbreviations that RFC 2822 (section 4.3) defines. Others, such as BST, mean several zones.
const ABBREVIATIONS: [(&str, i32); 12] = [
    ("Z", 0),
    ("UT", 0),
    ("UTC", 0),
    ("GMT", 0),
    ("EST", -5),
    ("EDT", -4),
    ("CST", -6),
    ("CDT", -5),
    ("MST", -7),
    ("MDT", -6),
    ("PST", -8),
    ("PDT", -7),
];

/// By how much the clock was ever put forward at once, and more.
const LONGEST_GAP: Duration = Duration::hours(25);

impl Zone {
    pub(super) const UTC: Self = Self::Named(Tz::UTC);

    /// The zone called `name`: `Europe/Madrid`, `UTC`, `EST`, `+02:00`; `None` where there is no such zone.
    pub(super) fn of(name: &str) -> Option<Self> {
        if let Some((_, hours)) = ABBREVIATIONS.iter().find(|(known, _)| *known == name) {
            return FixedOffset::east_opt(hours * 3600).map(Self::Fixed);
        }
        if name.starts_with(['+', '-']) {
            return FixedOffset::from_str(name).ok().map(Self::Fixed);
        }
        Tz::from_str(name).ok().map(Self::Named)
    }

    /// The moment at which clocks in this zone show `local`. Of two such moments, the earlier one. Where clocks jumped over
    /// `local`, the moment that it would have been without the jump: as RFC 5545 and `java.time` do.
    pub(super) fn moment(self, local: NaiveDateTime) -> Option<Timestamp> {
        let zone = match self {
            Self::Fixed(offset) => return Some((local - offset).and_utc().timestamp_millis()),
            Self::Named(zone) => zone,
        };
        if let Some(found) = zone.from_local_datetime(&local).earliest() {
            return Some(found.timestamp_millis());
        }
        let before = zone.from_local_datetime(&local.checked_sub_signed(LONGEST_GAP)?).earliest()?;
        Some((local - before.offset().fix()).and_utc().timestamp_millis())
    }
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;

    use super::*;
    use crate::time::format_timestamp;

    #[test]
    fn summer_time_comes_and_goes() {
        let madrid = Zone::of("Europe/Madrid").unwrap();
        let at = |month, day, hour, minute| {
            let local = NaiveDate::from_ymd_opt(2024, month, day).unwrap().and_hms_opt(hour, minute, 0).unwrap();
            format_timestamp(madrid.moment(local).unwrap())
        };
        assert_eq!(at(1, 15, 12, 0), "2024-01-15T11:00:00Z");
        assert_eq!(at(7, 15, 12, 0), "2024-07-15T10:00:00Z");
        // There is no 2:30 on this day, and two of them on the other.
        assert_eq!(at(3, 31, 2, 30), "2024-03-31T01:30:00Z");
        assert_eq!(at(10, 27, 2, 30), "2024-10-27T00:30:00Z");
    }

    #[test]
    fn zones_have_names() {
        for (name, there) in
            [("UTC", true), ("Z", true), ("EST", true), ("+02:00", true), ("-0530", true), ("Asia/Kolkata", true)]
                .into_iter()
                .chain([("BST", false), ("Madrid", false), ("", false), ("+2", false), ("+99:00", false)])
        {
            assert_eq!(Zone::of(name).is_some(), there, "{name}");
        }
    }
}
