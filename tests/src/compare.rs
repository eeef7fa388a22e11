//! What came out beside what should have come out.

use std::collections::BTreeMap;
use std::fmt;

use crate::Received;

/// The four topics of the pipeline that are written to.
pub const TOPICS: [&str; 4] = ["facturas_erroneas", "cancelaciones", "anomalias_kmeans", "anomalias_bisect_kmeans"];

/// How a topic differs from what was expected of it.
#[derive(Debug)]
pub struct Difference {
    topic: String,
    expected: usize,
    /// Messages that are expected and missing, key and value.
    pub lost: Vec<String>,
    /// Messages that are there more often than expected, or not expected at all.
    pub duplicated: Vec<String>,
}

/// Compares messages as multisets: each has to be there just as often as it is expected.
pub fn compare(topic: &str, expected: &[Received], found: &[Received]) -> Difference {
    let mut missing: BTreeMap<String, i64> = BTreeMap::new();
    for message in expected {
        *missing.entry(line(message)).or_default() += 1;
    }
    for message in found {
        *missing.entry(line(message)).or_default() -= 1;
    }
    let repeated = |sign: i64| -> Vec<String> {
        let of_sign = missing.iter().filter(move |(_, count)| **count * sign > 0);
        of_sign.flat_map(|(line, count)| std::iter::repeat_n(line.clone(), count.unsigned_abs() as usize)).collect()
    };
    Difference { topic: topic.to_owned(), expected: expected.len(), lost: repeated(1), duplicated: repeated(-1) }
}

impl Difference {
    /// Whether nothing is lost and nothing duplicated.
    pub fn is_none(&self) -> bool {
        self.lost.is_empty() && self.duplicated.is_empty()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, expected, lost, duplicated } = self;
        write!(f, "{topic}: {expected} expected, {} lost, {} duplicated", lost.len(), duplicated.len())?;
        lost.iter().take(3).try_for_each(|line| write!(f, "\n  lost: {line}"))?;
        duplicated.iter().take(3).try_for_each(|line| write!(f, "\n  duplicated: {line}"))
    }
}

fn line(message: &Received) -> String {
    format!("{} {}", message.key.as_deref().unwrap_or("-"), message.value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn messages(numbers: &[i64]) -> Vec<Received> {
        numbers.iter().map(|number| Received { key: None, value: json!(number) }).collect()
    }

    #[test]
    fn every_copy_counts() {
        let difference = compare("t", &messages(&[1, 1, 2, 3]), &messages(&[3, 1, 3, 3, 4]));
        assert_eq!(difference.lost, ["- 1", "- 2"]);
        assert_eq!(difference.duplicated, ["- 3", "- 3", "- 4"]);
        assert!(compare("t", &messages(&[1, 2]), &messages(&[2, 1])).is_none());
    }
}
