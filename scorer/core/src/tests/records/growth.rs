//! What is remembered of single records, in a topic that gets more partitions.

use super::super::growth::{place, without_places};
use super::*;

const BY_USER: &str = r#"
    amount = "amount"
    count = "count() by user over 1m"
    deviation = "deviation(amount) by user over 1h"
    since = "seconds_since_last() by user"
    new = "is_new(shop) by user"
"#;

const WINDOWS: &str = r#"{ name = "z", algorithm = "zscore-window", value = "amount", by = "user", window = "1m", slide = "20s", watermark = "20s", topic = "a" },"#;

/// Pipelines whose records wait or not, with windows.
fn by_user() -> impl Strategy<Value = Arc<Pipeline>> {
    let history = prop_oneof![Just(r#"memory = "30d""#), Just(r#"memory = "1h", lateness = "10s""#)];
    history.prop_map(|history| Arc::new(with_windows(BY_USER, r#"clock = "at","#, history, WINDOWS)))
}

/// A topic of records that are placed by their user, and what its only reader has committed.
struct Topic {
    pipeline: Arc<Pipeline>,
    partitions: i32,
    ends: BTreeMap<i32, i64>,
    changelogs: BTreeMap<i32, Vec<StateRecord>>,
    out: Vec<Output>,
}

fn origin_with(pipeline: &Pipeline, partitions: i32) -> Origin {
    Origin { partitions, ..origin_of(pipeline) }
}

impl Topic {
    fn new(pipeline: &Arc<Pipeline>, partitions: i32) -> Self {
        let (changelogs, ends, out) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Self { pipeline: pipeline.clone(), partitions, ends, changelogs, out }
    }

    fn end(&self, partition: i32) -> i64 {
        self.ends.get(&partition).copied().unwrap_or(0)
    }

    fn state(&self, partition: i32) -> Restored {
        let mut reader = StateReader::new(&self.pipeline, origin_with(&self.pipeline, self.partitions));
        for StateRecord { key, value } in self.changelogs.get(&partition).into_iter().flatten() {
            let _ = reader.take(&self.pipeline, key, value.as_deref());
        }
        reader.finish(&self.pipeline).unwrap()
    }

    fn read(&mut self, rows: &[Row], has_end: bool) {
        let origin = origin_with(&self.pipeline, self.partitions);
        let mut core = Core::sharing(self.pipeline.clone(), Recovery::Changelog, origin);
        for partition in 0..self.partitions {
            let state = self.state(partition);
            let next = state.head().map(|head| head.next_offset);
            assert_eq!(next.unwrap_or(0), self.end(partition), "everything was read");
            let start = if next.is_some() { Start::Restored(Box::new(state)) } else { Start::At(0) };
            core.apply(Input::Assigned { partition, start }, &mut self.out);
        }
        for row in rows {
            let partition = place(row.payload.split(',').nth(1).unwrap(), self.partitions);
            let end = self.ends.entry(partition).or_default();
            core.apply(Input::Record(Record::new(partition, *end, row.kafkas, row.payload.as_bytes())), &mut self.out);
            *end += 1;
        }
        if has_end {
            core.apply(Input::End, &mut self.out);
        }
        for PartitionChanges { partition, records, .. } in core.take_changes() {
            self.changelogs.entry(partition).or_default().extend(records);
        }
    }

    fn grow(&mut self, partitions: i32) {
        let place = |key: &str| place(key, partitions);
        let growth = Growth { before: self.partitions, now: partitions, place: Some(&place) };
        let life = NewLife {
            origin: origin_with(&self.pipeline, partitions),
            birth: 1_000,
            offsets: (0..partitions).map(|partition| self.end(partition)).collect(),
            reports_end: None,
        };
        let states = (0..self.partitions).map(|partition| self.state(partition)).collect();
        let states = rekey(&self.pipeline, states, &growth, &life).unwrap();
        self.partitions = partitions;
        for (partition, state) in (0..).zip(&states) {
            let changelog = self.changelogs.entry(partition).or_default();
            let mut live = LiveKeys::default();
            changelog.iter().for_each(|record| live.take(&record.key, record.value.as_deref()));
            state.put_anew(&self.pipeline, &live, |record| changelog.push(record));
            let read = self.state(partition);
            assert_eq!(read.head(), state.head());
            assert_eq!(as_changelog(read.snapshot(&self.pipeline)), as_changelog(state.snapshot(&self.pipeline)));
        }
    }
}

/// Records that are at most ten seconds out of order, some sent twice.
fn arrivals() -> impl Strategy<Value = Vec<Row>> {
    let fates = proptest::collection::vec((0i64..10_000, 0u8..8), 80);
    (rows(), fates).prop_map(|(rows, fates)| {
        let mut delayed: Vec<(Row, bool)> = rows
            .into_iter()
            .zip(fates)
            .map(|(row, (delay, fate))| (Row { kafkas: row.at + delay, ..row }, fate == 0))
            .collect();
        delayed.sort_by_key(|(row, _)| row.kafkas);
        delayed.into_iter().flat_map(|(row, is_twice)| std::iter::repeat_n(row, 1 + usize::from(is_twice))).collect()
    })
}

proptest! {
    /// Whenever a topic grows whose records have all been read, every record has the same features, to the bit, and the same
    /// windows as in one that never grew.
    #[test]
    fn the_past_of_keys_goes_on_elsewhere(
        pipeline in by_user(), mut rows in arrivals(), at in 0usize..100,
        partitions in proptest::sample::select(vec![(1, 4), (2, 4), (2, 5), (3, 4)])
    ) {
        // What does not wait is judged as it comes.
        if !pipeline.state_layout().contains("lateness 10000 ms") {
            rows.sort_by_key(|row| row.at);
        }
        let (before, now) = partitions;
        let mut whole = Topic::new(&pipeline, before);
        whole.read(&rows, true);
        let (earlier, later) = rows.split_at(at.min(rows.len()));
        let mut grown = Topic::new(&pipeline, before);
        grown.read(earlier, false);
        grown.grow(now);
        grown.read(later, true);
        prop_assert_eq!(without_places(&grown.out), without_places(&whole.out));
    }
}
