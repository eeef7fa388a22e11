//! A producer that knows which records were not accepted, and at which offsets records of topics of interest are.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};

use super::error::KafkaError;
use super::settings::{KafkaSettings, log_client};
use super::token;
use super::topic_handle::TopicHandle;
use crate::core::StateRecord;
use crate::kafka::wire::headers::{Original, source_header};

/// How long the broker has to acknowledge a batch.
pub(crate) const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);

/// A producer that reports the first record that was not accepted.
pub struct Producer {
    /// The topics that it follows. They are before the client, so that they go before it does.
    topics: Vec<TopicHandle>,
    pub(crate) client: BaseProducer<DeliveryContext>,
}

/// A record as the client takes it.
#[derive(Debug, Clone)]
pub(crate) struct ProduceRecord<'a> {
    pub topic: &'a str,
    pub partition: Option<i32>,
    pub key: Option<&'a [u8]>,
    pub payload: Option<Cow<'a, [u8]>>,
    /// Milliseconds since 1970; without it the time of sending.
    pub timestamp: Option<i64>,
    /// Of a copy: the original, in a header.
    pub source: Option<Original>,
    /// A header of another name.
    pub header: Option<(&'a str, &'a str)>,
    /// More of them.
    pub more_headers: Cow<'a, [(&'static str, String)]>,
    /// What a refusal calls it by.
    pub tag: usize,
}

/// The partition of a record that the client chooses one for (`RD_KAFKA_PARTITION_UA`).
const UNASSIGNED: i32 = -1;

/// The tag of a record that has to be accepted.
pub(crate) const NO_TAG: usize = usize::MAX;

/// Which record a tag means where several groups of records are under way: how many of each are not acknowledged is known
/// then. Plain indices are of group 0, of which that is not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordId {
    pub group: usize,
    /// Less than 2³² on machines of 64 bits.
    pub index: usize,
}

impl RecordId {
    const INDEX_BITS: u32 = usize::BITS / 2;

    /// The record with this tag.
    pub(crate) fn of(tag: usize) -> Self {
        Self { group: tag >> Self::INDEX_BITS, index: tag & ((1 << Self::INDEX_BITS) - 1) }
    }

    /// What a record is sent with.
    pub(crate) fn tag(self) -> usize {
        (self.group << Self::INDEX_BITS) | self.index
    }

    /// The group, if it is counted.
    fn counted(tag: usize) -> Option<usize> {
        (tag != NO_TAG).then(|| Self::of(tag).group).filter(|group| *group > 0)
    }
}

impl<'a> ProduceRecord<'a> {
    /// A record with nothing in it, to a partition that the client chooses.
    pub(crate) fn to(topic: &'a str) -> Self {
        Self {
            topic,
            partition: None,
            key: None,
            payload: None,
            timestamp: None,
            source: None,
            header: None,
            more_headers: Cow::Borrowed(&[]),
            tag: NO_TAG,
        }
    }

    /// Whether it has any header.
    fn has_headers(&self) -> bool {
        self.source.is_some() || self.header.is_some() || !self.more_headers.is_empty()
    }

    /// A record of a changelog.
    pub(crate) fn state(topic: &'a str, partition: i32, record: &'a StateRecord) -> Self {
        let (key, payload) = (Some(record.key.as_slice()), record.value.as_deref().map(Cow::Borrowed));
        Self { partition: Some(partition), key, payload, ..Self::to(topic) }
    }
}

impl Producer {
    /// A producer for these brokers.
    ///
    /// # Errors
    /// [`KafkaError::Settings`] when librdkafka refuses a setting.
    pub fn new(settings: &KafkaSettings) -> Result<Self, KafkaError> {
        Self::create(&settings.producer(), Vec::new())
    }

    /// A producer that follows the ends of `followed` topics.
    pub(crate) fn create(config: &ClientConfig, followed: Vec<String>) -> Result<Self, KafkaError> {
        let client: BaseProducer<DeliveryContext> =
            config.create_with_context(DeliveryContext::default()).map_err(KafkaError::settings)?;
        token::give_first(config, client.client().native_ptr())?;
        // From here on, the topics are dropped before the client.
        let mut producer = Self { topics: Vec::with_capacity(followed.len()), client };
        for name in followed {
            // SAFETY: the client is alive as long as its topics are.
            let topic = unsafe { TopicHandle::new(producer.client.client().native_ptr(), &name) };
            let cannot = || KafkaError::Settings(format!("there can be no topic `{name}`"));
            producer.topics.push(topic.ok_or_else(cannot)?);
        }
        let followed = producer.topics.iter().map(TopicHandle::address).collect();
        // Nothing was sent yet, so nobody has asked for it before.
        let _ = producer.client.context().followed.set(followed);
        Ok(producer)
    }

    /// Queues a record; waits while the queue is full.
    ///
    /// # Errors
    /// [`KafkaError::NotDelivered`] when the client refuses it, for example for its size.
    pub fn send(&self, topic: &str, key: Option<&[u8]>, payload: &[u8]) -> Result<(), KafkaError> {
        self.produce(ProduceRecord { key, payload: Some(Cow::Borrowed(payload)), ..ProduceRecord::to(topic) })
    }

    /// As [`send`](Self::send), with a key and, if there is one, a header: its name and its value.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_with_header(
        &self,
        topic: &str,
        key: &[u8],
        payload: &[u8],
        header: Option<(&str, &str)>,
    ) -> Result<(), KafkaError> {
        let payload = Some(Cow::Borrowed(payload));
        self.produce(ProduceRecord { key: Some(key), payload, header, ..ProduceRecord::to(topic) })
    }

    fn produce(&self, record: ProduceRecord<'_>) -> Result<(), KafkaError> {
        let topic = record.topic;
        self.queue(record)
            .map_err(|error| KafkaError::NotDelivered { topic: topic.to_owned(), cause: error.to_string() })
    }

    /// Whether every record that the broker has answered so far was accepted.
    ///
    /// # Errors
    /// The first record that was not.
    pub fn check(&self) -> Result<(), KafkaError> {
        let Failures { refused, other, .. } = self.take_failures();
        let first = other.or_else(|| refused.into_iter().next().map(|refused| (refused.topic, refused.code)));
        match first {
            None => Ok(()),
            Some((topic, code)) => Err(KafkaError::NotDelivered { topic, cause: code.to_string() }),
        }
    }

    pub(crate) fn queue(&self, message: ProduceRecord<'_>) -> Result<(), ClientError> {
        match self.topics.iter().find(|topic| topic.name() == message.topic).filter(|_| !message.has_headers()) {
            Some(topic) => self.queue_for(topic, &message),
            None => self.queue_by_name(message),
        }
    }

    /// Queues a record without headers for a topic that is followed, such as that of the state.
    fn queue_for(&self, topic: &TopicHandle, message: &ProduceRecord<'_>) -> Result<(), ClientError> {
        let (partition, timestamp) = (message.partition.unwrap_or(UNASSIGNED), message.timestamp.unwrap_or(0));
        let group = RecordId::counted(message.tag);
        group.inspect(|group| self.client.context().lock().count(*group));
        loop {
            let (client, content) = (self.client.client().native_ptr(), (message.key, message.payload.as_deref()));
            // SAFETY: the topic is of this client.
            match unsafe { topic.send(client, (partition, timestamp, message.tag), content) } {
                Err(ClientError::MessageProduction(RDKafkaErrorCode::QueueFull)) => self.make_room(),
                Err(error) => {
                    group.inspect(|group| self.client.context().lock().settle(*group));
                    return Err(error);
                }
                Ok(()) => return Ok(()),
            }
        }
    }

    fn queue_by_name(&self, message: ProduceRecord<'_>) -> Result<(), ClientError> {
        let mut record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(message.topic, message.tag);
        (record.key, record.payload, record.partition) = (message.key, message.payload.as_deref(), message.partition);
        record.timestamp = message.timestamp;
        record.headers = headers(&message);
        let group = RecordId::counted(message.tag);
        // It may be acknowledged before the client returns.
        group.inspect(|group| self.client.context().lock().count(*group));
        loop {
            match self.client.send(record) {
                Ok(()) => return Ok(()),
                Err((ClientError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.make_room();
                }
                Err((error, _)) => {
                    group.inspect(|group| self.client.context().lock().settle(*group));
                    return Err(error);
                }
            }
        }
    }

    /// Lets acknowledgements in, and gives the broker a moment.
    fn make_room(&self) {
        self.client.poll(Duration::ZERO);
        std::thread::sleep(Duration::from_micros(500));
    }

    /// How many records of a group are with the client, and neither acknowledged nor refused.
    pub(crate) fn unacknowledged(&self, group: usize) -> usize {
        self.client.context().lock().unacknowledged.get(&group).copied().unwrap_or(0)
    }

    /// Whether there are any of any group.
    pub(crate) fn has_unacknowledged(&self) -> bool {
        !self.client.context().lock().unacknowledged.is_empty()
    }

    /// Lets acknowledgements in without waiting for them.
    pub fn poll(&self) {
        self.client.poll(Duration::ZERO);
    }

    /// Waits until everything that was queued is acknowledged.
    ///
    /// # Errors
    /// The first message that was not accepted, or that none of it was acknowledged within a minute.
    pub fn flush(&self) -> Result<(), KafkaError> {
        self.wait_for_acknowledgements().map_err(KafkaError::failed("waiting for acknowledgements"))?;
        self.check()
    }

    /// Waits until every queued message is acknowledged or has failed.
    pub(crate) fn wait_for_acknowledgements(&self) -> Result<(), ClientError> {
        match self.is_settled_within(DELIVERY_TIMEOUT) {
            true => Ok(()),
            false => Err(ClientError::Flush(RDKafkaErrorCode::OperationTimedOut)),
        }
    }

    /// Waits as long for that; whether it is so.
    pub(crate) fn is_settled_within(&self, limit: Duration) -> bool {
        let start = Instant::now();
        let mut waiting = self.client.in_flight_count();
        while waiting > 0 {
            // The client's own wait spends a core on the last millisecond and looks for the end only every 100.
            self.client.poll(Duration::ZERO);
            let now = self.client.in_flight_count();
            if now == waiting {
                std::thread::sleep(Duration::from_micros(500));
            }
            waiting = now;
            if waiting > 0 && start.elapsed() >= limit {
                return false;
            }
        }
        true
    }

    /// Whether any record was not accepted since they were taken.
    pub(crate) fn has_failures(&self) -> bool {
        let reports = self.client.context().lock();
        let Failures { refused, innocent, other, may_arrive_late } = &reports.failures;
        !refused.is_empty() || !innocent.is_empty() || other.is_some() || *may_arrive_late
    }

    /// The records that were not accepted since the last time.
    pub(crate) fn take_failures(&self) -> Failures {
        std::mem::take(&mut self.client.context().lock().failures)
    }

    /// The offsets after the last acknowledged messages to the followed topics, by topic and partition.
    pub(crate) fn take_produced(&self) -> ProducedOffsets {
        let context = self.client.context();
        let produced = std::mem::take(&mut context.lock().produced);
        let named = |((topic, partition), end): ((usize, i32), i64)| {
            Some(((self.topics.get(topic)?.name().to_owned(), partition), end))
        };
        produced.into_iter().filter_map(named).collect()
    }
}

fn headers(message: &ProduceRecord<'_>) -> Option<OwnedHeaders> {
    let source = message.source.map(source_header);
    let more = message.more_headers.iter().map(|(name, value)| (*name, value.as_str()));
    message.header.into_iter().chain(more).fold(source, |headers, (key, value)| {
        let headers = headers.unwrap_or_else(|| OwnedHeaders::new_with_capacity(1 + message.more_headers.len()));
        Some(headers.insert(Header { key, value: Some(value) }))
    })
}

/// A record that its topic does not take, and would not take another time either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefusedRecord {
    /// What it was sent with.
    pub tag: usize,
    pub topic: String,
    pub code: RDKafkaErrorCode,
}

impl RefusedRecord {
    /// Whether the broker means this record, or may mean another one of the batch that it came in. Brokers name the records
    /// whose timestamp or content they do not take (KIP-467); a size is that of the whole batch.
    pub(crate) fn is_named(&self) -> bool {
        matches!(self.code, RDKafkaErrorCode::InvalidTimestamp | RDKafkaErrorCode::InvalidRecord)
    }
}

/// Whether a record of itself is what is refused, and not the topic or the producer.
pub(crate) fn is_refusal(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::MessageBatchTooLarge
            | RDKafkaErrorCode::InvalidMessage
            | RDKafkaErrorCode::InvalidMessageSize
            | RDKafkaErrorCode::InvalidTimestamp
            | RDKafkaErrorCode::InvalidRecord
    )
}

/// Records that were not accepted.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    /// Those that are refused, or came in a batch with one.
    pub refused: Vec<RefusedRecord>,
    /// The tags of those that were not taken because of another record in their batch.
    pub innocent: Vec<usize>,
    /// The first one with another reason: its topic, and why.
    pub other: Option<(String, RDKafkaErrorCode)>,
    /// Whether records were given up whose requests the broker may still get.
    pub may_arrive_late: bool,
}

impl Failures {
    fn add(&mut self, tag: usize, topic: &str, code: RDKafkaErrorCode) {
        match code {
            RDKafkaErrorCode::PurgeQueue => {}
            RDKafkaErrorCode::PurgeInflight => self.may_arrive_late = true,
            RDKafkaErrorCode::InvalidDifferentRecord => self.innocent.push(tag),
            code if is_refusal(code) => self.refused.push(RefusedRecord { tag, topic: topic.to_owned(), code }),
            code => self.other = self.other.take().or_else(|| Some((topic.to_owned(), code))),
        }
    }
}

/// Offsets after the last message, by topic and partition.
pub(crate) type ProducedOffsets = BTreeMap<(String, i32), i64>;

/// Keeps what the broker said of records.
#[derive(Debug, Default)]
pub(crate) struct DeliveryContext {
    /// The addresses of the topics that are followed: names are not compared for each record.
    followed: OnceLock<Vec<usize>>,
    reports: Mutex<DeliveryReports>,
}

#[derive(Debug, Default)]
struct DeliveryReports {
    failures: Failures,
    /// By the topic's place among those that are followed: its name is not copied for each record.
    produced: BTreeMap<(usize, i32), i64>,
    /// How many records of each group are to be answered.
    unacknowledged: BTreeMap<usize, usize>,
}

impl DeliveryReports {
    fn count(&mut self, group: usize) {
        *self.unacknowledged.entry(group).or_default() += 1;
    }

    fn settle(&mut self, group: usize) {
        if let Some(count) = self.unacknowledged.get_mut(&group) {
            *count -= 1;
            if *count == 0 {
                self.unacknowledged.remove(&group);
            }
        }
    }
}

impl DeliveryContext {
    fn lock(&self) -> std::sync::MutexGuard<'_, DeliveryReports> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for DeliveryContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if let Some(topic) = topic_without_right(facility, message) {
            self.lock().failures.add(NO_TAG, topic, RDKafkaErrorCode::TopicAuthorizationFailed);
        }
        log_client(level, facility, message);
    }

    fn error(&self, error: ClientError, reason: &str) {
        tracing::debug!(%error, reason, "kafka producer");
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> token::Answer {
        token::of_config(config)
    }
}

/// The topic that a transaction may not write to. The client drops the records of such a transaction, and the calls that
/// follow say "Erroneous state": only its log names the cause.
fn topic_without_right<'a>(facility: &str, message: &'a str) -> Option<&'a str> {
    let is_denial = facility == "ADDPARTS" && message.contains("Topic authorization failed");
    let (_, named) = message.split_once("Failed to add partition \"").filter(|_| is_denial)?;
    named.split_once('"').map(|(topic, _)| topic)
}

impl ProducerContext for DeliveryContext {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, tag: usize) {
        if let Some(group) = RecordId::counted(tag) {
            self.lock().settle(group);
        }
        match result {
            Err((error, message)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
                self.lock().failures.add(tag, message.topic(), code);
            }
            Ok(message) => {
                let (followed, topic) = (self.followed.get(), message.topic_ptr().addr());
                if let Some(topic) = followed.and_then(|followed| followed.iter().position(|known| *known == topic)) {
                    let mut reports = self.lock();
                    let end = reports.produced.entry((topic, message.partition())).or_default();
                    *end = (*end).max(message.offset() + 1);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_tells_the_group_and_the_record() {
        for id in [(0, 7), (1, 0), (3, 12_345)].map(|(group, index)| RecordId { group, index }) {
            assert_eq!(
                (RecordId::of(id.tag()), RecordId::counted(id.tag())),
                (id, Some(id.group).filter(|group| *group > 0))
            );
        }
        assert_eq!(
            (RecordId { group: 0, index: 7 }.tag(), RecordId::counted(NO_TAG)),
            (7, None),
            "plain tags are indices"
        );
    }

    #[test]
    fn the_topic_that_may_not_be_written_to_is_in_the_log() {
        let failed = |why: &str| {
            format!(
                "[thrd:localhost:9092/1]: localhost:9092/1: Failed to add partition \"out\" [0] to transaction: Broker: {why}"
            )
        };
        let topic = |facility: &str, why: &str| topic_without_right(facility, &failed(why)).map(str::to_owned);
        assert_eq!(topic("ADDPARTS", "Topic authorization failed").as_deref(), Some("out"));
        assert_eq!(topic("ADDPARTS", "Unknown topic or partition"), None);
        assert_eq!(topic("TXNERR", "Topic authorization failed"), None);
    }

    #[test]
    fn a_group_is_settled_with_its_last_record() {
        let mut reports = DeliveryReports::default();
        [1, 2, 1].into_iter().for_each(|group| reports.count(group));
        reports.settle(1);
        assert_eq!(reports.unacknowledged, BTreeMap::from([(1, 1), (2, 1)]));
        reports.settle(1);
        reports.settle(1);
        reports.settle(2);
        assert!(reports.unacknowledged.is_empty());
    }
}
