//! What is asked of every section: that names are names, spans are spans, and columns exist.

use records::time::{self, LONGEST_SPAN, Millis, format_span};

use super::file;
use super::{Column, PipelineError};

/// Windows that may hold one entity or record: each of them takes its time and its memory.
pub(super) const MOST_OVERLAPPING: Millis = 1_000;

/// Checks values, and says where in which file a bad one stands.
pub(super) struct Checker<'a> {
    pub(super) origin: &'a str,
}

impl Checker<'_> {
    pub(super) fn error<T>(&self, place: &str, problem: impl Into<String>) -> Result<T, PipelineError> {
        Err(self.invalid(place, problem.into()))
    }

    pub(super) fn invalid(&self, place: &str, problem: String) -> PipelineError {
        PipelineError::Invalid { origin: self.origin.to_owned(), place: place.to_owned(), problem }
    }

    /// Names become folders and parts of topics' names: letters, digits, `-`, `_` and `.`, not starting with `.`.
    pub(super) fn name(&self, place: &str, name: &str) -> Result<(), PipelineError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > 200 || name.starts_with('.') || !name.chars().all(fits) {
            return self.error(place, format!("`{name}` is no name: use letters, digits, `-`, `_` and `.`"));
        }
        Ok(())
    }

    pub(super) fn topic(&self, place: &str, topic: &str) -> Result<String, PipelineError> {
        self.name(place, topic)?;
        Ok(topic.to_owned())
    }

    pub(super) fn resolve(&self, place: &str, name: &str, columns: &[Column]) -> Result<usize, PipelineError> {
        match columns.iter().position(|column| column.name == name) {
            Some(index) => Ok(index),
            None => {
                let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
                let hint = match file::nearest(name, &names) {
                    Some(nearest) => format!("did you mean `{nearest}`?"),
                    None => format!("the columns are {}", names.join(", ")),
                };
                self.error(place, format!("there is no column `{name}`; {hint}"))
            }
        }
    }

    pub(super) fn span(&self, place: &str, text: &str) -> Result<Millis, PipelineError> {
        match time::parse_span(text) {
            Some(span) => Ok(span),
            None => {
                let longest = format_span(LONGEST_SPAN);
                let problem = format!(
                    "`{text}` is not a span of time above zero, such as \"40s\" or \"8m\", and at most {longest}"
                );
                self.error(place, problem)
            }
        }
    }

    pub(super) fn limit<T: Default + PartialEq>(
        &self,
        place: &str,
        limit: Option<T>,
        default: T,
    ) -> Result<T, PipelineError> {
        match limit {
            Some(limit) if limit == T::default() => self.error(place, "must be above 0"),
            limit => Ok(limit.unwrap_or(default)),
        }
    }
}
