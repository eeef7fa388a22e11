//! Cancellations: lines of an earlier invoice, taken back.

use std::collections::VecDeque;

use rand::seq::index;
use rand::{Rng, RngExt};

use super::invoice::Invoice;
use super::line::Line;

/// So many of the latest purchases can still be cancelled: about a week of a small shop, and a bound on memory.
const REMEMBERED: usize = 400;

/// The latest purchases that can be cancelled.
#[derive(Debug, Clone, Default)]
pub(super) struct RecentPurchases(VecDeque<Invoice>);

impl RecentPurchases {
    /// Remembers an invoice, if it is one that its customer may take back: an ordinary one of a known customer.
    pub(super) fn remember(&mut self, invoice: &Invoice) {
        if invoice.anomaly.is_some() || invoice.cancels || invoice.customer.is_none() {
            return;
        }
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(invoice.clone());
    }

    /// Takes out one of them, so that nothing is cancelled twice, and turns it into what its cancellation holds:
    /// the same customer, a few of the lines, quantities below zero. Number and time are still the purchase's.
    pub(super) fn cancel_one(&mut self, rng: &mut impl Rng) -> Option<Invoice> {
        if self.0.is_empty() {
            return None;
        }
        let at = rng.random_range(0..self.0.len());
        let mut invoice = self.0.remove(at)?;
        invoice.cancels = true;
        invoice.lines = returned_lines(rng, &invoice.lines);
        Some(invoice)
    }
}

/// One to three of the lines, in their order, each in full or in part.
fn returned_lines(rng: &mut impl Rng, bought: &[Line]) -> Vec<Line> {
    let n_lines = rng.random_range(1..=bought.len().min(3));
    let mut positions = index::sample(rng, bought.len(), n_lines).into_vec();
    positions.sort_unstable();
    positions.into_iter().map(|at| returned_line(rng, &bought[at])).collect()
}

fn returned_line(rng: &mut impl Rng, bought: &Line) -> Line {
    let in_full = rng.random_bool(0.6);
    let quantity = if in_full { bought.quantity } else { rng.random_range(1..=bought.quantity) };
    Line {
        quantity: -quantity,
        flaw: None, // what was bought is known, however its line was garbled on the way
        ..bought.clone()
    }
}
