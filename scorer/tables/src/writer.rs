//! Columns into a Parquet file.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as PhysicalType, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, FloatType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{Type, TypePtr};

use crate::columns::{Column, Texts, Values};

/// Writes a Parquet file, some rows at a time.
pub struct ParquetWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
}

impl<W: Write + Send> std::fmt::Debug for ParquetWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetWriter").finish_non_exhaustive()
    }
}

impl<W: Write + Send> ParquetWriter<W> {
    /// Begins a file with columns of the names and types of `columns`, whose rows are not written.
    ///
    /// # Errors
    /// That `out` does not take the first bytes.
    pub fn new(out: W, columns: &[Column]) -> io::Result<Self> {
        let fields = columns.iter().map(field).collect::<Result<_, _>>().map_err(cause)?;
        let schema = Type::group_type_builder("root").with_fields(fields).build().map_err(cause)?;
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
        let file = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties)).map_err(cause)?;
        Ok(Self { file })
    }

    /// Writes rows as a group of their own: the columns of [`ParquetWriter::new`], all of one length.
    ///
    /// # Errors
    /// That the file does not take them.
    pub fn write(&mut self, columns: Vec<Column>) -> io::Result<()> {
        let mut group = self.file.next_row_group().map_err(cause)?;
        for Column { values, .. } in columns {
            let Some(mut column) = group.next_column().map_err(cause)? else { break };
            write_values(&mut column, values).and_then(|()| column.close()).map_err(cause)?;
        }
        group.close().map_err(cause)?;
        Ok(())
    }

    /// Writes the end of the file.
    ///
    /// # Errors
    /// That the file does not take it.
    pub fn finish(self) -> io::Result<W> {
        self.file.into_inner().map_err(cause)
    }
}

/// What the system said, where it was the system that said no.
fn cause(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(error) => error.downcast::<io::Error>().map_or_else(io::Error::other, |error| *error),
        error => io::Error::other(error),
    }
}

fn field(column: &Column) -> Result<TypePtr, ParquetError> {
    let (physical, logical) = match &column.values {
        Values::Texts(_) => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
        Values::Bools(_) => (PhysicalType::BOOLEAN, None),
        Values::Integers(_) => (PhysicalType::INT32, None),
        Values::Counts(_) => (PhysicalType::INT64, Some(LogicalType::integer(64, false))),
        Values::Floats(_) => (PhysicalType::FLOAT, None),
        Values::Doubles(_) => (PhysicalType::DOUBLE, None),
        Values::Moments(_) => (PhysicalType::INT64, Some(LogicalType::timestamp(false, TimeUnit::MILLIS))),
    };
    let field = Type::primitive_type_builder(&column.name, physical).with_repetition(Repetition::OPTIONAL);
    Ok(Arc::new(field.with_logical_type(logical).build()?))
}

fn write_values(column: &mut SerializedColumnWriter<'_>, values: Values) -> Result<(), ParquetError> {
    match values {
        Values::Texts(texts) => write::<ByteArrayType>(column, byte_arrays(texts)),
        Values::Bools(values) => write::<BoolType>(column, values),
        Values::Integers(values) => write::<Int32Type>(column, values),
        // The bits are the same: the column says how they are to be read.
        Values::Counts(values) => {
            write::<Int64Type>(column, values.into_iter().map(|value| value.map(u64::cast_signed)))
        }
        Values::Floats(values) => write::<FloatType>(column, values),
        Values::Doubles(values) => write::<DoubleType>(column, values),
        Values::Moments(values) => write::<Int64Type>(column, values),
    }
}

fn byte_arrays(texts: Texts) -> impl Iterator<Item = Option<ByteArray>> {
    let (bytes, places) = texts.into_parts();
    let bytes = Bytes::from(bytes);
    places.into_iter().map(move |place| Some(ByteArray::from(bytes.slice(place?))))
}

/// Parquet keeps the values that are there, and for each row whether one is.
fn write<T: DataType>(
    column: &mut SerializedColumnWriter<'_>,
    rows: impl IntoIterator<Item = Option<T::T>>,
) -> Result<(), ParquetError> {
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    for row in rows {
        levels.push(i16::from(row.is_some()));
        values.extend(row);
    }
    column.typed::<T>().write_batch(&values, Some(&levels), None)?;
    Ok(())
}
