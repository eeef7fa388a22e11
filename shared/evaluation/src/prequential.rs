//! Parts of a history to learn from and to be judged on, one after the other in the order of time (Dawid 1984, "Statistical theory:
//! the prequential approach"; for frauds, Fraud Detection Handbook, chapter 5).
//!
//! What is judged comes after what was learned from, and between both lies the delay after which labels are known: whoever learns
//! from what nobody could have known at the time looks better than it is.

use std::ops::Range;

/// How long the parts are, in any one unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prequential {
    /// The length of what is learned from; all that came before, where there is none.
    pub train: Option<i64>,
    /// The time between, above or equal to 0.
    pub delay: i64,
    /// The length of what is judged, above 0.
    pub test: i64,
}

/// One part to learn from and one to be judged on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    /// When what is learned from happened.
    pub train: Range<i64>,
    /// When what is judged happened.
    pub test: Range<i64>,
}

impl Prequential {
    /// The parts of a history from `first` up to and without `end`. The first part to learn from is as long as `train` or, where
    /// there is none, as what is judged. The parts that are judged follow each other and are whole.
    pub fn folds(self, first: i64, end: i64) -> Vec<Fold> {
        let Self { train, delay, test } = self;
        let test = test.max(1);
        let begin = first.checked_add(train.unwrap_or(test)).and_then(|begin| begin.checked_add(delay.max(0)));
        let starts = std::iter::successors(begin, |start| start.checked_add(test));
        starts
            .map_while(|start| Some(start..start.checked_add(test).filter(|&until| until <= end)?))
            .map(|test| {
                let until = test.start - delay.max(0);
                Fold { train: train.map_or(first, |train| until - train)..until, test }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_follow_each_other() {
        let all_before = Prequential { train: None, delay: 7, test: 7 };
        let folds = all_before.folds(100, 130);
        assert_eq!(folds, [Fold { train: 100..107, test: 114..121 }, Fold { train: 100..114, test: 121..128 }]);
        let newest = Prequential { train: Some(14), delay: 7, test: 7 };
        assert_eq!(newest.folds(100, 130), [Fold { train: 100..114, test: 121..128 }]);
        assert!(newest.folds(100, 120).is_empty());
        assert!(all_before.folds(i64::MAX - 3, i64::MAX).is_empty());
    }

    proptest! {
        /// Nothing is judged that was learned from, nothing that was learned from was known less than the delay before, and nothing
        /// is judged twice.
        #[test]
        fn nobody_knows_the_future(
            first in -1000i64..1000, length in 0i64..300, train in proptest::option::of(1i64..60), delay in 0i64..40, test in 1i64..40,
        ) {
            let end = first + length;
            let folds = Prequential { train, delay, test }.folds(first, end);
            for fold in &folds {
                prop_assert!(first <= fold.train.start && fold.train.start < fold.train.end);
                prop_assert_eq!(fold.train.end + delay, fold.test.start);
                prop_assert!(fold.test.end - fold.test.start == test && fold.test.end <= end);
                prop_assert!(train.is_none_or(|train| fold.train.end - fold.train.start == train));
            }
            prop_assert!(folds.windows(2).all(|pair| pair[0].test.end == pair[1].test.start));
            // No whole part is left over.
            let judged_until = folds.last().map_or(first + train.unwrap_or(test) + delay, |fold| fold.test.end);
            prop_assert!(judged_until + test > end);
        }
    }
}
