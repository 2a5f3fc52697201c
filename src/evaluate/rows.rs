//! The three tables of a comparison as numbers and level positions under one layout.

use crate::table::number::{Cell, NumberFormat, read_cell};
use crate::table::{ColumnKind, ColumnSchema, ColumnValues, Schema, Table};
use crate::{Error, Result};

/// Which columns are compared and how: numerical ones first, then categorical ones.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub numbers: Vec<ColumnSchema>,
    pub categories: Vec<ColumnSchema>,
    /// Number of levels of each categorical column.
    pub sizes: Vec<usize>,
    /// The table's order: for each column whether it is numerical, and its position among its kind.
    pub order: Vec<(bool, usize)>,
}

/// The rows of one table, column by column.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    pub count: usize,
    /// Numerical columns, rounded to single precision.
    pub numbers: Vec<Vec<f64>>,
    /// Categorical columns as positions among the training table's levels.
    pub levels: Vec<Vec<u32>>,
}

impl Layout {
    /// Splits a schema by kind. Constants become what their cell is, so that a synthetic table may differ in them.
    pub fn of(schema: &Schema) -> Self {
        let (mut numbers, mut categories, mut sizes, mut order) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for column in &schema.columns {
            let kind = match &column.kind {
                // New names are no better or worse than others.
                ColumnKind::Identifier { .. } => continue,
                ColumnKind::Time { format, .. } => ColumnKind::Time { format: format.clone(), missing: None },
                ColumnKind::Constant { value } => match read_cell(value) {
                    Cell::Number(number) => ColumnKind::Numerical {
                        integer: number.fract() == 0.0,
                        format: NumberFormat::of([value.as_str()]),
                        missing: None,
                    },
                    _ => ColumnKind::Categorical { levels: vec![value.clone()] },
                },
                ColumnKind::Numerical { integer, format, .. } => {
                    ColumnKind::Numerical { integer: *integer, format: *format, missing: None }
                }
                other => other.clone(),
            };
            let list = match &kind {
                ColumnKind::Categorical { levels } => {
                    sizes.push(levels.len());
                    &mut categories
                }
                _ => &mut numbers,
            };
            order.push((!matches!(kind, ColumnKind::Categorical { .. }), list.len()));
            list.push(ColumnSchema { name: column.name.clone(), kind });
        }
        Self { numbers, categories, sizes, order }
    }

    pub fn read(&self, table: &Table, which: &str) -> Result<Rows> {
        let read = |column: &ColumnSchema| {
            column.read(table).map_err(|error| Error::Table(format!("in the {which} table, {error}")))
        };
        let mut rows = Rows { count: table.rows(), numbers: Vec::new(), levels: Vec::new() };
        for column in &self.numbers {
            if let ColumnValues::Numbers(values) = read(column)? {
                let single: Vec<f64> = values.iter().map(|&value| f64::from(value as f32)).collect();
                if let Some(row) = single.iter().position(|value| !value.is_finite()) {
                    return Err(Error::Table(format!(
                        "in the {which} table, row {} of column '{}' is too large to compare in single precision; rescale the column or leave it out with --drop {}",
                        row + 1,
                        column.name,
                        column.name
                    )));
                }
                rows.numbers.push(single);
            }
        }
        for column in &self.categories {
            if let ColumnValues::Levels(levels) = read(column)? {
                rows.levels.push(levels);
            }
        }
        Ok(rows)
    }

    /// Columns of the one-hot form: one per number and one per level.
    pub fn width(&self) -> usize {
        self.numbers.len() + self.sizes.iter().sum::<usize>()
    }
}

impl Rows {
    /// The rows at these positions.
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            count: rows.len(),
            numbers: self.numbers.iter().map(|column| rows.iter().map(|&row| column[row]).collect()).collect(),
            levels: self.levels.iter().map(|column| rows.iter().map(|&row| column[row]).collect()).collect(),
        }
    }

    /// Smallest value and span of every numerical column.
    pub fn ranges(&self) -> Vec<(f64, f64)> {
        self.numbers
            .iter()
            .map(|column| {
                let low = column.iter().copied().fold(f64::INFINITY, f64::min);
                let high = column.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                (low, high - low)
            })
            .collect()
    }
}
