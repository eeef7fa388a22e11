//! Which columns name something: a record, the invoice of its lines, a customer, a merchant.

use std::collections::{HashMap, HashSet};

use super::About;
use super::finder::Finder;
use super::names::Hint;
use super::profile::{Kind, Profile};
use super::runs::{Runs, roughly, session_gap};
use crate::text::grouped;
use crate::time::{Millis, Timestamp, format_span};

impl Finder<'_> {
    /// The column whose values stand in runs of lines, and the gap that ends them.
    pub(super) fn session_key(
        &mut self,
        taken: &[usize],
        moments: Option<&[Option<Timestamp>]>,
    ) -> Option<(usize, Millis)> {
        let has_record_key = self.best(|index| {
            let column = &self.columns[index];
            let is_key =
                self.strength(index, Hint::RecordKey) >= 3 && column.missing == 0 && column.distinct == column.present;
            is_key.then_some(())
        });
        let key = self.best(|index| {
            let column = &self.columns[index];
            let hint = self.strength(index, Hint::SessionKey);
            let is_named = hint > 0 || (has_record_key.is_none() && self.strength(index, Hint::Customer) == 0);
            let other = self.strength(index, Hint::Time)
                + self.strength(index, Hint::Quantity)
                + self.strength(index, Hint::Amount);
            if !column.can_name()
                || taken.contains(&index)
                || column.is_row_number
                || !column.is_complete()
                || !is_named
                || other > 0
            {
                return None;
            }
            let runs = Runs::of(&self.texts(index)[..self.sample.n_first], moments);
            runs.are_sessions(hint).then_some((hint, runs.distinct))
        })?;
        let runs = Runs::of(&self.texts(key)[..self.sample.n_first], moments);
        let name = self.shown(key);
        if self.strength(key, Hint::SessionKey) == 0 {
            let text = format!(
                "`{name}` is taken for the number of an invoice or order, because its {} values stand in {} runs of lines; its name does not say so",
                runs.distinct, runs.runs
            );
            self.doubt(About::Entity, text);
        }
        let gap = session_gap(runs.largest_gap);
        if runs.largest_gap > 20_000 {
            let text = format!(
                "the lines of a `{name}` are up to {} apart: it ends after {} without one",
                roughly(runs.largest_gap),
                format_span(gap)
            );
            self.doubt(About::Entity, text);
        }
        Some((key, gap))
    }

    /// The column that names a record.
    pub(super) fn record_key(&mut self, taken: &[usize]) -> Option<usize> {
        let n = self.sample.rows.len();
        let is_unique = |column: &Profile| column.distinct == column.present;
        let key = self.best(|index| {
            let column = &self.columns[index];
            if taken.contains(&index)
                || !column.can_name()
                || column.missing > 0
                || self.strength(index, Hint::Amount) > 0
            {
                return None;
            }
            let hint = self.strength(index, Hint::RecordKey);
            let counts_up = column.numbers.is_some_and(|numbers| numbers.steps_back == 0 && numbers.with_fraction == 0);
            let is_name = hint > 0 || column.kind == Kind::Text || (column.kind == Kind::Integer && counts_up);
            if column.is_row_number {
                return is_unique(column).then_some(1);
            }
            if is_unique(column) && is_name {
                return Some(hint * 10 + 5 + u32::from(column.kind == Kind::Text));
            }
            let is_nearly = column.distinct as f64 >= 0.97 * n as f64 && column.kind == Kind::Text;
            let hint = hint.max(u32::from(self.strength(index, Hint::Customer) > 0));
            (is_nearly && hint > 0).then_some(hint * 10)
        })?;
        let column = &self.columns[key];
        let (name, repeated) = (self.shown(key), column.present - column.distinct);
        let of_all = grouped(n as u64);
        if column.is_row_number {
            self.doubt(About::Entity, format!("`{name}` is taken for the key, because nothing else names a record: it seems to be the number of the row, which records on a topic hardly have"));
        } else if repeated > 0 {
            self.doubt(About::Entity, format!("`{name}` is taken for the key, but it is not another in each record: {} of {of_all} repeat it and are left out", grouped(repeated as u64)));
        } else if self.strength(key, Hint::RecordKey) == 0 {
            self.doubt(About::Entity, format!("`{name}` is taken for the key, because it is another in each of {of_all} records; its name does not say so"));
        }
        Some(key)
    }

    /// Says that no column names a record, and which comes closest.
    pub(super) fn tell_keyless(&mut self, taken: &[usize]) {
        let closest = self.best(|index| {
            let column = &self.columns[index];
            let fits = !taken.contains(&index) && column.can_name() && self.strength(index, Hint::Amount) == 0;
            fits.then_some(column.distinct)
        });
        let evidence = closest.map_or_else(String::new, |index| {
            let column = &self.columns[index];
            let (distinct, present) = (grouped(column.distinct as u64), grouped(column.present as u64));
            format!(", and `{}` comes closest with {distinct} values in {present} records", self.shown(index))
        });
        let columns = self.columns.len();
        let text = format!(
            "none of the {columns} columns has another value in each record{evidence}: a record is named by where it stands, \
             so a copy counts as another record; if there is a number of the payment or the event, name its column as `key`"
        );
        self.doubt(About::Entity, text);
    }

    /// Whose record it is, or with whom: a column that repeats, where it is to have a past.
    pub(super) fn who(&mut self, hint: Hint, taken: &[usize], must_repeat: bool) -> Option<usize> {
        let fits = |index: usize| {
            let column = &self.columns[index];
            let repeats = column.distinct * 10 <= column.present * 9 && column.distinct > 1;
            let is_there = column.present > 0 && (!must_repeat || (repeats && column.is_complete()));
            !taken.contains(&index) && column.can_name() && !column.is_row_number && is_there
        };
        let named = self.best(|index| {
            let strength = self.strength(index, hint);
            (fits(index) && strength > 0).then_some((strength, self.columns[index].distinct))
        });
        if named.is_some() || !must_repeat || hint != Hint::Customer || self.has_names() {
            return named;
        }
        // Without names: what repeats most finely.
        let found = self.best(|index| {
            let column = &self.columns[index];
            let is_fine = column.distinct >= 3 && column.distinct * 2 <= column.present && column.kind != Kind::Float;
            (fits(index) && is_fine).then_some(column.distinct)
        })?;
        let (name, distinct) = (self.shown(found), self.columns[found].distinct);
        self.doubt(About::Entity, format!("`{name}` is taken for the customer, because its {distinct} values repeat; columns have no names that say so"));
        Some(found)
    }

    /// Whether columns have names of their own.
    pub(super) fn has_names(&self) -> bool {
        self.columns.iter().enumerate().any(|(index, column)| column.name != format!("column_{}", index + 1))
    }

    /// The letter that a few keys of digits begin with.
    pub(super) fn cancelled(&mut self, key: usize) -> Option<String> {
        let keys: HashSet<&str> = self.texts(key).into_iter().flatten().collect();
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let mut letters: HashMap<char, usize> = HashMap::new();
        let mut plain = 0;
        for key in &keys {
            let first = key.chars().next().filter(char::is_ascii_alphabetic);
            match first {
                Some(letter) if digits(&key[1..]) => *letters.entry(letter).or_default() += 1,
                _ if digits(key) => plain += 1,
                _ => {}
            }
        }
        let (letter, count) = letters.into_iter().max_by_key(|&(letter, count)| (count, std::cmp::Reverse(letter)))?;
        if plain * 2 < keys.len() {
            return None;
        }
        let text = format!(
            "{} of {} keys begin with `{letter}`: they are taken for cancellations, which are counted and not scored",
            grouped(count as u64),
            grouped(keys.len() as u64)
        );
        self.doubt(About::Entity, text);
        Some(letter.to_string())
    }
}
