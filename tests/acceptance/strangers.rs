//! What other programs write into the topics that a group keeps for itself.

use std::path::Path;

use rdkafka::producer::BaseRecord;
use tests::{Kafka, PipelineFile, Producer, Received, Run, TOPICS, compare, repository, scorer, text};

const PARTITIONS: usize = 2;

/// Invoices of one line each, a minute apart, and a cancellation.
fn lines(numbers: std::ops::Range<u32>) -> Vec<(String, String)> {
    let line = |invoice: &str, minute: u32| {
        (invoice.to_owned(), format!("{invoice},22143,RED MUG,2,9/1/2010 9:{minute:02},1.5,12345,France"))
    };
    let cancellation = line(&format!("C{}", numbers.start), numbers.start);
    numbers.map(|number| line(&number.to_string(), number)).chain([cancellation]).collect()
}

fn run(kafka: &Kafka, pipeline: &Path, state: &Path) -> Run {
    let models = repository().join("models");
    let what = ["run", "--pipeline", text(pipeline), "--brokers", &kafka.brokers, "--models", text(&models)];
    let how = ["--device", "cpu", "--clock", "event", "--all-verdicts", "--until-end", "--state-dir", text(state)];
    scorer(&[&what[..], &how].concat())
}

fn read(kafka: &Kafka) -> Vec<Vec<Received>> {
    TOPICS.iter().map(|topic| kafka.read(topic)).collect()
}

/// A report that nobody can read, and one of a partition that there is not, change no count. State that nobody can read is not
/// taken for state: where it stands behind all that was committed it changes nothing; where it stands before, the scorer ends and names
/// it, and what was committed stays as it was.
#[test]
fn what_strangers_write_is_passed_over_or_refused() {
    let (Some(alone), Some(kafka)) = (Kafka::start(), Kafka::start()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let pipeline = folder.path().join("patient.toml");
    PipelineFile::invoices().with("idle_timeout", "60m").write(&pipeline);
    let of = |kafka: &Kafka, name: &str| {
        let done = |numbers| {
            kafka.send_keyed("purchases", lines(numbers));
            let run = run(kafka, &pipeline, &folder.path().join(name));
            assert_eq!(run.code, Some(0), "{}", run.stderr);
        };
        let topics = ["topics", "--pipeline", text(&pipeline), "--brokers", &kafka.brokers];
        let made = scorer(&[&topics[..], &["--partitions", &PARTITIONS.to_string()]].concat());
        assert_eq!(made.code, Some(0), "{}", made.stderr);
        done(0..20);
        if name == "disturbed" {
            kafka.send(
                "atalaya-invoices-cancellations",
                &[b"no report".to_vec(), Vec::new(), vec![0xff; 64], vec![1, 0xc6, 1, 0, 0, 0]],
            );
        }
        done(20..40);
        read(kafka)
    };
    let (expected, found) = (of(&alone, "alone"), of(&kafka, "disturbed"));
    for ((topic, expected), found) in TOPICS.iter().zip(&expected).zip(&found) {
        let difference = compare(topic, expected, found);
        assert!(difference.is_none(), "{difference}");
    }

    let state = "atalaya-invoices-state";
    let producer = Producer::new(&kafka.brokers);
    for partition in 0..PARTITIONS as i32 {
        producer.send(BaseRecord::<[u8], [u8]>::to(state).partition(partition).key(b"?").payload(b"no state"));
    }
    producer.flush();
    // It stands behind all that was committed, and is nothing to whoever comes next.
    kafka.send_keyed("purchases", lines(40..50));
    let passed_over = run(&kafka, &pipeline, &folder.path().join("next"));
    assert_eq!(passed_over.code, Some(0), "{}", passed_over.stderr);
    let all: Vec<usize> = read(&kafka).iter().map(Vec::len).collect();
    assert!(
        all.iter().zip(&found).all(|(now, before)| *now >= before.len()) && all[2] == found[2].len() + 10,
        "{all:?}"
    );
    // From then on it stands in the middle of what has to be read.
    kafka.send_keyed("purchases", lines(50..55));
    let refused = run(&kafka, &pipeline, &folder.path().join("elsewhere"));
    assert_eq!(refused.code, Some(78), "{}", refused.stderr);
    assert!(refused.stderr.contains(&format!("of `{state}`")), "{}", refused.stderr);
    assert_eq!(read(&kafka).iter().map(Vec::len).collect::<Vec<_>>(), all, "nothing is published");
}
