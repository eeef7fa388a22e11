//! Who pays: where they live, what they earn, when they are awake, where they usually go, and where they are now.

use super::alias::AliasTable;
use super::category::{CATEGORIES, LOCAL};
use super::merchants::{Merchant, Merchants};
use super::places::{CITIES, COUNTRIES, Position};
use super::random::Random;
use super::rhythm::Rhythm;

/// How far people live from the centre of their city, in kilometres.
const SPREAD_KM: f64 = 6.0;
/// How far hotels are from it.
const HOTELS_KM: f64 = 3.0;
/// The mean time from one journey to the next, in days.
const DAYS_BETWEEN_JOURNEYS: f64 = 45.0;
/// Share of journeys within the country.
const DOMESTIC: f64 = 0.6;
/// Share of online payments to merchants of the country at home.
const ONLINE_AT_HOME: f64 = 0.75;
/// Share of payments that go to where somebody usually goes for such things.
const USUAL: f64 = 0.7;

pub(super) const HOUR: i64 = 3_600_000;
pub(super) const DAY: i64 = 24 * HOUR;

/// One user.
#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) city: usize,
    pub(super) home: Position,
    pub(super) rhythm: Rhythm,
    /// Beside the average of the country.
    pub(super) income: f64,
    /// How often they pay: 1 on the average.
    pub(super) activity: f64,
    /// Where they usually go, by local category.
    usual: [u32; LOCAL],
    /// Where they are.
    pub(super) at: Whereabouts,
    /// Until when their card is not stolen again, in milliseconds since 1970.
    pub(super) spared_until: i64,
}

/// Where somebody is, and was last seen to pay. Times are milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Whereabouts {
    pub(super) city: usize,
    /// At home, or in a hotel.
    pub(super) base: Position,
    /// On the way until then.
    arrives: i64,
    /// When the journey ends, or, at home, when the next one begins.
    leaves: i64,
    /// When and where the last payment was made; before the first, long ago at home.
    pub(super) seen_at: i64,
    pub(super) seen: Position,
}

impl User {
    pub(super) fn country(&self) -> usize {
        CITIES[self.city].country
    }

    pub(super) fn utc_offset(&self) -> i64 {
        CITIES[self.city].utc_offset
    }

    pub(super) fn is_at_home(&self) -> bool {
        self.at.city == self.city
    }

    /// Begins and ends journeys; whether they are on the way now, and pay nothing.
    pub(super) fn travel(&mut self, now: i64, cities: &AliasTable, random: &mut Random) -> bool {
        if now >= self.at.arrives && now >= self.at.leaves {
            if self.is_at_home() {
                let destination = self.destination(cities, random);
                self.set_out(now, destination, random);
                self.at.leaves = self.at.arrives + (random.between(1.0, 8.0) * DAY as f64) as i64;
            } else {
                self.set_out(now, self.city, random);
                self.at.leaves = self.at.arrives + time_to_journey(random);
            }
        }
        now < self.at.arrives
    }

    fn destination(&self, cities: &AliasTable, random: &mut Random) -> usize {
        let is_domestic = random.chance(DOMESTIC);
        // Every country has three cities: a few draws find another one.
        for _ in 0..64 {
            let city = cities.pick(random);
            if city != self.city && (!is_domestic || CITIES[city].country == self.country()) {
                return city;
            }
        }
        self.city
    }

    fn set_out(&mut self, now: i64, city: usize, random: &mut Random) {
        let distance = CITIES[self.at.city].centre.distance_km(CITIES[city].centre);
        // 600 km/h from door to door on the average, and half a day of packing and waiting.
        self.at.arrives = now + ((distance / 600.0 + 4.0) * HOUR as f64) as i64;
        self.at.city = city;
        self.at.base = if city == self.city { self.home } else { CITIES[city].centre.around(HOTELS_KM, random) };
    }

    /// Whether they can be at a place now, coming from where they were last seen: at the pace of a city near by, and of an
    /// airliner (700 km/h, and half an hour) far away.
    pub(super) fn can_be_at(&self, place: Position, now: i64) -> bool {
        let hours = (now - self.at.seen_at) as f64 / HOUR as f64;
        if place == self.at.seen || hours > 32.0 {
            return true; // half the earth's circumference takes 29 hours
        }
        let reach = (50.0 * hours).min(50.0).max(700.0 * (hours - 0.5));
        // North and south alone often are too far, which spares the trigonometry.
        place.north_km(self.at.seen) <= reach && self.at.seen.distance_km(place) <= reach
    }

    /// What they pay at a merchant, in euros, `random` aside: by category, prices there, and income.
    pub(super) fn usual_amount(&self, merchant: &Merchant, random: &mut Random) -> f64 {
        let category = &CATEGORIES[merchant.category];
        let level = COUNTRIES[merchant.country()].price_level;
        // In a poor country the rich are rich by its measure; abroad they pay what things cost there.
        let income = libm::exp(category.elasticity * libm::log(self.income));
        random.log_normal(category.median * merchant.price * level * income, category.sigma)
    }
}

fn time_to_journey(random: &mut Random) -> i64 {
    (random.exponential(DAYS_BETWEEN_JOURNEYS) * DAY as f64) as i64
}

/// All users.
#[derive(Debug, Clone)]
pub(super) struct Users {
    pub(super) all: Vec<User>,
    /// Who lives where.
    by_city: Vec<Vec<u32>>,
    /// Cities by how many people live there.
    pub(super) cities: AliasTable,
    countries: AliasTable,
}

impl Users {
    /// Draws `n` users, whose first day is `start`.
    pub(super) fn draw(n: usize, start: i64, merchants: &Merchants, random: &mut Random) -> Self {
        let cities = AliasTable::new(&CITIES.map(|city| city.share));
        let rhythms = AliasTable::new(&Rhythm::SHARES.map(|(_, share)| share));
        let country_share =
            |country: usize| CITIES.iter().filter(|city| city.country == country).map(|city| city.share).sum::<f64>();
        let countries = AliasTable::new(&(0..COUNTRIES.len()).map(country_share).collect::<Vec<_>>());
        let mut users = Self { all: Vec::with_capacity(n), by_city: vec![Vec::new(); CITIES.len()], cities, countries };
        for index in 0..n as u32 {
            let city = users.cities.pick(random);
            let rhythm = Rhythm::SHARES[rhythms.pick(random)].0;
            users.by_city[city].push(index);
            users.all.push(draw_user(city, rhythm, start, merchants, random));
        }
        users
    }

    /// Anybody who lives in a city, if anybody does.
    pub(super) fn pick_resident(&self, city: usize, random: &mut Random) -> Option<usize> {
        let residents = &self.by_city[city];
        residents.get(random.below(residents.len())).map(|&at| at as usize)
    }

    /// Where somebody goes for things of a category.
    pub(super) fn pick_merchant(
        &self,
        user: usize,
        category: usize,
        merchants: &Merchants,
        random: &mut Random,
    ) -> usize {
        let user = &self.all[user];
        if category >= LOCAL {
            let is_home = random.chance(ONLINE_AT_HOME);
            let country = if is_home { user.country() } else { self.countries.pick(random) };
            merchants.pick_online(country, category, random)
        } else if user.is_at_home() && random.chance(USUAL) {
            user.usual[category] as usize
        } else {
            merchants.pick_local(user.at.city, category, random)
        }
    }
}

fn draw_user(city: usize, rhythm: Rhythm, start: i64, merchants: &Merchants, random: &mut Random) -> User {
    let home = CITIES[city].centre.around(SPREAD_KM, random);
    let income = random.log_normal(if rhythm == Rhythm::Student { 0.6 } else { 1.0 }, 0.45);
    let activity = random.log_normal(0.9, 0.45); // its mean is about 1
    let usual = std::array::from_fn(|category| near_home(home, city, category, merchants, random) as u32);
    let at = Whereabouts {
        city,
        base: home,
        arrives: i64::MIN,
        leaves: start + time_to_journey(random),
        seen_at: start - 365 * DAY,
        seen: home,
    };
    User { city, home, rhythm, income, activity, usual, at, spared_until: i64::MIN }
}

/// The nearest of three that are popular.
fn near_home(home: Position, city: usize, category: usize, merchants: &Merchants, random: &mut Random) -> usize {
    let mut nearest = (f64::INFINITY, 0);
    for _ in 0..3 {
        let at = merchants.pick_local(city, category, random);
        let distance = merchants.all[at].position.distance_km(home);
        if distance < nearest.0 {
            nearest = (distance, at);
        }
    }
    nearest.1
}
