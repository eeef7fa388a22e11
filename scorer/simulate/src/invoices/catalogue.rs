//! What the shop sells: products in several designs, with stock codes and prices.

use std::sync::Arc;

use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::seq::{IndexedRandom, index};
use rand::{Rng, RngExt};
use rand_distr::LogNormal;

use super::line::Pence;
use super::products::{DESIGNS, PRICE_POINTS, PRODUCTS};

/// Codes from here on end in a letter for the design: the shop's older way.
const FIRST_LETTERED_CODE: u32 = 84_510;
const FIRST_CODE: u32 = 20_712;
/// An article from this price on stands out when its decimal point slips.
const DEAR: Pence = Pence(495);
/// From this price on, an article is bought the less often the dearer it is.
const FURNITURE: Pence = Pence(700);

/// One thing that can be bought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Article {
    pub(super) stock_code: Arc<str>,
    pub(super) description: Arc<str>,
    pub(super) price: Pence,
    /// What wholesalers pay: one price point below.
    pub(super) bulk_price: Pence,
}

/// All articles, and how popular each is.
#[derive(Debug, Clone)]
pub(super) struct Catalogue {
    articles: Vec<Article>,
    popularity: WeightedIndex<f64>,
    dear: Vec<Article>,
}

impl Catalogue {
    /// Draws the catalogue of a shop: every product, each in a few designs.
    pub(super) fn draw(rng: &mut impl Rng) -> Self {
        let mut codes = Codes::default();
        let mut articles = Vec::new();
        for &(name, typical_price) in PRODUCTS {
            let price = price_near(rng, typical_price);
            let n_designs = rng.random_range(4..=8);
            let lettered = rng.random_bool(0.25);
            codes.start_product(rng);
            for design in index::sample(rng, DESIGNS.len(), n_designs) {
                let stock_code = codes.next_design(lettered);
                articles.push(article(rng, stock_code, name, DESIGNS[design], price));
            }
        }
        let dear = articles.iter().filter(|a| a.price >= DEAR).cloned().collect();
        let popularity = draw_popularity(rng, &articles);
        Self { articles, popularity, dear }
    }

    /// Up to `n` different articles, at least one: popular ones are picked more often.
    pub(super) fn pick(&self, rng: &mut impl Rng, n: usize) -> Vec<&Article> {
        let mut picked: Vec<usize> = Vec::with_capacity(n);
        for _ in 0..n.max(1) {
            let position = self.popularity.sample(rng);
            if !picked.contains(&position) {
                picked.push(position);
            }
        }
        picked.into_iter().map(|at| &self.articles[at]).collect()
    }

    /// An article whose price is far from small change.
    pub(super) fn pick_dear(&self, rng: &mut impl Rng) -> &Article {
        self.dear.choose(rng).unwrap_or(&self.articles[0])
    }
}

/// Hands out stock codes: the designs of a product are neighbours.
#[derive(Debug)]
struct Codes {
    plain: u32,
    lettered: u32,
    letter: u8,
}

impl Default for Codes {
    fn default() -> Self {
        Self { plain: FIRST_CODE, lettered: FIRST_LETTERED_CODE, letter: 0 }
    }
}

impl Codes {
    fn start_product(&mut self, rng: &mut impl Rng) {
        self.plain += rng.random_range(1..=12);
        self.lettered += rng.random_range(1..=12);
        self.letter = b'A';
    }

    fn next_design(&mut self, lettered: bool) -> String {
        if lettered {
            let code = format!("{}{}", self.lettered, char::from(self.letter));
            self.letter += 1;
            code
        } else {
            self.plain += 1;
            self.plain.to_string()
        }
    }
}

fn article(rng: &mut impl Rng, stock_code: String, product: &str, design: &str, price: usize) -> Article {
    let mut description = product.replace('*', design);
    if rng.random_bool(0.15) {
        description.push(' '); // typed by people: the published data have them too
    }
    Article {
        stock_code: stock_code.into(),
        description: description.into(),
        price: Pence(PRICE_POINTS[price]),
        bulk_price: Pence(PRICE_POINTS[price.saturating_sub(1)]),
    }
}

/// The price point (its position) nearest to a log-normal draw around a product's typical price.
fn price_near(rng: &mut impl Rng, typical_price: u32) -> usize {
    let around = LogNormal::new(f64::from(typical_price).ln(), 0.2).expect("prices are positive");
    let drawn = rng.sample(around);
    let above = PRICE_POINTS.partition_point(|&point| f64::from(point) < drawn);
    let candidates = above.saturating_sub(1)..=above.min(PRICE_POINTS.len() - 1);
    let distance = |at: &usize| (f64::from(PRICE_POINTS[*at]) - drawn).abs();
    candidates.min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(0)
}

/// Any article may be a favourite, except that furniture is rarely bought with a box of candles.
fn draw_popularity(rng: &mut impl Rng, articles: &[Article]) -> WeightedIndex<f64> {
    let spread = LogNormal::new(0.0, 0.9).expect("the spread is finite");
    let mut weight = |article: &Article| {
        let times_dear = f64::from(article.price.0) / f64::from(FURNITURE.0);
        rng.sample(spread) / times_dear.max(1.0).powi(3)
    };
    let weights: Vec<f64> = articles.iter().map(&mut weight).collect();
    WeightedIndex::new(weights).expect("weights are positive and finite")
}
