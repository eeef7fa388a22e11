//! The running state of an entity's features: numbers, and what some features keep beside them.

use records::value::Value;

use super::Feature;
use super::kept::Kept;
use crate::allocation::allocated;
use crate::codec::{Damaged, Reader};

/// The running state of every feature of an entity.
///
/// It is small, because a partition may hold a million of them: a number a feature, and one more for a mean, in the
/// features' order. Only what a median or a count of distinct values needs grows with the lines.
#[derive(Debug, Clone)]
pub struct Accumulators(State);

/// Not a byte more where no feature keeps values.
#[derive(Debug, Clone)]
enum State {
    Numbers(Box<[f64]>), // (state_len)
    WithKept(Box<WithKept>),
}

#[derive(Debug, Clone)]
struct WithKept {
    numbers: Box<[f64]>, // (state_len)
    kept: Kept,
}

impl Accumulators {
    /// No line yet.
    pub fn new(features: &[Feature]) -> Self {
        let mut numbers = Vec::with_capacity(Self::state_len(features));
        numbers.extend(features.iter().flat_map(|feature| feature.aggregate.empty()));
        Self::of(numbers.into(), Kept::new(features))
    }

    fn of(numbers: Box<[f64]>, kept: Option<Kept>) -> Self {
        Self(match kept {
            None => State::Numbers(numbers),
            Some(kept) => State::WithKept(Box::new(WithKept { numbers, kept })),
        })
    }

    /// How many numbers the state of `features` has.
    pub fn state_len(features: &[Feature]) -> usize {
        features.iter().map(|feature| feature.aggregate.empty().len()).sum()
    }

    /// The running numbers, `(state_len)`; NaN where there is no value yet.
    pub(super) fn numbers(&self) -> &[f64] {
        match &self.0 {
            State::Numbers(numbers) => numbers,
            State::WithKept(both) => &both.numbers,
        }
    }

    pub(super) fn kept(&self) -> Option<&Kept> {
        match &self.0 {
            State::Numbers(_) => None,
            State::WithKept(both) => Some(&both.kept),
        }
    }

    /// Whether features keep as many values as they may: no more lines are to be folded in.
    pub fn is_full(&self) -> bool {
        self.kept().is_some_and(Kept::is_full)
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let kept = self.kept().map_or(0, |kept| allocated(size_of::<WithKept>()) + kept.heap_bytes());
        allocated(size_of_val(self.numbers())) + kept
    }

    /// Folds a line in.
    pub fn add(&mut self, features: &[Feature], line: &[Value<'_>]) {
        let mut rest: &mut [f64] = match &mut self.0 {
            State::Numbers(numbers) => numbers,
            State::WithKept(both) => {
                both.kept.add(features, line);
                &mut both.numbers
            }
        };
        for feature in features {
            let state;
            (state, rest) = rest.split_at_mut(feature.aggregate.empty().len());
            if let Some(value) = feature.operand.value(line) {
                feature.aggregate.add(state, value);
            }
        }
    }

    /// The features' values; NaN for one whose column no line had.
    pub fn values(&self, features: &[Feature]) -> Vec<f64> {
        values_of(features, self.numbers(), self.kept()).collect()
    }

    /// Writes the state down: the bits of the numbers, then what is kept beside them.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.numbers().iter().for_each(|number| out.extend_from_slice(&number.to_bits().to_le_bytes()));
        if let Some(kept) = self.kept() {
            kept.encode(out);
        }
    }

    /// Continues from a state of `features` that was [written down](Self::encode).
    ///
    /// # Errors
    /// [`Damaged`] when it is none.
    pub fn decode(features: &[Feature], reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let numbers: Result<Box<[f64]>, Damaged> = (0..Self::state_len(features)).map(|_| reader.float()).collect();
        Ok(Self::of(numbers?, Kept::decode(features, reader)?))
    }
}

/// The values of `features` whose running numbers are `state`, `(state_len)`, with what is kept beside them, if they keep
/// anything; NaN for one whose column no line had.
pub fn values_of<'a>(
    features: &'a [Feature],
    mut state: &'a [f64],
    kept: Option<&'a Kept>,
) -> impl Iterator<Item = f64> + 'a {
    let mut of_kept = kept.into_iter().flat_map(Kept::values);
    features.iter().map(move |feature| {
        let (mine, rest) = state.split_at(feature.aggregate.empty().len());
        state = rest;
        if feature.aggregate.keeps_values() {
            return of_kept.next().unwrap_or(f64::NAN);
        }
        feature.aggregate.finish(mine)
    })
}

/// Adds to `state`, `(state_len)`, what later lines of the same entity made of theirs: the state of all of them, in order.
/// A sum may be another in its last bits than if the lines had been added one by one. [`Kept`] values are added by themselves.
pub fn merge(features: &[Feature], mut state: &mut [f64], mut later: &[f64]) {
    for feature in features {
        let len = feature.aggregate.empty().len();
        let (mine, rest) = state.split_at_mut(len);
        feature.aggregate.merge(mine, &later[..len]);
        (state, later) = (rest, &later[len..]);
    }
}

impl PartialEq for Accumulators {
    /// By bits: two features without a value yet are alike, although NaN is not equal to itself.
    fn eq(&self, other: &Self) -> bool {
        let written = |state: &Self| {
            let mut out = Vec::new();
            state.encode(&mut out);
            out
        };
        written(self) == written(other)
    }
}
