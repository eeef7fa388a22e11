//! In which formats the dates of a column are written.

use std::collections::HashMap;

use super::names::{Hint, strength};
use crate::text::grouped;
use crate::time::{DatetimeFormats, DatetimeParser, Timestamp, format_timestamp};

/// The share of the texts of a column that must be dates.
const MOST: f64 = 0.9;

/// Most texts that are read, and those that choose the formats to be tried on all.
const MOST_TEXTS: usize = 4000;
const FIRST_TEXTS: usize = 40;

/// Most formats of one column.
const MOST_FORMATS: usize = 3;

/// Days, with how many digits a year has; those that differ only in the order of day and month stand together.
const DAYS: [&str; 28] = [
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%Y%m%d",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d.%m.%Y",
    "%m.%d.%Y",
    "%d/%m/%y",
    "%m/%d/%y",
    "%d-%m-%y",
    "%m-%d-%y",
    "%d.%m.%y",
    "%d-%b-%Y",
    "%d-%b-%y",
    "%d %b %Y",
    "%d %B %Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%b %d %Y",
    "%d%b%Y",
    "%a, %d %b %Y",
    "%a %d %b %Y",
    "%A, %B %d, %Y",
    "%Y %b %d",
    "%d/%b/%Y",
];

/// What follows a day.
const TIMES: [&str; 15] = [
    "",
    " %H:%M:%S",
    " %H:%M",
    "T%H:%M:%S",
    "T%H:%M",
    " %I:%M:%S %p",
    " %I:%M %p",
    " %H:%M:%S%.f",
    "T%H:%M:%S%.f",
    ", %H:%M:%S",
    ", %H:%M",
    ":%H:%M:%S",
    "-%H:%M:%S",
    " %H.%M",
    "%H%M%S",
];

/// What follows a time.
const ZONES: [&str; 4] = ["", " %z", "%z", " %Z"];

/// Formats with an order of their own.
const WHOLE: [&str; 2] = ["rfc3339", "%a %b %e %H:%M:%S %Z %Y"];

/// Seconds between 2 July 1979 and 2040, and the same in other units: no date is taken for another's.
const SECONDS: std::ops::Range<f64> = 3e8..2.2e9;

/// How dates are written, and how sure that is.
#[derive(Debug, Clone, PartialEq)]
pub struct Guess {
    /// The formats, as a pipeline file has them; the first that fits wins.
    pub formats: Vec<String>,
    /// How many texts they read, of how many.
    pub read: usize,
    /// How many texts there were.
    pub of: usize,
    /// Whether a date has a time of day.
    pub has_time: bool,
    /// Whether a date names its zone, or is counted from a moment.
    pub has_zone: bool,
    /// What cannot be told, with the evidence.
    pub doubt: Option<String>,
}

impl Guess {
    /// A parser for such dates.
    pub fn parser(&self) -> Option<DatetimeParser> {
        DatetimeFormats::read(&self.formats, None).ok().map(DatetimeParser::new)
    }
}

/// Tells formats, with all candidates at hand.
#[derive(Debug)]
pub struct DateReader {
    candidates: Vec<Candidate>,
}

#[derive(Debug)]
struct Candidate {
    format: String,
    parser: DatetimeParser,
}

impl Candidate {
    fn new(format: &str) -> Option<Self> {
        let formats = DatetimeFormats::read(&[format], None).ok()?;
        Some(Self { format: format.to_owned(), parser: DatetimeParser::new(formats) })
    }
}

impl Default for DateReader {
    fn default() -> Self {
        let dated = DAYS.iter().flat_map(|day| TIMES.iter().map(move |time| (day, time))).flat_map(|(day, time)| {
            let zones = if time.is_empty() { &ZONES[..1] } else { &ZONES[..] };
            zones.iter().map(move |zone| format!("{day}{time}{zone}"))
        });
        let formats = WHOLE.iter().map(|format| (*format).to_owned()).chain(dated);
        Self { candidates: formats.filter_map(|format| Candidate::new(&format)).collect() }
    }
}

impl DateReader {
    /// The formats of `texts`, in the order in which they stand in the file, if most are dates. `day_first` is whether the
    /// rest of the file is written as where the day comes before the month.
    pub fn guess(&mut self, texts: &[&str], day_first: bool) -> Option<Guess> {
        let texts = every_nth(texts, MOST_TEXTS);
        let has_digit =
            |text: &&&str| text.len() >= 6 && text.len() <= 60 && text.bytes().any(|byte| byte.is_ascii_digit());
        if texts.is_empty() || (texts.iter().filter(has_digit).count() as f64) < MOST * texts.len() as f64 {
            return None;
        }
        let mut formats: Vec<usize> = Vec::new();
        let mut left: Vec<&str> = texts.clone();
        // The best format first, then the best for what it leaves.
        while !left.is_empty() && formats.len() < MOST_FORMATS {
            let Some((best, read)) = self.best(&left) else { break };
            if (read as f64) < 0.005 * texts.len() as f64 {
                break;
            }
            formats.push(best);
            let parser = &mut self.candidates[best].parser;
            left.retain(|text| parser.parse(text).is_none());
        }
        let read = texts.len() - left.len();
        if (read as f64) < MOST * texts.len() as f64 {
            return None;
        }
        let doubt = self.day_and_month(&mut formats, &texts, day_first);
        let formats: Vec<String> = formats.into_iter().map(|index| self.candidates[index].format.clone()).collect();
        let has = |parts: &[&str]| formats.iter().all(|format| parts.iter().any(|part| format.contains(part)));
        let (has_time, has_zone) = (has(&["%H", "%I", "rfc3339"]), has(&["%z", "%Z", "rfc3339"]));
        Some(Guess { formats, read, of: texts.len(), has_time, has_zone, doubt })
    }

    /// The candidate that reads most of `texts`, and how many.
    fn best(&mut self, texts: &[&str]) -> Option<(usize, usize)> {
        let first = every_nth(texts, FIRST_TEXTS);
        let mut counted: HashMap<usize, usize> = HashMap::new();
        for (index, candidate) in self.candidates.iter_mut().enumerate() {
            if first.iter().any(|text| candidate.parser.parse(text).is_some()) {
                counted.insert(index, texts.iter().filter(|text| candidate.parser.parse(text).is_some()).count());
            }
        }
        counted.into_iter().max_by_key(|&(index, read)| (read, std::cmp::Reverse(index)))
    }

    /// Puts the right one of two formats first that differ in the order of day and month, and says so where both could be.
    fn day_and_month(&mut self, formats: &mut Vec<usize>, texts: &[&str], day_first: bool) -> Option<String> {
        let first = *formats.first()?;
        let other = swapped(&self.candidates[first].format)?;
        let other = self.candidates.iter().position(|candidate| candidate.format == other)?;
        let mut read = |index: usize| -> Vec<Option<Timestamp>> {
            texts.iter().map(|text| self.candidates[index].parser.parse(text)).collect()
        };
        let (ours, theirs) = (read(first), read(other));
        let count = |fits: &dyn Fn(&Option<Timestamp>, &Option<Timestamp>) -> bool| {
            ours.iter().zip(&theirs).filter(|(ours, theirs)| fits(ours, theirs)).count()
        };
        let both = count(&|ours, theirs| ours.is_some() && theirs.is_some() && ours != theirs);
        let only_ours = count(&|ours, theirs| ours.is_some() && theirs.is_none());
        let only_theirs = count(&|ours, theirs| ours.is_none() && theirs.is_some());
        let names = |index: usize| order_of(&self.candidates[index].format);
        let cannot = format!("day and month cannot be told apart in {} of {} dates", shown(both), shown(texts.len()));
        if only_theirs > 0 {
            // Both are among the formats, and the one that reads more comes first.
            return Some(format!(
                "{} dates can only be {} and {} only {}; the {} that can be both are read as {}",
                shown(only_ours),
                names(first),
                shown(only_theirs),
                names(other),
                shown(both),
                names(first)
            ));
        }
        if both == 0 {
            return None;
        }
        if only_ours > 0 {
            let is_weak = only_ours * 20 < texts.len();
            let others =
                if only_ours == 1 { "1 other fits".to_owned() } else { format!("{} others fit", shown(only_ours)) };
            return is_weak.then(|| format!("{cannot}: they are read as {}, because {others} only that", names(first)));
        }
        let (chosen, why) = choose([first, other], [&ours, &theirs], &|index| {
            self.candidates[index].format.starts_with("%d") == day_first
        });
        let replaced = if chosen == first { other } else { first };
        formats.retain(|index| ![chosen, replaced].contains(index));
        formats.insert(0, chosen);
        Some(format!("{cannot}: they are read as {}, because {why}", order_of(&self.candidates[chosen].format)))
    }
}

/// Which of two formats is more likely where both read everything, and why.
fn choose(
    formats: [usize; 2],
    moments: [&[Option<Timestamp>]; 2],
    is_usual: &dyn Fn(usize) -> bool,
) -> (usize, String) {
    let steps_back = moments.map(|moments| {
        let moments: Vec<Timestamp> = moments.iter().flatten().copied().collect();
        moments.windows(2).filter(|pair| pair[1] < pair[0]).count()
    });
    let spans = moments.map(|moments| {
        let range = moments.iter().flatten().fold(None, |range: Option<(i64, i64)>, &moment| {
            Some(range.map_or((moment, moment), |(low, high)| (low.min(moment), high.max(moment))))
        });
        range.unwrap_or((0, 0))
    });
    let days = spans.map(|(low, high)| (high - low) / 86_400_000);
    let better = |values: [i64; 2]| usize::from(values[1] < values[0]);
    if steps_back[0] != steps_back[1] {
        let best = better(steps_back.map(|count| count as i64));
        let why = format!(
            "they then stand in order with {} steps back, and else with {}",
            steps_back[best],
            steps_back[1 - best]
        );
        return (formats[best], why);
    }
    if days[0] != days[1] {
        let best = better(days);
        let text = |moment: Timestamp| format_timestamp(moment).chars().take(10).collect::<String>();
        let (low, high) = spans[best];
        let why = format!(
            "they then lie within {} days ({} to {}), and else within {}",
            days[best],
            text(low),
            text(high),
            days[1 - best]
        );
        return (formats[best], why);
    }
    let best = usize::from(!is_usual(formats[0]));
    (formats[best], "that is more usual where numbers are written as here".to_owned())
}

/// The format with day and month in each other's place, where both are numbers.
fn swapped(format: &str) -> Option<String> {
    let both =
        (format.starts_with("%d") && format.contains("%m")) || (format.starts_with("%m") && format.contains("%d"));
    both.then(|| format.replace("%d", "%\u{0}").replace("%m", "%d").replace("%\u{0}", "%m"))
}

/// A count as people read it.
fn shown(count: usize) -> String {
    grouped(count as u64)
}

fn order_of(format: &str) -> &'static str {
    if format.starts_with("%d") { "day/month" } else { "month/day" }
}

/// The formats of the dates in a column with this name, in the order in which they stand in the file; `None` where most are
/// no dates.
pub fn formats_of(name: &str, texts: &[&str]) -> Option<Guess> {
    let numbers: Vec<f64> = texts.iter().filter_map(|text| text.parse().ok()).collect();
    match epoch(name, &numbers).filter(|_| numbers.len() == texts.len()) {
        Some(guess) => Some(guess),
        None => DateReader::default().guess(texts, false),
    }
}

/// Counts since 1970 in a column with this name, and their unit.
pub(super) fn epoch(name: &str, numbers: &[f64]) -> Option<Guess> {
    let hint = strength(name, Hint::Time);
    let units = [("unix_s", 1.0), ("unix_ms", 1e3), ("unix_us", 1e6)];
    let fits = |factor: f64| numbers.iter().filter(|number| SECONDS.contains(&(**number / factor))).count();
    let (unit, read) = units.map(|(unit, factor)| (unit, fits(factor))).into_iter().max_by_key(|(_, read)| *read)?;
    if hint == 0 || (read as f64) < 0.98 * numbers.len() as f64 || read == 0 {
        return None;
    }
    let formats = vec![unit.to_owned()];
    Some(Guess { formats, read, of: numbers.len(), has_time: true, has_zone: true, doubt: None })
}

/// At most so many of them, from the first to the last.
pub(super) fn every_nth<'a>(texts: &[&'a str], most: usize) -> Vec<&'a str> {
    texts.iter().step_by(texts.len().div_ceil(most).max(1)).copied().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn guess(texts: &[&str]) -> Option<Guess> {
        DateReader::default().guess(texts, false)
    }

    fn formats(texts: &[&str]) -> Vec<String> {
        guess(texts).map_or_else(Vec::new, |guess| guess.formats)
    }

    #[test]
    fn formats_are_told() {
        for (texts, expected) in [
            (&["2010-12-01 08:26:00", "2010-12-31 08:26:00"][..], "%Y-%m-%d %H:%M:%S"),
            (&["12/1/2010 8:26", "12/31/2010 9:00"], "%m/%d/%Y %H:%M"),
            (&["12/1/10 8:26", "12/31/10 9:00"], "%m/%d/%y %H:%M"),
            (&["01.12.2010 8:26", "31.12.2010 9:00"], "%d.%m.%Y %H:%M"),
            (&["31/12/2010"], "%d/%m/%Y"),
            (&["2018-04-01T00:00:31Z"], "rfc3339"),
            (&["2018-04-01T00:00:31+02:00"], "rfc3339"),
            (&["2018-04-01T00:00:31"], "%Y-%m-%dT%H:%M:%S"),
            (&["2018-04-01T00:00:31.123456", "2018-04-01T00:00:32"], "%Y-%m-%dT%H:%M:%S%.f"),
            (&["2018-04-01 00:00:31 +0200"], "%Y-%m-%d %H:%M:%S %z"),
            (&["2018-04-01 00:00:31 UTC"], "%Y-%m-%d %H:%M:%S %Z"),
            (&["20101201"], "%Y%m%d"),
            (&["21-Jan-2019 10:30:00"], "%d-%b-%Y %H:%M:%S"),
            (&["Jan 21, 2019"], "%b %d, %Y"),
            (&["01/21/2019 10:30 PM"], "%m/%d/%Y %I:%M %p"),
        ] {
            assert_eq!(formats(texts), [expected], "{texts:?}");
        }
        for other in [&["85123A", "22041"][..], &["12345678"], &["2.55"], &["hello"], &[], &["10:30"]] {
            assert_eq!(guess(other), None, "{other:?}");
        }
    }

    #[test]
    fn several_formats_may_be_in_a_column() {
        let texts = ["2010-12-01 08:26:00", "2010-12-02 08:26:00", "2010-12-03"];
        assert_eq!(formats(&texts), ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d"]);
    }

    #[test]
    fn what_cannot_be_told_of_day_and_month_is_said() {
        let doubt = |texts: &[&str]| guess(texts).unwrap().doubt.unwrap_or_default();
        // One date that can be no month tells it for all.
        let mut texts = vec!["01/02/2010"; 40];
        texts.push("13/02/2010");
        assert_eq!(formats(&texts), ["%d/%m/%Y"]);
        assert_eq!(
            doubt(&texts),
            "day and month cannot be told apart in 40 of 41 dates: they are read as day/month, because 1 other fits only that"
        );
        // None does, but they stand in order.
        let texts = ["05/01/2010", "06/01/2010", "01/02/2010", "02/02/2010"];
        assert_eq!(formats(&texts), ["%d/%m/%Y"]);
        assert!(doubt(&texts).ends_with("stand in order with 0 steps back, and else with 1"), "{}", doubt(&texts));
        // They lie within some days.
        let texts = ["01/12/2010", "02/12/2010", "03/12/2010"];
        assert_eq!(formats(&texts), ["%d/%m/%Y"]);
        let wanted = "because they then lie within 2 days (2010-12-01 to 2010-12-03), and else within 59";
        assert!(doubt(&texts).ends_with(wanted), "{}", doubt(&texts));
        // Nothing tells.
        let texts = ["01/02/2010"];
        assert_eq!(formats(&texts), ["%m/%d/%Y"]);
        assert_eq!(DateReader::default().guess(&texts, true).unwrap().formats, ["%d/%m/%Y"]);
        assert!(doubt(&texts).contains("1 of 1 dates"));
        // Enough do.
        assert_eq!(doubt(&["13/02/2010", "01/02/2010"]), "");
        // Both are there.
        let texts = ["13/02/2010", "14/02/2010", "02/13/2010"];
        assert_eq!(formats(&texts), ["%d/%m/%Y", "%m/%d/%Y"]);
        assert!(doubt(&texts).starts_with("2 dates can only be day/month and 1 only month/day"), "{}", doubt(&texts));
    }

    #[test]
    fn counts_since_1970_need_a_name() {
        let unit = |name: &str, number: f64| epoch(name, &[number]).map(|guess| guess.formats[0].clone());
        assert_eq!(unit("timestamp", 1_283_332_920.0).as_deref(), Some("unix_s"));
        assert_eq!(unit("created_at", 1_283_332_920_000.0).as_deref(), Some("unix_ms"));
        assert_eq!(unit("ts", 1.283e15).as_deref(), Some("unix_us"));
        assert_eq!(unit("phone", 1_283_332_920.0), None);
        assert_eq!(unit("timestamp", 86_400.0), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn a_format_that_is_told_reads_the_dates_as_they_were_meant(
            seconds in proptest::collection::vec(1_000_000_000i64..1_700_000_000, 30..60),
            day in prop::sample::select(&["%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%y", "%d-%b-%Y"]),
            time in prop::sample::select(&["", " %H:%M", "T%H:%M:%S", " %I:%M:%S %p"]),
        ) {
            let format = format!("{day}{time}");
            let texts: Vec<String> = seconds.iter()
                .map(|&at| chrono::DateTime::from_timestamp(at, 0).unwrap().format(&format).to_string()).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let meant: Vec<_> = {
                let mut parser = Candidate::new(&format).unwrap().parser;
                texts.iter().map(|text| parser.parse(text)).collect()
            };
            let mut parser = guess(&texts).unwrap().parser().unwrap();
            let read: Vec<_> = texts.iter().map(|text| parser.parse(text)).collect();
            prop_assert_eq!(read, meant);
        }
    }
}
