//! Where the scores and features of entities lie among those of the training.

use shared::detectors::drift::Identity;
use shared::time::Timestamp;

use super::plan::Plan;

/// In the place of a cell, where there is no number.
const MISSING: u16 = 0x7fff;

/// Beside a cell: the number is outside the range of the training.
const OUTSIDE: u16 = 0x8000;

/// What is drawn for the place of a score in its cell; the places of numbers that tie are drawn for their own number.
const IN_CELL: u64 = 1 << 32;

/// An entity: which one, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observed {
    /// Which entity.
    pub identity: Identity,
    /// Its time.
    pub time: Timestamp,
}

/// A number among those of the training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Where it lies; `None` where there is no number.
    pub cell: Option<usize>,
    /// Whether it is outside of the training's range.
    pub is_outside: bool,
}

/// What is noted of entities, in their order, in a few bytes each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observations {
    entities: Vec<Observed>,
    /// `(n_entities, n_detectors + n_features)`
    places: Vec<u16>,
}

impl Observations {
    /// Notes an entity with its score by each trained detector, if it was scored, and its features, which are NaN where it has none.
    pub fn add(&mut self, plan: &Plan, entity: Observed, mut scores: impl Iterator<Item = f32>, features: &[f64]) {
        if !plan.is_watching() {
            return;
        }
        self.entities.push(entity);
        let Observed { identity, .. } = entity;
        for (index, detector) in plan.detectors.iter().enumerate() {
            let score = scores.next().filter(|score| score.is_finite());
            let place = score
                .zip(detector.cells.as_ref())
                .map_or(MISSING, |(score, cells)| packed(cells.of(f64::from(score), identity.uniform(index as u64))));
            self.places.push(place);
        }
        for (index, feature) in plan.features.iter().enumerate() {
            let value = features.get(index).copied().filter(|value| value.is_finite());
            let place = value.map_or(MISSING, |value| {
                let cell = feature.cells.of(value, identity.uniform((plan.detectors.len() + index) as u64));
                packed(cell) | if feature.cells.is_outside(value) { OUTSIDE } else { 0 }
            });
            self.places.push(place);
        }
    }

    /// Adds what was noted of later entities.
    pub fn merge(&mut self, mut other: Self) {
        if self.entities.is_empty() {
            *self = other;
        } else {
            self.entities.append(&mut other.entities);
            self.places.append(&mut other.places);
        }
    }

    /// Whether nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.entities.is_empty()
    }

    /// The entities, each with its places, of which there are so many: by detector, then by feature.
    pub(super) fn rows(&self, width: usize) -> impl Iterator<Item = (Observed, impl Iterator<Item = Place>)> {
        let rows = self.places.chunks_exact(width.max(1));
        self.entities.iter().zip(rows).map(|(entity, row)| (*entity, row.iter().map(|packed| unpacked(*packed))))
    }

    /// What is drawn for the place of a score in its cell.
    pub(super) fn in_cell(entity: Observed, detector: usize) -> f64 {
        entity.identity.uniform(IN_CELL + detector as u64)
    }
}

/// There are far fewer cells than this has room for.
fn packed(cell: usize) -> u16 {
    u16::try_from(cell).unwrap_or(MISSING - 1).min(MISSING - 1)
}

fn unpacked(packed: u16) -> Place {
    let cell = packed & !OUTSIDE;
    Place { cell: (cell != MISSING).then_some(usize::from(cell)), is_outside: packed & OUTSIDE != 0 }
}
