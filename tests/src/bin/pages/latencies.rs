//! The time from a payment to its verdict at a moderate rate, while nobody listens to the window and while ten readers do.

use std::ops::Range;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tests::measure::quantile;
use tests::{Kafka, Producer};

use crate::readers::Readers;
use crate::scorers::{PATIENCE, Payment, end, kafka, now, start, window_of};
use crate::{DELIVERIES, MANY, Plan};

const PAYMENTS_A_SECOND: u64 = 2_000;

/// So many that each of them pays seldom.
const USERS: u64 = 100_000;
const MERCHANTS: u64 = 1_000;

/// One payment in so many is anomalous.
const ANOMALOUS: u64 = 100;

/// Where each payment has a verdict.
const VERDICTS: &str = "transaction_anomalies_kmeans";

/// Prints the latencies in both deliveries.
pub(crate) fn measure(plan: &Plan) {
    println!("\nfrom a payment to its verdict, {PAYMENTS_A_SECOND} payments a second, {} rounds in turn", plan.rounds);
    println!("{:<16}{:<16}{:>12}{:>12}", "", "", "median ms", "p99 ms");
    for delivery in DELIVERIES {
        for (name, latencies) in ["no reader", "ten readers"].into_iter().zip(latencies(delivery, plan)) {
            let (median, p99) = (quantile(&latencies, 0.5), quantile(&latencies, 0.99));
            println!("{delivery:<16}{name:<16}{median:>12.1}{p99:>12.1}");
        }
    }
}

/// In milliseconds: those without readers, and those with ten.
fn latencies(delivery: &str, plan: &Plan) -> [Vec<f64>; 2] {
    let (folder, kafka) = (tempfile::tempdir().unwrap(), kafka());
    let options = ["--delivery", delivery, "--all-verdicts", "--listen", "127.0.0.1:0"];
    let mut running = start(&kafka, "latencies", folder.path(), &options);
    let (address, verdicts) = (window_of(&mut running), verdicts(&kafka));
    let (mut latencies, mut sent): ([Vec<f64>; 2], u64) = Default::default();
    // The first round warms everything up.
    for round in 0..=plan.rounds {
        for (n_readers, latencies) in [0, MANY].into_iter().zip(&mut latencies) {
            let readers = Readers::open(&address, n_readers);
            let numbers = sent..sent + plan.seconds * PAYMENTS_A_SECOND;
            sent = numbers.end;
            let turn = turn(&kafka, &verdicts, numbers);
            readers.close();
            if round > 0 {
                latencies.extend(turn);
            }
        }
    }
    end(running);
    latencies
}

/// Reads what is committed.
fn verdicts(kafka: &Kafka) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &kafka.brokers).set("group.id", "reader").set("isolation.level", "read_committed");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(VERDICTS, 0, Offset::Beginning).unwrap();
    consumer.assign(&assignment).unwrap();
    consumer
}

/// Sends payments, and takes the time until the verdict on each.
fn turn(kafka: &Kafka, verdicts: &BaseConsumer, numbers: Range<u64>) -> Vec<f64> {
    std::thread::scope(|scope| {
        let sent = numbers.clone();
        scope.spawn(|| send(kafka, sent));
        numbers.map(|_| latency(verdicts)).collect()
    })
}

/// Sends payments at their rate. Each has the time at which it was sent in its id, and so its verdict has it.
fn send(kafka: &Kafka, numbers: Range<u64>) {
    let (producer, start, first) = (Producer::new(&kafka.brokers), Instant::now(), numbers.start);
    for number in numbers {
        let due = Duration::from_micros((number - first) * 1_000_000 / PAYMENTS_A_SECOND);
        std::thread::sleep(due.saturating_sub(start.elapsed()));
        let amount = if number % ANOMALOUS == 0 { 9_000.0 } else { 20.0 + (number % 10) as f64 };
        let (user, merchant, sent) = (number % USERS, number % MERCHANTS, now());
        let (id, at) = (format!("{sent}-{number}"), (sent / 1000) as i64);
        Payment { id: &id, user, merchant, amount, at }.send(&producer);
    }
    producer.flush();
}

/// How old the payment of the next verdict is, in milliseconds.
fn latency(verdicts: &BaseConsumer) -> f64 {
    let verdict = verdicts.poll(PATIENCE).expect("a verdict").unwrap();
    let id = str::from_utf8(verdict.key().unwrap()).unwrap();
    let sent: u64 = id.split_once('-').unwrap().0.parse().unwrap();
    now().saturating_sub(sent) as f64 / 1000.0
}
