//! What grows with the lines of an entity: the values that a median and a count of distinct values need, each as it is.

use evaluation::statistics::median;
use records::value::Value;

use super::{Aggregate, Feature};
use crate::allocation::allocated;
use crate::codec::{Damaged, Reader, put_bytes, put_unsigned};

/// What the features of one entity keep at most, in bytes as they are written down: eight for each value of a median, and
/// for each distinct value its own and its length. An entity that has come so far takes no more lines.
///
/// All of it is one record of the changelog, which is written with every commit of a line.
pub const MAX_KEPT_BYTES: usize = 256 << 10;

/// The values that features keep of an entity's lines: `(n_features that keep values)`.
#[derive(Debug, Clone)]
pub struct Kept(Box<[Values]>);

/// What one feature keeps.
#[derive(Debug, Clone)]
enum Values {
    /// Every value, in the order in which they came.
    All(Vec<f64>),
    /// Each value once.
    Distinct(DistinctValues),
}

/// A value of a line, as a feature keeps it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum KeptValue<'a> {
    /// A text.
    Text(&'a str),
    /// A whole number, or a moment.
    Integer(i64),
    /// Any other number.
    Number(f64),
}

impl Kept {
    /// Nothing yet; `None` where none of `features` keeps values.
    pub fn new(features: &[Feature]) -> Option<Self> {
        let values: Box<[Values]> = features.iter().filter_map(|feature| Values::empty(feature.aggregate)).collect();
        (!values.is_empty()).then_some(Self(values))
    }

    /// Keeps a value of the feature that is `place`th of those that keep values.
    pub fn keep(&mut self, place: usize, value: KeptValue<'_>) {
        if let Some(values) = self.0.get_mut(place) {
            values.keep(value);
        }
    }

    /// Keeps what `features` keep of a line.
    pub(super) fn add(&mut self, features: &[Feature], line: &[Value<'_>]) {
        let keeping = features.iter().filter(|feature| feature.aggregate.keeps_values());
        for (feature, values) in keeping.zip(&mut self.0) {
            let value = match values {
                Values::All(_) => feature.operand.value(line).map(KeptValue::Number),
                Values::Distinct(_) => feature.operand.distinct(line),
            };
            if let Some(value) = value {
                values.keep(value);
            }
        }
    }

    /// The value of each feature that keeps values, in order.
    pub(super) fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.0.iter().map(|values| match values {
            Values::All(all) if all.is_empty() => f64::NAN,
            Values::All(all) => median(&mut all.clone()),
            Values::Distinct(distinct) => distinct.starts.len() as f64,
        })
    }

    /// Whether this is as much as is kept of an entity.
    pub fn is_full(&self) -> bool {
        self.bytes() >= MAX_KEPT_BYTES
    }

    /// Bytes of the values as they are written down.
    pub fn bytes(&self) -> usize {
        let bytes = |values: &Values| match values {
            Values::All(all) => size_of_val(&**all),
            Values::Distinct(distinct) => distinct.bytes.len(),
        };
        self.0.iter().map(bytes).sum()
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let bytes = |values: &Values| match values {
            Values::All(all) => taken::<f64>(all.len()),
            Values::Distinct(distinct) => taken::<u8>(distinct.bytes.len()) + taken::<u32>(distinct.starts.len()),
        };
        allocated(size_of_val(&*self.0)) + self.0.iter().map(bytes).sum::<usize>()
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        for values in &self.0 {
            match values {
                Values::All(all) => {
                    put_unsigned(out, all.len() as u64);
                    all.iter().for_each(|value| out.extend_from_slice(&value.to_bits().to_le_bytes()));
                }
                Values::Distinct(distinct) => put_bytes(out, &distinct.bytes),
            }
        }
    }

    /// `None` where none of `features` keeps values.
    pub(super) fn decode(features: &[Feature], reader: &mut Reader<'_>) -> Result<Option<Self>, Damaged> {
        let Some(mut kept) = Self::new(features) else { return Ok(None) };
        for values in &mut kept.0 {
            match values {
                Values::All(all) => {
                    for _ in 0..reader.count()? {
                        let value = reader.float()?;
                        if !value.is_finite() {
                            return Err(Damaged);
                        }
                        make_room(all, 1);
                        all.push(value);
                    }
                }
                Values::Distinct(distinct) => *distinct = DistinctValues::decode(reader.bytes()?)?,
            }
        }
        Ok(Some(kept))
    }
}

impl Values {
    /// `None` where the aggregate keeps no values.
    fn empty(aggregate: Aggregate) -> Option<Self> {
        match aggregate {
            Aggregate::Median => Some(Self::All(Vec::new())),
            Aggregate::CountDistinct => Some(Self::Distinct(DistinctValues::default())),
            _ => None,
        }
    }

    fn keep(&mut self, value: KeptValue<'_>) {
        match (self, value) {
            (Self::All(all), KeptValue::Number(number)) => {
                make_room(all, 1);
                all.push(number);
            }
            (Self::All(_), KeptValue::Text(_) | KeptValue::Integer(_)) => {}
            (Self::Distinct(distinct), KeptValue::Text(text)) => _ = distinct.insert(text.as_bytes()),
            (Self::Distinct(distinct), KeptValue::Integer(number)) => _ = distinct.insert(&number.to_le_bytes()),
            // 0.0 and -0.0 are one value.
            (Self::Distinct(distinct), KeptValue::Number(number)) => {
                _ = distinct.insert(&(number + 0.0).to_bits().to_le_bytes());
            }
        }
    }
}

/// Each value once, in few bytes: one after the other as they came, and where each begins, in the order of the values.
#[derive(Debug, Clone, Default)]
struct DistinctValues {
    /// Each with its length before it.
    bytes: Vec<u8>,
    starts: Vec<u32>, // (n_distinct)
}

impl DistinctValues {
    /// Whether the value is a new one.
    fn insert(&mut self, value: &[u8]) -> bool {
        let place = self.starts.binary_search_by(|&start| self.at(start).cmp(value));
        // An entity is full long before there are so many bytes.
        let (Err(place), Ok(start)) = (place, u32::try_from(self.bytes.len())) else { return false };
        make_room(&mut self.starts, 1);
        self.starts.insert(place, start);
        make_room(&mut self.bytes, length_bytes(value.len()) + value.len());
        put_bytes(&mut self.bytes, value);
        true
    }

    fn at(&self, start: u32) -> &[u8] {
        Reader(&self.bytes[start as usize..]).bytes().unwrap_or_default()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let (mut distinct, mut reader) = (Self::default(), Reader(bytes));
        while !reader.0.is_empty() {
            if !distinct.insert(reader.bytes()?) {
                return Err(Damaged);
            }
        }
        Ok(distinct)
    }
}

/// How many bytes a length takes, of which each has seven bits.
fn length_bytes(len: usize) -> usize {
    (usize::BITS - len.leading_zeros()).div_ceil(7).max(1) as usize
}

/// How many values a vector of so many has room for. It follows from their number alone: what is restored takes as much as
/// what has grown.
fn room(len: usize) -> usize {
    if len == 0 { 0 } else { len.next_power_of_two().max(8) }
}

/// What a vector of so many values takes.
fn taken<T>(len: usize) -> usize {
    allocated(room(len) * size_of::<T>())
}

fn make_room<T>(values: &mut Vec<T>, more: usize) {
    let room = room(values.len() + more);
    if values.capacity() < room {
        values.reserve_exact(room - values.len());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn distinct(values: &[Vec<u8>]) -> DistinctValues {
        let mut distinct = DistinctValues::default();
        values.iter().for_each(|value| _ = distinct.insert(value));
        distinct
    }

    proptest! {
        #[test]
        fn values_are_kept_once_and_take_what_is_said(
            values in proptest::collection::vec(proptest::collection::vec(0..3u8, 0..4), 0..60),
            long in proptest::collection::vec(any::<u8>(), 120..300),
        ) {
            let mut values = values;
            values.push(long);
            let kept = distinct(&values);
            let expected: std::collections::BTreeSet<&[u8]> = values.iter().map(Vec::as_slice).collect();
            let in_order: Vec<&[u8]> = kept.starts.iter().map(|&start| kept.at(start)).collect();
            prop_assert_eq!(in_order, expected.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(kept.bytes.capacity(), room(kept.bytes.len()));
            prop_assert_eq!(kept.starts.capacity(), room(kept.starts.len()));
            let again = DistinctValues::decode(&kept.bytes).unwrap();
            prop_assert_eq!((&again.bytes, &again.starts), (&kept.bytes, &kept.starts));
            prop_assert_eq!(again.bytes.capacity(), kept.bytes.capacity());
        }

        #[test]
        fn no_bytes_make_decoding_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(distinct) = DistinctValues::decode(&bytes) {
                prop_assert!(distinct.starts.len() <= bytes.len());
            }
        }
    }

    #[test]
    fn a_value_that_was_written_twice_is_damage() {
        assert!(DistinctValues::decode(b"\x01a\x01b").is_ok());
        assert!(DistinctValues::decode(b"\x01a\x01a").is_err() && DistinctValues::decode(b"\x05a").is_err());
    }

    #[test]
    fn a_length_takes_what_is_written() {
        for len in [0usize, 1, 127, 128, 16_383, 16_384, 1 << 20] {
            let mut out = Vec::new();
            put_unsigned(&mut out, len as u64);
            assert_eq!(length_bytes(len), out.len(), "{len}");
        }
    }
}
