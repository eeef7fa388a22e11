//! The features that look at the past of one column alone, as a pipeline of their own: where the records of each key are in
//! another place, each place finds those of its own.
//!
//! A feature looks at one past at most, and what is remembered of a key depends on nothing but its records and on all that any
//! feature asks of it. So the features of a subset are the same to the bit as those of the whole.

use super::RecordFeatures;
use super::language::Quantity;

impl RecordFeatures {
    /// The features that look at the past of the column `key`, in order; with `with_own` also those that look at none.
    pub fn of_key(&self, key: usize, with_own: bool) -> Self {
        let relation = self.relations.iter().position(|relation| relation.key == key);
        let is_chosen = |quantity: Quantity| match quantity.relation() {
            Some(of) => Some(of) == relation,
            None => with_own,
        };
        let chosen = self.features.iter().filter(|feature| is_chosen(feature.quantity));
        let first = |feature: &super::RecordFeature| {
            let mut feature = feature.clone();
            feature.quantity = feature.quantity.of_first_relation();
            feature
        };
        Self {
            features: chosen.map(first).collect(),
            relations: relation.map(|index| self.relations[index].clone()).into_iter().collect(),
            ..self.clone()
        }
    }

    /// The column whose past each feature looks at: `(n_features)`.
    pub fn keys_of_features(&self) -> Vec<Option<usize>> {
        let key = |feature: &super::RecordFeature| Some(self.relations[feature.quantity.relation()?].key);
        self.features.iter().map(key).collect()
    }
}

impl Quantity {
    /// The relation whose past it is of.
    fn relation(self) -> Option<usize> {
        match self {
            Self::Number(_) | Self::Cycle { .. } => None,
            Self::Window { relation, .. }
            | Self::SecondsSinceLast { relation }
            | Self::Distance { relation }
            | Self::Speed { relation }
            | Self::IsNew { relation, .. } => Some(relation),
        }
    }

    /// The same where its relation is the only one.
    fn of_first_relation(self) -> Self {
        let relation = 0;
        match self {
            Self::Number(_) | Self::Cycle { .. } => self,
            Self::Window { window, of, including, .. } => Self::Window { relation, window, of, including },
            Self::SecondsSinceLast { .. } => Self::SecondsSinceLast { relation },
            Self::Distance { .. } => Self::Distance { relation },
            Self::Speed { .. } => Self::Speed { relation },
            Self::IsNew { companion, .. } => Self::IsNew { relation, companion },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{ALL, Row, features_of, featurized};
    use super::super::{History, RecordFeatures};

    /// The columns that are keys in the tests' records.
    fn keys(features: &RecordFeatures) -> Vec<usize> {
        features.relations().iter().map(|relation| relation.key).collect()
    }

    proptest! {
        /// Each part by itself finds what all together find, to the bit, and no feature is of two parts or of none.
        #[test]
        fn the_parts_find_what_the_whole_finds(
            steps in proptest::collection::vec((0u8..4, 0u8..3, 0.0f64..1e4, any::<bool>(), 0i64..100_000_000), 1..60)
        ) {
            let whole = features_of(ALL).unwrap();
            let mut time = 0;
            let row = |(user, shop, amount, has_place, step): (u8, u8, f64, bool, i64)| -> Row {
                time += step;
                (user, shop, amount, has_place.then_some((40.0 + f64::from(shop), -3.0)), time)
            };
            let rows: Vec<Row> = steps.into_iter().map(row).collect();
            let expected = featurized(&whole, &mut History::new(&whole, false), &rows);
            let mut found = vec![vec![None; whole.features().len()]; rows.len()];
            for (index, key) in keys(&whole).into_iter().enumerate() {
                let part = whole.of_key(key, index == 0);
                let of_part = featurized(&part, &mut History::new(&part, false), &rows);
                let places = whole.keys_of_features();
                let places = places.iter().enumerate().filter(|(_, of)| of.map_or(index == 0, |of| of == key));
                let places: Vec<usize> = places.map(|(place, _)| place).collect();
                prop_assert_eq!(places.len(), part.features().len());
                for (found, values) in found.iter_mut().zip(&of_part) {
                    for (&place, value) in places.iter().zip(values) {
                        prop_assert!(found[place].replace(value.to_bits()).is_none(), "found once");
                    }
                }
            }
            let bits = |values: &Vec<f64>| values.iter().map(|value| Some(value.to_bits())).collect::<Vec<_>>();
            prop_assert_eq!(found, expected.iter().map(bits).collect::<Vec<_>>());
        }
    }
}
