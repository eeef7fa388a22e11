//! Entities counted by what two detectors say of them, and by what they are known to be.

use shared::evaluation::{Confusion, McNemar, Overlap, mcnemar};

/// One of the two detectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The first.
    A,
    /// The second.
    B,
}

impl Side {
    /// Both, in their order.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Its place in a pair: 0 or 1.
    pub fn index(self) -> usize {
        usize::from(self == Self::B)
    }
}

/// Entities by what two detectors say of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cells {
    /// Anomalous to both.
    pub both: u64,
    /// Anomalous to the first alone, and to the second alone.
    pub only: [u64; 2],
    /// Anomalous to neither.
    pub neither: u64,
}

impl Cells {
    /// How many there are.
    pub fn total(self) -> u64 {
        self.both + self.only[0] + self.only[1] + self.neither
    }

    /// Those that are anomalous to one detector, whatever the other says.
    pub fn flagged(self, side: Side) -> u64 {
        self.both + self.only[side.index()]
    }

    fn add(&mut self, is_anomalous: [bool; 2]) {
        *match is_anomalous {
            [true, true] => &mut self.both,
            [true, false] => &mut self.only[0],
            [false, true] => &mut self.only[1],
            [false, false] => &mut self.neither,
        } += 1;
    }

    fn plus(self, other: Self) -> Self {
        Self {
            both: self.both + other.both,
            only: [self.only[0] + other.only[0], self.only[1] + other.only[1]],
            neither: self.neither + other.neither,
        }
    }
}

/// What two detectors say of entities, those that are known to be anomalies apart from all others.
///
/// It is a sum: what was counted of parts can be merged in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Agreement {
    /// Entities that are labelled as anomalies.
    pub labelled: Cells,
    /// All others.
    pub others: Cells,
}

impl Agreement {
    /// Adds an entity: to which of the two it is anomalous, and whether it is labelled as an anomaly.
    pub fn add(&mut self, is_anomalous: [bool; 2], is_labelled: bool) {
        if is_labelled { self.labelled.add(is_anomalous) } else { self.others.add(is_anomalous) }
    }

    /// Adds what was counted of other entities.
    pub fn merge(&mut self, other: Self) {
        self.labelled = self.labelled.plus(other.labelled);
        self.others = self.others.plus(other.others);
    }

    /// All entities, whatever they are.
    pub fn all(self) -> Cells {
        self.labelled.plus(self.others)
    }

    /// Of what either calls anomalous, the share that both do; 1 where neither finds anything.
    pub fn jaccard(self) -> f64 {
        let Cells { both, only: [only_first, only_second], .. } = self.all();
        Overlap { both, only_first, only_second }.jaccard()
    }

    /// What one of them found of the labelled entities, and how many others it called anomalous.
    pub fn confusion(self, side: Side) -> Confusion {
        let (found, alarms) = (self.labelled.flagged(side), self.others.flagged(side));
        Confusion {
            true_positives: found,
            false_positives: alarms,
            false_negatives: self.labelled.total() - found,
            true_negatives: self.others.total() - alarms,
        }
    }

    /// Whether one is right more often than the other: McNemar's exact test over the entities that only one is right
    /// about. Those are the ones that only one calls anomalous: it is right where they are labelled, and the other where
    /// they are not.
    pub fn mcnemar(self) -> McNemar {
        let right = |side: Side| self.labelled.only[side.index()] + self.others.only[side.other().index()];
        mcnemar(right(Side::A), right(Side::B))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn who_is_alone_is_right_where_there_is_an_anomaly() {
        let mut agreement = Agreement::default();
        for (is_anomalous, is_labelled, count) in [
            ([true, true], true, 10),
            ([true, false], true, 4),
            ([false, true], true, 1),
            ([true, false], false, 2),
            ([false, true], false, 3),
            ([false, false], false, 80),
        ] {
            (0..count).for_each(|_| agreement.add(is_anomalous, is_labelled));
        }
        assert_eq!(agreement.jaccard(), 0.5);
        let test = agreement.mcnemar();
        assert_eq!((test.only_first, test.only_second), (4 + 3, 1 + 2));
        // binomtest(3, 10, 0.5) of SciPy.
        assert!((test.p_value - 0.343_75).abs() < 1e-12);
    }

    proptest! {
        /// Beside their definitions, entity by entity, and whatever parts they are counted in.
        #[test]
        fn counts_are_their_definitions(
            entities in proptest::collection::vec(any::<(bool, bool, bool)>(), 0..120),
            cut in 0usize..120,
        ) {
            let count = |entities: &[(bool, bool, bool)]| {
                let mut agreement = Agreement::default();
                entities.iter().for_each(|&(a, b, label)| agreement.add([a, b], label));
                agreement
            };
            let cut = cut.min(entities.len());
            let mut agreement = count(&entities[..cut]);
            agreement.merge(count(&entities[cut..]));
            prop_assert_eq!(agreement, count(&entities));

            let number = |keep: &dyn Fn(bool, bool, bool) -> bool| {
                entities.iter().filter(|&&(a, b, label)| keep(a, b, label)).count() as u64
            };
            let all = agreement.all();
            prop_assert_eq!(all.total(), entities.len() as u64);
            prop_assert_eq!(all.both, number(&|a, b, _| a && b));
            prop_assert_eq!(all.only, [number(&|a, b, _| a && !b), number(&|a, b, _| b && !a)]);
            prop_assert_eq!(agreement.jaccard(), Overlap::of(entities.iter().map(|&(a, b, _)| (a, b))).jaccard());
            let of_a = Confusion::of(entities.iter().map(|&(a, _, label)| (a, label)));
            let of_b = Confusion::of(entities.iter().map(|&(_, b, label)| (b, label)));
            prop_assert_eq!((agreement.confusion(Side::A), agreement.confusion(Side::B)), (of_a, of_b));
            let test = agreement.mcnemar();
            prop_assert_eq!(test.only_first, number(&|a, b, label| a == label && b != label));
            prop_assert_eq!(test.only_second, number(&|a, b, label| b == label && a != label));
        }
    }
}
