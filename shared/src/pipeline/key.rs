//! `[entity] key`: what names an entity. A column of texts, one of whole numbers, several columns together, or the place where a
//! record stands.

use records::schema::DerivedKey;

use super::checker::Checker;
use super::file::{EntitySection, KeyEntry};
use super::{Column, ColumnType, PipelineError};

const PLACE: &str = "[entity] key";

/// What the key is called where it is the place of a record.
const OF_PLACE: &str = "record";

/// The index of the column that holds the key, which is added to `columns` where none has it as it is.
pub(super) fn check(
    checker: &Checker<'_>,
    section: &EntitySection,
    columns: &mut Vec<Column>,
) -> Result<(usize, Option<DerivedKey>), PipelineError> {
    let names = match &section.key {
        None if section.session_gap.is_some() => {
            return checker.error(PLACE, "is needed: the column whose value the lines of one entity share");
        }
        None => &[][..],
        Some(KeyEntry::One(name)) => std::slice::from_ref(name),
        Some(KeyEntry::Several(names)) if names.is_empty() => {
            return checker
                .error(PLACE, "names no column: leave it out, and each record is named by the place where it stands");
        }
        Some(KeyEntry::Several(names)) => names,
    };
    let parts: Vec<usize> = names.iter().map(|name| checker.resolve(PLACE, name, columns)).collect::<Result<_, _>>()?;
    if let Some(twice) = (1..parts.len()).find(|&at| parts[..at].contains(&parts[at])) {
        return checker.error(PLACE, format!("`{}` stands twice", names[twice]));
    }
    if let Some(&float) = parts.iter().find(|&&part| columns[part].kind == ColumnType::Float) {
        let problem = format!("`{}` must be a column of text, int or datetime", columns[float].name);
        return checker.error(PLACE, problem);
    }
    match parts[..] {
        [column] if columns[column].kind == ColumnType::Text => Ok((column, None)),
        _ => {
            let name = if parts.is_empty() { OF_PLACE.to_owned() } else { names.join("/") };
            columns.push(derived(name, columns));
            let column = columns.len() - 1;
            Ok((column, Some(DerivedKey { column, parts })))
        }
    }
}

/// A column that stands in no record, with a name that no other has.
fn derived(name: String, columns: &[Column]) -> Column {
    let is_taken = columns.iter().any(|column| column.name == name);
    let name = if is_taken { format!("{name} as text") } else { name };
    Column { is_derived: true, ..Column::new(&name, ColumnType::Text) }
}
