//! A trial of the guarantee: records into a real Kafka, whatever befalls those who score them, and what came out
//! beside what an undisturbed scorer makes of the same topic.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use shared::pipeline::Pipeline;
use tempfile::TempDir;

use crate::{
    Clock, Difference, Group, Kafka, PipelineFile, Received, Running, Sender, Subject, compare, scorer,
    start_broken_scorer, start_scorer, text,
};

/// The group whose instances are disturbed.
const GROUP: &str = "atalaya";

/// The group of the undisturbed scorer, and what its output topics begin with.
const REFERENCE: &str = "reference-";

/// As many instances as a test starts share the partitions, whatever the machine has.
const ONE_THREAD: [&str; 2] = ["--threads", "1"];

/// How long to wait for messages that are missing once nothing comes any more: a transaction that a dead instance left
/// open holds back what comes after it for a minute.
const PATIENCE: Duration = Duration::from_secs(75);

/// The same where something is expected to be missing.
const IMPATIENCE: Duration = Duration::from_secs(20);

/// A cluster with the pipeline's topics, models, and a folder for all that instances keep.
pub struct Trial {
    /// What the group has committed.
    pub group: Group,
    /// The cluster.
    pub kafka: Kafka,
    subject: Subject,
    clock: Clock,
    pipeline: Pipeline,
    models: PathBuf,
    partitions: u32,
    folder: TempDir,
}

impl Trial {
    /// A trial of invoices; `None` where the real data are missing and tests may be skipped.
    pub fn start(kafka: Option<Kafka>, partitions: u32) -> Option<Self> {
        Self::of(Subject::Invoices, Clock::Event, kafka, partitions)
    }

    /// Has models made and creates the topics; `None` where what it needs is missing and tests may be skipped.
    pub fn of(subject: Subject, clock: Clock, kafka: Option<Kafka>, partitions: u32) -> Option<Self> {
        let kafka = kafka?;
        let folder = tempfile::tempdir().unwrap();
        let models = subject.models(&folder.path().join("models"))?;
        let file = subject.pipeline(clock);
        let pipeline = file.pipeline();
        let group = Group::new(&kafka.brokers, GROUP, &pipeline.topic, partitions);
        let trial = Self { group, kafka, subject, clock, pipeline, models, partitions, folder };
        trial.create_topics(GROUP, file.clone());
        trial.create_topics(REFERENCE, file.with_output_prefix(REFERENCE));
        Some(trial)
    }

    /// The topic that records are sent to.
    pub fn topic(&self) -> &str {
        &self.pipeline.topic
    }

    /// The group's name.
    pub fn group_name(&self) -> &str {
        GROUP
    }

    /// The folder for all that instances keep.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of the models.
    pub fn models(&self) -> &Path {
        &self.models
    }

    /// The group's pipeline file.
    pub fn pipeline_file(&self) -> PathBuf {
        self.file_of(GROUP)
    }

    /// Sends records to the input topic.
    pub fn sender(&self) -> Sender {
        let records = self.subject.records().expect("who has the history has the production file too");
        Sender::new(&self.kafka.brokers, self.topic(), records, self.partitions)
    }

    /// Starts an instance, with a folder of its own for its state.
    pub fn instance(&self, name: &str, options: &[&str]) -> Running {
        self.run_instance(start_scorer, name, options)
    }

    /// As [`instance`](Self::instance), of the scorer that has the flags that break a guarantee.
    pub fn broken_instance(&self, name: &str, options: &[&str]) -> Running {
        self.run_instance(start_broken_scorer, name, options)
    }

    fn run_instance(&self, start: fn(&[&str]) -> Running, name: &str, options: &[&str]) -> Running {
        let arguments = self.arguments(&self.kafka.reached_at, GROUP, name);
        let mut all: Vec<&str> = arguments.iter().map(String::as_str).collect();
        for option in threads_unless(options) {
            all.push(option);
        }
        all.extend(options);
        start(&all)
    }

    /// Removes the folder in which an instance keeps its state, as a machine that is replaced does.
    pub fn forget(&self, name: &str) {
        let _ = std::fs::remove_dir_all(self.state(name));
    }

    /// Ends the feed and the instances and demands that every output is there just once.
    pub fn assert_exact(&self, mut sender: Sender, instances: Vec<Running>) {
        for difference in self.conclude(&mut sender, instances, true) {
            println!("{difference}");
            assert!(difference.is_none(), "{difference}");
        }
    }

    /// Sends the last records, waits until they are consumed, ends the instances, and compares each output topic with
    /// what an undisturbed scorer makes of the input. The committed offsets of a scorer that is not sound are nothing to
    /// wait for.
    pub fn conclude(&self, sender: &mut Sender, instances: Vec<Running>, is_sound: bool) -> Vec<Difference> {
        let last_date = sender.finish(self.clock);
        let ends = self.group.ends().unwrap();
        assert_eq!(ends.iter().sum::<i64>() as u64, sender.sent(), "the topic holds what was sent");
        let expected = self.reference(last_date.as_deref());
        assert_eq!(
            self.records_of(&expected) + sender.without_message(),
            sender.sent(),
            "each record is in one message of the reference"
        );
        if is_sound {
            self.group.wait_until_consumed();
        }
        self.wait_until_published(&expected, last_date.as_deref(), if is_sound { PATIENCE } else { IMPATIENCE });
        for instance in instances {
            let (run, _) = instance.terminate();
            assert!(!is_sound || run.code == Some(0), "{}", run.stderr);
        }
        self.differences(&expected, last_date.as_deref())
    }

    /// What an undisturbed scorer publishes, by topic.
    fn reference(&self, last_date: Option<&str>) -> Vec<Vec<Received>> {
        let arguments = self.arguments(&self.kafka.brokers, REFERENCE, REFERENCE);
        let arguments: Vec<&str> =
            arguments.iter().map(String::as_str).chain(ONE_THREAD).chain(["--until-end"]).collect();
        let run = scorer(&arguments);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let topics = self.pipeline.output_topics();
        let expected: Vec<Vec<Received>> =
            topics.iter().map(|topic| self.read(&format!("{REFERENCE}{topic}"), last_date)).collect();
        for (topic, messages) in topics.iter().zip(&expected) {
            let is_empty = messages.is_empty() && (self.clock.has_windows() || !self.is_of_windows(topic));
            assert!(!is_empty, "the reference has something in {topic}: {}", run.stdout);
        }
        expected
    }

    fn is_of_windows(&self, topic: &str) -> bool {
        self.pipeline.zscores.iter().any(|zscore| zscore.topic == topic)
    }

    /// The messages of a topic, of windows and of records that wait only those before the last records: after them one who
    /// waits for more stops, and one who knows that it is the end goes on, with cancellations to zero, and with the verdicts
    /// of windows that hold the last records.
    fn read(&self, topic: &str, last_date: Option<&str>) -> Vec<Received> {
        let is_before = |message: &Received| {
            let end = message.value["window_end"].as_str();
            let waits = message.value["detector"] == "zscore" || self.subject.waits();
            let first = message.value["first_timestamp"].as_str().filter(|_| waits);
            last_date.is_none_or(|last_date| {
                end.is_none_or(|end| end <= last_date) && first.is_none_or(|first| first < last_date)
            })
        };
        self.kafka.read(topic).into_iter().filter(is_before).collect()
    }

    /// Waits until nothing is missing, or nothing comes any more, or something is there that should not be: what is still
    /// to come cannot mend that.
    fn wait_until_published(&self, expected: &[Vec<Received>], last_date: Option<&str>, patience: Duration) {
        let topics = self.pipeline.output_topics();
        let (mut missing, mut since, mut ends) = (usize::MAX, Instant::now(), Vec::new());
        while since.elapsed() < patience {
            let before = std::mem::replace(&mut ends, self.kafka.readable_ends(&topics));
            if before == ends {
                std::thread::sleep(Duration::from_millis(200));
                continue;
            }
            let differences = self.differences(expected, last_date);
            let now = differences.iter().map(|difference| difference.lost.len()).sum();
            if now == 0 || differences.iter().any(|difference| !difference.duplicated.is_empty()) {
                return;
            }
            if now < missing {
                (missing, since) = (now, Instant::now());
            }
        }
    }

    /// How each output topic differs from what is expected of it.
    fn differences(&self, expected: &[Vec<Received>], last_date: Option<&str>) -> Vec<Difference> {
        let topics = self.pipeline.output_topics().into_iter().zip(expected);
        topics.map(|(topic, expected)| compare(topic, expected, &self.read(topic, last_date))).collect()
    }

    fn arguments(&self, brokers: &str, group: &str, name: &str) -> Vec<String> {
        let (pipeline, state) = (self.file_of(group), self.state(name));
        let (models, pipeline, state) = (text(&self.models), text(&pipeline), text(&state));
        let paths = ["--models", models, "--pipeline", pipeline, "--state-dir", state];
        let how = ["--device", "cpu", "--clock", self.clock.name(), "--all-verdicts", "--json-logs"];
        [&["run", "--brokers", brokers, "--group", group][..], &paths, &how]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect()
    }

    fn create_topics(&self, group: &str, pipeline: PipelineFile) {
        pipeline.write(&self.file_of(group));
        let (path, partitions) = (self.file_of(group), self.partitions.to_string());
        let options = ["--pipeline", text(&path), "--group", group, "--partitions", &partitions];
        let run = scorer(&[&["topics", "--brokers", &self.kafka.brokers][..], &options].concat());
        assert_eq!(run.code, Some(0), "{}", run.stderr);
    }

    /// How many records are in the messages of one detector and the erroneous topic, apart from cancellations.
    fn records_of(&self, messages: &[Vec<Received>]) -> u64 {
        let records = |message: &Received| match message.value["kind"].as_str() {
            // Of a cancellation that cannot be read, nothing but its raw bytes tells that it is one.
            Some("line") => u64::from(!message.value["raw"].as_str().is_some_and(|raw| raw.starts_with('C'))),
            _ => message.value["lines"].as_u64().unwrap(),
        };
        let chosen = [&self.pipeline.erroneous_topic, &self.pipeline.detectors[0].topic];
        let topics = self.pipeline.output_topics().into_iter().zip(messages);
        let of_chosen = topics.filter(|(topic, _)| chosen.iter().any(|chosen| chosen == topic));
        of_chosen.flat_map(|(_, messages)| messages).map(records).sum()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file_of(&self, group: &str) -> PathBuf {
        self.path(&format!("{group}.toml"))
    }

    fn state(&self, name: &str) -> PathBuf {
        self.path(&format!("state-of-{name}"))
    }
}

/// One thread, unless an instance is asked for others.
fn threads_unless(options: &[&str]) -> impl Iterator<Item = &'static str> {
    let are_asked_for = options.contains(&"--threads");
    ONE_THREAD.into_iter().filter(move |_| !are_asked_for)
}
