//! The columns of rows of messages.

use std::io::{self, Read};

use shared::codec::{Damaged, Reader};
use shared::verdict::Verdict;
use tables::{Column, Texts, Values};

/// What follows a feature's name in the name of the column of its shares, and in that of usual values.
pub(super) const CONTRIBUTION: &str = "_contribution";
pub(super) const EXPECTED: &str = "_expected";

/// What a field's name follows in the name of its column.
pub(super) const FIELD: &str = "field_";

/// The columns of texts that all rows have, beside the detector, and of numbers.
pub(super) const N_TEXTS: usize = 14;
pub(super) const N_NUMBERS: usize = 4;

/// The first bytes of a field that is there.
pub(super) const FIELD_TEXT: u8 = b't';
pub(super) const FIELD_NUMBER: u8 = b'n';

/// The columns that the verdicts so far need.
#[derive(Debug, Clone, Default)]
pub(super) struct Columns {
    /// The names of all features, in the order in which they came.
    features: Vec<String>,
    /// Those of all fields, and whether any value of one is a text.
    fields: Vec<(String, bool)>,
    detectors: Vec<OfDetector>,
}

/// Where the features and fields of a detector stand among all: they are the same in all its verdicts.
#[derive(Debug, Clone)]
struct OfDetector {
    name: String,
    features: Vec<usize>,
    fields: Vec<usize>,
}

impl Columns {
    /// The number of a verdict's detector; with the first verdict of each come its features and fields.
    pub fn detector(&mut self, verdict: &Verdict) -> usize {
        let number = match self.detectors.iter().position(|known| known.name == verdict.detector) {
            Some(known) => known,
            None => {
                let features =
                    verdict.features.names().map(|name| place(&mut self.features, name, name.to_owned())).collect();
                let fields = verdict.fields.names().map(|name| self.field(name)).collect();
                self.detectors.push(OfDetector { name: verdict.detector.clone(), features, fields });
                self.detectors.len() - 1
            }
        };
        for &place in &self.detectors[number].fields {
            let (name, has_texts) = &mut self.fields[place];
            *has_texts |= verdict.fields.get(name).is_some_and(serde_json::Value::is_string);
        }
        number
    }

    fn field(&mut self, name: &str) -> usize {
        self.fields.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            self.fields.push((name.to_owned(), false));
            self.fields.len() - 1
        })
    }

    /// The features of a detector.
    pub fn features_of(&self, detector: usize) -> impl Iterator<Item = &String> {
        self.detectors[detector].features.iter().map(|&place| &self.features[place])
    }

    /// Its fields.
    pub fn fields_of(&self, detector: usize) -> impl Iterator<Item = &String> {
        self.detectors[detector].fields.iter().map(|&place| &self.fields[place].0)
    }
}

fn place(names: &mut Vec<String>, name: &str, owned: String) -> usize {
    names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(owned);
        names.len() - 1
    })
}

/// Rows, as columns.
#[derive(Default)]
pub(super) struct Rows {
    row: Vec<u8>,
    detector: Texts,
    texts: [Texts; N_TEXTS],
    anomalous: Vec<Option<bool>>,
    numbers: [Vec<Option<f64>>; N_NUMBERS],
    cluster: Vec<Option<i32>>,
    lines: Vec<Option<u64>>,
    /// Value, share and usual value of each feature.
    features: Vec<[Vec<Option<f64>>; 3]>,
    fields: Vec<Values>,
}

impl Rows {
    pub fn new(columns: &Columns) -> Self {
        let field = |(_, has_texts): &(String, bool)| {
            if *has_texts { Values::Texts(Texts::default()) } else { Values::Doubles(Vec::new()) }
        };
        Self {
            features: vec![Default::default(); columns.features.len()],
            fields: columns.fields.iter().map(field).collect(),
            ..Self::default()
        }
    }

    pub fn len(&self) -> usize {
        self.lines.len()
    }

    pub fn read(&mut self, waiting: &mut impl Read, columns: &Columns) -> io::Result<()> {
        let mut length = [0; 8];
        waiting.read_exact(&mut length)?;
        let mut row = std::mem::take(&mut self.row);
        row.clear();
        waiting.take(u64::from_le_bytes(length)).read_to_end(&mut row)?;
        let taken = self.take(&mut Reader(&row), columns);
        self.row = row;
        taken.map_err(io::Error::other)
    }

    fn take(&mut self, row: &mut Reader<'_>, columns: &Columns) -> Result<(), Damaged> {
        let detector = match usize::try_from(row.unsigned()?).map_err(|_| Damaged)? {
            0 => None,
            number => Some(columns.detectors.get(number - 1).ok_or(Damaged)?),
        };
        self.detector.push(detector.map(|detector| detector.name.as_str()));
        for texts in &mut self.texts {
            let is_there = row.byte()? == 1;
            let text = row.text()?;
            texts.push(is_there.then_some(text));
        }
        self.anomalous.push(match row.byte()? {
            0 => None,
            known => Some(known == 2),
        });
        for numbers in &mut self.numbers {
            numbers.push(float(row)?);
        }
        self.cluster.push(row.optional()?.map(|cluster| cluster as i32));
        let has_lines = row.byte()? == 1;
        let lines = row.unsigned()?;
        self.lines.push(has_lines.then_some(lines));
        let n_rows = self.lines.len();
        if let Some(detector) = detector {
            for &place in &detector.features {
                for values in &mut self.features[place] {
                    values.push(float(row)?);
                }
            }
            for &place in &detector.fields {
                take_field(row, &mut self.fields[place])?;
            }
        }
        // Those of other detectors.
        self.features.iter_mut().flatten().for_each(|values| values.resize(n_rows, None));
        for values in &mut self.fields {
            match values {
                Values::Texts(texts) if texts.len() < n_rows => texts.push(None),
                Values::Doubles(numbers) => numbers.resize(n_rows, None),
                _ => {}
            }
        }
        row.end()
    }

    pub fn into_columns(self, columns: &Columns) -> Vec<Column> {
        let [
            key,
            version,
            customer,
            first,
            last,
            kind,
            topic,
            id,
            severity,
            reason,
            event_time,
            source,
            reasons,
            message,
        ] = self.texts.map(Values::Texts);
        let [score, threshold, ratio, p_value] = self.numbers;
        let single = |numbers: Vec<Option<f64>>| {
            Values::Floats(numbers.into_iter().map(|number| number.map(|number| number as f32)).collect())
        };
        let fixed = [
            ("key", key),
            ("detector", Values::Texts(self.detector)),
            ("model_version", version),
            ("anomalous", Values::Bools(self.anomalous)),
            ("score", single(score)),
            ("threshold", single(threshold)),
            ("p_value", Values::Doubles(p_value)),
            ("cluster", Values::Integers(self.cluster)),
            ("lines", Values::Counts(self.lines)),
            ("customer_id", customer),
            ("first_timestamp", first),
            ("last_timestamp", last),
            ("kind", kind),
            ("topic", topic),
            ("id", id),
            ("severity", severity),
            ("reason", reason),
            ("ratio", Values::Doubles(ratio)),
            ("event_time", event_time),
            ("source", source),
            ("reasons", reasons),
            ("message", message),
        ];
        let mut all: Vec<Column> = fixed.into_iter().map(|(name, values)| Column::new(name, values)).collect();
        let (mut shares, mut usual) = (Vec::new(), Vec::new());
        for (name, [value, share, expected]) in columns.features.iter().zip(self.features) {
            all.push(Column::new(name, Values::Doubles(value)));
            shares.push(Column::new(&format!("{name}{CONTRIBUTION}"), Values::Doubles(share)));
            usual.push(Column::new(&format!("{name}{EXPECTED}"), Values::Doubles(expected)));
        }
        all.extend(shares);
        all.extend(usual);
        let fields = columns.fields.iter().zip(self.fields);
        all.extend(fields.map(|((name, _), values)| Column::new(&format!("{FIELD}{name}"), values)));
        all
    }
}

fn float(row: &mut Reader<'_>) -> Result<Option<f64>, Damaged> {
    if row.byte()? == 1 { row.float().map(Some) } else { Ok(None) }
}

/// Takes a field; a number goes into a column of texts as one.
fn take_field(row: &mut Reader<'_>, values: &mut Values) -> Result<(), Damaged> {
    let (text, number) = match row.byte()? {
        FIELD_TEXT => (Some(row.text()?), None),
        FIELD_NUMBER => (None, Some(row.float()?)),
        _ => (None, None),
    };
    match values {
        Values::Texts(texts) => texts.push(text.or(number.map(|number| number.to_string()).as_deref())),
        Values::Doubles(numbers) => numbers.push(number),
        _ => return Err(Damaged),
    }
    Ok(())
}
