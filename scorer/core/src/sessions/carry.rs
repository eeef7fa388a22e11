//! Open entities of a topic that has grown: each goes to where its lines go from then on.

use shared::time::Timestamp;

use super::{Open, OpenSessions, open_bytes};
use crate::growth::{Growth, GrowthError};

impl OpenSessions {
    /// The keys of all that is open.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.open.iter().map(|(key, _, _)| key)
    }

    /// Puts what the partitions of before have open, by number, into those of now, in which nothing is open.
    pub fn carry_over(old: Vec<Self>, new: &mut [&mut Self], growth: &Growth<'_>) -> Result<(), GrowthError> {
        let mut bound: Vec<Vec<(Box<str>, Timestamp, Open)>> = new.iter().map(|_| Vec::new()).collect();
        for (from, mut sessions) in (0..).zip(old) {
            while let Some((key, deadline, open)) = sessions.open.pop_oldest() {
                let to = growth.place(from, &key)?;
                let came_from = open.came_from.moved(from, to);
                let open = Open { came_from, is_persisted: false, has_changed: true, ..open };
                bound[to as usize].push((key, deadline, open));
            }
        }
        for (sessions, mut entities) in new.iter_mut().zip(bound) {
            entities.sort_by_key(|(_, deadline, _)| *deadline);
            for (key, deadline, open) in entities {
                sessions.take_in(&key, deadline, open)?;
            }
        }
        Ok(())
    }

    /// Takes in an entity whose deadline is not before that of any other.
    fn take_in(&mut self, key: &str, deadline: Timestamp, open: Open) -> Result<(), GrowthError> {
        if self.open.get(key).is_some() {
            return Err(GrowthError::Twice { key: key.to_owned() });
        }
        self.lines += open.entity.lines();
        self.bytes += open_bytes(key, &open.entity);
        self.open.insert(key, deadline, open);
        Ok(())
    }
}
