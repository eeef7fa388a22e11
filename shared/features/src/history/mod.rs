//! Records that are scored one by one, each in the light of what came before it for its keys.
//!
//! [`RecordFeatures`] is what a pipeline file asks for, [`History`] what is remembered to answer it: for every key a
//! bounded number of panes, its last record, and whom it has met. The trainer and the scorer drive this same code, each
//! record once and in its order; what is remembered can be written down, part by part, and read back.

mod geo_point;
mod language;
mod panes;
mod parts;
mod past;
mod subset;

use crate::allocation::allocated;
use crate::expiry::{ExpiryMap, Place};

pub use geo_point::{GeoPoint, distance_km};
pub use language::{Measure, RecordFeature, Relation, Transform};
pub use parts::{Part, PartError, Restoring};

use language::{Cycle, FeatureReader, Quantity, Shape, Statistic, WindowQuantity};
use panes::{Stats, WindowStats};
use past::{Past, Seen, fingerprint};
use records::schema::Column;
use records::time::{Millis, Timestamp, hour};
use records::value::Value;

const DAY: Millis = 86_400_000;
const WEEK: Millis = 7 * DAY;

/// 1970-01-01 was a Thursday; days are counted from Monday.
const EPOCH_DAY: i64 = 3;

/// Speeds are taken over at least this long: clocks have an end.
const SHORTEST_TRIP: Millis = 1_000;

/// The features of a pipeline whose records are scored one by one.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordFeatures {
    features: Vec<RecordFeature>,
    relations: Vec<Relation>,
    time: usize,
    memory: Millis,
    lateness: Millis,
}

impl RecordFeatures {
    /// Reads `declared`, names and expressions, for records with `columns`. `time` is the datetime column by which a
    /// record stands in its keys' past; what windows do not need is remembered for `memory`, and records come at most
    /// `lateness` out of order. Columns are found by `resolve`, given the feature's and the column's name.
    ///
    /// # Errors
    /// The first of `resolve`, or what `problem` makes of a feature's name and what is wrong with it.
    pub fn read<E>(
        declared: &[(String, String)],
        columns: &[Column],
        (time, memory, lateness): (usize, Millis, Millis),
        resolve: &dyn Fn(&str, &str) -> Result<usize, E>,
        problem: &dyn Fn(&str, String) -> E,
    ) -> Result<Self, E> {
        let (features, relations) = FeatureReader { columns, resolve, problem }.read(declared)?;
        Ok(Self { features, relations, time, memory, lateness })
    }

    /// The features, in order.
    pub fn features(&self) -> &[RecordFeature] {
        &self.features
    }

    /// The keys whose past is looked at.
    pub fn relations(&self) -> &[Relation] {
        &self.relations
    }

    /// Index of the datetime column by which a record stands in its keys' past.
    pub fn time(&self) -> usize {
        self.time
    }

    /// How far out of order records come.
    pub fn lateness(&self) -> Millis {
        self.lateness
    }

    /// How long a key is remembered after its last record; a record that is older than this tells nothing any more.
    pub fn memory(&self) -> Millis {
        self.relations.iter().map(|relation| self.memory_of(relation)).fold(self.memory, Millis::max)
    }

    /// The columns that features read; every record needs them, except for places.
    pub fn columns(&self) -> Vec<usize> {
        let mut needed = vec![self.time];
        needed.extend(self.features.iter().filter_map(|feature| match feature.quantity {
            Quantity::Number(column) | Quantity::Cycle { column, .. } => Some(column),
            _ => None,
        }));
        for Relation { key, numbers, companions, .. } in &self.relations {
            needed.extend(numbers.iter().chain(companions).chain([key]));
        }
        needed.sort_unstable();
        needed.dedup();
        needed
    }

    /// What the record `line` has of each key whose past is looked at: `(n_relations)`.
    pub fn keys<'a>(&self, line: &[Value<'a>]) -> Vec<Option<&'a str>> {
        self.relations.iter().map(|relation| key_of(relation, line)).collect()
    }

    /// The latitudes and longitudes that features read, which a record may lack.
    pub fn places(&self) -> Vec<usize> {
        self.relations.iter().filter_map(|relation| relation.place).flat_map(|(a, b)| [a, b]).collect()
    }

    /// Everything that what is remembered depends on, one fact a line.
    pub fn layout(&self) -> Vec<String> {
        let features = self.features.iter().map(|feature| format!("feature {}={}", feature.name, feature.expression()));
        features.chain(self.spans()).collect()
    }

    /// For how long things are remembered, one fact a line.
    pub fn spans(&self) -> [String; 2] {
        [format!("memory {} ms", self.memory), format!("lateness {} ms", self.lateness)]
    }

    fn memory_of(&self, relation: &Relation) -> Millis {
        self.memory.max(relation.layout.longest())
    }

    /// How long after its last record all of a key's past can be forgotten: companions are remembered to the day.
    fn forgotten_after(&self, relation: &Relation) -> Millis {
        self.memory_of(relation).saturating_add(self.lateness).saturating_add(DAY)
    }
}

/// What is remembered of the past, for every key.
#[derive(Debug, Clone)]
pub struct History {
    /// One map a relation.
    pasts: Vec<ExpiryMap<Past>>,
    /// The largest time of a record.
    clock: Timestamp,
    bytes: usize,
    /// Whether changes are to be written down.
    is_kept: bool,
    changes: parts::Changes,
    /// Reused by every record: where the past of each of its keys is, `(n_relations)`, and what else is asked of it.
    found: Vec<Option<Place>>,
    windows: Vec<Vec<WindowStats>>,
    numbers: Vec<f64>,
    companions: Vec<Option<u64>>,
}

impl History {
    /// Nothing is remembered yet. `is_kept` says whether [`History::take_parts`] will be asked for what changed.
    pub fn new(features: &RecordFeatures, is_kept: bool) -> Self {
        let relations = features.relations.len();
        Self {
            pasts: (0..relations).map(|_| ExpiryMap::default()).collect(),
            clock: Timestamp::MIN,
            bytes: 0,
            is_kept,
            changes: parts::Changes::default(),
            found: vec![None; relations],
            windows: vec![Vec::new(); relations],
            numbers: Vec::new(),
            companions: Vec::new(),
        }
    }

    /// The largest time of a record so far.
    pub fn clock(&self) -> Option<Timestamp> {
        (self.clock != Timestamp::MIN).then_some(self.clock)
    }

    /// How many keys are remembered.
    pub fn len(&self) -> usize {
        self.pasts.iter().map(ExpiryMap::len).sum()
    }

    /// The keys that are remembered; one of several relations comes as often.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pasts.iter().flat_map(|pasts| pasts.iter().map(|(key, _, _)| key))
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that are held, about: by what is remembered alone, so that what was read back holds as many.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a record at `time` is older than anything that is remembered.
    pub fn is_too_old(&self, features: &RecordFeatures, time: Timestamp) -> bool {
        self.clock != Timestamp::MIN && time < self.clock.saturating_sub(features.memory())
    }

    /// Whether any of these keys has a past: `(n_relations)`, as [`RecordFeatures::keys`] gives them.
    pub fn knows_any(&self, keys: &[Option<impl AsRef<str>>]) -> bool {
        self.of(keys).next().is_some()
    }

    /// A copy of what is remembered of these keys alone, `(n_relations)`: a record with them has the same features by the
    /// copy, which may be changed as everything here stays as it is.
    pub fn of_keys(&self, features: &RecordFeatures, keys: &[Option<impl AsRef<str>>]) -> Self {
        let mut copy = Self { clock: self.clock, ..Self::new(features, false) };
        for (relation, key, deadline, past) in self.of(keys) {
            copy.bytes += entry_bytes(key, past);
            copy.pasts[relation].insert(key, deadline, past.clone());
        }
        copy
    }

    /// The pasts of these keys: relation, key, deadline and past.
    fn of<'a>(
        &'a self,
        keys: &'a [Option<impl AsRef<str>>],
    ) -> impl Iterator<Item = (usize, &'a str, Timestamp, &'a Past)> {
        self.pasts.iter().zip(keys).enumerate().filter_map(|(relation, (pasts, key))| {
            let key = key.as_ref()?.as_ref();
            let (deadline, past) = pasts.get_with_deadline(key)?;
            Some((relation, key, deadline, past))
        })
    }

    /// The features of the record `line` at `time`, `(n_features)`, added to `values`; then the record is remembered.
    ///
    /// A window without a record has count, sum and deviation 0, ratio 1, and the record's own value as mean, smallest and
    /// largest. A key without a last record has not moved, and was last met as long ago as is remembered.
    pub fn featurize(&mut self, features: &RecordFeatures, line: &[Value<'_>], time: Timestamp, values: &mut Vec<f64>) {
        self.clock = self.clock.max(time);
        self.forget(features);
        self.look_up(features, line, time);
        for feature in &features.features {
            let value = self.value(features, feature.quantity, line, time);
            values.push(feature.shape.of(value));
        }
        self.remember(features, line, time);
    }

    /// Forgets the keys whose past nothing can reach any more.
    fn forget(&mut self, features: &RecordFeatures) {
        for index in 0..features.relations.len() {
            while let Some((key, _, past)) = self.pasts[index].pop_expired(self.clock) {
                self.let_go(index, &key, past);
            }
        }
    }

    /// Forgets the keys that were met the longest ago until `bytes` are enough; how many. Those that were met at the same
    /// time go together: what was read back may stand in another order, and has to forget the same.
    pub fn shrink_to(&mut self, bytes: usize) -> u64 {
        let mut forgotten = 0;
        while self.bytes > bytes {
            let Some(oldest) = self.pasts.iter().filter_map(ExpiryMap::next_deadline).min() else { break };
            for index in 0..self.pasts.len() {
                while let Some((key, _, past)) = self.pasts[index].pop_expired(oldest) {
                    self.let_go(index, &key, past);
                    forgotten += 1;
                }
            }
        }
        forgotten
    }

    fn let_go(&mut self, relation: usize, key: &str, past: Past) {
        self.bytes -= entry_bytes(key, &past);
        if self.is_kept {
            self.changes.gone(relation, key, past);
        }
    }

    /// Finds the past of each of the record's keys, once, and fills in what its windows hold for the record.
    fn look_up(&mut self, features: &RecordFeatures, line: &[Value<'_>], time: Timestamp) {
        for (index, relation) in features.relations.iter().enumerate() {
            let (pasts, windows) = (&self.pasts[index], &mut self.windows[index]);
            let found = key_of(relation, line).and_then(|key| pasts.place_of(key));
            match found.and_then(|place| pasts.at(place)) {
                Some(past) => past.windows(&relation.layout, time, windows),
                None => WindowStats::clear(&relation.layout, windows),
            }
            self.found[index] = found;
        }
    }

    fn value(&self, features: &RecordFeatures, quantity: Quantity, line: &[Value<'_>], time: Timestamp) -> f64 {
        let past = |relation: usize| self.pasts[relation].at(self.found[relation]?);
        let memory = |relation: usize| features.memory_of(&features.relations[relation]);
        let last = |relation: usize| past(relation)?.last_before(time, memory(relation));
        let trip = |relation: usize| {
            let here = place_of(&features.relations[relation], line)?;
            let (there, since) = past(relation)?.place_before(time, memory(relation))?;
            Some((distance_km(there, here), time.saturating_sub(since)))
        };
        match quantity {
            Quantity::Number(column) => number(line[column]),
            Quantity::Cycle { column, cycle, shape } => {
                line[column].datetime().map_or(0.0, |moment| in_cycle(moment, cycle, shape))
            }
            Quantity::Window { relation, window, of, including } => {
                of_window(&self.windows[relation][window], of, including, line)
            }
            Quantity::SecondsSinceLast { relation } => {
                let since = last(relation).map_or(memory(relation), |last| time.saturating_sub(last));
                since as f64 / 1000.0
            }
            Quantity::Distance { relation } => trip(relation).map_or(0.0, |(distance, _)| distance),
            Quantity::Speed { relation } => trip(relation)
                .map_or(0.0, |(distance, elapsed)| distance / (elapsed.max(SHORTEST_TRIP) as f64 / 3_600_000.0)),
            Quantity::IsNew { relation, companion } => {
                let column = features.relations[relation].companions[companion];
                let Some(text) = line[column].text() else { return 0.0 };
                let met = past(relation)
                    .is_some_and(|past| past.has_met(companion, fingerprint(text), time, memory(relation)));
                f64::from(u8::from(!met))
            }
        }
    }

    fn remember(&mut self, features: &RecordFeatures, line: &[Value<'_>], time: Timestamp) {
        let horizon = self.clock.saturating_sub(features.lateness);
        for (index, relation) in features.relations.iter().enumerate() {
            let Some(key) = key_of(relation, line) else { continue };
            self.numbers.clear();
            self.numbers.extend(relation.numbers.iter().map(|&column| number(line[column])));
            self.companions.clear();
            self.companions.extend(relation.companions.iter().map(|&column| line[column].text().map(fingerprint)));
            let seen =
                Seen { time, numbers: &self.numbers, place: place_of(relation, line), companions: &self.companions };
            let deadline = self.clock.saturating_add(features.forgotten_after(relation));
            let memory = features.memory_of(relation);
            if let Some(past) = self.found[index].and_then(|place| self.pasts[index].touch_at(place, deadline)) {
                let before = past.heap_bytes();
                past.add(&relation.layout, seen, horizon, memory);
                self.bytes = self.bytes + past.heap_bytes() - before;
            } else {
                let mut past = Past::new(relation.companions.len());
                past.add(&relation.layout, seen, horizon, memory);
                self.bytes += entry_bytes(key, &past);
                self.pasts[index].insert_new(key, deadline, past);
            }
        }
    }
}

impl PartialEq for History {
    /// Whether the same is remembered.
    fn eq(&self, other: &Self) -> bool {
        let same = |(a, b): (&ExpiryMap<Past>, &ExpiryMap<Past>)| {
            a.len() == b.len() && a.iter().all(|(key, _, past)| b.get(key) == Some(past))
        };
        self.clock == other.clock && self.pasts.iter().zip(&other.pasts).all(same)
    }
}

/// Elements that a vector of `len` has room for: it grows by a few at a time, since most never grow far.
fn room(len: usize) -> usize {
    len.next_multiple_of(4)
}

/// Bytes that such a vector takes.
fn room_bytes<T>(len: usize) -> usize {
    allocated(room(len) * size_of::<T>())
}

/// Makes room for so many elements more.
fn make_room<T>(vector: &mut Vec<T>, more: usize) {
    let len = vector.len();
    if len + more > vector.capacity() {
        vector.reserve_exact(room(len + more) - len);
    }
}

/// Gives back the room that a vector has no more use for.
fn shrink<T>(vector: &mut Vec<T>) {
    if vector.capacity() > room(vector.len()) {
        vector.shrink_to(room(vector.len()));
    }
}

fn entry_bytes(key: &str, past: &Past) -> usize {
    ExpiryMap::<Past>::ENTRY_BYTES + allocated(key.len()) + past.heap_bytes()
}

fn key_of<'a>(relation: &Relation, line: &[Value<'a>]) -> Option<&'a str> {
    line[relation.key].text()
}

fn place_of(relation: &Relation, line: &[Value<'_>]) -> Option<GeoPoint> {
    let (latitude, longitude) = relation.place?;
    if line[latitude].is_missing() || line[longitude].is_missing() {
        return None;
    }
    Some(GeoPoint { latitude: number(line[latitude]), longitude: number(line[longitude]) })
}

/// 0 stands for a number that is missing, which only a place may be.
fn number(value: Value<'_>) -> f64 {
    match value {
        Value::Integer(number) => number as f64,
        Value::Float(number) => number,
        _ => 0.0,
    }
}

fn in_cycle(moment: Timestamp, cycle: Cycle, shape: Shape) -> f64 {
    let since_monday = moment.rem_euclid(WEEK).saturating_add(EPOCH_DAY * DAY).rem_euclid(WEEK);
    let (whole, turn) = match cycle {
        Cycle::Hour => (hour(moment) as f64, moment.rem_euclid(DAY) as f64 / DAY as f64),
        Cycle::DayOfWeek => ((since_monday / DAY) as f64, since_monday as f64 / WEEK as f64),
    };
    match shape {
        Shape::Plain => whole,
        Shape::Sine => (turn * std::f64::consts::TAU).sin(),
        Shape::Cosine => (turn * std::f64::consts::TAU).cos(),
    }
}

fn of_window(window: &WindowStats, of: WindowQuantity, including: bool, line: &[Value<'_>]) -> f64 {
    let (column, input, statistic) = match of {
        WindowQuantity::Count => return (window.count + u64::from(including)) as f64,
        WindowQuantity::Of { column, input, statistic } => (column, input, statistic),
    };
    let value = number(line[input]);
    let (count, Stats { sum, squares, min, max }) =
        if including { window.with(column, value) } else { (window.count, window.of[column]) };
    let mean = sum / count as f64;
    // Of the sample, as estimators of a spread are; one record has none.
    let std = if count < 2 { 0.0 } else { (squares / (count - 1) as f64).sqrt() };
    match statistic {
        Statistic::Sum => sum,
        Statistic::Std => std,
        Statistic::Ratio if count == 0 || mean == 0.0 => 1.0,
        Statistic::Ratio => value / mean,
        Statistic::Deviation if std == 0.0 => 0.0,
        Statistic::Deviation => (value - mean) / std,
        Statistic::Mean | Statistic::Min | Statistic::Max if count == 0 => value,
        Statistic::Mean => mean,
        Statistic::Min => min,
        Statistic::Max => max,
    }
}

#[cfg(test)]
mod tests;
