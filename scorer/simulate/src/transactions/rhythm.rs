//! When people are awake: by the hour of their day, on weekdays and at weekends.

use super::category::weight;

/// A way to spend the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rhythm {
    /// Before work, at noon, after work.
    Worker,
    /// Late, and later still at weekends.
    Student,
    /// In the morning and the afternoon.
    Retired,
    /// Works when others sleep.
    Shift,
}

impl Rhythm {
    /// How common each is.
    pub(super) const SHARES: [(Self, f64); 4] =
        [(Self::Worker, 0.55), (Self::Student, 0.2), (Self::Retired, 0.18), (Self::Shift, 0.07)];

    fn digits(self, is_weekend: bool) -> &'static [u8; 24] {
        match (self, is_weekend) {
            (Self::Worker, false) => b"100000158643679653579864",
            (Self::Worker, true) => b"310000013579987666789875",
            (Self::Student, false) => b"531000024456787655678987",
            (Self::Student, true) => b"986310000135677666678999",
            (Self::Retired, _) => b"000000025899875567654210",
            (Self::Shift, _) => b"678887654322223345555556",
        }
    }

    /// How active somebody is at an hour of the day: from nearly 0 to about 9.
    pub(super) fn activity(self, hour: usize, is_weekend: bool) -> f64 {
        weight(self.digits(is_weekend), hour)
    }

    /// Whether a payment between 1:00 and 4:59 would be strange.
    pub(super) fn sleeps_at_night(self) -> bool {
        matches!(self, Self::Worker | Self::Retired)
    }
}

/// What a clock on the wall shows somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LocalTime {
    pub(super) minute_of_day: i64,
    pub(super) is_weekend: bool,
}

const MINUTE: i64 = 60_000;
const DAY: i64 = 1440;

impl LocalTime {
    /// `timestamp` in milliseconds since 1970 UTC, `utc_offset` in minutes.
    pub(super) fn at(timestamp: i64, utc_offset: i64) -> Self {
        let minutes = timestamp.div_euclid(MINUTE) + utc_offset;
        // The first of January 1970 was a Thursday.
        let weekday = (minutes.div_euclid(DAY) + 3).rem_euclid(7);
        Self { minute_of_day: minutes.rem_euclid(DAY), is_weekend: weekday >= 5 }
    }

    pub(super) fn hour(self) -> usize {
        (self.minute_of_day / 60) as usize
    }

    /// Whether a few payments, the last 75 minutes from now, would all be between 1:00 and 4:59.
    pub(super) fn begins_a_night(self) -> bool {
        (60..225).contains(&self.minute_of_day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weekend_is_saturday_and_sunday_of_the_place() {
        let friday_evening = 1_704_495_600_000; // 2024-01-05T23:00:00Z
        assert!(!LocalTime::at(friday_evening, 0).is_weekend);
        assert!(LocalTime::at(friday_evening, 60).is_weekend);
        assert_eq!(LocalTime::at(friday_evening, 60).hour(), 0);
        let sunday_evening = friday_evening + 2 * 86_400_000;
        assert!(LocalTime::at(sunday_evening, 0).is_weekend);
        assert!(!LocalTime::at(sunday_evening, 60).is_weekend);
    }
}
