//! Which clusters share a threshold: where a cluster has too few scores for one of its own, several are pooled.
//!
//! A rate of false alarms is promised of the entities of a group, whatever their scores: conformal prediction by categories
//! (Vovk, Gammerman and Shafer 2005, section 4.5, "Mondrian"). This holds if the groups are the same whichever of the
//! entities is the one to come and which are known. So the groups of an entity of some cluster are those of the counts in which
//! it is counted too; another cluster may have another group beside the same scores.

/// The clusters that an entity of `cluster` shares its threshold with, itself included, rising. `counts` is how many scores
/// there are of each cluster: `(n_clusters)`; `needed` is how many a threshold takes at least.
///
/// A cluster with enough scores stands alone. The others are pooled; if they are too few together, the smallest of those with
/// enough join them.
pub(super) fn group_of(cluster: usize, counts: &[usize], needed: usize) -> Vec<usize> {
    let count = |other: usize| counts[other] + usize::from(other == cluster);
    let enough = needed + 1;
    let mut pool: Vec<usize> = (0..counts.len()).filter(|&other| count(other) < enough).collect();
    let mut pooled: usize = pool.iter().map(|&other| count(other)).sum();
    if pooled > 0 && pooled < enough {
        let mut alone: Vec<usize> = (0..counts.len()).filter(|&other| count(other) >= enough).collect();
        alone.sort_by_key(|&other| (count(other), other));
        for other in alone {
            if pooled >= enough {
                break;
            }
            pooled += count(other);
            pool.push(other);
        }
        pool.sort_unstable();
    }
    if pool.binary_search(&cluster).is_ok() { pool } else { vec![cluster] }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn clusters_with_too_few_scores_are_pooled() {
        assert_eq!(group_of(0, &[500, 40, 70, 0], 100), [0]);
        assert_eq!(group_of(1, &[500, 40, 70, 0], 100), [1, 2, 3]);
        assert_eq!(group_of(3, &[500, 40, 70, 0], 100), [1, 2, 3]);
        // Too few even together: the smallest of the others joins them, and shares their threshold.
        assert_eq!(group_of(1, &[500, 40, 7, 200], 100), [1, 2, 3]);
        assert_eq!(group_of(3, &[500, 40, 7, 200], 100), [1, 2, 3]);
        assert_eq!(group_of(0, &[500, 40, 7, 200], 100), [0]);
        // Nobody is too few for a threshold that one score is enough for.
        assert_eq!(group_of(1, &[2, 2], 1), [1]);
    }

    proptest! {
        /// Of the same entities, whichever is the one to come, all have the same groups.
        #[test]
        fn groups_do_not_depend_on_which_entity_is_to_come(counts in proptest::collection::vec(0usize..30, 1..8), needed in 1usize..25) {
            let of = |cluster: usize| {
                let mut others = counts.clone();
                others[cluster] -= 1;
                group_of(cluster, &others, needed)
            };
            let present: Vec<usize> = (0..counts.len()).filter(|&cluster| counts[cluster] > 0).collect();
            for &a in &present {
                for &b in &present {
                    let is_together = of(a).contains(&b);
                    prop_assert_eq!(is_together, of(b).contains(&a));
                    prop_assert!(!is_together || of(a) == of(b));
                }
                let total: usize = of(a).iter().map(|&other| counts[other]).sum();
                prop_assert!(total > needed || total == counts.iter().sum::<usize>(), "enough for a threshold");
            }
        }
    }
}
