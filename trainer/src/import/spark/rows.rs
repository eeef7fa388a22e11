//! Rows of Spark's Parquet files, with the vectors in them.
//!
//! Polars was built without structs, so the rows come from the crate `parquet`. A vector is a struct of `type` (0: sparse, 1:
//! dense), `size`, `indices` and `values`.

use std::fs::File;
use std::path::Path;

use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
pub(super) use parquet::record::Row;

use super::tree::NodeRow;
use crate::load::{first_line, guarded};

/// Most rows of a file.
const MOST_ROWS: i64 = 100_000;

/// Most values of a vector.
const MOST_VALUES: usize = 100_000;

/// The rows of a file.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(path: &Path) -> Result<Vec<Row>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    guarded(|| rows(file, length))?.map_err(|error| first_line(&error))
}

fn rows(file: File, length: u64) -> ParquetResult<Vec<Row>> {
    let reader = SerializedFileReader::new(file)?;
    check(reader.metadata(), length)?;
    let rows: Vec<Row> = reader.get_row_iter(None)?.collect::<ParquetResult<_>>()?;
    Ok(rows)
}

/// Checks what a file of `length` bytes says of itself: as many bytes as a part has are asked for at once.
fn check(metadata: &ParquetMetaData, length: u64) -> ParquetResult<()> {
    let fits = |column: &ColumnChunkMetaData| {
        let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        let end = start.checked_add(column.compressed_size());
        start >= 0 && column.compressed_size() >= 0 && end.is_some_and(|end| end as u64 <= length)
    };
    if !metadata.row_groups().iter().all(|group| group.columns().iter().all(fits)) {
        return Err(ParquetError::General("its content is damaged".to_owned()));
    }
    if metadata.file_metadata().num_rows() > MOST_ROWS {
        return Err(ParquetError::General(format!("it has more than {MOST_ROWS} rows")));
    }
    Ok(())
}

/// The number and the centre of a cluster of k-means; none where the columns are others.
pub(super) fn center(row: &Row) -> Option<(i64, Vec<f64>)> {
    let of = |names: [&str; 2]| Some((field(row, names[0])?, field(row, names[1])?));
    let (number, center) = of(["id", "point"]).or_else(|| of(["clusterIdx", "clusterCenter"]))?;
    Some((integer(number)?, vector(center)?))
}

/// A node of bisecting k-means; none where the columns are others.
pub(super) fn node(row: &Row) -> Option<NodeRow> {
    Some(NodeRow {
        index: integer(field(row, "index")?)?,
        size: u64::try_from(integer(field(row, "size")?)?).ok()?,
        center: vector(field(row, "center")?)?,
        cost: double(field(row, "cost")?)?,
        children: list(field(row, "children")?)?.iter().map(integer).collect::<Option<_>>()?,
    })
}

fn field<'a>(row: &'a Row, name: &str) -> Option<&'a Field> {
    row.get_column_iter().find(|(own, _)| own.as_str() == name).map(|(_, field)| field)
}

fn integer(field: &Field) -> Option<i64> {
    match field {
        Field::Byte(value) => Some(i64::from(*value)),
        Field::Short(value) => Some(i64::from(*value)),
        Field::Int(value) => Some(i64::from(*value)),
        Field::Long(value) => Some(*value),
        _ => None,
    }
}

fn double(field: &Field) -> Option<f64> {
    match field {
        Field::Double(value) => Some(*value),
        _ => None,
    }
}

fn list(field: &Field) -> Option<&[Field]> {
    match field {
        Field::ListInternal(list) => Some(list.elements()),
        _ => None,
    }
}

/// A vector with all of its values, also those that a sparse one leaves out.
fn vector(of: &Field) -> Option<Vec<f64>> {
    let Field::Group(parts) = of else { return None };
    let values: Vec<f64> = list(field(parts, "values")?)?.iter().map(double).collect::<Option<_>>()?;
    match integer(field(parts, "type")?)? {
        1 => Some(values),
        0 => {
            let size = usize::try_from(integer(field(parts, "size")?)?).ok()?;
            let indices = list(field(parts, "indices")?)?;
            if size > MOST_VALUES || indices.len() != values.len() {
                return None;
            }
            let mut all = vec![0.0; size];
            for (index, value) in indices.iter().zip(values) {
                *all.get_mut(usize::try_from(integer(index)?).ok()?)? = value;
            }
            Some(all)
        }
        _ => None,
    }
}
