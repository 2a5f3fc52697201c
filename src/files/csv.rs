//! Tables as CSV files.

use std::path::Path;

use super::output::PendingFile;
use crate::table::Table;
use crate::{Error, Result};

/// Reads a table with a header line.
///
/// # Errors
/// [`Error::Table`] with the file's name if it cannot be read, is no table, or has ragged rows.
pub fn read(path: &Path) -> Result<Table> {
    let fail = |what: String| Error::Table(format!("cannot read {}: {what}", path.display()));
    let mut reader = csv::Reader::from_path(path).map_err(|e| fail(e.to_string()))?;
    let names: Vec<String> = reader.headers().map_err(|e| fail(e.to_string()))?.iter().map(str::to_owned).collect();
    let mut columns = vec![Vec::new(); names.len()];
    for record in reader.records() {
        let record = record.map_err(|e| fail(e.to_string()))?;
        for (column, cell) in columns.iter_mut().zip(&record) {
            column.push(cell.to_owned());
        }
    }
    Table::new(names, columns)
}

/// Writes a table with a header line.
///
/// # Errors
/// [`Error::Table`] with the file's name if it cannot be written.
pub fn write(file: PendingFile, path: &Path, table: &Table) -> Result<()> {
    let written = file.finish(|w| {
        let mut writer = csv::Writer::from_writer(w);
        writer.write_record(table.names())?;
        for row in 0..table.rows() {
            writer.write_record(table.columns().iter().map(|c| &c[row]))?;
        }
        writer.flush()
    });
    written.map_err(|e| Error::Table(format!("cannot write {}: {e}", path.display())))
}
