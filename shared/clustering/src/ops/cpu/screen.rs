//! Which centroid is nearest: by dot products where these settle it, else by squared differences.
//!
//! `|x - c|²` is `|x|² + 2 t` with `t = |c|²/2 - x c`, so the smallest `t` tells the nearest centroid. A `t` is half the
//! arithmetic of a sum of squared differences, but it is rounded at the size of `|x|²` and `|c|²`, not of the distance. So
//! dot products never decide a close call, and what comes out is, to the bit, what squared differences give:
//!
//! Let `u` be half of [`f32::EPSILON`], `d` the number of features, `X = |x|²` and `C` the largest `|c|²`. The partial sums
//! of `t`, fused or not, are at most `C + X/2`, and there are `d + 1` of them with the half that they begin with; so `2t`
//! is off by at most about `(d + 2) u (2C + X)`. `X` as it is computed is off by `d u X`, and adding it rounds by at most
//! `u (2X + 2C)`. So `X + 2t` is off from the real squared distance by less than `(2d + 10) u (X + C)`. A sum of squared
//! differences is off from it by at most `(d + 3) u` of a distance of at most `2 (X + C)`: `(2d + 6) u (X + C)`. Together
//! that is below `E = 2 rounding(d) (X + C) = (4d + 32) u (X + C)`, with something to spare for what is rounded in `E` and
//! beside it; [`f32::MIN_POSITIVE`] on top is more than what is lost below the smallest float32. So where the second
//! smallest `t` is more than `E` above the smallest, which is `2 E` between the distances, every other centroid's sum of
//! squared differences is greater too. Otherwise the tile is compared again, by squared differences.
//!
//! The gap to the second nearest is taken from `X + 2t - E` and `X + 2t + E`: it is no larger than the real one.

use super::Rows;
use super::lanes::{LANES, Lanes};
use super::scan::{self, GROUP, Nearest, Packed, Tile, rounding};
use super::tiles::{TileRows, Tiles};

/// Squares beyond this are not compared by dot products: twice the sum of two of them is still a float32.
const FAR: f32 = 7e37;

/// So few rows are not worth making products ready for.
const LEAST_ROWS: usize = 256;

/// Centroids, ready to be compared in both ways.
#[derive(Debug, Clone)]
pub(crate) struct Screen {
    exact: Packed,
    /// None where squared differences are as fast.
    products: Option<Products>,
    /// Row by row, where distances are wanted.
    rows: Vec<f32>,
}

/// Centroids as dot products read them: groups of four, feature by feature. What fills up the last group is nearest to
/// nothing.
#[derive(Debug, Clone)]
struct Products {
    /// The centroids, negated.
    values: Vec<[f32; GROUP]>,
    /// `|c|²/2`
    halves: Vec<[f32; GROUP]>,
    /// Read from memory like the centroids: what comes from a counter would have to be spread over the lanes.
    ids: Vec<[i32; GROUP]>,
    /// The largest `|c|²`; infinite if it is too large to compute with.
    largest: f32,
}

impl Products {
    fn new(centroids: Rows<'_>) -> Self {
        let n_features = centroids.n_features;
        let n_groups = centroids.len().div_ceil(GROUP);
        let mut values = vec![[0.0; GROUP]; n_groups * n_features];
        let mut halves = vec![[f32::INFINITY; GROUP]; n_groups];
        let mut largest = 0f64;
        for index in 0..centroids.len() {
            let (group, place) = (index / GROUP, index % GROUP);
            let mut square = 0.0;
            for (feature, &value) in centroids.row(index).iter().enumerate() {
                values[group * n_features + feature][place] = -value;
                square += f64::from(value) * f64::from(value);
            }
            halves[group][place] = (square / 2.0) as f32;
            // NaN is too large, too.
            largest = if square <= f64::from(FAR) { largest.max(square) } else { f64::INFINITY };
        }
        let id = |index: usize| index as i32;
        let ids = (0..n_groups).map(|group| [0, 1, 2, 3].map(|place| id(group * GROUP + place))).collect();
        Self { values, halves, ids, largest: largest as f32 }
    }
}

impl Screen {
    /// For scans that ask for gaps.
    pub(crate) fn for_gaps(centroids: Rows<'_>) -> Self {
        let (d, k) = (centroids.n_features, centroids.len().next_multiple_of(GROUP));
        // A product takes one operation a feature instead of two; a tile's squares and their rounding take some more.
        let pays = k * d > 2 * (d + 15);
        Self { exact: Packed::new(centroids), products: pays.then(|| Products::new(centroids)), rows: Vec::new() }
    }

    /// For scans of `n_points` in all that ask for distances.
    pub(crate) fn for_distances(centroids: Rows<'_>, n_points: usize) -> Self {
        let (d, k) = (centroids.n_features, centroids.len().next_multiple_of(GROUP));
        // The nearest centroid's distance is computed by itself, from rows that are picked out.
        let pays = n_points >= LEAST_ROWS && 2 * k * d.saturating_sub(2) > 3 * (8 * d + 15);
        let products = pays.then(|| Products::new(centroids));
        let rows = if pays { centroids.values.to_vec() } else { Vec::new() };
        Self { exact: Packed::new(centroids), products, rows }
    }

    /// How many centroids.
    pub(crate) fn n_clusters(&self) -> usize {
        self.exact.n_clusters()
    }
}

/// Finds the nearest centroid of one tile of points after the other. With `GAP`, how much nearer it is than the next one, or
/// less than that; without, the distance to it.
pub(super) struct Scan<'a, const GAP: bool> {
    tiles: Tiles<'a>,
    screen: &'a Screen,
    margin: f32,
    /// Tiles that products settled, and those that they did not.
    settled: usize,
    doubtful: usize,
    /// What was found of the last tile, or two.
    rows: [TileRows; 2],
    nearest: [Nearest; 2],
    /// The nearest centroids of a tile's points.
    own: Tile,
}

impl<'a, const GAP: bool> Scan<'a, GAP> {
    /// Of the `n_points` rows of `x`, or of those that `rows` names.
    #[inline(always)]
    pub(super) fn new(x: Rows<'a>, rows: Option<&'a [u16]>, n_points: usize, screen: &'a Screen) -> Self {
        let tiles = match screen.products {
            Some(_) => Tiles::by_two(x, rows, n_points),
            None => Tiles::new(x, rows, n_points),
        };
        let own = Tile::new(if GAP || screen.products.is_none() { 0 } else { x.n_features });
        let margin = 2.0 * rounding(x.n_features);
        let (rows, nearest) = ([TileRows::NONE; 2], [Nearest::NONE; 2]);
        Self { tiles, screen, margin, settled: 0, doubtful: 0, rows, nearest, own }
    }

    /// What [`next`](Self::next) found: the points of a tile, and the nearest centroid of each.
    #[inline(always)]
    pub(super) fn found(&self, which: usize) -> (&TileRows, &Nearest) {
        (&self.rows[which], &self.nearest[which])
    }

    /// Whether products settle so many tiles that they are worth trying: not where the centroids lie close together and far
    /// from 0, or points stand right between them.
    #[inline(always)]
    fn is_worthwhile(&self) -> bool {
        self.doubtful * 4 <= self.settled + 8
    }

    /// Scans the next tile, or the next two; how many there are to be [`found`](Self::found), until none is left.
    ///
    /// # Safety
    /// As for [`Lanes`].
    #[inline(always)]
    pub(super) unsafe fn next<V: Lanes>(&mut self) -> Option<usize> {
        let screen = self.screen;
        unsafe {
            let products = match &screen.products {
                Some(products) if self.is_worthwhile() => products,
                _ => {
                    self.rows[0] = self.tiles.next::<V>()?;
                    self.nearest[0] = scan::nearest::<V, GAP>(self.tiles.tile(), &screen.exact, self.margin);
                    return Some(1);
                }
            };
            if V::HAS_ROOM_FOR_TWO {
                let (first, second) = self.tiles.next_two::<V>()?;
                self.rows[0] = first;
                if let Some(second) = second {
                    self.rows[1] = second;
                    let are_certain =
                        by_products::<V, GAP, 2>(self.tiles.two(), products, self.margin, &mut self.nearest);
                    self.settle::<V>(0, are_certain[0]);
                    self.settle::<V>(1, are_certain[1]);
                    return Some(2);
                }
            } else {
                self.rows[0] = self.tiles.next::<V>()?;
            }
            let are_certain = by_products::<V, GAP, 1>([self.tiles.tile()], products, self.margin, &mut self.nearest);
            self.settle::<V>(0, are_certain[0]);
            Some(1)
        }
    }

    /// Takes what was found of one of two tiles, if that is certain; else what squared differences find.
    #[inline(always)]
    unsafe fn settle<V: Lanes>(&mut self, which: usize, is_certain: bool) {
        let tile = self.tiles.two()[which];
        let nearest = &mut self.nearest[which];
        unsafe {
            if !is_certain {
                self.doubtful += 1;
                *nearest = scan::nearest::<V, GAP>(tile, &self.screen.exact, self.margin);
                return;
            }
            self.settled += 1;
            if !GAP {
                let mut offsets = [0; LANES];
                for (offset, label) in offsets.iter_mut().zip(&nearest.labels) {
                    *offset = *label as usize * self.screen.exact.n_features();
                }
                self.own.load::<V>(&self.screen.rows, &offsets);
                nearest.best = scan::between::<V>(tile, &self.own);
            }
        }
    }
}

/// Finds the nearest centroid of each point of `T` tiles by dot products, without the distance to it; says whether it is that
/// of every point of a tile for certain. The loads and broadcasts of a centroid serve all tiles, and their sums are so many chains of
/// additions.
///
/// # Safety
/// As for [`Lanes`].
#[inline(always)]
unsafe fn by_products<V: Lanes, const GAP: bool, const T: usize>(
    tiles: [&Tile; T],
    products: &Products,
    margin: f32,
    found: &mut [Nearest; 2],
) -> [bool; T] {
    let n_features = tiles[0].columns.len();
    let groups = products.values.chunks_exact(n_features).zip(&products.halves).zip(&products.ids);
    let mut are_certain = [false; T];
    unsafe {
        let mut best = [V::splat(f32::INFINITY); T];
        let mut second = [V::splat(f32::INFINITY); T];
        let mut labels = [V::splat_int(0); T];
        for ((values, halves), ids) in groups {
            let mut sums = [[V::splat(0.0); GROUP]; T];
            for sums in &mut sums {
                for (sum, half) in sums.iter_mut().zip(halves) {
                    *sum = V::splat(*half);
                }
            }
            for (feature, centers) in values.iter().enumerate() {
                let mut x = [V::splat(0.0); T];
                for (x, tile) in x.iter_mut().zip(&tiles) {
                    *x = V::load(tile.columns.get_unchecked(feature));
                }
                for (place, center) in centers.iter().enumerate() {
                    let center = V::splat(*center);
                    for tile in 0..T {
                        sums[tile][place] = V::add_product(sums[tile][place], x[tile], center);
                    }
                }
            }
            for (place, id) in ids.iter().enumerate() {
                let id = V::splat_int(*id);
                for tile in 0..T {
                    let t = sums[tile][place];
                    labels[tile] = V::label_if_less(t, best[tile], id, labels[tile]);
                    second[tile] = V::smaller(second[tile], V::larger(best[tile], t));
                    best[tile] = V::smaller(t, best[tile]);
                }
            }
        }
        let error = 2.0 * rounding(n_features);
        let least_error = error * products.largest + f32::MIN_POSITIVE;
        let (one, two) = (V::splat(1.0), V::splat(2.0));
        for tile in 0..T {
            let mut square = V::splat(0.0);
            for column in &tiles[tile].columns {
                let x = V::load(column);
                square = V::add_product(square, x, x);
            }
            let error = V::add_product(V::splat(least_error), square, V::splat(error));
            let is_settled = V::more_than(second[tile], V::add_product(best[tile], error, one));
            let is_near = V::more_than(V::splat(FAR), square);
            let gap = if GAP {
                let second = V::add_product(V::add_product(square, second[tile], two), error, V::splat(-1.0));
                let best = V::add_product(V::add_product(square, best[tile], two), error, one);
                let zero = V::splat(0.0);
                V::gap(V::larger(second, zero), 1.0 - margin, V::larger(best, zero), 1.0 + margin)
            } else {
                [0.0; LANES]
            };
            found[tile].labels = V::ints(labels[tile]);
            found[tile].gap = gap;
            are_certain[tile] = is_settled & is_near == u16::MAX;
        }
    }
    are_certain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::lanes::Portable;
    use super::super::{assign, fused, nearest, squared_distance};
    use super::*;

    fn rows(values: &[f32], n_features: usize) -> Rows<'_> {
        Rows { values, n_features }
    }

    /// The label of each point by squared differences, the lowest on a tie, and the squared distance to it.
    fn by_definition(x: Rows<'_>, centroids: Rows<'_>) -> (Vec<i32>, Vec<f32>) {
        let nearest = |row: usize| {
            let to = |cluster: usize| squared_distance(x.row(row), centroids.row(cluster));
            let best = (0..centroids.len()).min_by(|&a, &b| to(a).total_cmp(&to(b))).unwrap();
            (best as i32, to(best))
        };
        (0..x.len()).map(nearest).unzip()
    }

    /// Labels, gaps or distances, and how many tiles products settled and did not.
    type Scanned = (Vec<i32>, Vec<f32>, (usize, usize));

    unsafe fn scanned<V: Lanes, const GAP: bool>(x: Rows<'_>, screen: &Screen) -> Scanned {
        let mut scan = Scan::<GAP>::new(x, None, x.len(), screen);
        let (mut labels, mut values) = (Vec::new(), Vec::new());
        while let Some(n_tiles) = unsafe { scan.next::<V>() } {
            for (tile, nearest) in (0..n_tiles).map(|which| scan.found(which)) {
                labels.extend(&nearest.labels[..tile.len]);
                values.extend(if GAP { &nearest.gap[..tile.len] } else { &nearest.best[..tile.len] });
            }
        }
        (labels, values, (scan.settled, scan.doubtful))
    }

    fn portable<const GAP: bool>(x: Rows<'_>, screen: &Screen) -> Scanned {
        // SAFETY: arrays need no instruction in particular.
        unsafe {
            if fused() { scanned::<Portable<true>, GAP>(x, screen) } else { scanned::<Portable<false>, GAP>(x, screen) }
        }
    }

    /// Points of which some stand right between two centroids, or a rounding beside, at any distance from 0.
    fn close_calls() -> impl Strategy<Value = (usize, Vec<f32>, Vec<f32>)> {
        (1usize..13, 1usize..120, 1usize..40, -12i32..19, 0i32..6).prop_flat_map(|(d, n, k, power, offset)| {
            let scale = 10f32.powi(power);
            let value = prop_oneof![(-3i32..4).prop_map(|value| value as f32), -4f32..4.0];
            let value = value.prop_map(move |value| (value + 10f32.powi(offset) - 1.0).min(1e5) * scale.min(1e13));
            let centroids = proptest::collection::vec(value.clone(), k * d);
            let point = (0..k, 0..k, 0usize..5, proptest::collection::vec(value, d));
            (Just(d), centroids, proptest::collection::vec(point, n)).prop_map(|(d, centroids, points)| {
                let between = |(a, b, kind, own): (usize, usize, usize, Vec<f32>)| {
                    let of = |cluster: usize, j: usize| centroids[cluster * d + j];
                    let middle = move |j: usize| of(a, j) / 2.0 + of(b, j) / 2.0;
                    let value = |j: usize| match kind {
                        0 => middle(j),
                        1 => middle(j).next_up(),
                        2 => middle(j).next_down(),
                        3 => of(a, j),
                        _ => own[j],
                    };
                    (0..d).map(value).collect::<Vec<f32>>()
                };
                let x: Vec<f32> = points.into_iter().flat_map(between).collect();
                (d, x, centroids.clone())
            })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn products_change_no_label_and_no_distance((d, x, c) in close_calls()) {
            let (x, c) = (rows(&x, d), rows(&c, d));
            let expected = by_definition(x, c);
            let always = |rows: Vec<f32>| Screen { exact: Packed::new(c), products: Some(Products::new(c)), rows };
            let (labels, gaps, _) = portable::<true>(x, &always(Vec::new()));
            prop_assert_eq!(&labels, &expected.0);
            let (labels, distances, _) = portable::<false>(x, &always(c.values.to_vec()));
            prop_assert_eq!((&labels, &distances), (&expected.0, &expected.1));
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") && fused() {
                use super::super::lanes::Avx512;
                // SAFETY: the instructions are there.
                let (wide, both) = unsafe {
                    let distances = scanned::<Avx512, false>(x, &always(c.values.to_vec()));
                    (scanned::<Avx512, true>(x, &always(Vec::new())), (distances.0, distances.1))
                };
                prop_assert_eq!(&wide.0, &expected.0);
                prop_assert_eq!(&both, &expected);
            }
            // Whatever this processor has, and where products do not pay, too.
            prop_assert_eq!(&nearest(x, c), &expected);
            prop_assert_eq!(&assign(x, c).labels, &expected.0);
            // No gap is larger than the real one, but for what is lost below the smallest float32.
            for (row, &gap) in gaps.iter().enumerate() {
                let to = |cluster: usize| {
                    let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
                    x.row(row).iter().zip(c.row(cluster)).map(square).sum::<f64>().sqrt()
                };
                let own = expected.0[row] as usize;
                let others = (0..c.len()).filter(|&cluster| cluster != own).map(to).fold(f64::INFINITY, f64::min);
                prop_assert!(f64::from(gap) <= others - to(own) + 1e-18, "{} {} {}", gap, others, to(own));
            }
        }
    }

    /// Otherwise they would cost time and save none.
    #[test]
    fn products_settle_nearly_all_tiles_of_ordinary_points() {
        for (d, k) in [(5, 20), (8, 20), (30, 100)] {
            // The generator of Steele, Lea and Flood (SplitMix).
            let noise = |i: usize| {
                let mut bits = (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                (bits >> 40) as f32 / (1 << 24) as f32 * 10.0 - 5.0
            };
            let x: Vec<f32> = (1..=2_000 * d).map(noise).collect();
            let c: Vec<f32> = (1..=k * d).map(|i| noise(1_000_000 + i)).collect();
            let screen = Screen::for_gaps(rows(&c, d));
            let (_, _, (settled, doubtful)) = portable::<true>(rows(&x, d), &screen);
            assert!(settled > 100 && doubtful * 10 < settled, "{d} x {k}: {settled} {doubtful}");
        }
    }

    #[test]
    fn products_give_up_where_they_settle_nothing() {
        // A spread of 1 at a distance of 100,000.
        let x: Vec<f32> = (0..8 * 4096).map(|i| 1e5 + (i * 7919 % 101) as f32 / 100.0).collect();
        let c: Vec<f32> = x[..8 * 20].to_vec();
        let screen = Screen::for_gaps(rows(&c, 8));
        let (labels, _, (settled, doubtful)) = portable::<true>(rows(&x, 8), &screen);
        assert_eq!((settled, doubtful), (0, 3));
        assert_eq!(labels, by_definition(rows(&x, 8), rows(&c, 8)).0);
    }
}
