//! What is said on the command line about a table: how its file is written, and what its columns are.

use std::path::{Path, PathBuf};

use crate::files::csv::{self, Header, ReadOptions};
use crate::files::schema;
use crate::table::{SchemaOptions, Table};
use clap::Args;

use super::{Failure, Outcome, note};

/// How the file is written, where looking at it is not enough.
#[derive(Debug, Clone, Default, Args)]
pub struct CsvArgs {
    /// What stands between cells: a character, or tab [default: found by looking; a comma, a semicolon, a tab or a bar]
    #[arg(long, value_name = "CHARACTER", value_parser = parse_delimiter)]
    delimiter: Option<u8>,
    /// The first line holds the names of the columns, whatever it looks like (years, for one)
    #[arg(long, conflicts_with = "no_header")]
    header: bool,
    /// The first line is data; the columns are called c1, c2 and so on
    #[arg(long)]
    no_header: bool,
}

/// Which columns are what, where looking at them is not enough. A list may be given in one with commas, or an option more than
/// once.
#[derive(Debug, Clone, Default, Args)]
pub struct ColumnArgs {
    /// Columns to be taken as categories, separated by commas; may be given more than once, as may all such lists
    #[arg(long, value_name = "A,B")]
    categorical: Vec<String>,
    /// Columns to be taken as numbers
    #[arg(long, value_name = "C,D")]
    numerical: Vec<String>,
    /// Columns to be left out; '' is the one without a name
    #[arg(long, value_name = "E,F")]
    drop: Vec<String>,
    /// Columns that name the rows: new values of the same pattern are generated (left out by default)
    #[arg(long, value_name = "ID")]
    identifier: Vec<String>,
    /// How dates in a column are written: dmy, mdy, ymd, epoch (seconds since 1970) or a pattern such as %d.%m.%Y
    #[arg(long, value_name = "COLUMN=HOW")]
    dates: Vec<String>,
    /// Texts that mean a missing cell in any column, separated by commas, beside the usual ones (empty, NA, N/A, NULL, NaN; among
    /// numbers and dates also ?, -, . and None)
    #[arg(long, value_name = "?,-,None", value_delimiter = ',', allow_hyphen_values = true)]
    missing_marks: Vec<String>,
    /// What the columns are, from a JSON file: `fit --dry-run` writes one to change by hand; the options above go before it
    #[arg(long, value_name = "FILE.json")]
    pub schema: Option<PathBuf>,
}

impl CsvArgs {
    /// Reads the table; what was done to it on the way is said on standard error.
    pub fn read(&self, path: &Path) -> Outcome<Table> {
        let header = match (self.header, self.no_header) {
            (true, _) => Header::Present,
            (_, true) => Header::Absent,
            _ => Header::Expected,
        };
        let (table, notes) = csv::read_with(path, &ReadOptions { delimiter: self.delimiter, header })?;
        if !notes.is_empty() {
            note!("read {}: {}", path.display(), notes.join("; "));
        }
        Ok(table)
    }
}

impl ColumnArgs {
    /// What is said about the columns of this table.
    pub fn options(&self, table: &Table) -> Outcome<SchemaOptions> {
        let names = |list: &[String]| list.iter().flat_map(|given| names(given, table)).collect::<Vec<String>>();
        let dates = self.dates.iter().map(|given| match given.rsplit_once('=') {
            Some((name, how)) => Ok((name.to_owned(), how.to_owned())),
            None => Err(Failure::new(format!("--dates '{given}' names no column; say COLUMN=dmy or the like"))),
        });
        let mut options = SchemaOptions {
            categorical: names(&self.categorical),
            numerical: names(&self.numerical),
            drop: names(&self.drop),
            identifier: names(&self.identifier),
            dates: dates.collect::<Outcome<_>>()?,
            missing_marks: self.missing_marks.clone(),
            ..SchemaOptions::default()
        };
        if let Some(path) = self.schema.as_ref().filter(|path| path.exists()) {
            options.declared = schema::read(path)?;
            // What is said on the command line goes before what is in the file.
            let named = [&options.categorical, &options.numerical, &options.drop, &options.identifier];
            let named: Vec<String> = named.into_iter().flatten().cloned().collect();
            let dated = |name: &String| options.dates.iter().any(|(own, _)| own == name);
            options.declared.retain(|declared| !named.contains(&declared.name) && !dated(&declared.name));
        }
        Ok(options)
    }
}

/// The columns that one argument names: the column of exactly this name, or those between its commas.
fn names(given: &str, table: &Table) -> Vec<String> {
    let known = |name: &str| table.names().iter().any(|own| own == name);
    if known(given) || !given.contains(',') {
        return vec![given.to_owned()];
    }
    let part = |part: &str| if known(part) { part.to_owned() } else { part.trim().to_owned() };
    given.split(',').map(part).collect()
}

/// The lines of [`Findings::described`](crate::table::Findings::described) one under the other.
pub fn listed(lines: &[[String; 6]]) -> String {
    const WIDEST: usize = 44;
    let cut = |cell: &str| match cell.char_indices().nth(WIDEST) {
        Some(_) => cell.chars().take(WIDEST - 3).collect::<String>() + "...",
        None => cell.to_owned(),
    };
    let head = ["column", "taken for", "levels or range", "step", "missing", "note"].map(String::from);
    let rows: Vec<[String; 6]> = std::iter::once(&head)
        .chain(lines)
        .map(|line| std::array::from_fn(|i| if i == 5 { line[i].clone() } else { cut(&line[i]) }))
        .collect();
    let width = |i: usize| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(width);
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}  "));
        format!("{}{}", cells.collect::<String>(), row[5]).trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// Where something was written, for people.
pub fn place(path: &Path) -> String {
    if path.as_os_str() == "-" { "standard output".into() } else { path.display().to_string() }
}

/// Refuses to write over what was read.
pub fn refuse_same(input: &Path, output: &Path) -> Outcome {
    refuse_overwriting(input, "--out", output)
}

/// [`refuse_same`] of the file that another option names.
pub fn refuse_overwriting(input: &Path, option: &str, output: &Path) -> Outcome {
    let same = match (input.canonicalize(), output.canonicalize()) {
        (Ok(input), Ok(output)) => input == output && input.is_file(),
        _ => false,
    };
    if same {
        let shown = output.display();
        return Err(Failure::new(format!("{option} {shown} would overwrite the file that is read; give another name")));
    }
    Ok(())
}

fn parse_delimiter(text: &str) -> Result<u8, String> {
    match text {
        "tab" | "\\t" => return Ok(b'\t'),
        "comma" => return Ok(b','),
        "semicolon" => return Ok(b';'),
        "space" => return Ok(b' '),
        _ => {}
    }
    match text.as_bytes() {
        [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() && !matches!(byte, b'"' | b'\n' | b'\r') => {
            Ok(*byte)
        }
        _ => {
            Err("give one character that is neither letter, digit nor quote, or tab, comma, semicolon or space".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_commas_are_columns_too() {
        let table = Table::new(["a,b", "c", " d", ""].map(String::from).to_vec(), vec![Vec::new(); 4]).unwrap();
        let named = |given: &[&str]| {
            let drop = given.iter().map(|name| (*name).to_owned()).collect();
            ColumnArgs { drop, ..ColumnArgs::default() }.options(&table).unwrap().drop
        };
        assert_eq!(named(&["a,b", "c"]), ["a,b", "c"]);
        assert_eq!(named(&["c, d", ""]), ["c", " d", ""]);
        assert_eq!(named(&["c,x"]), ["c", "x"]);
    }

    #[test]
    fn settings_become_options() {
        use super::super::with_flags;
        assert_eq!(with_flags("say `no_header` or `missing_marks`"), "say --no-header or --missing-marks");
        assert_eq!(parse_delimiter("\\t").unwrap(), b'\t');
        assert!(parse_delimiter("ab").is_err() && parse_delimiter("x").is_err() && parse_delimiter(";").is_ok());
    }
}
