//! What entities are known to be.

/// A scenario or none for each entity; there are few scenarios, so each is kept once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    names: Vec<String>,
    /// Which of the names, or [`NORMAL`].
    of: Vec<u32>,
}

const NORMAL: u32 = u32::MAX;

impl Labels {
    /// How many entities there are.
    pub fn len(&self) -> usize {
        self.of.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// The scenario of entity `index`; `None` when it is normal.
    ///
    /// # Panics
    /// When there is no such entity.
    pub fn get(&self, index: usize) -> Option<&str> {
        self.names.get(self.of[index] as usize).map(String::as_str)
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
    }
}
