//! Failures at each call of a transaction: what was not committed never happened, in memory as on the broker.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use scorer::core::{Head, StateRecord};
use scorer::kafka::{
    Delivery, EndWhen, Fault, FaultInjection, Faults, KafkaError, KafkaSettings, OnLostRecords, Status, Step, Stream,
    StreamOptions, Topics, states,
};
use scorer::scoring::Detectors;
use scorer::snapshot::SnapshotFile;
use shared::device::{DeviceRequest, choose};
use shared::model_source::ModelSource;
use shared::pipeline::Pipeline;
use tests::{Feed, Kafka, Trial, text, wait_for};

const PARTITIONS: u32 = 3;

/// Every call, each in the ways it can fail. A start follows on a lost producer, an abort on an aborted commit.
const FAILURES: [(Step, Fault); 15] = [
    (Step::Begin, Fault::Abortable),
    (Step::Begin, Fault::Fatal),
    (Step::Init, Fault::Abortable),
    (Step::Send, Fault::Abortable),
    (Step::Send, Fault::Fatal),
    (Step::Offsets, Fault::Abortable),
    (Step::Offsets, Fault::Fatal),
    (Step::Offsets, Fault::LostAnswer),
    (Step::Commit, Fault::Abortable),
    (Step::Abort, Fault::Abortable),
    (Step::Commit, Fault::Fatal),
    (Step::Commit, Fault::LostAnswer),
    (Step::Commit, Fault::Abortable),
    (Step::Abort, Fault::LostAnswer),
    (Step::Commit, Fault::LostAnswer),
];

/// Failures after which the batch is not sent again as it is: it fails as often as it is sent, and everything goes back to
/// the last commit.
const LASTING: [(Step, Fault); 4] = [
    (Step::Begin, Fault::Fatal),
    (Step::Send, Fault::Abortable),
    (Step::Offsets, Fault::LostAnswer),
    (Step::Commit, Fault::Abortable),
];

/// How often a batch is sent.
const ATTEMPTS: usize = 3;

/// A failure; whether it hits a stream at work, or the very next call.
type Failure = (Step, Fault, bool);

/// Failures that are still to come, the next one last.
type Failures = Arc<Mutex<Vec<Failure>>>;

/// Commits between two failures, so that each hits a stream at work.
const COMMITS_BETWEEN: u32 = 2;

#[test]
fn whatever_call_fails_memory_and_results_are_those_of_the_last_commit() {
    let Some(trial) = Trial::start(Kafka::start(), PARTITIONS) else { return };
    let (faults, left) = in_turn();
    let settings = KafkaSettings::at(&trial.kafka.brokers);
    let pipeline = Pipeline::load(text(&trial.pipeline_file())).unwrap().with_event_clock().unwrap();
    let pipeline = Arc::new(pipeline);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();

    let feed = Feed::start(trial.sender(), 2_000);
    let state_dir = trial.folder().join("state-of-failing");
    let started = runtime
        .block_on(Stream::start(
            &settings,
            pipeline.clone(),
            detectors(trial.models(), &pipeline),
            options(&trial, Topics::new(&pipeline, trial.group_name()), &state_dir, faults),
            Arc::new(|_| {}),
        ))
        .unwrap();
    let stream = StoppedWhenDropped(Some(started));
    wait_for("every failure", Duration::from_secs(180), || {
        assert!(!stream.is_finished(), "the stream goes on");
        left.lock().unwrap().is_empty().then_some(())
    });
    trial.group.wait_until_all_move();
    let status = stream.status();
    // A busy machine may add a failure of its own to those on purpose.
    assert!(status.rolled_back >= LASTING.len() as u64, "what lasts is rolled back: {}", status.rolled_back);
    // Of the others, all but three are sent again: starting and aborting come on top of another failure, and a commit
    // whose answer was lost has happened.
    let are_sent_again = FAILURES.iter().filter(|failure| is_sent_again(failure)).count();
    let at_least = (are_sent_again + LASTING.len() * (ATTEMPTS - 1)) as u64;
    assert!(status.sent_again >= at_least, "{} of {at_least}", status.sent_again);
    let sender = feed.stop();
    stream.stop().unwrap();

    // What the stream left on disk is its memory; what a fresh start would read is the changelog.
    let folder = state_dir.join(Topics::new(&pipeline, trial.group_name()).state).join("failing");
    let mut open = 0;
    for fresh in states(&settings, &pipeline, trial.group_name()).unwrap() {
        let memory = records(&folder, fresh.partition);
        open += fresh.open;
        assert_eq!(position(&memory), position(&fresh.snapshot), "partition {}", fresh.partition);
        assert_eq!(by_key(&memory), by_key(&fresh.snapshot), "partition {}", fresh.partition);
    }
    assert!(open > 0, "there were open invoices to compare");
    trial.assert_exact(sender, vec![trial.instance("sound", &[])]);
}

/// Whether a batch is sent once more because of a failure.
fn is_sent_again(failure: &(Step, Fault)) -> bool {
    !matches!(failure, (Step::Init | Step::Abort, _) | (Step::Commit, Fault::LostAnswer))
}

/// A stream on threads of this process: where the test fails, they do not go on beside the tests after it.
struct StoppedWhenDropped(Option<Stream>);

impl StoppedWhenDropped {
    fn is_finished(&self) -> bool {
        self.0.as_ref().is_none_or(Stream::is_finished)
    }

    fn status(&self) -> Status {
        self.0.as_ref().map(|stream| stream.status().get()).unwrap_or_default()
    }

    fn stop(mut self) -> Result<(), KafkaError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), KafkaError> {
        let Some(stream) = self.0.take() else { return Ok(()) };
        stream.stop_handle().request();
        stream.join()
    }
}

impl Drop for StoppedWhenDropped {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// Failures one after the other, and those that are still to come.
fn in_turn() -> (Faults, Failures) {
    let passing = FAILURES.iter().map(|&(step, fault)| (step, fault, !matches!(step, Step::Abort | Step::Init)));
    let again = |&(step, fault): &(Step, Fault)| (0..ATTEMPTS).map(move |attempt| (step, fault, attempt == 0));
    let mut failures: Vec<Failure> = passing.chain(LASTING.iter().flat_map(again)).collect();
    failures.reverse();
    let left = Arc::new(Mutex::new(failures));
    let (plan, commits) = (left.clone(), AtomicU32::new(0));
    let faults = move |step: Step| {
        if step == Step::Commit {
            commits.fetch_add(1, Ordering::Relaxed);
        }
        let mut plan = plan.lock().unwrap();
        let (next, fault, waits) = plan.last().copied()?;
        if next != step || (waits && commits.load(Ordering::Relaxed) <= COMMITS_BETWEEN) {
            return None;
        }
        plan.pop();
        commits.store(0, Ordering::Relaxed);
        Some(fault)
    };
    (Arc::new(faults), left)
}

fn options(trial: &Trial, topics: Topics, state_dir: &Path, faults: Faults) -> StreamOptions {
    StreamOptions {
        group: trial.group_name().to_owned(),
        delivery: Delivery::ExactlyOnce,
        topics,
        threads: 1,
        instance_id: Some("failing".to_owned()),
        state_dir: Some(state_dir.to_owned()),
        standbys: 0,
        batch_records: 10_000,
        max_memory: None,
        other_memory: 0,
        commit_interval: Duration::from_millis(50),
        all_verdicts: true,
        end_when: EndWhen::Never,
        on_lost_records: OnLostRecords::Continue,
        asks_topic_ids: true,
        max_message_bytes: None,
        on_batch: None,
        faults: FaultInjection { faults: Some(faults), ..FaultInjection::default() },
    }
}

fn detectors(models: &Path, pipeline: &Pipeline) -> Detectors {
    let models = ModelSource::Folder(models.to_owned());
    Detectors::load(&models, pipeline, &choose(DeviceRequest::Cpu).unwrap()).unwrap()
}

fn records(folder: &Path, partition: i32) -> Vec<StateRecord> {
    let mut records = Vec::new();
    let stamp = SnapshotFile::new(folder, partition).read(|key, value| {
        records.push(StateRecord { key: key.to_vec(), value: Some(value.to_vec()) });
        true
    });
    assert!(stamp.is_some(), "partition {partition} has a snapshot in {}", folder.display());
    records
}

/// Everything but the head, in which the clock goes on.
fn by_key(records: &[StateRecord]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let of = |record: &StateRecord| (record.key.clone(), record.value.clone().unwrap());
    records.iter().filter(|record| record.key != b"h").map(of).collect()
}

/// The number of the last change, and how far it had read.
fn position(records: &[StateRecord]) -> (u64, i64) {
    let head = |record: &StateRecord| Head::decode(&record.key, record.value.as_deref()?).unwrap();
    records.iter().find_map(head).map(|head| (head.sequence, head.next_offset)).unwrap()
}
