//! The description of the API for programs: `docs/openapi.json`, with the schemas of messages in it.

use serde_json::Value;

/// A file of the documents.
macro_rules! document {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/", $name))
    };
}

const DESCRIPTION: &str = document!("openapi.json");

/// The schemas that the description names, by what it calls their files.
const SCHEMAS: [(&str, &str); 5] = [
    ("schemas/verdict.json", document!("schemas/verdict.json")),
    ("schemas/verdict-1.json", document!("schemas/verdict-1.json")),
    ("schemas/entity-verdict.json", document!("schemas/entity-verdict.json")),
    ("schemas/label.json", document!("schemas/label.json")),
    ("schemas/exception.json", document!("schemas/exception.json")),
];

/// The description of the API of this version of the program, with nothing in it that stands elsewhere.
pub(super) fn document(version: &str) -> Value {
    let mut document: Value = serde_json::from_str(DESCRIPTION).unwrap_or_default();
    if let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) {
        for (name, schema) in schemas {
            let file = schema.get("$ref").and_then(Value::as_str).map(str::to_owned);
            if let Some((_, text)) = SCHEMAS.iter().find(|(known, _)| Some(*known) == file.as_deref()) {
                *schema = embedded(name, text);
            }
        }
    }
    document["info"]["version"] = version.into();
    document
}

/// A schema as a part of the description: what it defines has another place there.
fn embedded(name: &str, text: &str) -> Value {
    let text = text.replace("\"#/$defs/", &format!("\"#/components/schemas/{name}/$defs/"));
    let mut schema: Value = serde_json::from_str(&text).unwrap_or_default();
    if let Some(schema) = schema.as_object_mut() {
        schema.shift_remove("$schema");
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(entries) => {
                found.extend(entries.get("$ref").and_then(Value::as_str));
                entries.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn the_description_is_whole() {
        let document = document("1");
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 100, "{found:?}");
        for reference in found {
            let place = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} stands elsewhere"));
            assert!(document.pointer(place).is_some(), "{reference} is not there");
        }
    }
}
