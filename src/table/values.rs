//! Reading the cells of one column: numbers as numbers, categories as positions in the list of levels.

use super::number::{Cell, Number, is_mark_among_numbers, read_cell};
use super::schema::{ColumnKind, ColumnSchema, MissingMarks, Schema};
use super::table::Table;
use crate::{Error, Result};
use std::collections::HashMap;

/// The cells of one column, read.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ColumnValues {
    /// Numbers; NaN where a missing cell is admitted. Dates are numbers of months, days or parts of a second.
    Numbers(Vec<f64>),
    /// Whole numbers of a column in which doubles do not hold all of them; none where a missing cell is admitted. Only the
    /// codec asks for these: [`Schema::read`](super::Schema::read) gives the nearest doubles.
    Integers(Vec<Option<i128>>),
    /// Positions in the list of levels.
    Levels(Vec<u32>),
    /// Nothing to read.
    Constant,
}

impl ColumnValues {
    /// The same with whole numbers as the nearest doubles.
    pub(super) fn rounded(self) -> Self {
        match self {
            Self::Integers(values) => {
                Self::Numbers(values.into_iter().map(|value| value.map_or(f64::NAN, |value| value as f64)).collect())
            }
            other => other,
        }
    }
}

impl Schema {
    /// Reads the columns of this schema, by name, from a table; other columns of the table are ignored.
    ///
    /// # Errors
    /// [`Error::Table`] if a column is not there, a cell of a numerical column is no finite number, or a cell of a
    /// categorical column is none of the known levels.
    pub fn read(&self, table: &Table) -> Result<Vec<ColumnValues>> {
        self.columns.iter().map(|column| column.read(table)).collect()
    }
}

impl ColumnSchema {
    /// Reads this column, by name, from a table; see [`Schema::read`].
    ///
    /// # Errors
    /// As [`Schema::read`].
    pub fn read(&self, table: &Table) -> Result<ColumnValues> {
        Ok(self.read_exact(table)?.rounded())
    }

    /// The same, with whole numbers that doubles do not hold as [`ColumnValues::Integers`].
    pub(super) fn read_exact(&self, table: &Table) -> Result<ColumnValues> {
        match table.column(&self.name) {
            Some(cells) => read(self, cells),
            // Identifiers are made, not read.
            None if matches!(self.kind, ColumnKind::Identifier { .. }) => Ok(ColumnValues::Constant),
            None => Err(Error::Table(format!(
                "the table has no column '{}'; it needs all columns of the schema",
                self.name
            ))),
        }
    }
}

/// Reads one column exactly.
fn read(column: &ColumnSchema, cells: &[String]) -> Result<ColumnValues> {
    let name = &column.name;
    match &column.kind {
        ColumnKind::Constant { .. } | ColumnKind::Identifier { .. } => Ok(ColumnValues::Constant),
        ColumnKind::Categorical { levels } => read_levels(name, cells, levels),
        ColumnKind::Numerical { integer, format, missing } => {
            let read = |row: usize, cell: &str| match read_cell(cell) {
                Cell::Number(value) => Ok(Number::Double(format.settle(cell, value))),
                Cell::Integer(value) if *integer => Ok(Number::Integer(value)),
                Cell::Integer(value) => Ok(Number::Double(value as f64)),
                Cell::TooLong => Err(too_long(name, row, cell)),
                Cell::Infinite => Err(infinite(name, row, cell)),
                _ => Err(not_a_number(name, row, cell)),
            };
            read_numbers(name, cells, missing.as_ref(), read)
        }
        ColumnKind::Time { format, missing } => {
            let read = |row: usize, cell: &str| match format.read(cell) {
                Some(value) if value.unsigned_abs() <= 1 << 53 => Ok(Number::Double(value as f64)),
                Some(value) => Ok(Number::Integer(value)),
                None => Err(Error::Table(format!(
                    "row {} of column '{name}' holds '{}' where a date such as {} is needed; correct the cell",
                    row + 1,
                    cell.trim(),
                    format.example()
                ))),
            };
            read_numbers(name, cells, missing.as_ref(), read)
        }
    }
}

/// Numbers as doubles if these hold all of them, else as whole numbers.
fn read_numbers(
    name: &str,
    cells: &[String],
    marks: Option<&MissingMarks>,
    read: impl Fn(usize, &str) -> Result<Number>,
) -> Result<ColumnValues> {
    let mut values = Vec::with_capacity(cells.len());
    let mut exact: Option<Vec<Option<i128>>> = None;
    for (row, cell) in cells.iter().enumerate() {
        let absent = is_mark_among_numbers(cell) || marks.is_some_and(|marks| marks.hold(cell));
        let value = match (absent, marks) {
            (true, Some(_)) => None,
            (true, None) => return Err(missing(name, row)),
            (false, _) => Some(read(row, cell)?),
        };
        match (value, &mut exact) {
            (Some(Number::Integer(value)), None) => {
                let before = values.iter().map(|value: &f64| (!value.is_nan()).then_some(*value as i128));
                exact = Some(before.chain([Some(value)]).collect());
            }
            (value, Some(exact)) => exact.push(value.map(|value| match value {
                Number::Integer(value) => value,
                Number::Double(value) => value as i128,
            })),
            (Some(Number::Double(value)), None) => values.push(value),
            (None, None) => values.push(f64::NAN),
        }
    }
    Ok(exact.map_or(ColumnValues::Numbers(values), ColumnValues::Integers))
}

fn read_levels(name: &str, cells: &[String], levels: &[String]) -> Result<ColumnValues> {
    let exact: HashMap<&str, u32> = levels.iter().zip(0..).map(|(level, index)| (level.as_str(), index)).collect();
    let mut positions = Vec::with_capacity(cells.len());
    for (row, cell) in cells.iter().enumerate() {
        let found = exact.get(cell.as_str()).copied().or_else(|| same_otherwise_written(cell, levels));
        positions.push(match found {
            Some(index) => index,
            None if read_cell(cell) == Cell::Missing => return Err(missing(name, row)),
            None => {
                return Err(Error::Table(format!(
                    "row {} of column '{name}' holds the unknown category '{}'; known are {}; take the \
                     column as numerical, leave it out, or let the rows that tell the categories hold all of them",
                    row + 1,
                    cell.trim(),
                    listed(levels)
                )));
            }
        });
    }
    Ok(ColumnValues::Levels(positions))
}

/// The only level that is this cell but for blanks around it, or the same number, or another mark for missing: other
/// programs may have written the table.
pub(super) fn same_otherwise_written(cell: &str, levels: &[String]) -> Option<u32> {
    let only = |same: &dyn Fn(&str) -> bool| {
        let mut found = levels.iter().zip(0u32..).filter(|(level, _)| same(level)).map(|(_, index)| index);
        found.next().filter(|_| found.next().is_none())
    };
    let value = read_cell(cell);
    only(&|level| level.trim() == cell.trim()).or_else(|| match value {
        Cell::Number(_) | Cell::Integer(_) => only(&|level| read_cell(level) == value),
        Cell::Missing => levels.iter().position(|level| read_cell(level) == Cell::Missing).map(|index| index as u32),
        _ => None,
    })
}

pub(super) fn listed(levels: &[String]) -> String {
    const SHOWN: usize = 12;
    let shown: Vec<&str> = levels.iter().take(SHOWN).map(|level| level.trim()).collect();
    let more = levels.len().saturating_sub(SHOWN);
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

fn missing(name: &str, row: usize) -> Error {
    Error::Table(format!("row {} of column '{name}' is missing; fill the cell or delete the row", row + 1))
}

pub(super) fn not_a_number(name: &str, row: usize, cell: &str) -> Error {
    Error::Table(format!(
        "row {} of column '{name}' holds the text '{}' where a number is needed; correct the cell, name it in \
         `missing_marks` if it means a missing one, or name the column in `categorical`",
        row + 1,
        cell.trim()
    ))
}

pub(super) fn infinite(name: &str, row: usize, cell: &str) -> Error {
    Error::Table(format!(
        "row {} of column '{name}' is not a finite number ('{}'); correct the cell, delete the row, name it in \
         `missing_marks` if it means a missing one, or leave the column out by `drop`",
        row + 1,
        cell.trim()
    ))
}

pub(super) fn too_long(name: &str, row: usize, cell: &str) -> Error {
    Error::Table(format!(
        "row {} of column '{name}' is a whole number beyond 64 bits ('{}'); name the column in `categorical` or \
         `identifier`, or leave it out by `drop`",
        row + 1,
        cell.trim()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::schema::SchemaOptions;

    fn table(columns: &[(&str, &[&str])]) -> Table {
        Table::new(
            columns.iter().map(|(name, _)| (*name).to_owned()).collect(),
            columns.iter().map(|(_, cells)| cells.iter().map(|cell| (*cell).to_owned()).collect()).collect(),
        )
        .unwrap()
    }

    #[test]
    fn another_table_is_read_by_the_same_schema() {
        let train =
            table(&[("c", &["1", "2", "1", "2"]), ("v", &["1.5", "2", "3", "4"]), ("k", &["u", "u", "u", "u"])]);
        let schema = Schema::infer(&train, &SchemaOptions::default()).unwrap();
        let good = table(&[("v", &["9"]), ("k", &["w"]), ("more", &["?"]), ("c", &[" 2.0 "])]);
        let read = schema.read(&good).unwrap();
        assert_eq!(read, [ColumnValues::Levels(vec![1]), ColumnValues::Numbers(vec![9.0]), ColumnValues::Constant]);
        let fails = |columns: &[(&str, &[&str])]| schema.read(&table(columns)).unwrap_err().to_string();
        assert!(fails(&[("v", &["1"]), ("k", &["u"])]).contains("no column 'c'"));
        let unknown = fails(&[("c", &["1", "3"]), ("v", &["1", "1"]), ("k", &["u", "u"])]);
        assert!(unknown.contains("row 2 of column 'c' holds the unknown category '3'; known are 1, 2"), "{unknown}");
        assert!(fails(&[("c", &["1"]), ("v", &["x"]), ("k", &["u"])]).contains("the text 'x'"));
        assert!(fails(&[("c", &["1"]), ("v", &[""]), ("k", &["u"])]).contains("is missing"));
    }
}
