//! Card payments, simulated and real, as records of their topics.

use scorer::simulate::transactions::{Config, Simulation, TextWriter, push_user};

use crate::{Record, real_transactions};

/// So few that each user pays often enough for windows of a month to fill and to be left behind.
const USERS: u32 = 150;

/// Simulated payments for the pipeline `transactions`, keyed by user, without end.
pub struct Payments {
    simulation: Simulation,
    writer: TextWriter,
}

impl Payments {
    /// The same ones every time.
    pub fn new() -> Self {
        let config = Config { users: USERS, ..Config::default() }.check().unwrap();
        Self { simulation: Simulation::new(&config), writer: TextWriter::default() }
    }
}

impl Default for Payments {
    fn default() -> Self {
        Self::new()
    }
}

impl Iterator for Payments {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let payment = self.simulation.next()?;
        let (mut key, mut payload) = (Vec::new(), Vec::new());
        push_user(&mut key, payment.user);
        self.writer.json(&mut payload, &payment, false);
        Some((String::from_utf8(key).unwrap(), String::from_utf8(payload).unwrap()))
    }
}

/// Real payments for the pipeline `fraud-handbook`, keyed by customer, without end: each further time a year later and
/// with other ids.
#[derive(Debug, Clone)]
pub struct Cards {
    /// The file's lines after its header.
    lines: Vec<String>,
    next: usize,
}

impl Cards {
    /// The first `count` of the production file; `None` where the real data are missing and tests may be skipped.
    pub fn of_production(count: usize) -> Option<Self> {
        let text = std::fs::read_to_string(real_transactions("production.csv")?).unwrap();
        Some(Self { lines: text.lines().skip(1).take(count).map(str::to_owned).collect(), next: 0 })
    }

    /// How many there are before they are repeated.
    pub fn in_file(&self) -> usize {
        self.lines.len()
    }
}

impl Iterator for Cards {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let record = repeated(&self.lines[self.next % self.lines.len()], self.next / self.lines.len());
        self.next += 1;
        Some(record)
    }
}

/// A line `id,2018-...,customer,...` as it stands in the file for the `times`-th further time, and its customer.
fn repeated(line: &str, times: usize) -> Record {
    let customer = line.split(',').nth(2).unwrap().to_owned();
    if times == 0 {
        return (customer, line.to_owned());
    }
    let (id, rest) = line.split_once(',').unwrap();
    let (year, rest) = rest.split_at(4);
    let year = year.parse::<usize>().unwrap() + times;
    (customer, format!("{times}-{id},{year}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repetition_is_a_year_later_and_of_other_ids() {
        let mut cards = Cards { lines: vec!["7,2018-05-16T00:00:59Z,4994,2467,71.28,0,0".to_owned()], next: 0 };
        assert_eq!(cards.next().unwrap(), ("4994".to_owned(), cards.lines[0].clone()));
        assert_eq!(cards.next().unwrap().1, "1-7,2019-05-16T00:00:59Z,4994,2467,71.28,0,0");
    }

    #[test]
    fn payments_are_keyed_by_their_user() {
        for (key, payload) in Payments::new().take(100) {
            assert!(payload.contains(&format!("\"user_id\":\"{key}\"")), "{key}: {payload}");
        }
    }
}
