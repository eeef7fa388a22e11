//! One payment after another.
//!
//! Payments come at random, equally often at every hour, and each is drawn when its moment has come: who pays (by who is
//! awake), for what (by the hour), where, how much. So they come in the order of time, and what is remembered does not
//! grow: where each user is, which episodes of fraud go on, and the few payments that follow one within the hour.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::alias::AliasTable;
use super::awake::Awake;
use super::category::Choice;
use super::config::CheckedConfig;
use super::episodes::{Episodes, NewShop};
use super::merchants::{Merchant, Merchants};
use super::places::Position;
use super::random::Random;
use super::scenario::Scenario;
use super::transaction::Transaction;
use super::users::{DAY, HOUR, Users};

/// Streams of random numbers: what the world is like, and what happens in it.
const WORLD: u64 = 0;
const EVENTS: u64 = 1;
/// The end of the year 9999, in milliseconds since 1970: RFC 3339 has no later dates.
const END_OF_TIME: i64 = 253_402_300_799_999;
/// So often it is looked who is awake, and which episodes are over.
const REFRESH: i64 = HOUR / 2;
/// So many merchants close on a day, of all.
const CLOSING: f64 = 0.002;
/// So many ordinary payments are remembered, of which one may be followed by one from far away.
const RECENT: usize = 512;
/// More payments than this do not wait for their time to follow another one: a bound on memory.
const MOST_FOLLOW_UPS: usize = 500_000;
/// The longest time from the first to the last payment of a scenario of several, in microseconds.
const BEGUN: i64 = 75 * 60 * 1_000_000;
/// Draws for one ordinary payment, before somebody pays without having moved.
const ATTEMPTS: usize = 6;

/// An endless iterator over payments, in the order of time. Its memory does not grow.
#[derive(Debug, Clone)]
pub struct Simulation {
    pub(super) users: Users,
    pub(super) merchants: Merchants,
    pub(super) random: Random,
    pub(super) awake: Awake,
    pub(super) choice: Choice,
    pub(super) cards: Episodes,
    pub(super) terminals: Episodes,
    pub(super) new_shops: Vec<NewShop>,
    /// Who paid last.
    pub(super) recent: VecDeque<u32>,
    scenarios: Vec<Scenario>,
    /// What happens next: nothing strange, or one of the scenarios.
    kinds: AliasTable,
    /// What was due and could not happen, as a night where it is day everywhere.
    owed: [u32; Scenario::ALL.len()],
    follow_ups: BinaryHeap<Reverse<FollowUp>>,
    /// Microseconds since 1970 of what happens next, and from there to what happens after it, on the average.
    next_at: i64,
    mean_gap: f64,
    next_refresh: i64,
    next_closing: i64,
    announced: u64,
    serial: u64,
    id_key: u64,
}

/// A payment that will follow another one. Their order is that of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct FollowUp {
    /// Microseconds since 1970.
    at: i64,
    /// Different for each, so that no two are equal.
    serial: u64,
    user: usize,
    scenario: Scenario,
    /// How many follow after it.
    left: usize,
}

/// A payment that is about to be made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Payment {
    pub(super) user: usize,
    pub(super) merchant: Merchant,
    pub(super) position: Position,
    pub(super) euros: f64,
}

impl Simulation {
    /// Draws the world and stands before its first payment.
    pub fn new(config: &CheckedConfig) -> Self {
        let start = config.start.timestamp_millis();
        let mut random = Random::new(config.seed, WORLD);
        let merchants = Merchants::draw(config.merchants as usize, &mut random);
        let users = Users::draw(config.users as usize, start, &merchants, &mut random);
        let scenarios = config.chosen_scenarios();
        let (weights, records) = kinds(config, &scenarios);
        let mut events = Random::new(config.seed, EVENTS);
        let mean_gap = 1e6 * records / config.simulated_rate();
        let mut simulation = Self {
            awake: Awake::new(&users.all),
            choice: Choice::new(),
            cards: stolen_cards(config),
            terminals: compromised_terminals(config, &merchants),
            new_shops: Vec::new(),
            recent: VecDeque::with_capacity(RECENT),
            scenarios,
            kinds: AliasTable::new(&weights),
            owed: [0; Scenario::ALL.len()],
            follow_ups: BinaryHeap::new(),
            next_at: start * 1000 + events.exponential(mean_gap).round() as i64,
            mean_gap,
            next_refresh: start - start.rem_euclid(REFRESH),
            next_closing: start,
            announced: 0,
            serial: 0,
            id_key: mix(config.seed ^ mix(start.unsigned_abs())),
            random: events,
            users,
            merchants,
        };
        simulation.begin_episodes(start, true);
        simulation.announce_begun(start, config);
        simulation
    }

    /// What changes with the hour.
    fn refresh(&mut self, now: i64) {
        while now >= self.next_closing {
            self.merchants.replace_one(now, &mut self.random);
            self.next_closing += (DAY as f64 / (CLOSING * self.merchants.all.len() as f64)) as i64;
        }
        if now >= self.next_refresh {
            self.awake.set_time(now);
            self.begin_episodes(now, false);
            self.next_refresh = now - now.rem_euclid(REFRESH) + REFRESH;
        }
    }

    /// The next payment that does not follow from an earlier one.
    fn next_event(&mut self, now: i64) -> (Payment, Option<Scenario>) {
        let kind = self.kinds.pick(&mut self.random);
        let drawn = kind.checked_sub(1).and_then(|at| self.scenarios.get(at)).copied();
        if let Some(scenario) = drawn {
            self.owed[scenario as usize] = self.owed[scenario as usize].saturating_add(1);
        }
        if let Some(scenario) = drawn.or_else(|| self.owed_now())
            && let Some(payment) = self.occur(scenario, now)
        {
            self.owed[scenario as usize] -= 1;
            return (payment, Some(scenario));
        }
        (self.ordinary(now), None)
    }

    /// What is owed comes a little at a time, as soon as it can.
    fn owed_now(&mut self) -> Option<Scenario> {
        let owed = Scenario::ALL.into_iter().find(|&scenario| self.owed[scenario as usize] > 0)?;
        self.random.chance(0.05).then_some(owed)
    }

    /// A scenario's first payment, and what will follow it.
    fn occur(&mut self, scenario: Scenario, now: i64) -> Option<Payment> {
        let (least, most) = scenario.records();
        if most > 1 && self.follow_ups.len() >= MOST_FOLLOW_UPS {
            return None;
        }
        let payment = self.strange(scenario, now)?;
        let left = least + self.random.below(most - least + 1) - 1;
        self.announce(scenario, payment.user, left, self.next_at);
        Some(payment)
    }

    /// Puts down that more payments of a kind will follow the one that is made `at`, in microseconds since 1970.
    fn announce(&mut self, scenario: Scenario, user: usize, left: usize, at: i64) {
        if left > 0 {
            let at = at + (self.pause(scenario) * 1e6) as i64;
            self.announced += 1;
            self.follow_ups.push(Reverse(FollowUp { at, serial: self.announced, user, scenario, left }));
        }
    }

    /// Lets those follow that would follow payments made before the start, so that a scenario of several payments has its
    /// share from the first record on.
    fn announce_begun(&mut self, start: i64, config: &CheckedConfig) {
        self.awake.set_time(start);
        for scenario in Scenario::ALL {
            let (least, most) = scenario.records();
            let occurrences = config.share_of(scenario) / scenario.mean_records() * config.simulated_rate();
            if most == 1 || occurrences <= 0.0 {
                continue;
            }
            let mut at = start * 1000 - BEGUN;
            while at < start * 1000 && self.follow_ups.len() < MOST_FOLLOW_UPS {
                at += (self.random.exponential(1.0 / occurrences) * 1e6).round() as i64;
                let n_records = least + self.random.below(most - least + 1);
                let Some(user) = self.somebody_for(scenario, at / 1000) else { continue };
                let mut next = at;
                for left in (1..n_records).rev() {
                    next += (self.pause(scenario) * 1e6) as i64;
                    if next >= start * 1000 && at < start * 1000 {
                        self.announced += 1;
                        let serial = self.announced;
                        self.follow_ups.push(Reverse(FollowUp { at: next, serial, user, scenario, left }));
                        break;
                    }
                }
            }
        }
    }

    fn follow_up_before(&mut self, at: i64) -> Option<FollowUp> {
        let is_due = self.follow_ups.peek().is_some_and(|Reverse(next)| next.at <= at);
        is_due.then(|| self.follow_ups.pop()).flatten().map(|Reverse(next)| next)
    }

    /// An ordinary payment of whoever is awake.
    pub(super) fn ordinary(&mut self, now: i64) -> Payment {
        for _ in 0..ATTEMPTS {
            let user = self.awake.pick(&mut self.random);
            if let Some(payment) = self.ordinary_of(user, now) {
                return payment;
            }
        }
        let user = self.awake.pick(&mut self.random);
        self.without_moving(user)
    }

    fn record(&mut self, payment: &Payment, label: Option<Scenario>, now: i64) -> Transaction {
        let user = &mut self.users.all[payment.user];
        (user.at.seen_at, user.at.seen) = (now, payment.position);
        if label.is_none() {
            if self.recent.len() == RECENT {
                self.recent.pop_front();
            }
            self.recent.push_back(payment.user as u32);
        }
        self.serial += 1;
        let currency = payment.merchant.currency();
        let coins = payment.euros * currency.per_euro() * f64::from(currency.coins());
        Transaction {
            id: mix(self.serial ^ self.id_key),
            user: payment.user as u32 + 1,
            merchant: payment.merchant.number,
            amount: (coins.round() as u64).max(1),
            currency,
            position: payment.position,
            timestamp: now,
            label,
        }
    }
}

impl Iterator for Simulation {
    type Item = Transaction;

    fn next(&mut self) -> Option<Transaction> {
        let next = self.follow_up_before(self.next_at);
        let at = next.map_or(self.next_at, |next| next.at);
        let now = at.div_euclid(1000);
        if now > END_OF_TIME {
            return None;
        }
        self.refresh(now);
        let (payment, label) = match next {
            Some(next) => {
                self.announce(next.scenario, next.user, next.left - 1, next.at);
                (self.following(next.scenario, next.user, now), Some(next.scenario))
            }
            None => self.next_event(now),
        };
        if next.is_none() {
            self.next_at += self.random.exponential(self.mean_gap).round() as i64;
        }
        Some(self.record(&payment, label, now))
    }
}

/// How likely nothing strange, and each scenario, is to happen next, so that each has its share of the records; and how many
/// records there are for each of these.
fn kinds(config: &CheckedConfig, scenarios: &[Scenario]) -> (Vec<f64>, f64) {
    let occurrences: Vec<f64> =
        scenarios.iter().map(|&scenario| config.share_of(scenario) / scenario.mean_records()).collect();
    // With r records an event, a scenario of share s and m records occurs in r s / m of the events; the rest is one
    // ordinary record each, (1 - a) r of them. Together that is 1.
    let anomalous: f64 = scenarios.iter().map(|&scenario| config.share_of(scenario)).sum();
    let records = 1.0 / (1.0 - anomalous + occurrences.iter().sum::<f64>());
    let strange = occurrences.iter().map(|share| share * records);
    let weights = std::iter::once((1.0 - anomalous) * records).chain(strange).collect();
    (weights, records)
}

/// With fraud of half a victim's own payments, a third of all its payments are fraud.
fn stolen_cards(config: &CheckedConfig) -> Episodes {
    let users = f64::from(config.users);
    let wanted = 2.0 * config.share_of(Scenario::StolenCard) * users / (1.0 - config.anomaly_rate);
    Episodes::new(14, wanted, config.users as usize / 2)
}

/// With fraud of a third of a terminal's own payments, a quarter of all its payments are fraud.
fn compromised_terminals(config: &CheckedConfig, merchants: &Merchants) -> Episodes {
    let local = merchants.all.iter().filter(|merchant| !merchant.is_online()).count();
    let wanted = 3.0 * config.share_of(Scenario::CompromisedMerchant) * local as f64 / (1.0 - config.anomaly_rate);
    Episodes::new(28, wanted, local / 2)
}

/// A mapping of 64 bits to 64 bits that no two share (the end of SplitMix64: Steele, Lea and Flood, 2014).
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
