//! The queue of one channel, and the patience with it.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::alert::Alert;
use crate::channel::{Channel, SendError};

/// Alerts that wait for a channel: beyond that the oldest goes, and is counted.
pub(crate) const MOST_WAITING: usize = 500;

/// How long to wait before an alert is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure; twice as long after each further one.
    pub first: Duration,
    /// The longest.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), longest: Duration::from_secs(300) }
    }
}

impl Backoff {
    /// How long to wait after so many failures in a row. `salt` spreads those who wait: without it all channels of all instances
    /// would come back to a receiver at the same moment.
    fn after(&self, failures: u32, salt: u64) -> Duration {
        let doubled = self.first.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(self.longest);
        // From 80% to 120%.
        doubled.mul_f64(0.8 + 0.4 * (salt % 1000) as f64 / 1000.0)
    }
}

/// How it goes with a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Alerts that were taken.
    pub sent: u64,
    /// Alerts that were refused for good.
    pub refused: u64,
    /// Alerts that went unsent because too many waited, or because the program ended.
    pub dropped: u64,
    /// Alerts that wait.
    pub waiting: usize,
    /// Failures since an alert was taken the last time.
    pub failures: u32,
    /// The last failure, where it was not followed by a success.
    pub error: Option<String>,
    /// When an alert was taken the last time, in milliseconds since 1970.
    pub last_sent: Option<i64>,
    /// Since when none is taken, in milliseconds since 1970.
    pub failing_since: Option<i64>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Arc<Alert>>,
    health: Health,
    /// Alerts of which nobody knows yet.
    is_sending: bool,
    is_closed: bool,
}

/// The queue of one channel.
#[derive(Debug, Clone, Default)]
pub(crate) struct Queue(Arc<(Mutex<State>, Condvar)>);

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves an alert. Never waits.
    pub(crate) fn add(&self, alert: Arc<Alert>) {
        let mut state = self.state();
        if state.is_closed {
            state.health.dropped += 1;
            return;
        }
        while state.waiting.len() >= MOST_WAITING {
            state.waiting.pop_front();
            state.health.dropped += 1;
        }
        state.waiting.push_back(alert);
        drop(state);
        self.0.1.notify_all();
    }

    pub(crate) fn health(&self) -> Health {
        let state = self.state();
        Health { waiting: state.waiting.len() + usize::from(state.is_sending), ..state.health.clone() }
    }

    /// Waits until nothing waits any more, but not beyond a moment. Then what waits is dropped, and counted.
    pub(crate) fn close(&self, until: Instant) {
        let mut state = self.state();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if (state.waiting.is_empty() && !state.is_sending) || left.is_zero() {
                break;
            }
            state = self.0.1.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        if std::mem::replace(&mut state.is_closed, true) {
            return;
        }
        state.health.dropped += state.waiting.len() as u64 + u64::from(state.is_sending);
        state.waiting.clear();
        drop(state);
        self.0.1.notify_all();
    }

    /// The next alert; `None` once nobody wants any sent.
    fn next(&self) -> Option<Arc<Alert>> {
        let mut state = self.state();
        loop {
            if state.is_closed {
                return None;
            }
            if let Some(alert) = state.waiting.pop_front() {
                state.is_sending = true;
                return Some(alert);
            }
            state = self.0.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits, unless nobody wants any sent by then. Whether somebody does.
    fn pause(&self, length: Duration) -> bool {
        let until = Instant::now() + length;
        let mut state = self.state();
        while !state.is_closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            state = self.0.1.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }

    fn done(&self, change: impl FnOnce(&mut Health)) {
        let mut state = self.state();
        state.is_sending = false;
        change(&mut state.health);
        drop(state);
        self.0.1.notify_all();
    }

    /// Sends what comes, each until it is taken or refused for good, in their order: until the queue is closed.
    pub(crate) fn serve(&self, name: &str, channel: &dyn Channel, backoff: Backoff) {
        while let Some(alert) = self.next() {
            loop {
                match channel.send(&alert) {
                    Ok(()) => {
                        self.done(|health| {
                            let Health { sent, refused, dropped, .. } = *health;
                            *health = Health {
                                sent: sent + 1,
                                refused,
                                dropped,
                                last_sent: Some(now()),
                                ..Health::default()
                            };
                        });
                        break;
                    }
                    Err(error @ SendError::Refused(_)) => {
                        tracing::warn!(channel = name, %error, alert = alert.id, "an alert is not sent");
                        self.done(|health| {
                            health.refused += 1;
                            health.error = Some(error.to_string());
                        });
                        break;
                    }
                    Err(SendError::Later { cause, wait }) => {
                        let failures = self.failed(name, cause);
                        let pause = backoff.after(failures, salt(&alert.id)).max(wait.unwrap_or_default());
                        if !self.pause(pause) {
                            return;
                        }
                    }
                }
            }
        }
    }

    /// Notes a failure, and says how many there were in a row. The first one is logged, and then every tenth.
    fn failed(&self, name: &str, cause: String) -> u32 {
        let mut state = self.state();
        let health = &mut state.health;
        health.failures = health.failures.saturating_add(1);
        health.failing_since.get_or_insert_with(now);
        if health.failures % 10 == 1 {
            tracing::warn!(channel = name, cause, failures = health.failures, "an alert is sent again later");
        }
        health.error = Some(cause);
        health.failures
    }
}

/// A number that differs from alert to alert.
fn salt(id: &str) -> u64 {
    id.bytes().fold(7, |salt, byte| salt.wrapping_mul(31).wrapping_add(u64::from(byte)))
}

/// The time of day, in milliseconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const FAST: Backoff = Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(4) };

    /// Answers as it is told, and says what it got.
    struct Scripted(Mutex<VecDeque<Result<(), SendError>>>, mpsc::Sender<String>);

    impl Channel for Scripted {
        fn send(&self, alert: &Alert) -> Result<(), SendError> {
            self.1.send(alert.rule.clone()).unwrap();
            self.0.lock().unwrap().pop_front().unwrap_or(Ok(()))
        }
    }

    fn alert(rule: &str) -> Arc<Alert> {
        Arc::new(Alert::test("pipeline", rule, 0))
    }

    fn serve(answers: Vec<Result<(), SendError>>) -> (Queue, mpsc::Receiver<String>, std::thread::JoinHandle<()>) {
        let (queue, (said, heard)) = (Queue::default(), mpsc::channel());
        let served = queue.clone();
        let channel = Scripted(Mutex::new(answers.into()), said);
        (queue, heard, std::thread::spawn(move || served.serve("test", &channel, FAST)))
    }

    #[test]
    fn what_fails_is_sent_again_before_what_came_later() {
        let later = || Err(SendError::later("down"));
        let (queue, heard, thread) = serve(vec![later(), later(), Ok(()), Err(SendError::Refused("bad".to_owned()))]);
        ["a", "b", "c"].iter().for_each(|rule| queue.add(alert(rule)));
        queue.close(Instant::now() + Duration::from_secs(30));
        thread.join().unwrap();
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), ["a", "a", "a", "b", "c"]);
        let health = queue.health();
        assert_eq!((health.sent, health.refused, health.dropped, health.failures), (2, 1, 0, 0));
        assert_eq!((health.error, health.waiting), (None, 0), "the last one was taken");
    }

    #[test]
    fn a_channel_that_is_dead_is_seen_and_keeps_the_newest_alerts() {
        let (queue, heard, thread) = serve((0..1000).map(|_| Err(SendError::later("nobody is there"))).collect());
        queue.add(alert("0"));
        assert_eq!(heard.recv().unwrap(), "0", "it is sent: it does not wait any more");
        for number in 1..MOST_WAITING + 10 {
            queue.add(alert(&number.to_string()));
        }
        while queue.health().failures < 3 {
            std::thread::yield_now();
        }
        let health = queue.health();
        assert_eq!(health.error.as_deref(), Some("nobody is there"));
        assert!(health.failing_since.is_some() && health.sent == 0);
        assert_eq!(health.dropped + health.waiting as u64, MOST_WAITING as u64 + 10);
        queue.close(Instant::now());
        thread.join().unwrap();
        assert_eq!(queue.health().dropped, MOST_WAITING as u64 + 10, "nothing is lost without being counted");
    }

    #[test]
    fn waits_double_up_to_the_longest_and_are_spread() {
        let backoff = Backoff::default();
        let of = |failures, salt| backoff.after(failures, salt).as_secs_f64();
        assert!((0..1000).all(|salt| (0.8..=1.2).contains(&of(1, salt))));
        assert!((0..1000).all(|salt| (240.0..=360.0).contains(&of(u32::MAX, salt))));
        assert!((of(4, 500) - 8.0).abs() < 0.01 && of(1, 0) != of(1, 1));
    }
}
