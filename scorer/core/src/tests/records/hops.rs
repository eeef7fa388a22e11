//! Several hops over several partitions find what one partition finds, whatever happens on the way.

use super::*;

/// The features of three keys, mixed up.
const MIXED: &str = r#"
    amount = "amount"
    at_shop = "mean(amount) by shop over 1h"
    count = "count() by user over 1m"
    own = "count() by id over 1h including this"
    deviation = "deviation(amount) by shop over 1h"
    since = "seconds_since_last() by user"
    new = "is_new(shop) by user"
"#;

/// One hop, as a consumer group runs it: a core with all partitions, their changelogs, and how far they were read.
struct Stage {
    pipeline: Arc<Pipeline>,
    core: Core,
    read: Vec<usize>,
    committed: Vec<usize>,
    changelogs: Vec<Changelog>,
    uncommitted: Vec<Output>,
}

impl Stage {
    fn new(pipeline: Pipeline, partitions: usize) -> Self {
        let pipeline = Arc::new(pipeline);
        let core = Core::sharing(pipeline.clone(), Recovery::Changelog, Self::origin(&pipeline, partitions));
        let (read, changelogs) = (vec![0; partitions], vec![Changelog::new(); partitions]);
        let mut stage = Self { pipeline, core, committed: read.clone(), read, changelogs, uncommitted: Vec::new() };
        stage.restart();
        stage
    }

    fn origin(pipeline: &Pipeline, partitions: usize) -> Origin {
        let topic = format!("hop {:?}", pipeline.hop().map(|hop| hop.index));
        Origin { topic, partitions: partitions as i32, layout: pipeline.state_layout(), topic_id: None }
    }

    /// Whatever was not committed is gone.
    fn restart(&mut self) {
        let Self { pipeline, changelogs, .. } = self;
        let origin = Self::origin(pipeline, changelogs.len());
        self.core = Core::sharing(pipeline.clone(), Recovery::Changelog, origin.clone());
        self.uncommitted.clear();
        self.read = self.committed.clone();
        for (partition, changelog) in (0..).zip(changelogs.iter()) {
            let mut reader = StateReader::new(pipeline, origin.clone());
            changelog.iter().for_each(|(key, value)| reader.take(pipeline, key, Some(value)).unwrap());
            let start = match reader.head().map(|head| head.next_offset) {
                Some(next) => {
                    assert_eq!(next as usize, self.committed[partition as usize]);
                    Start::Restored(Box::new(reader.finish(pipeline).unwrap()))
                }
                None => Start::At(0),
            };
            self.core.apply(Input::Assigned { partition, start }, &mut self.uncommitted);
        }
    }

    fn apply(&mut self, input: Input<'_>) {
        self.core.apply(input, &mut self.uncommitted);
        let counters = self.core.counters();
        assert_eq!(counters.accounted(), counters.outcomes(), "{counters:?}");
    }

    fn record(&mut self, partition: usize, kafkas: i64, payload: &[u8]) {
        let offset = self.read[partition] as i64;
        self.read[partition] += 1;
        self.apply(Input::Record(Record::new(partition as i32, offset, kafkas, payload)));
    }

    /// What is published with the commit.
    fn commit(&mut self) -> Vec<Output> {
        self.core.report(&mut self.uncommitted);
        for PartitionChanges { partition, records, .. } in self.core.take_changes() {
            let changelog = &mut self.changelogs[partition as usize];
            for StateRecord { key, value } in records {
                match value {
                    Some(value) => _ = changelog.insert(key, value),
                    None => _ = changelog.remove(&key),
                }
            }
        }
        self.committed = self.read.clone();
        std::mem::take(&mut self.uncommitted)
    }
}

/// All hops, the topics between them, and what came out.
struct Way {
    rows: Vec<Vec<Row>>,
    stages: Vec<Stage>,
    /// What each hop but the first reads, by partition.
    topics: Vec<Vec<Vec<Vec<u8>>>>,
    out: Vec<Output>,
}

fn place(key: &str, partitions: usize) -> usize {
    key.bytes().map(usize::from).sum::<usize>() % partitions
}

impl Way {
    /// The rows are keyed as the first hop must have them.
    fn new(pipeline: &Pipeline, rows: &[Row], partitions: usize) -> Self {
        let hops = pipeline.hops(partitions as i32);
        let mut by_key = vec![Vec::new(); partitions];
        let first = pipeline.placed_by()[0];
        for row in rows {
            by_key[place(row.payload.split(',').nth(first).unwrap(), partitions)].push(row.clone());
        }
        let topics = vec![vec![Vec::new(); partitions]; hops.len() - 1];
        let stages = hops.into_iter().map(|hop| Stage::new(hop, partitions)).collect();
        Self { rows: by_key, stages, topics, out: Vec::new() }
    }

    /// A hop reads the next records of a partition, as far as there are so many.
    fn read(&mut self, hop: usize, partition: usize, count: usize) {
        let stage = &mut self.stages[hop];
        for _ in 0..count {
            let next = stage.read[partition];
            match hop.checked_sub(1) {
                None => match self.rows[partition].get(next) {
                    Some(row) => stage.record(partition, row.kafkas, row.payload.as_bytes()),
                    None => return,
                },
                Some(before) => match self.topics[before][partition].get(next) {
                    Some(payload) => stage.record(partition, 0, payload),
                    None => return,
                },
            }
        }
    }

    fn commit(&mut self, hop: usize) {
        for output in self.stages[hop].commit() {
            match output {
                Output::Forwarded(Forwarded { key, bytes }) => {
                    let topic = &mut self.topics[hop];
                    let partition = place(&key, topic.len());
                    topic[partition].push(bytes);
                }
                Output::Watermark(bytes) => {
                    self.topics[hop].iter_mut().for_each(|partition| partition.push(bytes.clone()));
                }
                output => self.out.push(output),
            }
        }
    }

    /// Every hop reads what is left, and is told that nothing more comes.
    fn finish(&mut self) {
        for hop in 0..self.stages.len() {
            (0..self.rows.len()).for_each(|partition| self.read(hop, partition, usize::MAX));
            self.stages[hop].apply(Input::End);
            self.commit(hop);
        }
    }

    fn foreign(&self) -> u64 {
        self.stages.iter().map(|stage| stage.core.foreign_records()).sum()
    }
}

/// What was found of each record, to the bit, wherever it stood.
fn findings(out: &[Output]) -> Vec<String> {
    let mut found: Vec<String> = out
        .iter()
        .map(|output| match output {
            Output::Closed(ClosedEntity { summary, features, truth, .. }) => {
                let bits: Vec<u64> = features.iter().map(|value| value.to_bits()).collect();
                format!("{summary:?} {truth:?} {bits:?}")
            }
            Output::Windowed(verdict) => {
                format!("{:?}", WindowVerdict { partition: 0, offset: None, ..verdict.clone() })
            }
            Output::Erroneous(Erroneous::Line { reasons, raw, .. }) => format!("{reasons:?} {raw:?}"),
            Output::Erroneous(Erroneous::Entity { reasons, summary, features, .. }) => {
                let bits: Vec<u64> = features.iter().map(|value| value.to_bits()).collect();
                format!("{reasons:?} {summary:?} {bits:?}")
            }
            other => format!("{other:?}"),
        })
        .collect();
    found.sort();
    found
}

/// Pipelines of two and of three hops, by either clock.
fn pipelines() -> impl Strategy<Value = Arc<Pipeline>> {
    let features = prop_oneof![Just(FEATURES), Just(MIXED)];
    let clock = prop_oneof![Just(""), Just(r#"clock = "at""#)];
    let windows = prop_oneof![Just(String::new()), Just(zscore::detectors_by_column())];
    (features, clock, windows).prop_map(|(features, clock, windows)| {
        Arc::new(with_windows(features, clock, r#"memory = "1h", lateness = "10s""#, &windows))
    })
}

/// The rows as they come when each takes its time, a few of them broken.
fn arrivals() -> impl Strategy<Value = Vec<Row>> {
    (rows(), proptest::collection::vec((0i64..=10_000, 0u8..12), 80)).prop_map(|(mut rows, fates)| {
        for (row, (delay, fate)) in rows.iter_mut().zip(fates) {
            row.kafkas += delay;
            if fate == 0 {
                row.payload = row.payload.replace("2020", "then");
            }
        }
        rows.sort_by_key(|row| row.kafkas);
        rows
    })
}

/// What happens next: which hop, which partition, and how many records it reads; or a commit, a restart, or what somebody else
/// writes.
fn events() -> impl Strategy<Value = Vec<(u8, usize, usize, usize)>> {
    proptest::collection::vec((0u8..12, 0usize..3, 0usize..4, 1usize..12), 0..120)
}

proptest! {
    /// Any split, any order in which partitions are read, and restarts of any hop at any moment: as in one partition.
    #[test]
    fn hops_find_what_one_partition_finds(
        pipeline in pipelines(), rows in arrivals(), partitions in 2usize..5, events in events()
    ) {
        let whole = Driver::new(&pipeline).judge(&rows);
        let mut way = Way::new(&pipeline, &rows, partitions);
        let (last, mut foreign) = (way.stages.len() - 1, 0);
        for (what, hop, partition, count) in events {
            let (hop, partition) = (hop.min(last), partition % partitions);
            match what {
                0..7 => way.read(hop, partition, count),
                7..10 => way.commit(hop),
                10 => way.stages[hop].restart(),
                _ => {
                    let topic = &mut way.topics[hop.min(last - 1)][partition];
                    let strange = match topic.last().filter(|_| count.is_multiple_of(2)) {
                        Some(genuine) => genuine[..genuine.len().saturating_sub(1)].to_vec(),
                        None => vec![1; count],
                    };
                    topic.push(strange);
                    foreign += 1;
                }
            }
        }
        way.finish();
        prop_assert_eq!(findings(&way.out), findings(&whole.out));
        // A hop that was restarted has counted again from its last commit.
        prop_assert!(way.foreign() <= foreign);
        for output in &way.out {
            let Output::Closed(ClosedEntity { summary, partition, offsets, .. }) = output else { continue };
            let row = &way.rows[*partition as usize][offsets[0].0 as usize];
            prop_assert_eq!(row.key.as_str(), &*summary.key, "it names the record where it was first");
        }
    }

    /// Bytes that were changed on the way are a record of the same form, or foreign; they end nothing.
    #[test]
    fn damaged_bytes_make_nothing_panic(
        rows in rows(), changes in proptest::collection::vec((any::<usize>(), any::<usize>(), any::<u8>()), 1..40)
    ) {
        let pipeline = with_windows(FEATURES, "", r#"lateness = "10s""#, &zscore::detectors_by_column());
        let mut way = Way::new(&pipeline, &rows, 2);
        (0..2).for_each(|partition| way.read(0, partition, usize::MAX));
        way.commit(0);
        for (message, byte, to) in changes {
            for topic in &mut way.topics[0] {
                let Some(length) = topic.len().checked_sub(1) else { continue };
                let message = &mut topic[message % (length + 1)];
                if to == 0 {
                    message.truncate(byte % message.len().max(1));
                } else if let Some(length) = message.len().checked_sub(1) {
                    message[byte % (length + 1)] ^= to;
                }
            }
        }
        way.finish();
        way.stages[1].restart();
        way.stages[1].apply(Input::End);
    }
}

/// Three partitions of which one has records, all of them read to their ends.
fn one_with_records(pipeline: &Pipeline) -> Way {
    let rows: Vec<Row> = (0..4).map(|at| row(at, (1, at as u8), 1.0, START + at * 1_000)).collect();
    let mut way = Way::new(pipeline, &rows, 3);
    let with_rows = (0..3).find(|partition| !way.rows[*partition].is_empty()).unwrap();
    way.read(0, with_rows, usize::MAX);
    for partition in 0..3 {
        way.stages[0].apply(Input::CaughtUp { partition, now: 1_000_000 });
    }
    way
}

/// It is proven that nothing was left to read in any partition of the first hop at `now`; the next one reads what follows.
fn read_through(way: &mut Way, now: i64) {
    let partitions = way.rows.len();
    for partition in 0..partitions {
        way.stages[0].apply(Input::ReadThrough { partition: partition as i32, now });
    }
    way.stages[0].apply(Input::Time { now });
    way.commit(0);
    (0..partitions).for_each(|partition| way.read(1, partition, usize::MAX));
    way.commit(1);
}

fn judged(way: &Way) -> usize {
    way.out.iter().filter(|output| output.closed().is_some()).count()
}

/// A partition without a record is not waited for once it has said that it has none, nor is one that has no more; and once all
/// is judged, nothing is said any more.
#[test]
fn a_partition_with_nothing_to_read_holds_nothing_back() {
    let mut way = one_with_records(&small(r#"clock = "at""#, ""));
    let (mut now, mut rounds) = (1_000_000, 0);
    while let Some(due) = way.stages[0].core.next_deadline() {
        assert!(due > now && due <= 1_010_000, "it ends: {due}");
        now = due;
        read_through(&mut way, now);
        assert_eq!(judged(&way), if now < 1_005_000 { 0 } else { 4 }, "two partitions have not spoken before");
        rounds += 1;
    }
    assert_eq!(judged(&way), 4, "without a record that comes later, and without an end");
    assert!((40..100).contains(&rounds), "it speaks a few times a second until it is known to be idle: {rounds}");
    assert_eq!(way.stages[1].core.next_deadline(), None, "its clock is that of the hop before");
}

/// With a lateness it takes the proof that nothing was on its way.
#[test]
fn a_partition_with_nothing_to_read_is_passed_where_the_order_matters() {
    let mut way = one_with_records(&small(r#"clock = "at""#, r#"lateness = "10s""#));
    let mut now = 1_000_000;
    while judged(&way) < 4 {
        let due = way.stages[0].core.next_deadline().unwrap();
        assert!(due > now && due <= 1_020_000, "it goes on: {due}");
        now = due;
        read_through(&mut way, now);
    }
    assert!(now > 1_010_000, "they wait for as long as the lateness says, and then for the others' word");
}

/// A file that is replayed into a scorer with nothing to do: one partition is days ahead before another is read.
#[test]
fn partitions_that_have_been_idle_for_long_are_waited_for_when_records_come() {
    let pipeline = small(r#"clock = "at""#, r#"lateness = "10s""#);
    let of = |partition: usize| (0..9u8).find(|user| place(&format!("user {user}"), 2) == partition).unwrap();
    let rows: Vec<Row> =
        (0..40).map(|at| row(at, (of(at as usize % 2), 1), at as f64, START + at * 3_600_000)).collect();
    let mut way = Way::new(&pipeline, &rows, 2);
    for partition in 0..2 {
        way.stages[0].apply(Input::CaughtUp { partition, now: 0 });
    }
    (1..20).for_each(|step| read_through(&mut way, step * 2_500));
    way.read(0, 0, usize::MAX);
    way.commit(0);
    (0..2).for_each(|partition| way.read(1, partition, usize::MAX));
    way.commit(1);
    assert_eq!(judged(&way), 0, "the other partition's records may be on their way");
    way.finish();
    assert_eq!(findings(&way.out), findings(&Driver::new(&pipeline).judge(&rows).out));
}

/// Without lateness records are judged in the order in which they come, and still in that of time over partitions.
#[test]
fn without_lateness_the_next_hop_waits_for_the_slowest_partition() {
    let pipeline = small(r#"clock = "at""#, "");
    let users: Vec<u8> = (0..9).collect();
    let of = |partition: usize| *users.iter().find(|user| place(&format!("user {user}"), 2) == partition).unwrap();
    let rows = [
        row("a", (of(0), 1), 10.0, START),
        row("b", (of(1), 1), 20.0, START + 1_000),
        row("c", (of(0), 1), 30.0, START + 2_000),
        row("d", (of(1), 1), 40.0, START + 3_000),
    ];
    let mut way = Way::new(&pipeline, &rows, 2);
    let keys = |way: &Way| -> Vec<String> {
        way.out.iter().filter_map(Output::closed).map(|entity| entity.summary.key.to_string()).collect()
    };
    let read_on = |way: &mut Way, partition: usize| {
        way.read(0, partition, 1);
        way.commit(0);
        (0..2).for_each(|partition| way.read(1, partition, usize::MAX));
        way.commit(1);
    };
    read_on(&mut way, 0);
    read_on(&mut way, 0);
    assert_eq!(keys(&way), [""; 0], "the other partition has said nothing yet");
    read_on(&mut way, 1);
    assert_eq!(keys(&way), ["a", "b"]);
    read_on(&mut way, 1);
    assert_eq!(keys(&way), ["a", "b", "c"]);
    way.finish();
    assert_eq!(findings(&way.out), findings(&Driver::new(&pipeline).judge(&rows).out));
}
