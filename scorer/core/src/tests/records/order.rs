//! Records that come out of order, late, or from the future.

use super::*;

proptest! {
    /// Whatever the network does to the order of records, short of the lateness, each has the same features to the bit.
    #[test]
    fn any_order_within_the_lateness_gives_the_same(rows in rows(), delays in proptest::collection::vec(0i64..=10_000, 80),
                                                    by_column in any::<bool>()) {
        let clock = if by_column { r#"clock = "at""# } else { "" };
        let pipeline = small(clock, r#"lateness = "10s""#);
        let mut arrivals: Vec<Row> = rows.clone();
        for (row, delay) in arrivals.iter_mut().zip(delays) {
            row.kafkas += delay;
        }
        arrivals.sort_by_key(|row| row.kafkas);
        let ordered = Driver::new(&pipeline).judge(&rows);
        let shuffled = Driver::new(&pipeline).judge(&arrivals);
        prop_assert_eq!(ordered.keys().len(), rows.len());
        prop_assert_eq!(found(&shuffled), found(&ordered));
        prop_assert_eq!(shuffled.core.counters().out_of_order, 0);
        let times: Vec<(i64, &str)> =
            shuffled.closed().iter().map(|it| (it.summary.first_timestamp, &*it.summary.key)).collect();
        prop_assert!(times.is_sorted(), "{times:?}");
    }
}

#[test]
fn a_record_from_the_future_is_refused_and_sets_no_clock() {
    for clock in ["", r#"clock = "at""#] {
        let ahead = |by: i64| Row { kafkas: START, ..row("a", (1, 1), 1.0, START + by) };
        let mut driver = Driver::new(&small(clock, r#"ahead = "1m""#));
        driver.send(&ahead(60_001));
        assert_eq!(driver.reasons(), ["from_the_future:at"]);
        assert_eq!(driver.core.counters().future_lines, 1);
        driver.send(&row("b", (1, 1), 1.0, START));
        driver.send(&ahead(60_000));
        assert_eq!(driver.keys(), ["b", "a"], "its key was not taken");
        assert_eq!(driver.core.counters().out_of_order, 0);
        // Where Kafka has no timestamp, the present decides; without that there is nothing to compare with.
        for (kafkas, written_by, expected) in [(0, Some(START), 2), (-1, Some(START), 2), (0, None, 3)] {
            let row = row(kafkas, (1, 1), 1.0, START + 90_000);
            let record = Record { written_by, ..Record::new(0, driver.offset, kafkas, row.payload.as_bytes()) };
            driver.offset += 1;
            driver.apply(Input::Record(record));
            assert_eq!(driver.keys().len(), expected);
        }
        // A clock that is fast does not help: Kafka's own timestamp is ahead as well.
        let far = row("far", (1, 1), 1.0, START + 400_000);
        let record =
            Record { written_by: Some(START), ..Record::new(0, driver.offset, far.at, far.payload.as_bytes()) };
        driver.apply(Input::Record(record));
        assert_eq!(driver.keys().len(), 3);
    }
    let mut file = Driver::of_file(&small(r#"clock = "at""#, r#"ahead = "1m""#));
    file.send(&Row { kafkas: 0, ..row("a", (1, 1), 1.0, START) });
    assert_eq!(file.keys(), ["a"], "a file has no second clock");
}

#[test]
fn a_record_that_is_older_than_all_that_is_remembered_is_refused() {
    let mut driver = Driver::new(&small("", r#"memory = "2h""#));
    let hour = 3_600_000;
    driver.send(&row("a", (1, 1), 1.0, START));
    driver.send(&Row { kafkas: START, ..row("b", (1, 1), 1.0, START - 2 * hour) });
    driver.send(&Row { kafkas: START, ..row("c", (1, 1), 1.0, START - 2 * hour - 1) });
    assert_eq!(driver.reasons(), ["too_old:at"]);
    assert_eq!(driver.keys(), ["a", "b"]);
    let counters = driver.core.counters();
    assert_eq!((counters.old_lines, counters.out_of_order), (1, 1));
}

#[test]
fn a_record_waits_for_the_clock_and_for_time_where_nothing_comes() {
    let mut driver = Driver::new(&small("", r#"lateness = "10s""#));
    driver.send(&row("b", (1, 1), 1.0, START + 5_000));
    driver.send(&Row { kafkas: START + 5_000, ..row("a", (1, 1), 1.0, START) });
    assert_eq!(driver.core.counters().open_lines, 2);
    driver.send(&row("c", (1, 1), 1.0, START + 10_000));
    assert_eq!(driver.keys(), [""; 0], "one more could come of that very time");
    driver.send(&row("d", (1, 1), 1.0, START + 10_001));
    assert_eq!(driver.keys(), ["a"]);
    driver.apply(Input::CaughtUp { partition: 0, now: 1_000_000 });
    // The clock shows START + 10,001 and goes on.
    assert_eq!(driver.core.next_deadline(), Some(1_000_000 + 5_000 + GRACE));
    driver.apply(Input::ReadThrough { partition: 0, now: 1_004_999 + GRACE });
    assert_eq!(driver.keys(), ["a"]);
    driver.apply(Input::ReadThrough { partition: 0, now: 1_005_000 + GRACE });
    assert_eq!(driver.keys(), ["a", "b"]);
    driver.apply(Input::ReadThrough { partition: 0, now: 1_100_000 });
    assert_eq!(driver.keys(), ["a", "b", "c", "d"]);
}

#[test]
fn a_record_that_comes_too_late_is_judged_as_of_its_time_and_counted() {
    for (history, expected) in [("", 2), (r#"lateness = "10s""#, 1)] {
        let mut driver = Driver::new(&small(r#"clock = "at""#, history));
        driver.send(&row("a", (1, 1), 10.0, START));
        driver.send(&row("c", (1, 1), 90.0, START + 40_000));
        // Within the lateness, where there is one.
        driver.send(&row("b", (1, 1), 20.0, START + 35_000));
        driver.send(&row("d", (1, 1), 50.0, START + 60_000));
        driver.send(&row("late", (1, 1), 30.0, START + 1_000));
        driver.apply(Input::End);
        assert_eq!(driver.core.counters().out_of_order, expected);
        let late = driver.closed().into_iter().find(|entity| &*entity.summary.key == "late").unwrap();
        assert_eq!(late.features[1..3], [1.0, 10.0], "it finds what was before it and nothing else");
    }
}

#[test]
fn a_record_that_waits_is_known_however_long_it_does() {
    let mut driver = Driver::new(&small(r#"remember = "1s""#, r#"lateness = "1m""#));
    driver.send(&row("a", (1, 1), 10.0, START));
    driver.send(&Row { kafkas: START + 30_000, ..row("a", (1, 1), 10.0, START) });
    assert_eq!(driver.reasons(), ["duplicate_key"]);
    driver.apply(Input::End);
    assert_eq!(driver.keys(), ["a"]);
}
