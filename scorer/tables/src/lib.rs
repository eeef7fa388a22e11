//! Tables in files: records of CSV, and columns of Parquet.
//!
//! The scorer and the simulator write both and read Parquet back. Parquet columns are flat: a text, a number, a moment or
//! yes and no in each row, and any value may be missing.

mod columns;
pub mod csv;
mod guard;
mod reader;
mod writer;

pub use columns::{Column, Texts, Values};
pub use parquet::errors::ParquetError;
pub use reader::ParquetReader;
pub use writer::ParquetWriter;
