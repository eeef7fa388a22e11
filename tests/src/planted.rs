//! Real invoices that are made strange in the ways of the simulator: what is planted is known, and everything else is as it was.

use std::collections::HashMap;
use std::path::Path;

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

/// The kinds of anomaly, named as the simulator labels them.
pub const KINDS: [&str; 6] =
    ["bulk_quantity", "price_spike", "night_order", "pence_as_pounds", "huge_basket", "unmarked_return"];

/// The columns of a file of purchases.
pub const HEADER: &str = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country";

/// Lines of a large basket.
const HUGE_BASKET: std::ops::RangeInclusive<usize> = 60..=90;

/// Pieces of an article in a large basket: two pallets of boxes.
const TWO_PALLETS: [i64; 4] = [96, 144, 192, 288];

/// The share of all prices above which an article is dear.
const DEAR: f64 = 0.95;

/// A purchase: its day, its hour and minute, and the quantity and the unit price of each line.
#[derive(Debug, Clone)]
struct Purchase {
    day: String,
    time: String,
    lines: Vec<(i64, f64)>,
}

/// Real purchases to make strange ones of.
#[derive(Debug)]
pub struct Purchases {
    purchases: Vec<Purchase>,
    /// Every price that was paid, rising.
    prices: Vec<f64>,
}

impl Purchases {
    /// Those of customers in a file of the real data, without cancellations.
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let mut by_number: HashMap<&str, usize> = HashMap::new();
        let mut purchases: Vec<Purchase> = Vec::new();
        for line in text.lines().skip(1) {
            let (number, _) = line.split_once(',').unwrap();
            // The description may hold commas, the fields after it do not.
            let mut fields = line.rsplit(',').skip(1);
            let [customer, price, date, quantity] = std::array::from_fn(|_| fields.next().unwrap_or_default());
            let (Ok(price), Ok(quantity), Some((day, time))) = (price.parse(), quantity.parse(), date.split_once(' '))
            else {
                continue;
            };
            if customer.is_empty() || !number.starts_with(|first: char| first.is_ascii_digit()) {
                continue;
            }
            let index = *by_number.entry(number).or_insert_with(|| {
                purchases.push(Purchase { day: day.to_owned(), time: time.to_owned(), lines: Vec::new() });
                purchases.len() - 1
            });
            purchases[index].lines.push((quantity, price));
        }
        let mut prices: Vec<f64> = purchases.iter().flat_map(|purchase| &purchase.lines).map(|line| line.1).collect();
        prices.sort_by(f64::total_cmp);
        Self { purchases, prices }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.purchases.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.purchases.is_empty()
    }

    /// One of them made strange, as lines of a file under the invoice number `number`.
    pub fn strange(&self, kind: &str, number: &str, rng: &mut ChaCha8Rng) -> String {
        let mut purchase = self.purchases.choose(rng).unwrap().clone();
        let at = rng.random_range(0..purchase.lines.len());
        match kind {
            "bulk_quantity" => purchase.lines[at].0 = 100 * rng.random_range(40..=200),
            "price_spike" => {
                let dear = &self.prices[(self.prices.len() as f64 * DEAR) as usize..];
                purchase.lines[at] = (1, dear.choose(rng).unwrap() * 100.0);
            }
            "night_order" => purchase.time = format!("{}:{:02}", rng.random_range(1..=3), rng.random_range(0..60)),
            "pence_as_pounds" => purchase.lines.iter_mut().for_each(|line| line.1 *= 100.0),
            "huge_basket" => {
                let n_lines = rng.random_range(HUGE_BASKET);
                let line = |_| (*TWO_PALLETS.choose(rng).unwrap(), *self.prices.choose(rng).unwrap());
                purchase.lines = (0..n_lines).map(line).collect();
            }
            "unmarked_return" => {
                purchase.lines.iter_mut().for_each(|line| line.0 = -line.0);
                purchase.lines[at].0 = -12 * rng.random_range(100..=400);
            }
            other => panic!("`{other}` is no kind of anomaly"),
        }
        purchase.written(number)
    }
}

impl Purchase {
    fn written(&self, number: &str) -> String {
        let line = |(quantity, price): &(i64, f64)| {
            format!("{number},99999,PLANTED,{quantity},{} {},{price:.2},99999,United Kingdom\n", self.day, self.time)
        };
        self.lines.iter().map(line).collect()
    }
}

/// The same lines under another invoice number.
pub fn renumbered(lines: &str, number: &str) -> String {
    lines.lines().map(|line| format!("{number},{}\n", line.split_once(',').unwrap().1)).collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const HISTORY: &str = "1,a,\"COMMAS, IN A NAME\",6,12/1/2009 7:45,2.55,13085,United Kingdom\n\
        1,b,PLAIN,12,12/1/2009 7:45,1.25,13085,United Kingdom\n\
        C2,b,TAKEN BACK,-12,12/1/2009 8:00,1.25,13085,United Kingdom\n\
        3,c,NOBODY'S,1,12/1/2009 8:10,9.0,,United Kingdom\n\
        4,d,DEAR,2,12/1/2009 9:30,95.0,13085,France\n";

    #[test]
    fn every_kind_is_strange_in_its_own_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.csv");
        std::fs::write(&path, format!("{HEADER}\n{HISTORY}")).unwrap();
        let purchases = Purchases::read(&path);
        assert_eq!(purchases.len(), 2, "a cancellation and what is nobody's are no purchases");
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut lines = |kind: &str| -> Vec<Vec<String>> {
            let lines = purchases.strange(kind, "P7", &mut rng);
            lines.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
        };
        let number = |field: &str| field.parse::<f64>().unwrap();
        assert!(KINDS.iter().all(|kind| lines(kind).iter().all(|line| line.len() == 8 && line[0] == "P7")));
        assert!(lines("bulk_quantity").iter().any(|line| number(&line[3]) >= 4000.0));
        assert!(lines("price_spike").iter().any(|line| number(&line[5]) == 9500.0));
        assert!(lines("night_order").iter().all(|line| (1.0..4.0).contains(&number(&line[4][10..11]))));
        assert!(lines("pence_as_pounds").iter().all(|line| number(&line[5]) >= 125.0));
        assert!(lines("huge_basket").len() >= 60);
        assert!(lines("unmarked_return").iter().all(|line| number(&line[3]) < 0.0));
        assert_eq!(renumbered("P7,a,b\nP7,c,d\n", "Q1"), "Q1,a,b\nQ1,c,d\n");
    }
}
