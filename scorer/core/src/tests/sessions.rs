//! Entities of several lines.

use shared::pipeline::Scored;

use super::*;

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
fn at_a_limit_the_oldest_closes_early_and_says_so() {
    let mut limited = Pipeline::load("invoices").unwrap();
    let Scored::Sessions(sessions) = &mut limited.scored else { panic!("invoices have lines") };
    (sessions.max_open, sessions.max_lines) = (2, 3);
    let mut driver = Driver { core: Core::new(Arc::new(limited)), ..Driver::new() };
    for invoice in ["1", "2", "3", "2", "2"] {
        driver.line(0, invoice);
    }
    let early: Vec<(String, u64, bool)> = driver
        .out
        .iter()
        .filter_map(|output| match output {
            Output::Closed(entity) => Some(entity.summary.clone()),
            _ => None,
        })
        .map(|summary| (summary.key, summary.lines, summary.closed_early))
        .collect();
    assert_eq!(early, [("1".into(), 1, true), ("2".into(), 3, true)]);
    driver.line(0, "1");
    assert_eq!(driver.reasons(), ["late_line"], "a later line of it is late");
    assert_eq!(driver.core.counters().closed_early, 2);
    driver.apply(Input::End);
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

    #[test]
    fn any_bytes_are_survived(payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..30)) {
        let mut core = Core::new(pipeline());
        let mut out = Vec::new();
        for (offset, payload) in payloads.iter().enumerate() {
            core.apply(Input::Record(Record::new(0, offset as i64, 0, payload)), &mut out);
        }
        core.apply(Input::End, &mut out);
        prop_assert_eq!(core.counters().outcomes(), payloads.len() as u64);
    }
}
