//! What an ordinary customer buys at once.

use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use rand_distr::LogNormal;

use super::catalogue::{Article, Catalogue};
use super::customers::{Customer, HOME, Habit};
use super::line::{Line, Pence};

const MAX_LINES: usize = 25;
/// From so many pieces of an article on, a wholesaler pays the lower price.
const DISCOUNT_FROM: i64 = 48;

/// The lines of an ordinary purchase: at least one, each of another article.
pub(super) fn fill_basket(rng: &mut impl Rng, catalogue: &Catalogue, customer: &Customer) -> Vec<Line> {
    let spread = LogNormal::new(customer.basket.ln(), 0.4).expect("baskets are positive");
    let n_lines = (rng.sample(spread).round() as usize).clamp(1, MAX_LINES);
    let mut lines: Vec<Line> =
        catalogue.pick(rng, n_lines).into_iter().map(|article| ordinary_line(rng, article, customer.habit)).collect();
    if customer.country != HOME && rng.random_bool(0.6) {
        lines.push(postage(rng));
    }
    lines
}

/// One article in the quantity, and at the price, that the customer's habit gives.
pub(super) fn ordinary_line(rng: &mut impl Rng, article: &Article, habit: Habit) -> Line {
    let quantity = ordinary_quantity(rng, article.price, habit);
    let unit_price = match habit {
        Habit::Pallets if quantity >= DISCOUNT_FROM => article.bulk_price,
        _ => article.price,
    };
    Line {
        stock_code: article.stock_code.clone(),
        description: article.description.clone(),
        quantity,
        unit_price,
        flaw: None,
    }
}

/// The correction of a stock count: no customer, no description, no price, and pieces that went missing.
pub(super) fn stock_adjustment(rng: &mut impl Rng, catalogue: &Catalogue) -> Vec<Line> {
    let mut lines: Vec<Line> =
        catalogue.pick(rng, 1).into_iter().map(|article| ordinary_line(rng, article, Habit::Boxes)).collect();
    for line in &mut lines {
        line.description = "".into();
        line.quantity = -line.quantity;
        line.unit_price = Pence(0);
    }
    lines
}

fn ordinary_quantity(rng: &mut impl Rng, price: Pence, habit: Habit) -> i64 {
    let boxful = boxful(rng, price);
    match habit {
        Habit::Pieces => rng.random_range(1..=boxful.clamp(2, 6)),
        Habit::Boxes => boxful * if rng.random_bool(0.15) { 2 } else { 1 },
        Habit::Pallets => boxful * rng.random_range(2..=3),
    }
}

/// Pieces in a box: the cheaper the article, the more.
fn boxful(rng: &mut impl Rng, price: Pence) -> i64 {
    let usual: &[i64] = match price.0 {
        0..60 => &[24, 24, 24, 25, 12],
        60..200 => &[12, 12, 12, 10, 24],
        200..500 => &[6, 6, 6, 12, 8],
        500..1000 => &[4, 4, 3, 6, 2],
        _ => &[1, 1, 2, 2, 4],
    };
    *usual.choose(rng).unwrap_or(&1)
}

fn postage(rng: &mut impl Rng) -> Line {
    Line {
        stock_code: "POST".into(),
        description: "POSTAGE".into(),
        quantity: rng.random_range(1..=3),
        unit_price: Pence(1800),
        flaw: None,
    }
}
