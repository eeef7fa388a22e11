//! Fraud that lasts: stolen cards, compromised terminals, shops that were opened for it.

use super::merchants::Merchant;
use super::random::Random;
use super::users::DAY;

/// A user whose card is stolen, or a merchant whose terminal is compromised.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Episode {
    victim: usize,
    /// Milliseconds since 1970.
    until: i64,
    /// How often the victim pays, or is paid, beside others.
    weight: f64,
}

/// So many episodes at a time that fraud is about the wanted share of the victims' payments.
#[derive(Debug, Clone)]
pub(super) struct Episodes {
    active: Vec<Episode>,
    /// Milliseconds.
    length: i64,
    /// The sum of weights that is wanted, and the one that there is.
    wanted: f64,
    mass: f64,
    heaviest: f64,
    most: usize,
}

/// So long nothing happens to a victim again, in milliseconds.
const PEACE: i64 = 60 * DAY;

impl Episodes {
    pub(super) fn new(days: i64, wanted: f64, most: usize) -> Self {
        Self { active: Vec::new(), length: days * DAY, wanted, mass: 0.0, heaviest: 0.0, most }
    }

    /// Forgets those that are over.
    pub(super) fn retire(&mut self, now: i64) {
        self.active.retain(|episode| episode.until > now);
        self.mass = self.active.iter().map(|episode| episode.weight).sum();
        self.heaviest = self.active.iter().map(|episode| episode.weight).fold(0.0, f64::max);
    }

    /// Whether more are needed.
    pub(super) fn are_few(&self) -> bool {
        self.mass < self.wanted && self.active.len() < self.most
    }

    /// Begins one, `age` ago; until when its victim is to be spared another one.
    pub(super) fn begin(&mut self, victim: usize, weight: f64, now: i64, age: i64) -> i64 {
        let until = now - age + self.length;
        self.active.push(Episode { victim, until, weight });
        self.mass += weight;
        self.heaviest = self.heaviest.max(weight);
        until + PEACE
    }

    /// How long an episode lasts, in milliseconds.
    pub(super) fn length(&self) -> i64 {
        self.length
    }

    /// A victim, as likely as its weight and what `likely` says of it, from 0 to 1.
    pub(super) fn pick(&self, now: i64, random: &mut Random, likely: impl Fn(usize) -> f64) -> Option<usize> {
        let mut last = None;
        for _ in 0..40 {
            let episode = self.active.get(random.below(self.active.len()))?;
            if episode.until <= now {
                continue;
            }
            last = Some(episode.victim);
            if random.chance(episode.weight / self.heaviest * likely(episode.victim)) {
                break;
            }
        }
        last
    }
}

/// A shop that is there for a few days and nothing but fraud.
#[derive(Debug, Clone)]
pub(super) struct NewShop {
    pub(super) merchant: Merchant,
    until: i64,
    victims: Vec<u32>,
}

/// So many cards a shop takes before it is gone.
const VICTIMS: usize = 12;
const DAYS_OPEN: i64 = 5;

impl NewShop {
    pub(super) fn open(merchant: Merchant, now: i64) -> Self {
        Self { merchant, until: now + DAYS_OPEN * DAY, victims: Vec::new() }
    }

    pub(super) fn is_gone(&self, now: i64) -> bool {
        now >= self.until || self.victims.len() >= VICTIMS
    }

    /// Whether a card was taken there before.
    pub(super) fn knows(&self, user: usize) -> bool {
        self.victims.contains(&(user as u32))
    }

    pub(super) fn take(&mut self, user: usize) {
        self.victims.push(user as u32);
    }
}
