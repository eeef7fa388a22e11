//! Messages beside the JSON Schemas of `docs/schemas`: as much of draft 2020-12 as these use, and an error at anything else.

use serde_json::Value;

use crate::repository;

/// Keywords that say nothing of what is valid.
const SILENT: [&str; 6] = ["$schema", "$id", "$defs", "title", "description", "examples"];

/// A schema of `docs/schemas`.
#[derive(Debug, Clone)]
pub struct JsonSchema {
    root: Value,
}

impl JsonSchema {
    /// Reads `docs/schemas/NAME.json`.
    pub fn read(name: &str) -> Self {
        let path = repository().join(format!("docs/schemas/{name}.json"));
        Self { root: serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap() }
    }

    /// The answers of the window's API, without the schemas of messages.
    pub fn of_window() -> Self {
        let text = std::fs::read_to_string(repository().join("docs/openapi.json")).unwrap();
        Self::of_api(serde_json::from_str(&text).unwrap())
    }

    /// The answers of an API by its description (OpenAPI), in which what is not described is wrong.
    pub fn of_api(mut description: Value) -> Self {
        let mut shared = Vec::new();
        parts_of_several(&description, &mut shared);
        let schemas = description["components"]["schemas"].as_object_mut().expect("it has schemas");
        // What is only a part of what is described does not know the rest.
        let whole = schemas.iter_mut().filter(|(name, _)| !shared.contains(&format!("#/components/schemas/{name}")));
        whole.for_each(|(_, schema)| close(schema));
        Self { root: description }
    }

    /// What is wrong with an answer of the API that is JSON; nothing where it is as described.
    pub fn problem_of_answer(&self, (method, path): (&str, &str), status: u16, answer: &Value) -> Option<String> {
        let responses = &self.root["paths"][path][method]["responses"];
        let response = responses.get(status.to_string()).or_else(|| responses.get("default"));
        let Some(response) = response else { return Some(format!("{method} {path} is not described")) };
        let response = response.get("$ref").map_or(response, |reference| self.definition(reference));
        match response.pointer("/content/application~1json/schema") {
            Some(schema) => self.check(schema, answer, "$").err(),
            None => Some(format!("{method} {path} has no JSON with {status}")),
        }
    }

    /// What is wrong with a value by one of the schemas of an API.
    pub fn problem_of_part(&self, schema: &str, value: &Value) -> Option<String> {
        self.check(&self.root["components"]["schemas"][schema], value, "$").err()
    }

    /// The schemas of its properties.
    pub fn properties(&self) -> Value {
        self.root["properties"].clone()
    }

    /// What is wrong with a value, and where; nothing where it is valid.
    pub fn problem(&self, value: &Value) -> Option<String> {
        self.check(&self.root, value, "$").err()
    }

    fn check(&self, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
        for (keyword, of) in schema.as_object().expect("a schema is an object") {
            let is_valid = match keyword.as_str() {
                "$ref" => return self.check(self.definition(of), value, place),
                "type" => types(of).any(|name| is_of_type(value, name)),
                "const" => value == of,
                "enum" => of.as_array().unwrap().contains(value),
                "minimum" => value.as_f64() >= of.as_f64(),
                "maximum" => value.as_f64() <= of.as_f64(),
                "minLength" => value.as_str().map(|text| text.chars().count() as u64) >= of.as_u64(),
                "maxLength" => value.as_str().map(|text| text.chars().count() as u64) <= of.as_u64(),
                "format" => is_date_time(value, of),
                "minItems" => value.as_array().map(|items| items.len() as u64) >= of.as_u64(),
                "maxItems" => value.as_array().map(|items| items.len() as u64) <= of.as_u64(),
                "required" => {
                    let names = of.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
                    names.map(|name| (name, value.get(name))).all(|(_, found)| found.is_some())
                }
                "items" => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(of, item, &format!("{place}[{index}]"))?;
                    }
                    true
                }
                "properties" | "additionalProperties" => {
                    self.check_properties(keyword, schema, value, place)?;
                    true
                }
                "oneOf" => {
                    let problems: Vec<String> = of
                        .as_array()
                        .unwrap()
                        .iter()
                        .filter_map(|choice| self.check(choice, value, place).err())
                        .collect();
                    if problems.len() + 1 != of.as_array().unwrap().len() {
                        return Err(format!("{place} is not one of its forms: {}", problems.join("; ")));
                    }
                    true
                }
                "allOf" => {
                    of.as_array().unwrap().iter().try_for_each(|part| self.check(part, value, place))?;
                    true
                }
                silent if SILENT.contains(&silent) => true,
                other => panic!("the keyword `{other}` is not one that is checked"),
            };
            if !is_valid {
                return Err(format!("{place} is {value}, and should have {keyword} {of}"));
            }
        }
        Ok(())
    }

    fn check_properties(&self, keyword: &str, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
        let known = schema.get("properties").and_then(Value::as_object);
        for (name, property) in value.as_object().into_iter().flatten() {
            let place = format!("{place}.{name}");
            match (known.and_then(|known| known.get(name)), keyword) {
                (Some(of), "properties") => self.check(of, property, &place)?,
                (None, "additionalProperties") => match &schema["additionalProperties"] {
                    Value::Bool(false) => return Err(format!("{place} is not documented")),
                    Value::Bool(true) => {}
                    of => self.check(of, property, &place)?,
                },
                _ => {}
            }
        }
        Ok(())
    }

    fn definition(&self, reference: &Value) -> &Value {
        let pointer = reference.as_str().and_then(|text| text.strip_prefix('#')).expect("a reference into the file");
        self.root.pointer(pointer).unwrap_or_else(|| panic!("there is no {pointer}"))
    }
}

/// The schemas that describe a part of a value, each beside others.
fn parts_of_several(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(entries) => {
            let parts = entries.get("allOf").and_then(Value::as_array).into_iter().flatten();
            found.extend(parts.filter_map(|part| Some(part.get("$ref")?.as_str()?.to_owned())));
            entries.values().for_each(|value| parts_of_several(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| parts_of_several(value, found)),
        _ => {}
    }
}

/// Lets an object have no property that is not described; one that has several descriptions stays as it is.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(entries) => {
            if entries.contains_key("properties") && !entries.contains_key("additionalProperties") {
                entries.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
            entries.iter_mut().filter(|(keyword, _)| *keyword != "allOf").for_each(|(_, part)| close(part));
        }
        Value::Array(parts) => parts.iter_mut().for_each(close),
        _ => {}
    }
}

fn types(of: &Value) -> impl Iterator<Item = &str> {
    let several = of.as_array().into_iter().flatten().filter_map(Value::as_str);
    of.as_str().into_iter().chain(several)
}

fn is_of_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("`{other}` is no type of JSON"),
    }
}

/// A moment in UTC, as RFC 3339 writes it.
fn is_date_time(value: &Value, format: &Value) -> bool {
    assert_eq!(format, "date-time", "the one format that is checked");
    let text = value.as_str().unwrap_or_default();
    let Some((date, time)) = text.strip_suffix('Z').and_then(|text| text.split_once('T')) else { return false };
    let numbers = |text: &str, by: char, n: usize| {
        let parts: Vec<&str> = text.split(by).collect();
        parts.len() == n && parts.iter().all(|part| part.parse::<f64>().is_ok())
    };
    numbers(date, '-', 3) && numbers(time, ':', 3)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problem(schema: Value, value: &Value) -> Option<String> {
        JsonSchema { root: schema }.problem(value)
    }

    #[test]
    fn what_is_not_as_it_should_be_is_named() {
        let schema = json!({
            "type": "object", "required": ["a"], "additionalProperties": false,
            "properties": {
                "a": { "$ref": "#/$defs/number" }, "b": { "enum": ["x", "y"] }, "c": { "type": ["string", "null"] },
                "d": { "type": "array", "items": { "type": "integer" }, "minItems": 2, "maxItems": 2 },
                "e": { "oneOf": [{ "type": "string" }, { "type": "number", "maximum": 9 }] },
                "f": { "type": "string", "format": "date-time" },
                "g": { "type": "object", "additionalProperties": { "const": true } },
            },
            "$defs": { "number": { "type": "number", "minimum": 0 } },
        });
        let good = json!({
            "a": 1.5, "b": "x", "c": null, "d": [1, 2], "e": 8, "f": "2024-03-01T10:00:00.5Z", "g": { "h": true },
        });
        assert_eq!(problem(schema.clone(), &good), None);
        let bad = [
            ("a", json!(-1)),
            ("a", json!("1")),
            ("b", json!("z")),
            ("c", json!(1)),
            ("d", json!([1])),
            ("d", json!([1, 1.5])),
            ("d", json!([1, 2, 3])),
            ("e", json!(10)),
            ("e", json!(null)),
            ("f", json!("2024-03-01 10:00:00")),
            ("g", json!({ "h": false })),
            ("other", json!(1)),
        ];
        for (name, value) in bad {
            let mut message = good.clone();
            message[name] = value;
            let found = problem(schema.clone(), &message);
            assert!(found.as_ref().is_some_and(|found| found.contains(name)), "{message}: {found:?}");
        }
        assert!(problem(schema, &json!({ "b": "x" })).unwrap().contains("required"));
    }

    #[test]
    fn an_answer_that_is_not_described_is_named() {
        let api = JsonSchema::of_api(json!({
            "paths": { "/a": { "get": { "responses": {
                "200": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Kept" } } } },
                "default": { "$ref": "#/components/responses/Problem" },
            } } } },
            "components": {
                "schemas": {
                    "Part": { "type": "object", "required": ["a"], "properties": { "a": { "type": "integer" } } },
                    "Kept": { "allOf": [
                        { "$ref": "#/components/schemas/Part" },
                        { "type": "object", "required": ["b"], "properties": { "b": { "type": "integer" } } },
                    ] },
                    "Problem": { "type": "object", "properties": { "error": { "type": "string" } } },
                },
                "responses": { "Problem": { "content": { "application/json": {
                    "schema": { "$ref": "#/components/schemas/Problem" },
                } } } },
            },
        }));
        let problem = |path, status, answer: &Value| api.problem_of_answer(("get", path), status, answer);
        assert_eq!(problem("/a", 200, &json!({ "a": 1, "b": 2 })), None);
        assert!(problem("/a", 200, &json!({ "a": 1 })).unwrap().contains("required"));
        assert!(problem("/a", 200, &json!({ "a": 1, "b": "x" })).unwrap().contains("$.b is"));
        assert_eq!(problem("/a", 404, &json!({ "error": "x" })), None);
        assert!(problem("/a", 404, &json!({ "error": "x", "c": 1 })).unwrap().contains("$.c is not documented"));
        assert!(problem("/b", 200, &json!({})).unwrap().contains("is not described"));
        assert!(api.problem_of_part("Problem", &json!({ "c": 1 })).is_some());
    }
}
