//! When people are awake and pay: by the hour of their day, on weekdays and at weekends.

use super::alias::AliasTable;
use super::category::weight;
use super::places::CITIES;
use super::random::Random;
use super::users::User;

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

/// People of one rhythm and one time zone.
#[derive(Debug, Clone)]
struct Group {
    rhythm: Rhythm,
    utc_offset: i64,
    mass: f64,
    members: Vec<u32>,
    by_activity: AliasTable,
}

/// Who pays now: first a group by how awake it is, then one of its members by how much they pay.
#[derive(Debug, Clone)]
pub(super) struct Awake {
    groups: Vec<Group>,
    now: AliasTable,
    /// Groups in whose time zone it is night, and that should be asleep.
    asleep: Vec<usize>,
    asleep_by_mass: AliasTable,
}

impl Awake {
    pub(super) fn new(users: &[User]) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        for (index, user) in users.iter().enumerate() {
            let utc_offset = CITIES[user.city].utc_offset;
            let known = groups.iter().position(|group| (group.rhythm, group.utc_offset) == (user.rhythm, utc_offset));
            let at = known.unwrap_or(groups.len());
            if known.is_none() {
                let (members, by_activity) = (Vec::new(), AliasTable::default());
                groups.push(Group { rhythm: user.rhythm, utc_offset, mass: 0.0, members, by_activity });
            }
            groups[at].mass += user.activity;
            groups[at].members.push(index as u32);
        }
        for group in &mut groups {
            let weights: Vec<f64> = group.members.iter().map(|&at| users[at as usize].activity).collect();
            group.by_activity = AliasTable::new(&weights);
        }
        let (now, asleep_by_mass) = (AliasTable::default(), AliasTable::default());
        Self { groups, now, asleep: Vec::new(), asleep_by_mass }
    }

    /// Sets the clock; to be called every half hour, as some time zones begin at half past.
    pub(super) fn set_time(&mut self, timestamp: i64) {
        let local = |group: &Group| LocalTime::at(timestamp, group.utc_offset);
        let awake = |group: &Group| group.mass * group.rhythm.activity(local(group).hour(), local(group).is_weekend);
        self.now = AliasTable::new(&self.groups.iter().map(awake).collect::<Vec<_>>());
        let asleep =
            |at: &usize| self.groups[*at].rhythm.sleeps_at_night() && local(&self.groups[*at]).begins_a_night();
        self.asleep = (0..self.groups.len()).filter(asleep).collect();
        let masses: Vec<f64> = self.asleep.iter().map(|&at| self.groups[at].mass).collect();
        self.asleep_by_mass = AliasTable::new(&masses);
    }

    /// Somebody who may well pay now.
    pub(super) fn pick(&self, random: &mut Random) -> usize {
        self.groups[self.now.pick(random)].pick(random)
    }

    /// Somebody who should be asleep now, if anybody should.
    pub(super) fn pick_asleep(&self, random: &mut Random) -> Option<usize> {
        let group = *self.asleep.get(self.asleep_by_mass.pick(random))?;
        Some(self.groups[group].pick(random))
    }
}

impl Group {
    fn pick(&self, random: &mut Random) -> usize {
        self.members[self.by_activity.pick(random)] as usize
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
