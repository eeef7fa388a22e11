//! Time, while there is nothing to read.

use std::time::Instant;

use crate::core::Monotonic;

/// While records keep coming, the state machine is told the time at least this often, in milliseconds.
const LONGEST_TICK: Monotonic = 50;

/// The time as the state machine gets it: since when there has been nothing to read, and what time it is now.
pub(crate) struct IdleClock {
    now: Box<dyn Fn() -> Monotonic>,
    /// Since when the client's queue has been empty.
    empty_since: Option<Monotonic>,
    last_tick: Monotonic,
    first_record: Option<Instant>,
}

impl IdleClock {
    /// A clock that reads `now`.
    pub(crate) fn new(now: impl Fn() -> Monotonic + 'static) -> Self {
        Self { last_tick: now(), now: Box::new(now), empty_since: None, first_record: None }
    }

    /// The time now.
    pub(crate) fn now(&self) -> Monotonic {
        (self.now)()
    }

    /// Notes that the client's queue is empty.
    pub(crate) fn on_empty_queue(&mut self) {
        let now = self.now();
        self.empty_since.get_or_insert(now);
    }

    /// Notes a record.
    pub(crate) fn on_record(&mut self) {
        self.empty_since = None;
        self.first_record.get_or_insert_with(Instant::now);
    }

    /// Since when a partition whose end was just seen has had nothing to read: the broker reports the end late, but there
    /// has been nothing since the last record was read.
    pub(crate) fn idle_since(&self) -> Monotonic {
        self.empty_since.unwrap_or_else(|| self.now())
    }

    /// Whether the state machine has not been told the time for too long.
    pub(crate) fn is_overdue(&self) -> bool {
        self.now() - self.last_tick >= LONGEST_TICK
    }

    /// The time now, for the state machine.
    pub(crate) fn tick(&mut self) -> Monotonic {
        self.last_tick = self.now();
        self.last_tick
    }

    /// Seconds since the first record.
    pub(crate) fn seconds_at_work(&self) -> f64 {
        self.first_record.map_or(0.0, |first| first.elapsed().as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    fn clock() -> (IdleClock, Rc<Cell<Monotonic>>) {
        let time = Rc::new(Cell::new(1_000));
        let read = time.clone();
        (IdleClock::new(move || read.get()), time)
    }

    #[test]
    fn an_end_counts_from_the_moment_the_queue_was_empty() {
        let (mut clock, time) = clock();
        assert_eq!(clock.idle_since(), 1_000, "without an empty queue, from now");
        clock.on_empty_queue();
        time.set(1_100);
        clock.on_empty_queue();
        assert_eq!(clock.idle_since(), 1_000);
        clock.on_record();
        assert_eq!(clock.idle_since(), 1_100, "a record ends it");
    }

    #[test]
    fn time_is_overdue_until_it_is_told() {
        let (mut clock, time) = clock();
        time.set(1_049);
        assert!(!clock.is_overdue());
        time.set(1_050);
        assert!(clock.is_overdue());
        assert_eq!(clock.tick(), 1_050);
        assert!(!clock.is_overdue());
    }
}
