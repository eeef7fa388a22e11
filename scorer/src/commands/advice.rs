//! What somebody should do who sees such numbers for the first time.

use crate::core::Counters;

/// A file that is sent again may be one.
const SENT_AGAIN: &str = "\
That is what a file brings that is sent a second time: `scorer reset --to latest` lets the group forget what it has seen, and \
then the file can be sent again.";

/// Advice on records of which hardly any came to something; nothing where all is as it should be.
pub(super) fn on(counters: &Counters) -> Option<String> {
    let Counters { records, malformed_lines, late_lines, duplicate_lines, .. } = *counters;
    let is_most = |count: u64| count > records / 2;
    if records == 0 {
        None
    } else if malformed_lines == records {
        Some(
            "No record could be read: see whether --pipeline names the pipeline of these records. `trainer init FILE` and `scorer \
             init --topic TOPIC` write a pipeline file for others."
                .to_owned(),
        )
    } else if is_most(late_lines) {
        Some(format!("{late_lines} of {records} lines are late: their entities had been closed. {SENT_AGAIN}"))
    } else if is_most(duplicate_lines) {
        Some(format!("{duplicate_lines} of {records} records are duplicates: their keys had been judged. {SENT_AGAIN}"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_given_where_hardly_anything_came_to_something() {
        let advice = |counters: Counters| on(&counters).unwrap_or_default();
        let of = |records: u64| Counters { records, ..Counters::default() };
        assert_eq!(advice(of(0)), "");
        assert_eq!(advice(of(10)), "");
        assert!(advice(Counters { malformed_lines: 10, ..of(10) }).contains("--pipeline"));
        assert_eq!(advice(Counters { malformed_lines: 9, ..of(10) }), "");
        let late = advice(Counters { late_lines: 6, ..of(10) });
        assert!(late.starts_with("6 of 10 lines are late") && late.contains("`scorer reset --to latest`"), "{late}");
        assert_eq!(advice(Counters { late_lines: 5, ..of(10) }), "");
        assert!(advice(Counters { duplicate_lines: 10, ..of(10) }).starts_with("10 of 10 records are duplicates"));
    }
}
