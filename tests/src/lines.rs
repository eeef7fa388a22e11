//! The real production file as records, keyed by invoice number, again and again: each further time a year later and with
//! other invoice numbers.

use crate::{Record, real_data};

/// The lines of the real production file, without end.
#[derive(Debug, Clone)]
pub struct Lines {
    /// The file's lines after its header.
    lines: Vec<String>,
    next: usize,
}

impl Lines {
    /// `None` where the real data are missing and tests may be skipped.
    pub fn of_production() -> Option<Self> {
        let text = std::fs::read_to_string(real_data("production.csv")?).unwrap();
        Some(Self { lines: text.lines().skip(1).map(str::to_owned).collect(), next: 0 })
    }

    /// How many there are before they are repeated.
    pub fn in_file(&self) -> usize {
        self.lines.len()
    }

    /// A cancellation after every line so far, for one partition: it closes what is open there
    /// and is never open itself.
    pub fn last_record(&self, partition: u32) -> Record {
        let key = format!("C99999{partition:02}");
        let line = format!("{key},M,the end,-1,1/1/{} 0:00,1.0,12345,United Kingdom", self.last_year());
        (key, line)
    }

    /// The date of [`last_record`](Self::last_record) as messages write it.
    pub fn last_date(&self) -> String {
        format!("{}-01-01T00:00:00Z", self.last_year())
    }

    /// The year after the latest line so far.
    fn last_year(&self) -> u32 {
        let latest = self.next.saturating_sub(1);
        let (_, line) = repeated(&self.lines[latest % self.lines.len()], latest / self.lines.len());
        year(&line) + 1
    }
}

impl Iterator for Lines {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let record = repeated(&self.lines[self.next % self.lines.len()], self.next / self.lines.len());
        self.next += 1;
        Some(record)
    }
}

/// A line as it stands in the file for the `times`-th further time, and its invoice number.
fn repeated(line: &str, times: usize) -> Record {
    let (number, rest) = line.split_once(',').unwrap();
    if times == 0 {
        return (number.to_owned(), line.to_owned());
    }
    // A cancellation stays one: its C stays in front.
    let split = number.find(|character: char| character.is_ascii_digit()).unwrap();
    let number = format!("{}{times}{}", &number[..split], &number[split..]);
    let year = year(line);
    let rest = rest.replacen(&format!("/{year} "), &format!("/{} ", year + times as u32), 1);
    (number.clone(), format!("{number},{rest}"))
}

/// The year in the fourth field from the end, a date as in `9/1/2010 9:22`.
fn year(line: &str) -> u32 {
    let date = line.rsplit(',').nth(3).unwrap();
    date.split_once(' ').unwrap().0.rsplit('/').next().unwrap().parse().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repetition_is_a_year_later_and_of_other_invoices() {
        let file = vec!["C1,s,\"RED, BIG\",2,9/1/2010 9:22,1.5,12345,France".to_owned()];
        let mut lines = Lines { lines: file, next: 0 };
        assert_eq!(lines.next().unwrap().0, "C1");
        let (number, line) = lines.next().unwrap();
        assert_eq!((number.as_str(), line.as_str()), ("C11", "C11,s,\"RED, BIG\",2,9/1/2011 9:22,1.5,12345,France"));
        assert_eq!(lines.last_date(), "2012-01-01T00:00:00Z");
        assert!(lines.last_record(3).1.contains(",1/1/2012 0:00,"));
    }
}
