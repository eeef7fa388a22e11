//! `[input.json]`, and the same for Avro and Protobuf: what a message holds, and where columns stand in it.

use records::json_path::{JsonPath, NotAPath};
use records::schema::{Envelope, MessageShape, RecordsAt};

use super::checker::Checker;
use super::file::{InputSection, JsonSection};
use super::{Column, InputFormat, PipelineError};

/// What begins the path of a value that stands in the message, around its records.
const OF_MESSAGE: &str = "$.";

/// A section, what it is called, and the formats that it is for.
type Section<'a> = (&'static str, Option<&'a JsonSection>, &'static str);

/// Sets where columns stand and how they are written, and says what a message holds.
pub(super) fn check(
    checker: &Checker<'_>,
    input: &InputSection,
    format: InputFormat,
    columns: &mut [Column],
) -> Result<MessageShape, PipelineError> {
    let json: Section<'_> = ("json", input.json.as_ref(), "format = \"json\" or \"json-schema\"");
    let avro: Section<'_> = ("avro", input.avro.as_ref(), "format = \"avro\"");
    let protobuf: Section<'_> = ("protobuf", input.protobuf.as_ref(), "format = \"protobuf\"");
    let own = match format {
        InputFormat::Csv => None,
        InputFormat::Json => Some(json),
        InputFormat::Avro => Some(avro),
        InputFormat::Protobuf => Some(protobuf),
    };
    for (name, section, formats) in [json, avro, protobuf] {
        if section.is_some() && own.is_none_or(|(own, ..)| own != name) {
            return checker.error(&format!("[input.{name}]"), format!("is for {formats}: remove it"));
        }
    }
    let Some((name, Some(section), _)) = own else { return Ok(MessageShape::default()) };
    let place = |key: &str| format!("[input.{name}] {key}");
    let envelope = match section.envelope.as_deref() {
        None => None,
        Some(_) if format == InputFormat::Protobuf => {
            return checker
                .error(&place("envelope"), "is not for Protobuf: name each field by its path, as after.amount");
        }
        Some("debezium") => Some(Envelope::Debezium),
        Some("connect") if format == InputFormat::Json => Some(Envelope::Connect),
        Some("connect") => {
            let problem = "is of Kafka Connect's JSON: in Avro, the record is the message. Leave it out";
            return checker.error(&place("envelope"), format!("`connect` {problem}"));
        }
        Some(other) => {
            let problem = format!("there is no envelope `{other}`: use \"connect\" or \"debezium\"");
            return checker.error(&place("envelope"), problem);
        }
    };
    let records = match section.records.as_deref().map(str::trim) {
        None => None,
        Some(_) if format == InputFormat::Protobuf => {
            return checker.error(&place("records"), "is not for Protobuf: each message is one record");
        }
        Some(".") => Some(RecordsAt::Message),
        Some(path) => Some(RecordsAt::Path(read(checker, &place("records"), path)?)),
    };
    let shape = MessageShape { envelope, records };
    set_paths(checker, (name, section), &shape, columns)?;
    for name in &section.convert {
        columns[checker.resolve(&place("convert"), name, columns)?].converts = true;
    }
    Ok(shape)
}

fn set_paths(
    checker: &Checker<'_>,
    (name, section): (&str, &JsonSection),
    shape: &MessageShape,
    columns: &mut [Column],
) -> Result<(), PipelineError> {
    let place = format!("[input.{name}.paths]");
    for (name, path) in &section.paths {
        let index = checker.resolve(&place, name, columns)?;
        let of_message = path.trim().strip_prefix(OF_MESSAGE);
        if of_message.is_some() && shape.is_plain() {
            let problem =
                format!("`{path}`: $ is the message around a record, and there is nothing around it: leave it out");
            return checker.error(&format!("{place} {name}"), problem);
        }
        let column = &mut columns[index];
        column.path = Some(read(checker, &format!("{place} {name}"), of_message.unwrap_or(path))?);
        column.is_of_message = of_message.is_some();
    }
    match overlapping(columns) {
        Some((a, b)) => {
            let problem = format!(
                "the columns `{}` and `{}` are the same value, or one lies in the other: leave one of them out",
                a.name, b.name
            );
            checker.error(&place, problem)
        }
        None => Ok(()),
    }
}

fn read(checker: &Checker<'_>, place: &str, path: &str) -> Result<JsonPath, PipelineError> {
    path.parse().map_err(|problem: NotAPath| checker.invalid(place, problem.to_string()))
}

/// Two columns, one of which has a path, that no record can have both.
fn overlapping(columns: &[Column]) -> Option<(&Column, &Column)> {
    let with_path = columns.iter().enumerate().filter(|(_, column)| column.path.is_some());
    let lies_in = |a: &Column, b: &Column| {
        a.is_of_message == b.is_of_message && places(a).iter().any(|a| places(b).iter().any(|b| a.overlaps(b)))
    };
    with_path
        .flat_map(|(index, a)| {
            columns.iter().enumerate().filter(move |(other, _)| *other != index).map(move |b| (a, b.1))
        })
        .find(|(a, b)| lies_in(a, b))
}

/// Where a column may stand.
fn places(column: &Column) -> Vec<JsonPath> {
    match &column.path {
        Some(path) => vec![path.clone()],
        None => [&column.name].into_iter().chain(&column.aliases).map(|name| JsonPath::field(name)).collect(),
    }
}
