//! Tables as CSV files: cells between commas or other delimiters, a header line with the names of the columns.

use std::io::ErrorKind;
use std::path::Path;

use csv::{QuoteStyle, ReaderBuilder, StringRecord, WriterBuilder};

use super::output::PendingFile;
use super::{dialect, input};
use crate::table::Table;
use crate::{Error, Result};

/// Whether the first line holds the names of the columns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Header {
    /// It does; a file whose first line looks like data is refused.
    #[default]
    Expected,
    /// It does, whatever it looks like.
    Present,
    /// It does not; the columns are called c1, c2 and so on.
    Absent,
}

/// How a file is to be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// What stands between cells; found by looking where nothing is given.
    pub delimiter: Option<u8>,
    /// Whether the first line holds names.
    pub header: Header,
}

/// Reads a table with a header line, plain or compressed with gzip; `-` is standard input. Rows are counted from 1, without
/// the header.
///
/// # Errors
/// As [`read_with`].
pub fn read(path: &Path) -> Result<Table> {
    read_with(path, &ReadOptions::default()).map(|(table, _)| table)
}

/// Reads a table, and says what was done to the file on the way: which delimiter was found, from which encoding it was
/// converted, how many blank lines were skipped.
///
/// # Errors
/// [`Error::Table`], one sentence with the file's name, if the file cannot be read, is not a table (not text, empty, no
/// header line), or has a row with more or fewer cells than there are columns.
pub fn read_with(path: &Path, options: &ReadOptions) -> Result<(Table, Vec<String>)> {
    let shown = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
    let fail = |what: &str| Error::Table(format!("cannot read {shown}: {what}"));
    let bytes = bytes(path).and_then(dialect::unpacked).map_err(|what| fail(&what))?;
    parse(bytes, options).map_err(|what| fail(&what))
}

fn bytes(path: &Path) -> std::result::Result<Vec<u8>, String> {
    input::read(path).map_err(|e| match e.kind() {
        ErrorKind::NotFound => "there is no such file".into(),
        ErrorKind::PermissionDenied => "permission is denied".into(),
        ErrorKind::IsADirectory => "it is a folder; give a CSV file".into(),
        _ => e.to_string(),
    })
}

fn parse(bytes: Vec<u8>, options: &ReadOptions) -> std::result::Result<(Table, Vec<String>), String> {
    let (text, converted) = dialect::text(bytes)?;
    let mut notes = Vec::from_iter(converted);
    if text.trim().is_empty() {
        return Err("it is empty; give a table with a header line".into());
    }
    let delimiter = options.delimiter.unwrap_or_else(|| dialect::delimiter(&text));
    if options.delimiter.is_none() && delimiter != b',' {
        let name = if delimiter == b'\t' { "a tab".to_owned() } else { format!("'{}'", char::from(delimiter)) };
        notes.push(format!("cells are separated by {name}"));
    }
    let mut reader =
        ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(text.as_bytes());
    let mut record = StringRecord::new();
    let mut names: Vec<String> = Vec::new();
    let mut columns: Vec<Vec<String>> = Vec::new();
    let (mut row, mut blank) = (0, dialect::blank_lines(&text));
    while reader.read_record(&mut record).map_err(|e| e.to_string())? {
        if columns.is_empty() {
            columns = vec![Vec::new(); record.len()];
            if options.header != Header::Absent {
                names = record.iter().map(str::to_owned).collect();
                continue;
            }
            names = (1..=record.len()).map(|number| format!("c{number}")).collect();
        }
        if record.len() == 1 && columns.len() > 1 && record[0].trim().is_empty() {
            blank += 1;
            continue;
        }
        row += 1;
        if record.len() != columns.len() {
            let (found, expected) = (record.len(), columns.len());
            let above = if options.header == Header::Absent { "first line has" } else { "header line names" };
            let unit = if options.header == Header::Absent { "" } else { " columns" };
            return Err(format!("row {row} has {found} cells where the {above} {expected}{unit}"));
        }
        for (column, cell) in columns.iter_mut().zip(&record) {
            column.push(cell.to_owned());
        }
    }
    match names.first_mut() {
        Some(first) => *first = first.trim_start_matches('\u{feff}').to_owned(),
        None => return Err("it is empty; give a table with a header line".into()),
    }
    if blank > 0 {
        notes.push(format!("{blank} blank {} skipped", if blank == 1 { "line" } else { "lines" }));
    }
    if options.header == Header::Expected
        && let Some(reason) = dialect::no_header(&names, &columns)
    {
        return Err(format!(
            "its first line looks like data, not like a header line with the names of the columns ({reason}); add such a \
             line, or say `no_header` if there is none or `header` if these are the names"
        ));
    }
    let unused = |index: &usize| names[*index].is_empty() && columns[*index].iter().all(String::is_empty);
    let empty: Vec<usize> = (0..names.len()).filter(unused).collect();
    if !empty.is_empty() && empty.len() < names.len() && row > 0 {
        for &index in empty.iter().rev() {
            names.remove(index);
            columns.remove(index);
        }
        notes.push(format!("{} columns with neither name nor cells are not read", empty.len()));
    }
    if names.iter().filter(|name| name.is_empty()).count() > 1 {
        return Err("several columns have no name; name them in the header line".into());
    }
    let table = Table::new(names, columns).map_err(|e| e.to_string())?;
    Ok((table, notes))
}

/// Writes a table with a header line, cells separated by commas.
///
/// # Errors
/// [`Error::Table`] with the file's name if it cannot be written.
pub fn write(file: PendingFile, path: &Path, table: &Table) -> Result<()> {
    let written = file.finish(|w| {
        // A single name with another delimiter in it is quoted, so that it is read back as one; so is one of white space, of which a
        // file without rows would look empty.
        let alone = |name: &str| name.contains([';', '\t', '|']) || name.trim().is_empty();
        let style = match table.names() {
            [name] if alone(name) => QuoteStyle::Always,
            _ => QuoteStyle::Necessary,
        };
        let mut writer = WriterBuilder::new().quote_style(style).from_writer(w);
        writer.write_record(table.names())?;
        for row in 0..table.rows() {
            writer.write_record(table.columns().iter().map(|c| &c[row]))?;
        }
        writer.flush()
    });
    written.map_err(|e| Error::Table(format!("cannot write {}: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read_as(bytes: &[u8], options: &ReadOptions) -> Result<(Table, Vec<String>)> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.csv");
        std::fs::write(&path, bytes).unwrap();
        read_with(&path, options)
    }

    fn read_bytes(bytes: &[u8]) -> Result<Table> {
        read_as(bytes, &ReadOptions::default()).map(|(table, _)| table)
    }

    fn sentence(bytes: &[u8]) -> String {
        read_bytes(bytes).unwrap_err().to_string()
    }

    #[test]
    fn a_single_name_comes_back_whatever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.csv");
        for name in ["a;b", "\u{b}", " ", "", "a\tb"] {
            for rows in [0, 2] {
                let table = Table::new(vec![name.into()], vec![vec!["1".into(); rows]]).unwrap();
                write(PendingFile::create(&path).unwrap(), &path, &table).unwrap();
                assert_eq!(read(&path).unwrap(), table, "{name:?}, {rows} rows");
            }
        }
    }

    #[test]
    fn tables_are_read() {
        let table = read_bytes(b"\xef\xbb\xbfa, b \r\n1,\"x, y\"\r\n2,\r\n").unwrap();
        assert_eq!(table.names(), ["a", " b "], "names are kept as they are");
        assert_eq!(table.columns(), [["1", "2"], ["x, y", ""]]);
        assert_eq!(read_bytes(b"0,1\n5,6\n").unwrap().names(), ["0", "1"]);
        assert_eq!(read_bytes(b",b\n3,4\n").unwrap().names(), ["", "b"]);
        assert_eq!(read_bytes(b"a,b\n").unwrap().rows(), 0);
    }

    #[test]
    fn other_dialects_are_read_and_said() {
        let said = |bytes: &[u8]| {
            let (table, notes) = read_as(bytes, &ReadOptions::default()).unwrap();
            assert_eq!(table.names(), ["a", "b\u{e9}"]);
            assert_eq!(table.columns(), [["1", "3"], ["2", "4"]]);
            notes.join("; ")
        };
        assert_eq!(said("a,b\u{e9}\n1,2\n3,4\n".as_bytes()), "");
        assert_eq!(said("a;b\u{e9}\n1;2\n3;4\n".as_bytes()), "cells are separated by ';'");
        assert_eq!(
            said("a\tb\u{e9}\n1\t2\n\n3\t4\n\n".as_bytes()),
            "cells are separated by a tab; 2 blank lines skipped"
        );
        assert_eq!(
            said(b"a,b\xe9\n1,2\n  \n3,4\n"),
            "converted from Windows-1252 (Latin-1) to UTF-8; 1 blank line skipped"
        );
        let wide: Vec<u8> = "\u{feff}a,b\u{e9}\r\n1,2\r\n3,4\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(said(&wide), "converted from UTF-16LE to UTF-8");
        assert_eq!(said(&wide[2..]), "converted from UTF-16LE to UTF-8");
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all("a,b\u{e9}\n1,2\n3,4\n".as_bytes()).unwrap();
        assert_eq!(said(&packed.finish().unwrap()), "");
        assert_eq!(
            said("a,b\u{e9},,\n1,2,,\n3,4,,\n".as_bytes()),
            "2 columns with neither name nor cells are not read"
        );
    }

    #[test]
    fn headers_are_what_the_user_says() {
        let with = |bytes: &[u8], header| {
            read_as(bytes, &ReadOptions { header, ..Default::default() }).map(|(table, _)| table.names().join(" "))
        };
        assert_eq!(with(b"2010,2011\n3,4\n", Header::Present).unwrap(), "2010 2011");
        assert_eq!(with(b"2010,2011\n3,4\n", Header::Absent).unwrap(), "c1 c2");
        assert!(with(b"2010,2011\n3,4\n", Header::Expected).unwrap_err().to_string().contains("`no_header`"));
        let piped = ReadOptions { delimiter: Some(b'|'), ..Default::default() };
        assert_eq!(read_as(b"a,b|c\n1|2\n", &piped).unwrap().0.names(), ["a,b", "c"]);
    }

    #[test]
    fn what_is_no_table_is_refused_in_a_sentence() {
        assert!(sentence(b"a,b\n1,2\n3\n").contains("row 2 has 1 cells where the header line names 2 columns"));
        assert!(sentence(b"a,b\n1,2,3\n").contains("row 1 has 3 cells"));
        assert!(sentence(b"").contains("it is empty"));
        assert!(sentence(b"\n\n").contains("it is empty"));
        assert!(sentence(b"\x89PNG\r\n\x1a\n\x00\x00\xff").contains("binary data"));
        assert!(sentence(b"PK\x03\x04\x00\x00").contains("binary data"));
        assert!(sentence(b"\x1f\x8b\x08broken").contains("gzip and damaged"));
        assert!(sentence(b"1.5,2\n3,4\n").contains("header line"));
        assert!(sentence(b",,b\n3,4,5\n").contains("several columns have no name"));
        assert!(sentence(b"a,a\n3,4\n").contains("two columns are called 'a'"));
        let folder = tempfile::tempdir().unwrap();
        let missing = read(&folder.path().join("none.csv")).unwrap_err().to_string();
        assert!(missing.contains("none.csv: there is no such file"), "{missing}");
        assert!(read(folder.path()).unwrap_err().to_string().contains("it is a folder"));
    }

    #[test]
    fn what_is_written_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.csv");
        for text in ["a,b\n1,\"x, \"\"y\"\"\"\n2.50,z\n", "\"a;b\"\nu\n\"\"\nv;w\n"] {
            let table = read_bytes(text.as_bytes()).unwrap();
            write(PendingFile::create(&path).unwrap(), &path, &table).unwrap();
            assert_eq!(read(&path).unwrap(), table);
        }
    }
}
