//! Real lines into the input topic: a few at a time, or steadily in the background.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::producer::BaseRecord;

use crate::{Lines, Producer};

/// The topic that lines are sent to.
pub(crate) const INPUT: &str = "purchases";

/// How many portions there are in a second.
const PORTIONS: u32 = 20;

/// Sends lines, keyed by invoice number.
pub struct Sender {
    producer: Producer,
    lines: Lines,
    partitions: u32,
    sent: u64,
    cancelled: u64,
}

impl Sender {
    /// Sends to a topic with so many partitions.
    pub fn new(brokers: &str, lines: Lines, partitions: u32) -> Self {
        Self { producer: Producer::new(brokers), lines, partitions, sent: 0, cancelled: 0 }
    }

    /// Records sent so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// How many of them are lines of cancellations.
    pub fn cancelled(&self) -> u64 {
        self.cancelled
    }

    /// How many lines there are before they are repeated.
    pub fn lines_in_file(&self) -> usize {
        self.lines.in_file()
    }

    /// Sends the next lines, evenly over a span of time.
    pub fn send_over(&mut self, lines: usize, span: Duration) {
        let start = Instant::now();
        let portions = (f64::from(PORTIONS) * span.as_secs_f64()).ceil().max(1.0) as usize;
        for portion in 1..=portions {
            self.send(lines * portion / portions - lines * (portion - 1) / portions);
            std::thread::sleep((span * portion as u32 / portions as u32).saturating_sub(start.elapsed()));
        }
    }

    /// Sends one last record to each partition, after which no invoice is open, and waits until all are acknowledged;
    /// the date of the last ones, as messages write it.
    pub fn finish(&mut self) -> String {
        for partition in 0..self.partitions {
            let (key, line) = self.lines.last_record(partition);
            let record = BaseRecord::to(INPUT).key(key.as_bytes()).payload(line.as_bytes());
            self.producer.send(record.partition(partition as i32));
            (self.sent, self.cancelled) = (self.sent + 1, self.cancelled + 1);
        }
        self.producer.flush();
        self.lines.last_date()
    }

    fn send(&mut self, lines: usize) {
        for (key, line) in self.lines.by_ref().take(lines) {
            self.producer.send(BaseRecord::to(INPUT).key(key.as_bytes()).payload(line.as_bytes()));
            self.sent += 1;
            self.cancelled += u64::from(key.starts_with('C'));
        }
        self.producer.poll();
    }
}

/// Lines that are sent in the background until it is stopped.
pub struct Feed {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Sender>,
}

impl Feed {
    /// Starts to send so many lines a second.
    pub fn start(mut sender: Sender, lines_a_second: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = stop.clone();
        let thread = std::thread::spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                sender.send_over(lines_a_second, Duration::from_secs(1));
            }
            sender
        });
        Self { stop, thread }
    }

    /// Stops, and gives back the sender.
    pub fn stop(self) -> Sender {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
