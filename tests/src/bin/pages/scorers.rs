//! The scorer that is looked at, and the payments that it reads.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use rdkafka::producer::BaseRecord;
use serde_json::Value;
use shared::time::format_timestamp;
use tests::{Kafka, Producer, Running, repository, start_scorer, text, wait_for};

use crate::readers::get;

/// The pipeline, and its input topic.
pub(crate) const TOPIC: &str = "transactions";

/// How long something may take that takes a moment.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A payment, and when it is made, in milliseconds since 1970.
pub(crate) struct Payment<'a> {
    pub(crate) id: &'a str,
    pub(crate) user: u64,
    pub(crate) merchant: u64,
    pub(crate) amount: f64,
    pub(crate) at: i64,
}

impl Payment<'_> {
    /// Sends it to the topic's one partition.
    pub(crate) fn send(&self, producer: &Producer) {
        let Self { id, user, merchant, amount, at } = self;
        let timestamp = format_timestamp(*at);
        let payload = format!(
            r#"{{"transaction_id":"{id}","user_id":"u{user}","merchant_id":"m{merchant}","amount":{amount},"currency":"EUR","latitude":40.4,"longitude":-3.7,"timestamp":"{timestamp}"}}"#
        );
        producer.send(BaseRecord::to(TOPIC).partition(0).payload(payload.as_bytes()));
        producer.poll();
    }
}

/// A cluster with the input topic.
pub(crate) fn kafka() -> Kafka {
    let kafka = Kafka::start().expect("Apache Kafka");
    kafka.create_topic(TOPIC, 1, &[]);
    kafka
}

/// Starts a scorer with a state of its own, and waits until the topic is its own.
pub(crate) fn start(kafka: &Kafka, group: &str, folder: &Path, options: &[&str]) -> Running {
    let (models, state) = (repository().join("models"), folder.join(group));
    let what = ["run", "--brokers", &kafka.brokers, "--group", group, "--pipeline", TOPIC, "--models", text(&models)];
    let how = ["--state-dir", text(&state), "--device", "cpu", "--json-logs"];
    let mut running = start_scorer(&[&what[..], &how, options].concat());
    running.wait_for_log("assigned");
    running
}

/// The address of a scorer's window, `host:port`, once it has read back what was published before.
pub(crate) fn window_of(running: &mut Running) -> String {
    let logged = running.wait_for_log("window");
    let url = logged["address"].as_str().unwrap();
    let address = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    wait_for("the window to have everything", PATIENCE, || {
        let status: Value = serde_json::from_str(&get(&address, "/api/v1/status").ok()?).ok()?;
        (status["window"]["is_refilling"] == false).then_some(())
    });
    address
}

/// Ends a scorer.
pub(crate) fn end(running: Running) {
    let (run, _) = running.terminate();
    assert_eq!(run.code, Some(0), "{}", run.stderr);
}

/// Microseconds since 1970.
pub(crate) fn now() -> u64 {
    UNIX_EPOCH.elapsed().unwrap().as_micros() as u64
}
