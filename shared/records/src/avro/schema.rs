//! Avro schemas: types in one list, which refer to each other by their places in it.

use std::collections::HashMap;

use serde_json::{Map, Value};
use thiserror::Error;

/// The place of a type in its schema.
pub(crate) type TypeId = usize;

/// Digits after the point that a decimal may have; one with more is read as bytes.
const MOST_SCALE: u64 = 1_000;

/// What a record was written with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    types: Vec<Type>,
    /// Whether a value of the type never has a byte.
    empty: Vec<bool>,
    root: TypeId,
}

/// A type of Avro.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Type {
    Null,
    Boolean,
    Int(Meaning),
    Long(Meaning),
    Float,
    Double,
    /// Bytes; of a decimal, how many of its digits come after the point.
    Bytes(Option<usize>),
    String,
    /// Fields with their names.
    Record(Vec<(String, TypeId)>),
    Enum(Vec<String>),
    Array(TypeId),
    Map(TypeId),
    Union(Vec<TypeId>),
    /// So many bytes.
    Fixed(usize, FixedMeaning),
}

/// What a whole number means: its logical type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    Number,
    /// Days since 1970-01-01.
    Date,
    /// The time of a day, in parts of which a second has so many.
    Time(i64),
    /// A moment.
    Timestamp(i64),
    /// What clocks show somewhere.
    LocalTimestamp(i64),
}

/// What bytes of a fixed number mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FixedMeaning {
    Bytes,
    Decimal(usize),
    Uuid,
}

/// A text is no Avro schema.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("it is no Avro schema: {0}")]
pub struct SchemaError(String);

impl Schema {
    /// Reads a schema; `references` are the texts of schemas whose names it uses, each after those that it uses itself.
    ///
    /// # Errors
    /// What is wrong with one of the texts.
    pub fn parse(text: &str, references: &[String]) -> Result<Self, SchemaError> {
        let mut reader = SchemaReader::default();
        for text in references.iter().map(String::as_str).chain([text]) {
            let json: Value = serde_json::from_str(text).map_err(|error| SchemaError(format!("its text: {error}")))?;
            reader.last = reader.read(&json, "")?;
        }
        let SchemaReader { types, last: root, .. } = reader;
        let empty = empty_types(&types);
        Ok(Self { types, empty, root })
    }

    pub(crate) fn root(&self) -> TypeId {
        self.root
    }

    pub(crate) fn get(&self, id: TypeId) -> &Type {
        &self.types[id]
    }

    /// Whether no value of the type has a byte: an array may claim to hold any number of them.
    pub(crate) fn is_empty(&self, id: TypeId) -> bool {
        self.empty[id]
    }

    /// The names of the fields of a record, in order, where it is one: what a table made of such records has.
    pub fn field_names(&self) -> Vec<&str> {
        match self.get(self.root) {
            Type::Record(fields) => fields.iter().map(|(name, _)| name.as_str()).collect(),
            _ => Vec::new(),
        }
    }
}

/// Which types have no bytes. A record that holds itself at once has no end rather than no bytes.
fn empty_types(types: &[Type]) -> Vec<bool> {
    let mut empty = vec![false; types.len()];
    loop {
        let is_empty = |kind: &Type| match kind {
            Type::Null | Type::Fixed(0, _) => true,
            Type::Record(fields) => fields.iter().all(|(_, field)| empty[*field]),
            _ => false,
        };
        let next: Vec<bool> = types.iter().map(is_empty).collect();
        if next == empty {
            return empty;
        }
        empty = next;
    }
}

#[derive(Debug, Default)]
struct SchemaReader {
    types: Vec<Type>,
    names: HashMap<String, TypeId>,
    last: TypeId,
}

impl SchemaReader {
    fn add(&mut self, kind: Type) -> TypeId {
        self.types.push(kind);
        self.types.len() - 1
    }

    fn read(&mut self, json: &Value, namespace: &str) -> Result<TypeId, SchemaError> {
        match json {
            Value::String(name) => self.named(name, namespace),
            Value::Array(branches) => {
                let mut ids = Vec::with_capacity(branches.len());
                for branch in branches {
                    let id = self.read(branch, namespace)?;
                    if matches!(self.types[id], Type::Union(_)) {
                        return Err(SchemaError("a union holds a union".to_owned()));
                    }
                    ids.push(id);
                }
                Ok(self.add(Type::Union(ids)))
            }
            Value::Object(object) => self.object(object, namespace),
            other => Err(SchemaError(format!("`{other}` is no type"))),
        }
    }

    fn named(&mut self, name: &str, namespace: &str) -> Result<TypeId, SchemaError> {
        if let Some(kind) = primitive(name) {
            return Ok(self.add(kind));
        }
        let known = self.names.get(&full_name(name, namespace)).or_else(|| self.names.get(name));
        known.copied().ok_or_else(|| SchemaError(format!("there is no type `{name}`")))
    }

    fn object(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<TypeId, SchemaError> {
        let kind = object.get("type").ok_or_else(|| SchemaError("a type has no `type`".to_owned()))?;
        let Value::String(kind) = kind else { return self.read(kind, namespace) };
        match kind.as_str() {
            "record" | "error" => self.record(object, namespace),
            "enum" => {
                let symbols = list(object, "symbols")?.iter().map(|symbol| text(symbol, "a symbol").map(str::to_owned));
                let symbols = symbols.collect::<Result<_, _>>()?;
                let (name, _) = declared(object, namespace)?;
                let id = self.add(Type::Enum(symbols));
                self.declare(name, id)
            }
            "fixed" => {
                let size = object.get("size").and_then(Value::as_u64).and_then(|size| usize::try_from(size).ok());
                let size = size.ok_or_else(|| SchemaError("a fixed type has no `size`".to_owned()))?;
                let meaning = match logical(object) {
                    Some("decimal") => scale(object).map_or(FixedMeaning::Bytes, FixedMeaning::Decimal),
                    Some("uuid") if size == 16 => FixedMeaning::Uuid,
                    _ => FixedMeaning::Bytes,
                };
                let (name, _) = declared(object, namespace)?;
                let id = self.add(Type::Fixed(size, meaning));
                self.declare(name, id)
            }
            "array" => {
                let item = self.part(object, "items", namespace)?;
                Ok(self.add(Type::Array(item)))
            }
            "map" => {
                let value = self.part(object, "values", namespace)?;
                Ok(self.add(Type::Map(value)))
            }
            name => {
                let id = self.named(name, namespace)?;
                // Of a name that was declared before, the meaning is said there.
                if let (Some(_), Some(logical)) = (primitive(name), logical(object)) {
                    let kind = with_meaning(&self.types[id], logical, object);
                    self.types[id] = kind;
                }
                Ok(id)
            }
        }
    }

    fn record(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<TypeId, SchemaError> {
        let (name, namespace) = declared(object, namespace)?;
        // Known before its fields are: they may be of this type.
        let id = self.add(Type::Record(Vec::new()));
        self.declare(name, id)?;
        let mut fields: Vec<(String, TypeId)> = Vec::new();
        for field in list(object, "fields")? {
            let Value::Object(field) = field else { return Err(SchemaError(format!("`{field}` is no field"))) };
            let name = text(field.get("name").unwrap_or(&Value::Null), "the name of a field")?;
            if fields.iter().any(|(known, _)| known == name) {
                return Err(SchemaError(format!("a record has the field `{name}` twice")));
            }
            let kind = self.part(field, "type", &namespace)?;
            fields.push((name.to_owned(), kind));
        }
        self.types[id] = Type::Record(fields);
        Ok(id)
    }

    fn part(&mut self, object: &Map<String, Value>, key: &str, namespace: &str) -> Result<TypeId, SchemaError> {
        let part = object.get(key).ok_or_else(|| SchemaError(format!("a type or field has no `{key}`")))?;
        self.read(part, namespace)
    }

    fn declare(&mut self, name: String, id: TypeId) -> Result<TypeId, SchemaError> {
        match self.names.insert(name.clone(), id) {
            Some(_) => Err(SchemaError(format!("the type `{name}` stands twice"))),
            None => Ok(id),
        }
    }
}

fn primitive(name: &str) -> Option<Type> {
    Some(match name {
        "null" => Type::Null,
        "boolean" => Type::Boolean,
        "int" => Type::Int(Meaning::Number),
        "long" => Type::Long(Meaning::Number),
        "float" => Type::Float,
        "double" => Type::Double,
        "bytes" => Type::Bytes(None),
        "string" => Type::String,
        _ => return None,
    })
}

/// A logical type that does not fit its type means nothing, as the specification says.
fn with_meaning(kind: &Type, logical: &str, object: &Map<String, Value>) -> Type {
    let meaning = match logical {
        "date" => Meaning::Date,
        "time-millis" => Meaning::Time(1_000),
        "time-micros" => Meaning::Time(1_000_000),
        "timestamp-millis" => Meaning::Timestamp(1_000),
        "timestamp-micros" => Meaning::Timestamp(1_000_000),
        "timestamp-nanos" => Meaning::Timestamp(1_000_000_000),
        "local-timestamp-millis" => Meaning::LocalTimestamp(1_000),
        "local-timestamp-micros" => Meaning::LocalTimestamp(1_000_000),
        "local-timestamp-nanos" => Meaning::LocalTimestamp(1_000_000_000),
        _ => Meaning::Number,
    };
    match (kind, meaning) {
        (Type::Int(_), Meaning::Date | Meaning::Time(1_000)) => Type::Int(meaning),
        (Type::Long(_), Meaning::Time(1_000_000) | Meaning::Timestamp(_) | Meaning::LocalTimestamp(_)) => {
            Type::Long(meaning)
        }
        (Type::Bytes(_), _) if logical == "decimal" => Type::Bytes(scale(object)),
        _ => kind.clone(),
    }
}

fn logical(object: &Map<String, Value>) -> Option<&str> {
    object.get("logicalType")?.as_str()
}

/// How many digits of a decimal come after the point; `None` where it is not valid.
fn scale(object: &Map<String, Value>) -> Option<usize> {
    let precision = object.get("precision")?.as_u64()?;
    let scale = object.get("scale").map_or(Some(0), Value::as_u64)?;
    (precision > 0 && scale <= precision.min(MOST_SCALE)).then_some(scale as usize)
}

/// The full name of a type that is declared, and the namespace of what is in it.
fn declared(object: &Map<String, Value>, namespace: &str) -> Result<(String, String), SchemaError> {
    let name = text(object.get("name").unwrap_or(&Value::Null), "the name of a type")?;
    if let Some((namespace, _)) = name.rsplit_once('.') {
        return Ok((name.to_owned(), namespace.to_owned()));
    }
    let namespace = object.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
    Ok((full_name(name, namespace), namespace.to_owned()))
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}

fn list<'j>(object: &'j Map<String, Value>, key: &str) -> Result<&'j [Value], SchemaError> {
    match object.get(key) {
        Some(Value::Array(items)) => Ok(items),
        _ => Err(SchemaError(format!("a type has no list of `{key}`"))),
    }
}

fn text<'j>(json: &'j Value, what: &str) -> Result<&'j str, SchemaError> {
    json.as_str().ok_or_else(|| SchemaError(format!("{what} must be a text, not `{json}`")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn types_refer_to_each_other_by_name() {
        let schema = Schema::parse(
            r#"{"type":"record","name":"a.b.Line","fields":[
                {"name":"kind","type":{"type":"enum","name":"Kind","symbols":["X","Y"]}},
                {"name":"again","type":["null","Kind"]},
                {"name":"full","type":"a.b.Kind"},
                {"name":"next","type":["null","Line"]},
                {"name":"shop","type":"c.Shop"}]}"#,
            &[r#"{"type":"record","name":"Shop","namespace":"c","fields":[]}"#.to_owned()],
        )
        .unwrap();
        assert_eq!(schema.field_names(), ["kind", "again", "full", "next", "shop"]);
        let Type::Record(fields) = schema.get(schema.root()) else { panic!("no record") };
        assert_eq!(fields[2].1, fields[0].1);
        assert!(matches!(schema.get(fields[3].1), Type::Union(of) if of[1] == schema.root()));
        assert!(schema.is_empty(fields[4].1) && !schema.is_empty(fields[0].1));
    }

    #[test]
    fn what_is_no_schema_is_refused_in_a_sentence() {
        for (text, problem) in [
            ("{", "its text"),
            ("\"inte\"", "there is no type `inte`"),
            ("[[\"int\"]]", "a union holds a union"),
            (r#"{"type":"record","name":"A"}"#, "no list of `fields`"),
            (r#"{"type":"record","name":"A","fields":[{"name":"x","type":"int"},{"name":"x","type":"int"}]}"#, "twice"),
            (r#"{"type":"array"}"#, "no `items`"),
            (r#"{"type":"fixed","name":"F"}"#, "no `size`"),
            ("17", "`17` is no type"),
        ] {
            let error = Schema::parse(text, &[]).unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
        let deep = "{\"type\":\"array\",\"items\":".repeat(5_000);
        assert!(Schema::parse(&deep, &[]).is_err());
    }

    #[test]
    fn a_logical_type_that_does_not_fit_means_nothing() {
        let kind = |text: &str| {
            let schema = Schema::parse(text, &[]).unwrap();
            schema.get(schema.root()).clone()
        };
        assert_eq!(
            kind(r#"{"type":"long","logicalType":"timestamp-micros"}"#),
            Type::Long(Meaning::Timestamp(1_000_000))
        );
        assert_eq!(kind(r#"{"type":"int","logicalType":"timestamp-millis"}"#), Type::Int(Meaning::Number));
        assert_eq!(kind(r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}"#), Type::Bytes(Some(2)));
        assert_eq!(kind(r#"{"type":"bytes","logicalType":"decimal","precision":1,"scale":2}"#), Type::Bytes(None));
        assert_eq!(kind(r#"{"type":"string","logicalType":"uuid"}"#), Type::String);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in r#"[\[\]{}":,a-z]{0,60}"#) {
            let _ = Schema::parse(&text, &[]);
        }
    }
}
