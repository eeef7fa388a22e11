//! When the shop is open, and when in the day its invoices are written.

use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Weekday};
use rand::{Rng, RngExt};
use rand_distr::Triangular;

/// Half past twelve.
const BUSIEST_MINUTE: f64 = 750.0;

/// The opening hours of one day and how busy it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Hours {
    /// The first hour.
    pub(super) open: u32,
    /// The hour that is closed again.
    pub(super) close: u32,
    /// Invoices on such a day, as a share of a weekday's.
    pub(super) share: f64,
}

/// 8 to 18 on weekdays, 10 to 16 and half as busy on Sundays, closed on Saturdays.
pub(super) fn opening_hours(date: NaiveDate) -> Option<Hours> {
    match date.weekday() {
        Weekday::Sat => None,
        Weekday::Sun => Some(Hours { open: 10, close: 16, share: 0.5 }),
        _ => Some(Hours { open: 8, close: 18, share: 1.0 }),
    }
}

impl Hours {
    /// A minute of the day within the hours, most often around half past twelve.
    pub(super) fn minute_of_day(self, rng: &mut impl Rng) -> u32 {
        let (open, close) = (self.open * 60, self.close * 60);
        let triangle = Triangular::new(f64::from(open), f64::from(close), BUSIEST_MINUTE)
            .expect("the busiest minute lies within every day's hours");
        // The mean of two: few come in the first hour and few in the last.
        let mean = f64::midpoint(rng.sample(triangle), rng.sample(triangle));
        (mean as u32).clamp(open, close - 1)
    }
}

/// A minute between 1:00 and 3:59, when nobody works.
pub(super) fn night_minute(rng: &mut impl Rng) -> u32 {
    rng.random_range(60..4 * 60)
}

/// The moment of a minute of a day.
pub(super) fn at_minute(date: NaiveDate, minute_of_day: u32) -> NaiveDateTime {
    let time = NaiveTime::from_hms_opt(minute_of_day / 60, minute_of_day % 60, 0);
    date.and_time(time.unwrap_or_default())
}
