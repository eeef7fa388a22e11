//! The tree of bisecting k-means: from rows in any order to nodes in the order of a walk.

use std::collections::HashMap;

/// A node as a row has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NodeRow {
    /// Its number: of a leaf that of its cluster, of others a negative one.
    pub index: i64,
    /// How many rows of the training came to it.
    pub size: u64,
    /// Their mean.
    pub center: Vec<f64>,
    /// The sum of their squared distances to it.
    pub cost: f64,
    /// The numbers of its children.
    pub children: Vec<i64>,
}

/// A node of the tree.
#[derive(Debug, Clone, PartialEq)]
pub struct SparkNode {
    /// The mean of its rows: `(n_features)`.
    pub center: Vec<f64>,
    /// How many rows of the training came to it.
    pub size: u64,
    /// The sum of their squared distances to the mean.
    pub cost: f64,
    /// The places of its children in the list of nodes.
    pub children: Option<(usize, usize)>,
}

/// The nodes from the root on: each is followed by what is below it, the left side first. So leaves have the places that their
/// numbers say. A node with one child is left out, because whoever comes to it goes on to that child.
///
/// # Errors
/// When the rows are no such tree.
pub(super) fn in_order(root: i64, rows: Vec<NodeRow>) -> Result<Vec<SparkNode>, String> {
    let n_rows = rows.len();
    let mut rows: HashMap<i64, NodeRow> = rows.into_iter().map(|row| (row.index, row)).collect();
    if rows.len() != n_rows {
        return Err("two of its nodes have the same number".to_owned());
    }
    let mut take = |index: i64| {
        rows.remove(&index).ok_or_else(|| format!("its tree has no node {index}, or has it in two places"))
    };
    let mut nodes: Vec<SparkNode> = Vec::with_capacity(n_rows);
    let mut n_leaves = 0;
    // Nodes to visit, and the place of the node whose right child each is, if it is one.
    let mut ahead: Vec<(i64, Option<usize>)> = vec![(root, None)];
    while let Some((index, right_of)) = ahead.pop() {
        let mut row = take(index)?;
        while let [only] = row.children[..] {
            row = take(only)?;
        }
        let place = nodes.len();
        if let Some(parent) = right_of {
            nodes[parent].children = Some((parent + 1, place));
        }
        match row.children[..] {
            [] if row.index == n_leaves => n_leaves += 1,
            [] => return Err(format!("its leaf {} stands where Spark has leaf {n_leaves}", row.index)),
            [left, right] => ahead.extend([(right, Some(place)), (left, None)]),
            _ => return Err(format!("its node {} has more than two children", row.index)),
        }
        nodes.push(SparkNode { center: row.center, size: row.size, cost: row.cost, children: None });
    }
    Ok(nodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(index: i64, children: &[i64]) -> NodeRow {
        NodeRow { index, size: 1, center: vec![index as f64], cost: 0.5, children: children.to_vec() }
    }

    /// The first coordinate of a node's centre, and its children.
    type Node = (f64, Option<(usize, usize)>);

    fn tree(rows: &[(i64, &[i64])]) -> Result<Vec<Node>, String> {
        let rows = rows.iter().map(|(index, children)| row(*index, children)).collect();
        Ok(in_order(-1, rows)?.into_iter().map(|node| (node.center[0], node.children)).collect())
    }

    /// The order in which Spark 3.5 wrote the tree of a test.
    #[test]
    fn nodes_come_in_the_order_of_a_walk_whatever_the_order_of_the_rows() {
        let mut rows: [(i64, &[i64]); 7] =
            [(0, &[]), (1, &[]), (-3, &[0, 1]), (2, &[]), (-2, &[-3, 2]), (3, &[]), (-1, &[-2, 3])];
        let expected = vec![
            (-1.0, Some((1, 6))),
            (-2.0, Some((2, 5))),
            (-3.0, Some((3, 4))),
            (0.0, None),
            (1.0, None),
            (2.0, None),
            (3.0, None),
        ];
        assert_eq!(tree(&rows), Ok(expected.clone()));
        rows.reverse();
        assert_eq!(tree(&rows), Ok(expected));
        assert_eq!(tree(&[(-1, &[0]), (0, &[])]), Ok(vec![(0.0, None)]));
    }

    #[test]
    fn a_node_with_one_child_is_left_out() {
        let rows: [(i64, &[i64]); 5] = [(-1, &[-2, 1]), (-2, &[-3]), (-3, &[0]), (0, &[]), (1, &[])];
        assert_eq!(tree(&rows), Ok(vec![(-1.0, Some((1, 2))), (0.0, None), (1.0, None)]));
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        let refused = |rows: &[(i64, &[i64])]| tree(rows).expect_err("no tree");
        assert_eq!(refused(&[(0, &[])]), "its tree has no node -1, or has it in two places");
        assert_eq!(refused(&[(-1, &[-1])]), "its tree has no node -1, or has it in two places");
        assert_eq!(refused(&[(-1, &[0, -1]), (0, &[])]), "its tree has no node -1, or has it in two places");
        assert_eq!(refused(&[(-1, &[0, 0]), (0, &[])]), "its tree has no node 0, or has it in two places");
        assert_eq!(refused(&[(-1, &[1, 0]), (0, &[]), (1, &[])]), "its leaf 1 stands where Spark has leaf 0");
        assert_eq!(refused(&[(-1, &[0, 1, 2])]), "its node -1 has more than two children");
        assert_eq!(refused(&[(0, &[]), (0, &[])]), "two of its nodes have the same number");
    }
}
