//! How a payment comes about: an ordinary one, and one of each scenario.

use super::category::{CATEGORIES, ELECTRONICS, LEISURE, LOCAL};
use super::episodes::NewShop;
use super::merchants::Merchant;
use super::places::CITIES;
use super::random::Random;
use super::rhythm::LocalTime;
use super::scenario::Scenario;
use super::simulation::{Payment, Simulation};
use super::users::{HOUR, User};

/// Draws until it is given up for now.
const ATTEMPTS: usize = 16;
/// So many new shops take cards at a time.
const NEW_SHOPS: usize = 3;

impl Simulation {
    /// What somebody pays now, unless they are on the way, or cannot have come there.
    pub(super) fn ordinary_of(&mut self, user: usize, now: i64) -> Option<Payment> {
        if self.is_on_the_way(user, now) {
            return None;
        }
        let local = LocalTime::at(now, self.users.all[user].utc_offset());
        let category = self.choice.pick(local.hour(), local.is_weekend, &mut self.random);
        let at = self.users.pick_merchant(user, category, &self.merchants, &mut self.random);
        self.pay(user, self.merchants.all[at], now)
    }

    /// An online payment from where somebody was last seen: possible at any time.
    pub(super) fn without_moving(&mut self, user: usize) -> Payment {
        let category = LOCAL + self.random.below(CATEGORIES.len() - LOCAL);
        let at = self.users.pick_merchant(user, category, &self.merchants, &mut self.random);
        let (merchant, somebody) = (self.merchants.all[at], &self.users.all[user]);
        let position = somebody.at.seen;
        Payment { user, merchant, position, euros: somebody.usual_amount(&merchant, &mut self.random) }
    }

    /// The first payment of a scenario, if it can happen now.
    pub(super) fn strange(&mut self, scenario: Scenario, now: i64) -> Option<Payment> {
        match scenario {
            Scenario::AmountHigh => {
                let factor = self.random.log_between(12.0, 60.0);
                Some(times(factor, self.ordinary(now)))
            }
            Scenario::AmountLow => {
                let factor = self.random.log_between(40.0, 300.0);
                Some(times(1.0 / factor, self.ordinary(now)))
            }
            Scenario::CompromisedMerchant => self.at_compromised_terminal(now),
            Scenario::StolenCard => self.with_stolen_card(now),
            Scenario::ImpossibleTravel => self.too_far_away(now),
            Scenario::CardTesting => {
                let user = self.awake.pick(&mut self.random);
                Some(self.card_test(user))
            }
            Scenario::NightActivity => self.first_of_a_night(now),
            Scenario::NewMerchantAbroad => self.at_new_shop_abroad(now),
        }
    }

    /// How long after a scenario's payment the next one follows, in seconds.
    pub(super) fn pause(&mut self, scenario: Scenario) -> f64 {
        match scenario {
            Scenario::NightActivity => self.random.between(240.0, 1500.0),
            _ => self.random.between(2.0, 20.0),
        }
    }

    /// Somebody to whom a scenario of several payments may have begun to happen a moment ago.
    pub(super) fn somebody_for(&mut self, scenario: Scenario, then: i64) -> Option<usize> {
        if scenario != Scenario::NightActivity {
            return Some(self.awake.pick(&mut self.random));
        }
        let user = self.awake.pick_asleep(&mut self.random)?;
        LocalTime::at(then, self.users.all[user].utc_offset()).begins_a_night().then_some(user)
    }

    /// A payment that follows the first one of a scenario.
    pub(super) fn following(&mut self, scenario: Scenario, user: usize, now: i64) -> Payment {
        match scenario {
            Scenario::NightActivity => self.by_night(user, now),
            _ => self.card_test(user),
        }
    }

    /// Replaces episodes that are over. The first ones are of every age, as if the world had been there before.
    pub(super) fn begin_episodes(&mut self, now: i64, is_first: bool) {
        self.cards.retire(now);
        self.terminals.retire(now);
        let (n_users, n_merchants) = (self.users.all.len(), self.merchants.all.len());
        let age_of = |length: i64, random: &mut Random| if is_first { random.below(length as usize) as i64 } else { 0 };
        // Where nearly everybody was a victim lately, a few draws find no other: then the next half hour may.
        for _ in 0..n_users {
            if !self.cards.are_few() {
                break;
            }
            let at = self.random.below(n_users);
            let user = &mut self.users.all[at];
            if user.spared_until <= now {
                let age = age_of(self.cards.length(), &mut self.random);
                user.spared_until = self.cards.begin(at, user.activity, now, age);
            }
        }
        for _ in 0..n_merchants {
            if !self.terminals.are_few() {
                break;
            }
            let at = self.random.below(n_merchants);
            let merchant = &mut self.merchants.all[at];
            if merchant.can_be_compromised(now) {
                let age = age_of(self.terminals.length(), &mut self.random);
                merchant.spared_until = self.terminals.begin(at, merchant.visits, now, age);
            }
        }
    }

    fn is_on_the_way(&mut self, user: usize, now: i64) -> bool {
        self.users.all[user].travel(now, &self.users.cities, &mut self.random)
    }

    /// A payment at a merchant: at its place, or from where the user is.
    fn pay(&mut self, user: usize, merchant: Merchant, now: i64) -> Option<Payment> {
        let somebody = &self.users.all[user];
        let position = if merchant.is_online() { somebody.at.base } else { merchant.position };
        if !somebody.can_be_at(position, now) {
            return None;
        }
        Some(Payment { user, merchant, position, euros: somebody.usual_amount(&merchant, &mut self.random) })
    }

    fn at_compromised_terminal(&mut self, now: i64) -> Option<Payment> {
        let at = self.terminals.pick(now, &mut self.random, |_| 1.0)?;
        let merchant = self.merchants.all[at];
        for _ in 0..ATTEMPTS {
            let user = self.users.pick_resident(merchant.city, &mut self.random)?;
            let is_up = self.random.chance(wakefulness(&self.users.all[user], now));
            if !is_up || self.is_on_the_way(user, now) || !self.users.all[user].is_at_home() {
                continue;
            }
            if let Some(payment) = self.pay(user, merchant, now) {
                return Some(times(self.random.between(1.5, 4.0), payment));
            }
        }
        None
    }

    /// The thief goes where the user would go.
    fn with_stolen_card(&mut self, now: i64) -> Option<Payment> {
        for _ in 0..ATTEMPTS {
            let users = &self.users.all;
            let user = self.cards.pick(now, &mut self.random, |user| wakefulness(&users[user], now))?;
            if let Some(payment) = self.ordinary_of(user, now) {
                return Some(times(5.0, payment));
            }
        }
        None
    }

    /// Of somebody who paid within the last six hours, so far away that it takes more than 950 km/h.
    fn too_far_away(&mut self, now: i64) -> Option<Payment> {
        for _ in 0..ATTEMPTS {
            let user = *self.recent.get(self.random.below(self.recent.len()))? as usize;
            let hours = (now - self.users.all[user].at.seen_at) as f64 / HOUR as f64;
            let city = self.users.cities.pick(&mut self.random);
            let local = LocalTime::at(now, CITIES[city].utc_offset);
            let category = self.choice.pick(local.hour(), local.is_weekend, &mut self.random);
            if category >= LOCAL || hours > 6.0 {
                continue;
            }
            let merchant = self.merchants.all[self.merchants.pick_local(city, category, &mut self.random)];
            let somebody = &self.users.all[user];
            if somebody.at.seen.distance_km(merchant.position) > 950.0 * hours + 300.0 {
                let euros = somebody.usual_amount(&merchant, &mut self.random);
                return Some(Payment { user, merchant, position: merchant.position, euros });
            }
        }
        None
    }

    /// A small sum, without the card being there: from where the user was last seen.
    fn card_test(&mut self, user: usize) -> Payment {
        let payment = self.without_moving(user);
        Payment { euros: self.random.between(0.5, 3.0), ..payment }
    }

    fn first_of_a_night(&mut self, now: i64) -> Option<Payment> {
        let user = self.somebody_for(Scenario::NightActivity, now)?;
        if self.is_on_the_way(user, now) || !self.users.all[user].is_at_home() {
            return None;
        }
        Some(self.by_night(user, now))
    }

    fn by_night(&mut self, user: usize, now: i64) -> Payment {
        let factor = self.random.between(1.0, 3.0);
        let payment = self.ordinary_of(user, now).unwrap_or_else(|| self.without_moving(user));
        times(factor, payment)
    }

    /// At one of a few shops that opened days ago, of somebody from another country who was never there.
    fn at_new_shop_abroad(&mut self, now: i64) -> Option<Payment> {
        self.new_shops.retain(|shop| !shop.is_gone(now));
        while self.new_shops.len() < NEW_SHOPS {
            let city = self.users.cities.pick(&mut self.random);
            let category = if self.random.chance(0.6) { ELECTRONICS } else { LEISURE };
            let number = self.merchants.new_number();
            let merchant = Merchant::open(number, city, category, &mut self.random);
            self.new_shops.push(NewShop::open(merchant, now));
        }
        let at = self.random.below(self.new_shops.len());
        let merchant = self.new_shops[at].merchant;
        for _ in 0..ATTEMPTS {
            let user = self.awake.pick(&mut self.random);
            let somebody = &self.users.all[user];
            let is_abroad = merchant.country() != somebody.country()
                && merchant.country() != CITIES[somebody.at.city].country
                && !self.new_shops[at].knows(user);
            if !is_abroad || self.is_on_the_way(user, now) {
                continue;
            }
            if let Some(payment) = self.pay(user, merchant, now) {
                self.new_shops[at].take(user);
                return Some(times(self.random.between(1.0, 3.0), payment));
            }
        }
        None
    }
}

/// How likely somebody is to be up, from 0 to 1.
fn wakefulness(user: &User, now: i64) -> f64 {
    let local = LocalTime::at(now, user.utc_offset());
    user.rhythm.activity(local.hour(), local.is_weekend) / 9.1
}

fn times(factor: f64, payment: Payment) -> Payment {
    Payment { euros: payment.euros * factor, ..payment }
}
