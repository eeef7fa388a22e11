//! Why a record, a line or an invoice is erroneous.

use std::fmt;

use serde::{Serialize, Serializer};

/// One broken rule. On the wire: `code` or `code:Column`, as in `not_an_integer:Quantity`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The record has no byte.
    EmptyRecord,
    /// The record is longer than the pipeline's `max_record_bytes`.
    RecordTooLarge,
    /// The record is not one CSV record: it is empty, or has a second line.
    NotOneRecord,
    /// A field of the record begins with a quote and does not end with one.
    UnclosedQuote,
    /// A field of the record goes on after the quote that closes it.
    TextAfterQuote,
    /// The record is not one JSON object and nothing else.
    NotJson,
    /// The record is JSON, but objects or arrays in it lie more than 127 deep.
    NestedTooDeep,
    /// The record names no schema where it should: before its bytes, or in a header.
    NoSchemaId,
    /// The registry has no schema with this id.
    UnknownSchema(String),
    /// The schema with this id is of another kind than the pipeline's records, or cannot be understood.
    UnusableSchema(String),
    /// The record is not what its Avro schema says, or has more bytes than that.
    NotAvro,
    /// The record is no message of its Protobuf schema.
    NotProtobuf,
    /// The value at the path of `[input.json] records` is neither an array nor an object.
    NotAnArray(String),
    /// The message holds more records than a message may, or they would take too much room with what stands around them.
    TooManyRecords,
    /// The change event names no operation that there is.
    UnknownOperation,
    /// Fewer fields than the pipeline has columns.
    TooFewFields,
    /// More fields than the pipeline has columns.
    TooManyFields,
    /// The record is the header of a file.
    HeaderLine,
    /// The field is not UTF-8.
    InvalidUtf8(String),
    /// The object has the field twice, under one name or under two.
    DuplicateField(String),
    /// The field must not be empty.
    MissingValue(String),
    /// The field names something, and is longer than the pipeline's `max_key_bytes`.
    KeyTooLong(String),
    /// The field is neither a text nor a number: JSON's true, an object, an array.
    NotAText(String),
    /// The field is not a whole number of 64 bits.
    NotAnInteger(String),
    /// The field is not a number.
    NotANumber(String),
    /// The field is NaN or infinite.
    NotFinite(String),
    /// The field is no date in any of the pipeline's formats, or a date that does not exist.
    NotADatetime(String),
    /// The number is outside the pipeline's `ranges`.
    OutOfRange(String),
    /// The currency that the field names is neither the base nor one of the pipeline's `rates`.
    UnknownCurrency(String),
    /// The line came for an invoice that had been closed.
    LateLine,
    /// No line of the complete invoice has this required column.
    MissingRequired(String),
    /// A record with the same key was taken a while ago.
    DuplicateKey,
    /// A time of the record, Kafka's or that of a column, is further ahead than the pipeline's `ahead`.
    FromTheFuture(Option<String>),
    /// The record's own time is before anything that is remembered.
    TooOld(String),
    /// The broker deleted records before they were read.
    LostToRetention,
}

impl Reason {
    /// The code and the column it is about.
    pub fn parts(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::EmptyRecord => ("empty_record", None),
            Self::RecordTooLarge => ("record_too_large", None),
            Self::NotOneRecord => ("not_one_record", None),
            Self::UnclosedQuote => ("unclosed_quote", None),
            Self::TextAfterQuote => ("text_after_quote", None),
            Self::NotJson => ("not_json", None),
            Self::NestedTooDeep => ("nested_too_deep", None),
            Self::NoSchemaId => ("no_schema_id", None),
            Self::UnknownSchema(id) => ("unknown_schema", Some(id)),
            Self::UnusableSchema(id) => ("unusable_schema", Some(id)),
            Self::NotAvro => ("not_avro", None),
            Self::NotProtobuf => ("not_protobuf", None),
            Self::NotAnArray(path) => ("not_an_array", Some(path)),
            Self::TooManyRecords => ("too_many_records", None),
            Self::UnknownOperation => ("unknown_operation", None),
            Self::TooFewFields => ("too_few_fields", None),
            Self::TooManyFields => ("too_many_fields", None),
            Self::HeaderLine => ("header_line", None),
            Self::InvalidUtf8(column) => ("invalid_utf8", Some(column)),
            Self::DuplicateField(column) => ("duplicate_field", Some(column)),
            Self::MissingValue(column) => ("missing_value", Some(column)),
            Self::KeyTooLong(column) => ("key_too_long", Some(column)),
            Self::NotAText(column) => ("not_a_text", Some(column)),
            Self::NotAnInteger(column) => ("not_an_integer", Some(column)),
            Self::NotANumber(column) => ("not_a_number", Some(column)),
            Self::NotFinite(column) => ("not_finite", Some(column)),
            Self::NotADatetime(column) => ("not_a_datetime", Some(column)),
            Self::OutOfRange(column) => ("out_of_range", Some(column)),
            Self::UnknownCurrency(column) => ("unknown_currency", Some(column)),
            Self::LateLine => ("late_line", None),
            Self::MissingRequired(column) => ("missing_required", Some(column)),
            Self::DuplicateKey => ("duplicate_key", None),
            Self::FromTheFuture(column) => ("from_the_future", column.as_deref()),
            Self::TooOld(column) => ("too_old", Some(column)),
            Self::LostToRetention => ("lost_to_retention", None),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            (code, Some(column)) => write!(f, "{code}:{column}"),
            (code, None) => f.write_str(code),
        }
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
