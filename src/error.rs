//! The one error type of the library: every bad input becomes a value of it, worded as a sentence that says what to change.

/// Everything that can go wrong in this crate.
///
/// The message of each variant is one complete sentence, fit to be shown to the person who supplied the input.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two arguments do not fit together.
    #[error("{what} has shape {found_rows} x {found_columns}, but {rows} x {columns} is needed")]
    Shape {
        /// Which argument.
        what: &'static str,
        /// Rows needed.
        rows: usize,
        /// Columns needed.
        columns: usize,
        /// Rows found.
        found_rows: usize,
        /// Columns found.
        found_columns: usize,
    },
    /// An argument without any entries where at least one is needed.
    #[error("{what} is empty; give at least one {unit}")]
    Empty {
        /// Which argument.
        what: &'static str,
        /// What is missing: "row", "column", "neuron".
        unit: &'static str,
    },
    /// A NaN or an infinity.
    #[error("{what} holds a value that is not finite at row {row}, column {column} (counted from 0)")]
    NotFinite {
        /// Which argument.
        what: &'static str,
        /// Row of the first such value.
        row: usize,
        /// Column of the first such value.
        column: usize,
    },
    /// A setting outside its range.
    #[error("{name} is {value}, but {requirement}")]
    Setting {
        /// Name of the setting.
        name: &'static str,
        /// The value that was given.
        value: String,
        /// What would be accepted.
        requirement: &'static str,
    },
    /// The result would not fit in memory.
    #[error("{what} would take {}, which is more than this machine can address or has free; ask for less", in_words(*bytes))]
    Memory {
        /// What would be too large.
        what: &'static str,
        /// Its size in bytes.
        bytes: u128,
    },
    /// A SIMD level that this processor does not have, or a name that is no level.
    #[error("SIMD level '{name}' is not available here; available: {available}")]
    Level {
        /// The level asked for.
        name: String,
        /// The levels that could be asked for, separated by commas.
        available: String,
    },
    /// An iteration left the finite numbers; the last good weights are kept.
    #[error("training diverged at iteration {iteration}: the loss is not finite; lower the step size")]
    Diverged {
        /// The iteration whose loss was not finite.
        iteration: usize,
    },
    /// Bytes that are no saved activation patterns.
    #[error("{0}")]
    Patterns(String),
    /// A table that cannot be used as it is.
    #[error("{0}")]
    Table(String),
    /// A matrix file that cannot be read or written.
    #[error("{0}")]
    Matrix(String),
    /// A fitted model that cannot be used as it is.
    #[error("{0}")]
    Model(String),
    /// A checkpoint that a fit cannot go on from.
    #[error("the checkpoint cannot be used: {0}; delete it to begin anew")]
    Checkpoint(String),
    /// The observer ended a fit that is to be gone on with later.
    #[error("the fit was interrupted")]
    Interrupted,
}

/// The result type of the library.
pub type Result<T> = std::result::Result<T, Error>;

/// Names for people: in quotes, with commas between them.
pub(crate) fn quoted(names: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    names.into_iter().map(|name| format!("'{}'", name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// A number of bytes for people: three digits and a unit.
pub fn in_words(bytes: u128) -> String {
    const UNITS: [&str; 7] = ["bytes", "KB", "MB", "GB", "TB", "PB", "EB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 999.5 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    let digits = if unit == 0 || size >= 99.95 { 0 } else { 1 };
    format!("{size:.digits$} {}", UNITS[unit])
}
