//! What becomes of each record.

use shared::line::LineParser;
use shared::pipeline::{Records, Scored};
use shared::reason::Reason;

use super::*;

proptest! {
    #[test]
    fn every_record_has_one_outcome(pipeline in settings(), rows in world()) {
        let driver = Driver::new(&pipeline).judge(&rows);
        let counters = driver.core.counters();
        prop_assert_eq!(counters.open_lines, 0);
        prop_assert_eq!(counters.records, rows.len() as u64);
        prop_assert_eq!(driver.closed().len() as u64, counters.scored_lines);
        prop_assert_eq!(driver.reasons().len() as u64, counters.erroneous());
        prop_assert_eq!(counters.erroneous() + counters.scored_lines, counters.records);
    }

    /// A look at a record says what the stream would say of it, and leaves no trace.
    #[test]
    fn a_look_at_a_record_says_what_the_stream_says(rows in rows(), memory in prop_oneof![Just("30d"), Just("1h")]) {
        let pipeline = small("", &format!("memory = \"{memory}\""));
        let Scored::Records(Records { features, .. }) = &pipeline.scored else { panic!() };
        let mut parser = LineParser::new(pipeline.schema.clone());
        let mut driver = Driver::new(&pipeline);
        for row in &rows {
            let owned = |key: Option<&str>| key.map(str::to_owned);
            let keys: Vec<Option<String>> = parser
                .parse(row.payload.as_bytes(), |line| features.keys(line).into_iter().map(owned).collect())
                .map_err(|reasons| TestCaseError::fail(format!("{reasons:?}")))?;
            let past = driver.core.past_of(&keys).unwrap();
            let (mut look, mut seen) = (Core::remembering(pipeline.clone(), past), Vec::new());
            look.apply(Input::Record(Record::new(0, driver.offset, row.kafkas, row.payload.as_bytes())), &mut seen);
            look.apply(Input::End, &mut seen);
            let before = driver.out.len();
            driver.send(row);
            prop_assert_eq!(&seen[..], &driver.out[before..]);
        }
    }

    #[test]
    fn any_bytes_are_survived(payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..30)) {
        let mut driver = Driver::new(&small("", ""));
        for (offset, payload) in payloads.iter().enumerate() {
            driver.apply(Input::Record(Record::new(0, offset as i64, 0, payload)));
        }
        driver.apply(Input::End);
        prop_assert_eq!(driver.core.counters().outcomes(), payloads.len() as u64);
    }
}

#[test]
fn a_record_is_judged_at_once_by_what_came_before_it() {
    let mut driver = Driver::new(&small("", ""));
    driver.send(&row("a", (1, 1), 10.0, START));
    driver.send(&row("b", (1, 2), 20.0, START + 30_000));
    driver.send(&row("c", (2, 2), 70.0, START + 45_000));
    let [a, b, c] = driver.closed()[..] else { panic!("{:?}", driver.out) };
    // amount, count, mean, deviation, since, new
    assert_eq!(a.features, [10.0, 0.0, 10.0, 0.0, 2_592_000.0, 1.0]);
    assert_eq!(b.features, [20.0, 1.0, 10.0, 0.0, 30.0, 1.0]);
    assert_eq!(c.features, [70.0, 0.0, 70.0, 0.0, 2_592_000.0, 1.0]);
    let summary = &b.summary;
    assert_eq!((summary.lines, summary.customer.as_deref()), (1, Some("user 1")));
    assert_eq!((summary.first_timestamp, summary.last_timestamp), (START + 30_000, START + 30_000));
    assert_eq!(driver.core.next_deadline(), None, "nothing waits");
}

#[test]
fn a_key_is_judged_once_in_ten_minutes() {
    let mut driver = Driver::new(&small("", ""));
    driver.send(&row("a", (1, 1), 10.0, START));
    driver.send(&row("a", (1, 1), 10.0, START + 599_999));
    driver.send(&row("b", (1, 1), 10.0, START + 599_999));
    driver.send(&row("a", (1, 1), 10.0, START + 600_000));
    assert_eq!(driver.reasons(), ["duplicate_key"]);
    assert_eq!(driver.keys(), ["a", "b", "a"]);
    let counters = driver.core.counters();
    assert_eq!((counters.duplicate_lines, counters.scored_lines, counters.malformed_lines), (1, 3, 0));
    assert_eq!(counters.reasons[&Reason::DuplicateKey], 1);
    assert_eq!(driver.closed()[1].features[1], 0.0, "the copy is not remembered");
}

#[test]
fn at_the_limit_those_who_were_met_the_longest_ago_are_forgotten() {
    let mut driver = Driver::new(&small("max_state_bytes = 20_000", r#"memory = "1d""#));
    for index in 0..200i64 {
        let user = (index % 100) as u8;
        driver.send(&row(index, (user, user), 1.0, START + index * 1_000));
        assert!(driver.core.state_records(0) < 20_000 / 64);
    }
    let counters = driver.core.counters();
    assert!(counters.forgotten_keys > 200, "{counters:?}");
    assert_eq!(driver.closed()[150].features[1], 0.0, "nobody of a hundred is remembered for so long");
}

#[test]
fn at_the_limit_those_that_wait_are_judged_early() {
    let mut driver = Driver::new(&small("max_state_bytes = 2000", r#"lateness = "10s""#));
    for index in 0..50 {
        driver.send(&row(index, (1, 1), 1.0, START + index));
    }
    let counters = driver.core.counters();
    assert!(counters.closed_early > 30 && counters.open_lines < 20, "{counters:?}");
    driver.apply(Input::End);
    assert_eq!(driver.closed().len(), 50);
}

#[test]
fn a_record_has_to_be_keyed_by_the_column_whose_past_is_looked_at() {
    let features = r#"count = "count() by user over 1m""#;
    let count = |features: &str, partitions: i32| {
        let pipeline = Arc::new(read(features, "", ""));
        let origin = Origin { partitions, ..origin_of(&pipeline) };
        let mut core = Core::sharing(pipeline, Recovery::Changelog, origin);
        core.apply(Input::Assigned { partition: 0, start: Start::Fresh }, &mut Vec::new());
        let row = row("a", (1, 1), 1.0, START);
        for (offset, key) in [None, Some(&b"a"[..]), Some(b"user 1")].into_iter().enumerate() {
            let record = Record { key, ..Record::new(0, offset as i64, START, row.payload.as_bytes()) };
            core.apply(Input::Record(record), &mut Vec::new());
        }
        core.misplaced_lines()
    };
    assert_eq!(count(features, 3), 2);
    assert_eq!(count(features, 1), 0);
    assert_eq!(count(r#"amount = "amount""#, 3), 0, "nothing of the past is looked at");
}

/// Whose past another instance may have is not taken for somebody new.
#[test]
fn a_past_is_known_to_its_partition_alone() {
    let features = r#"count = "count() by user over 1m""#;
    let pipeline = Arc::new(read(features, "", ""));
    let origin = Origin { partitions: 2, ..origin_of(&pipeline) };
    let mut core = Core::sharing(pipeline.clone(), Recovery::Changelog, origin);
    let (ann, bob) = ([Some("user 1".to_owned())], [Some("user 2".to_owned())]);
    assert_eq!(core.past_of(&ann), None);
    core.apply(Input::Assigned { partition: 1, start: Start::Fresh }, &mut Vec::new());
    let payload = row("a", (1, 1), 10.0, START).payload;
    let record = Record { key: Some(b"user 1"), ..Record::new(1, 0, START, payload.as_bytes()) };
    core.apply(Input::Record(record), &mut Vec::new());
    assert_eq!(core.past_of(&ann).map(|past| past.len()), Some(1));
    assert_eq!(core.past_of(&bob), None, "partition 0 may know");
    core.apply(Input::Assigned { partition: 0, start: Start::Fresh }, &mut Vec::new());
    assert_eq!(core.past_of(&bob).map(|past| past.len()), Some(0));
}
