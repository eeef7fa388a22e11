//! What each feature of a row adds to the log-odds that trees give it: its Shapley value (Lundberg, Erion and Lee 2018, "Consistent
//! individualized feature attribution for tree ensembles", algorithm 2).
//!
//! The game is this: where a feature is not known, a row goes to both sides of a node, by the shares of the rows of the fit that
//! went there. A feature's value is what it adds to the mean of a tree, on average over all orders in which features become known.
//! All values together are the log-odds less that mean.

use super::trees::Tree;

/// A feature on the way from the root to a node.
#[derive(Debug, Clone, Copy)]
struct Step {
    feature: usize,
    /// The share of the rows that go on where the feature is not known.
    unknown: f64,
    /// The same where it is: 1 or 0.
    known: f64,
    /// The weight of the sets of features with as many members as the step has before it.
    weight: f64,
}

/// The feature of no node.
const NONE: usize = usize::MAX;

/// Adds what each feature of a row adds to a tree's log-odds, to `parts`: `(n_features)`.
pub(super) fn add_parts(tree: &Tree, row: &[f32], parts: &mut [f64]) {
    let root = Step { feature: NONE, unknown: 1.0, known: 1.0, weight: 0.0 };
    descend(tree, row, (0, Vec::new(), root), parts);
}

/// Goes down from a node that `last` leads to, beyond the steps of `path`. Trees are not deep.
fn descend(tree: &Tree, row: &[f32], (index, mut path, last): (usize, Vec<Step>, Step), parts: &mut [f64]) {
    extend(&mut path, last);
    let node = &tree.nodes[index];
    let Some(feature) = node.feature() else {
        for (place, step) in path.iter().enumerate().skip(1) {
            parts[step.feature] += weight_without(&path, place) * (step.known - step.unknown) * node.leaf_value();
        }
        return;
    };
    // A feature that is met again is one step of the way.
    let (mut unknown, mut known) = (1.0, 1.0);
    if let Some(place) = path.iter().position(|step| step.feature == feature) {
        (unknown, known) = (path[place].unknown, path[place].known);
        take_out(&mut path, place);
    }
    let [left, right] = node.children();
    let (hot, cold) = if node.goes_left(row[feature]) { (left, right) } else { (right, left) };
    let share = |child: usize| unknown * tree.nodes[child].count() / node.count();
    let step = |unknown: f64, known: f64| Step { feature, unknown, known, weight: 0.0 };
    descend(tree, row, (hot, path.clone(), step(share(hot), known)), parts);
    descend(tree, row, (cold, path, step(share(cold), 0.0)), parts);
}

/// Adds a step, with the weights of sets that are larger by one.
fn extend(path: &mut Vec<Step>, step: Step) {
    let depth = path.len();
    path.push(Step { weight: if depth == 0 { 1.0 } else { 0.0 }, ..step });
    let steps = (depth + 1) as f64;
    for place in (0..depth).rev() {
        let weight = path[place].weight;
        path[place + 1].weight += step.known * weight * (place + 1) as f64 / steps;
        path[place].weight = step.unknown * weight * (depth - place) as f64 / steps;
    }
}

/// Takes a step out again, as if it had not been added.
fn take_out(path: &mut Vec<Step>, taken: usize) {
    let depth = path.len() - 1;
    let (steps, Step { known, unknown, .. }) = ((depth + 1) as f64, path[taken]);
    let mut next = path[depth].weight;
    for place in (0..depth).rev() {
        let (with, without) = ((place + 1) as f64, (depth - place) as f64);
        if known == 0.0 {
            path[place].weight *= steps / (unknown * without);
        } else {
            let weight = path[place].weight;
            path[place].weight = next * steps / (with * known);
            next = weight - path[place].weight * unknown * without / steps;
        }
    }
    for place in taken..depth {
        path[place] = Step { weight: path[place].weight, ..path[place + 1] };
    }
    path.pop();
}

/// The weights of all sets together, if a step were taken out.
fn weight_without(path: &[Step], taken: usize) -> f64 {
    let depth = path.len() - 1;
    let (steps, Step { known, unknown, .. }) = ((depth + 1) as f64, path[taken]);
    let mut next = path[depth].weight;
    let mut sum = 0.0;
    for place in (0..depth).rev() {
        let (with, without) = ((place + 1) as f64, (depth - place) as f64);
        if known == 0.0 {
            sum += path[place].weight * steps / (unknown * without);
        } else {
            let weight = next * steps / (with * known);
            sum += weight;
            next = path[place].weight - weight * unknown * without / steps;
        }
    }
    sum
}
