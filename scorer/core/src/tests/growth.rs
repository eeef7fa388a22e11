//! A topic that gets more partitions, on each of which an instance goes on.

use super::*;

/// The partition of a key among so many, by a hash as producers have one.
pub(super) fn place(key: &str, partitions: i32) -> i32 {
    let hash = key.bytes().fold(7u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte)));
    (hash % partitions.unsigned_abs()) as i32
}

/// Outputs without the places that they name.
pub(super) fn without_places(outputs: &[Output]) -> Vec<String> {
    let without = |output: &Output| match output.clone() {
        Output::Closed(entity) => Output::Closed(ClosedEntity { partition: 0, offsets: Vec::new(), ..entity }),
        Output::Windowed(verdict) => Output::Windowed(WindowVerdict { partition: 0, offset: None, ..verdict }),
        Output::Erroneous(Erroneous::Line { reasons, raw, .. }) => {
            Output::Erroneous(Erroneous::Line { reasons, source: (0, 0), item: None, raw })
        }
        Output::Erroneous(Erroneous::Entity { reasons, known, summary, features, .. }) => {
            let (partition, offsets) = (0, Vec::new());
            Output::Erroneous(Erroneous::Entity { reasons, known, summary, features, partition, offsets })
        }
        other => other,
    };
    sorted(&outputs.iter().map(without).collect::<Vec<_>>())
}

/// The state in a changelog, in which another one may have been before.
fn read(records: &[StateRecord], partitions: i32) -> Restored {
    let mut reader = StateReader::new(&pipeline(), origin(partitions));
    for StateRecord { key, value } in records {
        let _ = reader.take(&pipeline(), key, value.as_deref());
    }
    reader.finish(&pipeline()).unwrap()
}

/// A topic of lines that are placed by their invoice number, and its only reader.
struct Topic {
    partitions: i32,
    ends: BTreeMap<i32, i64>,
    store: Store,
}

impl Topic {
    fn new(partitions: i32) -> Self {
        Self { partitions, ends: BTreeMap::new(), store: Store::default() }
    }

    fn reader(&self) -> Core {
        let mut core = sharing(self.partitions);
        for partition in 0..self.partitions {
            let from = start(&self.store, &mut core, partition, self.partitions);
            assert_eq!(from, self.ends.get(&partition).copied().unwrap_or(0), "everything was read");
        }
        core
    }

    /// Reads lines and commits; with `has_end`, they are the last ones. `are_told` says whether the reports are read, too.
    fn read(&mut self, lines: &[(i64, String)], are_told: bool, has_end: bool) {
        let (mut core, mut out) = (self.reader(), Vec::new());
        for (at, payload) in lines {
            let partition = place(payload.split(',').next().unwrap(), self.partitions);
            let end = self.ends.entry(partition).or_default();
            core.apply(Input::Record(Record::new(partition, *end, *at, payload.as_bytes())), &mut out);
            *end += 1;
            let counters = core.counters();
            assert_eq!(counters.accounted(), counters.outcomes(), "{counters:?}");
        }
        if has_end {
            core.apply(Input::End, &mut out);
        }
        self.store.commit(&mut core, out);
        if are_told || has_end {
            self.store.deliver(&mut core);
        }
        if has_end {
            core.finish_windows(&mut self.store.out);
        }
    }

    fn states(&self) -> Vec<Restored> {
        let nothing = || StateReader::new(&pipeline(), origin(self.partitions)).finish(&pipeline()).unwrap();
        let state = |partition| self.store.restore(partition, self.partitions).unwrap_or_else(nothing);
        (0..self.partitions).map(state).collect()
    }

    fn grow(&mut self, partitions: i32) {
        let place = |key: &str| place(key, partitions);
        let growth = Growth { before: self.partitions, now: partitions, place: Some(&place) };
        let life = NewLife {
            origin: origin(partitions),
            birth: 1_000 + i64::from(partitions),
            offsets: (0..partitions).map(|partition| self.ends.get(&partition).copied().unwrap_or(0)).collect(),
            reports_end: Some(self.store.reports.len() as i64),
        };
        let states = rekey(&pipeline(), self.states(), &growth, &life).unwrap();
        for (partition, state) in (0..).zip(&states) {
            let changelog = self.store.changelogs.entry(partition).or_default();
            let mut live = LiveKeys::default();
            changelog.iter().for_each(|record| live.take(&record.key, record.value.as_deref()));
            state.put_anew(&pipeline(), &live, |record| changelog.push(record));
            // Whether the changelog was compacted or not, the same state is read.
            let whole = self.store.changelogs[&partition].clone();
            for records in [&whole, &self.store.compacted(partition)] {
                let read = read(records, partitions);
                assert_eq!(read.head(), state.head());
                assert_eq!(read.snapshot(&pipeline()), state.snapshot(&pipeline()));
            }
        }
        self.partitions = partitions;
    }
}

/// Lines within less than the ten minutes for which closed keys are remembered.
fn close_world() -> impl Strategy<Value = Vec<(i64, String)>> {
    world().prop_map(|lines| lines.into_iter().map(|(at, payload)| (at / 6, payload)).collect())
}

proptest! {
    /// Whenever a topic grows whose lines have all been read, the outputs are those of one that never grew. (Closed keys may be
    /// remembered for a little longer, so all lines come within that time.)
    #[test]
    fn a_topic_that_grows_leads_to_the_same_outputs(
        lines in close_world(), first in 0usize..120, second in 0usize..120, are_told in any::<bool>(),
        partitions in proptest::sample::select(vec![(1, 3, 4), (2, 4, 8), (2, 5, 6), (3, 4, 12)])
    ) {
        let (before, then, at_last) = partitions;
        let mut whole = Topic::new(before);
        whole.read(&lines, true, true);

        let first = first.min(lines.len());
        let second = second.clamp(first, lines.len());
        let mut grown = Topic::new(before);
        grown.read(&lines[..first], are_told, false);
        grown.grow(then);
        grown.read(&lines[first..second], are_told, false);
        grown.grow(at_last);
        grown.read(&lines[second..], true, true);
        prop_assert_eq!(without_places(&grown.store.out), without_places(&whole.store.out));
    }
}

/// The invoice number that goes from one partition to another.
fn moving(before: i32, now: i32) -> String {
    (0..).map(|number: u32| number.to_string()).find(|key| place(key, before) != place(key, now)).unwrap()
}

#[test]
fn an_open_invoice_goes_on_elsewhere_and_names_the_place_of_its_first_line() {
    let (key, mut topic) = (moving(2, 4), Topic::new(2));
    topic.read(&[(0, line(&key)), (1_000, line(&key))], true, false);
    topic.grow(4);
    topic.read(&[(2_000, line(&key))], true, true);
    let closed: Vec<&ClosedEntity> = topic.store.out.iter().filter_map(Output::closed).collect();
    let [entity] = closed[..] else { panic!("{closed:?}") };
    assert_eq!((entity.summary.lines, entity.partition), (3, place(&key, 2)));
    assert_eq!(entity.offsets, [(0, 1)], "the last line is at offset 0 of another partition");
}

#[test]
fn a_line_of_a_closed_invoice_is_late_elsewhere_too() {
    let (key, mut topic) = (moving(2, 4), Topic::new(2));
    topic.read(&[(0, line(&key)), (60_000, line(&key))], true, false);
    topic.grow(4);
    topic.read(&[(61_000, line(&key))], true, true);
    let late =
        |output: &&Output| matches!(output, Output::Erroneous(Erroneous::Line { reasons, .. }) if reasons.len() == 1);
    assert_eq!(topic.store.out.iter().filter(late).count(), 2, "{:?}", topic.store.out);
}

#[test]
fn keys_that_were_placed_otherwise_are_refused() {
    let mut topic = Topic::new(2);
    topic.read(&[(0, line("1"))], true, false);
    let life = NewLife { origin: origin(4), birth: 1, offsets: vec![0; 4], reports_end: Some(0) };
    // No hash that led to one of two partitions leads to this one of four.
    let (from, elsewhere) = (place("1", 2), 1 - place("1", 2));
    let place = |_: &str| elsewhere;
    let growth = Growth { before: 2, now: 4, place: Some(&place) };
    let refused = rekey(&pipeline(), topic.states(), &growth, &life).unwrap_err();
    assert_eq!(refused, GrowthError::Elsewhere { key: "1".to_owned(), from, to: elsewhere });
}
