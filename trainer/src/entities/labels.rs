//! What entities are known to be.

/// A scenario or none for each entity; there are few scenarios, so each is kept once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    names: Vec<String>,
    /// Which of the names, or [`NORMAL`] or [`UNKNOWN`].
    of: Vec<u32>,
}

const NORMAL: u32 = u32::MAX;

/// Of what nobody knows.
const UNKNOWN: u32 = u32::MAX - 1;

impl Labels {
    /// How many entities there are.
    pub fn len(&self) -> usize {
        self.of.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// The scenario of entity `index`; `None` when it is normal, and where nobody knows: a comparison takes it for normal.
    ///
    /// # Panics
    /// When there is no such entity.
    pub fn get(&self, index: usize) -> Option<&str> {
        self.names.get(self.of[index] as usize).map(String::as_str)
    }

    /// Whether entity `index` is an anomaly; `None` where nobody knows. Detectors learn from this.
    ///
    /// # Panics
    /// When there is no such entity.
    pub fn known(&self, index: usize) -> Option<bool> {
        match self.of[index] {
            UNKNOWN => None,
            place => Some(place != NORMAL),
        }
    }

    /// The same entities, of which these are left: `(n_samples)`.
    pub(super) fn retained(&self, is_kept: &[bool]) -> Self {
        let of = self.of.iter().zip(is_kept).filter(|(_, is_kept)| **is_kept).map(|(place, _)| *place).collect();
        Self { names: self.names.clone(), of }
    }

    pub(super) fn push_unknown(&mut self) {
        self.of.push(UNKNOWN);
    }

    pub(super) fn push(&mut self, scenario: Option<&str>) {
        let place = scenario.map(|scenario| match self.names.iter().position(|name| name == scenario) {
            Some(known) => known as u32,
            None => {
                self.names.push(scenario.to_owned());
                self.names.len() as u32 - 1
            }
        });
        self.of.push(place.unwrap_or(NORMAL));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entity_has_the_label_it_was_given() {
        let given = [None, Some("a"), Some("b"), None, Some("a")];
        let mut labels = Labels::default();
        given.iter().for_each(|label| labels.push(*label));
        assert_eq!((0..labels.len()).map(|index| labels.get(index)).collect::<Vec<_>>(), given);
        labels.push_unknown();
        let known = |labels: &Labels| (0..labels.len()).map(|index| labels.known(index)).collect::<Vec<_>>();
        assert_eq!(known(&labels), [Some(false), Some(true), Some(true), Some(false), Some(true), None]);
        assert_eq!(labels.get(5), None);
        let left = labels.retained(&[false, true, false, true, false, true]);
        assert_eq!(known(&left), [Some(true), Some(false), None]);
        assert_eq!(left.get(0), Some("a"));
    }
}
