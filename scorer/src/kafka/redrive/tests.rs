use rdkafka::mocking::MockCluster;
use serde_json::json;

use super::*;

fn letter(reason: &str, offset: i64) -> String {
    let source = json!({ "topic": "purchases", "partition": 1, "offset": offset });
    json!({ "pipeline": "invoices", "kind": "line", "reasons": [reason], "source": source, "raw": format!("{offset},a") })
        .to_string()
}

fn send(settings: &KafkaSettings, values: &[String]) {
    let producer = Producer::new(settings).unwrap();
    for value in values {
        let payload = Some(Cow::Borrowed(value.as_bytes()));
        producer.queue(ProduceRecord { payload, ..ProduceRecord::to("facturas_erroneas") }).unwrap();
    }
    producer.flush().unwrap();
}

/// The values and the first headers of a topic's records.
fn records(settings: &KafkaSettings, topic: &str) -> Vec<(String, String)> {
    use rdkafka::message::Headers as _;
    let (mut found, text) = (Vec::new(), |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned());
    let take = |message: &rdkafka::message::BorrowedMessage<'_>| {
        let header = message.headers().and_then(|headers| headers.try_get(0)?.value.map(text));
        found.push((text(message.payload().unwrap_or_default()), header.unwrap_or_default()));
        Ok(())
    };
    Look::new(settings, topic, None).unwrap().read(take).unwrap();
    found
}

struct Bench {
    _cluster: MockCluster<'static, rdkafka::producer::DefaultProducerContext>,
    settings: KafkaSettings,
    pipeline: Arc<Pipeline>,
}

impl Bench {
    fn start() -> Self {
        let cluster = MockCluster::new(1).unwrap();
        for (topic, partitions) in [("purchases", 2), ("facturas_erroneas", 1), ("g-invoices-redriven", 1)] {
            cluster.create_topic(topic, partitions, 1).unwrap();
        }
        let settings = KafkaSettings::at(cluster.bootstrap_servers());
        Self { _cluster: cluster, settings, pipeline: Arc::new(Pipeline::load("invoices").unwrap()) }
    }

    fn redrive(&self, reason: Option<&str>, record: Option<&str>, is_dry: bool) -> Result<Redriven, KafkaError> {
        let (reason, record) = (reason.map(str::to_owned), record.map(str::to_owned));
        let redrive = Redrive {
            pipeline: self.pipeline.clone(),
            group: "g".to_owned(),
            which: Which { reason, record, ..Which::default() },
            is_dry,
            by: Some("ann".to_owned()),
            most_known: 3,
            create: None,
        };
        let (memory, limits) = ("g-invoices-redriven".to_owned(), RecordLimits::same(200));
        let ground = Ground { memory, has_memory: true, limits, partitions: 2 };
        Redriving::start(&self.settings, redrive, ground)?.run(&self.settings)
    }
}

#[test]
fn a_dry_run_says_what_a_run_does_and_each_record_is_sent_once() {
    let bench = Bench::start();
    let huge = letter("late_line", 9).replace("9,a", &"x".repeat(200));
    let entity = json!({ "pipeline": "invoices", "kind": "entity", "reasons": ["late_line"] }).to_string();
    let letters = [letter("late_line", 1), letter("too_few_fields", 2), huge, entity, letter("late_line", 1)];
    send(&bench.settings, &letters);
    let all = Redriven { sent: 2, sent_before: 1, too_large: 1, not_of_a_record: 1, ..Redriven::default() };
    assert_eq!(bench.redrive(None, None, true).unwrap(), all);
    assert_eq!(bench.redrive(None, None, true).unwrap(), all, "nothing was sent");
    assert!(records(&bench.settings, "purchases").is_empty());

    let one = bench.redrive(None, Some("purchases:1:2"), false).unwrap();
    assert_eq!(one, Redriven { sent: 1, ..Redriven::default() });
    let late = Redriven { sent: 1, sent_before: 1, too_large: 1, not_of_a_record: 1, ..Redriven::default() };
    for is_dry in [true, false] {
        assert_eq!(bench.redrive(Some("late_line"), None, is_dry).unwrap(), late);
    }
    let again = Redriven { sent: 0, sent_before: 3, ..late };
    for is_dry in [true, false] {
        assert_eq!(bench.redrive(None, None, is_dry).unwrap(), again);
    }
    let sent = |value: &str, from: &str| (value.to_owned(), from.to_owned());
    assert_eq!(
        records(&bench.settings, "purchases"),
        [sent("2,a", "purchases:1:2"), sent("1,a", "purchases:1:1")],
        "with the place that they were at first"
    );
    assert_eq!(records(&bench.settings, "g-invoices-redriven"), [sent("sent", "ann"), sent("sent", "ann")]);
}

#[test]
fn more_than_may_be_remembered_is_refused() {
    let bench = Bench::start();
    send(&bench.settings, &[1, 2, 3, 4].map(|offset| letter("late_line", offset)));
    assert_eq!(bench.redrive(None, None, false).unwrap().sent, 4);
    let error = bench.redrive(None, None, true).unwrap_err().to_string();
    assert!(error.contains("more than 3 records that were sent: use `scorer redrive`"), "{error}");
}

#[test]
fn all_that_is_asked_for_has_to_fit() {
    let of = |payload: &str| DeadLetter::read("invoices", payload.as_bytes()).unwrap();
    let found = of(&letter("not_a_number:UnitPrice", 7));
    let takes = |which: Which, at| which.takes(&found, Some(at));
    let reason = |reason: &str| Which { reason: Some(reason.to_owned()), ..Which::default() };
    assert!(takes(Which::default(), 5) && takes(reason("not_a_number"), 5));
    assert!(!takes(reason("late_line"), 5));
    let until = Which { until: Some(5), ..reason("not_a_number:UnitPrice") };
    assert!(takes(until.clone(), 5) && !takes(until, 6));
    let record = |place: &str| Which { record: Some(place.to_owned()), ..Which::default() };
    assert!(takes(record("purchases:1:7"), 5) && !takes(record("purchases:1:70"), 5));
    let entity = json!({ "pipeline": "invoices", "kind": "entity", "reasons": ["late_line"] }).to_string();
    assert!(!record("purchases:1:7").takes(&of(&entity), None));
}
