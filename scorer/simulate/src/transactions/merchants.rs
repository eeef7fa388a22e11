//! Where people pay: shops in cities, and shops on the net.

use super::alias::AliasTable;
use super::category::{CATEGORIES, LOCAL};
use super::places::{CITIES, COUNTRIES, Currency, Position};
use super::random::Random;

/// How far shops are from the centre of their city, in kilometres.
const SPREAD_KM: f64 = 4.0;
/// Shops with so many times the mean number of payments are no place to hide fraud.
const WATCHED: f64 = 6.0;

/// One merchant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Merchant {
    /// Its number: another one whenever another merchant takes its place.
    pub(super) number: u32,
    pub(super) city: usize,
    pub(super) category: usize,
    /// Of an online merchant, where its company is; payments to it are made elsewhere.
    pub(super) position: Position,
    /// Its prices beside those of its category.
    pub(super) price: f64,
    /// How often people pay there: 1 on the average.
    pub(super) visits: f64,
    /// Until when it is not a scene of fraud again, in milliseconds since 1970.
    pub(super) spared_until: i64,
}

impl Merchant {
    /// A new one.
    pub(super) fn open(number: u32, city: usize, category: usize, random: &mut Random) -> Self {
        Self {
            number,
            city,
            category,
            position: CITIES[city].centre.around(SPREAD_KM, random),
            price: random.log_normal(1.0, 0.35),
            visits: 1.0,
            spared_until: i64::MIN,
        }
    }

    pub(super) fn is_online(&self) -> bool {
        self.category >= LOCAL
    }

    pub(super) fn country(&self) -> usize {
        CITIES[self.city].country
    }

    pub(super) fn currency(&self) -> Currency {
        COUNTRIES[self.country()].currency
    }

    /// Whether fraud can hide among its payments, and has not done so lately.
    pub(super) fn can_be_compromised(&self, timestamp: i64) -> bool {
        !self.is_online() && self.visits < WATCHED && self.visits > 0.1 && self.spared_until <= timestamp
    }
}

/// Merchants of one category in one place, and how popular each is.
#[derive(Debug, Clone, Default)]
struct Cell {
    members: Vec<u32>,
    by_popularity: AliasTable,
}

/// All merchants.
#[derive(Debug, Clone)]
pub(super) struct Merchants {
    pub(super) all: Vec<Merchant>,
    /// By city and category for local ones, by country and category for online ones.
    local: Vec<Cell>,
    online: Vec<Cell>,
    next_number: u32,
}

/// The fewest merchants with which every city has one of every local category, and every country of every other.
pub(super) const FEWEST: usize = CITIES.len() * LOCAL + COUNTRIES.len() * (CATEGORIES.len() - LOCAL);

impl Merchants {
    /// Draws `n` merchants, at least [`FEWEST`].
    pub(super) fn draw(n: usize, random: &mut Random) -> Self {
        let mut merchants = Self {
            all: Vec::with_capacity(n),
            local: vec![Cell::default(); CITIES.len() * CATEGORIES.len()],
            online: vec![Cell::default(); COUNTRIES.len() * CATEGORIES.len()],
            next_number: 1,
        };
        for city in 0..CITIES.len() {
            (0..LOCAL).for_each(|category| merchants.add(city, category, random));
        }
        for country in 0..COUNTRIES.len() {
            // The first city of a country is its largest.
            let seat = CITIES.iter().position(|city| city.country == country).unwrap_or(0);
            (LOCAL..CATEGORIES.len()).for_each(|category| merchants.add(seat, category, random));
        }
        let cities = AliasTable::new(&CITIES.map(|city| city.share));
        // Many small shops and bars, few hotels: by the square root of what is paid there.
        let categories = AliasTable::new(&CATEGORIES.map(|category| category.share.sqrt()));
        while merchants.all.len() < n {
            let (city, category) = (cities.pick(random), categories.pick(random));
            merchants.add(city, category, random);
        }
        merchants.draw_popularity(random);
        merchants
    }

    fn add(&mut self, city: usize, category: usize, random: &mut Random) {
        let number = self.new_number();
        let merchant = Merchant::open(number, city, category, random);
        let at = self.all.len() as u32;
        self.cell_mut(&merchant).members.push(at);
        self.all.push(merchant);
    }

    fn cell_mut(&mut self, merchant: &Merchant) -> &mut Cell {
        let (cells, place) = if merchant.is_online() {
            (&mut self.online, merchant.country())
        } else {
            (&mut self.local, merchant.city)
        };
        &mut cells[place * CATEGORIES.len() + merchant.category]
    }

    /// Few are popular: popularity falls about as in a heavy-tailed log-normal distribution.
    fn draw_popularity(&mut self, random: &mut Random) {
        let n_local = self.all.iter().filter(|merchant| !merchant.is_online()).count() as f64;
        let local_share: f64 = CATEGORIES[..LOCAL].iter().map(|category| category.share).sum();
        let people: f64 = CITIES.iter().map(|city| city.share).sum();
        for cell in self.local.iter_mut().chain(&mut self.online) {
            let weights: Vec<f64> = cell.members.iter().map(|_| random.log_normal(1.0, 1.0)).collect();
            let sum: f64 = weights.iter().sum();
            for (&at, weight) in cell.members.iter().zip(&weights) {
                let merchant = &mut self.all[at as usize];
                let share = CITIES[merchant.city].share / people * CATEGORIES[merchant.category].share / local_share;
                merchant.visits = share * weight / sum * n_local;
            }
            cell.by_popularity = AliasTable::new(&weights);
        }
    }

    /// A merchant of a local category, in a city.
    pub(super) fn pick_local(&self, city: usize, category: usize, random: &mut Random) -> usize {
        self.local[city * CATEGORIES.len() + category].pick(random)
    }

    /// An online merchant with its seat in a country.
    pub(super) fn pick_online(&self, country: usize, category: usize, random: &mut Random) -> usize {
        self.online[country * CATEGORIES.len() + category].pick(random)
    }

    /// A number that no merchant had before.
    pub(super) fn new_number(&mut self) -> u32 {
        let number = self.next_number;
        self.next_number = number.saturating_add(1);
        number
    }

    /// A merchant gives up and another one opens in the same city and line of business: new ones are nothing strange.
    pub(super) fn replace_one(&mut self, timestamp: i64, random: &mut Random) {
        let at = random.below(self.all.len());
        let old = self.all[at];
        if old.spared_until > timestamp {
            return; // fraud at one terminal stays at that terminal
        }
        let number = self.new_number();
        let opened = Merchant::open(number, old.city, old.category, random);
        self.all[at] = Merchant { visits: old.visits, ..opened };
    }
}

impl Cell {
    fn pick(&self, random: &mut Random) -> usize {
        self.members[self.by_popularity.pick(random)] as usize
    }
}
