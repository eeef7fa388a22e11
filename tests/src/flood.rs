//! Floods: more of something than a scorer has memory for. Its memory stays within its bound, and it goes on.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::producer::BaseRecord;
use shared::memory::Size;
use shared::time::format_timestamp;

use crate::measure::memory;
use crate::{
    Group, Kafka, PipelineFile, Producer, Record, Run, Running, repository, scorer, start_scorer, text, wait_for,
};

/// What there is too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    /// Payments, each of a new user to a new merchant.
    NewKeys,
    /// Invoices of one line, none of which is complete.
    OpenInvoices,
    /// Payments with a verdict each, and a broker that stands still again and again.
    SlowBroker,
    /// Records that nobody can read, whose messages are larger than they are: the topic grows faster than it is read.
    Backlog,
}

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The bound, in bytes.
    pub max_memory: u64,
    /// For how long records come; longer where the state is not full by then.
    pub seconds: u64,
    /// The most records; fewer come where that takes longer.
    pub records: u64,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The most memory that the process had, in bytes.
    pub peak: u64,
    /// The same at its start again, with the state that it had at its end.
    pub peak_after_restart: u64,
    /// Records sent.
    pub sent: u64,
    /// The account that the scorer gave at its end.
    account: String,
}

impl Flood {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::NewKeys, Self::OpenInvoices, Self::SlowBroker, Self::Backlog];

    /// The one with this name, whose words a hyphen joins.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|flood| flood.to_string().replace(' ', "-") == name)
    }

    fn pipeline(self) -> &'static str {
        match self {
            Self::OpenInvoices => "invoices",
            Self::NewKeys | Self::SlowBroker | Self::Backlog => "transactions",
        }
    }

    /// The record with this number, of those that come.
    fn record(self, number: u64) -> Record {
        match self {
            Self::NewKeys => payment(number, number, number),
            Self::SlowBroker => payment(number, number % 100, number % 20),
            Self::OpenInvoices => {
                (number.to_string(), format!("{number},22143,RED MUG,2,9/1/2010 9:22,1.5,12345,France"))
            }
            Self::Backlog => (number.to_string(), "\u{1}".repeat(20_000)),
        }
    }

    /// How many bytes that is, about.
    fn record_bytes(self) -> u64 {
        let (key, payload) = self.record(1);
        (key.len() + payload.len()) as u64
    }
}

impl fmt::Display for Flood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NewKeys => "new keys",
            Self::OpenInvoices => "open invoices",
            Self::SlowBroker => "slow broker",
            Self::Backlog => "backlog",
        })
    }
}

/// A payment, a millisecond after the one before.
fn payment(number: u64, user: u64, merchant: u64) -> Record {
    let timestamp = format_timestamp(1_735_689_600_000 + number as i64);
    let payload = format!(
        r#"{{"transaction_id":"t{number:012}","user_id":"u{user:09}","merchant_id":"m{merchant:09}","amount":12.5,"currency":"EUR","latitude":40.4,"longitude":-3.7,"timestamp":"{timestamp}"}}"#
    );
    (format!("u{user:09}"), payload)
}

impl Outcome {
    /// A number of the scorer's account, by its name.
    pub fn counted(&self, name: &str) -> u64 {
        let after = self.account.split(&format!(" {name}: ")).nth(1).unwrap_or_else(|| panic!("`{name}` is counted"));
        let digits = after.find(|character: char| !character.is_ascii_digit()).unwrap_or(after.len());
        after[..digits].parse().unwrap()
    }
}

/// Lets a flood come over a scorer; its memory is printed second by second. `None` where Kafka is missing and tests may be
/// skipped.
pub fn run(flood: Flood, plan: &Plan) -> Option<Outcome> {
    let kafka = Kafka::start_alone()?;
    let folder = tempfile::tempdir().unwrap();
    let topics = scorer(&["topics", "--brokers", &kafka.brokers, "--group", GROUP, "--pipeline", flood.pipeline()]);
    assert_eq!(topics.code, Some(0), "{}", topics.stderr);
    let running = start(&kafka, flood, plan, folder.path());
    let (is_over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    let run = std::thread::scope(|scope| {
        scope.spawn(|| send(&kafka, flood, plan, (&is_over, &sent)));
        let run = watch(running, &kafka, flood, plan, &is_over);
        is_over.store(true, Ordering::Relaxed);
        run
    });
    // It takes its state up again within the same bound.
    let mut again = start(&kafka, flood, plan, folder.path());
    again.wait_for_log("restored");
    let peak_after_restart = 1024 * memory(&again, "VmHWM");
    again.kill();
    let (peak, run) = run;
    let account = crate::logged(&run.stderr, "ended")
        .into_iter()
        .find_map(|fields| fields["summary"].as_str().map(str::to_owned));
    let outcome = Outcome { peak, peak_after_restart, sent: sent.load(Ordering::Relaxed), account: account.unwrap() };
    println!("{flood}: {outcome} of {}", Size(plan.max_memory));
    Some(outcome)
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [peak, again] = [self.peak, self.peak_after_restart].map(Size);
        write!(
            f,
            "{} records sent, {} read, peak memory {peak}, after a restart {again}",
            self.sent,
            self.counted("records")
        )
    }
}

const GROUP: &str = "flood";

/// What a scorer says once it gives something up.
const LIMIT: &str = "a partition has reached a limit of the pipeline file or its part of --max-memory: what is missed least is \
                     given up, and counted";

/// For how long it goes on at its limit.
const AT_LIMIT: Duration = Duration::from_secs(5);

/// How long the first commit, and a limit, may take.
const PATIENCE: Duration = Duration::from_secs(120);

fn start(kafka: &Kafka, flood: Flood, plan: &Plan, folder: &Path) -> Running {
    let (models, state, bound) = (repository().join("models"), folder.join("state"), plan.max_memory.to_string());
    let what = ["run", "--brokers", &kafka.brokers, "--pipeline", flood.pipeline(), "--models", text(&models)];
    let who = ["--group", GROUP, "--instance-id", GROUP, "--state-dir", text(&state)];
    let how = ["--device", "cpu", "--clock", "event", "--json-logs", "--max-memory", &bound];
    let all: &[&str] = if flood == Flood::SlowBroker { &["--all-verdicts"] } else { &[] };
    start_scorer(&[&what[..], &who, &how, all].concat())
}

/// Sends records until it is over. What a producer has in its queue is no more than a moment's.
fn send(kafka: &Kafka, flood: Flood, plan: &Plan, (is_over, sent): (&AtomicBool, &AtomicU64)) {
    let producer = Producer::new(&kafka.brokers);
    let topic = PipelineFile::of(flood.pipeline()).pipeline().topic;
    let at_a_time = (1 << 20) / flood.record_bytes() + 1;
    for number in 0..plan.records {
        let (key, payload) = flood.record(number);
        producer.send(BaseRecord::to(&topic).key(key.as_bytes()).payload(payload.as_bytes()));
        sent.store(number + 1, Ordering::Relaxed);
        if number % at_a_time == 0 {
            producer.poll();
            if is_over.load(Ordering::Relaxed) {
                break;
            }
        }
    }
    producer.flush();
}

/// Prints the scorer's memory until the flood is over; then ends it. Its peak, and what it said.
fn watch(mut running: Running, kafka: &Kafka, flood: Flood, plan: &Plan, is_over: &AtomicBool) -> (u64, Run) {
    // Once it is at work.
    let group = Group::new(&kafka.brokers, GROUP, &PipelineFile::of(flood.pipeline()).pipeline().topic, 1);
    wait_for("the first commit", PATIENCE, || group.committed().ok()?[0].filter(|offset| *offset > 0));
    let start = Instant::now();
    let mut is_paused = false;
    for second in 1..=plan.seconds {
        std::thread::sleep((start + Duration::from_secs(second)).saturating_duration_since(Instant::now()));
        assert!(!running.has_ended(), "the scorer goes on: {}", running.stderr());
        let read = if is_paused { None } else { group.committed().ok().and_then(|committed| committed[0]) };
        let read = read.map_or_else(String::new, |read| format!(", {read} records committed"));
        println!("{flood}: second {second}, {}{read}", Size(1024 * memory(&running, "VmRSS")));
        if flood == Flood::SlowBroker {
            // Two seconds of three it stands still.
            let pauses = second % 3 != 0 && second < plan.seconds;
            match (is_paused, pauses) {
                (false, true) => kafka.pause_broker(1),
                (true, false) => kafka.resume_broker(1),
                _ => {}
            }
            is_paused = pauses;
        }
    }
    // Of what fills the state there has to be as much as it may hold.
    if matches!(flood, Flood::NewKeys | Flood::OpenInvoices) {
        wait_for("a limit to be reached", PATIENCE, || running.log(LIMIT).into_iter().next());
        std::thread::sleep(AT_LIMIT);
        println!("{flood}: at its limit, {}", Size(1024 * memory(&running, "VmRSS")));
    }
    is_over.store(true, Ordering::Relaxed);
    let peak = 1024 * memory(&running, "VmHWM");
    let (run, _) = running.terminate();
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    (peak, run)
}
