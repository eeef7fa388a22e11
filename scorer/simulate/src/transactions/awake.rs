//! Who is awake and pays, at any time.

use super::alias::AliasTable;
use super::places::CITIES;
use super::random::Random;
use super::rhythm::{LocalTime, Rhythm};
use super::users::User;

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
