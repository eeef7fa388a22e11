//! A trial of the guarantee: real lines into a real Kafka, whatever befalls those who score them, and what came out
//! beside what an undisturbed scorer makes of the same topic.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::feed::INPUT;
use crate::{
    Difference, Group, Kafka, Lines, PipelineFile, Received, Running, Sender, TOPICS, compare, real_data, scorer,
    start_scorer, text, train,
};

/// The group whose instances are disturbed.
const GROUP: &str = "atalaya";

/// The group of the undisturbed scorer, and what its output topics begin with.
const REFERENCE: &str = "reference-";

/// Longer than any trial: the cancellation windows wait for every partition, so that they are the same in every run.
const IDLE_TIMEOUT: &str = "60m";

/// How long to wait for messages that are missing once nothing comes any more: a transaction that a dead instance left
/// open holds back what comes after it for a minute.
const PATIENCE: Duration = Duration::from_secs(75);

/// A cluster with the pipeline's topics, models, and a folder for all that instances keep.
pub struct Trial {
    /// What the group has committed.
    pub group: Group,
    /// The cluster.
    pub kafka: Kafka,
    partitions: u32,
    folder: TempDir,
}

impl Trial {
    /// Trains on the real history and creates the topics; `None`, said plainly, where the real data are absent.
    pub fn start(kafka: Kafka, partitions: u32) -> Option<Self> {
        let history = real_data("training.csv")?;
        let group = Group::new(&kafka.brokers, GROUP, INPUT, partitions);
        let trial = Self { group, kafka, partitions, folder: tempfile::tempdir().unwrap() };
        train(&history, &trial.path("models"));
        let pipeline = PipelineFile::invoices().with("idle_timeout", IDLE_TIMEOUT);
        trial.create_topics(GROUP, pipeline.clone());
        trial.create_topics(REFERENCE, pipeline.with_output_prefix(REFERENCE));
        Some(trial)
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
    pub fn models(&self) -> PathBuf {
        self.path("models")
    }

    /// The group's pipeline file.
    pub fn pipeline_file(&self) -> PathBuf {
        self.pipeline(GROUP)
    }

    /// Sends real lines to the input topic.
    pub fn sender(&self) -> Sender {
        let lines = Lines::of_production().expect("who has the history has the production file too");
        Sender::new(&self.kafka.brokers, lines, self.partitions)
    }

    /// Starts an instance, with a folder of its own for its state.
    pub fn instance(&self, name: &str, options: &[&str]) -> Running {
        let arguments = self.arguments(&self.kafka.reached_at, GROUP, name);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(options.iter().copied()).collect();
        start_scorer(&arguments)
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
        let last_date = sender.finish();
        let ends = self.group.ends().unwrap();
        assert_eq!(ends.iter().sum::<i64>() as u64, sender.sent(), "the topic holds what was sent");
        let expected = self.reference(&last_date);
        assert_eq!(
            lines_of(&expected) + sender.cancelled(),
            sender.sent(),
            "each line is in one message of the reference"
        );
        if is_sound {
            self.group.wait_until_consumed();
        }
        self.wait_until_published(&expected, &last_date);
        for instance in instances {
            let (run, _) = instance.terminate();
            assert_eq!(run.code, Some(0), "{}", run.stderr);
        }
        let topics = TOPICS.iter().zip(&expected);
        topics.map(|(topic, expected)| compare(topic, expected, &self.read(topic, &last_date))).collect()
    }

    /// What an undisturbed scorer publishes, by topic in the order of [`TOPICS`].
    fn reference(&self, last_date: &str) -> Vec<Vec<Received>> {
        let arguments = self.arguments(&self.kafka.brokers, REFERENCE, REFERENCE);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(["--until-end"]).collect();
        let run = scorer(&arguments);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let read = |topic: &&str| self.read(&format!("{REFERENCE}{topic}"), last_date);
        let expected: Vec<Vec<Received>> = TOPICS.iter().map(read).collect();
        assert!(expected.iter().all(|messages| !messages.is_empty()), "the reference has something in every topic");
        expected
    }

    /// The messages of a topic, of the cancellations only the windows before the last records: after them one who waits
    /// for more stops, and one who knows that it is the end goes on to zero.
    fn read(&self, topic: &str, last_date: &str) -> Vec<Received> {
        let is_before = |message: &Received| message.value["window_end"].as_str().is_none_or(|end| end <= last_date);
        self.kafka.read(topic).into_iter().filter(is_before).collect()
    }

    /// Waits until as many messages are there as are expected, or nothing comes any more.
    fn wait_until_published(&self, expected: &[Vec<Received>], last_date: &str) {
        let (mut published, mut since) = (0, Instant::now());
        while since.elapsed() < PATIENCE {
            let counts: Vec<usize> = TOPICS.iter().map(|topic| self.read(topic, last_date).len()).collect();
            if counts.iter().zip(expected).all(|(count, expected)| *count >= expected.len()) {
                return;
            }
            let now = counts.iter().sum();
            if now > published {
                (published, since) = (now, Instant::now());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn arguments(&self, brokers: &str, group: &str, name: &str) -> Vec<String> {
        let (models, pipeline, state) = (self.path("models"), self.pipeline(group), self.state(name));
        let (models, pipeline, state) = (text(&models), text(&pipeline), text(&state));
        let paths = ["--models", models, "--pipeline", pipeline, "--state-dir", state];
        let how = ["--device", "cpu", "--clock", "event", "--all-verdicts", "--json-logs"];
        [&["run", "--brokers", brokers, "--group", group][..], &paths, &how]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect()
    }

    fn create_topics(&self, group: &str, pipeline: PipelineFile) {
        pipeline.write(&self.pipeline(group));
        let (path, partitions) = (self.pipeline(group), self.partitions.to_string());
        let options = ["--pipeline", text(&path), "--group", group, "--partitions", &partitions];
        let run = scorer(&[&["topics", "--brokers", &self.kafka.brokers][..], &options].concat());
        assert_eq!(run.code, Some(0), "{}", run.stderr);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn pipeline(&self, group: &str) -> PathBuf {
        self.path(&format!("{group}.toml"))
    }

    fn state(&self, name: &str) -> PathBuf {
        self.path(&format!("state-of-{name}"))
    }
}

/// How many lines are in the messages of one detector and the erroneous topic, apart from cancellations.
fn lines_of(messages: &[Vec<Received>]) -> u64 {
    let lines = |message: &Received| match message.value["kind"].as_str() {
        Some("line") => u64::from(!message.value["raw"].as_str().is_some_and(|raw| raw.starts_with('C'))),
        _ => message.value["lines"].as_u64().unwrap(),
    };
    let topics =
        TOPICS.iter().zip(messages).filter(|(topic, _)| ["facturas_erroneas", "anomalias_kmeans"].contains(topic));
    topics.flat_map(|(_, messages)| messages).map(lines).sum()
}
