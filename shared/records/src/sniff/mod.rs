//! What a file or a topic seems to hold, told from some of its records: how it is written, what its columns are and what
//! they are for. Whatever is not certain is said, with the evidence.
//!
//! [`csv::layout`] looks at the first bytes, a [`sample::Sampler`] keeps some of the records, [`profile`] tells the types of
//! columns and [`roles`] what they are for; [`study`] is all of it.

mod amounts;
pub mod avro;
pub mod csv;
pub mod dates;
mod finder;
pub mod json;
mod keys;
mod names;
mod numbers;
pub mod profile;
pub mod roles;
mod runs;
pub mod sample;

use crate::dialect::Dialect;
use crate::schema::{InputFormat, MessageShape};
use profile::Profile;
use roles::{Roles, Unfit};
use sample::Sample;

/// Something that may be otherwise, in one sentence with its evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// What it is about.
    pub about: About,
    /// The sentence, without a full stop.
    pub text: String,
}

/// What a doubt is about: the part of a pipeline file that would be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// How records are written.
    Input,
    /// How dates are written.
    Dates,
    /// What is scored: key, clock, customer.
    Entity,
    /// What is known of records.
    Label,
    /// What is computed.
    Features,
}

impl Doubt {
    pub(crate) fn new(about: About, text: impl Into<String>) -> Self {
        Self { about, text: text.into() }
    }
}

/// How the records were written that a sample is of.
#[derive(Debug, Clone, PartialEq)]
pub enum Writing {
    /// CSV in this dialect.
    Csv(Box<Dialect>),
    /// JSON, of which a message holds this.
    Json(MessageShape),
    /// Columns of a table with types of its own, such as a Parquet file.
    Table,
}

impl Writing {
    /// How records on a topic are likely to be written: those of a table as JSON, which has names too.
    pub fn format(&self) -> InputFormat {
        match self {
            Self::Csv(_) => InputFormat::Csv,
            Self::Json(_) | Self::Table => InputFormat::Json,
        }
    }
}

/// All that was found out.
#[derive(Debug, Clone)]
pub struct Findings {
    /// How records are written.
    pub writing: Writing,
    /// The columns, in order.
    pub columns: Vec<Profile>,
    /// What they are for.
    pub roles: Roles,
    /// How many records there are, as far as they were counted.
    pub n_records: u64,
    /// How many of them were looked at.
    pub n_sampled: usize,
    /// What may be otherwise.
    pub doubts: Vec<Doubt>,
}

/// Finds out what the records of a sample are, which were written so; `doubts` are those that there are already.
///
/// # Errors
/// Why no pipeline can be made of them.
pub fn study(writing: Writing, sample: &Sample, doubts: Vec<Doubt>) -> Result<Findings, Unfit> {
    let mut doubts = doubts;
    let writing = match writing {
        Writing::Csv(dialect) => Writing::Csv(Box::new(csv::complete(*dialect, sample, &mut doubts))),
        other => other,
    };
    let columns = profile::profiles(&writing, sample, &mut doubts);
    let roles = roles::roles(sample, &columns, &mut doubts)?;
    let (n_records, n_sampled) = (sample.n_records, sample.rows.len());
    Ok(Findings { writing, columns, roles, n_records, n_sampled, doubts })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Whatever stands in a file, there are findings or a reason why there are none, and a role is a column's.
        #[test]
        fn every_file_has_findings_or_a_reason(
            names in proptest::collection::vec("id|InvoiceNo|date|amount|lat|long|user|shop|Class|currency|[a-z]{0,3}", 1..8),
            cells in proptest::collection::vec("[0-9]{0,3}|C[0-9]|-?[0-9]{1,2}\\.[0-9]|2024-01-[0-2][1-9]|1[0-9]{12}|NA|[a-z€]{1,3}", 0..300),
        ) {
            let rows = cells.chunks_exact(names.len()).map(|row| row.join(",") + "\n").collect::<String>();
            let text = format!("{}\n{rows}", names.join(","));
            let mut doubts = Vec::new();
            let Ok(dialect) = csv::layout(text.as_bytes(), true, Some(true), &mut doubts) else { return Ok(()) };
            let sample = csv::sample(text.as_bytes(), &dialect).unwrap();
            let Ok(findings) = study(Writing::Csv(Box::new(dialect)), &sample, doubts) else { return Ok(()) };
            let Roles { key, customer, merchant, amount, .. } = findings.roles;
            let roles: Vec<usize> = [key, customer, merchant, amount].into_iter().flatten().collect();
            prop_assert!(roles.iter().all(|role| *role < findings.columns.len()));
            // No column has two of them.
            prop_assert_eq!(roles.iter().collect::<std::collections::HashSet<_>>().len(), roles.len());
        }
    }
}
