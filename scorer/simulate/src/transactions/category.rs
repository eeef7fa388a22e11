//! What is bought, when, and for how much.

use super::alias::AliasTable;
use super::random::Random;

/// A kind of merchant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Category {
    /// Share of all payments, about.
    pub(super) share: f64,
    /// Where prices are as in the euro area, an average person pays so many euros.
    pub(super) median: f64,
    /// How much payments differ: the deviation of their logarithm.
    pub(super) sigma: f64,
    /// How payments grow with income: by its power of this.
    pub(super) elasticity: f64,
    /// How much more often at weekends.
    weekend: f64,
    /// How busy each hour of the day is, by its digit.
    hours: &'static [u8; 24],
}

const fn category(
    share: f64,
    median: f64,
    sigma: f64,
    elasticity: f64,
    weekend: f64,
    hours: &'static [u8; 24],
) -> Category {
    Category { share, median, sigma, elasticity, weekend, hours }
}

/// The number of categories whose merchants are places that one goes to; the others are online.
pub(super) const LOCAL: usize = 9;
/// Electronics, among the categories.
pub(super) const ELECTRONICS: usize = 5;
/// Bars, cinemas and the like.
pub(super) const LEISURE: usize = 7;

/// All categories, the local ones first.
#[rustfmt::skip]
pub(super) const CATEGORIES: [Category; 11] = [
    category(0.25, 28.0, 0.60, 0.3, 1.3, b"000000135778865568985310"), // groceries
    category(0.15, 17.0, 0.55, 0.6, 1.2, b"210000244334997433589852"), // restaurants
    category(0.12,  4.5, 0.60, 0.2, 0.6, b"211112699643344567986432"), // transport
    category(0.06, 48.0, 0.35, 0.2, 1.0, b"111113677555555678765321"), // fuel
    category(0.06, 52.0, 0.65, 0.7, 1.6, b"000000000246776567885100"), // clothing
    category(0.03, 160.0, 0.85, 0.8, 1.4, b"000000000135665567774100"), // electronics
    category(0.05, 16.0, 0.60, 0.3, 0.6, b"000000026886646788641000"), // health
    category(0.08, 21.0, 0.65, 0.7, 1.9, b"652100001122334445789997"), // leisure
    category(0.03, 130.0, 0.55, 0.9, 1.3, b"100000355322334554334321"), // hotels
    category(0.11, 36.0, 0.85, 0.6, 1.1, b"411000134566665556789986"), // online shops
    category(0.06, 11.0, 0.45, 0.2, 1.0, b"443333456666666666677655"), // online services
];

/// How often something without a single digit of activity happens, in digits.
const HARDLY_EVER: f64 = 0.02;

/// The weight of a digit: even where it is 0, a few are awake.
pub(super) fn weight(digits: &[u8; 24], hour: usize) -> f64 {
    f64::from(digits[hour % 24].saturating_sub(b'0')) + HARDLY_EVER
}

/// What is bought at each hour of a weekday and of a weekend.
#[derive(Debug, Clone)]
pub(super) struct Choice(Vec<AliasTable>);

impl Choice {
    pub(super) fn new() -> Self {
        let table = |slot: usize| {
            let (hour, weekend) = (slot % 24, slot >= 24);
            let busy = |one: &Category| one.share * weight(one.hours, hour) / daily(one);
            let weights = CATEGORIES.iter().map(|one| busy(one) * if weekend { one.weekend } else { 1.0 });
            AliasTable::new(&weights.collect::<Vec<_>>())
        };
        Self((0..48).map(table).collect())
    }

    /// A category of what is bought at this hour.
    pub(super) fn pick(&self, hour: usize, is_weekend: bool, random: &mut Random) -> usize {
        self.0[hour % 24 + if is_weekend { 24 } else { 0 }].pick(random)
    }
}

fn daily(one: &Category) -> f64 {
    (0..24).map(|hour| weight(one.hours, hour)).sum()
}
