//! What a running stream remembers of keys, for somebody beside it who asks. The stream answers between two records, with a copy of
//! the little that is remembered of a few keys, and waits for nobody.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use shared::history::History;

/// Questions that may wait.
const WAITING: usize = 8;

/// Questions that are answered between two records.
const AT_A_TIME: usize = 2;

/// A question: the keys of a record, as [`RecordFeatures::keys`] gives them.
///
/// [`RecordFeatures::keys`]: shared::history::RecordFeatures::keys
struct Question {
    keys: Vec<Option<String>>,
    answer: SyncSender<Option<History>>,
}

/// The end of whoever asks.
#[derive(Debug, Clone)]
pub struct Pasts(SyncSender<Question>);

/// The stream's end.
#[derive(Debug)]
pub(crate) struct PastAnswers(Receiver<Question>);

/// Both ends.
pub(crate) fn pasts() -> (Pasts, PastAnswers) {
    let (asked, questions) = sync_channel(WAITING);
    (Pasts(asked), PastAnswers(questions))
}

/// Why nothing is known of a past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswer {
    /// The stream is busy.
    Busy,
    /// There is no stream any more.
    Ended,
}

impl Pasts {
    /// A copy of what is remembered of these keys; `None` where this instance does not know them and another one may. Waits at
    /// most for `patience`: call it on a thread that may block.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub fn ask(&self, keys: Vec<Option<String>>, patience: Duration) -> Result<Option<History>, NoAnswer> {
        let (answer, answered) = sync_channel(1);
        self.0.try_send(Question { keys, answer }).map_err(|error| match error {
            TrySendError::Full(_) => NoAnswer::Busy,
            TrySendError::Disconnected(_) => NoAnswer::Ended,
        })?;
        answered.recv_timeout(patience).map_err(|error| match error {
            RecvTimeoutError::Timeout => NoAnswer::Busy,
            RecvTimeoutError::Disconnected => NoAnswer::Ended,
        })
    }
}

impl PastAnswers {
    /// Answers some of the questions that wait.
    pub(crate) fn answer(&self, past_of: impl Fn(&[Option<String>]) -> Option<History>) {
        for Question { keys, answer } in self.0.try_iter().take(AT_A_TIME) {
            // Whoever asked may have gone.
            let _ = answer.try_send(past_of(&keys));
        }
    }
}

impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Keys are data of customers.
        f.debug_struct("Question").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;
    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn a_stream_that_is_busy_or_gone_is_not_waited_for() {
        let (asked, answers) = pasts();
        for _ in 0..WAITING {
            assert_eq!(asked.ask(vec![None], NOW).unwrap_err(), NoAnswer::Busy);
        }
        // There is no room any more, so nobody waits.
        assert_eq!(asked.ask(vec![None], PATIENCE).unwrap_err(), NoAnswer::Busy);
        // Nobody awaits these answers.
        answers.answer(|_| None);
        drop(answers);
        assert_eq!(asked.ask(vec![None], PATIENCE).unwrap_err(), NoAnswer::Ended);
    }

    #[test]
    fn an_answer_is_of_the_keys_that_were_asked_for() {
        let (asked, answers) = pasts();
        let keys = vec![Some("ann".to_owned()), None];
        let wanted = keys.clone();
        let asking = std::thread::spawn(move || asked.ask(wanted, PATIENCE));
        let seen = std::cell::RefCell::new(Vec::new());
        while seen.borrow().is_empty() {
            answers.answer(|keys| {
                seen.borrow_mut().extend_from_slice(keys);
                None
            });
            std::thread::yield_now();
        }
        assert_eq!(asking.join().unwrap(), Ok(None));
        assert_eq!(seen.into_inner(), keys);
    }
}
