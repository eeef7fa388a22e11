//! The way down a tree, from the root to the nearer child.

use rayon::prelude::*;

use super::lanes::{LANES, Lanes};
use super::scan::{self, Packed, squared_distance};
use super::tiles::Tiles;
use super::{CHUNK, Rows, multiversion};

/// Up to so many nodes, the distances to all of them are computed 16 points at a time; beyond, only those on the way.
const ALL_NODES: usize = 128;

/// The leaf each point comes to, and its squared distance to the leaf's centre.
pub(crate) fn descend(x: Rows<'_>, centers: Rows<'_>, left: &[i32], right: &[i32]) -> (Vec<i32>, Vec<f32>) {
    let (mut nodes, mut distances) = (vec![0i32; x.len()], vec![0f32; x.len()]);
    let packed = Packed::new(centers);
    let chunks = nodes.par_chunks_mut(CHUNK).zip(distances.par_chunks_mut(CHUNK)).enumerate();
    chunks.for_each(|(index, (nodes, distances))| {
        let chunk = x.chunk(index);
        if centers.len() <= ALL_NODES {
            descend_chunk(chunk, &packed, left, right, nodes, distances);
        } else {
            for (row, (node, distance)) in nodes.iter_mut().zip(distances).enumerate() {
                let to = |node: usize| squared_distance(chunk.row(row), centers.row(node));
                (*node, *distance) = walk(left, right, to);
            }
        }
    });
    (nodes, distances)
}

multiversion!(fn descend_chunk(x: Rows<'_>, centers: &Packed, left: &[i32], right: &[i32], nodes: &mut [i32], distances: &mut [f32]) = descend_body);

#[inline(always)]
unsafe fn descend_body<V: Lanes>(
    x: Rows<'_>,
    centers: &Packed,
    left: &[i32],
    right: &[i32],
    nodes: &mut [i32],
    distances: &mut [f32],
) {
    let mut all = vec![[0f32; LANES]; left.len()];
    let mut tiles = Tiles::new(x, None, nodes.len());
    unsafe {
        while let Some(tile) = tiles.next::<V>() {
            scan::distances::<V>(tiles.tile(), centers, &mut all);
            for (position, lane) in (tile.start..).zip(0..tile.len) {
                (nodes[position], distances[position]) = walk(left, right, |node| all[node][lane]);
            }
        }
    }
}

/// The leaf that a point comes to, and its distance, when it is `to(node)` away from a node; left on a tie.
#[inline(always)]
fn walk(left: &[i32], right: &[i32], to: impl Fn(usize) -> f32) -> (i32, f32) {
    let mut node = 0usize;
    while left[node] as usize != node {
        let (l, r) = (left[node] as usize, right[node] as usize);
        node = if to(r) < to(l) { r } else { l };
    }
    (node as i32, to(node))
}
