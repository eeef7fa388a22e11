//! Verdicts of two detectors, brought together by the entity that they are on.

use hashbrown::HashMap;
use shared::evaluation::spearman;

use super::cause::Cause;
use super::counts::{Agreement, Side};
use super::entity_id::EntityId;
use super::examples::{Candidates, Example};

/// A verdict, in short.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged<'a> {
    /// Whose it is.
    pub side: Side,
    /// The entity.
    pub id: EntityId,
    /// The entity's key.
    pub key: &'a str,
    /// Higher is more anomalous.
    pub score: f32,
    /// The score that an anomaly exceeds.
    pub threshold: f32,
    /// Whether it does.
    pub is_anomalous: bool,
    /// Whether the entity is labelled as an anomaly.
    pub is_labelled: bool,
}

/// Bits of what is known of an entity: a detector's are moved by its index.
const JUDGED: u8 = 1;
const ANOMALOUS: u8 = 4;
const LABELLED: u8 = 16;

/// What two detectors say of each entity: two scores and a few bits, beside a place in a table.
#[derive(Debug, Default)]
pub struct Pairs {
    places: HashMap<EntityId, usize>,
    /// Of A and of B; 0 where there is no verdict.
    scores: [Vec<f32>; 2],
    bits: Vec<u8>,
    candidates: [Candidates; 2],
    again: u64,
    normal: u64,
}

/// How two detectors agree.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Whether verdicts on normal entities are there too. Where they are not, an entity without a verdict of a detector is
    /// taken to be normal to it, and nobody knows how many are normal to both.
    pub is_complete: bool,
    /// What both say of the entities that both have judged.
    pub agreement: Agreement,
    /// How many entities each has judged, as far as its verdicts are there.
    pub judged: [u64; 2],
    /// Where all verdicts are there: entities that one alone has judged, which are left out of everything else.
    pub alone: [u64; 2],
    /// The rank correlation of the scores; none where one detector gives all entities the same.
    pub spearman: Option<f64>,
    /// Over how many entities: all, or where only anomalies are there, those that are anomalous to both.
    pub ranked: u64,
    /// Verdicts that came again for an entity; the last one counts.
    pub again: u64,
    /// Entities that one alone calls anomalous, those with its highest scores first.
    pub examples: [Vec<Example>; 2],
}

impl Pairs {
    /// Takes a verdict; `cause` is asked for where the entity is anomalous.
    pub fn add(&mut self, judged: &Judged<'_>, cause: impl FnOnce() -> Option<Cause>) {
        let Judged { side, id, key, score, threshold, is_anomalous, is_labelled } = *judged;
        let place = *self.places.entry(id).or_insert_with(|| {
            self.scores.iter_mut().for_each(|scores| scores.push(0.0));
            self.bits.push(0);
            self.bits.len() - 1
        });
        let bits = &mut self.bits[place];
        self.again += u64::from(*bits & bit(JUDGED, side) != 0);
        *bits |= bit(JUDGED, side);
        *bits &= !bit(ANOMALOUS, side);
        if is_anomalous {
            *bits |= bit(ANOMALOUS, side);
            let example = Example { key: key.to_owned(), score, threshold, cause: cause(), is_labelled };
            self.candidates[side.index()].add(id, example);
        } else {
            self.normal += 1;
        }
        if is_labelled {
            *bits |= LABELLED;
        }
        self.scores[side.index()][place] = score;
    }

    /// Whether there is no verdict.
    pub fn is_empty(&self) -> bool {
        self.bits.is_empty()
    }

    /// How they agree, with so many examples of each kind. Verdicts on normal entities are there if any is, unless
    /// `is_complete` knows.
    pub fn finish(self, is_complete: Option<bool>, n_examples: usize) -> Comparison {
        let is_complete = is_complete.unwrap_or(self.normal > 0);
        let mut found = Comparison {
            is_complete,
            agreement: Agreement::default(),
            judged: [0; 2],
            alone: [0; 2],
            spearman: None,
            ranked: 0,
            again: self.again,
            examples: Default::default(),
        };
        let mut ranked = Vec::new();
        for (place, &bits) in self.bits.iter().enumerate() {
            let of = |what| Side::BOTH.map(|side| bits & bit(what, side) != 0);
            let (has_judged, is_anomalous) = (of(JUDGED), of(ANOMALOUS));
            (0..2).for_each(|index| found.judged[index] += u64::from(has_judged[index]));
            match has_judged {
                [true, false] if is_complete => found.alone[0] += 1,
                [false, true] if is_complete => found.alone[1] += 1,
                _ => found.agreement.add(is_anomalous, bits & LABELLED != 0),
            }
            if has_judged == [true; 2] && (is_complete || is_anomalous == [true; 2]) {
                ranked.push((self.scores[0][place], self.scores[1][place]));
            }
        }
        (found.ranked, found.spearman) = (ranked.len() as u64, rank_correlation(ranked));
        let Self { places, scores, bits, candidates: [of_a, of_b], .. } = self;
        let alone = |candidates: Candidates, side: Side| {
            candidates.first(n_examples, |id, example| {
                let Some(&place) = places.get(&id) else { return false };
                let (bits, score) = (bits[place], scores[side.index()][place]);
                example.is_labelled = bits & LABELLED != 0;
                let is_alone = bits & bit(ANOMALOUS, side) != 0 && bits & bit(ANOMALOUS, side.other()) == 0;
                let is_known = !is_complete || bits & bit(JUDGED, side.other()) != 0;
                // A verdict that came again may have told another score before.
                is_alone && is_known && example.score == score
            })
        };
        found.examples = [alone(of_a, Side::A), alone(of_b, Side::B)];
        found
    }
}

fn bit(what: u8, side: Side) -> u8 {
    what << side.index()
}

/// Spearman's, to the same bits whatever order the entities came in: sums of so many ranks are rounded.
fn rank_correlation(mut scores: Vec<(f32, f32)>) -> Option<f64> {
    scores.sort_unstable_by(|first, second| first.0.total_cmp(&second.0).then(first.1.total_cmp(&second.1)));
    let (a, b): (Vec<f32>, Vec<f32>) = scores.into_iter().unzip();
    spearman(&a, &b)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// A verdict of A or of B on an entity, with a score of which 0 and less is normal.
    type Told = (bool, u8, i8);

    fn judged(&(is_b, entity, score): &Told, key: &str) -> (Side, EntityId, f32, bool, bool) {
        let side = if is_b { Side::B } else { Side::A };
        (side, EntityId::new(key, 0, 0), f32::from(score), score > 0, entity.is_multiple_of(3))
    }

    fn pairs(told: &[Told]) -> Pairs {
        let mut pairs = Pairs::default();
        for one in told {
            let key = one.1.to_string();
            let (side, id, score, is_anomalous, is_labelled) = judged(one, &key);
            let verdict = Judged { side, id, key: &key, score, threshold: 0.0, is_anomalous, is_labelled };
            pairs.add(&verdict, || None);
        }
        pairs
    }

    /// The last score of each entity by A and by B.
    fn by_entity(told: &[Told]) -> BTreeMap<u8, [Option<i8>; 2]> {
        let mut entities: BTreeMap<u8, [Option<i8>; 2]> = BTreeMap::new();
        told.iter()
            .for_each(|&(is_b, entity, score)| entities.entry(entity).or_default()[usize::from(is_b)] = Some(score));
        entities
    }

    #[test]
    fn a_key_that_comes_again_later_is_another_entity() {
        let mut pairs = Pairs::default();
        for (side, time) in [(Side::A, 1), (Side::A, 2), (Side::B, 2), (Side::B, 2)] {
            let id = EntityId::new("7", time, time);
            let verdict =
                Judged { side, id, key: "7", score: 1.0, threshold: 0.5, is_anomalous: true, is_labelled: false };
            pairs.add(&verdict, || None);
        }
        let found = pairs.finish(Some(false), 5);
        assert_eq!((found.agreement.all().both, found.agreement.all().only, found.again), (1, [1, 0], 1));
        assert_eq!((found.examples[0].len(), found.examples[1].len()), (1, 0));
    }

    #[test]
    fn where_only_anomalies_are_told_silence_means_normal() {
        let told = [(false, 1, 5), (true, 1, 7), (false, 2, 6), (true, 4, 9), (true, 5, 2), (false, 5, 3)];
        let found = pairs(&told).finish(None, 5);
        assert!(!found.is_complete);
        let all = found.agreement.all();
        assert_eq!((all.both, all.only, all.neither), (2, [1, 1], 0));
        assert_eq!(found.ranked, 2, "what both call anomalous");
        assert!((found.spearman.unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(found.alone, [0, 0]);
        let keys = found.examples.map(|examples| examples.into_iter().map(|it| it.key).collect::<Vec<_>>());
        assert_eq!(keys, [["2"], ["4"]]);
        // One normal verdict is enough to know that the others would be there.
        let found = pairs(&[&told[..], &[(false, 9, -1)]].concat()).finish(None, 5);
        assert!(found.is_complete);
        assert_eq!((found.alone, found.agreement.all().total(), found.judged), ([2, 1], 2, [4, 3]));
    }

    #[test]
    fn rank_correlation_does_not_know_the_order_of_a_million_entities() {
        let score = |index: u64, factor: u64| (index * factor % 1_000_003) as f32;
        let mut scores: Vec<(f32, f32)> = (0..1_000_000).map(|it| (score(it, 7_919), score(it * it, 31))).collect();
        let found = rank_correlation(scores.clone());
        scores.reverse();
        assert_eq!(rank_correlation(scores.clone()), found);
        scores.rotate_left(123_457);
        assert_eq!(rank_correlation(scores), found);
    }

    proptest! {
        /// Beside the definitions, entity by entity: counts, rank correlation and examples.
        #[test]
        fn what_is_found_is_its_definition(
            told in proptest::collection::vec((any::<bool>(), 0u8..40, -5i8..5), 1..150),
        ) {
            let entities = by_entity(&told);
            let found = pairs(&told).finish(Some(true), 4);
            let both: Vec<(u8, i8, i8)> =
                entities.iter().filter_map(|(&entity, &[a, b])| Some((entity, a?, b?))).collect();
            let mut expected = Agreement::default();
            both.iter().for_each(|&(entity, a, b)| expected.add([a > 0, b > 0], entity % 3 == 0));
            prop_assert_eq!(found.agreement, expected);
            prop_assert_eq!(found.again as usize, told.len() - found.judged.iter().sum::<u64>() as usize);
            prop_assert_eq!(found.alone.iter().sum::<u64>() as usize, entities.len() - both.len());
            let (a, b): (Vec<f32>, Vec<f32>) = both.iter().map(|&(_, a, b)| (f32::from(a), f32::from(b))).unzip();
            match (found.spearman, spearman(&a, &b)) {
                (Some(found), Some(expected)) => prop_assert!((found - expected).abs() < 1e-12),
                (found, expected) => prop_assert_eq!(found, expected),
            }
            let mut only_a: Vec<_> = both.iter().filter(|&&(_, a, b)| a > 0 && b <= 0).collect();
            only_a.sort_by_key(|&&(entity, a, _)| (-a, entity.to_string()));
            let keys: Vec<String> = only_a.iter().take(4).map(|(entity, ..)| entity.to_string()).collect();
            prop_assert_eq!(found.examples[0].iter().map(|it| it.key.clone()).collect::<Vec<_>>(), keys);
        }

        /// Verdicts come in any order, A's topic before B's or not, and nothing changes, not even a bit.
        #[test]
        fn the_order_of_verdicts_does_not_matter(
            told in proptest::collection::btree_map((any::<bool>(), 0u8..60), -5i8..5, 1..100),
            turn in 0usize..100,
        ) {
            let told: Vec<Told> = told.into_iter().map(|((is_b, entity), score)| (is_b, entity, score)).collect();
            let mut turned = told.clone();
            turned.rotate_left(turn % told.len());
            prop_assert_eq!(pairs(&told).finish(None, 3), pairs(&turned).finish(None, 3));
        }
    }
}
