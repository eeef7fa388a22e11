use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const MINUTE: i64 = 60_000;

fn pipeline() -> Arc<Pipeline> {
    Arc::new(Pipeline::load("invoices").unwrap())
}

/// Drives a core with lines stamped in seconds.
struct Driver {
    core: Core,
    out: Vec<Output>,
    offsets: BTreeMap<i32, i64>,
}

impl Driver {
    fn new() -> Self {
        Self { core: Core::new(pipeline()), out: Vec::new(), offsets: BTreeMap::new() }
    }

    fn apply(&mut self, input: Input<'_>) {
        self.core.apply(input, &mut self.out);
        let counters = self.core.counters();
        assert_eq!(counters.records, counters.outcomes(), "{counters:?}");
    }

    fn send(&mut self, partition: i32, milliseconds: i64, payload: &str) {
        let offset = self.offsets.entry(partition).or_default();
        let record = Record { partition, offset: *offset, timestamp: milliseconds, payload: payload.as_bytes() };
        *offset += 1;
        self.core.apply(Input::Record(record), &mut self.out);
    }

    fn line(&mut self, seconds: i64, invoice: &str) {
        self.send(0, seconds * 1000, &line(invoice));
    }

    fn closed(&self) -> Vec<(String, u64)> {
        let closed = |output: &Output| match output {
            Output::Closed(entity) => Some((entity.summary.key.clone(), entity.summary.lines)),
            _ => None,
        };
        self.out.iter().filter_map(closed).collect()
    }

    fn reasons(&self) -> Vec<String> {
        let reasons = |output: &Output| match output {
            Output::Erroneous(Erroneous::Line { reasons, .. } | Erroneous::Entity { reasons, .. }) => {
                Some(reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
            }
            _ => None,
        };
        self.out.iter().filter_map(reasons).collect()
    }

    fn counts(&self) -> Vec<(i64, u64)> {
        let count = |output: &Output| match output {
            Output::Cancellations(count) => Some((count.window_end / MINUTE, count.cancellations)),
            _ => None,
        };
        self.out.iter().filter_map(count).collect()
    }
}

fn line(invoice: &str) -> String {
    format!("{invoice},22143,MUG,2,9/1/2010 9:22,1.5,12345,France")
}

#[test]
fn an_invoice_is_complete_40_seconds_after_its_last_line() {
    let mut driver = Driver::new();
    driver.line(0, "1");
    driver.line(39, "1");
    driver.line(78, "2");
    assert_eq!(driver.closed(), []);
    driver.line(79, "3");
    assert_eq!(driver.closed(), [("1".into(), 2)]);
}

#[test]
fn a_quiet_partition_closes_by_the_time_that_passes() {
    let mut driver = Driver::new();
    driver.line(100, "1");
    driver.apply(Input::CaughtUp { partition: 0, now: 5_000 });
    assert_eq!(driver.core.next_deadline(), Some(45_000 + GRACE));
    driver.apply(Input::Time { now: 45_000 + GRACE - 1 });
    assert_eq!(driver.closed(), []);
    driver.apply(Input::Time { now: 45_000 + GRACE });
    assert_eq!(driver.closed(), [("1".into(), 1)]);
}

#[test]
fn time_does_not_pass_while_there_is_something_to_read() {
    let mut driver = Driver::new();
    driver.line(100, "1");
    assert_eq!(driver.core.next_deadline(), None);
    driver.apply(Input::Time { now: 1_000_000 });
    assert_eq!(driver.closed(), []);
}

#[test]
fn a_late_line_is_erroneous_for_ten_minutes() {
    let mut driver = Driver::new();
    driver.line(0, "1");
    driver.line(60, "1");
    driver.line(40 + 599, "1");
    assert_eq!(driver.reasons(), ["late_line", "late_line"]);
    driver.line(40 + 600, "1");
    driver.apply(Input::End);
    assert_eq!(driver.closed(), [("1".into(), 1), ("1".into(), 1)]);
}

#[test]
fn an_invoice_that_breaks_rules_says_which_and_where_its_lines_are() {
    let mut driver = Driver::new();
    driver.send(0, 0, "7,22143,MUG,2,9/1/2010 9:22,1.5,,");
    driver.line(0, "8");
    driver.send(0, 0, "7,22144,CUP,1,9/1/2010 9:22,2.5,,");
    driver.apply(Input::End);
    assert_eq!(driver.reasons(), ["missing_required:CustomerID missing_required:Country"]);
    // Invoice 8 had its last line first, so it closes first.
    let Output::Erroneous(Erroneous::Entity { offsets, summary, known, .. }) = &driver.out[1] else { panic!() };
    assert_eq!(offsets, &[(0, 0), (2, 2)]);
    assert_eq!((summary.lines, known.len()), (2, 1));
}

#[test]
fn a_value_on_any_line_satisfies_the_rule() {
    let mut driver = Driver::new();
    driver.send(0, 0, "7,22143,MUG,2,9/1/2010 9:22,1.5,,France");
    driver.send(0, 0, "7,22143,MUG,2,9/1/2010 9:22,1.5,12345,");
    driver.apply(Input::End);
    assert_eq!(driver.closed(), [("7".into(), 2)]);
}

#[test]
fn each_bad_record_is_one_erroneous_record_and_the_rest_goes_on() {
    let mut driver = Driver::new();
    for bad in ["", "1,2", "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"] {
        driver.send(0, 0, bad);
    }
    driver.line(0, "1");
    driver.apply(Input::End);
    assert_eq!(driver.reasons(), ["empty_record", "too_few_fields", "header_line"]);
    assert_eq!(driver.closed(), [("1".into(), 1)]);
}

#[test]
fn cancellations_of_the_last_eight_minutes_are_counted_every_minute() {
    let mut driver = Driver::new();
    driver.line(30, "C1");
    driver.line(31, "C1");
    driver.line(90, "C2");
    // Nothing comes for a while: the counts go on, and a zero is said once.
    driver.line(60 * 30, "1");
    let expected: Vec<(i64, u64)> = (1..=10)
        .map(|end| {
            (
                end,
                if end == 1 || end == 9 {
                    1
                } else if end == 10 {
                    0
                } else {
                    2
                },
            )
        })
        .collect();
    assert_eq!(driver.counts(), expected);
    assert_eq!(driver.core.counters().cancellations, 2);
}

#[test]
fn the_count_is_one_number_for_all_partitions_and_an_idle_one_does_not_hold_it_back() {
    let mut driver = Driver::new();
    driver.apply(Input::Assigned { partition: 0, resume: None });
    driver.apply(Input::Assigned { partition: 1, resume: None });
    driver.send(0, 10_000, &line("C1"));
    driver.send(0, 70_000, &line("1"));
    assert_eq!(driver.counts(), [], "partition 1 may still hold something of the first minute");
    driver.send(1, 20_000, &line("C2"));
    driver.send(1, 61_000, &line("2"));
    assert_eq!(driver.counts(), [(1, 2)]);
    driver.apply(Input::CaughtUp { partition: 1, now: 0 });
    driver.apply(Input::Time { now: IDLE_TIMEOUT });
    driver.send(0, 125_000, &line("3"));
    assert_eq!(driver.counts(), [(1, 2), (2, 2)]);
}

#[test]
fn a_revoked_partition_takes_its_state_along() {
    let mut driver = Driver::new();
    driver.line(0, "1");
    driver.apply(Input::Revoked { partition: 0 });
    driver.apply(Input::End);
    assert_eq!(driver.closed(), []);
    assert_eq!(driver.core.counters().given_up_lines, 1);
}

/// A line of a small world: few invoices, seconds that mostly move on.
fn world() -> impl Strategy<Value = Vec<(i64, String)>> {
    let payload = (0u8..10, 0u8..12).prop_map(|(kind, invoice)| match kind {
        0 => "broken".to_owned(),
        1 => line(&format!("C{invoice}")),
        2 => format!("{invoice},22143,MUG,2,9/1/2010 9:22,1.5,,France"),
        _ => line(&invoice.to_string()),
    });
    proptest::collection::vec((0i64..30, payload), 1..120).prop_map(|steps| {
        let mut clock = 0;
        let mut at = |ahead: i64| {
            clock += ahead;
            clock * 1000
        };
        steps.into_iter().map(|(ahead, payload)| (at(ahead), payload)).collect()
    })
}

fn run(lines: &[(i64, String)]) -> Driver {
    let mut driver = Driver::new();
    for (timestamp, payload) in lines {
        driver.send(0, *timestamp, payload);
        let counters = driver.core.counters();
        assert_eq!(counters.records, counters.outcomes());
    }
    driver
}

proptest! {
    #[test]
    fn every_record_has_one_outcome_and_nothing_stays_open(lines in world()) {
        let mut driver = run(&lines);
        driver.apply(Input::End);
        let counters = driver.core.counters();
        prop_assert_eq!(counters.open_lines, 0);
        prop_assert_eq!(counters.records, lines.len() as u64);
        let published: u64 = driver.closed().iter().map(|(_, lines)| lines).sum();
        prop_assert_eq!(published, counters.scored_lines);
        prop_assert_eq!(driver.reasons().len() as u64, counters.erroneous());
    }

    #[test]
    fn no_invoice_is_closed_before_its_time_nor_split_within_it(lines in world()) {
        let mut driver = run(&lines);
        driver.apply(Input::End);
        let mut last_closed: BTreeMap<String, i64> = BTreeMap::new();
        for output in &driver.out {
            if let Output::Closed(entity) = output {
                let summary = &entity.summary;
                if let Some(before) = last_closed.insert(summary.key.clone(), summary.last_timestamp) {
                    prop_assert!(summary.first_timestamp - before >= 640_000, "remembered for ten minutes after 40 s");
                }
            }
        }
    }

    /// Stop anywhere, commit, start again from what was committed: the outputs are those of an undisturbed run, as
    /// long as no line comes for an invoice that closed before the point that is read from.
    #[test]
    fn a_restart_from_the_committed_point_goes_on_where_it_stopped(lines in world(), stop in 0usize..120) {
        let stop = stop.min(lines.len());
        let mut whole = run(&lines);
        whole.apply(Input::End);

        let mut first = run(&lines[..stop]);
        let Some((_, resume)) = first.core.resume_points().first().copied() else { return Ok(()) };
        prop_assert_eq!(resume.published_to, stop as i64);
        let mut second = Driver::new();
        second.apply(Input::Assigned { partition: 0, resume: Some(resume) });
        for (offset, (timestamp, payload)) in lines.iter().enumerate().skip(resume.offset as usize) {
            let record = Record { partition: 0, offset: offset as i64, timestamp: *timestamp, payload: payload.as_bytes() };
            second.apply(Input::Record(record));
        }
        second.apply(Input::End);
        first.out.extend(second.out.clone());
        let early: BTreeSet<String> = lines[..resume.offset as usize].iter().map(|(_, p)| p.split(',').next().unwrap().to_owned()).collect();
        let of_late_keys = |driver: &Driver| -> Vec<(String, u64)> {
            let mut closed = driver.closed();
            closed.retain(|(key, _)| !early.contains(key));
            closed
        };
        prop_assert_eq!(of_late_keys(&first), of_late_keys(&whole));
    }

    #[test]
    fn any_bytes_are_survived(payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..30)) {
        let mut core = Core::new(pipeline());
        let mut out = Vec::new();
        for (offset, payload) in payloads.iter().enumerate() {
            core.apply(Input::Record(Record { partition: 0, offset: offset as i64, timestamp: 0, payload }), &mut out);
        }
        core.apply(Input::End, &mut out);
        prop_assert_eq!(core.counters().outcomes(), payloads.len() as u64);
    }
}
