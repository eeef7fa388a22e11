//! The elbow rule: stop where one more cluster no longer pays.

/// The first k, from 2, whose cost is more than `ratio` times the cost of k - 1; when there is none, the largest k.
///
/// `inertia_by_k[0]` is the cost of k = 1. A cost of zero cannot fall further, so k stops there.
pub fn elbow(inertia_by_k: &[f64], ratio: f64) -> usize {
    let flat = |pair: &[f64]| pair[0] <= 0.0 || pair[1] / pair[0] > ratio;
    match inertia_by_k.windows(2).position(flat) {
        Some(index) => index + 2,
        None => inertia_by_k.len().max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::elbow;

    #[test]
    fn the_first_flat_step_is_taken() {
        assert_eq!(elbow(&[100.0, 50.0, 20.0, 15.0, 14.0], 0.7), 4);
        assert_eq!(elbow(&[100.0, 90.0, 10.0], 0.7), 2);
    }

    #[test]
    fn a_step_of_exactly_the_ratio_is_not_flat() {
        assert_eq!(elbow(&[100.0, 50.0, 25.0], 0.5), 3);
    }

    #[test]
    fn without_a_flat_step_the_largest_k_is_taken() {
        assert_eq!(elbow(&[100.0, 50.0, 20.0], 0.7), 3);
        assert_eq!(elbow(&[100.0], 0.7), 1);
    }

    #[test]
    fn a_cost_of_zero_ends_the_search() {
        assert_eq!(elbow(&[100.0, 0.0, 0.0, 0.0], 0.7), 3);
    }
}
