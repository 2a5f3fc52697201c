//! Tables: what the columns are, and how a table becomes a real matrix and comes back.
//!
//! A [`Table`] is the raw thing, named columns of cells as they were written. A [`Schema`] says what the columns are;
//! [`Findings`] say how that was found. A [`Codec`] turns rows into vectors of normal scores and one-hot blocks and back.
//! Nothing here reads or writes files, and nothing here knows of scores or kernels.
//!
//! Messages name settings as fields of [`SchemaOptions`], in backticks.

pub mod calibration;
pub mod codec;
pub mod encoded;
mod findings;
mod grid;
mod identifier;
mod kinds;
pub mod normal;
pub mod number;
mod numerical;
mod relations;
pub mod schema;
#[allow(clippy::module_inception)]
mod table;
mod time;
mod values;

pub use codec::{Codec, Decode, TieCode};
pub use encoded::EncodedTable;
pub use findings::{Finding, Findings};
pub use identifier::Identifier;
pub use numerical::NumericalCode;
pub use relations::Relations;
pub use schema::{ColumnKind, ColumnSchema, Declared, Missing, MissingMarks, Schema, SchemaOptions, Wanted};
pub use table::Table;
pub use time::TimeFormat;
pub use values::ColumnValues;
