//! Tables: any CSV, JSON or Parquet files with columns of numbers, and perhaps one that says which rows are anomalies.
//!
//! Files are read twice. The first pass tells what each column holds, whatever row that shows in; the second makes
//! features of it. So neither a row nor a text is held that is not used.

mod columns;
mod error;
mod label;
mod rows;

use std::collections::BTreeSet;
use std::path::PathBuf;

use shared::matrix::FeatureMatrix;

use super::args::CategoricalRule;
use super::dataset::Dataset;
use crate::memory::{Budget, Size};
use crate::progress::Progress;

pub use error::TableError;

use columns::{ColumnKind, Seen};
use label::{LabelRule, LabelValues};
use rows::{Files, LeftOutRows};

/// Which columns of a table are what.
#[derive(Debug, Clone)]
pub struct TableOptions {
    /// The files, as if they were one.
    pub files: Vec<PathBuf>,
    /// The column that says which rows are anomalies.
    pub label: Option<String>,
    /// Its value that means an anomaly, when it was said.
    pub anomaly: Option<String>,
    /// Its values that mean a normal row, when they were said; an empty text is a missing label.
    pub normal: Vec<String>,
    /// Columns that are no features.
    pub exclude: Vec<String>,
    /// What to do with text columns.
    pub categorical: CategoricalRule,
}

/// Reads a table; missing values are not a number.
///
/// # Errors
/// [`TableError`] when files cannot be read, the label cannot be used, or there is no feature.
pub fn read(options: &TableOptions, budget: Budget, progress: Progress) -> Result<Dataset, TableError> {
    let files = Files::open(&options.files)?;
    let roles = Roles::new(&files, options)?;
    let looked = look(&files, &roles, progress)?;
    let rule = match (&options.label, &looked.labels) {
        (Some(column), Some(values)) => Some(values.rule(column, options.anomaly.as_deref(), &options.normal)?),
        _ => None,
    };
    let plan = TablePlan::new(&files, &roles, looked, options)?;
    plan.check_memory(budget)?;
    let (features, labels) = plan.fill(&files, roles.label, rule.as_ref(), progress)?;
    let mut notes = plan.notes;
    notes.extend(rule.and_then(|rule| rule.note(&labels)));
    Ok(Dataset {
        name: files.name(),
        features: plan.names,
        rows: features,
        labels: options.label.is_some().then_some(labels),
        keys: None,
        is_in_time: false,
        notes,
    })
}

/// Which columns are features.
struct Roles {
    label: Option<usize>,
    features: Vec<usize>,
}

impl Roles {
    fn new(files: &Files, options: &TableOptions) -> Result<Self, TableError> {
        let names = files.columns();
        let mut known = BTreeSet::new();
        if let Some(twice) = names.iter().find(|name| !known.insert(name.as_str())) {
            return Err(TableError::Twice { file: files.name(), column: twice.clone() });
        }
        let place = |column: &String| {
            let place = names.iter().position(|name| name == column);
            place.ok_or_else(|| TableError::NoColumn {
                file: files.name(),
                column: column.clone(),
                found: error::listed(names.iter()),
            })
        };
        let label = options.label.as_ref().map(place).transpose()?;
        let excluded: Vec<usize> = options.exclude.iter().map(place).collect::<Result<_, _>>()?;
        let features = (0..names.len()).filter(|index| label != Some(*index) && !excluded.contains(index)).collect();
        Ok(Self { label, features })
    }
}

/// What the first pass found.
struct Looked {
    n_rows: usize,
    /// Of each feature column.
    seen: Vec<Seen>,
    labels: Option<LabelValues>,
    /// Rows that are no rows.
    left_out: Option<LeftOutRows>,
}

fn look(files: &Files, roles: &Roles, progress: Progress) -> Result<Looked, TableError> {
    let mut seen: Vec<Seen> = roles.features.iter().map(|_| Seen::default()).collect();
    let mut labels = roles.label.map(|_| LabelValues::default());
    let mut n_rows = 0;
    let left_out = files.for_each_row(progress, &mut |row, place| {
        n_rows += 1;
        if let (Some(labels), Some(column)) = (&mut labels, roles.label) {
            labels.see(row.cell(column), || place.to_string());
        }
        for (seen, &column) in seen.iter_mut().zip(&roles.features) {
            seen.see(row.cell(column));
        }
        Ok(())
    })?;
    if n_rows == 0 {
        return Err(TableError::NoRow { files: files.name() });
    }
    Ok(Looked { n_rows, seen, labels, left_out })
}

/// How columns become features.
struct TablePlan {
    n_rows: usize,
    /// Column of the files, and what it holds.
    columns: Vec<(usize, ColumnKind)>,
    /// The features' names.
    names: Vec<String>,
    notes: Vec<String>,
}

impl TablePlan {
    fn new(files: &Files, roles: &Roles, looked: Looked, options: &TableOptions) -> Result<Self, TableError> {
        let (mut columns, mut names, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        notes.extend(looked.left_out.as_ref().map(LeftOutRows::note));
        let (mut empty, mut texts, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for (seen, &column) in looked.seen.into_iter().zip(&roles.features) {
            let name = &files.columns()[column];
            match seen.kind(options.categorical) {
                ColumnKind::Empty => empty.push(name.clone()),
                ColumnKind::Text(why) => texts.push((name.clone(), why)),
                ColumnKind::Other(dtype) => others.push(format!("{name} ({dtype})")),
                kind => {
                    names.extend(kind.feature_names(name));
                    columns.push((column, kind));
                }
            }
        }
        if options.categorical == CategoricalRule::Refuse && !texts.is_empty() {
            let columns = error::listed(texts.iter().map(|(name, _)| name));
            return Err(TableError::Categorical { columns, example: texts[0].1.clone() });
        }
        if columns.is_empty() {
            return Err(TableError::NoFeature { file: files.name() });
        }
        notes.extend(left_out("with text that is not a number", texts.iter().map(|(name, _)| name)));
        notes.extend(left_out("without any value", empty.iter()));
        notes.extend(left_out("of a type that is no number", others.iter()));
        let plural = if names.len() == 1 { "feature is" } else { "features are" };
        notes.insert(0, format!("{} {plural} used: {}", names.len(), error::listed(names.iter())));
        if names.len() > roles.features.len() {
            notes.push(format!("text columns became one feature per value: {} features in all", names.len()));
        }
        Ok(Self { n_rows: looked.n_rows, columns, names, notes })
    }

    /// Whether the features fit in memory at all, with the parts that they are split into.
    fn check_memory(&self, budget: Budget) -> Result<(), TableError> {
        let (n_rows, n_features) = (self.n_rows as u64, self.names.len() as u64);
        let needed = super::memory::least_bytes(n_rows, n_features);
        match budget.0 {
            Some(allowed) if needed > allowed => {
                Err(TableError::TooLarge { n_rows, n_features, needed: Size(needed), allowed: Size(allowed) })
            }
            _ => Ok(()),
        }
    }

    fn fill(
        &self,
        files: &Files,
        label: Option<usize>,
        rule: Option<&LabelRule>,
        progress: Progress,
    ) -> Result<(FeatureMatrix, Vec<bool>), TableError> {
        let n_features = self.names.len();
        let mut values = Vec::with_capacity(self.n_rows * n_features);
        let mut labels = Vec::with_capacity(if rule.is_some() { self.n_rows } else { 0 });
        let mut dates = columns::dates();
        files.for_each_row(progress, &mut |row, _| {
            if labels.len().max(values.len() / n_features) == self.n_rows {
                return Err(TableError::Changed { file: files.name() });
            }
            for (column, kind) in &self.columns {
                kind.push(row.cell(*column), &mut dates, &mut values);
            }
            if let (Some(rule), Some(column)) = (rule, label) {
                labels.push(rule.is_anomaly(row.cell(column)));
            }
            Ok(())
        })?;
        if values.len() != self.n_rows * n_features {
            return Err(TableError::Changed { file: files.name() });
        }
        Ok((FeatureMatrix::from_values(n_features, values), labels))
    }
}

fn left_out<'a>(what: &str, names: impl ExactSizeIterator<Item = &'a String>) -> Option<String> {
    let (count, plural) = (names.len(), if names.len() == 1 { ("column", "is") } else { ("columns", "are") });
    let (noun, verb) = plural;
    (count > 0).then(|| format!("{count} {noun} {what} {verb} left out: {}", error::listed(names)))
}

#[cfg(test)]
mod tests;
