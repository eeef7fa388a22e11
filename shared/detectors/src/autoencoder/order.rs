//! Which rows are trained on, and when.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Most rows that are held out.
const MOST_HELD_OUT: usize = 1 << 14;

/// Rows in random order, pass after pass.
#[derive(Debug)]
pub(super) struct Order {
    /// Indices of rows; those before `next` were given out in this pass.
    rows: Vec<u32>,
    next: usize,
    rng: ChaCha8Rng,
}

impl Order {
    /// Holds out a tenth of the rows, at most 16,384, and gives their indices beside an order of all others.
    pub(super) fn hold_out(n_samples: usize, rng: ChaCha8Rng) -> (Vec<u32>, Self) {
        let mut order = Self { rows: (0..n_samples as u32).collect(), next: 0, rng };
        let mut held_out = order.draw(n_samples.div_ceil(10).min(MOST_HELD_OUT)).to_vec();
        held_out.sort_unstable();
        order.rows.drain(..order.next);
        order.next = 0;
        (held_out, order)
    }

    /// How many rows there are to train on.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The next `n` rows, at most as many as there are: none comes again before all others did, but for those of a pass that
    /// has fewer than `n` left.
    pub(super) fn draw(&mut self, n: usize) -> &[u32] {
        let n = n.min(self.rows.len());
        if self.rows.len() - self.next < n {
            self.next = 0;
        }
        let first = self.next;
        // One step of Fisher and Yates's shuffle a row: an epoch that looks at a few of many rows shuffles no others.
        for index in first..first + n {
            let other = self.rng.random_range(index..self.rows.len());
            self.rows.swap(index, other);
        }
        self.next += n;
        &self.rows[first..self.next]
    }
}
