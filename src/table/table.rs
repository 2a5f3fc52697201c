//! A table as it was written: named columns of text.

use crate::{Error, Result};
use std::collections::HashSet;

/// A table as it was written: column names, and for each column its cells as text.
///
/// Every column has the same number of cells, the names differ from each other, and there is at least one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    names: Vec<String>,
    columns: Vec<Vec<String>>,
    rows: usize,
}

impl Table {
    /// Puts a table together from its column names and, in the same order, the cells of each column.
    ///
    /// # Errors
    /// [`Error::Table`] if there is no column, if names and columns differ in number, if two columns share a name, or if
    /// the columns differ in length.
    pub fn new(names: Vec<String>, columns: Vec<Vec<String>>) -> Result<Self> {
        if names.is_empty() {
            return Err(Error::Table("the table has no columns; give at least one".into()));
        }
        if names.len() != columns.len() {
            return Err(Error::Table(format!(
                "the table has {} column names but {} columns; give one name per column",
                names.len(),
                columns.len()
            )));
        }
        let mut seen = HashSet::new();
        if let Some(name) = names.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(Error::Table(format!("two columns are called '{name}'; give every column a name of its own")));
        }
        let rows = columns[0].len();
        if let Some(odd) = columns.iter().position(|column| column.len() != rows) {
            return Err(Error::Table(format!(
                "column '{}' has {} cells but column '{}' has {rows}; give every column the same number",
                names[odd],
                columns[odd].len(),
                names[0]
            )));
        }
        Ok(Self { names, columns, rows })
    }

    /// Column names, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The cells of every column, in the order of [`Table::names`].
    pub fn columns(&self) -> &[Vec<String>] {
        &self.columns
    }

    /// The cells of the column with this name.
    pub fn column(&self, name: &str) -> Option<&[String]> {
        let index = self.names.iter().position(|own| own == name)?;
        Some(&self.columns[index])
    }

    /// The rows with these indices, in this order.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn select(&self, rows: &[usize]) -> Self {
        let pick = |cells: &Vec<String>| rows.iter().map(|&row| cells[row].clone()).collect();
        Self { names: self.names.clone(), columns: self.columns.iter().map(pick).collect(), rows: rows.len() }
    }

    /// Tables with the same columns, one under the other.
    ///
    /// # Errors
    /// [`Error::Table`] if there is none or their columns differ.
    pub fn stack(parts: Vec<Self>) -> Result<Self> {
        let mut parts = parts.into_iter();
        let mut all = parts.next().ok_or_else(|| Error::Table("there is no table to put together".into()))?;
        for part in parts {
            if part.names != all.names {
                return Err(Error::Table("tables with different columns cannot be put together".into()));
            }
            all.columns.iter_mut().zip(part.columns).for_each(|(all, more)| all.extend(more));
            all.rows += part.rows;
        }
        Ok(all)
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }
}
