//! Tables: what the columns are, and how a table becomes a real matrix and comes back.
//!
//! A [`Table`] is the raw thing, named columns of cells as they were written. A [`Schema`] says what the columns are, in
//! the user's words or by looking. A [`Codec`] turns rows into vectors of normal scores and one-hot blocks and back.
//! Nothing here reads or writes files, and nothing here knows of scores or kernels.
//!
//! Messages name settings as fields of [`SchemaOptions`], in backticks.

pub(crate) mod calibration;
pub(crate) mod codec;
mod condition;
pub(crate) mod encoded;
mod findings;
mod given;
mod grid;
mod identifier;
mod kinds;
pub(crate) mod normal;
pub(crate) mod number;
mod numerical;
#[cfg(feature = "cli")]
mod rare;
mod relations;
mod restore;
pub(crate) mod schema;
#[allow(clippy::module_inception)]
mod table;
mod time;
mod values;

pub use condition::{Condition, Rule};
#[cfg(feature = "cli")]
pub(crate) use findings::Findings;
pub use given::Given;
pub(crate) use given::{GivenCode, is_missing_cell};
pub use identifier::Identifier;
#[cfg(feature = "cli")]
pub(crate) use rare::{Merged, merge_rare};
pub(crate) use relations::Relations;
pub use schema::{ColumnKind, ColumnSchema, Declared, Missing, MissingMarks, Schema, SchemaOptions, Wanted};
pub use table::Table;
pub use time::TimeFormat;
// How tables are encoded, for the crate's own tests and fuzzers.
#[doc(hidden)]
pub use self::{
    codec::{Codec, Decode, TieCode},
    encoded::EncodedTable,
    numerical::NumericalCode,
    values::ColumnValues,
};
