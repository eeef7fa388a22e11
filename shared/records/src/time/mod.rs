//! Moments and spans as plain numbers, and the one way dates are read (`formats`) and written.
//!
//! Nothing here asks what time it is.

mod formats;
mod zone;

use std::fmt;

use chrono::{DateTime, Datelike, SecondsFormat};

pub use formats::{DatetimeError, DatetimeFormats, DatetimeParser};

/// A moment: milliseconds since 1970-01-01T00:00:00 UTC.
pub type Timestamp = i64;

/// A span of time in milliseconds.
pub type Millis = i64;

/// The longest span: a hundred years. Sums of dates and spans stay far within 64 bits.
pub const LONGEST_SPAN: Millis = 36_500 * 86_400_000;

/// A date that is later than this after its record was written is hardly meant.
const LONGEST_AHEAD: Millis = 366 * 86_400_000;

/// Whether a date is more likely to have been mistyped, or read in another way than it was written, than to be meant: it is
/// before 1970, or more than a year after `latest`, by when its record had been written, where that is known.
pub fn is_odd(moment: Timestamp, latest: Option<Timestamp>) -> bool {
    moment < 0 || latest.is_some_and(|latest| moment > latest.saturating_add(LONGEST_AHEAD))
}

/// `1h`, `8m`, `40s` or `250ms` as milliseconds; `None` when the text is not such a span, or is not above zero or longer than
/// [`LONGEST_SPAN`].
pub fn parse_span(text: &str) -> Option<Millis> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let span = number.parse::<Millis>().ok()?.checked_mul(factor)?;
    (1..=LONGEST_SPAN).contains(&span).then_some(span)
}

/// A span as people write it, in the largest unit that keeps it whole: `40s`, `8m`.
pub fn format_span(span: Millis) -> String {
    for (factor, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")] {
        if span % factor == 0 && span != 0 {
            return format!("{}{unit}", span / factor);
        }
    }
    format!("{span}ms")
}

/// RFC 3339 in UTC, with milliseconds only where there are any: `2010-09-01T09:22:00Z`.
pub fn format_timestamp(timestamp: Timestamp) -> String {
    match DateTime::from_timestamp_millis(timestamp) {
        Some(moment) => moment.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        None => timestamp.to_string(),
    }
}

/// The moment, where its year is one that people write with four digits: other numbers are no moments.
pub(crate) fn known(moment: Timestamp) -> Option<Timestamp> {
    let year = DateTime::from_timestamp_millis(moment)?.year();
    formats::YEARS.contains(&year).then_some(moment)
}

/// What clocks show somewhere, as text: `2010-09-01T09:22:00`, or the date alone.
pub(crate) struct Shown {
    /// As if it were UTC.
    pub local: Timestamp,
    /// Whether it is a date.
    pub is_date: bool,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format_timestamp(self.local);
        let end = if self.is_date { text.find('T') } else { text.find('Z') };
        f.write_str(&text[..end.unwrap_or(text.len())])
    }
}

/// A time of day, in milliseconds, as text: `09:22:00`.
pub(crate) struct OfDay(pub Millis);

impl fmt::Display for OfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format_timestamp(self.0);
        f.write_str(text.trim_end_matches('Z').rsplit('T').next().unwrap_or_default())
    }
}

/// The hour of day, 0 to 23.
pub fn hour(timestamp: Timestamp) -> i64 {
    timestamp.rem_euclid(86_400_000) / 3_600_000
}

/// The day of the week, 0 to 6: Monday is 0.
pub fn day_of_week(timestamp: Timestamp) -> i64 {
    // 1 January 1970 was a Thursday.
    (timestamp.div_euclid(86_400_000) + 3).rem_euclid(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_before_1970_or_far_ahead_of_its_record_is_odd() {
        let now = 1_767_225_600_000;
        for (moment, latest, odd) in [
            (-1, None, true),
            (0, None, false),
            (-61_853_184_000_000, Some(now), true),
            (now + LONGEST_AHEAD, Some(now), false),
            (now + LONGEST_AHEAD + 1, Some(now), true),
            (now + LONGEST_AHEAD + 1, None, false),
            (i64::MAX, Some(i64::MAX), false),
        ] {
            assert_eq!(is_odd(moment, latest), odd, "{moment} {latest:?}");
        }
    }

    #[test]
    fn spans_round_trip() {
        for text in ["40s", "8m", "1h", "250ms", "30d", "36500d"] {
            assert_eq!(format_span(parse_span(text).unwrap()), text);
        }
        for bad in [
            "",
            "40",
            "s",
            "-1s",
            "0s",
            "1w",
            "99999999999999999999s",
            "9223372036854775807d",
            "36501d",
            "3153600000001ms",
        ] {
            assert_eq!(parse_span(bad), None, "{bad}");
        }
    }
}
