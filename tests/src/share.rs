//! The machine as tests share it. A test that floods a broker has the machine for itself: the brokers and scorers of others would
//! hardly move meanwhile, and what these wait for would not come in time.

use std::sync::{Condvar, Mutex, PoisonError};

/// How many tests have a cluster, and whether one of them is alone.
struct Taken {
    by: usize,
    is_alone: bool,
}

static TAKEN: (Mutex<Taken>, Condvar) = (Mutex::new(Taken { by: 0, is_alone: false }), Condvar::new());

/// A part of the machine, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share(());

impl Share {
    /// Beside others; waits while somebody is alone.
    pub(crate) fn with_others() -> Self {
        Self::take(|taken| !taken.is_alone, false)
    }

    /// All of it; waits until nobody has any.
    pub(crate) fn all() -> Self {
        Self::take(|taken| taken.by == 0, true)
    }

    fn take(is_free: impl Fn(&Taken) -> bool, is_alone: bool) -> Self {
        let (taken, freed) = &TAKEN;
        let taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = freed.wait_while(taken, |taken| !is_free(taken)).unwrap_or_else(PoisonError::into_inner);
        taken.by += 1;
        taken.is_alone = is_alone;
        Self(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let (taken, freed) = &TAKEN;
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.by -= 1;
        taken.is_alone = false;
        drop(taken);
        freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{TryRecvError, channel};
    use std::thread;

    use super::*;

    #[test]
    fn who_wants_all_waits_for_the_others_and_they_for_him() {
        let (first, second) = (Share::with_others(), Share::with_others());
        let (said, heard) = channel();
        let alone = {
            let said = said.clone();
            thread::spawn(move || {
                let all = Share::all();
                said.send("all").unwrap();
                all
            })
        };
        drop(first);
        assert_eq!(heard.try_recv(), Err(TryRecvError::Empty), "one is still there");
        drop(second);
        assert_eq!(heard.recv(), Ok("all"));
        let all = alone.join().unwrap();
        let other = thread::spawn(move || {
            let _share = Share::with_others();
            said.send("other").unwrap();
        });
        assert_eq!(heard.try_recv(), Err(TryRecvError::Empty));
        drop(all);
        assert_eq!(heard.recv(), Ok("other"));
        other.join().unwrap();
    }
}
