//! The way of every point down a tree of centres, in one pass.

use cubecl::prelude::*;
use cubecl::server::Handle;

use super::nearest::{Search, load_block};
use super::shape::TileShape;
use super::{buffer, floats};
use crate::ops::TreeLinks;

#[cube(launch_unchecked, address_type = "dynamic")]
fn descend_kernel<N: Size>(
    x: &[Vector<f32, N>],
    centers: &[Vector<f32, N>],
    left: &[i32],
    right: &[i32],
    nodes: &mut [i32],
    squared_distances: &mut [f32],
    n_samples: usize,
    n_nodes: usize,
    depth: usize,
    #[comptime] in_block: bool,
    #[comptime] shape: TileShape,
) {
    let mut block = Shared::<[Vector<f32, N>]>::new_slice(comptime!(shape.block * shape.vectors));
    let mut search = Search::<N>::new(shape);
    if in_block {
        load_block::<N>(&mut block, centers, 0, n_nodes, shape);
        sync_cube();
    }
    let mut tile = CUBE_POS_X as usize * comptime!(shape.tile());
    while tile < n_samples {
        search.load(x, tile, n_samples, shape);
        if in_block {
            walk::<N>(&mut search, &block, left, right, depth, shape);
        } else {
            walk::<N>(&mut search, centers, left, right, depth, shape);
        }
        let point = tile + UNIT_POS as usize;
        if point < n_samples {
            nodes[point] = search.labels[0usize] as i32;
            squared_distances[point] = search.squared_distances[0usize];
        }
        tile += CUBE_COUNT_X as usize * comptime!(shape.tile());
    }
}

/// Goes from the root to the nearer child, to the left one on a tie, until there is none.
#[cube]
fn walk<N: Size>(
    search: &mut Search<N>,
    centers: &[Vector<f32, N>],
    left: &[i32],
    right: &[i32],
    depth: usize,
    #[comptime] shape: TileShape,
) {
    let mut node = 0usize.runtime();
    let mut distance = search.squared_distance(centers, 0usize, 0, shape);
    for _ in 0..depth {
        let (l, r) = (left[node] as usize, right[node] as usize);
        if l != node {
            let to_left = search.squared_distance(centers, 0usize, l, shape);
            let to_right = search.squared_distance(centers, 0usize, r, shape);
            node = select(to_right < to_left, r, l);
            distance = select(to_right < to_left, to_right, to_left);
        }
    }
    search.labels[0usize] = node as u32;
    search.squared_distances[0usize] = distance;
}

/// Leaves `(n_samples)`, int32, and squared distances `(n_samples)` of points `x` `(n_samples, n_features)` in the
/// tree whose nodes have `centers` `(n_nodes, n_features)`; both contiguous float32.
pub(super) fn descend(
    client: &Client,
    shape: TileShape,
    [x, centers]: [Handle; 2],
    links: &TreeLinks,
    [n_samples, n_features]: [usize; 2],
) -> (Handle, Handle) {
    let shape = shape.one_point();
    let n_nodes = links.left.len();
    let (nodes, squared_distances) = (floats(client, n_samples), floats(client, n_samples));
    let (left, right) =
        (client.create_from_slice(i32::as_bytes(&links.left)), client.create_from_slice(i32::as_bytes(&links.right)));
    // SAFETY: the lengths are those of the buffers, and the kernel stays within them: its points are below
    // `n_samples`, and a tree's links are its nodes.
    unsafe {
        descend_kernel::launch_unchecked(
            client,
            CubeCount::new_1d(shape.rows(n_samples, 1) as u32),
            shape.cube_dim(),
            AddressType::from_len(n_samples * n_features),
            shape.vector_size,
            buffer(&x, n_samples * shape.vectors),
            buffer(&centers, n_nodes * shape.vectors),
            buffer(&left, n_nodes),
            buffer(&right, n_nodes),
            buffer(&nodes, n_samples),
            buffer(&squared_distances, n_samples),
            n_samples,
            n_nodes,
            links.depth,
            n_nodes <= shape.block,
            shape,
        );
    }
    (nodes, squared_distances)
}
