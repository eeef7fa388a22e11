//! Entries that are kept as long as the process lives: where there is no topic for them.

use std::io;
use std::thread;

use super::{Check, Entry, Journal, Outcome, Versions};

impl Journal {
    /// Keeps entries in memory, on a thread of its own, until the window is closed.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn keep_in_memory(mut self) -> io::Result<()> {
        let keep = move || {
            let (mut versions, mut next) = (Versions::default(), 1);
            self.tell_caught_up();
            while let Some(write) = self.wait() {
                let outcome = match versions.check(&write) {
                    Check::Kept => Outcome::Kept,
                    Check::Stale => Outcome::Stale,
                    Check::New => {
                        let entry = Entry { key: write.key.clone(), value: Some(write.value.clone()), version: next };
                        next += 1;
                        versions.note(&entry);
                        self.tell(entry);
                        Outcome::Kept
                    }
                };
                self.answer(write, outcome);
            }
        };
        thread::Builder::new().name("labels".to_owned()).spawn(keep).map(|_| ())
    }
}
