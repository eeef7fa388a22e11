//! What the broker calls a topic apart from its name: its id (KIP-516), which a topic that is deleted and made anew does
//! not keep.
//!
//! The library has the call and its Rust wrapper does not. A question is sent and answered without waiting, so that it can
//! be asked beside other work.

use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::bindings as native;
use rdkafka::client::Client;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};

/// How long a broker may take: the one that is asked may have just died, and the next question goes to another.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// What a broker says of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TopicAnswer {
    /// It has this id, in the form in which Kafka's tools print it; `None` from a broker that knows no ids.
    Id(Option<String>),
    /// There is no topic of this name.
    Missing,
    /// Nothing that is of use.
    Failed(RDKafkaErrorCode),
}

/// A topic whose id was asked for. The client outlives it.
#[derive(Debug)]
pub(crate) struct TopicQuestion<'a> {
    /// Where the answer will be.
    queue: NonNull<native::rd_kafka_queue_t>,
    client: PhantomData<&'a ()>,
}

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl Send for TopicQuestion<'_> {}

impl<'a> TopicQuestion<'a> {
    /// Asks for the id of `topic`. `None` where the name is none, or the client is without memory.
    pub(crate) fn ask<C: ClientContext>(client: &'a Client<C>, topic: &str) -> Option<Self> {
        let topic = CString::new(topic).ok()?;
        let mut topics = [topic.as_ptr()];
        let timeout = REQUEST_TIMEOUT.as_millis() as i32;
        // SAFETY: the client is alive, and the queue that is made here is destroyed before it. The library copies the
        // names and the options, which are freed here.
        unsafe {
            let client = client.native_ptr();
            let queue = NonNull::new(native::rd_kafka_queue_new(client))?;
            let names = native::rd_kafka_TopicCollection_of_topic_names(topics.as_mut_ptr(), topics.len());
            let of = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
            let options = native::rd_kafka_AdminOptions_new(client, of);
            native::rd_kafka_AdminOptions_set_request_timeout(options, timeout, std::ptr::null_mut(), 0);
            native::rd_kafka_DescribeTopics(client, names, options, queue.as_ptr());
            native::rd_kafka_AdminOptions_destroy(options);
            native::rd_kafka_TopicCollection_destroy(names);
            Some(Self { queue, client: PhantomData })
        }
    }

    /// The answer, once it is there; waits at most `wait`. It comes once.
    pub(crate) fn answer(&self, wait: Duration) -> Option<TopicAnswer> {
        let millis = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is alive. What is read of the event is copied before it is destroyed.
        unsafe {
            let event = native::rd_kafka_queue_poll(self.queue.as_ptr(), millis);
            let answer = (!event.is_null()).then(|| read(event));
            native::rd_kafka_event_destroy(event);
            answer
        }
    }
}

impl Drop for TopicQuestion<'_> {
    fn drop(&mut self) {
        // SAFETY: the queue is ours, and nobody uses it any more. An answer that is still to come is dropped by the library.
        unsafe { native::rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}

/// SAFETY: the event must be alive.
unsafe fn read(event: *mut native::rd_kafka_event_t) -> TopicAnswer {
    let failed = |code: RDKafkaRespErr| TopicAnswer::Failed(code.into());
    // SAFETY: the results of these calls live as long as the event, and pointers that may be null are looked at first.
    unsafe {
        let code = native::rd_kafka_event_error(event);
        if code != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return failed(code);
        }
        let result = native::rd_kafka_event_DescribeTopics_result(event);
        let mut count = 0;
        let topics = if result.is_null() {
            std::ptr::null_mut()
        } else {
            native::rd_kafka_DescribeTopics_result_topics(result, &raw mut count)
        };
        if topics.is_null() || count == 0 {
            return failed(RDKafkaRespErr::RD_KAFKA_RESP_ERR__BAD_MSG);
        }
        let topic = *topics;
        match native::rd_kafka_error_code(native::rd_kafka_TopicDescription_error(topic)) {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => {}
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART => return TopicAnswer::Missing,
            code => return failed(code),
        }
        let id = native::rd_kafka_TopicDescription_topic_id(topic);
        let is_known = !id.is_null()
            && (native::rd_kafka_Uuid_most_significant_bits(id) != 0
                || native::rd_kafka_Uuid_least_significant_bits(id) != 0);
        let text = if is_known { native::rd_kafka_Uuid_base64str(id) } else { std::ptr::null() };
        let text = (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy());
        // As Kafka's tools print it, which is the alphabet of URLs.
        TopicAnswer::Id(text.map(|text| text.replace('+', "-").replace('/', "_")))
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::consumer::Consumer;

    use super::*;
    use crate::kafka::client::settings::KafkaSettings;

    /// What brokers answer is a matter of the acceptance tests: a simulated cluster does not.
    #[test]
    fn a_name_that_no_topic_can_have_is_not_asked_for() {
        let settings = KafkaSettings::at("localhost:1");
        let consumer = settings.reader("test").unwrap();
        assert!(TopicQuestion::ask(consumer.client(), "no\0name").is_none());
        let asked = TopicQuestion::ask(consumer.client(), "topic").unwrap();
        assert!(asked.answer(Duration::ZERO).is_none(), "nobody has answered yet");
    }
}
