//! Tables as CSV files: commas between cells, a header line with the names of the columns.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use csv::{ReaderBuilder, StringRecord, Writer};

use super::output::PendingFile;
use crate::table::Table;
use crate::table::number::{Cell, read_cell};
use crate::{Error, Result};

/// Reads a table with a header line. Rows are counted from 1, without the header.
///
/// # Errors
/// [`Error::Table`], one sentence with the file's name, if the file cannot be read, is not a table (not text, empty, no
/// header line, cells not separated by commas), or has a row with more or fewer cells than there are columns.
pub fn read(path: &Path) -> Result<Table> {
    let fail = |what: &str| Error::Table(format!("cannot read {}: {what}", path.display()));
    let file = File::open(path).map_err(|e| match e.kind() {
        ErrorKind::NotFound => fail("there is no such file"),
        ErrorKind::PermissionDenied => fail("permission is denied"),
        _ => fail(&e.to_string()),
    })?;
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err(fail("it is a folder; give a CSV file"));
    }
    let mut reader = ReaderBuilder::new().flexible(true).from_reader(file);
    let header = reader.headers().map_err(|e| fail(&reading(&e, 0)))?.clone();
    let names = names(&header).map_err(|what| fail(&what))?;
    let mut columns = vec![Vec::new(); names.len()];
    let mut record = StringRecord::new();
    let mut row = 0;
    while reader.read_record(&mut record).map_err(|e| fail(&reading(&e, row + 1)))? {
        row += 1;
        if record.len() != names.len() {
            let (found, expected) = (record.len(), names.len());
            return Err(fail(&format!("row {row} has {found} cells where the header line names {expected} columns")));
        }
        for (column, cell) in columns.iter_mut().zip(&record) {
            column.push(cell.to_owned());
        }
    }
    Table::new(names, columns).map_err(|e| fail(&e.to_string()))
}

/// Writes a table with a header line.
///
/// # Errors
/// [`Error::Table`] with the file's name if it cannot be written.
pub fn write(file: PendingFile, path: &Path, table: &Table) -> Result<()> {
    let written = file.finish(|w| {
        let mut writer = Writer::from_writer(w);
        writer.write_record(table.names())?;
        for row in 0..table.rows() {
            writer.write_record(table.columns().iter().map(|c| &c[row]))?;
        }
        writer.flush()
    });
    written.map_err(|e| Error::Table(format!("cannot write {}: {e}", path.display())))
}

/// The column names of a header line, or what is wrong with it.
fn names(header: &StringRecord) -> std::result::Result<Vec<String>, String> {
    let cells = || header.iter().map(|name| name.trim_matches(|c: char| c == '\u{feff}' || c.is_whitespace()));
    if cells().all(str::is_empty) {
        return Err("it is empty; give a table with a header line".into());
    }
    if header.iter().any(|name| name.contains('\0')) {
        return Err("it is not a table but binary data; give a CSV file".into());
    }
    if header.len() == 1 && header[0].contains([';', '\t', '|']) {
        return Err("its header line has no commas; separate the cells with commas".into());
    }
    if let Some(position) = cells().position(str::is_empty) {
        return Err(format!("column {} has no name; name it in the header line", position + 1));
    }
    // Plain positions are what some programs write as names; any other line of numbers is data.
    let numbers = cells().all(|name| matches!(read_cell(name), Cell::Number(_)));
    let positions = cells().enumerate().all(|(position, name)| name == position.to_string());
    if numbers && !positions {
        return Err("its first line holds numbers only; give it a header line with the names of the columns".into());
    }
    Ok(cells().map(str::to_owned).collect())
}

/// What went wrong in reading, in words.
fn reading(error: &csv::Error, row: usize) -> String {
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } if row == 0 => "it is not a table but binary data; give a CSV file".into(),
        csv::ErrorKind::Utf8 { .. } => format!("row {row} is not UTF-8 text; convert the file to UTF-8"),
        csv::ErrorKind::Io(e) => e.to_string(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_bytes(bytes: &[u8]) -> Result<Table> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.csv");
        std::fs::write(&path, bytes).unwrap();
        read(&path)
    }

    fn sentence(bytes: &[u8]) -> String {
        read_bytes(bytes).unwrap_err().to_string()
    }

    #[test]
    fn tables_are_read() {
        let table = read_bytes(b"\xef\xbb\xbfa, b \r\n1,\"x, y\"\r\n2,\r\n").unwrap();
        assert_eq!(table.names(), ["a", "b"]);
        assert_eq!(table.columns(), [["1", "2"], ["x, y", ""]]);
        assert_eq!(read_bytes(b" \x0b\xef\xbb\xbfa \n1\n").unwrap().names(), ["a"]);
        assert_eq!(read_bytes(b"0,1\n5,6\n").unwrap().names(), ["0", "1"]);
        assert_eq!(read_bytes(b"a,b\n").unwrap().rows(), 0);
    }

    #[test]
    fn what_is_no_table_is_refused_in_a_sentence() {
        assert!(sentence(b"a,b\n1,2\n3\n").contains("row 2 has 1 cells where the header line names 2 columns"));
        assert!(sentence(b"a,b\n1,2,3\n").contains("row 1 has 3 cells"));
        assert!(sentence(b"").contains("it is empty"));
        assert!(sentence(b"\n\n").contains("it is empty"));
        assert!(sentence(b"\x89PNG\r\n\x1a\n\x00\x00\xff").contains("binary data"));
        assert!(sentence(b"PK\x03\x04\x00\x00").contains("binary data"));
        assert!(sentence(b"a,b\n1,\xff\xfe\n").contains("row 1 is not UTF-8"));
        assert!(sentence(b"a;b\n1;2\n").contains("separate the cells with commas"));
        assert!(sentence(b"1.5,2\n3,4\n").contains("header line"));
        assert!(sentence(b",b\n3,4\n").contains("column 1 has no name"));
        assert!(sentence(b"a,a\n3,4\n").contains("two columns are called 'a'"));
        let folder = tempfile::tempdir().unwrap();
        let missing = read(&folder.path().join("none.csv")).unwrap_err().to_string();
        assert!(missing.contains("none.csv: there is no such file"), "{missing}");
        assert!(read(folder.path()).unwrap_err().to_string().contains("it is a folder"));
    }

    #[test]
    fn what_is_written_reads_back() {
        let table = read_bytes(b"a,b\n1,\"x, \"\"y\"\"\"\n2.50,z\n").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.csv");
        write(PendingFile::create(&path).unwrap(), &path, &table).unwrap();
        assert_eq!(read(&path).unwrap(), table);
    }
}
