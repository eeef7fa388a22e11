//! A file as the records that a producer would send: JSON as it is, a line or a value of an array each, CSV without its header and in the pipeline's
//! column order.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shared::avro::{AvroFile, AvroFileError, AvroRecord, Schema};
use shared::dialect::{Dialect, likely_delimiter, shown_delimiter};
use shared::fingerprint::fingerprint;
use shared::framing::{SchemaId, lead_of};
use shared::json_file::JsonFile;
use shared::json_lines::JsonLine;
use shared::line::{HeaderFault, LineParser, Order, Value};
use shared::pipeline::{InputFormat, Pipeline};
use shared::reason::Reason;
use shared::records::{Fields, FileRecords};
use shared::schemas::WriterSchema;
use shared::text::printable;
use shared::time::Timestamp;
use tables::csv::{Signs, write_fields};
use thiserror::Error;

use super::{InputFile, Position};

/// What the schema of a file is called here: files with the same schema have the same.
fn name_of(schema: &Schema) -> SchemaId {
    let digits = fingerprint(format!("{schema:?}").as_bytes());
    let mut guid = [0; 16];
    guid.iter_mut().zip(digits.bytes()).for_each(|(byte, digit)| *byte = digit);
    SchemaId::Guid(guid)
}

/// Why a file cannot be read.
#[derive(Debug, Error)]
pub enum FileError {
    /// It cannot be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is of a kind that is not read.
    #[error("{} is {what}: {advice}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
        /// How it can be read.
        advice: &'static str,
    },
    /// It has no byte.
    #[error("{} is empty: a header line with the columns {columns} is needed", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// The columns that are needed.
        columns: String,
    },
    /// Its first line is not the header.
    #[error("{} line 1: the header lacks the columns {missing}; it has {found}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// The columns that are missing.
        missing: String,
        /// The names that are there.
        found: String,
    },
    /// Its header has a column twice, by its name or an alias.
    #[error(
        "{} line 1: the column `{column}` is there twice, as `{names}`: leave one out, or remove the alias from the pipeline \
         file",
        path.display()
    )]
    ColumnTwice {
        /// The file.
        path: PathBuf,
        /// The pipeline's name of the column.
        column: String,
        /// The names in the header.
        names: String,
    },
    /// Fields are separated otherwise than the pipeline file says.
    #[error(
        "{} seems to be separated by `{found}`: say so in the pipeline file, with [input.csv] delimiter = \"{found}\"",
        path.display()
    )]
    OtherDelimiter {
        /// The file.
        path: PathBuf,
        /// What stands between fields.
        found: String,
    },
    /// Its records are not written as the stream's are.
    #[error("{} holds {found}, but the pipeline's topic takes {wanted}: send a file of those", path.display())]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// What it holds.
        found: &'static str,
        /// What the topic takes.
        wanted: &'static str,
    },
    /// It is no file of Avro, or a damaged one.
    #[error("{}: {problem}", path.display())]
    Avro {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: AvroFileError,
    },
    /// Its name does not say what its records are, and those of the stream are not kept in files.
    #[error(
        "{}: messages of Protobuf are not read from files: give it as .avro, .jsonl or .csv, under a name that ends so",
        path.display()
    )]
    NoFiles {
        /// The file.
        path: PathBuf,
    },
    /// Records of the topic name schemas.
    #[error(
        "{} cannot be sent to the pipeline's topic: records there name a schema of the registry, which only their own producer \
         can give them",
        path.display()
    )]
    NamesNoSchema {
        /// The file.
        path: PathBuf,
    },
    /// It is no Parquet file, or a damaged one.
    #[error("cannot read {}: {problem}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A Parquet file of something else.
    #[error(
        "{} holds no verdicts: it lacks the columns {missing}, which `scorer score --output FILE.parquet` writes; records \
         are read from CSV and JSON lines",
        path.display()
    )]
    NoVerdicts {
        /// The file.
        path: PathBuf,
        /// The columns that are missing.
        missing: String,
    },
    /// A file without keys or without labels.
    #[error("{} holds no labels: it needs the columns `{key}` and `{label}`, and has {found}", path.display())]
    NoLabels {
        /// The file.
        path: PathBuf,
        /// The column of keys.
        key: String,
        /// The column of labels.
        label: String,
        /// The columns that are there.
        found: String,
    },
}

fn records_of(format: InputFormat) -> &'static str {
    match format {
        InputFormat::Csv => "CSV records",
        InputFormat::Json => "JSON lines",
        InputFormat::Avro => "Avro records",
        InputFormat::Protobuf => "messages of Protobuf",
    }
}

/// A line of a file, as a record.
#[derive(Debug)]
pub struct FileLine<'a> {
    /// Its number in the file, from 1.
    pub number: u64,
    /// Its place among the records of an array that begin on that line, where it is not the first.
    pub item: Option<u32>,
    /// The record; one of a CSV file is in the pipeline's column order.
    pub record: Cow<'a, [u8]>,
    /// The fields of a line of a CSV file, and where columns stand among them.
    fields: Option<(&'a Fields, &'a Order)>,
    parser: &'a mut LineParser,
}

impl FileLine<'_> {
    /// The text of column `column`, if the line goes so far; a JSON line has one only if it is valid.
    pub fn text(&mut self, column: usize) -> Option<Cow<'_, [u8]>> {
        let text = |text: &str| text.as_bytes().to_vec();
        match self.fields {
            Some(_) if self.is_derived(column) => {
                let parsed = self.parser.parse(&self.record, |line| line[column].text().map(text));
                return parsed.ok().flatten().map(Cow::Owned);
            }
            Some((fields, order)) => return field(fields, order, column).map(Cow::Borrowed),
            None => {}
        }
        let parsed = self.parse(|line| line[column].text().map(text));
        parsed.ok().flatten().map(Cow::Owned)
    }

    fn is_derived(&self, column: usize) -> bool {
        self.parser.schema().columns[column].is_derived
    }

    /// The moment in column `column`, if the line has one.
    pub fn date(&mut self, column: usize) -> Option<Timestamp> {
        if let Some((fields, order)) = self.fields {
            return self.parser.parse_value(column, field(fields, order, column)?).ok()?.datetime();
        }
        self.parse(|line| line[column].datetime()).ok().flatten()
    }

    /// Parses a record whose fields have names, whatever the stream's are.
    fn parse<T>(&mut self, use_line: impl FnOnce(&[Value<'_>]) -> T) -> Result<T, Vec<Reason>> {
        match self.parser.schema().format {
            InputFormat::Avro => self.parser.parse(&self.record, use_line),
            _ => self.parser.parse_json(self.record.len(), &self.record, use_line),
        }
    }
}

fn field<'a>(fields: &'a Fields, order: &Order, column: usize) -> Option<&'a [u8]> {
    order.field(column).filter(|&place| place < fields.len()).map(|place| fields.get(place))
}

/// The lines of a file; of a CSV file, those after its header.
#[derive(Debug)]
pub struct FileLines {
    path: PathBuf,
    position: Position,
    source: Source,
    parser: LineParser,
    dialect: Dialect,
}

#[derive(Debug)]
enum Source {
    Csv {
        records: Box<FileRecords<InputFile>>,
        order: Order,
    },
    Json(Box<JsonFile<InputFile>>),
    /// Records whose schema is known by this name.
    Avro(Box<AvroFile<InputFile>>, Vec<u8>),
}

impl FileLines {
    /// Looks at how `file` begins. Its name tells the format; where it tells nothing, the records are written as those of the
    /// stream.
    ///
    /// # Errors
    /// [`FileError`] when a CSV file has no header or its header lacks a column of the pipeline.
    pub fn new(file: InputFile, pipeline: &Pipeline) -> Result<Self, FileError> {
        let (path, position) = (file.path().to_owned(), file.position());
        let format = InputFormat::of_file(&path).unwrap_or(pipeline.schema.format);
        let mut schema = Arc::clone(&pipeline.schema);
        if schema.format != format || schema.schemas.is_some() {
            let as_written = Arc::make_mut(&mut schema);
            as_written.format = format;
            as_written.schemas.take_if(|_| format != InputFormat::Avro);
        }
        let source = match format {
            InputFormat::Csv => csv(file, &path, pipeline)?,
            InputFormat::Json => {
                let read = |source| FileError::Read { path: path.clone(), source };
                Source::Json(Box::new(JsonFile::new(file, usize::MAX, pipeline.schema.json.is_array()).map_err(read)?))
            }
            InputFormat::Avro => {
                let problem = |problem| match problem {
                    AvroFileError::Read(source) => FileError::Read { path: path.clone(), source },
                    problem => FileError::Avro { path: path.clone(), problem },
                };
                let records = AvroFile::new(file).map_err(problem)?;
                let id = name_of(records.schema());
                let schemas = Arc::make_mut(&mut schema).schemas.get_or_insert_default();
                schemas.insert(id, WriterSchema::Avro(Arc::clone(records.schema())));
                Source::Avro(Box::new(records), lead_of(id))
            }
            InputFormat::Protobuf => return Err(FileError::NoFiles { path }),
        };
        Ok(Self { path, position, source, dialect: schema.csv.clone(), parser: LineParser::new(schema) })
    }

    /// As [`FileLines::new`], for a file whose lines go to the pipeline's topic.
    ///
    /// # Errors
    /// [`FileError::OtherFormat`] when others than the stream's records are in it.
    pub fn for_topic(file: InputFile, pipeline: &Pipeline) -> Result<Self, FileError> {
        if pipeline.schema.schemas.is_some() {
            return Err(FileError::NamesNoSchema { path: file.path().to_owned() });
        }
        let lines = Self::new(file, pipeline)?;
        if lines.format() != pipeline.schema.format {
            let [found, wanted] = [lines.format(), pipeline.schema.format].map(records_of);
            return Err(FileError::OtherFormat { path: lines.path, found, wanted });
        }
        Ok(lines)
    }

    /// How the records are written.
    pub fn format(&self) -> InputFormat {
        match self.source {
            Source::Csv { .. } => InputFormat::Csv,
            Source::Json(_) => InputFormat::Json,
            Source::Avro(..) => InputFormat::Avro,
        }
    }

    /// The pipeline for the records of this file, which may be written in another way than the stream's.
    pub fn pipeline(&self, pipeline: &Pipeline) -> Pipeline {
        let mut pipeline = pipeline.clone().with_format(self.format());
        if self.format() == InputFormat::Avro {
            Arc::make_mut(&mut pipeline.schema).schemas.clone_from(&self.parser.schema().schemas);
        }
        pipeline
    }

    /// How far the file has been read.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// The next line, or `None` at the end.
    ///
    /// # Errors
    /// [`FileError::Read`] when the file cannot be read to its end.
    // A lending iterator: the line lives in buffers that the next call reuses.
    pub fn next_line(&mut self) -> Result<Option<FileLine<'_>>, FileError> {
        let (parser, path, dialect) = (&mut self.parser, &self.path, &self.dialect);
        let read = |source| FileError::Read { path: path.clone(), source };
        match &mut self.source {
            Source::Json(records) => {
                let found = records.next_record().map_err(read)?;
                Ok(found.map(|JsonLine { line, item, raw, .. }| FileLine {
                    number: line,
                    item,
                    record: Cow::Borrowed(raw),
                    fields: None,
                    parser,
                }))
            }
            Source::Avro(records, lead) => {
                let found = records.next_record().map_err(|problem| match problem {
                    AvroFileError::Read(source) => read(source),
                    problem => FileError::Avro { path: path.clone(), problem },
                })?;
                Ok(found.map(|AvroRecord { number, raw }| FileLine {
                    number,
                    item: None,
                    record: Cow::Owned([&lead[..], raw].concat()),
                    fields: None,
                    parser,
                }))
            }
            Source::Csv { records, order } => {
                let Some(found) = records.next_record().map_err(read)? else { return Ok(None) };
                let record = match order {
                    Order::Header { fields, width } if found.fields.len() == *width => {
                        Cow::Owned(reordered(found.fields, fields, dialect))
                    }
                    // A line with too few or too many fields goes out as it is: it is erroneous either way.
                    Order::Same | Order::Header { .. } => Cow::Borrowed(found.raw),
                };
                // On the topic, records are in the pipeline's encoding.
                let record = dialect.encoding.encode(record);
                let fields = Some((found.fields, &*order));
                Ok(Some(FileLine { number: found.line, item: None, record, fields, parser }))
            }
        }
    }
}

fn csv(file: InputFile, path: &Path, pipeline: &Pipeline) -> Result<Source, FileError> {
    let columns = || pipeline.schema.field_names().join(", ");
    let read = |source| FileError::Read { path: path.to_owned(), source };
    let schema = &pipeline.schema;
    let mut records = FileRecords::whole(file, &schema.csv, schema.max_record_bytes).map_err(read)?;
    if !schema.csv.header {
        return Ok(Source::Csv { records: Box::new(records), order: Order::Same });
    }
    let Some(header) = records.next_record().map_err(read)? else {
        return Err(FileError::Empty { path: path.to_owned(), columns: columns() });
    };
    let names: Vec<Cow<'_, str>> = header.fields.iter().map(String::from_utf8_lossy).collect();
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    let path = || path.to_owned();
    let order = Order::from_header(&names, &schema.columns).map_err(|fault| match fault {
        HeaderFault::Twice { column, names } => {
            FileError::ColumnTwice { path: path(), column, names: printable(&names.join("` and `")).to_string() }
        }
        HeaderFault::Missing(missing) => {
            let delimiter = likely_delimiter(header.raw).filter(|_| names.len() == 1);
            match delimiter.filter(|found| *found != schema.csv.delimiter) {
                Some(found) => FileError::OtherDelimiter { path: path(), found: shown_delimiter(found) },
                None => FileError::Header {
                    path: path(),
                    missing: missing.join(", "),
                    found: cut(&printable(&names.join(", ")).to_string()),
                },
            }
        }
    })?;
    Ok(Source::Csv { records: Box::new(records), order })
}

/// The beginning of what is too long for a message.
fn cut(text: &str) -> String {
    const MOST: usize = 300;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text.to_owned(),
    }
}

/// The fields in the order of the pipeline's columns; a column that the file lacks is empty.
fn reordered(fields: &Fields, order: &[Option<usize>], dialect: &Dialect) -> Vec<u8> {
    let mut record = Vec::new();
    let in_order = order.iter().map(|place| place.map_or(&b""[..], |place| fields.get(place)));
    let signs = Signs { delimiter: dialect.delimiter, quote: dialect.quote };
    write_fields(&mut record, in_order, signs).expect("a vector takes every byte");
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipeline() -> Pipeline {
        Pipeline::load("invoices").unwrap()
    }

    fn file(name: &str, bytes: &'static [u8]) -> InputFile {
        InputFile::of_bytes(Path::new(name), bytes)
    }

    #[test]
    fn a_file_in_another_order_is_sent_in_the_pipelines() {
        let bytes = b"Country,Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID\n\
            France,1,s,\"a \"\"b\"\", c\",2,9/1/2010 9:22,1.5,123\nshort,1\n";
        let mut lines = FileLines::new(file("f.csv", bytes), &pipeline()).unwrap();
        let first = lines.next_line().unwrap().unwrap();
        assert_eq!(first.number, 2);
        assert_eq!(&*first.record, b"1,s,\"a \"\"b\"\", c\",2,9/1/2010 9:22,1.5,123,France".as_slice());
        assert_eq!(&*lines.next_line().unwrap().unwrap().record, b"short,1".as_slice());
        assert!(lines.next_line().unwrap().is_none());
    }

    #[test]
    fn a_file_without_its_header_is_refused() {
        let error = |bytes: &'static [u8]| FileLines::new(file("f.csv", bytes), &pipeline()).unwrap_err().to_string();
        assert!(error(b"").starts_with("f.csv is empty: a header line with the columns InvoiceNo, StockCode"));
        let missing = "f.csv line 1: the header lacks the columns InvoiceNo, StockCode, Description, Quantity, \
            InvoiceDate, UnitPrice, CustomerID; it has a, Country";
        assert_eq!(error(b"a,Country\n1,2\n"), missing);
    }

    #[test]
    fn json_lines_are_sent_as_they_are() {
        let bytes = b"\xEF\xBB\xBF{\"Invoice\": 17}\r\n\n{\"InvoiceNo\":\"18\",\"Quantity\":1,\"Price\":2.5,\
            \"InvoiceDate\":\"9/1/2010 9:22\"}";
        for (name, format) in [("f.jsonl", InputFormat::Csv), ("f.json.gz", InputFormat::Csv), ("-", InputFormat::Json)]
        {
            let mut lines = FileLines::new(file(name, bytes), &pipeline().with_format(format)).unwrap();
            assert_eq!(lines.format(), InputFormat::Json);
            let mut first = lines.next_line().unwrap().unwrap();
            assert_eq!((first.number, &*first.record), (1, &b"{\"Invoice\": 17}"[..]));
            assert_eq!(first.text(0), None, "it lacks a price");
            assert_eq!(first.date(4), None);
            let mut second = lines.next_line().unwrap().unwrap();
            assert_eq!((second.number, second.text(0).as_deref()), (3, Some(&b"18"[..])));
            assert_eq!(second.date(4), Some(1_283_332_920_000));
            assert!(lines.next_line().unwrap().is_none());
        }
    }

    #[test]
    fn a_column_that_a_csv_file_lacks_is_empty_if_it_is_optional() {
        let text = include_str!("../../../resources/pipelines/invoices.toml");
        let pipeline = Pipeline::parse(&text.replace("\"Description\"", "\"Description?\""), "test.toml").unwrap();
        let bytes =
            b"InvoiceNo,StockCode,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n1,s,2,9/1/2010 9:22,1.5,,\n";
        let mut lines = FileLines::new(file("f.csv", bytes), &pipeline).unwrap();
        let mut line = lines.next_line().unwrap().unwrap();
        assert_eq!(&*line.record, b"1,s,,2,9/1/2010 9:22,1.5,,".as_slice());
        assert_eq!(line.text(2), None);
        assert_eq!(line.text(6).as_deref(), Some(&b""[..]));
        assert_eq!(line.date(4), Some(1_283_332_920_000));
    }

    #[test]
    fn a_topic_takes_records_of_its_own_format() {
        let (header, json) =
            (b"InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country", b"{}");
        let for_topic = |bytes: &'static [u8], name: &str, format| {
            let lines = FileLines::for_topic(file(name, bytes), &pipeline().with_format(format));
            lines.map(|lines| lines.format()).map_err(|error| error.to_string())
        };
        assert_eq!(for_topic(header, "f.csv", InputFormat::Csv), Ok(InputFormat::Csv));
        assert_eq!(for_topic(json, "f.jsonl", InputFormat::Json), Ok(InputFormat::Json));
        let error = for_topic(header, "f.csv", InputFormat::Json).unwrap_err();
        assert_eq!(error, "f.csv holds CSV records, but the pipeline's topic takes JSON lines: send a file of those");
        assert!(for_topic(json, "f.ndjson", InputFormat::Csv).is_err());
    }
}
