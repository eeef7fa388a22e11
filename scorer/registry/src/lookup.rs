//! Schemas that are looked up on a thread of its own, while everybody else goes on.

use std::collections::{HashSet, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use records::framing::SchemaId;
use records::schemas::Schemas;

use crate::client::{Client, Failure};
use crate::error::RegistryError;

/// The first pause after an answer that did not come; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How long it is believed that the registry has no such schema.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);

/// Looks schemas up, and puts them into the list that parsers read.
#[derive(Debug)]
pub struct Lookup {
    schemas: Arc<Schemas>,
    asked: Sender<SchemaId>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// What was asked for and is not known yet.
    open: HashSet<SchemaId>,
    /// Why nothing will be known any more.
    failure: Option<RegistryError>,
    /// Whether nobody waits any more.
    is_closed: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lookup {
    /// Starts the thread. Nothing is asked yet.
    pub fn start(client: Client, schemas: Arc<Schemas>) -> Self {
        let (asked, questions) = channel();
        let shared = Arc::new(Shared::default());
        let work = Work { client, schemas: Arc::clone(&schemas), shared: Arc::clone(&shared) };
        thread::Builder::new()
            .name("registry".to_owned())
            .spawn(move || work.run(&questions))
            .expect("the system starts a few threads");
        Self { schemas, asked, shared }
    }

    /// Asks for a schema, unless that was done already. Does not wait.
    ///
    /// # Errors
    /// Why nothing will be known any more.
    pub fn ask(&self, id: SchemaId) -> Result<(), RegistryError> {
        let mut state = self.shared.state();
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        if !self.schemas.knows(id) && state.open.insert(id) {
            // The thread lives as long as this does.
            let _ = self.asked.send(id);
        }
        Ok(())
    }

    /// Asks for a schema and waits until it is known.
    ///
    /// # Errors
    /// Why it will not be.
    pub fn wait_for(&self, id: SchemaId) -> Result<(), RegistryError> {
        self.ask(id)?;
        let mut state = self.shared.state();
        while state.open.contains(&id) {
            if let Some(failure) = &state.failure {
                return Err(failure.clone());
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    /// Whether a schema is known by now.
    ///
    /// # Errors
    /// Why it will not be.
    pub fn is_known(&self, id: SchemaId) -> Result<bool, RegistryError> {
        match (self.schemas.knows(id), &self.shared.state().failure) {
            (true, _) => Ok(true),
            (false, Some(failure)) => Err(failure.clone()),
            (false, None) => Ok(false),
        }
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        self.shared.state().is_closed = true;
        self.shared.changed.notify_all();
    }
}

struct Work {
    client: Client,
    schemas: Arc<Schemas>,
    shared: Arc<Shared>,
}

impl Work {
    /// Asks for one schema after the other. One that has no answer holds no other up: it goes to the end of the queue, and there is
    /// a pause once nobody in it has an answer.
    fn run(self, questions: &Receiver<SchemaId>) {
        let settings = self.client.settings();
        let mut queue: VecDeque<(SchemaId, Instant)> = VecDeque::new();
        let (mut pause, mut in_a_row, mut is_told, mut forgotten) = (FIRST_PAUSE, 0, false, Instant::now());
        loop {
            if forgotten.elapsed() >= UNKNOWN_FOR {
                self.schemas.forget_unknown();
                forgotten = Instant::now();
            }
            if queue.is_empty() {
                match questions.recv_timeout(UNKNOWN_FOR) {
                    Ok(id) => queue.push_back((id, Instant::now())),
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
            queue.extend(questions.try_iter().map(|id| (id, Instant::now())));
            let Some((id, since)) = queue.pop_front() else { continue };
            let cause = match self.find(id) {
                Ok(()) => {
                    if std::mem::take(&mut is_told) {
                        tracing::info!(url = settings.url, "the Schema Registry answers again");
                    }
                    (pause, in_a_row) = (FIRST_PAUSE, 0);
                    self.shared.state().open.remove(&id);
                    self.shared.changed.notify_all();
                    continue;
                }
                Err(Failure::ForGood(error)) => return self.fail(error),
                Err(Failure::ForNow(cause)) => cause,
            };
            if !std::mem::replace(&mut is_told, true) {
                let url = &settings.url;
                tracing::warn!(url, cause, "the Schema Registry does not answer: records wait for their schemas");
            }
            if since.elapsed() >= settings.give_up_after {
                let (url, after) = (settings.url.clone(), settings.give_up_after);
                return self.fail(RegistryError::Silent { url, after, cause });
            }
            queue.push_back((id, since));
            in_a_row += 1;
            if in_a_row >= queue.len() {
                if !self.pause(pause) {
                    return;
                }
                (pause, in_a_row) = ((pause * 2).min(LONGEST_PAUSE), 0);
            }
        }
    }

    /// Nothing will be known any more.
    fn fail(&self, error: RegistryError) {
        self.shared.state().failure = Some(error);
        self.shared.changed.notify_all();
    }

    /// Asks for a schema, and keeps what comes of it.
    fn find(&self, id: SchemaId) -> Result<(), Failure> {
        match self.client.schema(id)? {
            Ok(schema) => self.schemas.insert(id, schema),
            Err(refused) => self.schemas.refuse(id, refused),
        }
        Ok(())
    }

    /// Waits; whether anybody still waits for this.
    fn pause(&self, pause: Duration) -> bool {
        let deadline = Instant::now() + pause;
        let mut state = self.shared.state();
        while !state.is_closed {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }
}
