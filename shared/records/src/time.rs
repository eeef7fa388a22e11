//! Moments and spans as plain numbers, and the one way dates are read and written.
//!
//! Nothing here asks what time it is.

use chrono::{DateTime, NaiveDateTime, SecondsFormat};

/// A moment: milliseconds since 1970-01-01T00:00:00 UTC. Dates without a zone are taken as UTC.
pub type Timestamp = i64;

/// A span of time in milliseconds.
pub type Millis = i64;

/// The longest span: a hundred years. Sums of dates and spans stay far within 64 bits.
pub const LONGEST_SPAN: Millis = 36_500 * 86_400_000;

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

/// The hour of day, 0 to 23.
pub fn hour(timestamp: Timestamp) -> i64 {
    timestamp.rem_euclid(86_400_000) / 3_600_000
}

/// Reads dates by a list of formats, the first that fits wins.
///
/// The lines of an invoice carry the same date, so the last text and its value are kept.
#[derive(Debug, Clone)]
pub struct DatetimeParser {
    formats: Vec<String>,
    last_text: String,
    last_value: Option<Timestamp>,
}

impl DatetimeParser {
    /// A parser for `formats`, in the notation of `strftime`.
    pub fn new(formats: &[String]) -> Self {
        Self { formats: formats.to_vec(), last_text: String::new(), last_value: None }
    }

    /// The moment that `text` names, or `None` when no format fits or the date does not exist.
    pub fn parse(&mut self, text: &str) -> Option<Timestamp> {
        if text != self.last_text {
            self.last_value = self.formats.iter().find_map(|format| parse_with(text, format));
            self.last_text.clear();
            self.last_text.push_str(text);
        }
        self.last_value
    }
}

fn parse_with(text: &str, format: &str) -> Option<Timestamp> {
    if format == "rfc3339" {
        return DateTime::parse_from_rfc3339(text).ok().map(|moment| moment.timestamp_millis());
    }
    NaiveDateTime::parse_from_str(text, format).ok().map(|moment| moment.and_utc().timestamp_millis())
}

/// Whether `format` can be used at all: formatting a known date with it and reading it back must succeed.
pub fn is_datetime_format(format: &str) -> bool {
    if format == "rfc3339" {
        return true;
    }
    let known = DateTime::from_timestamp_millis(1_283_332_920_000).map(|moment| moment.naive_utc());
    let valid = !chrono::format::StrftimeItems::new(format).any(|item| item == chrono::format::Item::Error);
    valid && known.is_some_and(|known| parse_with(&known.format(format).to_string(), format).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn dates_of_the_real_files_are_read() {
        let mut parser = DatetimeParser::new(&["%m/%d/%Y %H:%M".into(), "%Y-%m-%d %H:%M:%S".into()]);
        let first = parser.parse("9/1/2010 9:22").unwrap();
        assert_eq!(format_timestamp(first), "2010-09-01T09:22:00Z");
        assert_eq!(hour(first), 9);
        assert_eq!(parser.parse("2010-09-01 09:22:00"), Some(first));
        for bad in ["", "2/30/2010 9:22", "13/1/2010 9:22", "9/1/2010", "9/1/2010 25:00", "yesterday"] {
            assert_eq!(parser.parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn formats_that_cannot_name_a_moment_are_refused() {
        assert!(is_datetime_format("%m/%d/%Y %H:%M"));
        assert!(is_datetime_format("rfc3339"));
        for bad in ["%Q", "%m/%d", "", "hello"] {
            assert!(!is_datetime_format(bad), "{bad}");
        }
    }
}
