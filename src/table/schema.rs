//! What the columns of a table are (numbers, dates, categories, identifiers or a constant), and what the user says about
//! them.

use super::identifier::Identifier;
use super::number::{Number, NumberFormat};
use super::table::Table;
use super::time::TimeFormat;
use crate::{Error, Result};

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub enum ColumnKind {
    /// A quantity.
    Numerical {
        /// Whether every value is a whole number.
        integer: bool,
        /// How the values are written.
        format: NumberFormat,
        /// How missing cells are written, where there are some.
        missing: Option<MissingMarks>,
    },
    /// Dates or times: numbers inside, written in the column's format.
    Time {
        /// How they are written.
        format: TimeFormat,
        /// How missing cells are written, where there are some.
        missing: Option<MissingMarks>,
    },
    /// One of a fixed set of levels.
    Categorical {
        /// The levels as they are written, character by character, in numeric order if all are numbers and in alphabetical
        /// order otherwise. Missing is a level like any other.
        levels: Vec<String>,
    },
    /// A name for each row, from which nothing is learnt: new ones are generated.
    Identifier {
        /// What they look like.
        pattern: Identifier,
    },
    /// The same cell in every row. It carries no information; it is written back as it was.
    Constant {
        /// The cell.
        value: String,
    },
}

/// How missing cells of a column of numbers or dates are written: the commonest mark, which is written back, then the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub struct MissingMarks(pub(super) Vec<String>);

impl MissingMarks {
    /// The mark that is written back.
    pub fn written(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    pub(super) fn hold(&self, cell: &str) -> bool {
        self.0.iter().any(|mark| mark.trim() == cell.trim())
    }
}

impl ColumnKind {
    /// Whether the column is numbers inside: a quantity, or dates.
    pub fn is_number(&self) -> bool {
        matches!(self, Self::Numerical { .. } | Self::Time { .. })
    }

    /// How missing cells are written in a column of numbers or dates that has some.
    pub fn missing(&self) -> Option<&MissingMarks> {
        match self {
            Self::Numerical { missing, .. } | Self::Time { missing, .. } => missing.as_ref(),
            _ => None,
        }
    }

    /// How numbers are spaced: dates are whole numbers.
    pub(super) fn number_format(&self) -> Option<NumberFormat> {
        match self {
            Self::Numerical { format, .. } => Some(*format),
            Self::Time { .. } => Some(NumberFormat { minimum_decimals: 0, maximum_decimals: 0 }),
            _ => None,
        }
    }

    /// Whether its cells have no more decimals than numbers or times can have.
    pub(super) fn has_sound_decimals(&self) -> bool {
        match self {
            Self::Numerical { format, .. } => format.is_sound(),
            Self::Time { format, .. } => format.is_sound(),
            _ => true,
        }
    }

    /// A number as a cell of this column.
    pub(super) fn write(&self, number: Number) -> String {
        match (self, number) {
            (Self::Time { format, .. }, Number::Integer(value)) => format.write(value),
            (Self::Time { format, .. }, Number::Double(value)) => format.write(value.round() as i128),
            (Self::Numerical { format, .. }, Number::Integer(value)) => format.write_integer(value),
            (Self::Numerical { format, .. }, Number::Double(value)) => format.write(value),
            (_, Number::Integer(value)) => value.to_string(),
            (_, Number::Double(value)) => value.to_string(),
        }
    }
}

/// Name and kind of one column.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub struct ColumnSchema {
    /// The column's name.
    pub name: String,
    /// What it holds.
    pub kind: ColumnKind,
}

/// The columns of a table that are in use, in the table's order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub struct Schema {
    /// One entry per column.
    pub columns: Vec<ColumnSchema>,
}

impl Schema {
    /// How many columns are numbers inside, dates among them.
    pub fn numerical(&self) -> usize {
        self.columns.iter().filter(|c| c.kind.is_number()).count()
    }

    /// How many columns are categorical.
    pub fn categorical(&self) -> usize {
        self.columns.iter().filter(|c| matches!(c.kind, ColumnKind::Categorical { .. })).count()
    }
}

/// What to do with missing cells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Missing {
    /// Refuse the table and name the first such cell.
    Fail,
    /// Learn where they are and generate them in their turn: missing is a level of a categorical column, and a column of
    /// numbers or dates has an indicator that says whether the cell is filled.
    #[default]
    Level,
}

/// What the user says about a table; anything left out is found by looking at the cells.
#[derive(Debug, Clone, Default)]
pub struct SchemaOptions {
    /// Columns to be taken as categorical.
    pub categorical: Vec<String>,
    /// Columns to be taken as numerical.
    pub numerical: Vec<String>,
    /// Columns to be left out.
    pub drop: Vec<String>,
    /// Columns that name rows: new values of the same pattern are generated for them.
    pub identifier: Vec<String>,
    /// Columns of dates or times with the way they are written: `dmy`, `mdy` or `ymd` for the order of day, month and year,
    /// `epoch` for seconds since 1970, or a pattern such as `%d.%m.%Y`.
    pub dates: Vec<(String, String)>,
    /// What to do with missing cells.
    pub missing: Missing,
    /// Texts that mean a missing cell in any column, beside the usual ones (empty, `NA`, `N/A`, `n/a`, `NULL`, `null`,
    /// `NaN`, `nan`, and among numbers and dates also `?`, `-`, `.`, `None`).
    pub missing_marks: Vec<String>,
    /// What single columns are, in more detail; other columns are looked at.
    pub declared: Vec<Declared>,
    /// The whole answer: nothing is looked at, and columns that it does not have are left out.
    pub schema: Option<Schema>,
}

impl SchemaOptions {
    /// Checks that every column named is there and named once.
    pub(super) fn check(&self, table: &Table) -> Result<()> {
        let dates: Vec<String> = self.dates.iter().map(|(name, _)| name.clone()).collect();
        let lists = [
            ("categorical", &self.categorical),
            ("numerical", &self.numerical),
            ("drop", &self.drop),
            ("identifier", &self.identifier),
            ("dates", &dates),
        ];
        for (position, (option, names)) in lists.iter().enumerate() {
            for name in names.iter() {
                if !table.names().contains(name) {
                    return Err(absent(&format!("`{option}`"), name, table));
                }
                if let Some((other, _)) = lists[..position].iter().find(|(_, names)| names.contains(name)) {
                    return Err(Error::Table(format!(
                        "column '{name}' is named both in `{other}` and in `{option}`; name it once"
                    )));
                }
            }
        }
        match self.declared.iter().find(|declared| !table.names().contains(&declared.name)) {
            Some(declared) => Err(absent("the schema", &declared.name, table)),
            None => Ok(()),
        }
    }
}

fn absent(option: &str, name: &str, table: &Table) -> Error {
    let names: Vec<String> = table.names().iter().map(|name| shown(name)).collect();
    Error::Table(format!(
        "{option} names a column '{name}', which the table does not have; its columns are {}",
        names.join(", ")
    ))
}

/// A column's name in a list of names: quoted where it could be misread.
pub(super) fn shown(name: &str) -> String {
    if name.is_empty() || name.contains(',') || name.trim() != name { format!("'{name}'") } else { name.to_owned() }
}

/// What a column can be said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "model-file", serde(rename_all = "snake_case"))]
pub enum Wanted {
    /// A quantity.
    Number,
    /// One of a fixed set of levels.
    Category,
    /// Dates or times.
    Date,
    /// A name for each row, generated anew.
    Identifier,
    /// The same cell everywhere.
    Constant,
    /// Not used and not generated.
    LeftOut,
}

/// What one column is said to be; everything but the name may be left to be found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "model-file", serde(default, deny_unknown_fields))]
pub struct Declared {
    /// The column's name.
    pub name: String,
    /// What it holds.
    #[cfg_attr(feature = "model-file", serde(skip_serializing_if = "Option::is_none"))]
    pub kind: Option<Wanted>,
    /// Texts that mean a missing cell in this column, beside the usual ones.
    #[cfg_attr(feature = "model-file", serde(skip_serializing_if = "Vec::is_empty"))]
    pub missing: Vec<String>,
    /// The categories; a cell that is none of them is then refused.
    #[cfg_attr(feature = "model-file", serde(skip_serializing_if = "Vec::is_empty"))]
    pub levels: Vec<String>,
    /// Fewest and most decimals with which numbers are written.
    #[cfg_attr(feature = "model-file", serde(skip_serializing_if = "Option::is_none"))]
    pub decimals: Option<[usize; 2]>,
    /// How dates are written: a pattern such as `%d/%m/%Y`, or `dmy`, `mdy`, `ymd`, `epoch`.
    #[cfg_attr(feature = "model-file", serde(skip_serializing_if = "Option::is_none"))]
    pub format: Option<String>,
}
