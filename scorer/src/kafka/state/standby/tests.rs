//! Copies that are taken over, beside a simulated broker: they come to what the changelog alone says.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use shared::pipeline::Pipeline;

use super::copy::{Misfit, StandbyCopy};
use crate::clock::now_since_epoch;
use crate::core::{Core, Input, Origin, Record, Recovery, Restored, Start, StateReader, StateRecord};
use crate::kafka::client::error::KafkaError;
use crate::kafka::client::producer::{ProduceRecord, Producer};
use crate::kafka::client::settings::KafkaSettings;
use crate::kafka::client::watchdog::Watchdog;
use crate::kafka::state::changelogs::{Changelogs, Wanted};
use crate::kafka::topics::input::InputTopic;
use crate::kafka::topics::names::Topics;
use crate::kafka::wire::offset_metadata::StateTag;

const HOUR: i64 = 3_600_000;

/// A partition whose owner has committed a few changes.
struct Owned {
    changelogs: Changelogs,
    core: Core,
    producer: Producer,
    _cluster: MockCluster<'static, DefaultProducerContext>,
    /// The changelog.
    written: Vec<StateRecord>,
    /// How many records there are after each change, and the tag that names it.
    changes: Vec<(usize, StateTag)>,
}

impl Owned {
    /// Of the incarnation that began at `birth`.
    fn new(birth: i64, changes: usize) -> Self {
        let cluster = MockCluster::new(1).unwrap();
        let pipeline = Arc::new(Pipeline::load("invoices").unwrap());
        let topics = Topics::new(&pipeline, "g");
        cluster.create_topic(&topics.state, 1, 1).unwrap();
        let (topic, layout) = (topics.input.clone(), pipeline.state_layout());
        let settings = KafkaSettings::at(cluster.bootstrap_servers());
        let origin = Origin { topic, partitions: 1, layout, topic_id: None };
        let changelogs = Changelogs {
            settings: settings.clone(),
            input: InputTopic::without_id(&topics.input, "g", &pipeline.name),
            origin: origin.clone(),
            pipeline: pipeline.clone(),
            topics,
            group: "g".to_owned(),
            snapshots: None,
            watchdog: Watchdog::new(),
            #[cfg(feature = "fault-injection")]
            faults: crate::kafka::stages::faults::FaultInjection::default(),
        };
        let mut core = Core::sharing(pipeline, Recovery::Changelog, origin);
        core.apply(Input::Assigned { partition: 0, start: Start::At(0) }, &mut Vec::new());
        core.apply(Input::Time { now: birth }, &mut Vec::new());
        let producer = Producer::new(&settings).unwrap();
        let mut owned =
            Self { changelogs, core, producer, _cluster: cluster, written: Vec::new(), changes: Vec::new() };
        (0..changes).for_each(|_| owned.commit());
        owned
    }

    /// Reads a few lines, which close others, and commits that.
    fn commit(&mut self) {
        let number = self.changes.len() as i64;
        for line in 0..3 {
            let (offset, timestamp) = (3 * number + line, 20_000 * number + line);
            let payload = format!("{},22143,MUG,2,9/1/2010 9:22,1.5,12345,France", number % 7 + line);
            self.core.apply(Input::Record(Record::new(0, offset, timestamp, payload.as_bytes())), &mut Vec::new());
        }
        let change = self.core.take_changes().remove(0);
        let topic = self.changelogs.topics.state.clone();
        for record in &change.records {
            self.producer.queue(ProduceRecord::state(&topic, 0, record)).unwrap();
        }
        self.producer.flush().unwrap();
        self.written.extend(change.records);
        self.changes.push((self.written.len(), StateTag::of(&change.head)));
    }

    /// A copy that has followed so many records, and was at the end at `now`.
    fn copy(&self, records: usize, now: i64) -> StandbyCopy {
        self.copy_from(0, records, now)
    }

    /// The same where the first record was at `offset`.
    fn copy_from(&self, offset: i64, records: usize, now: i64) -> StandbyCopy {
        let Changelogs { pipeline, origin, .. } = &self.changelogs;
        let mut copy = StandbyCopy::new(pipeline, origin.clone(), now);
        for (offset, record) in (offset..).zip(&self.written[..records]) {
            copy.take(pipeline, offset, &record.key, record.value.as_deref()).unwrap();
        }
        assert_eq!(copy.on_end(now), Ok(true));
        copy
    }

    /// The last change's tag.
    fn last(&self) -> StateTag {
        self.changes.last().unwrap().1
    }

    /// What a restore makes of a copy, and what it began with.
    fn taken_over(&self, copy: StandbyCopy, wanted: Wanted) -> (Result<Restored, KafkaError>, &'static str) {
        let mut found = None;
        let copies = BTreeMap::from([(0, copy)]);
        self.changelogs
            .read_each_on(&[(0, wanted)], copies, &|_| true, &mut |partition, read| {
                assert!(partition == 0 && found.replace(read).is_none(), "one partition, once");
            })
            .unwrap();
        match found.expect("what became of it") {
            Ok(read) => {
                let source = read.source;
                (self.changelogs.finish(0, read), source)
            }
            Err(error) => (Err(error), "nothing"),
        }
    }

    /// The state in the changelog, of which nobody has a copy.
    fn restored(&self, wanted: Wanted) -> Vec<StateRecord> {
        self.snapshot(&self.changelogs.read(&[(0, wanted)]).unwrap()[&0])
    }

    fn snapshot(&self, restored: &Restored) -> Vec<StateRecord> {
        restored.snapshot(&self.changelogs.pipeline)
    }
}

/// Behind, in the middle of a change, at its very end: what is missing is read.
#[test]
fn a_copy_that_fits_comes_to_the_state_of_the_changelog() {
    let owned = Owned::new(5, 12);
    let (whole, all) = (owned.restored(Wanted::Last(owned.last())), owned.written.len());
    for records in [1, owned.changes[0].0, owned.changes[4].0 + 1, owned.changes[10].0, all - 1, all] {
        let (restored, source) = owned.taken_over(owned.copy(records, now_since_epoch()), Wanted::Last(owned.last()));
        let restored = restored.unwrap();
        assert!(owned.snapshot(&restored) == whole, "after {records} of {all} records");
        assert_eq!((source, restored.records()), ("standby", all as u64), "each record is read once");
    }
}

#[test]
fn a_copy_that_does_not_fit_costs_time_and_nothing_else() {
    let owned = Owned::new(5, 12);
    let (last, all, now) = (owned.last(), owned.written.len(), now_since_epoch());
    let (records, earlier) = owned.changes[6];
    let another = Owned::new(6, 12);
    let copies = [
        ("of another incarnation", another.copy(all, now), Wanted::Last(last)),
        ("ahead of the tag", owned.copy(all, now), Wanted::Passed(earlier)),
        ("ahead of the tag by less than a change", owned.copy(records + 1, now), Wanted::Passed(earlier)),
        ("too old", owned.copy(records, now - 13 * HOUR), Wanted::Last(last)),
        ("empty", owned.copy(0, now), Wanted::Last(last)),
        ("of a changelog that went further", owned.copy_from(1_000, records, now), Wanted::Last(last)),
        ("at the end of such a one", owned.copy_from(1_000, all, now), Wanted::Last(last)),
    ];
    for (what, copy, wanted) in copies {
        let (restored, source) = owned.taken_over(copy, wanted);
        assert_eq!(source, "changelog", "{what}");
        assert!(owned.snapshot(&restored.unwrap()) == owned.restored(wanted), "{what}");
    }
}

/// The tag of an offset that was moved by hand together with it: the changelog goes on, and so does no copy help.
#[test]
fn a_copy_makes_no_torn_state_whole() {
    let owned = Owned::new(5, 6);
    let (records, earlier) = owned.changes[3];
    for records in [records, owned.changes[5].0] {
        let (restored, _) = owned.taken_over(owned.copy(records, now_since_epoch()), Wanted::Last(earlier));
        assert!(matches!(restored, Err(KafkaError::TornState { .. })), "{records} records");
    }
}

#[test]
fn a_copy_that_missed_the_end_for_long_or_follows_another_changelog_begins_anew() {
    let owned = Owned::new(5, 3);
    let (pipeline, records) = (&owned.changelogs.pipeline, owned.changes[1].0);
    let mut copy = owned.copy(records, 0);
    assert_eq!((copy.on_end(11 * HOUR), copy.on_end(22 * HOUR)), (Ok(false), Ok(false)));
    assert!(!copy.is_too_old(33 * HOUR) && copy.is_too_old(35 * HOUR));
    assert_eq!(copy.on_end(35 * HOUR), Err(Misfit::TooOld));

    // While nothing comes, brokers say that there is nothing: behind the last record stands the marker of its transaction.
    let mut copy = owned.copy(records, 0);
    let next = records as i64;
    assert!(!copy.is_to_be_confirmed(HOUR) && copy.is_to_be_confirmed(HOUR + 1));
    copy.confirm((0, next + 1), 10 * HOUR);
    assert!(!copy.is_too_old(20 * HOUR));
    for ends in [(0, next + 2), (0, next - 1), (next + 1, next + 1)] {
        copy.confirm(ends, 20 * HOUR);
    }
    assert!(copy.is_too_old(23 * HOUR), "there may be more, or less");

    let other = Owned::new(6, 1);
    let mut copy = owned.copy(records, 0);
    let taken = other.written.iter().map(|record| copy.take(pipeline, next, &record.key, record.value.as_deref()));
    assert_eq!(taken.last(), Some(Err(Misfit::OtherChangelog)));
}

#[test]
fn the_lag_of_a_copy_is_what_it_has_not_read() {
    let owned = Owned::new(5, 2);
    let Changelogs { pipeline, .. } = &owned.changelogs;
    let mut copy = owned.copy(owned.changes[0].0, 0);
    let (next, record) = (owned.changes[0].0, &owned.written[owned.changes[0].0]);
    assert_eq!(copy.lag(1_000), 0, "the end was reached");
    copy.take(pipeline, next as i64, &record.key, record.value.as_deref()).unwrap();
    assert_eq!((copy.lag(1_000), copy.next()), (1_000 - next as u64 - 1, Some(next as i64 + 1)));
    assert_eq!(copy.lag(0), 0);
    assert_ne!(record.key, StateReader::HEAD_KEY);
}

/// The test of the test: what is believed is behind.
#[cfg(feature = "fault-injection")]
#[test]
fn a_copy_that_is_believed_is_behind() {
    use crate::kafka::{FaultInjection, Mutation};

    let mut owned = Owned::new(5, 12);
    owned.changelogs.faults = FaultInjection { mutation: Some(Mutation::StandbyTrusted), ..FaultInjection::default() };
    let (records, tag) = owned.changes[6];
    let (restored, source) = owned.taken_over(owned.copy(records, now_since_epoch()), Wanted::Last(owned.last()));
    let restored = restored.unwrap();
    assert_eq!((source, restored.head().map(StateTag::of)), ("standby", Some(tag)));
}
