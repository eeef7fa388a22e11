//! The ways in which dates are written.

use std::fmt::Write;

use chrono::format::{Fixed, Item, Parsed, StrftimeItems, parse, parse_and_remainder};
use chrono::{DateTime, Datelike, NaiveDate, NaiveTime};
use thiserror::Error;

use super::Timestamp;
use super::zone::Zone;

/// What is wrong with how a pipeline reads dates.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DatetimeError {
    /// A format that names no day.
    #[error(
        "`{0}` does not name a date: use strftime's notation, such as \"%Y-%m-%d %H:%M:%S\" or \"%d/%m/%Y\", or \
         \"rfc3339\", \"unix_s\", \"unix_ms\" or \"unix_us\""
    )]
    Format(String),
    /// A zone that there is not.
    #[error(
        "there is no time zone `{0}`: use a name such as \"Europe/Madrid\" or \"UTC\", or an offset such as \"+02:00\""
    )]
    Zone(String),
}

/// The ways in which the dates of an input may be written, and the zone of those that name none.
#[derive(Debug, Clone, PartialEq)]
pub struct DatetimeFormats {
    formats: Vec<Format>,
    zone: Zone,
}

/// One way to write a date.
#[derive(Debug, Clone, PartialEq)]
enum Format {
    /// `2010-09-01T09:22:00+02:00`.
    Rfc3339,
    /// A count since 1970-01-01T00:00:00 UTC, of which a second has so many.
    Unix { per_second: i64 },
    /// A date in the notation of `strftime`.
    Pattern(Pattern),
}

/// The parts of a date, in their order.
#[derive(Debug, Clone, PartialEq)]
struct Pattern {
    /// Up to the name of a zone, where there is one.
    head: Vec<Item<'static>>,
    /// From there on.
    tail: Option<Vec<Item<'static>>>,
}

/// A year of four digits: a year that is out of this is another format's, or nobody's.
pub(super) const YEARS: std::ops::RangeInclusive<i32> = 1000..=9999;

impl DatetimeFormats {
    /// Reads the names of formats, and of the zone of dates that name none (UTC, where it is not given).
    ///
    /// A format is in the notation of `strftime`, or `rfc3339`, `unix_s`, `unix_ms` or `unix_us`. A date without a time is
    /// midnight. A zone may be an offset (`%z`, `%:z`) or a name (`%Z`: of the IANA database, or of RFC 2822).
    ///
    /// # Errors
    /// A format does not name a day, or there is no such zone.
    pub fn read<S: AsRef<str>>(formats: &[S], zone: Option<&str>) -> Result<Self, DatetimeError> {
        let zone = match zone {
            None => Zone::UTC,
            Some(name) => Zone::of(name).ok_or_else(|| DatetimeError::Zone(name.to_owned()))?,
        };
        let format = |text: &S| {
            let text = text.as_ref();
            Format::read(text).ok_or_else(|| DatetimeError::Format(text.to_owned()))
        };
        Ok(Self { formats: formats.iter().map(format).collect::<Result<_, _>>()?, zone })
    }

    /// Whether a plain number can be a date.
    pub fn take_numbers(&self) -> bool {
        self.formats.iter().any(|format| matches!(format, Format::Unix { .. }))
    }

    fn parse(&self, text: &str) -> Option<Timestamp> {
        self.formats.iter().find_map(|format| format.parse(text, self.zone))
    }
}

impl Format {
    /// The format that `text` names, if it can be used at all: a known date that is written by it and read again must be the
    /// same day.
    fn read(text: &str) -> Option<Self> {
        match text {
            "rfc3339" => return Some(Self::Rfc3339),
            "unix_s" => return Some(Self::Unix { per_second: 1 }),
            "unix_ms" => return Some(Self::Unix { per_second: 1000 }),
            "unix_us" => return Some(Self::Unix { per_second: 1_000_000 }),
            _ => {}
        }
        let items = |text: &str| StrftimeItems::new(text).parse_to_owned().ok();
        let known = DateTime::from_timestamp_millis(1_283_332_920_000)?;
        let mut written = String::new();
        // `%#z` can only be read.
        write!(written, "{}", known.format_with_items(items(&text.replace("%#z", "%z"))?.iter())).ok()?;
        let format = Self::Pattern(Pattern::of(items(text)?));
        let read = DateTime::from_timestamp_millis(format.parse(&written, Zone::UTC)?)?;
        (read.date_naive() == known.date_naive()).then_some(format)
    }

    fn parse(&self, text: &str, zone: Zone) -> Option<Timestamp> {
        match self {
            Self::Rfc3339 => usual_rfc3339(text).or_else(|| any_rfc3339(text)),
            Self::Unix { per_second } => unix(text, *per_second),
            Self::Pattern(pattern) => pattern.parse(text, zone),
        }
    }
}

fn any_rfc3339(text: &str) -> Option<Timestamp> {
    let moment = DateTime::parse_from_rfc3339(text).ok()?;
    YEARS.contains(&moment.year()).then(|| moment.timestamp_millis())
}

/// The moment that a text names in the form in which programs write most of them, `2010-09-01T09:22:00.125Z`: every record of a
/// stream may have one of its own. Of any other text nothing is said.
fn usual_rfc3339(text: &str) -> Option<Timestamp> {
    let (head, rest) = text.as_bytes().split_at_checked(19)?;
    if [head[4], head[7], head[10], head[13], head[16]] != *b"--T::" {
        return None;
    }
    let number = |from: usize, to: usize| digits(&head[from..to]);
    let millis = match rest {
        b"Z" => 0,
        [b'.', fraction @ .., b'Z'] if (1..=9).contains(&fraction.len()) => {
            digits(fraction)?;
            let known = &fraction[..fraction.len().min(3)];
            digits(known)? * [100, 10, 1][known.len() - 1]
        }
        _ => return None,
    };
    let date = NaiveDate::from_ymd_opt(i32::try_from(number(0, 4)?).ok()?, number(5, 7)?, number(8, 10)?)?;
    let moment = date.and_hms_milli_opt(number(11, 13)?, number(14, 16)?, number(17, 19)?, millis)?;
    YEARS.contains(&moment.year()).then(|| moment.and_utc().timestamp_millis())
}

/// The number that these are the digits of, at most nine.
fn digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0, |number: u32, byte| byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0')))
}

/// A count since 1970 in milliseconds; a part of a millisecond is left out.
fn unix(text: &str, per_second: i64) -> Option<Timestamp> {
    let millis = match text.parse::<i64>() {
        Ok(count) if per_second >= 1000 => count.div_euclid(per_second / 1000),
        Ok(count) => count.checked_mul(1000)?,
        Err(_) => {
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
            let count = text.parse::<f64>().ok().filter(|_| is_number)?;
            let millis = (count * 1000.0 / per_second as f64).floor();
            // Far beyond every year that is valid.
            if millis.abs() > 1e15 {
                return None;
            }
            millis as i64
        }
    };
    let year = DateTime::from_timestamp_millis(millis)?.year();
    YEARS.contains(&year).then_some(millis)
}

impl Pattern {
    fn of(items: Vec<Item<'static>>) -> Self {
        let name = items.iter().position(|item| matches!(item, Item::Fixed(Fixed::TimezoneName)));
        match name {
            None => Self { head: items, tail: None },
            Some(at) => Self { head: items[..at].to_vec(), tail: Some(items[at + 1..].to_vec()) },
        }
    }

    fn parse(&self, text: &str, zone: Zone) -> Option<Timestamp> {
        let mut parsed = Parsed::new();
        let Some(tail) = &self.tail else {
            parse(&mut parsed, text, self.head.iter()).ok()?;
            return moment(parsed, zone);
        };
        let rest = parse_and_remainder(&mut parsed, text, self.head.iter()).ok()?;
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '+' | '-' | ':');
        let (name, rest) = rest.split_at(rest.find(|c| !is_part(c)).unwrap_or(rest.len()));
        parse(&mut parsed, rest, tail.iter()).ok()?;
        moment(parsed, Zone::of(name)?)
    }
}

/// The moment that the parts of a date name.
fn moment(mut parsed: Parsed, zone: Zone) -> Option<Timestamp> {
    if let Some(seconds) = parsed.timestamp() {
        let fraction = i64::from(parsed.nanosecond().unwrap_or(0) / 1_000_000);
        return seconds.checked_mul(1000)?.checked_add(fraction);
    }
    // POSIX: 69 to 99 are of the last century.
    if parsed.year().is_none() && parsed.year_div_100().is_none() && parsed.year_mod_100() == Some(69) {
        parsed.set_year_div_100(19).ok()?;
    }
    let hour = parsed.hour_div_12().is_some() || parsed.hour_mod_12().is_some();
    let has_time = hour || parsed.minute().is_some() || parsed.second().is_some();
    if hour && parsed.minute().is_none() {
        parsed.set_minute(0).ok()?;
    }
    let date = parsed.to_naive_date().ok().filter(|date| YEARS.contains(&date.year()))?;
    let time = if has_time { parsed.to_naive_time().ok()? } else { NaiveTime::MIN };
    let local = date.and_time(time);
    match parsed.offset() {
        Some(seconds) => {
            let moment = local.checked_sub_signed(chrono::Duration::seconds(i64::from(seconds)))?;
            Some(moment.and_utc().timestamp_millis())
        }
        None => zone.moment(local),
    }
}

/// Reads dates; the first format that fits wins.
///
/// The lines of an invoice carry the same date, so the last text and its value are kept.
#[derive(Debug, Clone)]
pub struct DatetimeParser {
    formats: DatetimeFormats,
    last_text: String,
    last_value: Option<Timestamp>,
}

impl DatetimeParser {
    /// A parser for dates in these formats.
    pub fn new(formats: DatetimeFormats) -> Self {
        Self { formats, last_text: String::new(), last_value: None }
    }

    /// The moment that `text` names, or `None` when no format fits or the date does not exist.
    pub fn parse(&mut self, text: &str) -> Option<Timestamp> {
        if text != self.last_text {
            self.last_value = self.formats.parse(text);
            self.last_text.clear();
            self.last_text.push_str(text);
        }
        self.last_value
    }

    /// The moment at which clocks in the zone show what they show at `local` in UTC.
    pub(crate) fn local(&self, local: Timestamp) -> Option<Timestamp> {
        self.formats.zone.moment(DateTime::from_timestamp_millis(local)?.naive_utc())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::{format_timestamp, hour};

    fn parser(formats: &[&str], zone: Option<&str>) -> DatetimeParser {
        DatetimeParser::new(DatetimeFormats::read(formats, zone).unwrap())
    }

    fn read(format: &str, text: &str) -> Option<String> {
        parser(&[format], None).parse(text).map(format_timestamp)
    }

    #[test]
    fn dates_of_the_real_files_are_read() {
        let mut parser = parser(&["%m/%d/%Y %H:%M", "%Y-%m-%d %H:%M:%S"], None);
        let first = parser.parse("9/1/2010 9:22").unwrap();
        assert_eq!(format_timestamp(first), "2010-09-01T09:22:00Z");
        assert_eq!(hour(first), 9);
        assert_eq!(parser.parse("2010-09-01 09:22:00"), Some(first));
        for bad in ["", "2/30/2010 9:22", "13/1/2010 9:22", "9/1/2010", "9/1/2010 25:00", "yesterday"] {
            assert_eq!(parser.parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_way_to_write_a_moment_names_it() {
        const NINE: &str = "2010-09-01T09:22:00Z";
        for (format, text, expected) in [
            ("%Y-%m-%d %H:%M:%S %z", "2010-09-01 11:22:00 +0200", NINE),
            ("%Y-%m-%d %H:%M:%S %:z", "2010-09-01 11:22:00 +02:00", NINE),
            ("%Y-%m-%dT%H:%M:%S%#z", "2010-09-01T11:22:00+02", NINE),
            ("%+", "2010-09-01T11:22:00+02:00", NINE),
            ("%Y-%m-%d %H:%M:%S %Z", "2010-09-01 11:22:00 Europe/Madrid", NINE),
            ("%a %b %e %H:%M:%S %Z %Y", "Wed Sep  1 05:22:00 EDT 2010", NINE),
            ("rfc3339", "2010-09-01T11:22:00+02:00", NINE),
            ("unix_s", "1283332920", NINE),
            ("unix_s", "1283332920.5", "2010-09-01T09:22:00.500Z"),
            ("unix_ms", "1283332920000", NINE),
            ("unix_ms", "1.28333292e12", NINE),
            ("unix_us", "1283332920000000", NINE),
            ("%s", "1283332920", NINE),
            ("%Y-%m-%dT%H:%M:%S%.f", "2010-09-01T09:22:00.250", "2010-09-01T09:22:00.250Z"),
            ("%d/%m/%Y", "01/09/2010", "2010-09-01T00:00:00Z"),
            ("%Y-%m-%d %H", "2010-09-01 09", "2010-09-01T09:00:00Z"),
            ("%d.%m.%y %I:%M %p", "01.09.10 09:22 AM", NINE),
            // POSIX: 1969 to 2068.
            ("%d.%m.%y", "01.09.69", "1969-09-01T00:00:00Z"),
            ("%d.%m.%y", "01.09.68", "2068-09-01T00:00:00Z"),
        ] {
            assert_eq!(read(format, text).as_deref(), Some(expected), "{format}: {text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_none() {
        for (format, text) in [
            // A year of two digits is none of four, and the year 9 is nobody's.
            ("%m/%d/%Y %H:%M", "12/1/09 7:45"),
            ("%Y-%m-%d %H:%M:%S %Z", "2010-09-01 11:22:00 XYZ"),
            // Milliseconds, read as seconds, would be the year 42637.
            ("unix_s", "1283332920000"),
            ("unix_s", "inf"),
            ("unix_s", "-1e300"),
            ("unix_ms", "NaN"),
            ("unix_ms", ""),
            ("rfc3339", "2010-09-01T11:22:00"),
            ("%Y-%m-%d", "2010-09-01 09:22"),
        ] {
            assert_eq!(read(format, text), None, "{format}: {text}");
        }
    }

    #[test]
    fn a_date_without_a_zone_is_in_the_pipelines() {
        let at = |zone| parser(&["%Y-%m-%d %H:%M", "rfc3339"], Some(zone));
        let text = |zone, text| at(zone).parse(text).map(format_timestamp).unwrap();
        assert_eq!(text("Europe/Madrid", "2010-09-01 11:22"), "2010-09-01T09:22:00Z");
        assert_eq!(text("+02:00", "2010-09-01 11:22"), "2010-09-01T09:22:00Z");
        // One that names a zone is in that.
        assert_eq!(text("Europe/Madrid", "2010-09-01T09:22:00Z"), "2010-09-01T09:22:00Z");
        let error = DatetimeFormats::read(&["rfc3339"], Some("Madrid")).unwrap_err().to_string();
        assert!(error.starts_with("there is no time zone `Madrid`"), "{error}");
    }

    #[test]
    fn seconds_and_milliseconds_are_told_apart_by_their_size() {
        let mut parser = parser(&["unix_s", "unix_ms"], None);
        assert_eq!(parser.parse("1283332920"), parser.parse("1283332920000"));
    }

    #[test]
    fn formats_that_cannot_name_a_day_are_refused() {
        for good in ["%m/%d/%Y %H:%M", "rfc3339", "%Y-%m-%d", "%z %Y-%m-%d %H:%M", "%c", "%Y-%j", "%G-W%V-%u"] {
            assert!(DatetimeFormats::read(&[good], None).is_ok(), "{good}");
        }
        for bad in ["%Q", "%m/%d", "", "hello", "%H:%M", "%z", "%Z", "%Y-%m-%d %M", "%Y-%m-%d %S"] {
            assert!(DatetimeFormats::read(&[bad], None).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_programs_write_is_read_at_once() {
        for text in ["2010-09-01T09:22:00Z", "2010-09-01T09:22:00.5Z", "1000-02-28T23:59:59.999999999Z"] {
            assert!(usual_rfc3339(text).is_some(), "{text}");
        }
        assert_eq!(usual_rfc3339("2010-09-01T09:22:00.5Z"), usual_rfc3339("2010-09-01T09:22:00.500Z"));
        for text in
            ["", "2010-09-01T09:22:00", "2010-09-01T09:22:00+00:00", "2010-09-01t09:22:00Z", "2010-09-01T09:22:0xZ"]
        {
            assert_eq!(usual_rfc3339(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_at_once_is_what_any_reader_says(
            text in "[0-9]{4}-[01][0-9]-[0-3][0-9][Tt][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,11})?(Z|Z|z|\\+00:00)"
        ) {
            if let Some(moment) = usual_rfc3339(&text) {
                prop_assert_eq!(any_rfc3339(&text), Some(moment));
            }
        }
    }

    proptest! {
        #[test]
        fn no_format_and_no_text_panics(format in "(%[-_0:#.]?[a-zA-Z0-9+]|[ -~]){0,8}", text in ".{0,40}") {
            if let Ok(formats) = DatetimeFormats::read(&[format], Some("Europe/Madrid")) {
                let _ = formats.parse(&text);
            }
        }

        #[test]
        fn a_date_that_is_written_is_read_again(
            seconds in -30_000_000_000i64..250_000_000_000,
            format in prop::sample::select(&["%Y-%m-%d %H:%M:%S", "%d.%m.%Y %T", "%s", "%+", "%F %T %z", "%F %T %Z"]),
        ) {
            // Before 1970, `%s` cannot be read.
            let seconds = if format == "%s" { seconds.abs() } else { seconds };
            let written = DateTime::from_timestamp(seconds, 0).unwrap().format(format).to_string();
            prop_assert_eq!(parser(&[format], None).parse(&written), Some(seconds * 1000), "{}", written);
        }
    }
}
