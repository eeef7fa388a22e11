//! Several stream threads in one process.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tests::{
    Feed, Kafka, PipelineFile, Received, Run, Running, TOPICS, Trial, compare, logged, repository, scorer, text,
    wait_for,
};

const PARTITIONS: u32 = 4;

const PATIENCE: Duration = Duration::from_secs(60);

/// How many threads a run says that it has, and why.
fn said(stderr: &str) -> (u64, String) {
    let logged = logged(stderr, "threads");
    assert_eq!(logged.len(), 1, "{stderr}");
    (logged[0]["threads"].as_u64().unwrap(), logged[0]["how"].as_str().unwrap().to_owned())
}

/// Waits until the trial's group has so many members that each have a partition, and nothing moves any more.
fn wait_for_owners(trial: &Trial, count: usize) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &trial.kafka.brokers).set("group.id", trial.group_name());
    let consumer: BaseConsumer = config.create().unwrap();
    // A member without a partition has an assignment without the topic's name.
    let owns = |assignment: Option<&[u8]>| {
        let topic = trial.topic().as_bytes();
        assignment.is_some_and(|bytes| bytes.windows(topic.len()).any(|found| found == topic))
    };
    wait_for(&format!("{count} threads to have partitions"), PATIENCE, || {
        let groups = consumer.fetch_group_list(Some(trial.group_name()), PATIENCE).unwrap();
        let group = groups.groups().first()?;
        let owners = group.members().iter().filter(|member| owns(member.assignment())).count();
        (group.state() == "Stable" && owners == count).then_some(())
    });
}

/// Four threads are killed, two come back under the same name, and then as many as there are partitions: nothing is lost and
/// nothing comes twice, beside what one thread makes of the same records.
#[test]
fn threads_that_are_killed_and_come_back_in_other_numbers_lose_and_duplicate_nothing() {
    let Some(trial) = Trial::start(Kafka::start(), PARTITIONS) else { return };
    let feed = Feed::start(trial.sender(), 2_000);
    let start = |threads: &str| -> Running {
        let name = ["--instance-id", "i0", "--threads", threads];
        trial.instance("i0", &[&name[..], &["-X", "session.timeout.ms=6000"]].concat())
    };
    let four = start("4");
    wait_for_owners(&trial, 4);
    trial.group.wait_until_all_move();
    assert_eq!(said(&four.stderr()), (4, "4 threads run".to_owned()));
    four.kill();

    let two = start("2");
    wait_for_owners(&trial, 2);
    trial.group.wait_until_all_move();
    let (run, _) = two.terminate();
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let restored: BTreeSet<i64> =
        logged(&run.stderr, "restored").iter().map(|fields| fields["partition"].as_i64().unwrap()).collect();
    assert_eq!(restored, (0..i64::from(PARTITIONS)).collect::<BTreeSet<i64>>());
    assert_eq!(logged(&run.stderr, "ended").iter().filter(|fields| fields["records"].is_number()).count(), 1);

    let many = start("9");
    wait_for_owners(&trial, 4);
    trial.group.wait_until_all_move();
    let because = format!("4 of 9 threads run, because topic `{}` has 4 partitions", trial.topic());
    assert_eq!(said(&many.stderr()), (4, because));
    let from_snapshots = many.log("restored").iter().filter(|restored| restored["source"] == "snapshot").count();
    assert!(from_snapshots > 0, "what a thread wrote on disk is there for all: {}", many.stderr());
    trial.assert_exact(feed.stop(), vec![many]);
}

/// Reads the topic to its end as a group of its own, whose topics begin with `prefix`.
fn read_to_end(kafka: &Kafka, folder: &Path, prefix: &str, options: &[&str]) -> Run {
    let (file, state) = (folder.join(format!("{prefix}.toml")), folder.join(prefix));
    let models = repository().join("models");
    // Windows of cancellations wait for every partition, however long one takes.
    PipelineFile::invoices().with("idle_timeout", "60m").with_output_prefix(prefix).write(&file);
    let of = ["--pipeline", text(&file), "--group", prefix, "--brokers", &kafka.brokers];
    let create = ["topics", "--partitions", &PARTITIONS.to_string()];
    let topics = scorer(&[&create[..], &of].concat());
    assert_eq!(topics.code, Some(0), "{}", topics.stderr);
    let how = ["--models", text(&models), "--device", "cpu", "--clock", "event", "--all-verdicts", "--json-logs"];
    let run = scorer(&[&["run", "--until-end", "--state-dir", text(&state)][..], &of, &how, options].concat());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    run
}

/// What is open at the end, and the windows over all partitions, are closed once all threads have come to it: none leaves its
/// partitions to the others before. In both protocols, and twice: what was read is not read again.
#[test]
fn threads_read_a_topic_to_its_end_as_one_does() {
    let Some(kafka) = Kafka::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let create = ["topics", "--brokers", &kafka.brokers, "--partitions", &PARTITIONS.to_string()];
    assert_eq!(scorer(&create).code, Some(0));
    let production = repository().join("resources/production.csv");
    let replay = scorer(&["replay", text(&production), "--brokers", &kafka.brokers]);
    assert_eq!(replay.code, Some(0), "{}", replay.stderr);

    let records = |run: &Run| -> u64 {
        let logged = logged(&run.stderr, "ended");
        let records: Vec<u64> = logged.iter().filter_map(|fields| fields["records"].as_u64()).collect();
        assert_eq!(records.len(), 1, "it is told once: {}", run.stderr);
        records[0]
    };
    let of = |prefix: &str| -> Vec<Vec<Received>> {
        TOPICS.iter().map(|topic| kafka.read(&format!("{prefix}{topic}"))).collect()
    };
    let one = read_to_end(&kafka, folder.path(), "one-", &["--threads", "1"]);
    let expected = of("one-");
    assert!(expected.iter().all(|messages| !messages.is_empty()), "there is something in each topic");
    for (prefix, protocol) in [("four-", "classic"), ("consumer-", "consumer")] {
        for has_read in [false, true] {
            let options = ["--threads", "4", "--group-protocol", protocol];
            let run = read_to_end(&kafka, folder.path(), prefix, &options);
            assert_eq!(said(&run.stderr).0, 4);
            assert_eq!(records(&run), if has_read { 0 } else { records(&one) });
            for ((topic, expected), found) in TOPICS.iter().zip(&expected).zip(of(prefix)) {
                let difference = compare(topic, expected, &found);
                assert!(difference.is_none(), "{protocol}: {difference}");
            }
        }
    }
}
