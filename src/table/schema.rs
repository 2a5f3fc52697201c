//! What the columns of a table are: numbers, categories or a constant, found by looking or said by the user.

use super::Table;
use super::number::{Cell, NumberFormat, is_digit_code, read_cell};
use super::values::{ColumnValues, LevelKey, infinite, levels_are_numbers, not_a_number, read_levels, read_numbers};
use crate::{Error, Result};
use std::collections::HashMap;

/// Most distinct numbers that a column may hold and still be taken for a set of codes rather than a quantity.
const MOST_CODES: usize = 20;
/// A column of codes has at least this many rows per code; with fewer the numbers are taken for a quantity.
const ROWS_PER_CODE: usize = 10;
/// A text column whose cells all differ is taken for an identifier from this many rows on.
const IDENTIFIER_ROWS: usize = 50;

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
        /// How a missing cell is written, where [`Missing::Level`] admitted some.
        missing: Option<String>,
    },
    /// One of a fixed set of levels.
    Categorical {
        /// The levels as they are written, in numeric order if all are numbers and in alphabetical order otherwise. Of
        /// several spellings of one number (`1`, `1.0`) the most frequent stands.
        levels: Vec<String>,
    },
    /// The same cell in every row. It carries no information; it is written back as it was.
    Constant {
        /// The cell.
        value: String,
    },
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

/// What to do with missing cells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Missing {
    /// Refuse the table and name the first such cell.
    #[default]
    Fail,
    /// Make missing a level of a categorical column, and give a numerical column an indicator of its own that says
    /// whether the cell is filled.
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
    /// What to do with missing cells.
    pub missing: Missing,
}

/// The columns of a table that are in use, in the table's order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub struct Schema {
    /// One entry per column.
    pub columns: Vec<ColumnSchema>,
}

impl Schema {
    /// Looks at a table and says what its columns are.
    ///
    /// The rules, in order: a column whose cells are all the same is constant; a column the user named is what the user
    /// said; a column with any text in it is categorical; a column of numbers is categorical if it has at most 20
    /// distinct values and at least ten rows for each of them (two distinct values are categorical from four rows on),
    /// and numerical otherwise.
    ///
    /// # Errors
    /// [`Error::Table`], one sentence naming row (counted from 1, without the header) and column, if the table has fewer
    /// than two rows, a column is named that it does not have, no column is left, a column is empty, a cell is missing
    /// (unless admitted) or infinite, a cell of a numerical column is text, a column of numbers holds a stray text, or a
    /// text column differs in every row and so looks like an identifier.
    pub fn infer(table: &Table, options: &SchemaOptions) -> Result<Self> {
        options.check(table)?;
        match table.rows() {
            0 => {
                return Err(Error::Table("the table has no rows; give at least two".into()));
            }
            1 => {
                return Err(Error::Table("the table has only one row; give at least two".into()));
            }
            _ => {}
        }
        let mut columns = Vec::new();
        for (name, cells) in table.names().iter().zip(table.columns()) {
            if !options.drop.contains(name) {
                let kind = infer_kind(name, cells, options)?;
                columns.push(ColumnSchema { name: name.clone(), kind });
            }
        }
        if columns.is_empty() {
            return Err(Error::Table("every column is dropped; keep at least one".into()));
        }
        Ok(Self { columns })
    }

    /// Reads the columns of this schema, by name, from a table; other columns of the table are ignored.
    ///
    /// # Errors
    /// [`Error::Table`] if a column is not there, a cell of a numerical column is no finite number, or a cell of a
    /// categorical column is none of the known levels.
    pub fn read(&self, table: &Table) -> Result<Vec<ColumnValues>> {
        self.columns.iter().map(|column| column.read(table)).collect()
    }

    /// How many columns are numerical.
    pub fn numerical(&self) -> usize {
        self.columns.iter().filter(|c| matches!(c.kind, ColumnKind::Numerical { .. })).count()
    }

    /// How many columns are categorical.
    pub fn categorical(&self) -> usize {
        self.columns.iter().filter(|c| matches!(c.kind, ColumnKind::Categorical { .. })).count()
    }
}

impl SchemaOptions {
    fn check(&self, table: &Table) -> Result<()> {
        let lists = [("categorical", &self.categorical), ("numerical", &self.numerical), ("drop", &self.drop)];
        for (position, (option, names)) in lists.iter().enumerate() {
            for name in names.iter() {
                if !table.names().contains(name) {
                    return Err(Error::Table(format!(
                        "--{option} names a column '{name}', which the table does not have; its columns are {}",
                        table.names().join(", ")
                    )));
                }
                if let Some((other, _)) = lists[..position].iter().find(|(_, names)| names.contains(name)) {
                    return Err(Error::Table(format!(
                        "column '{name}' is named both in --{other} and in --{option}; name it once"
                    )));
                }
            }
        }
        Ok(())
    }
}

impl ColumnSchema {
    /// Reads this column, by name, from a table; see [`Schema::read`].
    ///
    /// # Errors
    /// As [`Schema::read`].
    pub fn read(&self, table: &Table) -> Result<ColumnValues> {
        let cells = table.column(&self.name).ok_or_else(|| {
            Error::Table(format!("the table has no column '{}'; it needs all columns of the schema", self.name))
        })?;
        match &self.kind {
            ColumnKind::Constant { .. } => Ok(ColumnValues::Constant),
            ColumnKind::Numerical { missing, .. } => read_numbers(&self.name, cells, missing.is_some()),
            ColumnKind::Categorical { levels } => read_levels(&self.name, cells, levels),
        }
    }
}

fn infer_kind(name: &str, cells: &[String], options: &SchemaOptions) -> Result<ColumnKind> {
    let read: Vec<Cell> = cells.iter().map(|cell| read_cell(cell)).collect();
    if read.iter().all(|cell| *cell == Cell::Missing) {
        return Err(Error::Table(format!(
            "column '{name}' is empty in every row; fill it or leave it out with --drop {name}"
        )));
    }
    let first_missing = read.iter().position(|cell| *cell == Cell::Missing);
    if let (Some(row), Missing::Fail) = (first_missing, options.missing) {
        let mark = cells[row].trim();
        let shown = if mark.is_empty() { String::new() } else { format!(" ('{mark}')") };
        return Err(Error::Table(format!(
            "row {} of column '{name}' is missing{shown}; fill the cell, delete the row, leave the column out with --drop {name}, or fit with --missing level",
            row + 1
        )));
    }
    if cells.iter().all(|cell| *cell == cells[0]) && read[0] != Cell::Infinite {
        return Ok(ColumnKind::Constant { value: cells[0].clone() });
    }
    let named = |list: &[String]| list.iter().any(|own| own == name);
    if named(&options.categorical) {
        return Ok(categorical(cells, &read));
    }
    let declared = named(&options.numerical);
    let texts = read.iter().filter(|cell| **cell == Cell::Text).count();
    let numbers = read.iter().filter(|cell| matches!(cell, Cell::Number(_))).count();
    if !declared && (texts > 0 || cells.iter().any(|cell| is_digit_code(cell))) {
        return text_column(name, cells, &read, texts, numbers);
    }
    for (row, cell) in read.iter().enumerate() {
        match cell {
            Cell::Text => return Err(not_a_number(name, row, &cells[row])),
            Cell::Infinite => return Err(infinite(name, row, &cells[row])),
            _ => {}
        }
    }
    let mut values: Vec<f64> = read.iter().filter_map(as_number).collect();
    let integer = values.iter().all(|value| value.fract() == 0.0);
    values.sort_unstable_by(f64::total_cmp);
    values.dedup();
    let distinct = values.len();
    let few = distinct <= MOST_CODES && distinct * ROWS_PER_CODE <= numbers;
    let two = distinct <= 2 && numbers >= 4;
    if !declared && (few || two) {
        return Ok(categorical(cells, &read));
    }
    let filled = cells.iter().zip(&read).filter(|(_, cell)| **cell != Cell::Missing);
    Ok(ColumnKind::Numerical {
        integer,
        format: NumberFormat::of(filled.map(|(cell, _)| cell.as_str())),
        missing: first_missing.map(|row| cells[row].clone()),
    })
}

fn text_column(name: &str, cells: &[String], read: &[Cell], texts: usize, numbers: usize) -> Result<ColumnKind> {
    if texts > 0 && texts * 10 <= numbers {
        let mut values: Vec<f64> = read.iter().filter_map(as_number).collect();
        values.sort_unstable_by(f64::total_cmp);
        values.dedup();
        if values.len() > MOST_CODES {
            let row = read.iter().position(|cell| *cell == Cell::Text).unwrap_or(0);
            return Err(not_a_number(name, row, &cells[row]));
        }
    }
    let kind = categorical(cells, read);
    if let ColumnKind::Categorical { levels } = &kind
        && levels.len() == cells.len()
        && cells.len() >= IDENTIFIER_ROWS
    {
        return Err(Error::Table(format!(
            "column '{name}' holds a different text in every row, as an identifier does; leave it out with --drop {name} or insist with --categorical {name}"
        )));
    }
    Ok(kind)
}

fn as_number(cell: &Cell) -> Option<f64> {
    match cell {
        Cell::Number(value) => Some(*value),
        _ => None,
    }
}

/// Collects the levels of a column. Cells that are the same number are one level if the whole column is numbers.
fn categorical(cells: &[String], read: &[Cell]) -> ColumnKind {
    let by_value = levels_are_numbers(
        cells.iter().zip(read).filter(|(_, cell)| **cell != Cell::Missing).map(|(cell, _)| cell.as_str()),
    );
    let mut spellings: HashMap<&str, usize> = HashMap::new();
    for cell in cells {
        *spellings.entry(cell.as_str()).or_default() += 1;
    }
    // Ordered by key, and within a key by falling frequency: the first of each key is its canonical spelling.
    let mut ordered: Vec<(LevelKey, usize, &str)> =
        spellings.into_iter().map(|(spelling, count)| (LevelKey::of(spelling, by_value), count, spelling)).collect();
    ordered.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)).then(a.2.cmp(b.2)));
    ordered.dedup_by(|next, kept| next.0 == kept.0);
    ColumnKind::Categorical { levels: ordered.into_iter().map(|(_, _, spelling)| spelling.to_owned()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[(&str, &[&str])]) -> Table {
        Table::new(
            columns.iter().map(|(name, _)| (*name).to_owned()).collect(),
            columns.iter().map(|(_, cells)| cells.iter().map(|cell| (*cell).to_owned()).collect()).collect(),
        )
        .unwrap()
    }

    fn one(cells: &[&str], options: &SchemaOptions) -> Result<ColumnKind> {
        Schema::infer(&table(&[("x", cells)]), options).map(|schema| schema.columns[0].kind.clone())
    }

    fn sentence(cells: &[&str], options: &SchemaOptions) -> String {
        one(cells, options).unwrap_err().to_string()
    }

    fn named(kind: &str) -> SchemaOptions {
        let mut options = SchemaOptions::default();
        match kind {
            "categorical" => options.categorical.push("x".into()),
            "numerical" => options.numerical.push("x".into()),
            _ => options.drop.push("x".into()),
        }
        options
    }

    #[test]
    fn kinds_are_found() {
        let found = |cells: &[&str]| one(cells, &SchemaOptions::default()).unwrap();
        let ColumnKind::Numerical { integer, format, .. } = found(&["20000", "5.00E+05", "30000"]) else { panic!() };
        assert!(integer);
        assert_eq!(format.write(500_000.0), "500000");
        assert!(matches!(found(&["0.5", "1", "2"]), ColumnKind::Numerical { integer: false, .. }));
        assert!(matches!(found(&["7", "7", "7"]), ColumnKind::Constant { .. }));
        let levels = |cells: &[&str]| match found(cells) {
            ColumnKind::Categorical { levels } => levels,
            other => panic!("{other:?}"),
        };
        assert_eq!(levels(&["no", "yes", "no", "Maybe"]), ["Maybe", "no", "yes"]);
        assert_eq!(levels(&["10", "-2", "-2.0", "10"]), ["-2", "10"], "numeric order, one spelling per number");
        assert_eq!(levels(&["01", "1", "01", "1"]), ["01", "1"], "leading zeros make a code");
        let codes: Vec<String> = (0..200).map(|i| (i % 20 - 5).to_string()).collect();
        let codes: Vec<&str> = codes.iter().map(String::as_str).collect();
        let sorted = levels(&codes);
        assert_eq!(sorted.len(), 20);
        assert!(sorted.windows(2).all(|pair| pair[0].parse::<i32>().unwrap() < pair[1].parse().unwrap()));
        assert!(matches!(found(&codes[1..]), ColumnKind::Numerical { .. }), "fewer than ten rows per code");
    }

    #[test]
    fn the_user_overrides() {
        let cells = ["1", "2", "1", "2", "3"];
        assert!(matches!(one(&cells, &named("categorical")).unwrap(), ColumnKind::Categorical { .. }));
        assert!(matches!(one(&["1", "0", "1", "0"], &named("numerical")).unwrap(), ColumnKind::Numerical { .. }));
        assert!(sentence(&["1", "x", "3"], &named("numerical")).contains("row 2 of column 'x' holds the text 'x'"));
        assert!(sentence(&cells, &named("drop")).contains("every column is dropped"));
        let mut both = named("categorical");
        both.numerical.push("x".into());
        assert!(sentence(&cells, &both).contains("both in --categorical and in --numerical"));
        let unknown = SchemaOptions { drop: vec!["ID".into()], ..Default::default() };
        assert!(sentence(&cells, &unknown).contains("'ID', which the table does not have; its columns are x"));
    }

    #[test]
    fn bad_tables_are_refused_in_a_sentence() {
        let bad = |cells: &[&str]| sentence(cells, &SchemaOptions::default());
        assert!(bad(&[]).contains("no rows"));
        assert!(bad(&["1"]).contains("only one row"));
        assert!(bad(&["", "", ""]).contains("column 'x' is empty in every row"));
        assert!(bad(&["1", "2", "", "4"]).contains("row 3 of column 'x' is missing"));
        assert!(bad(&["1", "2", "NaN", "4"]).contains("row 3 of column 'x' is missing ('NaN')"));
        assert!(bad(&["a", "b", "", "a"]).contains("row 3 of column 'x' is missing"));
        assert!(bad(&["1", "inf", "3", "4"]).contains("row 2 of column 'x' is not a finite number ('inf')"));
        let mut stray: Vec<String> = (0..300).map(|i| i.to_string()).collect();
        stray[41] = "12,5".into();
        let stray: Vec<&str> = stray.iter().map(String::as_str).collect();
        assert!(bad(&stray).contains("row 42 of column 'x' holds the text '12,5'"));
        let names: Vec<String> = (0..60).map(|i| format!("person {i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(bad(&names).contains("different text in every row"));
        assert!(one(&names, &named("categorical")).is_ok());
    }

    #[test]
    fn missing_cells_can_be_levels() {
        let options = SchemaOptions { missing: Missing::Level, ..Default::default() };
        let ColumnKind::Categorical { levels } = one(&["a", "", "b", "NA"], &options).unwrap() else { panic!() };
        assert_eq!(levels, ["", "a", "b"]);
        let ColumnKind::Numerical { missing, .. } = one(&["1", "", "2.5", "3"], &options).unwrap() else { panic!() };
        assert_eq!(missing.as_deref(), Some(""));
        assert!(sentence(&["", " ", ""], &options).contains("empty in every row"));
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
