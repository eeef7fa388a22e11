//! How the values of a column follow each other: lines of an invoice stand together.

use std::collections::HashMap;

use crate::time::{Millis, Timestamp, format_span};

/// How the values of a column follow each other.
pub(super) struct Runs {
    present: usize,
    pub distinct: usize,
    pub runs: usize,
    /// Median of the time from the first to the last line of a value with several lines.
    usual_length: Option<Millis>,
    /// The time between two lines of a value that few exceed.
    pub largest_gap: Millis,
}

impl Runs {
    pub(super) fn of(texts: &[Option<&str>], moments: Option<&[Option<Timestamp>]>) -> Self {
        let mut lines: HashMap<&str, Vec<Timestamp>> = HashMap::new();
        let (mut present, mut runs, mut before) = (0, 0, None);
        for (row, text) in texts.iter().enumerate() {
            let Some(text) = text else { continue };
            present += 1;
            runs += usize::from(before != Some(*text));
            before = Some(*text);
            let moment = moments.and_then(|moments| moments[row]);
            lines.entry(*text).or_default().extend(moment);
        }
        let mut lengths = Vec::new();
        let mut gaps = Vec::new();
        for moments in lines.values_mut() {
            moments.sort_unstable();
            gaps.extend(moments.windows(2).map(|pair| pair[1] - pair[0]));
            if let (Some(first), Some(last), true) = (moments.first(), moments.last(), moments.len() > 1) {
                lengths.push(last - first);
            }
        }
        lengths.sort_unstable();
        gaps.sort_unstable();
        let usual_length = lengths.get(lengths.len() / 2).copied();
        let largest_gap = gaps.get(gaps.len() * 99 / 100).copied().unwrap_or(0);
        Self { present, distinct: lines.len(), runs, usual_length, largest_gap }
    }

    /// Whether these are invoices: several lines each that stand together. `hint` is how strongly the name says so.
    pub(super) fn are_sessions(&self, hint: u32) -> bool {
        let have_lines = self.distinct > 1 && self.present * 10 >= self.distinct * 12;
        let stand_together = self.runs * 20 <= self.distinct * 21;
        let are_short = self.usual_length.is_none_or(|length| length <= 3_600_000);
        let are_many = self.distinct * 50 >= self.present;
        have_lines
            && match hint {
                0 => stand_together && are_short && are_many && self.usual_length.is_some(),
                1 | 2 => stand_together,
                _ => stand_together || are_short,
            }
    }
}

/// The gap after which lines that are so far apart are complete: a round one, twice as long.
pub(super) fn session_gap(largest: Millis) -> Millis {
    const ROUND: [Millis; 11] = [40, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 43_200, 86_400];
    let round = ROUND.iter().map(|seconds| seconds * 1000).find(|gap| *gap >= largest.saturating_mul(2));
    round.unwrap_or(86_400_000)
}

/// A span in one unit, rounded down.
pub(super) fn roughly(span: Millis) -> String {
    let unit = [86_400_000, 3_600_000, 60_000, 1000].into_iter().find(|unit| span >= 2 * unit).unwrap_or(1000);
    format_span((span / unit).max(1) * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_invoices_stand_together_and_those_of_customers_do_not() {
        let lines = ["a", "a", "b", "b", "b", "c", "d"].map(Some);
        let at = |minutes: i64| Some(minutes * 60_000);
        let moments = [at(0), at(0), at(10), at(10), at(11), at(20), at(30)];
        let runs = Runs::of(&lines, Some(&moments));
        assert_eq!((runs.distinct, runs.runs, runs.largest_gap, runs.are_sessions(0)), (4, 4, 60_000, true));
        // The same values again, later.
        let customers = [lines, lines].concat();
        assert!(!Runs::of(&customers, Some(&[moments, moments].concat())).are_sessions(0));
        // Days apart.
        let days: Vec<_> = (0..7).map(|day| at(day * 1440)).collect();
        assert!(!Runs::of(&lines, Some(&days)).are_sessions(0));
        assert!(!Runs::of(&["a", "b", "c"].map(Some), None).are_sessions(3));
    }

    #[test]
    fn a_gap_is_a_round_one() {
        assert_eq!(
            [0, 20_000, 20_001, 60_000, 100_000_000].map(session_gap),
            [40_000, 40_000, 60_000, 120_000, 86_400_000]
        );
        assert_eq!([61_000, 125_000, 7_300_000].map(roughly), ["61s", "2m", "2h"]);
    }
}
