//! What proves that nothing was left to read at a moment.
//!
//! That a consumer finds nothing proves nothing: it may have stood still, or the broker, or the network between them. The
//! brokers are asked where the partitions end. If everything before these ends has been read, then nothing was left at the
//! moment when the question was sent.
//!
//! That holds for what was in the log. A record may have been on its way: in front of a broker that stood still, it enters
//! the log shortly after the broker goes on, and the answer may come in between. So a question counts only once the next
//! one, sent a while after its answer, has found nothing more. When brokers were away for long, their producers have to
//! find them again: they double their waits, so that takes at most about as long again.

use crate::core::WallMillis;
use crate::kafka::client::log_ends::Answer;

/// The time from an answer to the next question: longer than a record lies before a broker that has just gone on.
const INTERVAL: WallMillis = 100;

/// How often to ask while nothing is due, so that an outage is noticed.
const HEARTBEAT: WallMillis = 1_000;

/// An answer that took this long tells of an outage.
const OUTAGE: WallMillis = 1_000;

/// The longest wait of a client that lost its broker: `reconnect.backoff.max.ms` of librdkafka, the longest of the common
/// clients.
const LONGEST_BACKOFF: WallMillis = 10_000;

/// When to ask where partitions end, and what the answers prove.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// Whether a question has no answer yet.
    is_asked: bool,
    /// When the last answer came.
    answered_at: Option<WallMillis>,
    /// When the last question was sent that got an answer.
    asked_at: Option<WallMillis>,
    /// Since when the brokers have not answered.
    outage_since: Option<WallMillis>,
    /// Questions from before this moment prove nothing: producers were still looking for their brokers.
    recovered_at: WallMillis,
}

impl Evidence {
    /// Whether to ask now, if something is due at `due`.
    pub(crate) fn is_wanted(&self, now: WallMillis, due: WallMillis) -> bool {
        let Some(answered_at) = self.answered_at else { return !self.is_asked };
        let waited = now.saturating_sub(answered_at);
        !self.is_asked && waited >= INTERVAL && (now >= due || waited >= HEARTBEAT)
    }

    /// Notes a question.
    pub(crate) fn on_question(&mut self) {
        self.is_asked = true;
    }

    /// The moment at which nothing was left in a partition that has been read to its end of this answer.
    pub(crate) fn on_answer(&mut self, answer: &Answer) -> Option<WallMillis> {
        self.is_asked = false;
        self.answered_at = Some(answer.answered_at);
        if answer.ends.is_none() {
            self.outage_since.get_or_insert(answer.asked_at);
            self.asked_at = None;
            return None;
        }
        let took = answer.answered_at.saturating_sub(answer.asked_at);
        let began = self.outage_since.take().or((took >= OUTAGE).then_some(answer.asked_at));
        if let Some(began) = began {
            let outage = answer.answered_at.saturating_sub(began).min(LONGEST_BACKOFF);
            self.recovered_at = answer.answered_at.saturating_add(outage);
        }
        let before = self.asked_at.replace(answer.asked_at);
        before.filter(|asked_at| *asked_at >= self.recovered_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(asked_at: WallMillis, answered_at: WallMillis) -> Answer {
        Answer { asked_at, answered_at, ends: Some(Vec::new()) }
    }

    #[test]
    fn a_question_counts_once_the_next_one_is_answered() {
        let mut evidence = Evidence::default();
        assert!(evidence.is_wanted(0, 5_000), "to notice an outage");
        evidence.on_question();
        assert!(!evidence.is_wanted(5_000, 5_000), "there is no answer yet");
        assert_eq!(evidence.on_answer(&answer(0, 10)), None);
        assert!(!evidence.is_wanted(1_009, 5_000) && evidence.is_wanted(1_010, 5_000));
        assert!(!evidence.is_wanted(109, 50) && evidence.is_wanted(110, 50), "something is due");
        evidence.on_question();
        assert_eq!(evidence.on_answer(&answer(110, 120)), Some(0));
        assert_eq!(evidence.on_answer(&answer(220, 900)), Some(110), "a slow answer is an answer");
    }

    #[test]
    fn after_an_outage_producers_get_as_long_again_to_come_back() {
        let mut evidence = Evidence::default();
        assert_eq!(evidence.on_answer(&answer(0, 10)), None);
        assert_eq!(evidence.on_answer(&Answer { ends: None, ..answer(1_000, 3_000) }), None);
        assert_eq!(evidence.on_answer(&Answer { ends: None, ..answer(3_100, 4_000) }), None);
        assert_eq!(evidence.on_answer(&answer(4_100, 5_000)), None, "they were away for 4 s");
        assert_eq!(evidence.on_answer(&answer(5_100, 5_110)), None);
        assert_eq!(evidence.on_answer(&answer(8_900, 8_910)), None);
        assert_eq!(evidence.on_answer(&answer(9_000, 9_010)), None, "the question before was too early");
        assert_eq!(evidence.on_answer(&answer(9_110, 9_120)), Some(9_000));
        // Nobody waits for longer than a client does.
        assert_eq!(evidence.on_answer(&answer(10_000, 100_000)), None);
        assert_eq!(evidence.on_answer(&answer(110_000, 110_010)), None);
        assert_eq!(evidence.on_answer(&answer(110_110, 110_120)), Some(110_000));
    }
}
