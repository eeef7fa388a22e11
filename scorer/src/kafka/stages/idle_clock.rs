//! Time, while there is nothing to read.

use std::time::Instant;

use shared::time::Timestamp;

use crate::core::WallMillis;

/// While records keep coming, the state machine is told the time at least this often, in milliseconds.
const LONGEST_TICK: WallMillis = 50;

/// After so many records the time is looked at: to look at every record would cost too much.
const RECORDS_A_LOOK: u32 = 256;

/// The time as the state machine gets it: since when there has been nothing to read, and what time it is now.
pub(crate) struct IdleClock {
    now: Box<dyn Fn() -> WallMillis>,
    time_of_day: Box<dyn Fn() -> Timestamp>,
    /// Since when the client's queue has been empty.
    empty_since: Option<WallMillis>,
    last_tick: WallMillis,
    /// Records since the time was looked at.
    unlooked: u32,
    first_record: Option<Instant>,
    /// When it was last seen that nothing was left to read.
    read_until: Option<Instant>,
}

impl IdleClock {
    /// A clock that reads `now`, and the time of day.
    pub(crate) fn new(now: impl Fn() -> WallMillis + 'static, time_of_day: impl Fn() -> Timestamp + 'static) -> Self {
        let last_tick = now();
        let (now, time_of_day) = (Box::new(now), Box::new(time_of_day));
        let (empty_since, first_record, read_until) = (None, None, None);
        Self { now, time_of_day, empty_since, last_tick, unlooked: 0, first_record, read_until }
    }

    /// The time now.
    pub(crate) fn now(&self) -> WallMillis {
        (self.now)()
    }

    /// The time of day.
    pub(crate) fn time_of_day(&self) -> Timestamp {
        (self.time_of_day)()
    }

    /// Notes that the client's queue is empty.
    pub(crate) fn on_empty_queue(&mut self) {
        if self.empty_since.is_none() {
            self.empty_since = Some(self.now());
            self.read_until = Some(Instant::now());
        }
    }

    /// Notes a record.
    pub(crate) fn on_record(&mut self) {
        self.empty_since = None;
        self.unlooked += 1;
        self.first_record.get_or_insert_with(Instant::now);
    }

    /// Notes that a partition is read that was not read before: nothing is known of the time until now.
    pub(crate) fn on_new_reading(&mut self) {
        self.empty_since = None;
    }

    /// Since when a partition whose end was just seen has had nothing to read: the broker reports the end late, but there
    /// has been nothing since the last record was read.
    pub(crate) fn idle_since(&mut self) -> WallMillis {
        if self.empty_since.is_none() {
            self.read_until = Some(Instant::now());
        }
        self.empty_since.unwrap_or_else(|| self.now())
    }

    /// Whether the state machine has not been told the time for too long, under load.
    pub(crate) fn is_overdue(&mut self) -> bool {
        if self.unlooked < RECORDS_A_LOOK {
            return false;
        }
        self.unlooked = 0;
        self.now() - self.last_tick >= LONGEST_TICK
    }

    /// The time now, for the state machine.
    pub(crate) fn tick(&mut self) -> WallMillis {
        self.last_tick = self.now();
        self.last_tick
    }

    /// Seconds since the first record.
    pub(crate) fn seconds_at_work(&self) -> f64 {
        self.first_record.map_or(0.0, |first| first.elapsed().as_secs_f64())
    }

    /// Seconds from the first record until it was last seen that nothing was left to read; where that was never so, until now.
    pub(crate) fn seconds_of_reading(&self) -> f64 {
        match (self.first_record, self.read_until) {
            (Some(first), Some(until)) if until > first => (until - first).as_secs_f64(),
            _ => self.seconds_at_work(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    fn clock() -> (IdleClock, Rc<Cell<WallMillis>>) {
        let time = Rc::new(Cell::new(1_000));
        let read = time.clone();
        (IdleClock::new(move || read.get(), || 0), time)
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
    fn reading_lasts_until_the_queue_is_empty() {
        let (mut clock, _) = clock();
        clock.on_empty_queue();
        assert_eq!(clock.seconds_of_reading(), 0.0, "nothing was read");
        clock.on_record();
        assert!(clock.seconds_of_reading() <= clock.seconds_at_work(), "it was not empty since");
        std::thread::sleep(std::time::Duration::from_millis(2));
        clock.on_empty_queue();
        let reading = clock.seconds_of_reading();
        assert!(reading >= 0.002, "{reading}");
        std::thread::sleep(std::time::Duration::from_millis(2));
        clock.on_empty_queue();
        assert_eq!((clock.seconds_of_reading(), clock.seconds_at_work() > reading), (reading, true));
    }

    #[test]
    fn a_queue_that_was_empty_says_nothing_of_a_partition_that_was_not_read() {
        let (mut clock, time) = clock();
        clock.on_empty_queue();
        time.set(9_000);
        clock.on_new_reading();
        assert_eq!(clock.idle_since(), 9_000);
    }

    #[test]
    fn time_is_overdue_until_it_is_told() {
        let (mut clock, time) = clock();
        let mut is_overdue_after = |now: WallMillis, records: u32| {
            time.set(now);
            (0..records).for_each(|_| clock.on_record());
            let is_overdue = clock.is_overdue();
            if is_overdue {
                assert_eq!(clock.tick(), now);
            }
            is_overdue
        };
        assert!(!is_overdue_after(1_049, RECORDS_A_LOOK));
        assert!(!is_overdue_after(1_050, RECORDS_A_LOOK - 1), "the time is not looked at");
        assert!(is_overdue_after(1_050, 1));
        assert!(!is_overdue_after(1_051, RECORDS_A_LOOK));
    }
}
