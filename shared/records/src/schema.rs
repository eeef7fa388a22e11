//! What records look like: their format, their columns, and what is valid in a column.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

use crate::dialect::Dialect;
use crate::framing::{Framed, SchemaId};
use crate::json_path::JsonPath;
use crate::schemas::Schemas;
use crate::time::DatetimeFormats;

/// What the records of an input look like.
#[derive(Debug, Clone)]
pub struct Schema {
    /// How a record is written.
    pub format: InputFormat,
    /// The columns of a record, in order.
    pub columns: Vec<Column>,
    /// How CSV is written.
    pub csv: Dialect,
    /// What a message holds, where its format has names: JSON, Avro.
    pub json: MessageShape,
    /// The schemas that messages name, where they do.
    pub schemas: Option<Arc<Schemas>>,
    /// Formats of the datetime columns.
    pub datetime_formats: DatetimeFormats,
    /// A longer record is erroneous.
    pub max_record_bytes: usize,
    /// Amounts in several currencies, when there are any.
    pub currency: Option<Currency>,
    /// The key, where no column has it as it is.
    pub key: Option<DerivedKey>,
}

/// A key that is made of other columns, or of the place where a record stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DerivedKey {
    /// Index of the column that holds it, which is derived.
    pub column: usize,
    /// Indices of the columns of which it is made; none where it is the place of the record, which readers know.
    pub parts: Vec<usize>,
}

impl Schema {
    /// The names of the columns that stand in records.
    pub fn field_names(&self) -> Vec<&str> {
        self.columns.iter().filter(|column| !column.is_derived).map(|column| column.name.as_str()).collect()
    }

    /// The schema that has to be known before a message is parsed, and is not yet; `header` is what
    /// [`SCHEMA_HEADER`](crate::framing::SCHEMA_HEADER) holds.
    pub fn unknown_schema(&self, message: &[u8], header: Option<&[u8]>) -> Option<SchemaId> {
        let schemas = self.schemas.as_ref()?;
        // What is erroneous without a look at its schema does not ask for it.
        if message.is_empty() || message.len() > self.max_record_bytes {
            return None;
        }
        let Framed { id, .. } = Framed::read(message, header).ok()?;
        (!schemas.knows(id)).then_some(id)
    }

    /// How many fields a CSV record has.
    pub fn n_fields(&self) -> usize {
        let keeps_original = self.currency.as_ref().is_some_and(|currency| currency.original.is_some());
        self.columns.len() - usize::from(self.key.is_some()) - usize::from(keeps_original)
    }
}

/// What a JSON message holds: one record, if nobody says otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageShape {
    /// What is around the record, or around the records.
    pub envelope: Option<Envelope>,
    /// Where several records stand.
    pub records: Option<RecordsAt>,
}

/// What is around a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Envelope {
    /// Kafka Connect's: `schema` and `payload`, which is the record.
    Connect,
    /// A change event of Debezium: `before`, `after`, which is the record, and `op`; with `schema` and `payload` around
    /// them, or without.
    Debezium,
}

/// Where an array of records stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordsAt {
    /// The message is the array.
    Message,
    /// It is a value in the message.
    Path(JsonPath),
}

impl MessageShape {
    /// Whether a message is an array of records.
    pub fn is_array(&self) -> bool {
        self.records == Some(RecordsAt::Message)
    }

    /// Whether a message is a record.
    pub fn is_plain(&self) -> bool {
        self.envelope.is_none() && self.records.is_none()
    }
}

/// The type of a column's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// UTF-8 text.
    Text,
    /// A whole number of 64 bits.
    Integer,
    /// A finite number of 64 bits.
    Float,
    /// A moment.
    Datetime,
}

/// How a record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputFormat {
    /// One CSV record, without a header.
    Csv,
    /// One JSON object.
    Json,
    /// Avro's binary encoding.
    Avro,
    /// A message of Protobuf.
    Protobuf,
}

impl InputFormat {
    /// The format of a file's records when its name tells it, compressed (`.gz`) or not.
    pub fn of_file(path: &Path) -> Option<Self> {
        let is = |path: &Path, ending: &str| path.extension().is_some_and(|found| found.eq_ignore_ascii_case(ending));
        let name = path.file_name().map(Path::new)?;
        let name = if is(name, "gz") { Path::new(name.file_stem()?) } else { name };
        if ["jsonl", "ndjson", "json"].iter().any(|ending| is(name, ending)) {
            return Some(Self::Json);
        }
        if is(name, "avro") {
            return Some(Self::Avro);
        }
        is(name, "csv").then_some(Self::Csv)
    }
}

/// A column of the input.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name, which features and rules use.
    pub name: String,
    /// The type of its values.
    pub kind: ColumnType,
    /// Other names that a file's header or a JSON object may give it.
    pub aliases: Vec<String>,
    /// Where it stands in a JSON object, where that is no field by its name or an alias.
    pub path: Option<JsonPath>,
    /// Whether that path begins at the message, and not at the record in it.
    pub is_of_message: bool,
    /// Whether JSON may write its values as another type: numbers as texts, true and false as texts or as 1 and 0.
    pub converts: bool,
    /// The smallest and the largest value that is valid.
    pub range: (f64, f64),
    /// Whether a file's header may lack it; every value is missing then.
    pub optional: bool,
    /// The number that stands for an empty field, where the file names one.
    pub if_missing: Option<f64>,
    /// Whether an empty field makes the line erroneous: the key, and every number that a feature reads.
    pub needed: bool,
    /// Whether anything reads its values. Any bytes may stand in a column that nothing reads.
    pub is_read: bool,
    /// Whether a value that is not valid is taken for a missing one, as that of a label: no record is lost for it.
    pub is_lenient: bool,
    /// Whether it stands in no record: its values are made of others.
    pub is_derived: bool,
    /// The longest text that is valid, in bytes; `None` where the text is only read.
    pub max_bytes: Option<usize>,
}

/// A column is declared with a type that there is not.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{declared}`: unknown type `{unknown}`: use text, int, float or datetime")]
pub struct UnknownType {
    /// The declaration.
    pub declared: String,
    /// The type that it names.
    pub unknown: String,
}

impl FromStr for Column {
    type Err = UnknownType;

    /// Reads `name`, `name:int`, `name:float` or `name:datetime`, with a `?` behind it where the column is optional.
    fn from_str(declared: &str) -> Result<Self, UnknownType> {
        let (known, optional) = match declared.strip_suffix('?') {
            Some(known) => (known, true),
            None => (declared, false),
        };
        let (name, kind) = match known.rsplit_once(':') {
            None => (known, ColumnType::Text),
            Some((name, "text")) => (name, ColumnType::Text),
            Some((name, "int")) => (name, ColumnType::Integer),
            Some((name, "float")) => (name, ColumnType::Float),
            Some((name, "datetime")) => (name, ColumnType::Datetime),
            Some((_, other)) => {
                return Err(UnknownType { declared: declared.to_owned(), unknown: other.to_owned() });
            }
        };
        Ok(Self { optional, ..Self::new(name, kind) })
    }
}

impl Column {
    /// A column with values that may be any of its type.
    pub fn new(name: &str, kind: ColumnType) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            aliases: Vec::new(),
            path: None,
            is_of_message: false,
            converts: false,
            range: (f64::NEG_INFINITY, f64::INFINITY),
            optional: false,
            if_missing: None,
            needed: false,
            is_read: true,
            is_lenient: false,
            is_derived: false,
            max_bytes: None,
        }
    }

    /// The same column for labels, which may be texts, numbers, true or false, and for which no record is lost.
    pub fn of_labels(&self) -> Self {
        let Self { name, aliases, path, is_of_message, optional, .. } = self.clone();
        let (converts, is_lenient) = (true, true);
        Self { aliases, path, is_of_message, optional, converts, is_lenient, ..Self::new(&name, ColumnType::Text) }
    }

    /// Whether `header` is this column's name or one of its aliases.
    pub fn is_called(&self, header: &str) -> bool {
        self.name == header || self.aliases.iter().any(|alias| alias == header)
    }

    /// What reasons call it: its name, or the path to it.
    pub fn place(&self) -> String {
        match &self.path {
            Some(path) if self.is_of_message => format!("$.{path}"),
            Some(path) => path.to_string(),
            None => self.name.clone(),
        }
    }
}

/// Which column's amounts are turned into one currency, and at which rates.
#[derive(Debug, Clone)]
pub struct Currency {
    /// Index of the text column that names a line's currency; where it has none, the base is meant.
    pub column: usize,
    /// Index of the float column with the amount.
    pub amount: usize,
    /// Index of the derived column that keeps the amount as it came, where a pipeline wants it.
    pub original: Option<usize>,
    /// The currency that every amount is turned into.
    pub base: String,
    /// What one unit of each other currency is in the base.
    pub rates: BTreeMap<String, f64>,
}

impl Currency {
    /// What one unit of the currency `name` is in the base, or `None` when nobody said.
    pub fn rate(&self, name: &str) -> Option<f64> {
        if name == self.base { Some(1.0) } else { self.rates.get(name).copied() }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// A schema of `columns`, declared as in a pipeline file with blanks between them.
    pub(crate) fn schema(format: InputFormat, columns: &str, datetime_formats: &[&str]) -> Schema {
        Schema {
            format,
            columns: columns.split(' ').map(|declared| declared.parse().unwrap()).collect(),
            csv: Dialect::default(),
            json: MessageShape::default(),
            schemas: None,
            datetime_formats: DatetimeFormats::read(datetime_formats, None).unwrap(),
            max_record_bytes: 1 << 20,
            currency: None,
            key: None,
        }
    }

    impl Schema {
        /// The column called `name`, to be changed.
        pub(crate) fn column(&mut self, name: &str) -> &mut Column {
            self.columns.iter_mut().find(|column| column.name == name).unwrap()
        }
    }
}
