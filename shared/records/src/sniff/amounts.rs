//! Which numbers to learn from, and where records were.

use std::collections::HashMap;

use super::About;
use super::finder::Finder;
use super::names::Hint;
use super::profile::Kind;

impl Finder<'_> {
    pub(super) fn is_free_number(&self, index: usize, taken: &[usize]) -> bool {
        let column = &self.columns[index];
        let is_place = self.strength(index, Hint::Latitude) + self.strength(index, Hint::Longitude) > 0;
        !taken.contains(&index)
            && column.is_number()
            && column.missing * 20 <= self.sample.rows.len()
            && column.distinct > 1
            && !is_place
            && !column.is_row_number
    }

    pub(super) fn number(&self, hint: Hint, taken: &[usize]) -> Option<usize> {
        self.best(|index| {
            let strength = self.strength(index, hint);
            let rank = (strength, self.columns[index].kind == Kind::Float);
            (strength > 0 && self.is_free_number(index, taken)).then_some(rank)
        })
    }

    /// The number that is most likely an amount, where no name says so.
    pub(super) fn some_number(&mut self, taken: &[usize]) -> Option<usize> {
        let found = self.best(|index| {
            let column = &self.columns[index];
            let rank = (column.kind == Kind::Float, column.numbers.is_some_and(|numbers| numbers.with_fraction > 0));
            self.is_free_number(index, taken).then_some(rank)
        });
        let found = found?;
        self.doubt(
            About::Features,
            format!(
                "`{}` is taken for the amount, because it is a number; no name says which column is one",
                self.shown(found)
            ),
        );
        Some(found)
    }

    pub(super) fn balances(&self, taken: &[usize]) -> Vec<usize> {
        let is_one = |index: &usize| {
            self.strength(*index, Hint::Balance) > 0
                && self.is_free_number(*index, taken)
                && self.columns[*index].missing == 0
        };
        (0..self.columns.len()).filter(is_one).take(4).collect()
    }

    pub(super) fn numbers(&self, taken: &[usize], most: usize) -> Vec<usize> {
        let fits = |index: &usize| self.is_free_number(*index, taken) && self.columns[*index].kind == Kind::Float;
        (0..self.columns.len()).filter(fits).take(most).collect()
    }

    /// Where it was: a place that is not always the same for a customer, as a home is.
    pub(super) fn place(&self, taken: &[usize], customer: usize) -> Option<(usize, usize)> {
        let within = |index: usize, limit: f64| {
            let numbers = self.columns[index].numbers?;
            let fits = numbers.min >= -limit && numbers.max <= limit && self.columns[index].is_complete();
            (fits && !taken.contains(&index)).then_some(())
        };
        let pair = |strong: u32| {
            let latitude = self.best(|index| {
                within(index, 90.0)?;
                (self.strength(index, Hint::Latitude) == strong).then_some(())
            })?;
            let longitude = self.best(|index| {
                within(index, 180.0)?;
                (self.strength(index, Hint::Longitude) == strong).then_some(())
            })?;
            Some((latitude, longitude))
        };
        let moves = |(latitude, longitude): &(usize, usize)| {
            // Of each customer with a place: how many records, and how many of them have another place than the one before.
            let mut seen: HashMap<&str, ((&str, &str), usize, usize)> = HashMap::new();
            for row in &self.sample.rows {
                let place = row[*latitude].text().zip(row[*longitude].text());
                let Some((who, place)) = row[customer].text().zip(place) else { continue };
                let (last, count, moved) = seen.entry(who).or_insert((place, 0, 0));
                *moved += usize::from(*last != place);
                *count += 1;
                *last = place;
            }
            let repeated = seen.values().filter(|(_, count, _)| *count > 1).count();
            let moving = seen.values().filter(|(_, _, moved)| *moved > 0).count();
            moving * 2 > repeated
        };
        [2, 1].into_iter().filter_map(pair).find(moves)
    }

    /// Says that amounts may be of several currencies.
    pub(super) fn currencies(&mut self, amount: Option<usize>) {
        let found = self
            .best(|index| (self.strength(index, Hint::Currency) > 0 && self.columns[index].distinct > 1).then_some(()));
        if let (Some(currency), Some(amount)) = (found, amount) {
            let text = format!(
                "`{}` names {} currencies, and the numbers of `{}` are compared as they stand: give the rates in a section [currency]",
                self.shown(currency),
                self.columns[currency].distinct,
                self.shown(amount)
            );
            self.doubt(About::Features, text);
        }
    }
}
