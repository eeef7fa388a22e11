//! Columns of a Parquet file in types that this build of Polars has no column for: they are read as they are stored, and made
//! numbers here.

use std::sync::Arc;

use polars::io::parquet::read::FileMetadata;
use polars::prelude::*;
use polars_parquet::parquet::metadata::SchemaDescriptor;
use polars_parquet::parquet::schema::types::{ParquetType, PrimitiveLogicalType};

/// What the stored numbers of a column mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    /// Whole numbers.
    Whole,
    /// So many of these are 1: of decimals a power of ten, of times of day the units of a second.
    Parts(i128),
    /// Float16.
    Half,
}

impl Stored {
    /// How a column of this type is stored; `None` where it is no column of numbers, or one that Polars reads itself.
    pub(super) fn of(dtype: &ArrowDataType) -> Option<Self> {
        use ArrowDataType as T;
        match dtype {
            T::UInt8 | T::UInt16 => Some(Self::Whole),
            T::Decimal(_, 0) | T::Decimal32(_, 0) | T::Decimal64(_, 0) | T::Decimal256(_, 0) => Some(Self::Whole),
            T::Decimal(_, scale) | T::Decimal32(_, scale) | T::Decimal64(_, scale) | T::Decimal256(_, scale) => {
                10i128.checked_pow(u32::try_from(*scale).ok()?).map(Self::Parts)
            }
            T::Time32(unit) | T::Time64(unit) => Some(Self::Parts(match unit {
                ArrowTimeUnit::Second => 1,
                ArrowTimeUnit::Millisecond => 1_000,
                ArrowTimeUnit::Microsecond => 1_000_000,
                ArrowTimeUnit::Nanosecond => 1_000_000_000,
            })),
            T::Float16 => Some(Self::Half),
            _ => None,
        }
    }

    /// The numbers that a column of stored values means.
    pub(super) fn numbers(self, stored: &Series) -> PolarsResult<Series> {
        if let Ok(bytes) = stored.binary() {
            return match self {
                Self::Half => Ok(floats(bytes, half)),
                Self::Whole | Self::Parts(1) => Ok(floats(bytes, |bytes| Some(whole(bytes)? as f64))),
                Self::Parts(parts) => Ok(floats(bytes, |bytes| Some(divided(whole(bytes)?, parts)))),
            };
        }
        let Self::Parts(parts) = self else { return Ok(stored.clone()) };
        let stored = stored.cast(&DataType::Int64)?;
        let numbers: Float64Chunked =
            stored.i64()?.iter().map(|number| Some(divided(i128::from(number?), parts))).collect();
        Ok(numbers.into_series())
    }
}

fn floats(bytes: &BinaryChunked, number: impl Fn(&[u8]) -> Option<f64>) -> Series {
    let numbers: Float64Chunked = bytes.iter().map(|bytes| number(bytes?)).collect();
    numbers.into_series()
}

/// Whole and fraction apart, so that 0.10 is the float that is written 0.1.
fn divided(number: i128, parts: i128) -> f64 {
    const EXACT: i128 = 1 << 53;
    if number.abs() <= EXACT && parts <= EXACT {
        return number as f64 / parts as f64;
    }
    (number / parts) as f64 + (number % parts) as f64 / parts as f64
}

/// A whole number in two's complement, the highest byte first; `None` where it has more than 128 bits.
fn whole(bytes: &[u8]) -> Option<i128> {
    let sign = if *bytes.first()? >= 0x80 { 0xFF } else { 0 };
    let (above, bytes) = bytes.split_at(bytes.len().saturating_sub(16));
    let mut all = [sign; 16];
    all[16 - bytes.len()..].copy_from_slice(bytes);
    let has_same_sign = (bytes[0] >= 0x80) == (sign == 0xFF);
    (above.iter().all(|byte| *byte == sign) && (above.is_empty() || has_same_sign)).then_some(i128::from_be_bytes(all))
}

/// A float of 16 bits (IEEE 754), the lowest byte first.
fn half(bytes: &[u8]) -> Option<f64> {
    let bits = u16::from_le_bytes(bytes.try_into().ok()?);
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1F), f64::from(bits & 0x3FF) / 1024.0);
    let size = match exponent {
        0 => fraction * 2f64.powi(-14),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => (1.0 + fraction) * 2f64.powi(exponent - 15),
    };
    Some(if bits & 0x8000 == 0 { size } else { -size })
}

/// The types of a file's columns, with float16 where only Parquet's own description has it.
pub(super) fn with_halves(schema: &ArrowSchema, metadata: &FileMetadata) -> ArrowSchema {
    let mut schema = schema.clone();
    for field in metadata.schema_descr.fields() {
        if let ParquetType::PrimitiveType(column) = field
            && column.logical_type == Some(PrimitiveLogicalType::Float16)
            && let Some(field) = schema.get_mut(&column.field_info.name)
        {
            field.dtype = ArrowDataType::Float16;
        }
    }
    schema
}

/// What a file says it has, without the meaning of these columns: only how they are stored is left.
pub(super) fn without_meaning(metadata: &FileMetadata, is_one: impl Fn(&str) -> bool) -> Arc<FileMetadata> {
    let mut metadata = metadata.clone();
    let mut fields = metadata.schema_descr.fields().to_vec();
    for field in &mut fields {
        if let ParquetType::PrimitiveType(column) = field
            && is_one(&column.field_info.name)
        {
            (column.logical_type, column.converted_type) = (None, None);
        }
    }
    metadata.schema_descr = SchemaDescriptor::new(metadata.schema_descr.name().into(), fields);
    // Arrow's own description says the same once more.
    metadata.key_value_metadata = None;
    Arc::new(metadata)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn halves_are_read() {
        for (bits, expected) in [
            (0x3C00u16, 1.0),
            (0xC000, -2.0),
            (0x7BFF, 65_504.0),
            (0x3555, 0.333_251_953_125),
            (0x0001, 2f64.powi(-24)),
            (0x7C00, f64::INFINITY),
            (0x0000, 0.0),
        ] {
            assert_eq!(half(&bits.to_le_bytes()), Some(expected));
        }
        assert!(half(&0x7E00u16.to_le_bytes()).is_some_and(f64::is_nan));
        assert_eq!(half(&[1]), None);
    }

    proptest! {
        #[test]
        fn whole_numbers_are_read_however_many_bytes_they_have(number: i64, more in 0..20usize) {
            let number = i128::from(number);
            let sign = if number < 0 { 0xFF } else { 0 };
            let bytes = [vec![sign; more], number.to_be_bytes().to_vec()].concat();
            prop_assert_eq!(whole(&bytes), Some(number));
        }

        #[test]
        fn a_decimal_is_the_float_that_is_written_so(cents in -1_000_000_000_000i64..1_000_000_000_000) {
            let sign = if cents < 0 { "-" } else { "" };
            let written = format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100);
            prop_assert_eq!(divided(i128::from(cents), 100), written.parse::<f64>().unwrap());
        }
    }
}
