//! `scorer state` and `scorer reset`, on a real broker.

use tests::{Kafka, TOPICS, repository, scorer, start_scorer, text};

fn line(invoice: u32, minute: u32) -> (String, String) {
    (invoice.to_string(), format!("{invoice},22143,RED MUG,2,9/1/2010 9:{minute:02},1.5,12345,France"))
}

/// A group that begins anew gives everything again, once more, and nothing of what it remembered is in the way.
#[test]
fn a_reset_begins_anew_with_offsets_and_state_together() {
    let Some(kafka) = Kafka::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let models = repository().join("models");
    let brokers = ["--brokers", &kafka.brokers];
    assert_eq!(scorer(&[&["topics", "--partitions", "3"][..], &brokers].concat()).code, Some(0));
    kafka.send_keyed("purchases", (0..30).map(|number| line(number, number)));
    let run = || {
        let what = ["run", "--models", text(&models), "--device", "cpu", "--clock", "event", "--all-verdicts"];
        let how = ["--until-end", "--state-dir", text(folder.path())];
        let run = start_scorer(&[&what[..], &how, &brokers].concat()).wait();
        assert_eq!(run.code, Some(0), "{}", run.stderr);
    };
    run();
    let once: Vec<_> = TOPICS.iter().map(|topic| kafka.read(topic).len()).collect();
    let verdicts = kafka.read("anomalias_kmeans").len();
    assert_eq!(verdicts, 30);
    run();
    assert_eq!(TOPICS.iter().map(|topic| kafka.read(topic).len()).collect::<Vec<_>>(), once, "nothing is left to do");

    let state = scorer(&[&["state", "--clock", "event"][..], &brokers].concat());
    assert_eq!(state.code, Some(0), "{}", state.stderr);
    assert!(state.stdout.contains("open invoices"), "{}", state.stdout);

    let reset = ["reset", "--to", "earliest", "--clock", "event"];
    let refused = scorer(&[&reset[..], &brokers].concat());
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("say --yes where nobody can be asked"), "{}", refused.stderr);
    let done = scorer(&[&reset[..], &["--yes"], &brokers].concat());
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    run();
    let twice: Vec<_> = once.iter().map(|count| count * 2).collect();
    assert_eq!(TOPICS.iter().map(|topic| kafka.read(topic).len()).collect::<Vec<_>>(), twice);
}
