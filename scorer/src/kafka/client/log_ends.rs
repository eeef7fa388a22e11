//! Where partitions end, asked of the brokers on a thread of its own: what reads records never waits for the answer.

use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::Offset;

use super::error::KafkaError;
use super::offsets::positions_of;
use super::settings::{KafkaSettings, QuietContext};
use crate::clock::WallClock;
use crate::core::WallMillis;

/// How long brokers may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Asks where partitions of a topic end. The thread ends with this.
pub(crate) struct LogEnds {
    questions: SyncSender<Vec<i32>>,
    answers: Receiver<Answer>,
}

/// Where partitions ended at a moment between question and answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// When the question was sent.
    pub asked_at: WallMillis,
    /// When the answer was there.
    pub answered_at: WallMillis,
    /// The high watermark of each partition, records of open transactions included. None where the brokers did not tell.
    pub ends: Option<Vec<(i32, i64)>>,
}

impl LogEnds {
    /// A thread with a client of its own: on that of a consumer, a question waits behind a fetch that waits for records.
    ///
    /// # Errors
    /// When librdkafka refuses a setting.
    pub(crate) fn start(settings: &KafkaSettings, topic: &str, clock: WallClock) -> Result<Self, KafkaError> {
        let (consumer, topic) = (settings.reader_of_ends()?, topic.to_owned());
        let (questions, asked) = sync_channel::<Vec<i32>>(1);
        let (to_answers, answers) = channel();
        let work = move || {
            while let Ok(partitions) = asked.recv() {
                // What the client says of itself would pile up.
                while consumer.poll(Duration::ZERO).is_some() {}
                let asked_at = clock.now();
                let ends = ends_now(&consumer, &topic, &partitions);
                if to_answers.send(Answer { asked_at, answered_at: clock.now(), ends }).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("ends".to_owned()).spawn(work);
        thread.map_err(|error| KafkaError::Failed { action: "starting a thread", cause: error.to_string() })?;
        Ok(Self { questions, answers })
    }

    /// Asks where these partitions end.
    pub(crate) fn ask(&self, partitions: Vec<i32>) {
        // There is room: nobody asks again before there is an answer.
        let _ = self.questions.try_send(partitions);
    }

    /// The answer, once it is there.
    pub(crate) fn answer(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }
}

/// The ends of partitions; `None` where not every broker told.
fn ends_now(consumer: &BaseConsumer<QuietContext>, topic: &str, partitions: &[i32]) -> Option<Vec<(i32, i64)>> {
    // One request to each leader, whatever the number of its partitions: the latest offset is asked for as a time is.
    let asked = positions_of(topic, partitions.iter().map(|&partition| (partition, Offset::End)));
    let answered = match asked.and_then(|asked| consumer.offsets_for_times(asked, ANSWER_TIMEOUT)) {
        Ok(answered) => answered,
        Err(error) => {
            tracing::debug!(%error, "asking for the ends of partitions");
            return None;
        }
    };
    let end = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match element.offset() {
        Offset::Offset(end) if element.error().is_ok() => Some((element.partition(), end)),
        _ => None,
    };
    answered.elements().iter().map(end).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rdkafka::mocking::MockCluster;

    use super::*;
    use crate::kafka::client::producer::{ProduceRecord, Producer};

    #[test]
    fn the_ends_of_all_partitions_come_with_one_answer() {
        let cluster = MockCluster::new(2).unwrap();
        cluster.create_topic("topic", 3, 1).unwrap();
        let settings = KafkaSettings::at(cluster.bootstrap_servers());
        let producer = Producer::new(&settings).unwrap();
        for partition in [0, 0, 2] {
            producer.queue(ProduceRecord { partition: Some(partition), ..ProduceRecord::to("topic") }).unwrap();
        }
        producer.flush().unwrap();
        let clock = WallClock::start();
        let before = clock.now();
        let ends = LogEnds::start(&settings, "topic", clock).unwrap();
        assert_eq!(ends.answer(), None, "nobody has asked");
        ends.ask(vec![0, 1, 2]);
        let start = Instant::now();
        let answer = loop {
            match ends.answer() {
                Some(answer) => break answer,
                None => assert!(start.elapsed() < Duration::from_secs(60), "there is an answer"),
            }
            thread::sleep(Duration::from_millis(1));
        };
        assert_eq!(answer.ends, Some(vec![(0, 2), (1, 0), (2, 1)]));
        assert!(before <= answer.asked_at && answer.asked_at <= answer.answered_at);
    }
}
