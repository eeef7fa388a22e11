//! A producer that waits where its queue is full.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

/// How long brokers may take until they accept a record, and until they have acknowledged all.
const PATIENCE: Duration = Duration::from_secs(120);

/// Sends records in order and once, also to brokers that are away for a moment.
pub struct Producer(BaseProducer);

impl Producer {
    /// A producer for these brokers.
    pub fn new(brokers: &str) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("enable.idempotence", "true").set("linger.ms", "1");
        config.set("compression.type", "lz4").set("message.max.bytes", "30000000");
        Self(config.create().unwrap())
    }

    /// Queues a record; waits while the queue is full, but not for ever: whoever sends in the background has to end.
    pub fn send(&self, mut record: BaseRecord<'_, [u8], [u8]>) {
        let start = Instant::now();
        loop {
            assert!(start.elapsed() < PATIENCE, "the brokers accept nothing");
            match self.0.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.0.poll(Duration::from_millis(10));
                }
                Err((error, _)) => panic!("{error}"),
            }
        }
    }

    /// Lets acknowledgements in.
    pub fn poll(&self) {
        self.0.poll(Duration::ZERO);
    }

    /// Waits until everything is acknowledged.
    pub fn flush(&self) {
        self.0.flush(PATIENCE).unwrap();
    }
}
