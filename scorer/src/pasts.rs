//! What a running stream remembers of keys, for somebody beside it who asks. The stream answers between two records, with a copy of
//! the little that is remembered of a few keys, and waits for nobody. Where it has several threads, each knows the keys of its own
//! partitions, and all are asked.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use shared::history::History;

use crate::core::Remembered;

/// Questions that may wait.
const WAITING: usize = 8;

/// Questions that are answered between two records.
const AT_A_TIME: usize = 2;

/// A question: the keys of a record, as [`RecordFeatures::keys`] gives them.
///
/// [`RecordFeatures::keys`]: shared::history::RecordFeatures::keys
struct Question {
    keys: Vec<Option<String>>,
    answer: SyncSender<Remembered>,
}

/// The end of whoever asks.
#[derive(Debug, Clone)]
pub struct Pasts {
    /// Those of the stream's threads.
    threads: Arc<[SyncSender<Question>]>,
    /// How many partitions there are, whoever has them.
    partitions: usize,
}

/// The end of a stream thread.
#[derive(Debug)]
pub(crate) struct PastAnswers(Receiver<Question>);

/// Both ends, for a stream with so many threads whose topic has so many partitions.
pub(crate) fn pasts(threads: usize, partitions: usize) -> (Pasts, Vec<PastAnswers>) {
    let (asked, answers): (Vec<_>, Vec<_>) = (0..threads).map(|_| sync_channel(WAITING)).unzip();
    (Pasts { threads: asked.into(), partitions }, answers.into_iter().map(PastAnswers).collect())
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
        let asked_at = Instant::now();
        let ask = |thread: &SyncSender<Question>| {
            let (answer, answered) = sync_channel(1);
            thread.try_send(Question { keys: keys.clone(), answer }).map_err(|error| match error {
                TrySendError::Full(_) => NoAnswer::Busy,
                TrySendError::Disconnected(_) => NoAnswer::Ended,
            })?;
            Ok(answered)
        };
        let answers: Vec<Receiver<Remembered>> = self.threads.iter().map(ask).collect::<Result<_, NoAnswer>>()?;
        let (mut unknown, mut without) = (None, 0);
        for answered in answers {
            let answer = answered.recv_timeout(patience.saturating_sub(asked_at.elapsed()));
            let answer = answer.map_err(|error| match error {
                RecvTimeoutError::Timeout => NoAnswer::Busy,
                RecvTimeoutError::Disconnected => NoAnswer::Ended,
            })?;
            match answer {
                Remembered::Known(past) => return Ok(Some(past)),
                Remembered::Unknown { past, partitions } => {
                    unknown = unknown.or(past);
                    without += partitions;
                }
            }
        }
        Ok(unknown.filter(|_| without >= self.partitions))
    }
}

impl PastAnswers {
    /// Answers some of the questions that wait.
    pub(crate) fn answer(&self, remembered_of: impl Fn(&[Option<String>]) -> Remembered) {
        for Question { keys, answer } in self.0.try_iter().take(AT_A_TIME) {
            // Whoever asked may have gone.
            let _ = answer.try_send(remembered_of(&keys));
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
    use std::cell::RefCell;

    use shared::pipeline::{Pipeline, Scored};

    use super::*;

    const NOW: Duration = Duration::ZERO;
    const PATIENCE: Duration = Duration::from_secs(60);

    /// The past of a new key.
    fn empty() -> History {
        let pipeline = Pipeline::load("transactions").unwrap();
        let Scored::Records(records) = &pipeline.scored else { panic!("it scores single records") };
        History::new(&records.features, false)
    }

    /// So many partitions that know nothing.
    fn unknown(partitions: usize) -> Remembered {
        Remembered::Unknown { past: Some(empty()), partitions }
    }

    /// Asks while each thread answers what it remembers.
    fn asked(pasts: &Pasts, answers: &[PastAnswers], remembered: &[Remembered]) -> Option<History> {
        let (pasts, keys) = (pasts.clone(), vec![Some("ann".to_owned()), None]);
        let asking = std::thread::spawn(move || pasts.ask(keys, PATIENCE));
        while !asking.is_finished() {
            for (thread, remembered) in answers.iter().zip(remembered) {
                thread.answer(|_| remembered.clone());
            }
            std::thread::yield_now();
        }
        asking.join().unwrap().unwrap()
    }

    #[test]
    fn a_stream_that_is_busy_or_gone_is_not_waited_for() {
        let (asked, mut answers) = pasts(1, 1);
        for _ in 0..WAITING {
            assert_eq!(asked.ask(vec![None], NOW).unwrap_err(), NoAnswer::Busy);
        }
        // There is no room any more, so nobody waits.
        assert_eq!(asked.ask(vec![None], PATIENCE).unwrap_err(), NoAnswer::Busy);
        // Nobody awaits these answers.
        let answers = answers.remove(0);
        answers.answer(|_| unknown(1));
        drop(answers);
        assert_eq!(asked.ask(vec![None], PATIENCE).unwrap_err(), NoAnswer::Ended);
    }

    #[test]
    fn an_answer_is_of_the_keys_that_were_asked_for() {
        let (asked, mut answers) = pasts(1, 1);
        let answers = answers.remove(0);
        let keys = vec![Some("ann".to_owned()), None];
        let wanted = keys.clone();
        let asking = std::thread::spawn(move || asked.ask(wanted, PATIENCE));
        let seen = RefCell::new(Vec::new());
        while seen.borrow().is_empty() {
            answers.answer(|keys| {
                seen.borrow_mut().extend_from_slice(keys);
                Remembered::Unknown { past: None, partitions: 1 }
            });
            std::thread::yield_now();
        }
        assert_eq!(asking.join().unwrap(), Ok(None));
        assert_eq!(seen.into_inner(), keys);
    }

    #[test]
    fn keys_are_new_only_where_the_threads_together_have_every_partition() {
        let (pasts, answers) = pasts(2, 4);
        let known = || Remembered::Known(empty());
        assert!(asked(&pasts, &answers, &[unknown(1), unknown(3)]).is_some(), "nobody else can know them");
        assert!(asked(&pasts, &answers, &[unknown(1), unknown(2)]).is_none(), "another instance may know them");
        assert!(asked(&pasts, &answers, &[unknown(0), known()]).is_some());
        assert!(asked(&pasts, &answers, &[known(), unknown(0)]).is_some());
    }
}
