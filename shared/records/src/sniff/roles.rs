//! What columns are for: which names a record or the invoice of its lines, when it was, how much, whose.

use std::collections::HashMap;

use thiserror::Error;

use super::dates::Guess;
use super::finder::Finder;
use super::names::Hint;
use super::profile::{Profile, moments};
use super::sample::Sample;
use super::{About, Doubt};
use crate::text::{grouped, printable};
use crate::time::Millis;

/// Most numbers that are learned from where records have no names and belong to nobody.
const MOST_NUMBERS: usize = 40;

/// What columns are for, by their index.
#[derive(Debug, Clone, PartialEq)]
pub struct Roles {
    /// What is scored.
    pub shape: Shape,
    /// Names a record, or the entity of its lines; none where a record is named by where it stands.
    pub key: Option<usize>,
    /// When it was.
    pub time: Option<Time>,
    /// Whose it is.
    pub customer: Option<usize>,
    /// With whom.
    pub merchant: Option<usize>,
    /// How much.
    pub amount: Option<usize>,
    /// How many, of a line.
    pub quantity: Option<usize>,
    /// What one costs, of a line.
    pub price: Option<usize>,
    /// Latitude and longitude of where it was.
    pub place: Option<(usize, usize)>,
    /// Other numbers to learn from.
    pub others: Vec<usize>,
    /// What is known of it.
    pub label: Option<Label>,
    /// What the keys of cancellations begin with.
    pub cancelled: Option<String>,
}

/// What is scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The lines of a key, which ends when none came for this long.
    Sessions {
        /// The longest gap that is no end.
        gap: Millis,
    },
    /// Each record.
    Records,
}

/// When records were.
#[derive(Debug, Clone, PartialEq)]
pub struct Time {
    /// The column.
    pub column: usize,
    /// How it is read.
    pub dates: Guess,
    /// How much time a millisecond of it stands for: 1, but more where a column counts hours and is read as seconds.
    pub scale: i64,
}

/// What is known of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The column.
    pub column: usize,
    /// The labels of those with which nothing is wrong.
    pub normal: Vec<String>,
}

/// Why no pipeline can be made of the records.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unfit {
    /// There is none.
    #[error("there is no record in it: at least a hundred would be right")]
    NoRecord,
    /// Nothing says when a record was.
    #[error(
        "no column says when a record was: a date is needed, or a count of seconds in a column such as `timestamp`, and none of the {columns} columns is one"
    )]
    NoTime {
        /// How many columns there are.
        columns: usize,
    },
    /// There is nothing to learn from.
    #[error(
        "no column of numbers is complete enough to learn from: an amount in at least 95% of the records would be right"
    )]
    NoNumber,
}

/// Finds what columns are for.
///
/// # Errors
/// [`Unfit`].
pub(super) fn roles(sample: &Sample, columns: &[Profile], doubts: &mut Vec<Doubt>) -> Result<Roles, Unfit> {
    if sample.rows.is_empty() {
        return Err(Unfit::NoRecord);
    }
    let n_torn = sample.n_torn;
    if n_torn * 100 > sample.n_records {
        let text = format!(
            "{} of {} records are not as the others, and will be erroneous",
            grouped(n_torn),
            grouped(sample.n_records)
        );
        doubts.push(Doubt::new(About::Input, text));
    }
    let mut finder = Finder { sample, columns, doubts };
    let time = finder.time();
    let moments = time.as_ref().map(|time| moments(sample, time.column, &time.dates));
    let label = finder.label();
    let mut taken: Vec<usize> =
        time.iter().map(|time| time.column).chain(label.iter().map(|label| label.column)).collect();
    let sessions = finder.session_key(&taken, moments.as_deref());
    let (shape, key) = match sessions {
        Some((key, gap)) => (Shape::Sessions { gap }, Some(key)),
        None if time.is_none() => return Err(Unfit::NoTime { columns: columns.len() }),
        None => (Shape::Records, finder.record_key(&taken)),
    };
    if key.is_none() {
        finder.tell_keyless(&taken);
    }
    taken.extend(key);
    let is_session = shape != Shape::Records;
    let customer = finder.who(Hint::Customer, &taken, !is_session);
    taken.extend(customer);
    let merchant = finder.who(Hint::Merchant, &taken, !is_session);
    taken.extend(merchant);
    let quantity = finder.number(Hint::Quantity, &taken);
    taken.extend(quantity);
    let price = if is_session { finder.number(Hint::Price, &taken) } else { None };
    taken.extend(price);
    let mut amount = finder.number(Hint::Amount, &taken);
    if amount.is_none() && !is_session {
        amount = Some(finder.some_number(&taken).ok_or(Unfit::NoNumber)?);
    }
    taken.extend(amount);
    let place = customer.and_then(|customer| finder.place(&taken, customer));
    let others = if is_session && quantity.or(price).or(amount).is_none() {
        finder.numbers(&taken, 2)
    } else if key.or(customer).or(merchant).is_none() {
        // Nobody has a past: what there is to learn from is in the record.
        finder.numbers(&taken, MOST_NUMBERS)
    } else {
        finder.balances(&taken)
    };
    finder.currencies(amount.or(price));
    let cancelled = key.filter(|_| is_session).and_then(|key| finder.cancelled(key));
    let roles =
        Roles { shape, key, time, customer, merchant, amount, quantity, price, place, others, label, cancelled };
    finder.tell_dates(&roles);
    Ok(roles)
}

impl Finder<'_> {
    /// A date, or a count of something that never goes back.
    fn time(&mut self) -> Option<Time> {
        let date = self.best(|index| {
            let column = &self.columns[index];
            let dates = column.dates.as_ref().filter(|_| column.is_complete())?;
            Some((self.strength(index, Hint::Time), dates.has_time))
        });
        if let Some(column) = date {
            if self.strength(column, Hint::Time) == 0 {
                let text = format!(
                    "`{}` is taken for the time of a record: it is a date, but its name does not say so",
                    self.shown(column)
                );
                self.doubt(About::Entity, text);
            }
            let dates = self.columns[column].dates.clone()?;
            return Some(Time { column, dates, scale: 1 });
        }
        let counter = self.best(|index| {
            let column = &self.columns[index];
            let numbers = column.numbers?;
            let is_counter = numbers.min >= 0.0 && numbers.steps_back * 100 <= column.present && numbers.max < 1e11;
            let hint = self.strength(index, Hint::Time);
            (hint > 0 && is_counter && column.is_complete()).then_some(hint)
        })?;
        let name = self.shown(counter);
        let counts_hours = self.columns[counter].name.eq_ignore_ascii_case("step");
        let (scale, text) = if counts_hours {
            let text = format!(
                "`{name}` counts steps, which are taken for hours: a step is read as a second of 1970, so a span of 24s is a day"
            );
            (3600, text)
        } else {
            (
                1,
                format!(
                    "`{name}` counts seconds from an unknown moment: they are read as seconds of 1970, so hours of the day mean nothing"
                ),
            )
        };
        self.doubt(About::Dates, text);
        let of = self.columns[counter].present;
        let formats = vec!["unix_s".to_owned()];
        let dates = Guess { formats, read: of, of, has_time: false, has_zone: true, doubt: None };
        Some(Time { column: counter, dates, scale })
    }

    fn label(&mut self) -> Option<Label> {
        let column = self.best(|index| {
            let column = &self.columns[index];
            let hint = self.strength(index, Hint::Label);
            (hint > 0 && (1..=20).contains(&column.distinct)).then_some(hint)
        })?;
        let name = self.shown(column);
        let mut counts: HashMap<&str, usize> = HashMap::new();
        self.texts(column).into_iter().flatten().for_each(|text| *counts.entry(text).or_default() += 1);
        const NORMAL: [&str; 14] = [
            "0",
            "0.0",
            "false",
            "f",
            "no",
            "n",
            "normal",
            "legit",
            "legitimate",
            "genuine",
            "benign",
            "ok",
            "good",
            "none",
        ];
        let is_normal = |text: &str| NORMAL.iter().any(|normal| normal.eq_ignore_ascii_case(text));
        let mut normal: Vec<String> =
            counts.keys().filter(|text| is_normal(text)).map(|text| (*text).to_owned()).collect();
        let (most, count) = counts.iter().max_by_key(|&(text, count)| (*count, std::cmp::Reverse(*text)))?;
        let present: usize = counts.values().sum();
        // Where records without a label are the normal ones, only the others have one.
        let is_sparse = self.columns[column].missing > present;
        if normal.is_empty() && !is_sparse {
            if count * 2 < present {
                return None;
            }
            let text = format!(
                "`{name}` is taken for the label: `{}` is taken for normal, because {} of {} records have it",
                printable(most),
                grouped(*count as u64),
                grouped(present as u64)
            );
            normal.push((*most).to_owned());
            self.doubt(About::Label, text);
        }
        normal.sort();
        Some(Label { column, normal })
    }

    /// What cannot be told of the dates that are used, and their zone.
    fn tell_dates(&mut self, roles: &Roles) {
        let Some(Time { column, dates, .. }) = &roles.time else { return };
        let name = self.shown(*column);
        if let Some(doubt) = &dates.doubt {
            self.doubt(About::Dates, format!("`{name}`: {doubt}"));
        }
        if dates.read < dates.of {
            let text = format!(
                "{} of {} values of `{name}` are no dates in these formats: their records are erroneous",
                dates.of - dates.read,
                dates.of
            );
            self.doubt(About::Dates, text);
        }
        if !dates.has_zone && dates.has_time {
            self.doubt(About::Dates, format!("the dates of `{name}` name no zone: they are read as UTC"));
        }
    }
}
