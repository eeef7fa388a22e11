//! Which key a record must have.

use shared::line::{LineParser, Part};
use shared::pipeline::Pipeline;

/// The key that the first line of a message must have: see [`key_of`]. `schema` is what a header says of its schema.
pub(crate) fn place_key(
    parser: &mut LineParser,
    pipeline: &Pipeline,
    (payload, schema): (&[u8], Option<&[u8]>),
) -> Option<String> {
    parser.parse_with(payload, schema, |line| key_of(&Part::Line(line), pipeline)).ok().flatten()
}

/// The key that a line's record must have: that of its entity, or that of the history it is looked at with. `None` where
/// it is no line.
pub(crate) fn key_of(part: &Part<'_>, pipeline: &Pipeline) -> Option<String> {
    let (Part::Line(line), column) = (part, *pipeline.placed_by().first()?) else { return None };
    line[column].text().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_line_that_cannot_be_parsed_has_no_key() {
        let pipeline = Arc::new(Pipeline::load("invoices").unwrap());
        let mut parser = LineParser::new(pipeline.schema.clone());
        let mut key = |line: &str| place_key(&mut parser, &pipeline, (line.as_bytes(), None));
        assert_eq!(key(" 536365 ,22143,MUG,2,9/1/2010 9:22,1.5,12345,France"), Some("536365".to_owned()));
        assert_eq!(key("536365,22143"), None);
    }
}
