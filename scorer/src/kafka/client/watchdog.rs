//! Ends the process when a call into Kafka's client outlives its bound.
//!
//! librdkafka has calls that can block for ever in rare states of the cluster. A process that hangs keeps its partitions
//! and says nothing. One that ends with a clear message is started again by its supervisor, and loses nothing.

use std::fmt;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::error::ErrorKind;

/// How often calls are looked at.
const INTERVAL: Duration = Duration::from_millis(250);

/// Watches the calls of all threads of a stream.
#[derive(Clone)]
pub(crate) struct Watchdog {
    calls: Arc<Mutex<Vec<Call>>>,
    // Dropped with the last handle, which ends the thread.
    _alive: Arc<Sender<()>>,
}

#[derive(Debug, Clone, Copy)]
struct Call {
    id: u64,
    what: &'static str,
    bound: Duration,
    deadline: Instant,
}

/// A call that is watched until this is dropped.
#[derive(Debug)]
pub(crate) struct Watched {
    calls: Arc<Mutex<Vec<Call>>>,
    id: u64,
}

impl fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watchdog").finish_non_exhaustive()
    }
}

impl Watchdog {
    /// A watchdog that ends the process.
    pub(crate) fn new() -> Self {
        Self::with_action(|what, bound| {
            let bound = bound.as_secs();
            tracing::error!(what, bound_s = bound, "a Kafka call outlived its bound");
            eprintln!(
                "error: Kafka: {what} did not return within {bound} s: the process ends, so that a supervisor can \
                 restart it; no committed result is lost"
            );
            std::process::exit(ErrorKind::Unavailable.exit_code().into());
        })
    }

    fn with_action(action: impl Fn(&'static str, Duration) + Send + 'static) -> Self {
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let (alive, ended) = channel::<()>();
        let watched = calls.clone();
        thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || {
                while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    let now = Instant::now();
                    let overdue = lock(&watched).iter().find(|call| call.deadline <= now).copied();
                    if let Some(call) = overdue {
                        action(call.what, call.bound);
                    }
                }
            })
            .expect("the system starts a thread");
        Self { calls, _alive: Arc::new(alive) }
    }

    /// Watches a call that has to return within `bound`.
    pub(crate) fn watch(&self, what: &'static str, bound: Duration) -> Watched {
        let mut calls = lock(&self.calls);
        let id = calls.iter().map(|call| call.id).max().map_or(0, |id| id + 1);
        calls.push(Call { id, what, bound, deadline: Instant::now() + bound });
        Watched { calls: self.calls.clone(), id }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        lock(&self.calls).retain(|call| call.id != self.id);
    }
}

fn lock(calls: &Mutex<Vec<Call>>) -> std::sync::MutexGuard<'_, Vec<Call>> {
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_outlives_its_bound_is_named_and_one_that_returns_is_not() {
        let (said, heard) = channel();
        let watchdog = Watchdog::with_action(move |what, _| {
            let _ = said.send(what);
        });
        drop(watchdog.watch("a quick call", Duration::ZERO));
        let _slow = watchdog.watch("a slow call", Duration::ZERO);
        assert_eq!(heard.recv_timeout(Duration::from_secs(60)), Ok("a slow call"));
    }
}
