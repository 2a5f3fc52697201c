//! Reading the cells of one column: numbers as numbers, categories as positions in the list of levels.

use super::number::{Cell, is_digit_code, read_cell};
use crate::{Error, Result};
use std::collections::HashMap;

/// The cells of one column, read.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnValues {
    /// Numbers; NaN where a missing cell is admitted.
    Numbers(Vec<f64>),
    /// Positions in the list of levels.
    Levels(Vec<u32>),
    /// Nothing to read.
    Constant,
}

/// Whether all these texts are numbers that lose nothing by being read as such.
pub(super) fn levels_are_numbers<'a>(mut levels: impl Iterator<Item = &'a str>) -> bool {
    levels.all(|level| matches!(read_cell(level), Cell::Number(_)) && !is_digit_code(level))
}

/// What makes two cells of a categorical column the same level. Missing comes first in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum LevelKey<'a> {
    Missing,
    Number(u64),
    Text(&'a str),
}

impl<'a> LevelKey<'a> {
    pub(super) fn of(cell: &'a str, by_value: bool) -> Self {
        match read_cell(cell) {
            Cell::Missing => Self::Missing,
            Cell::Number(value) if by_value => {
                // The bits of a double in an order that agrees with the numbers' own.
                let bits = value.to_bits();
                Self::Number(if value < 0.0 { !bits } else { bits | (1 << 63) })
            }
            _ => Self::Text(cell.trim()),
        }
    }
}

pub(super) fn read_levels(name: &str, cells: &[String], levels: &[String]) -> Result<ColumnValues> {
    let filled = levels.iter().map(String::as_str).filter(|level| read_cell(level) != Cell::Missing);
    let by_value = levels_are_numbers(filled);
    let exact: HashMap<&str, u32> = levels.iter().zip(0..).map(|(level, index)| (level.as_str(), index)).collect();
    let keys: HashMap<LevelKey, u32> =
        levels.iter().zip(0..).map(|(level, index)| (LevelKey::of(level, by_value), index)).collect();
    let mut positions = Vec::with_capacity(cells.len());
    for (row, cell) in cells.iter().enumerate() {
        let found = exact.get(cell.as_str()).or_else(|| keys.get(&LevelKey::of(cell, by_value)));
        match found {
            Some(&index) => positions.push(index),
            None if read_cell(cell) == Cell::Missing => {
                return Err(Error::Table(format!(
                    "row {} of column '{name}' is missing; fill the cell or delete the row",
                    row + 1
                )));
            }
            None => {
                return Err(Error::Table(format!(
                    "row {} of column '{name}' holds the unknown category '{}'; known are {}; take the \
                     column as numerical, leave it out, or let the rows that tell the categories hold all of them",
                    row + 1,
                    cell.trim(),
                    listed(levels)
                )));
            }
        }
    }
    Ok(ColumnValues::Levels(positions))
}

fn listed(levels: &[String]) -> String {
    const SHOWN: usize = 12;
    let shown: Vec<&str> = levels.iter().take(SHOWN).map(|level| level.trim()).collect();
    let more = levels.len().saturating_sub(SHOWN);
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

pub(super) fn read_numbers(name: &str, cells: &[String], missing: bool) -> Result<ColumnValues> {
    let mut values = Vec::with_capacity(cells.len());
    for (row, cell) in cells.iter().enumerate() {
        values.push(match read_cell(cell) {
            Cell::Number(value) => value,
            Cell::Missing if missing => f64::NAN,
            Cell::Missing => {
                return Err(Error::Table(format!(
                    "row {} of column '{name}' is missing; fill the cell or delete the row",
                    row + 1
                )));
            }
            Cell::Infinite => return Err(infinite(name, row, cell)),
            Cell::Text => return Err(not_a_number(name, row, cell)),
        });
    }
    Ok(ColumnValues::Numbers(values))
}

pub(super) fn not_a_number(name: &str, row: usize, cell: &str) -> Error {
    Error::Table(format!(
        "row {} of column '{name}' holds the text '{}' where a number is needed; correct the cell or declare the column with --categorical {name}",
        row + 1,
        cell.trim()
    ))
}

pub(super) fn infinite(name: &str, row: usize, cell: &str) -> Error {
    Error::Table(format!(
        "row {} of column '{name}' is not a finite number ('{}'); correct the cell, delete the row, or leave the column out with --drop {name}",
        row + 1,
        cell.trim()
    ))
}
