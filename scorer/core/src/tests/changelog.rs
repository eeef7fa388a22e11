//! State that goes on in another instance.

use std::collections::BTreeSet;

use super::*;

#[test]
fn a_revoked_partition_takes_its_state_along() {
    let mut driver = Driver::new();
    driver.line(0, "1");
    driver.apply(Input::Revoked { partition: 0 });
    driver.apply(Input::End);
    assert_eq!(driver.closed(), []);
    assert_eq!(driver.core.counters().given_up_lines, 1);
}

/// At any moment the counts add up, also while a partition that goes back to the last commit has no state yet.
#[test]
fn lines_that_were_open_at_the_last_commit_are_given_up_until_their_partition_is_back() {
    let mut store = Store::default();
    let mut core = sharing(1);
    let from = start(&store, &mut core, 0, 1);
    let mut out = Vec::new();
    let lines = [(100_000, line("1")), (101_000, line("2")), (102_000, line("3"))];
    feed(&mut core, 0, &lines[..2], from, &mut out);
    store.commit(&mut core, out);
    let committed = core.counters();
    feed(&mut core, 0, &lines, 2, &mut Vec::new());
    core.roll_back(committed.clone());
    let away = core.counters();
    assert_eq!((away.accounted(), away.given_up_lines, away.open_lines), (away.outcomes(), 2, 0));
    let restored = store.restore(0, 1).unwrap();
    core.apply(Input::Assigned { partition: 0, start: Start::RolledBack(Box::new(restored)) }, &mut Vec::new());
    assert_eq!(core.counters(), committed);
}

#[test]
fn an_heir_goes_on_with_the_idle_time_of_its_predecessor() {
    let mut store = Store::default();
    let mut first = sharing(1);
    let from = start(&store, &mut first, 0, 1);
    let lines = vec![(100_000, line("1"))];
    let mut out = Vec::new();
    feed(&mut first, 0, &lines, from, &mut out);
    first.apply(Input::CaughtUp { partition: 0, now: 5_000 }, &mut out);
    store.commit(&mut first, out);
    first.apply(Input::ReadThrough { partition: 0, now: 35_000 }, &mut Vec::new());
    store.commit(&mut first, Vec::new());

    // Of the 40 s, 30 had passed; what its own clock shows, and how long nobody ran, says nothing.
    let mut second = sharing(1);
    let mut out = Vec::new();
    let closed = |out: &[Output]| out.iter().filter(|output| matches!(output, Output::Closed(_))).count();
    assert_eq!(start(&store, &mut second, 0, 1), 1);
    second.apply(Input::Time { now: 9_000_000 }, &mut out);
    second.apply(Input::ReadThrough { partition: 0, now: 9_000_000 }, &mut out);
    assert_eq!(closed(&out), 0, "the backlog is not read yet");
    second.apply(Input::CaughtUp { partition: 0, now: 9_000_000 }, &mut out);
    second.apply(Input::ReadThrough { partition: 0, now: 9_010_000 + GRACE - 1 }, &mut out);
    assert_eq!(closed(&out), 0);
    second.apply(Input::ReadThrough { partition: 0, now: 9_010_000 + GRACE }, &mut out);
    assert_eq!(closed(&out), 1);

    // A line of the same invoice that came in time while nobody ran belongs to it.
    let mut third = sharing(1);
    let from = start(&store, &mut third, 0, 1);
    let mut out = Vec::new();
    feed(&mut third, 0, &[lines[0].clone(), (130_000, line("1"))], from, &mut out);
    third.apply(Input::CaughtUp { partition: 0, now: 60_000 }, &mut out);
    third.apply(Input::ReadThrough { partition: 0, now: 80_000 }, &mut out);
    third.apply(Input::End, &mut out);
    let Some(Output::Closed(entity)) = out.iter().find(|output| matches!(output, Output::Closed(_))) else { panic!() };
    assert_eq!(entity.summary.lines, 2);
}

#[test]
fn state_of_another_topic_or_pipeline_is_refused() {
    let mut store = Store::default();
    let mut core = sharing(1);
    start(&store, &mut core, 0, 1);
    let mut out = Vec::new();
    feed(&mut core, 0, &[(0, line("1"))], 0, &mut out);
    store.commit(&mut core, out);
    let mut other = StateReader::new(&pipeline(), origin(2));
    let head = store.compacted(0).pop().unwrap();
    let error = other.take(&pipeline(), &head.key, head.value.as_deref()).unwrap_err().to_string();
    assert_eq!(error, "the state was made with 1 partitions; here it is 2 partitions");
    let recorded = Pipeline::load("invoices").unwrap().with_event_clock().unwrap();
    let event = Origin { layout: recorded.state_layout(), ..origin(1) };
    let error = StateReader::new(&pipeline(), event).take(&pipeline(), &head.key, head.value.as_deref()).unwrap_err();
    insta::assert_snapshot!(error, @"the state was made with `clock record`; here it is `clock column InvoiceDate`");
}

#[test]
fn a_reset_leaves_nothing_behind() {
    let mut store = Store::default();
    let mut core = sharing(1);
    start(&store, &mut core, 0, 1);
    let lines: Vec<(i64, String)> =
        [(0, "1"), (60, "2"), (61, "C3")].map(|(at, invoice)| (at * 1000, line(invoice))).into();
    let mut out = Vec::new();
    feed(&mut core, 0, &lines, 0, &mut out);
    store.commit(&mut core, out);
    let mut keys = LiveKeys::default();
    store.changelogs[&0].iter().for_each(|record| keys.take(&record.key, record.value.as_deref()));
    let (records, head) = keys.reset(&pipeline(), origin(1), 99, 0, Some(7));
    store.changelogs.get_mut(&0).unwrap().extend(records);

    // With the deletions and without them, as compaction leaves it.
    let compacted: Vec<StateRecord> = store.compacted(0).into_iter().filter(|record| record.value.is_some()).collect();
    for records in [store.compacted(0), store.changelogs[&0].clone(), compacted] {
        let restored = restored(&records, 1).unwrap();
        assert_eq!(restored.head(), Some(&head));
        assert_eq!((restored.open_entities(), restored.closed_keys(), restored.cancelled_keys()), (0, 0, 0));
    }
    // Read again, the same comes out again.
    let mut again = sharing(1);
    assert_eq!(start(&store, &mut again, 0, 1), 0);
    assert_eq!(again.reports_from(), Some(7));
    let mut out = Vec::new();
    feed(&mut again, 0, &lines, 0, &mut out);
    assert_eq!(sorted(&out), sorted(&store.out));
}

fn with_id(id: Option<&str>) -> Origin {
    Origin { topic_id: id.map(str::to_owned), ..origin(1) }
}

/// A changelog with an open invoice, of a topic with this id.
fn written_for(origin: Origin) -> Vec<StateRecord> {
    let (mut core, mut out) = (Core::sharing(pipeline(), Recovery::Changelog, origin), Vec::new());
    core.apply(Input::Assigned { partition: 0, start: Start::At(0) }, &mut out);
    feed(&mut core, 0, &[(0, line("1"))], 0, &mut out);
    core.take_changes().remove(0).records
}

fn read(records: &[StateRecord], origin: Origin) -> Result<Restored, StateError> {
    let mut reader = StateReader::new(&pipeline(), origin);
    records.iter().for_each(|record| {
        let _ = reader.take(&pipeline(), &record.key, record.value.as_deref());
    });
    reader.finish(&pipeline())
}

#[test]
fn state_of_a_topic_that_was_made_anew_is_refused() {
    let written = written_for(with_id(Some("old")));
    assert_eq!(read(&written, with_id(Some("old"))).unwrap().open_entities(), 1);
    let refused = read(&written, with_id(Some("new"))).unwrap_err();
    assert_eq!(refused, StateError::OfEarlierTopic { topic: "purchases".into() });
}

#[test]
fn state_without_an_id_is_taken_and_gets_one_with_the_next_commit() {
    let written = written_for(with_id(None));
    let restored = read(&written, with_id(Some("new"))).unwrap();
    let (mut core, mut out) = (Core::sharing(pipeline(), Recovery::Changelog, with_id(Some("new"))), Vec::new());
    core.apply(Input::Assigned { partition: 0, start: Start::Restored(Box::new(restored)) }, &mut out);
    feed(&mut core, 0, &[(0, line("1")), (1_000, line("1"))], 1, &mut out);
    let head = core.take_changes().remove(0).head;
    assert_eq!(head.origin, with_id(Some("new")));
    // A broker that knows no ids takes what one that does has left.
    let known = written_for(with_id(Some("old")));
    assert_eq!(read(&known, with_id(None)).unwrap().open_entities(), 1);
}

/// Until the broker compacts the changelog, what a reset has deleted is still read: state of another layout or of an
/// earlier topic, and records that nobody can read.
#[test]
fn a_reset_makes_up_for_whatever_was_there() {
    let other_layout = Origin { layout: "something else".into(), ..origin(1) };
    let damaged = StateRecord { key: b"e1".to_vec(), value: Some(vec![250; 3]) };
    let mut unreadable = written_for(origin(1));
    unreadable.insert(0, damaged);
    for before in [written_for(other_layout), written_for(with_id(Some("old"))), unreadable] {
        let origin = with_id(Some("new"));
        assert!(read(&before, origin.clone()).is_err());
        let mut keys = LiveKeys::default();
        before.iter().for_each(|record| keys.take(&record.key, record.value.as_deref()));
        let (reset, head) = keys.reset(&pipeline(), origin.clone(), 99, 5, Some(7));
        let restored = read(&[&before[..], &reset].concat(), origin.clone()).unwrap();
        assert_eq!((restored.head(), restored.open_entities()), (Some(&head), 0));
        // State that comes after it counts.
        let (mut core, mut out) = (Core::sharing(pipeline(), Recovery::Changelog, origin.clone()), Vec::new());
        core.apply(Input::Assigned { partition: 0, start: Start::Restored(Box::new(restored)) }, &mut out);
        core.apply(Input::Record(Record::new(0, 5, 0, line("2").as_bytes())), &mut out);
        let after = core.take_changes().remove(0).records;
        assert_eq!(read(&[before, reset, after].concat(), origin).unwrap().open_entities(), 1);
    }
}

/// A watermark that was far ahead is set back: everything goes on as if it had never been, whether the changelog is read
/// from its beginning or after compaction.
#[test]
fn a_state_that_is_set_back_goes_on_from_there() {
    let mut store = Store::default();
    let mut core = sharing(1);
    start(&store, &mut core, 0, 1);
    let ahead = 300;
    let lines: Vec<(i64, String)> =
        [(0, "1"), (50, "2"), (55, "C3"), (ahead, "4"), (ahead, "C5"), (ahead, "9"), (ahead + 30, "6")]
            .map(|(at, invoice)| (at * 1000, line(invoice)))
            .into();
    let mut out = Vec::new();
    feed(&mut core, 0, &lines, 0, &mut out);
    store.commit(&mut core, out);
    store.deliver(&mut core);
    core.finish_windows(&mut store.out);
    store.commit(&mut core, Vec::new());
    let mut state = store.restore(0, 1).unwrap();
    assert!(state.is_later_than(329_999) && !state.is_later_than(5_000_000));
    state.set_back(&pipeline(), 0, 60_000).unwrap();
    assert!(!state.is_later_than(60_000));
    let mut live = LiveKeys::default();
    store.changelogs[&0].iter().for_each(|record| live.take(&record.key, record.value.as_deref()));
    let (records, head) = state.rewrite(&pipeline(), &live).unwrap();
    store.changelogs.get_mut(&0).unwrap().extend(records);

    let compacted: Vec<StateRecord> = store.compacted(0).into_iter().filter(|record| record.value.is_some()).collect();
    for records in [store.changelogs[&0].clone(), store.compacted(0), compacted] {
        let restored = restored(&records, 1).unwrap();
        assert_eq!((restored.head(), restored.watermark()), (Some(&head), Some(60_000)));
        assert_eq!((restored.open_entities(), restored.closed_keys(), restored.cancelled_keys()), (3, 2, 2));
        let mut core = sharing(1);
        core.apply(Input::Assigned { partition: 0, start: Start::Restored(Box::new(restored)) }, &mut Vec::new());
        let mut out = Vec::new();
        // A line of an open invoice, one that comes late, and one that comes when all others are closed.
        for (offset, (at, invoice)) in (7..).zip([(70, "4"), (71, "1"), (101, "7"), (111, "8")]) {
            core.apply(Input::Record(Record::new(0, offset, at * 1000, line(invoice).as_bytes())), &mut out);
        }
        let closed = |output: &Output| match output {
            Output::Closed(entity) => Some((entity.summary.key.to_string(), entity.summary.lines)),
            _ => None,
        };
        let closed: Vec<(String, u64)> = out.iter().filter_map(closed).collect();
        assert_eq!(closed, [("9".to_owned(), 1), ("6".to_owned(), 1), ("4".to_owned(), 2)]);
        assert_eq!(core.counters().late_lines, 1);
        // Its state can be written and read again.
        core.take_changes();
    }
}

/// The topic of reports holds whatever anybody has written there.
#[test]
fn reports_of_partitions_that_do_not_exist_and_extreme_numbers_do_no_harm() {
    let store = Store::default();
    let mut core = sharing(2);
    start(&store, &mut core, 0, 2);
    let report = |partition: i32, watermark: i64, idle: Option<i64>, panes: &[(i64, u64)]| Report {
        partition,
        watermark: Some(watermark),
        idle_since: idle.map(|_| i64::MIN),
        idle_for: idle,
        panes: panes.to_vec(),
    };
    let mut out = Vec::new();
    core.apply(Input::Time { now: 1_000 }, &mut out);
    out.clear();
    for (offset, partition) in (0..).zip([-1, 2, 999, i32::MAX]) {
        core.apply(Input::Report { report: report(partition, 0, None, &[(0, 1)]), offset }, &mut out);
    }
    assert_eq!((out.len(), core.reports_from()), (0, Some(4)), "they are passed by");
    for (offset, partition) in (4..).zip([0, 1]) {
        core.apply(Input::Report { report: report(partition, MINUTE, None, &[(0, 1)]), offset }, &mut out);
    }
    let count = CancellationCount { window_start: -7 * MINUTE, window_end: MINUTE, cancellations: 2 };
    assert_eq!(out, [Output::Cancellations(count)], "and hold nothing back");
    for partition in [0, 1] {
        let panes = [(i64::MIN, u64::MAX), (2 * MINUTE, u64::MAX), (i64::MAX, u64::MAX)];
        let report = report(partition, i64::MAX, Some(i64::MAX), &panes);
        core.apply(Input::Report { report, offset: i64::MAX }, &mut out);
    }
    assert_eq!(core.reports_from(), Some(i64::MAX));
    core.finish_windows(&mut out);
    core.take_changes();
}

proptest! {
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
        second.apply(Input::Assigned { partition: 0, start: Start::Reread(resume) });
        for (offset, (timestamp, payload)) in lines.iter().enumerate().skip(resume.offset as usize) {
            let record = Record::new(0, offset as i64, *timestamp, payload.as_bytes());
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

    /// Exactly once: whatever is committed when an instance dies, another one goes on to the same outputs, each once;
    /// what was not committed never happened.
    #[test]
    fn state_goes_on_in_another_instance_as_if_nothing_had_happened(
        lines in world(), commits in proptest::collection::vec((0usize..30, 0usize..10), 1..6)
    ) {
        let mut whole = Store::default();
        let mut alone = sharing(1);
        start(&whole, &mut alone, 0, 1);
        let mut out = Vec::new();
        feed(&mut alone, 0, &lines, 0, &mut out);
        alone.apply(Input::End, &mut out);
        whole.commit(&mut alone, out);
        whole.deliver(&mut alone);
        alone.finish_windows(&mut whole.out);

        let mut store = Store::default();
        let mut upto = 0;
        for (ahead, lost) in commits {
            let mut core = sharing(1);
            let from = start(&store, &mut core, 0, 1);
            prop_assert_eq!(from, upto as i64);
            let mut out = Vec::new();
            upto = (upto + ahead).min(lines.len());
            feed(&mut core, 0, &lines[..upto], from, &mut out);
            store.commit(&mut core, out);
            store.deliver(&mut core);
            // The snapshot, the changelog and memory are the same.
            let mut snapshot = Vec::new();
            core.snapshot(0, |record| snapshot.push(record));
            if let Some(fresh) = store.restore(0, 1) {
                prop_assert_eq!(fresh.snapshot(&pipeline()), snapshot.clone());
                prop_assert_eq!(restored(&snapshot, 1).unwrap().snapshot(&pipeline()), snapshot);
            }
            // More is read, and lost.
            feed(&mut core, 0, &lines[..(upto + lost).min(lines.len())], upto as i64, &mut Vec::new());
        }
        let mut last = sharing(1);
        let from = start(&store, &mut last, 0, 1);
        let mut out = Vec::new();
        feed(&mut last, 0, &lines, from, &mut out);
        last.apply(Input::End, &mut out);
        store.commit(&mut last, out);
        store.deliver(&mut last);
        last.finish_windows(&mut store.out);
        prop_assert_eq!(sorted(&store.out), sorted(&whole.out));
    }

    #[test]
    fn no_state_makes_restoring_panic(
        records in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..12), proptest::option::of(proptest::collection::vec(any::<u8>(), 0..60))), 0..20)
    ) {
        let mut restored = StateReader::new(&pipeline(), origin(1));
        for (mut key, value) in records {
            if let Some(first) = key.first_mut() { *first = b"ecfxgwh"[usize::from(*first) % 7]; }
            let _ = restored.take(&pipeline(), &key, value.as_deref());
        }
    }
}
