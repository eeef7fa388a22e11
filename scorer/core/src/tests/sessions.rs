//! Entities of several lines.

use shared::features::MAX_KEPT_BYTES;
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
    assert_eq!(driver.core.next_deadline(), Some(6_000 + GRACE), "to say that it is idle");
    driver.read_through(0, 45_000 + GRACE - 1);
    assert_eq!(driver.closed(), []);
    assert_eq!(driver.core.next_deadline(), Some(45_000 + GRACE));
    driver.read_through(0, 45_000 + GRACE);
    assert_eq!(driver.closed(), [("1".into(), 1)]);
}

#[test]
fn the_grace_is_the_pipelines() {
    let mut patient = Pipeline::load("invoices").unwrap();
    patient.entity.grace = 3_000;
    let mut driver = Driver { core: Core::new(Arc::new(patient)), ..Driver::new() };
    driver.line(100, "1");
    driver.apply(Input::CaughtUp { partition: 0, now: 5_000 });
    driver.read_through(0, 47_999);
    assert_eq!(driver.closed(), []);
    // It was stamped in time, and was on its way for longer than 2 s.
    driver.line(139, "1");
    driver.apply(Input::CaughtUp { partition: 0, now: 48_000 });
    driver.read_through(0, 90_999);
    assert_eq!(driver.closed(), []);
    driver.read_through(0, 91_000);
    assert_eq!(driver.closed(), [("1".into(), 2)]);
}

#[test]
fn no_time_passes_of_which_nothing_is_proven() {
    let mut driver = Driver::new();
    driver.line(100, "1");
    driver.apply(Input::CaughtUp { partition: 0, now: 5_000 });
    driver.apply(Input::Time { now: 1_000_000 });
    driver.apply(Input::CaughtUp { partition: 0, now: 1_000_000 });
    assert_eq!(driver.closed(), [], "the end may be that of long ago");
    // It came in time while somebody stood still.
    driver.line(139, "1");
    driver.apply(Input::CaughtUp { partition: 0, now: 1_000_001 });
    driver.read_through(0, 1_040_001 + GRACE);
    assert_eq!(driver.closed(), [("1".into(), 2)]);
}

#[test]
fn a_line_from_the_future_or_broken_sets_no_clock() {
    let at = |timestamp: i64, written_by: i64, payload: &str, core: &mut Core, out: &mut Vec<Output>| {
        let offset = core.counters().records as i64;
        let record = Record { written_by: Some(written_by), ..Record::new(0, offset, timestamp, payload.as_bytes()) };
        core.apply(Input::Record(record), out);
    };
    let now = 1_767_225_600_000;
    let mut driver = Driver::new();
    let Driver { core, out, .. } = &mut driver;
    at(now, now, &line("1"), core, out);
    at(now + 5 * MINUTE, now, &line("2"), core, out);
    at(now + 5 * MINUTE + 1, now, &line("3"), core, out);
    at(i64::MAX, now, &line("C4"), core, out);
    at(now + 60 * MINUTE, now, "broken", core, out);
    at(now + 5 * MINUTE + 1_000, now + 1_000, &line("2"), core, out);
    assert_eq!(driver.reasons(), ["from_the_future", "from_the_future", "too_few_fields"]);
    assert_eq!(driver.closed(), [("1".into(), 1)]);
    let counters = driver.core.counters();
    assert_eq!((counters.future_lines, counters.open_lines, counters.outcomes()), (2, 2, 6));
    // Time passes on while nothing comes but what cannot be used.
    driver.apply(Input::CaughtUp { partition: 0, now: 5_000 });
    driver.read_through(0, 30_000);
    driver.send(0, now, "broken");
    driver.apply(Input::CaughtUp { partition: 0, now: 30_100 });
    driver.read_through(0, 45_000 + GRACE);
    assert_eq!(driver.closed(), [("1".into(), 1), ("2".into(), 2)]);
}

#[test]
fn a_date_that_is_hardly_meant_is_counted_and_the_line_is_taken() {
    let mut driver = Driver::new();
    let now = 1_283_335_200_000;
    for (offset, date) in ["9/1/2010", "8/31/2011", "9/4/2011", "12/31/1969", ""].into_iter().enumerate() {
        let payload = format!("7,22143,MUG,2,{date} 9:22,1.5,12345,France").replace(", 9:22", ",");
        driver.apply(Input::Record(Record::new(0, offset as i64, now, payload.as_bytes())));
    }
    driver.apply(Input::End);
    let counters = driver.core.counters();
    assert_eq!(counters.odd_dates, BTreeMap::from([("InvoiceDate".to_owned(), 2)]));
    assert_eq!((driver.closed(), counters.outcomes()), (vec![("7".into(), 5)], 5));
}

#[test]
fn a_date_far_ahead_is_refused_where_the_clock_goes_by_it() {
    let pipeline = Arc::new(Pipeline::load("invoices").unwrap().with_event_clock().unwrap());
    let mut driver = Driver { core: Core::new(pipeline), ..Driver::new() };
    let dated = |date: &str| format!("7,22143,MUG,2,{date} 9:22,1.5,12345,France");
    // On the day of the second line, 1 September 2010; whether Kafka says so or whoever reads a file.
    let now = 1_283_335_200_000;
    for (offset, (kafkas, written_by, date)) in [
        (0, Some(now), "9/3/2010"),
        (now, None, "9/4/2010"),
        (0, Some(now), "9/4/2110"),
        (now, Some(now + 1_000 * 86_400_000), "9/4/2010"),
        (0, None, "9/4/2010"),
    ]
    .into_iter()
    .enumerate()
    {
        let payload = dated(date);
        let record = Record { written_by, ..Record::new(0, offset as i64, kafkas, payload.as_bytes()) };
        driver.apply(Input::Record(record));
    }
    assert_eq!(
        driver.reasons(),
        ["from_the_future:InvoiceDate"; 3],
        "without any clock there is nothing to compare with"
    );
}

#[test]
fn time_does_not_pass_while_there_is_something_to_read() {
    let mut driver = Driver::new();
    driver.line(100, "1");
    assert_eq!(driver.core.next_deadline(), None);
    driver.read_through(0, 1_000_000);
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
        .map(|summary| (summary.key.to_string(), summary.lines, summary.closed_early))
        .collect();
    assert_eq!(early, [("1".into(), 1, true), ("2".into(), 3, true)]);
    driver.line(0, "1");
    assert_eq!(driver.reasons(), ["late_line"], "a later line of it is late");
    assert_eq!(driver.core.counters().closed_early, 2);
    driver.apply(Input::End);
}

#[test]
fn an_invoice_with_as_many_values_as_are_kept_closes_early_with_exact_features() {
    let mut driver = Driver { core: Core::new(Arc::new(keeping())), ..Driver::new() };
    // Eight bytes of each line's price, and a code of seven with its length.
    let n_lines = MAX_KEPT_BYTES / 16;
    for line in 0..=n_lines {
        let country = if line % 4 == 0 { "France" } else { "Spain" };
        driver.send(0, 0, &format!("1,{line:07},MUG,2,9/1/2010 9:22,{line},12345,{country}"));
    }
    let [Output::Closed(entity), ..] = &driver.out[..] else { panic!("{:?}", driver.reasons()) };
    let n = entity.summary.lines as f64;
    assert!(entity.summary.closed_early && n as usize <= n_lines, "{n}");
    // Of each country there are its name and a length.
    assert_eq!(n as usize, (MAX_KEPT_BYTES - 7 - 6).div_ceil(16));
    assert_eq!(entity.features[..3], [n - 1.0, n, 2.0], "twice the price in the middle, the codes, the countries");
    assert!((entity.features[3] - 0.25).abs() < 1e-3);
    assert_eq!(driver.core.counters().closed_early, 1);
    driver.apply(Input::End);
    assert_eq!(driver.reasons(), ["late_line"], "the last line came after it");
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
                if let Some(before) = last_closed.insert(summary.key.to_string(), summary.last_timestamp) {
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
