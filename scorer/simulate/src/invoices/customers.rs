//! Who buys: few large customers, many small ones, each with a country and habits of its own.

use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use rand_distr::{LogNormal, Pareto};

const CUSTOMERS: u32 = 700;
const FIRST_ID: u32 = 12_346;
/// Where nine customers in ten are.
pub(super) const HOME: &str = "United Kingdom";
/// Where the others are; a country named twice is twice as likely.
const ABROAD: [&str; 20] = [
    "Germany",
    "Germany",
    "Germany",
    "EIRE",
    "EIRE",
    "EIRE",
    "France",
    "France",
    "Netherlands",
    "Netherlands",
    "Spain",
    "Belgium",
    "Sweden",
    "Switzerland",
    "Portugal",
    "Denmark",
    "Italy",
    "Norway",
    "Channel Islands",
    "Australia",
];

/// How much of an article a customer takes at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Habit {
    /// A few pieces of each.
    Pieces,
    /// A box of each.
    Boxes,
    /// Several boxes of each, at a lower price.
    Pallets,
}

/// One customer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Customer {
    /// Five digits; missing when the shop did not ask.
    pub(super) id: Option<u32>,
    pub(super) country: &'static str,
    pub(super) habit: Habit,
    /// The median number of lines on this customer's invoices.
    pub(super) basket: f64,
}

impl Customer {
    /// Somebody at the counter, whom nobody asked for a number.
    pub(super) fn unknown() -> Self {
        Self { id: None, country: HOME, habit: Habit::Pieces, basket: 5.0 }
    }
}

/// All customers, and how often each of them buys.
#[derive(Debug, Clone)]
pub(super) struct Customers {
    everyone: Vec<Customer>,
    frequency: WeightedIndex<f64>,
}

impl Customers {
    /// Draws the customers of a shop.
    pub(super) fn draw(rng: &mut impl Rng) -> Self {
        let pareto = Pareto::new(1.0_f64, 1.3).expect("scale and shape are positive");
        let mut id = FIRST_ID;
        let mut everyone = Vec::new();
        let mut weights = Vec::new();
        for _ in 0..CUSTOMERS {
            id += rng.random_range(1..=15);
            // Without a cap the largest customer of a heavy tail may be half the shop.
            let weight = rng.sample(pareto).min(40.0);
            everyone.push(draw_customer(rng, id, weight));
            weights.push(weight);
        }
        let frequency = WeightedIndex::new(weights).expect("weights are positive and finite");
        Self { everyone, frequency }
    }

    /// Whoever comes next: large customers come more often.
    pub(super) fn pick(&self, rng: &mut impl Rng) -> Customer {
        self.everyone[self.frequency.sample(rng)]
    }
}

/// A customer of the given weight: the heavier, the more likely a wholesaler.
fn draw_customer(rng: &mut impl Rng, id: u32, weight: f64) -> Customer {
    let basket = LogNormal::new(7.0_f64.ln(), 0.2).expect("the spread is finite");
    let abroad = rng.random_bool(0.1);
    let country = if abroad { *ABROAD.choose(rng).unwrap_or(&HOME) } else { HOME };
    let habit = match rng.random::<f64>() {
        roll if roll < 0.01 * weight.min(10.0) => Habit::Pallets,
        roll if roll < 0.7 => Habit::Boxes,
        _ => Habit::Pieces,
    };
    Customer { id: Some(id), country, habit, basket: rng.sample(basket) }
}
