//! Looking at the cells of one column: what it holds, and what is worth saying about that.

use std::collections::{HashMap, HashSet};

use super::identifier::{Identifier, are_years, counter, is_identifier};
use super::number::{Cell, NumberFormat, is_digit_code, is_mark_among_numbers, read_cell};
use super::schema::{ColumnKind, Declared, Missing, MissingMarks, SchemaOptions, Wanted};
use super::time::{Sighting, TimeFormat};
use super::values::{infinite, not_a_number, too_long};
use crate::{Error, Result};

/// Most distinct numbers that a column may hold and still be taken for a set of codes rather than a quantity.
const MOST_CODES: usize = 20;
/// A column of codes has at least this many rows per code; with fewer the numbers are taken for a quantity.
const ROWS_PER_CODE: usize = 10;
/// Most codes such as `1.10` in a column of numbers of which some are the same but for their spelling.
const MOST_VERSIONS: usize = 100;

/// What a column was taken for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Look {
    pub kind: ColumnKind,
    /// Something that the user should know.
    pub note: Option<String>,
    /// Whether the column only names rows and is better left out.
    pub names_rows: bool,
}

impl Look {
    fn plain(kind: ColumnKind) -> Self {
        Self { kind, note: None, names_rows: false }
    }

    fn noted(kind: ColumnKind, note: String) -> Self {
        Self { kind, note: Some(note), names_rows: false }
    }
}

/// One column on its way to a kind.
struct Column<'a> {
    name: &'a str,
    cells: &'a [String],
    read: Vec<Cell>,
    /// Whether each cell is missing whatever the column holds.
    missing: Vec<bool>,
    declared: Option<&'a Declared>,
}

/// How many cells of a column are missing, whatever it holds.
pub(super) fn missing_cells(cells: &[String], options: &SchemaOptions) -> usize {
    cells.iter().filter(|cell| is_missing(cell, &options.missing_marks)).count()
}

fn is_missing(cell: &str, marks: &[String]) -> bool {
    read_cell(cell) == Cell::Missing || marks.iter().any(|mark| mark.trim() == cell.trim())
}

/// Says what a column holds.
pub(super) fn look(name: &str, cells: &[String], options: &SchemaOptions) -> Result<Look> {
    let declared = options.declared.iter().find(|declared| declared.name == name);
    let mut marks = options.missing_marks.clone();
    marks.extend(declared.iter().flat_map(|declared| declared.missing.clone()));
    let mut column = Column {
        name,
        cells,
        read: cells.iter().map(|cell| read_cell(cell)).collect(),
        missing: cells.iter().map(|cell| is_missing(cell, &marks)).collect(),
        declared,
    };
    let named = |list: &[String]| list.iter().any(|own| own == name);
    let wanted = declared.and_then(|declared| declared.kind);
    if column.missing.iter().all(|missing| *missing) {
        let kind = ColumnKind::Constant { value: commonest(cells.iter()).unwrap_or_default() };
        return Ok(Look::noted(kind, "empty in every row; written back empty".into()));
    }
    let numbers = wanted == Some(Wanted::Number) || named(&options.numerical);
    let dates = asked_of(options, name).or(match (wanted, declared) {
        (Some(Wanted::Date), Some(declared)) => Some(declared.format.as_deref().unwrap_or("")),
        _ => None,
    });
    let categories = wanted == Some(Wanted::Category) || named(&options.categorical);
    let identifier = wanted == Some(Wanted::Identifier) || named(&options.identifier);
    if !categories && !identifier {
        column.widen_marks(numbers || dates.is_some());
    }
    column.refuse_missing(options)?;
    let alike = cells.iter().all(|cell| *cell == cells[0]) && column.read[0] != Cell::Infinite;
    if identifier {
        return Ok(Look::plain(ColumnKind::Identifier { pattern: Identifier::of(&column.filled()) }));
    }
    if alike || wanted == Some(Wanted::Constant) {
        let kind = ColumnKind::Constant { value: commonest(cells.iter()).unwrap_or_default() };
        return Ok(Look::plain(kind));
    }
    if categories {
        return column.categories().map(Look::plain);
    }
    if let Some(how) = dates {
        let format = if how.is_empty() { column.sighted()? } else { TimeFormat::asked(name, how, &column.filled())? };
        return Ok(Look::plain(column.time(format)));
    }
    if numbers {
        return column.numerical().map(Look::plain);
    }
    // Digits alone, and more than 64 bits hold: a number that cannot be kept, or a code that only its owner knows to be one.
    let filled = || (0..cells.len()).filter(|row| !column.missing[*row]);
    let digits = |row: usize| matches!(column.read[row], Cell::Number(_) | Cell::Integer(_) | Cell::TooLong);
    if let (true, Some(row)) = (filled().all(digits), filled().find(|row| column.read[*row] == Cell::TooLong)) {
        return Err(too_long(name, row, &cells[row]));
    }
    column.found()
}

impl Column<'_> {
    /// The cells that are not missing.
    fn filled(&self) -> Vec<&str> {
        self.cells.iter().zip(&self.missing).filter(|(_, missing)| !**missing).map(|(cell, _)| cell.as_str()).collect()
    }

    /// Takes marks such as `?` for missing if every other cell is a number or looks like a date.
    fn widen_marks(&mut self, certain: bool) {
        let mark = |cell: &str| is_mark_among_numbers(cell);
        let rest: Vec<&str> = self.filled().into_iter().filter(|cell| !mark(cell)).collect();
        if rest.len() == self.filled().len() || rest.is_empty() {
            return;
        }
        let numbers = rest.iter().all(|cell| matches!(read_cell(cell), Cell::Number(_) | Cell::Integer(_)));
        // One or two numbers among marks are a category like any other.
        let several = rest.iter().collect::<HashSet<_>>().len() > 2;
        if certain || several && (numbers || !matches!(Sighting::of(&rest), Sighting::None)) {
            for (missing, cell) in self.missing.iter_mut().zip(self.cells) {
                *missing |= mark(cell);
            }
        }
    }

    fn refuse_missing(&self, options: &SchemaOptions) -> Result<()> {
        let first = self.missing.iter().position(|missing| *missing);
        let (Some(row), Missing::Fail) = (first, options.missing) else { return Ok(()) };
        let (name, mark) = (self.name, self.cells[row].trim());
        let shown = if mark.is_empty() { String::new() } else { format!(" ('{mark}')") };
        Err(Error::Table(format!(
            "row {} of column '{name}' is missing{shown}; fill the cell, delete the row, leave the column out by `drop`, or \
             let `missing` be level",
            row + 1
        )))
    }

    /// How missing cells are written: the commonest mark first.
    fn marks(&self) -> Option<MissingMarks> {
        let marks = || self.cells.iter().zip(&self.missing).filter(|(_, missing)| **missing).map(|(cell, _)| cell);
        let first = commonest(marks())?;
        let mut others: Vec<String> = marks().filter(|mark| **mark != first).cloned().collect();
        others.sort_unstable();
        others.dedup();
        Some(MissingMarks([vec![first], others].concat()))
    }

    fn categories(&self) -> Result<ColumnKind> {
        let mut levels: Vec<&str> = self.cells.iter().map(String::as_str).collect::<HashSet<_>>().into_iter().collect();
        let numbers = self.filled().iter().all(|cell| matches!(read_cell(cell), Cell::Number(_) | Cell::Integer(_)));
        let value = |cell: &str| match read_cell(cell) {
            Cell::Number(value) if numbers => value,
            Cell::Integer(value) if numbers => value as f64,
            _ => f64::NEG_INFINITY,
        };
        let missing = |cell: &str| read_cell(cell) != Cell::Missing;
        levels.sort_unstable_by(|a, b| missing(a).cmp(&missing(b)).then(value(a).total_cmp(&value(b))).then(a.cmp(b)));
        if let Some(declared) = self.declared.filter(|declared| !declared.levels.is_empty())
            && let Some(row) = self.cells.iter().position(|cell| !declared.levels.contains(cell))
        {
            return Err(Error::Table(format!(
                "row {} of column '{}' holds '{}', which is none of the levels of the schema; add it there or correct the cell",
                row + 1,
                self.name,
                self.cells[row]
            )));
        }
        Ok(ColumnKind::Categorical { levels: levels.into_iter().map(str::to_owned).collect() })
    }

    fn numerical(&self) -> Result<ColumnKind> {
        for (row, cell) in self.read.iter().enumerate().filter(|(row, _)| !self.missing[*row]) {
            match cell {
                Cell::Text | Cell::Missing => return Err(not_a_number(self.name, row, &self.cells[row])),
                Cell::Infinite => return Err(infinite(self.name, row, &self.cells[row])),
                Cell::TooLong => return Err(too_long(self.name, row, &self.cells[row])),
                _ => {}
            }
        }
        let mut format = NumberFormat::of(self.filled());
        if let Some([fewest, most]) = self.declared.and_then(|declared| declared.decimals) {
            format = NumberFormat { minimum_decimals: fewest.min(most), maximum_decimals: most };
            if !format.is_sound() {
                let (name, most) = (self.name, NumberFormat::MOST_DECIMALS);
                return Err(Error::Table(format!("column '{name}' cannot have more than {most} decimals")));
            }
        }
        let whole = |(cell, missing): (&Cell, &bool)| match cell {
            _ if *missing => true,
            Cell::Number(value) => value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0,
            _ => true,
        };
        let integer = self.read.iter().zip(&self.missing).all(whole);
        Ok(ColumnKind::Numerical { integer, format, missing: self.marks() })
    }

    fn time(&self, format: TimeFormat) -> ColumnKind {
        ColumnKind::Time { format, missing: self.marks() }
    }

    /// The format of cells that are said to be dates.
    fn sighted(&self) -> Result<TimeFormat> {
        match Sighting::of(&self.filled()) {
            Sighting::Found(format) => Ok(format),
            Sighting::Stray(format, at) => Err(self.no_date(&format, at)),
            Sighting::Ambiguous => Err(self.ambiguous()),
            Sighting::None => Err(Error::Table(format!(
                "column '{}' holds no dates that are known ('{}'); say how they are written in `dates`, as a pattern such as \
                 %d.%m.%Y",
                self.name,
                self.filled()[0]
            ))),
        }
    }

    fn ambiguous(&self) -> Error {
        Error::Table(format!(
            "column '{0}' holds dates in which day and month cannot be told apart ('{1}'); say in `dates` which it is: \
             '{0}=dmy' or '{0}=mdy'",
            self.name,
            self.filled()[0]
        ))
    }

    fn no_date(&self, format: &TimeFormat, at: usize) -> Error {
        let row = self.missing.iter().enumerate().filter(|(_, missing)| !**missing).nth(at).map_or(0, |(row, _)| row);
        Error::Table(format!(
            "row {} of column '{}' holds '{}' where nearly all others are dates such as {}; correct the cell, name it in \
             `missing_marks` if it means a missing one, or name the column in `categorical`",
            row + 1,
            self.name,
            self.cells[row].trim(),
            format.example()
        ))
    }

    /// What the column is if nobody has said it.
    fn found(&self) -> Result<Look> {
        let filled = self.filled();
        let texts: HashSet<&str> = filled.iter().copied().collect();
        let few = texts.len() <= MOST_CODES && texts.len() * ROWS_PER_CODE <= filled.len();
        if texts.len() > 2 {
            match Sighting::of(&filled) {
                Sighting::Found(format) => return Ok(Look::plain(self.time(format))),
                Sighting::Ambiguous if !few => return Err(self.ambiguous()),
                Sighting::Stray(format, at) if !few => return Err(self.no_date(&format, at)),
                _ => {}
            }
        }
        let text = |row: &usize| self.read[*row] == Cell::Text && !self.missing[*row];
        let strays: Vec<usize> = (0..self.cells.len()).filter(text).collect();
        if strays.is_empty() { self.found_numbers(&filled, &texts) } else { self.found_texts(&filled, &texts, &strays) }
    }

    fn found_numbers(&self, filled: &[&str], texts: &HashSet<&str>) -> Result<Look> {
        let mut values: Vec<Cell> = filled.iter().map(|cell| read_cell(cell)).collect();
        let key = |cell: &Cell| match cell {
            Cell::Number(value) => (*value, 0),
            Cell::Integer(value) => (*value as f64, *value),
            _ => (f64::INFINITY, 0),
        };
        values.sort_unstable_by(|a, b| key(a).0.total_cmp(&key(b).0).then(key(a).1.cmp(&key(b).1)));
        values.dedup();
        let distinct = values.len();
        let few = distinct <= MOST_CODES && distinct * ROWS_PER_CODE <= filled.len();
        let two = distinct <= 2 && filled.len() >= 4;
        let codes: Vec<usize> =
            (0..self.cells.len()).filter(|&row| !self.missing[row] && is_digit_code(&self.cells[row])).collect();
        if let Some(&first) = codes.first() {
            let digits = |cell: &&str| cell.trim().len();
            let one_length = filled.iter().all(|cell| digits(cell) == digits(&filled[0]));
            if !one_length && codes.len() * 10 <= filled.len() && distinct > MOST_CODES {
                let note = format!(
                    "row {} is '{}', read as a number although it starts with a zero; name the column in `categorical` if \
                     its cells are codes",
                    first + 1,
                    self.cells[first].trim()
                );
                return Ok(Look::noted(self.numerical()?, note));
            }
            let reason = format!("row {} is '{}', with a leading zero", first + 1, self.cells[first].trim());
            return self.categories_or_identifier(filled, texts, (distinct > MOST_CODES).then_some(reason));
        }
        if few || two {
            return self.categories().map(Look::plain);
        }
        if let Some([one, other]) = spelt_otherwise(filled, distinct, texts.len()) {
            let note = format!(
                "{} levels, not numbers, as '{one}' and '{other}' are written differently; name the column in `numerical` \
                 if they are the same",
                texts.len()
            );
            return Ok(Look::noted(self.categories()?, note));
        }
        let kind = self.numerical()?;
        if filled.len() >= 20 && counter(filled).is_some_and(|(_, step)| step == 1) && !are_years(filled) {
            let note = "counts rows; left out: name it in `identifier` to go on counting, in `numerical` to learn it";
            return Ok(Look { kind, note: Some(note.into()), names_rows: true });
        }
        Ok(Look::plain(kind))
    }

    fn found_texts(&self, filled: &[&str], texts: &HashSet<&str>, strays: &[usize]) -> Result<Look> {
        let numbers: HashSet<&str> = filled
            .iter()
            .copied()
            .filter(|cell| matches!(read_cell(cell), Cell::Number(_) | Cell::Integer(_)))
            .collect();
        let decorated = strays.iter().filter(|&&row| is_decorated_number(&self.cells[row])).count();
        let many = strays.len() * 10 > filled.len() - strays.len();
        if many && texts.len() > MOST_CODES && decorated * 10 >= strays.len() * 9 {
            return Err(Error::Table(format!(
                "row {} of column '{}' holds '{}', a number with other signs; write such numbers in plain digits with a point \
                 before decimals, or name the column in `categorical`",
                strays[0] + 1,
                self.name,
                self.cells[strays[0]].trim()
            )));
        }
        if numbers.len() <= MOST_CODES {
            return self.categories_or_identifier(filled, texts, None);
        }
        let stray = self.cells[strays[0]].trim();
        let count = strays.iter().filter(|&&row| self.cells[row].trim() == stray).count();
        if !many {
            return Err(not_a_number(self.name, strays[0], stray));
        }
        let mark =
            if count == strays.len() { "; if that means a missing cell, name it in `missing_marks`" } else { "" };
        let reason = format!("{count} cells are '{stray}', the first in row {}{mark}", strays[0] + 1);
        self.categories_or_identifier(filled, texts, Some(reason))
    }

    /// Categories, unless nearly all of them differ; the reason is why they are not numbers where that may surprise.
    fn categories_or_identifier(&self, filled: &[&str], texts: &HashSet<&str>, reason: Option<String>) -> Result<Look> {
        let levels = texts.len();
        if is_identifier(levels, filled.len()) {
            let note = format!(
                "{levels} different texts in {} rows name the rows; left out: name it in `identifier` to have new ones, in \
                 `categorical` to have these",
                filled.len()
            );
            let note = reason.iter().fold(note, |note, reason| format!("{note}; {reason}"));
            return Ok(Look { kind: self.categories()?, note: Some(note), names_rows: true });
        }
        let kind = self.categories()?;
        Ok(match reason {
            Some(reason) => Look::noted(kind, format!("{levels} levels, not numbers: {reason}")),
            None if levels > MOST_VERSIONS && levels * 2 > filled.len() => {
                Look::noted(kind, format!("{levels} levels for {} rows: few rows to learn each from", filled.len()))
            }
            None => Look::plain(kind),
        })
    }
}

/// Whether a text is a number with commas, a sign of money or a percent sign, which nobody means as a category.
fn is_decorated_number(cell: &str) -> bool {
    let bare: String = cell.chars().filter(|c| !matches!(c, ',' | ' ' | '\u{a0}' | '$' | '€' | '£' | '%')).collect();
    bare.len() < cell.trim().len() && matches!(read_cell(&bare), Cell::Number(_) | Cell::Integer(_))
}

/// Two spellings of one number in a column of few texts: `1.1` and `1.10` are different versions, not one quantity.
fn spelt_otherwise<'a>(filled: &[&'a str], distinct: usize, texts: usize) -> Option<[&'a str; 2]> {
    if texts == distinct || texts > MOST_VERSIONS || texts * 2 > filled.len() {
        return None;
    }
    let mut first: HashMap<u64, &str> = HashMap::new();
    for cell in filled {
        let plain = cell.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && cell.contains('.');
        if let (Cell::Number(value), true) = (read_cell(cell), plain) {
            let other = *first.entry(value.to_bits()).or_insert(cell);
            if other != *cell {
                return Some([other, cell]);
            }
        }
    }
    None
}

/// The commonest of some texts; the first in the alphabet of those equally common.
fn commonest<'a>(cells: impl Iterator<Item = &'a String>) -> Option<String> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    cells.for_each(|cell| *counts.entry(cell).or_default() += 1);
    counts.into_iter().max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(a.0))).map(|(cell, _)| cell.to_owned())
}

/// The way of writing that the user asked for, of a column.
fn asked_of<'a>(options: &'a SchemaOptions, name: &str) -> Option<&'a str> {
    options.dates.iter().find(|(own, _)| own == name).map(|(_, how)| how.as_str())
}
