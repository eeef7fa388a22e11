//! What the records of a topic seem to hold.

use records::sniff::json::Messages;
use records::sniff::roles::Unfit;
use records::sniff::{About, Doubt, Findings, Writing, csv, study};
use thiserror::Error;

/// Why no pipeline can be made of the records of a topic.
#[derive(Debug, Error)]
pub enum TopicError {
    /// They are in a form that is not read.
    #[error(
        "its records seem to be written by a Schema Registry's serializer (they begin with a zero byte), and cannot be read without their \
         schemas: draft the file from records of a file (`trainer init FILE.avro`), then set `format` and [input.registry] in it"
    )]
    Registry,
    /// They are no table.
    #[error(transparent)]
    Layout(#[from] csv::LayoutError),
    /// A column is missing.
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

/// Finds out what records hold, which are JSON objects or CSV without a header.
///
/// # Errors
/// [`TopicError`].
pub fn of_records<R: AsRef<[u8]>>(records: &[R]) -> Result<Findings, TopicError> {
    let records: Vec<&[u8]> = records.iter().map(AsRef::as_ref).filter(|record| !record.is_empty()).collect();
    let count = |fits: fn(&[u8]) -> bool| records.iter().filter(|record| fits(record)).count();
    if records.is_empty() {
        return Err(Unfit::NoRecord.into());
    }
    if count(|record| record[0] == 0) * 2 > records.len() {
        return Err(TopicError::Registry);
    }
    if count(is_json) * 2 > records.len() {
        let mut messages = Messages::default();
        records.iter().for_each(|record| messages.push(record));
        let (sample, shape) = messages.finish();
        return Ok(study(Writing::Json(shape), &sample, Vec::new())?);
    }
    let lines: Vec<u8> = records.iter().flat_map(|record| [record.trim_ascii_end(), b"\n"].concat()).collect();
    let mut doubts = Vec::new();
    let dialect = csv::layout(&lines, true, Some(false), &mut doubts)?;
    let text = "records on a topic have no header: columns are called by their place, column_1 and so on; for a file with a \
                header, set header = true and give its names as aliases";
    doubts.push(Doubt { about: About::Input, text: text.to_owned() });
    // Bytes in memory can always be read.
    let sample = csv::sample(lines.as_slice(), &dialect).unwrap_or_default();
    Ok(study(Writing::Csv(Box::new(dialect)), &sample, doubts)?)
}

/// Whether a record seems to be a JSON object, or an array of them.
fn is_json(record: &[u8]) -> bool {
    match record.trim_ascii_start() {
        [b'{', ..] => true,
        [b'[', rest @ ..] => rest.trim_ascii_start().starts_with(b"{"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use records::schema::MessageShape;
    use records::sniff::roles::Shape;

    use super::*;

    #[test]
    fn records_are_json_or_csv() {
        let json: Vec<String> = (0..40)
            .map(|row| {
                format!(
                    "{{\"id\":\"t{row}\",\"at\":\"2024-01-01T10:{row:02}:00Z\",\"amount\":{row}.5,\"user\":\"u{}\"}}",
                    row % 4
                )
            })
            .collect();
        let findings = of_records(&json).unwrap();
        assert_eq!(
            (findings.writing.clone(), findings.roles.shape),
            (Writing::Json(MessageShape::default()), Shape::Records)
        );
        assert_eq!((findings.roles.key, findings.roles.customer), (Some(0), Some(3)));
        let csv: Vec<String> =
            (0..40).map(|row| format!("t{row};2024-01-01T10:{row:02}:00Z;{row},5;u{}\r\n", row % 4)).collect();
        let findings = of_records(&csv).unwrap();
        let Writing::Csv(dialect) = &findings.writing else { panic!("{:?}", findings.writing) };
        assert_eq!((dialect.delimiter, dialect.header, dialect.texts.numbers.decimal), (b';', false, ','));
        assert_eq!(findings.columns[2].name, "column_3");
        assert_eq!((findings.roles.key, findings.roles.amount, findings.roles.customer), (Some(0), Some(2), Some(3)));
    }

    #[test]
    fn records_of_another_form_are_named() {
        let error = |records: &[&[u8]]| of_records(records).unwrap_err().to_string();
        assert!(error(&[b"\0\0\0\0\x01abc"]).contains("Schema Registry"));
        assert!(error(&[]).starts_with("there is no record in it"));
        assert!(error(&[b"hello", b"world"]).contains("not divided by commas"));
    }
}
