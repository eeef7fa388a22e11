//! Whether the topic that is read is still the one that it was when the stream began.
//!
//! A topic that is deleted and made anew has its name and its offsets again, and other records. librdkafka goes on reading
//! at the old offset. Brokers know the two apart by their ids (KIP-516). An id that is still the same after records were read
//! says that they are of the topic of before, so a batch is committed only after such an answer.

use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::consumer::Consumer as _;
use rdkafka::types::RDKafkaErrorCode;

use crate::kafka::client::error::KafkaError;
use crate::kafka::client::offsets::partitions_of;
use crate::kafka::client::settings::{KafkaSettings, QuietContext, create_consumer};
use crate::kafka::client::topic_id::{TopicAnswer, TopicQuestion};
use crate::kafka::wire::offset_metadata::OffsetOwner;

/// How long an answer is waited for before the question is asked again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);

/// How long brokers are asked: they come and go, and one that has just started may not know every topic.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long brokers are left alone before they are asked again.
const PAUSE: Duration = Duration::from_millis(50);

/// How often a stream that has nothing to commit looks whether its topic is still there.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);

/// A topic that a group reads for a pipeline, as it was when the stream began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InputTopic {
    pub name: String,
    /// Its id; `None` where the brokers know no ids.
    pub id: Option<String>,
    pub group: String,
    pub pipeline: String,
}

impl InputTopic {
    /// Looks a topic up. Blocks.
    ///
    /// # Errors
    /// When no broker answers, or there is no such topic.
    pub(crate) fn look_up(
        settings: &KafkaSettings,
        name: &str,
        group: &str,
        pipeline: &str,
    ) -> Result<Self, KafkaError> {
        let consumer = create_consumer(&settings.client(&[]), QuietContext)?;
        let start = Instant::now();
        loop {
            let question = TopicQuestion::ask(consumer.client(), name);
            let id = match question.and_then(|question| question.answer(ANSWER_TIMEOUT)) {
                Some(TopicAnswer::Id(id)) => id,
                // A broker that cannot say knows no ids, or keeps them to itself.
                Some(TopicAnswer::Failed(code)) if !is_passing(code) => {
                    tracing::warn!(topic = name, %code, "the broker does not tell the id of the topic");
                    None
                }
                _ if start.elapsed() < PATIENCE => {
                    std::thread::sleep(PAUSE);
                    continue;
                }
                Some(TopicAnswer::Missing) => return Err(KafkaError::MissingTopic(name.to_owned())),
                Some(TopicAnswer::Failed(code)) => {
                    return Err(KafkaError::Failed { action: "asking for the id of a topic", cause: code.to_string() });
                }
                None => return Err(KafkaError::Unreachable { brokers: settings.brokers.clone() }),
            };
            let [name, group, pipeline] = [name, group, pipeline].map(str::to_owned);
            return Ok(Self { name, id, group, pipeline });
        }
    }

    /// A topic whose id nobody knows.
    pub(crate) fn without_id(name: &str, group: &str, pipeline: &str) -> Self {
        let [name, group, pipeline] = [name, group, pipeline].map(str::to_owned);
        Self { name, id: None, group, pipeline }
    }

    /// What stands beside its committed offsets.
    pub(crate) fn owner(&self) -> OffsetOwner {
        OffsetOwner { pipeline: Some(self.pipeline.clone()), topic_id: self.id.clone() }
    }

    /// Refuses an offset that another pipeline has committed, or that is of an earlier topic of this name.
    ///
    /// # Errors
    /// Whose it is.
    pub(crate) fn refuse_foreign(&self, metadata: &str) -> Result<(), KafkaError> {
        self.refuse_other_pipeline(metadata)?;
        let found = OffsetOwner::decode(metadata).topic_id;
        if found.is_some() && self.id.is_some() && found != self.id {
            return Err(self.recreated());
        }
        Ok(())
    }

    fn refuse_other_pipeline(&self, metadata: &str) -> Result<(), KafkaError> {
        match OffsetOwner::decode(metadata).pipeline {
            Some(theirs) if theirs != self.pipeline => Err(KafkaError::OtherPipeline {
                group: self.group.clone(),
                topic: self.name.clone(),
                theirs,
                ours: self.pipeline.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Refuses a group that another pipeline uses, before anything is done in it. Blocks.
    ///
    /// # Errors
    /// [`KafkaError::OtherPipeline`]. What a broker does not tell now, it is asked again with the assignment.
    pub(crate) fn refuse_group_of_other_pipeline(
        &self,
        settings: &KafkaSettings,
        partitions: i32,
    ) -> Result<(), KafkaError> {
        // A transaction that is open is not waited for: it would not change whose the offsets are.
        let config = settings.client(&[("group.id", &self.group), ("isolation.level", "read_uncommitted")]);
        let consumer = create_consumer(&config, QuietContext)?;
        let all: Vec<i32> = (0..partitions).collect();
        match consumer.committed_offsets(partitions_of(&self.name, &all), ANSWER_TIMEOUT) {
            Ok(committed) => {
                committed.elements().iter().try_for_each(|element| self.refuse_other_pipeline(element.metadata()))
            }
            Err(error) => {
                tracing::debug!(%error, "looking at the offsets of the group");
                Ok(())
            }
        }
    }

    /// Asks whether the topic is still the same; `None` where nobody can tell.
    pub(crate) fn ask<'a, C: ClientContext>(&self, client: &'a Client<C>) -> Option<TopicQuestion<'a>> {
        self.id.as_ref()?;
        TopicQuestion::ask(client, &self.name)
    }

    /// Waits until a broker says that the topic is still the same; begins with the answer to `question`. Blocks.
    ///
    /// # Errors
    /// When it is another one or none, or no broker answers.
    pub(crate) fn confirm<'a, C: ClientContext>(
        &self,
        client: &'a Client<C>,
        mut question: Option<TopicQuestion<'a>>,
    ) -> Result<(), KafkaError> {
        if self.id.is_none() {
            return Ok(());
        }
        let start = Instant::now();
        loop {
            let asked = question.take().or_else(|| self.ask(client));
            let answer = asked.and_then(|question| question.answer(ANSWER_TIMEOUT));
            if let Some(answer) = &answer
                && self.judge(answer)?
            {
                return Ok(());
            }
            if start.elapsed() >= PATIENCE {
                return Err(match answer {
                    Some(TopicAnswer::Missing) => self.gone(),
                    Some(TopicAnswer::Failed(code)) => {
                        KafkaError::Failed { action: "asking for the id of a topic", cause: code.to_string() }
                    }
                    _ => {
                        KafkaError::Failed { action: "asking for the id of a topic", cause: "no broker answers".into() }
                    }
                });
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// As [`confirm`](Self::confirm), where brokers that do not answer are left to whoever needs them next. Blocks.
    ///
    /// # Errors
    /// When the topic is another one or none.
    pub(crate) fn refuse_recreated<C: ClientContext>(&self, client: &Client<C>) -> Result<(), KafkaError> {
        match self.confirm(client, None) {
            Err(KafkaError::Failed { cause, .. }) => {
                tracing::debug!(cause, topic = self.name, "nobody tells the id of the topic");
                Ok(())
            }
            answered => answered,
        }
    }

    /// Whether an answer says that the topic is still the same; `false` where it leaves that open.
    ///
    /// # Errors
    /// When it is another one.
    fn judge(&self, answer: &TopicAnswer) -> Result<bool, KafkaError> {
        match (answer, &self.id) {
            (TopicAnswer::Id(Some(found)), Some(id)) if found != id => Err(self.recreated()),
            (TopicAnswer::Id(_), _) => Ok(true),
            (TopicAnswer::Missing | TopicAnswer::Failed(_), _) => Ok(false),
        }
    }

    /// The topic was made anew.
    pub(crate) fn recreated(&self) -> KafkaError {
        KafkaError::TopicRecreated { topic: self.name.clone(), group: self.group.clone() }
    }

    /// The topic was deleted.
    pub(crate) fn gone(&self) -> KafkaError {
        KafkaError::TopicGone { topic: self.name.clone(), group: self.group.clone() }
    }
}

/// Whether a failure may be over when the question is asked again.
fn is_passing(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{
        AllBrokersDown, BrokerNotAvailable, BrokerTransportFailure, LeaderNotAvailable, NetworkException,
        NotController, OperationTimedOut, RequestTimedOut, Resolve,
    };
    matches!(
        code,
        AllBrokersDown
            | BrokerNotAvailable
            | BrokerTransportFailure
            | LeaderNotAvailable
            | NetworkException
            | NotController
            | OperationTimedOut
            | RequestTimedOut
            | Resolve
    )
}

/// Looks again and again whether a topic is still the same, without ever waiting for an answer.
#[derive(Debug)]
pub(crate) struct TopicWatch<'a> {
    question: Option<TopicQuestion<'a>>,
    next: Instant,
    /// Whether the last answer was that there is no such topic.
    was_missing: bool,
}

impl<'a> TopicWatch<'a> {
    /// Looks for the first time after a while.
    pub(crate) fn new() -> Self {
        Self { question: None, next: Instant::now() + WATCH_INTERVAL, was_missing: false }
    }

    /// Takes the answer, if it is there, and asks when it is time to.
    ///
    /// # Errors
    /// When the topic is another one, or there is none twice in a row.
    pub(crate) fn look<C: ClientContext>(
        &mut self,
        topic: &InputTopic,
        client: &'a Client<C>,
    ) -> Result<(), KafkaError> {
        if let Some(question) = &self.question {
            let Some(answer) = question.answer(Duration::ZERO) else { return Ok(()) };
            self.question = None;
            self.next = Instant::now() + WATCH_INTERVAL;
            return self.take(topic, &answer);
        }
        if Instant::now() >= self.next {
            self.question = topic.ask(client);
            self.next = Instant::now() + WATCH_INTERVAL;
        }
        Ok(())
    }

    fn take(&mut self, topic: &InputTopic, answer: &TopicAnswer) -> Result<(), KafkaError> {
        topic.judge(answer)?;
        let is_missing = *answer == TopicAnswer::Missing;
        if is_missing && self.was_missing {
            return Err(topic.gone());
        }
        self.was_missing = is_missing;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(id: Option<&str>) -> InputTopic {
        let [name, group, pipeline] = ["in", "g", "invoices"].map(str::to_owned);
        InputTopic { name, id: id.map(str::to_owned), group, pipeline }
    }

    fn id(id: Option<&str>) -> TopicAnswer {
        TopicAnswer::Id(id.map(str::to_owned))
    }

    #[test]
    fn another_id_is_another_topic() {
        let topic = topic(Some("a"));
        assert!(topic.judge(&id(Some("a"))).unwrap());
        assert!(!topic.judge(&TopicAnswer::Missing).unwrap(), "it may be about to come");
        assert!(matches!(topic.judge(&id(Some("b"))), Err(KafkaError::TopicRecreated { .. })));
    }

    #[test]
    fn an_offset_is_refused_where_it_is_not_ours() {
        let ours = topic(Some("a"));
        ours.refuse_foreign(&ours.owner().encode()).unwrap();
        ours.refuse_foreign("").unwrap();
        ours.refuse_foreign(r#"{"v":2,"birth":1700000000000,"sequence":42}"#).unwrap();
        ours.refuse_foreign(&topic(None).owner().encode()).unwrap();
        let anew = ours.refuse_foreign(&topic(Some("b")).owner().encode());
        assert!(matches!(anew, Err(KafkaError::TopicRecreated { .. })), "{anew:?}");
        let other = InputTopic { pipeline: "invoices-spark".to_owned(), ..ours.clone() };
        insta::assert_snapshot!(
            ours.refuse_foreign(&other.owner().encode()).unwrap_err(),
            @"group `g` reads `in` for pipeline `invoices-spark`, and this is pipeline `invoices`: a group has one place in a topic, so give this pipeline a group of its own with --group"
        );
    }

    #[test]
    fn a_broker_that_knows_no_ids_is_believed() {
        assert!(topic(Some("a")).judge(&id(None)).unwrap());
        assert!(topic(None).judge(&id(Some("b"))).unwrap());
    }

    #[test]
    fn a_topic_is_gone_when_it_is_missing_twice_in_a_row() {
        let (topic, mut watch) = (topic(Some("a")), TopicWatch::new());
        for answer in [TopicAnswer::Missing, id(Some("a")), TopicAnswer::Missing] {
            watch.take(&topic, &answer).unwrap();
        }
        assert!(matches!(watch.take(&topic, &TopicAnswer::Missing), Err(KafkaError::TopicGone { .. })));
    }
}
