//! Columns out of a Parquet file.

use std::fs::File;

use parquet::basic::{LogicalType, TimeUnit};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::ColumnDescriptor;

use crate::columns::{Column, Texts, Values};
use crate::guard::{check_places, damaged, reading};

/// Reads a Parquet file, some rows at a time.
pub struct ParquetReader {
    file: SerializedFileReader<File>,
}

impl std::fmt::Debug for ParquetReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetReader").finish_non_exhaustive()
    }
}

impl ParquetReader {
    /// Looks at the end of a file, where its columns are named.
    ///
    /// # Errors
    /// A file of something else, or a damaged one.
    pub fn new(file: File) -> Result<Self, ParquetError> {
        let length = file.metadata().map_err(|error| ParquetError::External(error.into()))?.len();
        let file = reading(|| SerializedFileReader::new(file))?;
        check_places(file.metadata(), length)?;
        Ok(Self { file })
    }

    /// The flat columns, without their rows.
    pub fn columns(&self) -> Vec<Column> {
        let schema = self.file.metadata().file_metadata().schema_descr();
        schema.columns().iter().filter_map(|column| Some(Column::new(flat_name(column)?, empty(column)?))).collect()
    }

    /// Reads the columns with these names, and hands over at most `n_rows` rows at a time: of every name its column, in
    /// the order of the names.
    ///
    /// # Errors
    /// A column that is missing, a damaged file, or the error of `take`.
    pub fn read<E: From<ParquetError>>(
        &self,
        names: &[&str],
        n_rows: usize,
        mut take: impl FnMut(&[Values]) -> Result<(), E>,
    ) -> Result<(), E> {
        let columns = self.file.metadata().file_metadata().schema_descr().columns();
        let place = |name: &&str| {
            let place = columns.iter().position(|column| flat_name(column) == Some(name));
            place.ok_or_else(|| ParquetError::General(format!("there is no column {name}")))
        };
        let places = names.iter().map(place).collect::<Result<Vec<usize>, _>>()?;
        for group in 0..self.file.num_row_groups() {
            let group = reading(|| self.file.get_row_group(group))?;
            let open = |&place: &usize| Ok((group.get_column_reader(place)?, &*columns[place]));
            let mut readers = reading(|| places.iter().map(open).collect::<Result<Vec<_>, ParquetError>>())?;
            let mut left = usize::try_from(group.metadata().num_rows()).map_err(|_| damaged())?;
            while left > 0 {
                let n = left.min(n_rows);
                let batch = |(reader, column): &mut (ColumnReader, &ColumnDescriptor)| read_rows(reader, column, n);
                let batch = reading(|| readers.iter_mut().map(batch).collect::<Result<Vec<Values>, _>>())?;
                if batch.iter().any(|values| values.len() != n) {
                    return Err(ParquetError::General("a column ends before the others".to_owned()).into());
                }
                take(&batch)?;
                left -= n;
            }
        }
        Ok(())
    }
}

/// The name of a column that is not part of another.
fn flat_name(column: &ColumnDescriptor) -> Option<&str> {
    let is_flat = column.path().parts().len() == 1 && column.max_rep_level() == 0;
    is_flat.then(|| column.name())
}

/// No values of the column's type, where it is one of ours.
fn empty(column: &ColumnDescriptor) -> Option<Values> {
    use parquet::basic::Type;
    Some(match (column.physical_type(), column.logical_type_ref()) {
        (Type::BYTE_ARRAY, _) => Values::Texts(Texts::default()),
        (Type::BOOLEAN, _) => Values::Bools(Vec::new()),
        (Type::INT32, _) => Values::Integers(Vec::new()),
        (Type::INT64, Some(LogicalType::Timestamp(time))) if time.unit == TimeUnit::MILLIS => {
            Values::Moments(Vec::new())
        }
        (Type::INT64, _) => Values::Counts(Vec::new()),
        (Type::FLOAT, _) => Values::Floats(Vec::new()),
        (Type::DOUBLE, _) => Values::Doubles(Vec::new()),
        _ => return None,
    })
}

fn read_rows(reader: &mut ColumnReader, column: &ColumnDescriptor, n: usize) -> Result<Values, ParquetError> {
    let is_moment = matches!(empty(column), Some(Values::Moments(_)));
    Ok(match reader {
        ColumnReader::ByteArrayColumnReader(reader) => {
            let mut texts = Texts::default();
            for bytes in rows(reader, column, n)? {
                texts.push(bytes.as_ref().map(ByteArray::as_utf8).transpose()?);
            }
            Values::Texts(texts)
        }
        ColumnReader::BoolColumnReader(reader) => Values::Bools(rows(reader, column, n)?),
        ColumnReader::Int32ColumnReader(reader) => Values::Integers(rows(reader, column, n)?),
        ColumnReader::Int64ColumnReader(reader) if is_moment => Values::Moments(rows(reader, column, n)?),
        ColumnReader::Int64ColumnReader(reader) => {
            Values::Counts(rows(reader, column, n)?.into_iter().map(|row| row.map(i64::cast_unsigned)).collect())
        }
        ColumnReader::FloatColumnReader(reader) => Values::Floats(rows(reader, column, n)?),
        ColumnReader::DoubleColumnReader(reader) => Values::Doubles(rows(reader, column, n)?),
        _ => return Err(ParquetError::General(format!("the column {} is of another type", column.name()))),
    })
}

/// The next rows of a column, at most `n`: a value for each where one is.
fn rows<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    column: &ColumnDescriptor,
    n: usize,
) -> Result<Vec<Option<T::T>>, ParquetError> {
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    reader.read_records(n, Some(&mut levels), None, &mut values)?;
    if column.max_def_level() == 0 {
        return Ok(values.into_iter().map(Some).collect());
    }
    let mut values = values.into_iter();
    Ok(levels.into_iter().map(|level| if level > 0 { values.next() } else { None }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::writer::ParquetWriter;

    fn table() -> Vec<Column> {
        vec![
            Column::texts("text", [Some("a"), None, Some(""), Some("é")]),
            Column::new("bool", Values::Bools(vec![Some(true), Some(false), None, Some(true)])),
            Column::new("integer", Values::Integers(vec![Some(-1), None, Some(i32::MAX), Some(0)])),
            Column::new("count", Values::Counts(vec![Some(u64::MAX), Some(0), None, Some(1)])),
            Column::new("float", Values::Floats(vec![None, Some(-0.5), Some(f32::MAX), Some(0.0)])),
            Column::new("double", Values::Doubles(vec![Some(0.1), None, None, Some(f64::MIN)])),
            Column::new("moment", Values::Moments(vec![Some(-1), Some(1_600_000_000_000), None, Some(0)])),
        ]
    }

    fn written(groups: usize) -> ParquetReader {
        let mut writer = ParquetWriter::new(tempfile::tempfile().unwrap(), &table()).unwrap();
        (0..groups).for_each(|_| writer.write(table()).unwrap());
        ParquetReader::new(writer.finish().unwrap()).unwrap()
    }

    #[test]
    fn what_was_written_is_read() {
        let reader = written(2);
        let table = table();
        let names: Vec<&str> = table.iter().map(|column| column.name.as_str()).collect();
        let mut groups = 0;
        let read = reader.read(&names, 100, |batch| {
            assert!(batch.iter().eq(table.iter().map(|column| &column.values)), "{batch:?}");
            groups += 1;
            Ok::<(), ParquetError>(())
        });
        read.unwrap();
        assert_eq!(groups, 2);
        let found: Vec<String> = reader.columns().into_iter().map(|column| column.name).collect();
        assert_eq!(found, names);
    }

    #[test]
    fn rows_come_in_batches_and_columns_in_any_order() {
        let (mut texts, mut sizes) = (Vec::new(), Vec::new());
        let read = written(1).read(&["count", "text"], 3, |batch| {
            let [Values::Counts(_), Values::Texts(found)] = batch else { panic!("{batch:?}") };
            sizes.push(batch[1].len());
            texts.extend((0..batch[1].len()).map(|row| found.get(row).map(str::to_owned)));
            Ok::<(), ParquetError>(())
        });
        read.unwrap();
        assert_eq!(sizes, [3, 1]);
        assert_eq!(texts, [Some("a".to_owned()), None, Some(String::new()), Some("é".to_owned())]);
    }

    /// Bytes of a file, changed one after the other and cut short: each is read or refused, and no panic gets out.
    #[test]
    fn no_damage_panics() {
        use std::io::{Read, Seek, SeekFrom, Write};
        let mut writer = ParquetWriter::new(tempfile::tempfile().unwrap(), &table()).unwrap();
        (0..2).for_each(|_| writer.write(table()).unwrap());
        let (mut file, mut whole) = (writer.finish().unwrap(), Vec::new());
        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_to_end(&mut whole).unwrap();
        let names: Vec<String> = table().into_iter().map(|column| column.name).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let read = |bytes: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            ParquetReader::new(file)?.read(&names, 100, |_| Ok::<(), ParquetError>(()))
        };
        read(&whole).unwrap();
        let mut refused = 0;
        for place in 0..whole.len() {
            for value in [0, 0x7F, 0xFF, whole[place] ^ 1] {
                let mut damaged = whole.clone();
                damaged[place] = value;
                refused += usize::from(read(&damaged).is_err());
            }
        }
        assert!(refused > whole.len() / 2, "{refused} of {}", 4 * whole.len());
        for length in (0..whole.len()).step_by(7) {
            assert!(read(&whole[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_missing_column_is_an_error() {
        let error = written(1).read(&["other"], 3, |_| Ok::<(), ParquetError>(())).unwrap_err();
        assert!(error.to_string().contains("no column other"), "{error}");
    }
}
