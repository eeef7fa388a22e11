//! What can be strange about an invoice.
//!
//! Every kind shows in at least one of the features that the shipped pipeline computes of an invoice: its mean,
//! lowest and highest unit price, its hour of day and its number of items.

use std::fmt;

use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};

use super::basket::ordinary_line;
use super::calendar::night_minute;
use super::catalogue::Catalogue;
use super::customers::Habit;
use super::line::{Line, Pence};

/// The kinds of anomaly; the label is the kind in `snake_case`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Anomaly {
    /// One line of thousands of items: a slipped keyboard, or an order the shop cannot serve.
    BulkQuantity,
    /// One unit price a hundred times too high: the decimal point slipped.
    PriceSpike,
    /// Written between 1:00 and 3:59.
    NightOrder,
    /// Every unit price in pence where pounds are meant.
    PenceAsPounds,
    /// Dozens of lines, of several boxes each.
    HugeBasket,
    /// Goods taken back without the `C` of a cancellation: many items below zero.
    UnmarkedReturn,
}

impl Anomaly {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::BulkQuantity,
        Self::PriceSpike,
        Self::NightOrder,
        Self::PenceAsPounds,
        Self::HugeBasket,
        Self::UnmarkedReturn,
    ];

    /// The name in label files.
    pub fn label(self) -> &'static str {
        match self {
            Self::BulkQuantity => "bulk_quantity",
            Self::PriceSpike => "price_spike",
            Self::NightOrder => "night_order",
            Self::PenceAsPounds => "pence_as_pounds",
            Self::HugeBasket => "huge_basket",
            Self::UnmarkedReturn => "unmarked_return",
        }
    }

    /// Any kind, all equally likely.
    pub(super) fn pick(rng: &mut impl Rng) -> Self {
        *Self::ALL.choose(rng).unwrap_or(&Self::BulkQuantity)
    }

    /// When such an invoice is written, where an ordinary one would be written at `minute_of_day`.
    pub(super) fn minute_of_day(self, rng: &mut impl Rng, minute_of_day: u32) -> u32 {
        match self {
            Self::NightOrder => night_minute(rng),
            _ => minute_of_day,
        }
    }

    /// Makes the lines of an ordinary invoice strange.
    pub(super) fn distort(self, rng: &mut impl Rng, catalogue: &Catalogue, lines: &mut Vec<Line>) {
        match self {
            Self::BulkQuantity => order_thousands(rng, lines),
            Self::PriceSpike => slip_decimal_point(rng, catalogue, lines),
            Self::NightOrder => {} // only its hour is strange
            Self::PenceAsPounds => lines.iter_mut().for_each(hundredfold),
            Self::HugeBasket => *lines = order_everything(rng, catalogue),
            Self::UnmarkedReturn => take_back(rng, lines),
        }
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

fn order_thousands(rng: &mut impl Rng, lines: &mut [Line]) {
    let at = rng.random_range(0..lines.len());
    lines[at].quantity = 100 * rng.random_range(40..=200);
}

/// One line becomes a dear article's, so that its hundredfold price is one that nothing in the shop has.
fn slip_decimal_point(rng: &mut impl Rng, catalogue: &Catalogue, lines: &mut [Line]) {
    let at = rng.random_range(0..lines.len());
    let article = catalogue.pick_dear(rng);
    lines[at] = ordinary_line(rng, article, Habit::Pieces);
    hundredfold(&mut lines[at]);
}

fn hundredfold(line: &mut Line) {
    line.unit_price = Pence(line.unit_price.0 * 100);
}

fn order_everything(rng: &mut impl Rng, catalogue: &Catalogue) -> Vec<Line> {
    let n_lines = rng.random_range(60..=90);
    let articles = catalogue.pick(rng, n_lines);
    let several_boxes = |article| {
        let mut line = ordinary_line(rng, article, Habit::Pallets);
        line.quantity *= 2;
        line
    };
    articles.into_iter().map(several_boxes).collect()
}

fn take_back(rng: &mut impl Rng, lines: &mut [Line]) {
    for line in lines.iter_mut() {
        line.quantity = -line.quantity;
    }
    // A basket of single pieces would hardly show: one line is always a large return.
    let at = rng.random_range(0..lines.len());
    lines[at].quantity = -12 * rng.random_range(100..=400);
}
