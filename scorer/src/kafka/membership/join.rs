//! Joining a group, and why its client can do nothing any more.
//!
//! A member of the classic protocol is taken in while it is polled, and fences an earlier member of its name. Where the
//! broker hands out partitions (KIP-848), it is the other way round: a name is its first member's until that one has left
//! (librdkafka says so when it is closed) or its session is over, and whoever asks for it meanwhile is refused with
//! `UNRELEASED_INSTANCE_ID`. To librdkafka that is the end of the client, so another one asks, until there is an answer.
//! An instance that was killed waits like this for its own predecessor. Nothing of the instance works before: a
//! transactional producer of the same name would fence that of a member that lives.
//!
//! A broker that knows the protocol and is not to use it says so (`UNSUPPORTED_VERSION`). To one that does not know it,
//! librdkafka sends nothing and says nothing (`rd_kafka_ConsumerGroupHeartbeatRequest` only gives the coordinator up): that
//! shows in that the group's coordinator answers other questions, and not this one.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode;

use crate::kafka::client::consumer::{GroupConsumer, is_member, subscribed};
use crate::kafka::client::error::{KafkaError, is_denial};
use crate::kafka::client::group_members::members_of;
use crate::kafka::client::group_protocol::GroupProtocol;
use crate::kafka::client::settings::KafkaSettings;
use crate::kafka::topics::input::InputTopic;

const DOING: &str = "joining the group";

/// How often to look whether there is an answer.
const LOOK: Duration = Duration::from_millis(50);

/// How long a broker is left alone that says that a name is taken.
const PAUSE: Duration = Duration::from_millis(500);

/// After how much silence the coordinator is asked something else, and how long it may take to answer that.
const SILENCE: Duration = Duration::from_secs(10);

/// Joins the topic's group. Where the broker hands out partitions, it has taken the member in then. Blocks.
///
/// # Errors
/// When librdkafka refuses a setting or the subscription, or the broker the member.
pub(crate) fn join(
    settings: &KafkaSettings,
    topic: &InputTopic,
    instance_id: Option<&str>,
) -> Result<GroupConsumer, KafkaError> {
    let subscribe = || subscribed(settings, (&topic.name, &topic.group), instance_id);
    if settings.group_protocol == GroupProtocol::Classic {
        return subscribe();
    }
    let (start, mut has_waited) = (Instant::now(), false);
    loop {
        let consumer = subscribe()?;
        match taken_in(&consumer, &topic.group, instance_id) {
            Ok(()) => {
                if has_waited {
                    tracing::info!(
                        group = topic.group,
                        waited_s = start.elapsed().as_secs(),
                        "the name is free by now"
                    );
                }
                return Ok(consumer);
            }
            Err(KafkaError::NameTaken { group, name }) => {
                if !std::mem::replace(&mut has_waited, true) {
                    let until = "it leaves, or the broker's `group.consumer.session.timeout.ms` has passed without it";
                    tracing::warn!(group, name, until, "waiting: another member of the group has this name");
                }
                consumer.context().close();
                drop(consumer);
                std::thread::sleep(PAUSE);
            }
            Err(error) => {
                consumer.context().close();
                return Err(error);
            }
        }
    }
}

/// Waits until the broker has taken a member in; an error when it does not.
fn taken_in(consumer: &GroupConsumer, group: &str, instance_id: Option<&str>) -> Result<(), KafkaError> {
    let mut silence = Silence::default();
    let mut since = Instant::now();
    loop {
        let polled = consumer.poll(LOOK);
        if let Some(fatal) = fatal_error(consumer, group, instance_id, DOING) {
            return Err(fatal);
        }
        if is_member(consumer) {
            return Ok(());
        }
        if let Some(Err(error)) = polled {
            // A right that is missing does not come by itself.
            if error.rdkafka_error_code().is_some_and(is_denial) {
                return Err(KafkaError::of(DOING, &error));
            }
            tracing::debug!(%error, "joining the group");
        }
        if since.elapsed() >= SILENCE {
            if silence.speaks_for_itself(members_of(consumer.client(), group, SILENCE).is_ok()) {
                let cause = "they answer nothing to it".to_owned();
                return Err(KafkaError::NoGroupProtocol { group: group.to_owned(), cause });
            }
            since = Instant::now();
        }
    }
}

/// Why the client of a member can do nothing any more, if so; `doing` is for what is not known better.
pub(crate) fn fatal_error(
    consumer: &GroupConsumer,
    group: &str,
    instance_id: Option<&str>,
    doing: &'static str,
) -> Option<KafkaError> {
    let (code, cause) = consumer.client().fatal_error()?;
    let (group, name) = (group.to_owned(), instance_id.unwrap_or_default().to_owned());
    Some(match code {
        // Another instance has taken our name.
        RDKafkaErrorCode::FencedInstanceId => KafkaError::Fenced { group, name },
        RDKafkaErrorCode::UnreleasedInstanceId => KafkaError::NameTaken { group, name },
        RDKafkaErrorCode::UnsupportedVersion | RDKafkaErrorCode::UnsupportedFeature => {
            KafkaError::NoGroupProtocol { group, cause }
        }
        code if is_denial(code) => KafkaError::Refused { action: doing, cause },
        _ => KafkaError::Failed { action: doing, cause },
    })
}

/// The silence of a coordinator: whether it says that it does not know what it is asked.
#[derive(Debug, Default)]
struct Silence {
    /// Whether it answered something else, the last time that it was asked.
    has_answered: bool,
}

impl Silence {
    /// Notes whether it answers something else now. It was away and is back if it does so for the first time.
    fn speaks_for_itself(&mut self, answers: bool) -> bool {
        std::mem::replace(&mut self.has_answered, answers) && answers
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::bindings as native;
    use rdkafka::config::ClientConfig;
    use rdkafka::producer::{BaseProducer, Producer as _};
    use rdkafka::types::RDKafkaRespErr;

    use super::*;
    use crate::kafka::client::error::ErrorKind;

    const TOPIC: &str = "topic";

    /// The wrapper has no name for this request yet.
    const CONSUMER_GROUP_HEARTBEAT: i16 = 68;

    /// What comes of joining a group on a simulated cluster that answers the first heartbeats with these errors.
    fn joining(errors: &[RDKafkaRespErr]) -> Result<(), KafkaError> {
        let owner: BaseProducer = ClientConfig::new().set("test.mock.num.brokers", "1").create().unwrap();
        let cluster = owner.client().mock_cluster().unwrap();
        cluster.create_topic(TOPIC, 2, 1).unwrap();
        // SAFETY: the cluster lives as long as its owner, and the library copies the errors.
        unsafe {
            let cluster = native::rd_kafka_handle_mock_cluster(owner.client().native_ptr());
            native::rd_kafka_mock_push_request_errors_array(
                cluster,
                CONSUMER_GROUP_HEARTBEAT,
                errors.len(),
                errors.as_ptr(),
            );
        }
        let settings = KafkaSettings::at(cluster.bootstrap_servers());
        let settings = settings.with_group_protocol(GroupProtocol::Consumer).unwrap();
        let topic = InputTopic::without_id(TOPIC, "group", "pipeline");
        // It leaves before the cluster is gone.
        join(&settings, &topic, Some("i0")).map(|member| {
            assert!(is_member(&member));
            member.context().close();
        })
    }

    #[test]
    fn a_member_is_one_when_the_broker_has_taken_it_in() {
        assert!(joining(&[]).is_ok());
    }

    #[test]
    fn a_name_that_is_another_members_is_waited_for() {
        let taken = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNRELEASED_INSTANCE_ID;
        assert!(joining(&[taken, taken]).is_ok());
    }

    #[test]
    fn brokers_without_the_protocol_are_refused() {
        let refused = |code| joining(&[code]).unwrap_err();
        let error = refused(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION);
        assert!(matches!(&error, KafkaError::NoGroupProtocol { group, .. } if group == "group"), "{error}");
        assert_eq!(error.kind(), ErrorKind::Configuration);
        let error = refused(RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED);
        assert!(matches!(error, KafkaError::Refused { .. }), "{error}");
    }

    #[test]
    fn a_coordinator_that_was_away_is_given_time() {
        let mut silence = Silence::default();
        for answers in [false, true, false, true] {
            assert!(!silence.speaks_for_itself(answers), "it comes and goes");
        }
        assert!(silence.speaks_for_itself(true));
    }
}
