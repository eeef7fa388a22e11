//! Records into the input topic: a few at a time, or steadily in the background.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::producer::BaseRecord;

use crate::{Clock, Producer, Record, Records};

/// How many portions there are in a second.
const PORTIONS: u32 = 20;

/// Sends records with their keys.
pub struct Sender {
    producer: Producer,
    topic: String,
    records: Box<dyn Records>,
    partitions: u32,
    sent: u64,
    without_message: u64,
}

impl Sender {
    /// Sends to a topic with so many partitions.
    pub fn new(brokers: &str, topic: &str, records: Box<dyn Records>, partitions: u32) -> Self {
        let (producer, topic) = (Producer::new(brokers), topic.to_owned());
        Self { producer, topic, records, partitions, sent: 0, without_message: 0 }
    }

    /// Records sent so far.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// How many of them lead to no message of their own.
    pub fn without_message(&self) -> u64 {
        self.without_message
    }

    /// How many records there are before they are repeated, if they are.
    pub fn in_file(&self) -> Option<usize> {
        self.records.in_file()
    }

    /// Sends the next records, evenly over a span of time.
    pub fn send_over(&mut self, records: usize, span: Duration) {
        let start = Instant::now();
        let portions = (f64::from(PORTIONS) * span.as_secs_f64()).ceil().max(1.0) as usize;
        for portion in 1..=portions {
            self.send(records * portion / portions - records * (portion - 1) / portions);
            std::thread::sleep((span * portion as u32 / portions as u32).saturating_sub(start.elapsed()));
        }
    }

    /// Sends what closes everything that is open to each partition, and waits until all records are acknowledged; the date
    /// of the last ones by this clock, as messages write it.
    pub fn finish(&mut self, clock: Clock) -> Option<String> {
        let end = clock.end();
        let mut last_date = None;
        for partition in 0..self.partitions {
            if let Some((record, date)) = self.records.last_of(partition) {
                self.send_record(&record, Some(partition as i32), end.as_ref().map(|(timestamp, _)| *timestamp));
                last_date = Some(date);
            }
        }
        self.producer.flush();
        last_date.map(|date| end.map_or(date, |(_, end)| end))
    }

    fn send(&mut self, records: usize) {
        for _ in 0..records {
            let record = self.records.next().unwrap();
            self.send_record(&record, None, None);
        }
        self.producer.poll();
    }

    fn send_record(&mut self, record: &Record, partition: Option<i32>, timestamp: Option<i64>) {
        let (key, payload) = record;
        let outgoing = BaseRecord::to(&self.topic).key(key.as_bytes()).payload(payload.as_bytes());
        self.producer.send(BaseRecord { partition, timestamp, ..outgoing });
        self.sent += 1;
        self.without_message += u64::from(self.records.is_without_message(record));
    }
}

/// Records that are sent in the background until this is stopped or dropped.
pub struct Feed {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Sender>>,
}

impl Feed {
    /// Starts to send so many records a second.
    pub fn start(mut sender: Sender, records_a_second: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = stop.clone();
        let thread = std::thread::spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                sender.send_over(records_a_second / PORTIONS as usize, Duration::from_secs(1) / PORTIONS);
            }
            sender
        });
        Self { stop, thread: Some(thread) }
    }

    /// Stops, and gives back the sender.
    pub fn stop(mut self) -> Sender {
        self.end().expect("it is stopped once").unwrap()
    }

    /// Asks the thread to end and waits for it; nothing where that has been done.
    fn end(&mut self) -> Option<std::thread::Result<Sender>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join)
    }
}

impl Drop for Feed {
    /// A test that fails stops what it sends: tests after it have the machine for themselves.
    fn drop(&mut self) {
        let _ = self.end();
    }
}
