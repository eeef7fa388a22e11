//! What the columns of a sample hold: the type of each, with what speaks for it.

use std::collections::HashSet;

use super::csv::{day_comes_first, is_row_number};
use super::dates::{DateReader, Guess, epoch};
use super::names::{Hint, strength};
use super::numbers::number;
use super::sample::{Cell, Sample};
use super::{About, Doubt, Writing};
use crate::dialect::{NumberStyle, TextRules};
use crate::json_path::JsonPath;
use crate::text::printable;
use crate::time::Timestamp;

/// The share of the values of a column that have its type.
const MOST: f64 = 0.98;

/// Digits from which on a whole number names something.
const DIGITS_OF_NAMES: usize = 16;

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// There is none.
    Empty,
    /// Texts.
    Text,
    /// Whole numbers.
    Integer,
    /// Numbers.
    Float,
    /// Dates.
    Date,
    /// True and false, where these are no texts.
    Flag,
    /// Objects or lists.
    Nested,
}

/// The numbers of a column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Numbers {
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// How many have a fraction.
    pub with_fraction: usize,
    /// How many are less than the one before.
    pub steps_back: usize,
}

/// A column.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Its name, as it is written.
    pub name: String,
    /// What its values are.
    pub kind: Kind,
    /// How many there are, and how many are missing.
    pub present: usize,
    /// How many are missing.
    pub missing: usize,
    /// How many are different.
    pub distinct: usize,
    /// One of them; empty where there is none.
    pub example: String,
    /// Of a column of numbers.
    pub numbers: Option<Numbers>,
    /// Of a column of dates.
    pub dates: Option<Guess>,
    /// Whether it is the number of the row.
    pub is_row_number: bool,
    /// Where it stands in a JSON record, where that is no field of the record itself.
    pub path: Option<JsonPath>,
    /// Whether JSON has texts, or true and false, among its values.
    pub is_converted: bool,
}

impl Profile {
    /// Whether its values are numbers.
    pub fn is_number(&self) -> bool {
        matches!(self.kind, Kind::Integer | Kind::Float)
    }

    /// Whether its values can name something: texts and whole numbers, also those that a table has as floats.
    pub fn can_name(&self) -> bool {
        let is_whole = || self.numbers.is_some_and(|numbers| numbers.with_fraction == 0 && numbers.min >= 0.0);
        match self.kind {
            Kind::Text | Kind::Integer => true,
            Kind::Float => is_whole(),
            _ => false,
        }
    }

    /// Whether it is there in nearly all records.
    pub fn is_complete(&self) -> bool {
        self.missing * 50 <= self.present
    }
}

/// How texts become numbers, and which stand for nothing.
fn rules(writing: &Writing) -> &TextRules {
    match writing {
        Writing::Csv(dialect) => &dialect.texts,
        Writing::Json(_) | Writing::Table => const { &TextRules::PLAIN },
    }
}

/// The columns of a sample.
pub(super) fn profiles(writing: &Writing, sample: &Sample, doubts: &mut Vec<Doubt>) -> Vec<Profile> {
    let mut reader = DateReader::default();
    let columns = 0..sample.names.len();
    columns.map(|index| profile(writing, sample, index, &mut reader, doubts)).collect()
}

fn profile(
    writing: &Writing,
    sample: &Sample,
    index: usize,
    reader: &mut DateReader,
    doubts: &mut Vec<Doubt>,
) -> Profile {
    let name = &sample.names[index];
    let rules = rules(writing);
    let is_there = |cell: &&Cell| match cell {
        Cell::Missing => false,
        Cell::Text(text) => !rules.nulls.contains(text),
        _ => true,
    };
    let cells: Vec<&Cell> = sample.column(index).filter(is_there).collect();
    let shown = shown_names(name, index);
    let mut profile = Profile {
        name: name.clone(),
        kind: Kind::Empty,
        present: cells.len(),
        missing: sample.rows.len() - cells.len(),
        distinct: 0,
        example: String::new(),
        numbers: None,
        dates: None,
        is_row_number: is_row_number(name, index),
        path: sample.paths.get(name).cloned(),
        is_converted: matches!(writing, Writing::Json(_))
            && cells.iter().any(|cell| matches!(cell, Cell::Text(_) | Cell::Flag(_))),
    };
    let texts: Vec<&str> = cells.iter().filter_map(|cell| cell.text()).collect();
    profile.distinct = texts.iter().collect::<HashSet<_>>().len();
    profile.example = texts.first().map_or_else(String::new, |text| (*text).to_owned());
    let count = |fits: fn(&Cell) -> bool| cells.iter().filter(|cell| fits(cell)).count();
    if cells.is_empty() {
        return profile;
    }
    if count(|cell| matches!(cell, Cell::Nested)) > 0 {
        profile.kind = Kind::Nested;
        return profile;
    }
    if count(|cell| matches!(cell, Cell::Moment(_))) == cells.len() {
        return of_moments(profile, &cells);
    }
    if count(|cell| matches!(cell, Cell::Flag(_))) > 0 {
        profile.kind = Kind::Flag;
        return profile;
    }
    // Where texts have types, digits in quotes are more likely a name, unless they have a fraction: "12.50".
    let are_numbers = match writing {
        Writing::Csv(_) => true,
        Writing::Json(_) if number_kind(&texts, rules.numbers) == Kind::Float => true,
        Writing::Json(_) | Writing::Table => count(|cell| matches!(cell, Cell::Number(_))) == cells.len(),
    };
    let numbers: Vec<f64> = texts.iter().filter_map(|text| number(rules.numbers, text)).collect();
    let is_numeric = numbers.len() as f64 >= MOST * texts.len() as f64;
    if is_numeric && !are_numbers {
        let text =
            format!("`{shown}` has numbers as texts, such as \"{}\": it is left a text", printable(&profile.example));
        doubts.push(Doubt::new(About::Input, text));
    }
    let is_dated = is_numeric && strength(name, Hint::Time) > 0;
    profile.dates = is_dated.then(|| epoch(name, &numbers).or_else(|| of_digits(reader, &texts))).flatten();
    if profile.dates.is_none() && is_numeric && are_numbers {
        profile.kind = number_kind(&texts, rules.numbers);
        if profile.kind != Kind::Text {
            profile.numbers = Some(facts(&numbers));
            tell_others(&shown, &texts, rules.numbers, doubts);
            return profile;
        }
    }
    if profile.dates.is_none() && !is_numeric {
        let day_first = matches!(writing, Writing::Csv(dialect) if day_comes_first(dialect));
        profile.dates = reader.guess(&texts, day_first);
    }
    profile.kind = if profile.dates.is_some() { Kind::Date } else { Kind::Text };
    profile
}

/// A column is called by its place where it has no name.
pub(super) fn shown_names(name: &str, index: usize) -> String {
    if name.is_empty() { format!("column_{}", index + 1) } else { printable(name).to_string() }
}

/// Dates without anything between their digits.
fn of_digits(reader: &mut DateReader, texts: &[&str]) -> Option<Guess> {
    let is_date = |text: &&str| matches!(text.len(), 8 | 14) && text.bytes().all(|byte| byte.is_ascii_digit());
    texts.iter().all(is_date).then(|| reader.guess(texts, false)).flatten().filter(|guess| guess.read == guess.of)
}

fn of_moments(mut profile: Profile, cells: &[&Cell]) -> Profile {
    let moments: Vec<Timestamp> =
        cells.iter().filter_map(|cell| if let Cell::Moment(moment) = cell { Some(*moment) } else { None }).collect();
    profile.distinct = moments.iter().collect::<HashSet<_>>().len();
    profile.example = moments.first().map_or_else(String::new, |moment| crate::time::format_timestamp(*moment));
    profile.kind = Kind::Date;
    profile.dates = Some(Guess {
        formats: ["rfc3339", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d"].map(str::to_owned).to_vec(),
        read: moments.len(),
        of: moments.len(),
        has_time: moments.iter().any(|moment| moment.rem_euclid(86_400_000) != 0),
        has_zone: true,
        doubt: None,
    });
    profile
}

/// Whether these numbers are whole, or name something: `007` and numbers of 16 digits and more do.
fn number_kind(texts: &[&str], style: NumberStyle) -> Kind {
    let names = |text: &&str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        digits && (text.len() >= DIGITS_OF_NAMES || (text.len() > 1 && text.starts_with('0')))
    };
    if texts.iter().any(names) {
        return Kind::Text;
    }
    // A fraction of zeros makes a float of a column: 13085.0 may be followed by 2.5.
    let is_whole =
        |text: &&str| number(style, text).is_none() || (style.integer(text).is_ok() && !text.contains(style.decimal));
    if texts.iter().all(is_whole) { Kind::Integer } else { Kind::Float }
}

fn facts(numbers: &[f64]) -> Numbers {
    Numbers {
        min: numbers.iter().copied().fold(f64::INFINITY, f64::min),
        max: numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        with_fraction: numbers.iter().filter(|number| number.fract() != 0.0).count(),
        steps_back: numbers.windows(2).filter(|pair| pair[1] < pair[0]).count(),
    }
}

/// Says which texts among numbers are none.
fn tell_others(name: &str, texts: &[&str], style: NumberStyle, doubts: &mut Vec<Doubt>) {
    let others: Vec<&&str> = texts.iter().filter(|text| number(style, text).is_none()).collect();
    if let Some(first) = others.first() {
        let text = format!(
            "{} of {} values of `{name}` are no numbers, such as `{}`: their records are erroneous if it is read",
            others.len(),
            texts.len(),
            printable(first)
        );
        doubts.push(Doubt::new(About::Input, text));
    }
}

/// The moments of a column of dates, or of counts, one a row.
pub(super) fn moments(sample: &Sample, index: usize, dates: &Guess) -> Vec<Option<Timestamp>> {
    let mut parser = dates.parser();
    let moment = |cell: &Cell| match cell {
        Cell::Moment(moment) => Some(*moment),
        cell => parser.as_mut()?.parse(cell.text()?),
    };
    sample.column(index).map(moment).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sniff::{csv, json};

    fn kinds(text: &str) -> (Vec<Kind>, Vec<String>) {
        let mut doubts = Vec::new();
        let dialect = csv::layout(text.as_bytes(), true, None, &mut doubts).unwrap();
        let sample = csv::sample(text.as_bytes(), &dialect).unwrap();
        let profiles = profiles(&Writing::Csv(Box::new(dialect)), &sample, &mut doubts);
        (
            profiles.into_iter().map(|profile| profile.kind).collect(),
            doubts.into_iter().map(|doubt| doubt.text).collect(),
        )
    }

    #[test]
    fn types_are_told() {
        use Kind::{Date, Float, Integer, Text};
        let text = "id,n,x,card,zip,time,day,empty,name\n\
                    a,1,2.5,4000000000000001,01234,1283332920,20101201,,Ann\n\
                    b,-2,13085.0,4000000000000002,99999,1283332921,20101202,NULL,Bob\n";
        let empty = Kind::Empty;
        let day = Integer; // Its name does not say that it is a date: `day` could be anything.
        assert_eq!(kinds(text).0, [Text, Integer, Float, Text, Text, Date, day, empty, Text]);
        assert_eq!(kinds(&text.replace(",day,", ",date,")).0[6], Date);
    }

    #[test]
    fn a_few_texts_among_numbers_are_named() {
        let rows: String =
            (0..100).map(|row| if row == 50 { "x,oops\n".to_owned() } else { format!("k{row},{row}\n") }).collect();
        let (kinds, doubts) = kinds(&format!("key,n\n{rows}"));
        assert_eq!(kinds[1], Kind::Integer);
        assert!(doubts[0].starts_with("1 of 100 values of `n` are no numbers, such as `oops`"), "{doubts:?}");
    }

    #[test]
    fn in_json_a_text_of_digits_is_a_name() {
        let json = &br#"{"a":"1250","b":12.5,"c":true,"d":{"e":1,"f":[1]},"g":"2010-12-01","h":"12.50"}"#[..];
        let (sample, shape) = json::sample(json).unwrap();
        let mut doubts = Vec::new();
        let profiles = profiles(&Writing::Json(shape), &sample, &mut doubts);
        let kinds: Vec<Kind> = profiles.iter().map(|profile| profile.kind).collect();
        assert_eq!(kinds, [Kind::Text, Kind::Float, Kind::Flag, Kind::Integer, Kind::Nested, Kind::Date, Kind::Float]);
        let converted: Vec<bool> = profiles.iter().map(|profile| profile.is_converted).collect();
        assert_eq!(converted, [true, false, true, false, false, true, true]);
        assert_eq!(profiles[3].path, "d.e".parse().ok());
        assert!(doubts[0].text.starts_with("`a` has numbers as texts"), "{doubts:?}");
        assert_eq!(rules(&Writing::Csv(Box::default())).numbers, NumberStyle::PLAIN);
    }
}
