//! A pipeline file for records that nobody has described yet: what [`records::sniff`] found out, written down with its
//! evidence, so that it can be trained at once and changed at leisure.

mod detectors;
mod features;
mod names;
mod section;
mod text;
mod topic;

pub use records::sniff::dates::formats_of as sniffed_dates;
pub use records::sniff::{About, Doubt, Findings, Writing, avro, csv, json, roles, sample, study};
pub use topic::{TopicError, of_records};

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use names::Names;
use records::sniff::profile::{Kind, Profile};
use records::sniff::roles::Shape;
use records::text::grouped;
use section::{Section, toml_list, toml_text};

use thiserror::Error;

use crate::pipeline::{Pipeline, PipelineError};

/// What a draft is called, and where its records come from.
#[derive(Debug, Clone)]
pub struct Request {
    /// The name of the pipeline.
    pub name: String,
    /// The topic that the scorer is to read.
    pub topic: String,
    /// Of what the sample is, for people: a file or a topic.
    pub source: String,
    /// The command that made the draft.
    pub command: &'static str,
}

/// A pipeline file, and what to tell about it.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The file.
    pub text: String,
    /// How records are written, in a few words.
    pub writing: String,
    /// The columns: name, type, example, what it is used for; empty for nothing.
    pub columns: Vec<[String; 4]>,
    /// What may be otherwise, with the evidence.
    pub doubts: Vec<String>,
}

/// Why a draft is not written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// There is a file already.
    #[error("{} is there already: name another file with --output FILE, or overwrite it with --force", .0.display())]
    AlreadyThere(PathBuf),
    /// It cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl Draft {
    /// Writes the file; one that is there already is overwritten only by `force`.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn write(&self, path: &Path, force: bool) -> Result<(), WriteError> {
        let mut options = OpenOptions::new();
        options.write(true);
        let options = if force { options.create(true).truncate(true) } else { options.create_new(true) };
        let written = options.open(path).and_then(|mut file| file.write_all(self.text.as_bytes()));
        written.map_err(|source| match source.kind() {
            ErrorKind::AlreadyExists => WriteError::AlreadyThere(path.to_owned()),
            _ => WriteError::Write { path: path.to_owned(), source },
        })
    }

    /// What may be otherwise, as lines for people; empty where nothing may.
    pub fn doubts_text(&self) -> String {
        if self.doubts.is_empty() {
            return String::new();
        }
        let lines = self.doubts.iter().map(|doubt| format!("  - {doubt}\n"));
        format!("\n Not certain:\n{}", lines.collect::<String>())
    }
}

/// What `[input.csv]` should say so that these texts are numbers, separated by commas; `None` where nothing would help, or
/// nothing need be said.
pub fn number_settings(texts: &[&str], delimiter: u8) -> Option<String> {
    let style = csv::number_style(texts, delimiter)?;
    let keys = text::number_keys(style);
    (!keys.is_empty()).then(|| keys.join(", "))
}

/// A path as a shell takes it.
pub fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '-' | '_');
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// Fails where a draft would overwrite a file: before records are read, which may take a while.
///
/// # Errors
/// [`WriteError::AlreadyThere`].
pub fn check_output(path: &Path, force: bool) -> Result<(), WriteError> {
    if path.exists() && !force { Err(WriteError::AlreadyThere(path.to_owned())) } else { Ok(()) }
}

/// The largest part of a name that is taken over.
const MOST_NAME: usize = 60;

/// A name for a pipeline, from that of a file or topic: letters, digits, `-`, `_` and `.`.
pub fn pipeline_name(source: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = source.chars().map(|c| if fits(c) { c } else { '-' }).take(MOST_NAME).collect();
    let name = name.trim_matches(['-', '.', '_']).to_lowercase();
    if name.is_empty() { "records".to_owned() } else { name }
}

/// Writes the pipeline file of what was found.
///
/// # Errors
/// [`PipelineError`] where the name or the topic is none; what is written is a valid pipeline file otherwise.
pub fn draft(findings: &Findings, request: &Request) -> Result<Draft, PipelineError> {
    let names = Names::of(&findings.columns);
    let uses = uses(findings);
    let text = whole(findings, request, &names, &uses);
    Pipeline::parse(&text, &format!("pipeline `{}`", request.name))?;
    let row = |(index, column): (usize, &Profile)| {
        [
            column_name(column, index),
            type_name(column),
            shortened(&column.example, 26),
            uses[index].clone().unwrap_or_default(),
        ]
    };
    Ok(Draft {
        text,
        writing: writing(findings),
        columns: findings.columns.iter().enumerate().map(row).collect(),
        doubts: findings.doubts.iter().map(|doubt| doubt.text.clone()).collect(),
    })
}

fn column_name(column: &Profile, index: usize) -> String {
    let name = if column.name.is_empty() { format!("(column {})", index + 1) } else { column.name.clone() };
    shortened(&name, 30)
}

/// A text on one line and no longer than that.
fn shortened(text: &str, most: usize) -> String {
    let text = records::text::printable(text).to_string();
    if text.chars().count() <= most { text } else { text.chars().take(most - 3).collect::<String>() + "..." }
}

fn type_name(column: &Profile) -> String {
    match (column.kind, &column.dates) {
        (Kind::Date, Some(dates)) => format!("date {}", dates.formats.join(", ")),
        (kind, _) => match kind {
            Kind::Empty => "empty",
            Kind::Text | Kind::Date => "text",
            Kind::Integer => "whole number",
            Kind::Float => "number",
            Kind::Flag => "true or false",
            Kind::Nested => "object or list",
        }
        .to_owned(),
    }
}

fn writing(findings: &Findings) -> String {
    match &findings.writing {
        Writing::Csv(dialect) => format!("CSV: {}", csv::described(dialect).join(", ")),
        Writing::Json(shape) => format!("JSON, {}", text::shape_words(shape)),
        Writing::Table => "Parquet".to_owned(),
    }
}

/// What each column is used for.
fn uses(findings: &Findings) -> Vec<Option<String>> {
    let roles = &findings.roles;
    let mut uses = vec![None; findings.columns.len()];
    let mut set = |column: Option<usize>, use_: &str| {
        if let Some(column) = column {
            uses[column].get_or_insert_with(|| use_.to_owned());
        }
    };
    let is_session = roles.shape != Shape::Records;
    set(roles.key, if is_session { "key: names the lines of an entity" } else { "key: names a record" });
    set(roles.time.as_ref().map(|time| time.column), "time");
    set(roles.customer, "customer");
    set(roles.merchant, if is_session { "" } else { "merchant" });
    set(roles.amount, "amount");
    set(roles.quantity, if is_session { "quantity" } else { "" });
    set(roles.price, "price");
    set(roles.place.map(|place| place.0), "place: latitude");
    set(roles.place.map(|place| place.1), "place: longitude");
    roles.others.iter().for_each(|other| set(Some(*other), "feature"));
    if !is_session {
        set(roles.label.as_ref().map(|label| label.column), "label, for evaluation only");
    }
    uses.into_iter().map(|found| found.filter(|found| !found.is_empty())).collect()
}

fn whole(findings: &Findings, request: &Request, names: &Names, uses: &[Option<String>]) -> String {
    let Request { name, source, command, .. } = request;
    let (source, command) = (records::text::printable(source), command);
    let mut sections = vec![
        Section::comment(&[
            &format!(
                "The pipeline `{name}`, which `{command}` drafted from {} of the {} records of {source}.",
                grouped(findings.n_sampled as u64),
                grouped(findings.n_records)
            ),
            "Everything may be changed. Below \"Not certain\" stands what was guessed, and why.",
        ]),
        Section::plain(format!("name = {}\n", toml_text(name))),
    ];
    sections.extend(text::input(findings, request, names, uses));
    sections.extend(text::label(findings, names));
    sections.extend(text::entity(findings, request, names));
    sections.push(features::section(findings, names));
    sections.extend(detectors::sections(findings, request, names));
    let mut outputs = format!("[outputs]\nerroneous = {}\n", toml_text(&format!("{}_errors", request.topic)));
    let fields = features::fields(findings, names);
    if !fields.is_empty() {
        outputs += &format!("fields = {} # verdicts repeat these\n", toml_list(fields));
    }
    sections.push(Section::plain(outputs));
    sections.iter().map(Section::render).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
