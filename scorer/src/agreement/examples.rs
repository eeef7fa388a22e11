//! The entities with the highest scores, few enough to be kept with their reasons.

use std::cmp::Ordering;

use super::cause::Cause;
use super::entity_id::EntityId;

/// An entity that one detector alone calls anomalous.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// Its key.
    pub key: String,
    /// What that detector scored.
    pub score: f32,
    /// The score that an anomaly exceeds.
    pub threshold: f32,
    /// What gave it away.
    pub cause: Option<Cause>,
    /// Whether it is labelled as an anomaly.
    pub is_labelled: bool,
}

/// What is kept of the anomalies of one detector: whether it is alone with one is known only once the other has been
/// heard, so more are kept than will be shown.
const KEPT: usize = 10_000;

/// The anomalies of a detector with the highest scores.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    entities: Vec<(EntityId, Example)>,
}

impl Candidates {
    pub fn add(&mut self, id: EntityId, example: Example) {
        self.entities.push((id, example));
        if self.entities.len() >= 2 * KEPT {
            self.entities.select_nth_unstable_by(KEPT, by_score);
            self.entities.truncate(KEPT);
        }
    }

    /// The first `n` of those that `keep` says are wanted, the highest score first, each entity once.
    pub fn first(mut self, n: usize, mut keep: impl FnMut(EntityId, &mut Example) -> bool) -> Vec<Example> {
        self.entities.sort_unstable_by(by_score);
        let mut found: Vec<(EntityId, Example)> = Vec::new();
        for (id, mut example) in self.entities {
            if found.len() == n {
                break;
            }
            if found.iter().all(|(known, _)| *known != id) && keep(id, &mut example) {
                found.push((id, example));
            }
        }
        found.into_iter().map(|(_, example)| example).collect()
    }
}

/// Falling by score; by key where that is the same, whatever order they came in.
fn by_score(first: &(EntityId, Example), second: &(EntityId, Example)) -> Ordering {
    let ((id, example), (other_id, other)) = (first, second);
    let by_key = || example.key.cmp(&other.key).then_with(|| id.cmp(other_id));
    other.score.total_cmp(&example.score).then_with(by_key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_scores_are_kept_however_many_come() {
        let mut candidates = Candidates::default();
        for index in 0..(5 * KEPT as u64) {
            // Every number below 50,000 once, in some order.
            let number = index * 7_919 % (5 * KEPT as u64);
            let id = EntityId::new(&number.to_string(), 0, 0);
            let example = Example {
                key: number.to_string(),
                score: number as f32,
                threshold: 1.0,
                cause: None,
                is_labelled: false,
            };
            candidates.add(id, example.clone());
            candidates.add(id, example);
        }
        let found = candidates.first(3, |_, example| example.score % 2.0 == 0.0);
        assert_eq!(found.iter().map(|example| example.score).collect::<Vec<_>>(), [49_998.0, 49_996.0, 49_994.0]);
    }
}
