//! `scorer grow`: a topic gets more partitions while invoices are open, on a real broker.

use std::path::{Path, PathBuf};

use tests::{
    Kafka, Lines, PipelineFile, Received, Record, Run, TOPICS, compare, repository, scorer, start_broken_scorer, text,
};

/// Lines before the topic grows, then in all.
const FIRST: usize = 2_000;
const ALL: usize = 4_000;

/// What the output topics of a run that never grows begin with.
const REFERENCE: &str = "reference-";

/// Real lines in the order of their dates: no line is late then because of what other partitions hold.
fn lines() -> Option<Vec<Record>> {
    let mut lines: Vec<Record> = Lines::of_production()?.take(ALL).collect();
    lines.sort_by_key(|(_, line)| moment(line));
    Some(lines)
}

/// The date of a line, such as `9/1/2010 9:22`: year, month, day, hour and minute.
fn moment(line: &str) -> Option<[u32; 5]> {
    let (date, time) = line.rsplit(',').nth(3)?.split_once(' ')?;
    let mut date = date.split('/').map_while(|number| number.parse().ok());
    let (month, day, year) = (date.next()?, date.next()?, date.next()?);
    let (hour, minute) = time.split_once(':')?;
    Some([year, month, day, hour.parse().ok()?, minute.parse().ok()?])
}

/// A group on a broker, with a pipeline of its own.
struct Group<'a> {
    kafka: &'a Kafka,
    name: &'static str,
    pipeline: PathBuf,
    state: PathBuf,
}

impl<'a> Group<'a> {
    /// Its topics are new; the input has so many partitions.
    fn new(kafka: &'a Kafka, folder: &Path, name: &'static str, pipeline: PipelineFile, partitions: u32) -> Self {
        let (file, state) = (folder.join(format!("{name}.toml")), folder.join(format!("state-of-{name}")));
        // A window of cancellations waits for every partition, however long one takes: the counts are the same each time.
        pipeline.with("idle_timeout", "60m").write(&file);
        let group = Self { kafka, name, pipeline: file, state };
        group.done(&["topics", "--partitions", &partitions.to_string()]);
        group
    }

    fn arguments(&self, command: &[&str]) -> Vec<String> {
        let of = ["--pipeline", text(&self.pipeline), "--group", self.name, "--brokers", &self.kafka.brokers];
        [command, &of].concat().into_iter().map(str::to_owned).collect()
    }

    fn command(&self, command: &[&str]) -> Run {
        let arguments = self.arguments(command);
        scorer(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Runs a command that has to succeed; what it prints.
    fn done(&self, command: &[&str]) -> String {
        let run = self.command(command);
        assert_eq!(run.code, Some(0), "{command:?}: {}", run.stderr);
        run.stdout
    }

    /// Starts a command of the scorer that can be ended at a moment; whether a signal has ended it.
    fn is_killed(&self, command: &[&str]) -> bool {
        let arguments = self.arguments(command);
        let run = start_broken_scorer(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).wait();
        run.code.is_none()
    }

    fn run(&self, options: &[&str]) -> Run {
        let models = repository().join("models");
        let how = ["run", "--models", text(&models), "--device", "cpu", "--clock", "event", "--all-verdicts"];
        self.command(&[&how[..], &["--state-dir", text(&self.state)], options].concat())
    }

    /// Scores what is there and leaves open what is open, or ends with everything that is open.
    fn score(&self, end: &str) {
        let run = self.run(&[end]);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
    }

    /// The open invoices of each partition, as `scorer state` shows them.
    fn open(&self) -> Vec<u64> {
        let table = self.done(&["state", "--clock", "event"]);
        let rows = table.lines().filter(|line| line.starts_with('│')).skip(1);
        rows.map(|row| row.trim_matches('│').split('┆').nth(3).unwrap().trim().parse().unwrap()).collect()
    }

    /// What came out, by topic, without the places of records.
    fn results(&self, prefix: &str) -> Vec<Vec<Received>> {
        let without_places = |mut message: Received| {
            let fields = message.value.as_object_mut().unwrap();
            fields.remove("id");
            fields.remove("source");
            message
        };
        let of = |topic: &&str| self.kafka.read(&format!("{prefix}{topic}")).into_iter().map(without_places).collect();
        TOPICS.iter().map(of).collect()
    }
}

/// What a group makes of lines that all lie in a topic that never grows.
fn reference(kafka: &Kafka, folder: &Path, lines: &[Record], partitions: u32) -> Vec<Vec<Received>> {
    let pipeline = PipelineFile::invoices().with_output_prefix(REFERENCE).replaced("\"purchases\"", "\"never-grown\"");
    let group = Group::new(kafka, folder, "reference", pipeline, partitions);
    kafka.send_keyed("never-grown", lines.to_vec());
    group.score("--until-end");
    group.results(REFERENCE)
}

fn assert_same(expected: &[Vec<Received>], found: &[Vec<Received>]) {
    for ((topic, expected), found) in TOPICS.iter().zip(expected).zip(found) {
        assert!(!expected.is_empty(), "the reference has something in {topic}");
        let difference = compare(topic, expected, found);
        assert!(difference.is_none(), "{difference}");
    }
}

/// A topic that grows from two to five partitions while invoices are open: its command is killed twice in between, and in the
/// end everything is as if it had never grown.
#[test]
fn a_topic_that_grows_leads_to_the_same_results() {
    let Some(lines) = lines() else { return };
    let Some(kafka) = Kafka::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let expected = reference(&kafka, folder.path(), &lines, 2);

    let group = Group::new(&kafka, folder.path(), "atalaya", PipelineFile::invoices(), 2);
    let grow = ["grow", "--partitions", "5", "--clock", "event"];
    let with = |options: &[&str]| group.command(&[&grow[..], options].concat());
    let nothing = with(&[]);
    assert_eq!(nothing.code, Some(78), "{}", nothing.stderr);
    assert!(nothing.stderr.contains("there is nothing to carry over"), "{}", nothing.stderr);

    kafka.send_keyed("purchases", lines[..FIRST / 2].to_vec());
    group.score("--until-caught-up");
    kafka.send_keyed("purchases", lines[FIRST / 2..FIRST].to_vec());
    let early = with(&[]);
    assert_eq!(early.code, Some(75), "{}", early.stderr);
    assert!(early.stderr.contains("cannot grow yet") && early.stderr.contains("not read"), "{}", early.stderr);
    group.score("--until-caught-up");
    let open = group.open();
    assert!(open.len() == 2 && open.iter().sum::<u64>() > 0, "invoices are open at the growth: {open:?}");

    let astray = with(&["--partitioner", "murmur2"]);
    assert_eq!(astray.code, Some(78), "{}", astray.stderr);
    assert!(astray.stderr.contains("were not placed by murmur2"), "{}", astray.stderr);
    let plan = with(&["--dry-run"]);
    assert!(plan.code == Some(0) && plan.stdout.contains("would have 5 partitions instead of 2"), "{}", plan.stdout);
    assert_eq!(group.open(), open, "nothing was changed");

    let is_killed = |moment: &str| group.is_killed(&[&grow[..], &["--end-at", moment]].concat());
    assert!(is_killed("kill:before:begin"), "the topics have their partitions, and the state is as it was");
    let between = group.run(&["--until-caught-up"]);
    assert_eq!(between.code, Some(78), "{}", between.stderr);
    assert!(between.stderr.contains("scorer grow --group atalaya --partitions 5"), "{}", between.stderr);
    assert!(is_killed("kill:before:commit"), "all is written, and nothing of it counts");
    let grown = with(&[]);
    assert_eq!(grown.code, Some(0), "{}", grown.stderr);
    assert!(
        grown.stdout.contains("has 5 partitions instead of 2") && grown.stdout.contains("crc32"),
        "{}",
        grown.stdout
    );
    let again = with(&[]);
    assert!(again.code == Some(0) && again.stdout.contains("nothing was changed"), "{}{}", again.stdout, again.stderr);
    let (after, before) = (group.open(), open.iter().sum::<u64>());
    assert_eq!((after.len(), after.iter().sum::<u64>()), (5, before), "{after:?}");

    kafka.send_keyed("purchases", lines[FIRST..].to_vec());
    group.score("--until-end");
    assert_same(&expected, &group.results(""));
}

/// Lines without keys go through a topic of copies: that is the one that grows, and how it is keyed is known.
#[test]
fn a_topic_of_copies_grows_too() {
    let Some(lines) = lines() else { return };
    let Some(kafka) = Kafka::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let expected = reference(&kafka, folder.path(), &lines, 1);

    let group = Group::new(&kafka, folder.path(), "atalaya", PipelineFile::invoices(), 1);
    let payloads = |lines: &[Record]| lines.iter().map(|(_, line)| line.clone().into_bytes()).collect::<Vec<_>>();
    kafka.send("purchases", &payloads(&lines[..FIRST]));
    let run = group.run(&["--repartition", "always", "--until-caught-up"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    // Its producer goes on meanwhile.
    kafka.send("purchases", &payloads(&lines[FIRST..]));
    let grown = group.done(&["grow", "--partitions", "3", "--clock", "event"]);
    assert!(grown.contains("`atalaya-invoices-repartition` has 3 partitions instead of 1"), "{grown}");
    group.score("--until-end");
    assert_same(&expected, &group.results(""));
}
