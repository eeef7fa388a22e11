//! Reading partitions to their ends, in no group: this is how state is restored, and how topics are looked at.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::topic_partition_list::Offset;

use super::error::KafkaError;
use super::offsets::positions_of;
use super::settings::QuietContext;

/// The longest wait for a record: how soon a request to stop is seen.
const POLL_TIMEOUT: Duration = Duration::from_millis(100);

/// A partition that is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub partition: i32,
    /// The first offset to read.
    pub from: Offset,
    /// Whether the partition is done where it ends now, or only when a record says so.
    pub ends_at_end: bool,
}

/// What a record says about reading on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// There is more.
    ReadOn,
    /// Its partition is done.
    PartitionDone,
    /// Nothing more is wanted.
    Stop,
}

/// How reading ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Every partition is done.
    AtEnd,
    /// A record, or a request to stop, ended it.
    Stopped,
    /// Nothing came for too long.
    Silent(Silence),
}

/// That nothing came for too long.
#[derive(Debug)]
pub(crate) struct Silence {
    /// One of the partitions that are not done.
    pub partition: i32,
    /// Whether its end was seen, and no record came after it.
    pub is_at_end: bool,
    /// The last error of the client, if there was any.
    pub error: Option<ClientError>,
}

/// A partition that is not done.
#[derive(Debug, Clone, Copy)]
struct Unread {
    ends_at_end: bool,
    is_at_end: bool,
}

impl Unread {
    fn new(part: &Part) -> Self {
        Self { ends_at_end: part.ends_at_end, is_at_end: false }
    }
}

/// Reads `parts` of `topic`, which no other assignment of `consumer` outlives, and hands each record to `take`.
pub(crate) struct ReadToEnd<'a> {
    pub consumer: &'a BaseConsumer<QuietContext>,
    pub topic: &'a str,
    /// What for: in errors and logs.
    pub doing: &'static str,
    /// How long nothing may come.
    pub silence: Duration,
}

impl ReadToEnd<'_> {
    /// Reads until every part is done, `take` or `is_stopped` says stop, or nothing comes for too long.
    ///
    /// # Errors
    /// Those of `take`; [`KafkaError::MissingTopic`]; when librdkafka refuses the assignment. Other errors of the client
    /// pass: it goes on by itself.
    pub(crate) fn read(
        &self,
        parts: &[Part],
        is_stopped: impl Fn() -> bool,
        mut take: impl FnMut(&BorrowedMessage<'_>) -> Result<Next, KafkaError>,
    ) -> Result<Ended, KafkaError> {
        // The client aborts the process where partitions that have just been assigned are given up again at once.
        if is_stopped() {
            return Ok(Ended::Stopped);
        }
        positions_of(self.topic, parts.iter().map(|part| (part.partition, part.from)))
            .and_then(|assignment| self.consumer.assign(&assignment))
            .map_err(KafkaError::failed(self.doing))?;
        let mut unread: BTreeMap<i32, Unread> = parts.iter().map(|part| (part.partition, Unread::new(part))).collect();
        let (mut last_record, mut last_error) = (Instant::now(), None);
        while let Some((&partition, &Unread { is_at_end, .. })) = unread.first_key_value() {
            if is_stopped() {
                return Ok(Ended::Stopped);
            }
            match self.consumer.poll(POLL_TIMEOUT) {
                Some(Ok(message)) => {
                    last_record = Instant::now();
                    let Some(part) = unread.get_mut(&message.partition()) else { continue };
                    part.is_at_end = false;
                    match take(&message)? {
                        Next::ReadOn => {}
                        Next::PartitionDone => {
                            unread.remove(&message.partition());
                        }
                        Next::Stop => return Ok(Ended::Stopped),
                    }
                    continue;
                }
                Some(Err(ClientError::PartitionEOF(partition))) => {
                    unread.retain(|unread, part| *unread != partition || !part.ends_at_end);
                    if let Some(part) = unread.get_mut(&partition) {
                        part.is_at_end = true;
                    }
                    continue;
                }
                Some(Err(ClientError::MessageConsumption(RDKafkaErrorCode::UnknownTopicOrPartition))) => {
                    return Err(KafkaError::MissingTopic(self.topic.to_owned()));
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "{}", self.doing);
                    last_error = Some(error);
                }
                None => {}
            }
            if last_record.elapsed() >= self.silence {
                return Ok(Ended::Silent(Silence { partition, is_at_end, error: last_error }));
            }
        }
        Ok(Ended::AtEnd)
    }

    /// As [`read`](Self::read), where silence is an error.
    ///
    /// # Errors
    /// As there, and when nothing comes for too long.
    pub(crate) fn read_all(
        &self,
        parts: &[Part],
        take: impl FnMut(&BorrowedMessage<'_>) -> Result<Next, KafkaError>,
    ) -> Result<(), KafkaError> {
        match self.read(parts, || false, take)? {
            Ended::AtEnd | Ended::Stopped => Ok(()),
            Ended::Silent(Silence { partition, error, .. }) => {
                Err(KafkaError::no_answer(self.topic, partition, self.silence, error.as_ref()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;

    use super::*;
    use crate::kafka::client::producer::{ProduceRecord, Producer};
    use crate::kafka::client::settings::KafkaSettings;

    const TOPIC: &str = "topic";

    /// Longer than any test.
    const MINUTE: Duration = Duration::from_secs(60);

    /// A topic of two partitions, with three records in the first and one in the second, as `test` reads it.
    fn with_topic(silence: Duration, test: impl FnOnce(&ReadToEnd<'_>)) {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, 2, 1).unwrap();
        let settings = KafkaSettings::at(cluster.bootstrap_servers());
        let producer = Producer::new(&settings).unwrap();
        for partition in [0, 0, 0, 1] {
            producer.queue(ProduceRecord { partition: Some(partition), ..ProduceRecord::to(TOPIC) }).unwrap();
        }
        producer.flush().unwrap();
        let consumer = settings.reader("test").unwrap();
        test(&ReadToEnd { consumer: &consumer, topic: TOPIC, doing: "testing", silence });
    }

    fn parts(ends_at_end: bool) -> [Part; 2] {
        [0, 1].map(|partition| Part { partition, from: Offset::Beginning, ends_at_end })
    }

    #[test]
    fn everything_is_read_to_the_end() {
        with_topic(MINUTE, |reader| {
            let mut seen = Vec::new();
            let ended = reader.read(
                &parts(true),
                || false,
                |message| {
                    seen.push((message.partition(), message.offset()));
                    Ok(Next::ReadOn)
                },
            );
            assert!(matches!(ended, Ok(Ended::AtEnd)), "{ended:?}");
            seen.sort_unstable();
            assert_eq!(seen, [(0, 0), (0, 1), (0, 2), (1, 0)]);
        });
    }

    #[test]
    fn a_partition_is_done_when_a_record_says_so() {
        with_topic(MINUTE, |reader| {
            let mut seen = Vec::new();
            let ended = reader.read(
                &parts(false),
                || false,
                |message| {
                    seen.push((message.partition(), message.offset()));
                    let is_last = message.partition() == 1 || message.offset() == 1;
                    Ok(if is_last { Next::PartitionDone } else { Next::ReadOn })
                },
            );
            assert!(matches!(ended, Ok(Ended::AtEnd)), "{ended:?}");
            seen.sort_unstable();
            assert_eq!(seen, [(0, 0), (0, 1), (1, 0)]);
        });
    }

    #[test]
    fn silence_names_a_partition_that_is_not_done() {
        with_topic(Duration::from_secs(2), |reader| {
            let nothing_comes = [Part { partition: 1, from: Offset::End, ends_at_end: false }];
            let ended = reader.read(&nothing_comes, || false, |_| panic!("nothing comes"));
            let is_at_end = |ended: &_| matches!(ended, Ended::Silent(Silence { partition: 1, is_at_end: true, .. }));
            assert!(ended.as_ref().is_ok_and(is_at_end), "{ended:?}");
            let failed = reader.read_all(&nothing_comes, |_| panic!("nothing comes")).unwrap_err();
            assert!(matches!(&failed, KafkaError::NoAnswer { partition: 1, .. }), "{failed}");
        });
    }

    #[test]
    fn a_partition_whose_leader_is_away_is_not_at_its_end() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, 1, 1).unwrap();
        let settings = KafkaSettings::at(cluster.bootstrap_servers());
        let consumer = settings.reader("test").unwrap();
        consumer.fetch_metadata(Some(TOPIC), MINUTE).unwrap();
        cluster.broker_down(1).unwrap();
        let silence = Duration::from_millis(300);
        let reader = ReadToEnd { consumer: &consumer, topic: TOPIC, doing: "testing", silence };
        let ended = reader.read(&parts(false)[..1], || false, |_| panic!("nothing comes")).unwrap();
        assert!(matches!(ended, Ended::Silent(Silence { partition: 0, is_at_end: false, .. })), "{ended:?}");
    }

    #[test]
    fn a_record_or_a_request_can_stop_it() {
        with_topic(MINUTE, |reader| {
            let mut count = 0;
            let ended = reader.read(
                &parts(true),
                || false,
                |_| {
                    count += 1;
                    Ok(Next::Stop)
                },
            );
            assert!(matches!(ended, Ok(Ended::Stopped)) && count == 1, "{ended:?}, {count} records");
            let ended = reader.read(&parts(true), || true, |_| panic!("nothing is read"));
            assert!(matches!(ended, Ok(Ended::Stopped)), "{ended:?}");
        });
    }
}
