use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use shared::pipeline::{Pipeline, Scored};
use shared::reason::Reason;

use super::*;
use crate::step::GRACE;

mod records;

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
        assert_eq!(counters.accounted(), counters.outcomes(), "{counters:?}");
    }

    fn send(&mut self, partition: i32, milliseconds: i64, payload: &str) {
        let offset = self.offsets.entry(partition).or_default();
        let record = Record::new(partition, *offset, milliseconds, payload.as_bytes());
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
    driver.apply(Input::Assigned { partition: 0, start: Start::Fresh });
    driver.apply(Input::Assigned { partition: 1, start: Start::Fresh });
    driver.send(0, 10_000, &line("C1"));
    driver.send(0, 70_000, &line("1"));
    assert_eq!(driver.counts(), [], "partition 1 may still hold something of the first minute");
    driver.send(1, 20_000, &line("C2"));
    driver.send(1, 61_000, &line("2"));
    assert_eq!(driver.counts(), [(1, 2)]);
    driver.apply(Input::CaughtUp { partition: 1, now: 0 });
    driver.apply(Input::Time { now: 1_000 });
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

/// A broker's side of a core that shares partitions: a changelog and the topic of reports.
#[derive(Default)]
struct Store {
    changelogs: BTreeMap<i32, Vec<StateRecord>>,
    reports: Vec<Report>,
    out: Vec<Output>,
}

fn origin(partitions: i32) -> Origin {
    Origin { topic: "purchases".into(), partitions, layout: pipeline().state_layout() }
}

fn sharing(partitions: i32) -> Core {
    Core::sharing(pipeline(), Recovery::Changelog, origin(partitions))
}

impl Store {
    /// Commits what a core has: its outputs, its reports and its changes.
    fn commit(&mut self, core: &mut Core, mut outputs: Vec<Output>) {
        core.report(&mut outputs);
        for output in outputs {
            match output {
                Output::Report(report) => self.reports.push(report),
                output => self.out.push(output),
            }
        }
        for PartitionChanges { partition, records, .. } in core.take_changes() {
            self.changelogs.entry(partition).or_default().extend(records);
        }
    }

    /// The changelog of a partition after compaction: the last record of each key, in order; deletions too for a while.
    fn compacted(&self, partition: i32) -> Vec<StateRecord> {
        let records = self.changelogs.get(&partition).cloned().unwrap_or_default();
        let last: BTreeMap<Vec<u8>, usize> =
            records.iter().enumerate().map(|(i, record)| (record.key.clone(), i)).collect();
        records
            .into_iter()
            .enumerate()
            .filter(|(i, record)| last[&record.key] == *i)
            .map(|(_, record)| record)
            .collect()
    }

    fn restore(&self, partition: i32, partitions: i32) -> Option<Restored> {
        restored(&self.compacted(partition), partitions)
    }

    /// Lets the owner of the windows hear what it has not heard yet.
    fn deliver(&mut self, core: &mut Core) {
        let from = core.reports_from().unwrap_or(i64::MAX);
        let mut outputs = Vec::new();
        for (offset, report) in self.reports.clone().into_iter().enumerate().skip(from as usize) {
            core.apply(Input::Report { report, offset: offset as i64 }, &mut outputs);
        }
        self.commit(core, outputs);
    }
}

fn restored(records: &[StateRecord], partitions: i32) -> Option<Restored> {
    let mut restored = StateReader::new(&pipeline(), origin(partitions));
    for record in records {
        restored.take(&pipeline(), &record.key, record.value.as_deref()).unwrap();
    }
    restored.head().is_some().then(|| restored.finish(&pipeline()).unwrap())
}

fn start(store: &Store, core: &mut Core, partition: i32, partitions: i32) -> i64 {
    let (start, from) = match store.restore(partition, partitions) {
        Some(restored) => {
            let from = restored.head().unwrap().next_offset;
            (Start::Restored(Box::new(restored)), from)
        }
        None => (Start::At(0), 0),
    };
    core.apply(Input::Assigned { partition, start }, &mut Vec::new());
    from
}

fn feed(core: &mut Core, partition: i32, lines: &[(i64, String)], from: i64, out: &mut Vec<Output>) {
    for (offset, (timestamp, payload)) in lines.iter().enumerate().skip(from as usize) {
        let record = Record::new(partition, offset as i64, *timestamp, payload.as_bytes());
        core.apply(Input::Record(record), out);
        let counters = core.counters();
        assert_eq!(counters.accounted(), counters.outcomes(), "{counters:?}");
    }
}

/// Everything but reports, which are no result.
fn sorted(outputs: &[Output]) -> Vec<String> {
    let mut texts: Vec<String> = outputs.iter().map(|output| format!("{output:?}")).collect();
    texts.sort();
    texts
}

#[test]
fn time_that_passes_while_nobody_runs_counts_once_the_backlog_is_read() {
    let mut store = Store::default();
    let mut first = sharing(1);
    let from = start(&store, &mut first, 0, 1);
    let lines = vec![(100_000, line("1"))];
    let mut out = Vec::new();
    feed(&mut first, 0, &lines, from, &mut out);
    first.apply(Input::CaughtUp { partition: 0, now: 5_000 }, &mut out);
    store.commit(&mut first, out);

    // Nothing came in between: the deadline has passed.
    let mut second = sharing(1);
    let mut out = Vec::new();
    assert_eq!(start(&store, &mut second, 0, 1), 1);
    second.apply(Input::Time { now: 60_000 }, &mut out);
    assert_eq!(
        out.iter().filter(|output| matches!(output, Output::Closed(_))).count(),
        0,
        "the backlog is not read yet"
    );
    second.apply(Input::CaughtUp { partition: 0, now: 60_000 }, &mut out);
    assert_eq!(out.iter().filter(|output| matches!(output, Output::Closed(_))).count(), 1);

    // A line of the same invoice that came in time while nobody ran belongs to it.
    let mut third = sharing(1);
    let from = start(&store, &mut third, 0, 1);
    let mut out = Vec::new();
    feed(&mut third, 0, &[lines[0].clone(), (130_000, line("1"))], from, &mut out);
    third.apply(Input::CaughtUp { partition: 0, now: 60_000 }, &mut out);
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

    /// Cancellations are one number: that of one instance with everything, however partitions are spread and in
    /// whatever steps they are read.
    #[test]
    fn the_windows_are_the_same_however_partitions_are_spread(
        lines in world(), steps in proptest::collection::vec((0i32..3, 1usize..20), 1..40)
    ) {
        const PARTITIONS: i32 = 3;
        let of = |partition: i32| -> Vec<(i64, String)> {
            lines.iter().filter(|(_, payload)| payload.bytes().map(i32::from).sum::<i32>() % PARTITIONS == partition).cloned().collect()
        };
        let parts: Vec<_> = (0..PARTITIONS).map(of).collect();
        // Three instances with a partition each, read in any order and in any steps.
        let mut store = Store::default();
        let mut cores: Vec<Core> = (0..PARTITIONS).map(|_| sharing(PARTITIONS)).collect();
        for (partition, core) in cores.iter_mut().enumerate() {
            start(&store, core, partition as i32, PARTITIONS);
        }
        let mut read = [0usize; PARTITIONS as usize];
        let everything = (0..PARTITIONS).map(|partition| (partition, usize::MAX));
        for (partition, count) in steps.into_iter().chain(everything) {
            let index = partition as usize;
            let to = read[index].max(read[index].saturating_add(count).min(parts[index].len()));
            let mut out = Vec::new();
            feed(&mut cores[index], partition, &parts[index][..to], read[index] as i64, &mut out);
            read[index] = to;
            store.commit(&mut cores[index], out);
            store.deliver(&mut cores[0]);
        }
        cores[0].finish_windows(&mut store.out);
        // One instance that reads by time.
        let mut alone = Driver::new();
        for partition in 0..PARTITIONS {
            alone.apply(Input::Assigned { partition, start: Start::Fresh });
        }
        let mut offsets = [0; PARTITIONS as usize];
        for (timestamp, payload) in &lines {
            let partition = payload.bytes().map(i32::from).sum::<i32>() % PARTITIONS;
            let offset = &mut offsets[partition as usize];
            let record = Record::new(partition, *offset, *timestamp, payload.as_bytes());
            alone.core.apply(Input::Record(record), &mut alone.out);
            *offset += 1;
        }
        alone.apply(Input::End);
        let counts = |out: &[Output]| -> Vec<Output> {
            out.iter().filter(|output| matches!(output, Output::Cancellations(_))).cloned().collect()
        };
        prop_assert_eq!(counts(&store.out), counts(&alone.out));
    }

    #[test]
    fn no_state_makes_restoring_panic(
        records in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..12), proptest::option::of(proptest::collection::vec(any::<u8>(), 0..60))), 0..20)
    ) {
        let mut restored = StateReader::new(&pipeline(), origin(1));
        for (mut key, value) in records {
            if let Some(first) = key.first_mut() { *first = b"ecxwh"[usize::from(*first) % 5]; }
            let _ = restored.take(&pipeline(), &key, value.as_deref());
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

/// Lines without a key, with their invoice's, with that of a customer, and one that cannot be parsed.
fn misplaced_lines(mut core: Core) -> u64 {
    let keys: [Option<&[u8]>; 4] = [None, Some(b"1"), Some(b" 1 "), Some(b"12345")];
    for (offset, key) in keys.into_iter().enumerate() {
        let payload = line("1");
        let record = Record { key, ..Record::new(0, offset as i64, 0, payload.as_bytes()) };
        core.apply(Input::Record(record), &mut Vec::new());
    }
    core.apply(Input::Record(Record::new(0, keys.len() as i64, 0, b"1,2")), &mut Vec::new());
    let counters = core.counters();
    assert_eq!(counters.accounted(), counters.outcomes(), "{counters:?}");
    counters.misplaced_lines
}

#[test]
fn lines_whose_key_is_not_their_invoices_are_counted_where_that_may_part_them() {
    assert_eq!(misplaced_lines(sharing(3)), 2);
    assert_eq!(misplaced_lines(sharing(1)), 0);
    assert_eq!(misplaced_lines(Core::new(pipeline())), 0);
    let routed = Origin { topic: "atalaya-invoices-repartition".into(), ..origin(3) };
    assert_eq!(misplaced_lines(Core::sharing(pipeline(), Recovery::Changelog, routed)), 0);
}

#[test]
fn an_erroneous_line_names_where_it_was_first() {
    let (mut core, mut out) = (sharing(3), Vec::new());
    core.apply(Input::Record(Record { source: (2, 17), ..Record::new(0, 5, 0, b"1,2") }), &mut out);
    assert!(matches!(&out[..], [Output::Erroneous(Erroneous::Line { source: (2, 17), .. })]), "{out:?}");
}
