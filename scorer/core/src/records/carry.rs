//! What is remembered of single records, of a topic that has grown: it goes to where the records of its key go from then on.

use shared::history::{Part, Restoring};
use shared::pipeline::Pipeline;

use super::RecordScoring;
use super::reorder_buffer::BufferedRecord;
use super::zscore::ZScores;
use crate::changelog::record::StateError;
use crate::growth::{Growth, GrowthError};

impl RecordScoring {
    /// Visits the keys by which all that is remembered or waits is placed.
    pub fn each_key(&self, pipeline: &Pipeline, visit: &mut dyn FnMut(&str)) {
        self.past.history.names().for_each(&mut *visit);
        self.zscores.keys().for_each(&mut *visit);
        for (_, record) in self.buffer.iter() {
            self.key_of(pipeline, record).as_deref().into_iter().for_each(&mut *visit);
        }
    }

    /// Puts what is remembered and what waits in the partitions of before, by number, into those of now, which are empty.
    pub fn carry_over(
        pipeline: &Pipeline,
        old: Vec<Self>,
        new: &mut [&mut Self],
        growth: &Growth<'_>,
    ) -> Result<(), GrowthError> {
        // What is known of a key by a later column is in another topic, and goes where that grows.
        if pipeline.hop().is_some() {
            return Err(GrowthError::Hops);
        }
        carry_past(&old, new, growth)?;
        let mut zscores = Vec::with_capacity(old.len());
        for (from, scoring) in (0..).zip(old) {
            for (place, record) in scoring.buffer.iter() {
                let to = match scoring.key_of(pipeline, record) {
                    Some(key) => growth.place(from, &key)?,
                    None => from,
                };
                let mut record = record.clone();
                record.came_from = record.came_from.moved(from, to);
                if !new[to as usize].buffer.carry_in(place.clone(), record) {
                    return Err(GrowthError::Twice { key: place.1.as_ref().to_owned() });
                }
            }
            zscores.push(scoring.zscores);
        }
        let mut new: Vec<&mut ZScores> = new.iter_mut().map(|scoring| &mut scoring.zscores).collect();
        ZScores::carry_over(zscores, &mut new, growth)
    }

    /// The key by which a record that waits is placed, where one is.
    fn key_of(&self, pipeline: &Pipeline, record: &BufferedRecord) -> Option<String> {
        let column = *pipeline.placed_by().first()?;
        let line = self.buffer.line(record, pipeline.schema.columns.len());
        line[column].text().map(str::to_owned)
    }
}

/// Divides the past of keys. What waits is still to be judged as of its own time, in the order of times: the clock of a new
/// partition's past is not later than that of any that it has keys from, nor than the first that waits.
fn carry_past(old: &[RecordScoring], new: &mut [&mut RecordScoring], growth: &Growth<'_>) -> Result<(), GrowthError> {
    let Some(features) = old.first().map(|scoring| scoring.records.features.clone()) else { return Ok(()) };
    let mut restoring: Vec<Restoring> = new.iter().map(|_| Restoring::new(&features)).collect();
    for (from, scoring) in (0..).zip(old) {
        let mut carried = Ok(());
        scoring.past.history.parts(&features, |part: Part| {
            let mut carry = || -> Result<(), GrowthError> {
                let to = growth.place(from, features.name_of_part(&part.key)?)?;
                let value = part.value.as_deref().ok_or(StateError::Damaged)?;
                Ok(restoring[to as usize].add(&features, &part.key, value)?)
            };
            if carried.is_ok() {
                carried = carry();
            }
        });
        carried?;
    }
    for ((to, scoring), restoring) in (0..).zip(new.iter_mut()).zip(restoring) {
        let feeders = (0..).zip(old).filter(|(from, _)| growth.feeds(*from, to));
        let (mut clocks, mut waiting) = (Vec::new(), Vec::new());
        for (_, feeder) in feeders {
            clocks.extend(feeder.past.history.clock());
            waiting.extend(feeder.buffer.first());
        }
        let clock = clocks.into_iter().min().map(|clock| waiting.into_iter().fold(clock, i64::min));
        scoring.past.history = restoring.finish(clock, true)?;
    }
    Ok(())
}
