//! A topic of a producer, held on to: to send a record by the name of its topic, librdkafka looks that up among all topics of
//! the client, for each record, under a lock that its other threads need too.

use std::ffi::{CString, c_void};
use std::ptr::{self, NonNull};

use rdkafka::bindings as native;
use rdkafka::bindings::rd_kafka_vtype_t as Argument;
use rdkafka::error::{IsError as _, KafkaError as ClientError, KafkaResult};

/// A topic of a client that outlives this.
#[derive(Debug)]
pub(super) struct TopicHandle {
    name: String,
    topic: NonNull<native::rd_kafka_topic_t>,
}

// SAFETY: librdkafka's topics may be used from any thread, and by several at a time.
unsafe impl Send for TopicHandle {}
unsafe impl Sync for TopicHandle {}

impl TopicHandle {
    /// The topic `name` of a client; `None` where there can be none.
    ///
    /// # Safety
    /// The client is alive as long as this is.
    pub(super) unsafe fn new(client: *mut native::rd_kafka_t, name: &str) -> Option<Self> {
        let text = CString::new(name).ok()?;
        // SAFETY: the client is alive, the text outlives the call, and without settings the topic has those of the client.
        let topic = unsafe { native::rd_kafka_topic_new(client, text.as_ptr(), ptr::null_mut()) };
        Some(Self { name: name.to_owned(), topic: NonNull::new(topic)? })
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where the client keeps it: that tells it from the client's other topics.
    pub(super) fn address(&self) -> usize {
        self.topic.addr().get()
    }

    /// Queues a record without headers for one of its partitions; key and payload are copied.
    ///
    /// # Errors
    /// As the client's own way to send.
    ///
    /// # Safety
    /// The client is the one that the topic is of.
    pub(super) unsafe fn send(
        &self,
        client: *mut native::rd_kafka_t,
        (partition, timestamp, opaque): (i32, i64, usize),
        (key, payload): (Option<&[u8]>, Option<&[u8]>),
    ) -> KafkaResult<()> {
        let parts = |bytes: Option<&[u8]>| bytes.map_or((ptr::null(), 0), |bytes| (bytes.as_ptr(), bytes.len()));
        let ((key, key_len), (payload, payload_len)) = (parts(key), parts(payload));
        // SAFETY: client and topic are alive; each argument has the type that the one before it says; what the pointers point
        // to is copied before the call returns.
        let code = unsafe {
            native::rd_kafka_producev(
                client,
                Argument::RD_KAFKA_VTYPE_RKT,
                self.topic.as_ptr(),
                Argument::RD_KAFKA_VTYPE_PARTITION,
                partition,
                Argument::RD_KAFKA_VTYPE_MSGFLAGS,
                native::RD_KAFKA_MSG_F_COPY,
                Argument::RD_KAFKA_VTYPE_VALUE,
                payload,
                payload_len,
                Argument::RD_KAFKA_VTYPE_KEY,
                key,
                key_len,
                Argument::RD_KAFKA_VTYPE_OPAQUE,
                ptr::without_provenance_mut::<c_void>(opaque),
                Argument::RD_KAFKA_VTYPE_TIMESTAMP,
                timestamp,
                Argument::RD_KAFKA_VTYPE_END,
            )
        };
        if code.is_error() { Err(ClientError::MessageProduction(code.into())) } else { Ok(()) }
    }
}

impl Drop for TopicHandle {
    fn drop(&mut self) {
        // SAFETY: the client, and so the topic, is alive; nothing uses this reference any more.
        unsafe { native::rd_kafka_topic_destroy(self.topic.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rdkafka::consumer::{BaseConsumer, Consumer as _};
    use rdkafka::message::Message as _;
    use rdkafka::mocking::MockCluster;

    use crate::core::StateRecord;
    use crate::kafka::client::offsets::positions_of;
    use crate::kafka::client::producer::{ProduceRecord, Producer};
    use crate::kafka::client::settings::KafkaSettings;

    #[test]
    fn a_topic_that_is_followed_gets_what_is_sent_and_tells_where_that_is() {
        let cluster = MockCluster::new(1).unwrap();
        ["state", "other"].into_iter().for_each(|topic| cluster.create_topic(topic, 2, 1).unwrap());
        let settings = KafkaSettings::at(cluster.bootstrap_servers());
        let producer = Producer::create(&settings.producer(), vec!["state".to_owned()]).unwrap();
        let whole = StateRecord { key: vec![0, 1], value: Some(vec![2, 3, 4]) };
        let deletion = StateRecord { key: vec![5], value: None };
        for (partition, record) in [(0, &whole), (1, &whole), (1, &deletion)] {
            producer.queue(ProduceRecord::state("state", partition, record)).unwrap();
        }
        // By the name of its topic: it has a header.
        let header = Some(("name", "value"));
        producer.queue(ProduceRecord { partition: Some(1), header, ..ProduceRecord::to("state") }).unwrap();
        producer.queue(ProduceRecord { partition: Some(0), ..ProduceRecord::to("other") }).unwrap();
        producer.flush().unwrap();
        let end = |partition, end| (("state".to_owned(), partition), end);
        assert_eq!(producer.take_produced(), BTreeMap::from([end(0, 1), end(1, 3)]));

        let consumer: BaseConsumer<_> = settings.reader("test").unwrap();
        consumer.assign(&positions_of("state", [(1, rdkafka::Offset::Beginning)]).unwrap()).unwrap();
        let mut found = Vec::new();
        // Ends and other news come between records.
        for _ in 0..20 {
            let Some(Ok(record)) = consumer.poll(std::time::Duration::from_secs(1)) else { continue };
            found.push((record.key().map(<[u8]>::to_vec), record.payload().map(<[u8]>::to_vec)));
            if found.len() == 3 {
                break;
            }
        }
        assert_eq!(found, [(Some(whole.key), whole.value), (Some(deletion.key), None), (None, None)]);
    }
}
