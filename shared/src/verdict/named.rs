//! A few values, each with a name, in order: many verdicts share the names.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::{Map, Value};

/// Values by name, in order; its JSON is an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Named(Vec<(Arc<str>, Value)>);

impl Named {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// The names, in order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }

    /// The value with this name. They are few: a look at each is as good as a table.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The same as a map.
    pub fn to_map(&self) -> Map<String, Value> {
        self.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect()
    }
}

impl FromIterator<(Arc<str>, Value)> for Named {
    /// Names have to be different.
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Value)>>(values: I) -> Self {
        let values = values.into_iter();
        // Nearly all that may come do.
        let mut all = Vec::with_capacity(values.size_hint().1.unwrap_or(0));
        all.extend(values);
        Self(all)
    }
}

impl Serialize for Named {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Object)
    }
}

/// Visits an object.
struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Named;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Named, A::Error> {
        let mut all: Vec<(Arc<str>, Value)> = Vec::new();
        while let Some((name, value)) = object.next_entry::<String, Value>()? {
            // Of a name that comes again, the last value counts.
            match all.iter_mut().find(|(known, _)| **known == *name) {
                Some((_, before)) => *before = value,
                None => all.push((name.into(), value)),
            }
        }
        Ok(Named(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_and_written_as_a_map_is() {
        for json in ["{}", r#"{"b":1,"a":null,"c":2.5}"#, r#"{"a":1,"b":2,"a":"x"}"#] {
            let (named, map): (Named, Map<String, Value>) =
                (serde_json::from_str(json).unwrap(), serde_json::from_str(json).unwrap());
            assert_eq!(serde_json::to_string(&named).unwrap(), serde_json::to_string(&map).unwrap());
            assert_eq!((named.to_map(), named.len(), named.is_empty()), (map.clone(), map.len(), map.is_empty()));
            assert!(named.names().eq(map.keys()), "{json}");
            assert!(map.keys().all(|name| named.get(name) == map.get(name)) && named.get("d").is_none());
        }
        assert!(serde_json::from_str::<Named>("[1]").is_err());
    }
}
