//! The points of a chunk, sixteen at a time.
//!
//! Kernels loop over tiles themselves, and nothing here or in them takes a closure: what is not inlined into the version
//! of a kernel for an instruction set does without its instructions.

use super::Rows;
use super::lanes::{LANES, Lanes};
use super::scan::Tile;

/// Tiles that are asked for ahead of the one that is loaded.
const AHEAD: usize = 3;

/// Up to 16 points.
#[derive(Clone, Copy)]
pub(super) struct TileRows {
    /// Position of the first.
    pub start: usize,
    /// How many there are.
    pub len: usize,
    /// The row of each; lanes beyond the last point repeat it.
    pub rows: [usize; LANES],
}

impl TileRows {
    /// No point.
    pub(super) const NONE: Self = Self { start: 0, len: 0, rows: [0; LANES] };
}

/// Loads the points at one position after the other.
pub(super) struct Tiles<'a> {
    x: Rows<'a>,
    /// Rows of `x`; without, all of them in order.
    rows: Option<&'a [u16]>,
    n_points: usize,
    next: usize,
    tile: Tile,
    /// The tile after that, where they are taken two at a time.
    after: Tile,
}

impl<'a> Tiles<'a> {
    /// The `n_points` rows of `x`, or those that `rows` names.
    #[inline(always)]
    pub(super) fn new(x: Rows<'a>, rows: Option<&'a [u16]>, n_points: usize) -> Self {
        let n_rows = x.len();
        match rows {
            Some(rows) => {
                let highest = rows.iter().fold(0, |highest, row| highest.max(*row));
                assert!(rows.len() == n_points && (n_points == 0 || usize::from(highest) < n_rows));
            }
            None => assert!(n_points == n_rows),
        }
        Self { x, rows, n_points, next: 0, tile: Tile::new(x.n_features), after: Tile::new(0) }
    }

    /// The same, for [`next_two`](Self::next_two).
    #[inline(always)]
    pub(super) fn by_two(x: Rows<'a>, rows: Option<&'a [u16]>, n_points: usize) -> Self {
        Self { after: Tile::new(x.n_features), ..Self::new(x, rows, n_points) }
    }

    /// The points that were loaded last.
    #[inline(always)]
    pub(super) fn tile(&self) -> &Tile {
        &self.tile
    }

    /// The points that were loaded last by [`next_two`](Self::next_two), of which the second tile may be without any.
    #[inline(always)]
    pub(super) fn two(&self) -> [&Tile; 2] {
        [&self.tile, &self.after]
    }

    /// Loads the next two tiles, or the last one alone.
    ///
    /// # Safety
    /// As for [`Lanes`]; the tiles were made by [`by_two`](Self::by_two).
    #[inline(always)]
    pub(super) unsafe fn next_two<V: Lanes>(&mut self) -> Option<(TileRows, Option<TileRows>)> {
        unsafe {
            let first = self.next::<V>()?;
            if self.next >= self.n_points {
                return Some((first, None));
            }
            std::mem::swap(&mut self.tile, &mut self.after);
            let second = self.next::<V>();
            std::mem::swap(&mut self.tile, &mut self.after);
            Some((first, second))
        }
    }

    /// Loads the next tile.
    ///
    /// # Safety
    /// As for [`Lanes`].
    #[inline(always)]
    pub(super) unsafe fn next<V: Lanes>(&mut self) -> Option<TileRows> {
        if self.next >= self.n_points {
            return None;
        }
        let start = self.next;
        self.next += LANES;
        let len = LANES.min(self.n_points - start);
        let mut rows = [0; LANES];
        let mut offsets = [0; LANES];
        // SAFETY: positions are below the number of points, and their rows are rows of `x`: `new` looked.
        unsafe {
            for lane in 0..LANES {
                rows[lane] = self.row(start + lane.min(len - 1));
                offsets[lane] = rows[lane] * self.x.n_features;
            }
            if self.rows.is_some() && start + (AHEAD + 1) * LANES <= self.n_points {
                // Rows that are picked out follow no pattern that the processor could foresee.
                for lane in 0..LANES {
                    let row = self.row(start + AHEAD * LANES + lane);
                    V::prefetch(self.x.values.as_ptr().add(row * self.x.n_features), self.x.n_features);
                }
            }
            self.tile.load::<V>(self.x.values, &offsets);
        }
        Some(TileRows { start, len, rows })
    }

    #[inline(always)]
    unsafe fn row(&self, position: usize) -> usize {
        match self.rows {
            Some(rows) => usize::from(unsafe { *rows.get_unchecked(position) }),
            None => position,
        }
    }
}
