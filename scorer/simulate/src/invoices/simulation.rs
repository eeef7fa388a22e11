//! One day of the shop after another.

use chrono::{Datelike, Days, NaiveDate};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::Poisson;

use super::anomaly::Anomaly;
use super::basket::{fill_basket, stock_adjustment};
use super::calendar::{Hours, at_minute, opening_hours};
use super::cancellation::RecentPurchases;
use super::catalogue::Catalogue;
use super::config::CheckedConfig;
use super::customers::{Customer, Customers};
use super::flaw::Flaw;
use super::invoice::Invoice;
use super::line::Line;

/// The stream of random numbers that draws the shop. Days have their number since year 1, which is never 0.
const SHOP_STREAM: u64 = 0;
/// Share of the invoices without a customer that are corrections of a stock count.
const ADJUSTMENTS: f64 = 0.25;
/// Share of the pairs of invoices of one minute whose lines come mixed.
const MIXED_PAIRS: f64 = 0.5;

/// The invoices of one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Day {
    /// By time and by number.
    pub invoices: Vec<Invoice>,
    /// The lines in the order in which they are written: (position of the invoice, position of its line).
    order: Vec<(usize, usize)>,
}

impl Day {
    /// The lines in the order in which they are written, each with its invoice.
    pub fn records(&self) -> impl Iterator<Item = (&Invoice, &Line)> {
        self.order.iter().map(|&(invoice, line)| {
            let invoice = &self.invoices[invoice];
            (invoice, &invoice.lines[line])
        })
    }
}

/// An iterator over the days on which the shop is open. It holds one day and the latest few hundred purchases,
/// so a simulation may be far larger than memory.
#[derive(Debug, Clone)]
pub struct Simulation {
    config: CheckedConfig,
    catalogue: Catalogue,
    customers: Customers,
    recent: RecentPurchases,
    next_day: u32,
    next_number: u32,
}

impl Simulation {
    /// Draws the shop and stands before its first day.
    pub fn new(config: CheckedConfig) -> Self {
        let mut rng = random_stream(config.seed, SHOP_STREAM);
        Self {
            config,
            catalogue: Catalogue::draw(&mut rng),
            customers: Customers::draw(&mut rng),
            recent: RecentPurchases::default(),
            next_day: 0,
            next_number: config.first_invoice,
        }
    }

    fn simulate_day(&mut self, date: NaiveDate, hours: Hours) -> Day {
        let day_number = u64::from(date.num_days_from_ce().unsigned_abs());
        let mut rng = random_stream(self.config.seed, day_number);
        let plan = self.plan_day(&mut rng, hours);
        let mut invoices = Vec::with_capacity(plan.len());
        for (minute_of_day, event) in plan {
            let Some(mut invoice) = self.write_invoice(&mut rng, event) else {
                continue; // a cancellation, and nothing that could be cancelled
            };
            invoice.number = self.next_number;
            invoice.minute = at_minute(date, minute_of_day);
            self.next_number += 1;
            self.recent.remember(&invoice);
            invoices.push(invoice);
        }
        let order = written_order(&mut rng, &invoices);
        Day { invoices, order }
    }

    /// What happens on a day, and at which minute; by time.
    fn plan_day(&self, rng: &mut impl Rng, hours: Hours) -> Vec<(u32, Event)> {
        let mut plan = Vec::new();
        for _ in 0..purchases_on(rng, self.config.invoices_per_day * hours.share) {
            let minute = hours.minute_of_day(rng);
            if rng.random_bool(self.config.anomaly_rate) {
                let anomaly = Anomaly::pick(rng);
                plan.push((anomaly.minute_of_day(rng, minute), Event::Strange(anomaly)));
            } else if rng.random_bool(self.config.missing_customer_rate) {
                plan.push((minute, Event::WithoutCustomer));
            } else {
                plan.push((minute, Event::Ordinary));
            }
            if rng.random_bool(self.config.cancellation_rate) {
                plan.push((hours.minute_of_day(rng), Event::Cancellation));
            }
        }
        plan.sort_by_key(|&(minute, _)| minute);
        plan
    }

    /// The invoice of an event; its number and time are not yet its own.
    fn write_invoice(&mut self, rng: &mut impl Rng, event: Event) -> Option<Invoice> {
        let customer = match event {
            Event::Cancellation => return self.recent.cancel_one(rng),
            Event::WithoutCustomer => Customer::unknown(),
            Event::Ordinary | Event::Strange(_) => self.customers.pick(rng),
        };
        let lines = match event {
            Event::WithoutCustomer if rng.random_bool(ADJUSTMENTS) => stock_adjustment(rng, &self.catalogue),
            _ => fill_basket(rng, &self.catalogue, &customer),
        };
        let mut invoice = purchase(&customer, lines);
        if let Event::Strange(anomaly) = event {
            // Never malformed: a label must not depend on lines that nobody can read.
            anomaly.distort(rng, &self.catalogue, &mut invoice.lines);
            invoice.anomaly = Some(anomaly);
        } else {
            garble(rng, &mut invoice.lines, self.config.malformed_rate);
        }
        Some(invoice)
    }
}

impl Iterator for Simulation {
    type Item = Day;

    fn next(&mut self) -> Option<Day> {
        while self.next_day < self.config.days {
            let date = self.config.start + Days::new(u64::from(self.next_day));
            self.next_day += 1;
            if let Some(hours) = opening_hours(date) {
                return Some(self.simulate_day(date, hours));
            }
        }
        None
    }
}

/// Why an invoice is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Ordinary,
    WithoutCustomer,
    Strange(Anomaly),
    Cancellation,
}

/// One seed gives as many independent generators as are asked for.
fn random_stream(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

fn purchases_on(rng: &mut impl Rng, mean: f64) -> u32 {
    let poisson = Poisson::new(mean).expect("the mean of a checked configuration is positive");
    rng.sample(poisson) as u32
}

fn purchase(customer: &Customer, lines: Vec<Line>) -> Invoice {
    Invoice {
        number: 0,
        cancels: false,
        anomaly: None,
        minute: chrono::NaiveDateTime::default(),
        customer: customer.id,
        country: customer.country,
        lines,
    }
}

/// Gives lines a flaw, but never the first: an invoice that is announced can also be seen.
fn garble(rng: &mut impl Rng, lines: &mut [Line], malformed_rate: f64) {
    for line in lines.iter_mut().skip(1) {
        if rng.random_bool(malformed_rate) {
            line.flaw = Some(Flaw::pick(rng));
        }
    }
}

/// Invoices one after the other; of two with the same minute the lines may come mixed, as from two tills.
fn written_order(rng: &mut impl Rng, invoices: &[Invoice]) -> Vec<(usize, usize)> {
    let mut order = Vec::with_capacity(invoices.iter().map(|i| i.lines.len()).sum());
    let mut first = 0;
    while first < invoices.len() {
        let second = first + 1;
        let pair = second < invoices.len() && invoices[first].minute == invoices[second].minute;
        if pair && rng.random_bool(MIXED_PAIRS) {
            mix(rng, invoices, first, &mut order);
            first += 2;
        } else {
            order.extend((0..invoices[first].lines.len()).map(|line| (first, line)));
            first += 1;
        }
    }
    order
}

/// Mixes the lines of the invoices at `first` and after it; each keeps its lines' order, the first begins.
fn mix(rng: &mut impl Rng, invoices: &[Invoice], first: usize, order: &mut Vec<(usize, usize)>) {
    let total = [invoices[first].lines.len(), invoices[first + 1].lines.len()];
    let mut written = [0, 0];
    let mut till = 0;
    while written != total {
        if written[till] < total[till] {
            order.push((first + till, written[till]));
            written[till] += 1;
        }
        if written[till] == total[till] || rng.random_bool(0.3) {
            till = 1 - till;
        }
    }
}
