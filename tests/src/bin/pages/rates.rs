//! Payments a second through the scorer: without a window, with one, and with pages open.
//!
//! Pages are drawn by Chromium, which takes processors away where there are few. That slows the stream down and is no cost of
//! the window. So the scorer's own processor time is shown too, and readers that draw nothing take part.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tests::browser::{Browser, Driver};
use tests::measure::{median, simulated_payments};
use tests::{Group, Kafka, wait_for};

use crate::readers::Readers;
use crate::scorers::{PATIENCE, TOPIC, end, kafka, start, window_of};
use crate::{MANY, Plan};

const USERS: u32 = 5_000;

/// How long a scorer may take for all payments, and how long they may wait for it.
const TURN: Duration = Duration::from_secs(600);

/// Who looks at the stream.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Looking {
    NoWindow,
    Nobody,
    Pages(usize),
    Readers(usize),
}

const CONTENDERS: [(&str, Looking); 5] = [
    ("without --listen", Looking::NoWindow),
    ("--listen, no page", Looking::Nobody),
    ("one page", Looking::Pages(1)),
    ("ten pages", Looking::Pages(MANY)),
    ("ten readers", Looking::Readers(MANY)),
];

/// How a scorer did.
#[derive(Debug, Clone, Copy)]
struct Turn {
    /// Payments a second.
    rate: f64,
    /// Its processor time for a payment, in microseconds.
    cpu: f64,
}

struct Bench<'a> {
    kafka: Kafka,
    pages: Vec<Browser>,
    payments: PathBuf,
    folder: &'a Path,
}

/// Prints how each contender does, and the medians.
pub(crate) fn measure(driver: &Driver, plan: &Plan) {
    let folder = tempfile::tempdir().unwrap();
    let payments = simulated_payments(folder.path(), plan.payments, USERS);
    // A browser has six connections to a scorer, and a page that nobody sees closes its own: each page has its browser.
    let pages = (0..MANY).map(|_| driver.open(1280)).collect();
    let bench = Bench { kafka: kafka(), pages, payments, folder: folder.path() };
    let mut turns: [Vec<Turn>; CONTENDERS.len()] = CONTENDERS.map(|_| Vec::new());
    // The first round warms the broker up.
    for round in 0..=plan.rounds {
        for (number, (name, looking)) in CONTENDERS.into_iter().enumerate() {
            let turn = bench.turn(&format!("rates-{round}-{number}"), looking);
            println!("round {round}: {name}: {:.0} payments/s, {:.2} us each", turn.rate, turn.cpu);
            turns[number].extend((round > 0).then_some(turn));
        }
    }
    show(plan, &turns);
}

impl Bench<'_> {
    /// Lets a scorer read all payments, from the moment at which they can be read to the last commit.
    fn turn(&self, group: &str, looking: Looking) -> Turn {
        let watch = Group::new(&self.kafka.brokers, group, TOPIC, 1);
        let begin = watch.ends().unwrap()[0];
        let held = Held::send(&self.kafka, &self.payments);
        let last = watch.ends().unwrap()[0];
        let listen: &[&str] = if looking == Looking::NoWindow { &[] } else { &["--listen", "127.0.0.1:0"] };
        let mut running = start(&self.kafka, group, self.folder, listen);
        let readers = (looking != Looking::NoWindow).then(|| self.look(looking, &window_of(&mut running)));

        let (cpu, since) = (running.cpu_seconds(), Instant::now());
        held.release();
        wait_for("the last commit", TURN, || watch.committed().ok()?[0].filter(|offset| *offset >= last));
        let (seconds, cpu) = (since.elapsed().as_secs_f64(), running.cpu_seconds() - cpu);

        readers.into_iter().for_each(Readers::close);
        self.pages.iter().for_each(|page| page.go("about:blank"));
        end(running);
        // The next scorer begins behind them.
        self.kafka.delete_records(TOPIC, watch.ends().unwrap()[0]);
        let payments = (last - begin) as f64;
        Turn { rate: payments / seconds, cpu: cpu * 1e6 / payments }
    }

    /// Opens what looks at a window, and waits until all of it is live.
    fn look(&self, looking: Looking, address: &str) -> Readers {
        let (pages, readers) = match looking {
            Looking::NoWindow | Looking::Nobody => (0, 0),
            Looking::Pages(pages) => (pages, 0),
            Looking::Readers(readers) => (0, readers),
        };
        for (page, path) in self.pages[..pages].iter().zip(["/anomalies", "/"].into_iter().cycle()) {
            page.go(&format!("http://{address}{path}"));
        }
        self.pages[..pages].iter().for_each(|page| page.wait_for_text("#connection", "live"));
        Readers::open(address, readers)
    }
}

/// Payments in the topic that nobody can read yet, because their transaction is open.
struct Held(BaseProducer);

impl Held {
    fn send(kafka: &Kafka, payments: &Path) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &kafka.brokers).set("compression.type", "lz4");
        config.set("transactional.id", "payments").set("transaction.timeout.ms", TURN.as_millis().to_string());
        let producer: BaseProducer = config.create().unwrap();
        producer.init_transactions(PATIENCE).unwrap();
        producer.begin_transaction().unwrap();
        for line in BufReader::new(File::open(payments).unwrap()).lines() {
            let line = line.unwrap();
            let mut record = BaseRecord::<(), str>::to(TOPIC).partition(0).payload(&line);
            while let Err((error, back)) = producer.send(record) {
                assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull), "{error}");
                record = back;
                producer.poll(Duration::from_millis(10));
            }
        }
        producer.flush(PATIENCE).unwrap();
        Self(producer)
    }

    /// Lets everybody read them.
    fn release(self) {
        self.0.commit_transaction(PATIENCE).unwrap();
    }
}

fn show(plan: &Plan, turns: &[Vec<Turn>]) {
    println!("\nmedians of {} rounds, {} payments each, exactly once", plan.rounds, plan.payments);
    println!("{:<20}{:>12}{:>8}{:>16}{:>8}", "", "payments/s", "/ none", "CPU us/payment", "/ none");
    let (rate_of_none, cpu_of_none) = medians(&turns[0]);
    for ((name, _), turns) in CONTENDERS.iter().zip(turns) {
        let (rate, cpu) = medians(turns);
        let (of_rate, of_cpu) = (rate / rate_of_none, cpu / cpu_of_none);
        println!("{name:<20}{rate:>12.0}{of_rate:>8.3}{cpu:>16.2}{of_cpu:>8.3}");
    }
}

/// Of the rate and of the processor time.
fn medians(turns: &[Turn]) -> (f64, f64) {
    let of = |value: fn(&Turn) -> f64| median(&turns.iter().map(value).collect::<Vec<f64>>());
    (of(|turn| turn.rate), of(|turn| turn.cpu))
}
