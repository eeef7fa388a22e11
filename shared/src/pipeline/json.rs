//! `[input.json]`: what a JSON message holds, and where columns stand in it.

use records::json_path::{JsonPath, NotAPath};
use records::schema::{Envelope, MessageShape, RecordsAt};

use super::checker::Checker;
use super::file::JsonSection;
use super::{Column, InputFormat, PipelineError};

/// What begins the path of a value that stands in the message, around its records.
const OF_MESSAGE: &str = "$.";

/// Sets where columns stand and how they are written, and says what a message holds.
pub(super) fn check(
    checker: &Checker<'_>,
    section: Option<&JsonSection>,
    format: InputFormat,
    columns: &mut [Column],
) -> Result<MessageShape, PipelineError> {
    let Some(section) = section else { return Ok(MessageShape::default()) };
    if format != InputFormat::Json {
        return checker.error("[input.json]", "is for format = \"json\": remove it");
    }
    let envelope = match section.envelope.as_deref() {
        None => None,
        Some("connect") => Some(Envelope::Connect),
        Some("debezium") => Some(Envelope::Debezium),
        Some(other) => {
            let problem = format!("there is no envelope `{other}`: use \"connect\" or \"debezium\"");
            return checker.error("[input.json] envelope", problem);
        }
    };
    let records = match section.records.as_deref().map(str::trim) {
        None => None,
        Some(".") => Some(RecordsAt::Message),
        Some(path) => Some(RecordsAt::Path(read(checker, "[input.json] records", path)?)),
    };
    let shape = MessageShape { envelope, records };
    set_paths(checker, section, &shape, columns)?;
    for name in &section.convert {
        columns[checker.resolve("[input.json] convert", name, columns)?].converts = true;
    }
    Ok(shape)
}

fn set_paths(
    checker: &Checker<'_>,
    section: &JsonSection,
    shape: &MessageShape,
    columns: &mut [Column],
) -> Result<(), PipelineError> {
    const PLACE: &str = "[input.json.paths]";
    for (name, path) in &section.paths {
        let index = checker.resolve(PLACE, name, columns)?;
        let of_message = path.trim().strip_prefix(OF_MESSAGE);
        if of_message.is_some() && shape.is_plain() {
            let problem =
                format!("`{path}`: $ is the message around a record, and there is nothing around it: leave it out");
            return checker.error(&format!("{PLACE} {name}"), problem);
        }
        let column = &mut columns[index];
        column.path = Some(read(checker, &format!("{PLACE} {name}"), of_message.unwrap_or(path))?);
        column.is_of_message = of_message.is_some();
    }
    match overlapping(columns) {
        Some((a, b)) => {
            let problem = format!(
                "the columns `{}` and `{}` are the same value, or one lies in the other: leave one of them out",
                a.name, b.name
            );
            checker.error(PLACE, problem)
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
