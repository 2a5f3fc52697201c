//! Rows of which some cells are given: what that says about the coded row, and the way back to the table.

// Loops over rows read and write several columns of the same row.
#![allow(clippy::needless_range_loop)]

use std::collections::HashMap;

use faer::MatMut;
use rand::{Rng, RngExt};

use super::codec::Codec;
use super::condition::{Comparison, Condition, compare};
use super::encoded::probability;
use super::normal::normal_quantile;
use super::number::{Cell, Number, is_mark_among_numbers, read_cell};
use super::numerical::NumericalCode;
use super::relations::Relations;
use super::schema::{ColumnKind, ColumnSchema};
use super::table::Table;
use super::values::ColumnValues;
use crate::{Error, Result};

/// Cells that are given of some rows, column by column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    rows: usize,
    columns: Vec<(String, Vec<Option<String>>)>,
}

impl Given {
    /// Nothing is given of `rows` rows.
    pub fn nothing(rows: usize) -> Self {
        Self { rows, columns: Vec::new() }
    }

    /// Gives cells of one more column, as many as there are rows.
    pub fn give(&mut self, column: &str, cells: Vec<Option<String>>) {
        debug_assert_eq!(cells.len(), self.rows);
        self.columns.push((column.to_owned(), cells));
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The cells given of a column, if some are.
    pub fn column(&self, name: &str) -> Option<&[Option<String>]> {
        self.columns.iter().find(|(own, _)| own == name).map(|(_, cells)| cells.as_slice())
    }

    /// The rows with these indices, in this order.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn select(&self, rows: &[usize]) -> Self {
        let pick = |cells: &Vec<Option<String>>| rows.iter().map(|&row| cells[row].clone()).collect();
        let columns = self.columns.iter().map(|(name, cells)| (name.clone(), pick(cells))).collect();
        Self { rows: rows.len(), columns }
    }

    fn column_mut(&mut self, name: &str) -> &mut Vec<Option<String>> {
        let at = self.columns.iter().position(|(own, _)| own == name).unwrap_or_else(|| {
            self.columns.push((name.to_owned(), vec![None; self.rows]));
            self.columns.len() - 1
        });
        &mut self.columns[at].1
    }
}

/// What given cells and conditions say about coded rows.
#[derive(Debug, Clone, PartialEq)]
pub struct GivenCode {
    rows: usize,
    numbers: usize,
    codes: usize,
    totals: Vec<u32>,
    /// rows x numbers: the ranks [lo, hi) where a number is known.
    ranks: Vec<Option<[u32; 2]>>,
    /// rows x codes: whether each code may be.
    allowed: Vec<bool>,
}

impl GivenCode {
    /// Finds ranks and levels of what is given. Cells of constant columns and identifiers say nothing. `filled` is for filling
    /// gaps: a cell that is not given is then not missing, and a given category that is not known counts as not given.
    ///
    /// # Errors
    /// [`Error::Table`] if a cell does not fit its column.
    pub fn of(given: &Given, codec: &Codec, relations: &Relations, filled: bool) -> Result<Self> {
        let given = &relations.implied(given, codec)?;
        let (rows, numbers) = (given.rows, codec.numerical());
        let codes = codec.blocks().iter().sum();
        let totals = codec.numerical_codes().iter().map(NumericalCode::total).collect();
        let mut code =
            Self { rows, numbers, codes, totals, ranks: vec![None; rows * numbers], allowed: vec![true; rows * codes] };
        let places = Places::of(codec);
        for (column, place) in codec.schema().columns.iter().zip(&places.0) {
            let Some(cells) = given.column(&column.name) else {
                if filled {
                    (0..rows).for_each(|row| code.fill(column, place, row));
                }
                continue;
            };
            code.read(column, place, cells, codec, filled)?;
        }
        Ok(code)
    }

    fn read(
        &mut self,
        column: &ColumnSchema,
        place: &Place,
        cells: &[Option<String>],
        codec: &Codec,
        filled: bool,
    ) -> Result<()> {
        let mut known: Vec<bool> = cells.iter().map(Option::is_some).collect();
        if filled && matches!(column.kind, ColumnKind::Categorical { .. }) {
            let mut seen: HashMap<&str, bool> = HashMap::new();
            for (known, cell) in known.iter_mut().zip(cells) {
                *known = cell.as_ref().is_some_and(|cell| *seen.entry(cell).or_insert_with(|| reads(column, cell)));
            }
        }
        let Some(filler) = cells.iter().zip(&known).find_map(|(cell, known)| cell.clone().filter(|_| *known)) else {
            if filled {
                (0..self.rows).for_each(|row| self.fill(column, place, row));
            }
            return Ok(());
        };
        // What is not given is read as some cell that is, and then forgotten.
        let all = cells.iter().zip(&known).map(|(cell, known)| match cell {
            Some(cell) if *known => cell.clone(),
            _ => filler.clone(),
        });
        let table = Table::new(vec![column.name.clone()], vec![all.collect()])?;
        let values = column.read_exact(&table)?;
        for row in 0..self.rows {
            if !known[row] {
                if filled {
                    self.fill(column, place, row);
                }
                continue;
            }
            match (&values, place) {
                (ColumnValues::Levels(levels), Place::Block { start, size }) => {
                    self.only(row, start + levels[row] as usize, *start..start + size);
                }
                (values, Place::Number { index, indicator }) => {
                    let number = &codec.numerical_codes()[*index];
                    let ranks = match values {
                        ColumnValues::Numbers(values) if !values[row].is_nan() => {
                            Some(number.rank_interval(values[row]))
                        }
                        ColumnValues::Integers(values) => values[row].map(|value| number.integer_interval(value)),
                        _ => None,
                    };
                    self.ranks[row * self.numbers + index] = ranks;
                    if let Some(start) = indicator {
                        self.only(row, start + usize::from(ranks.is_none()), *start..start + 2);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A cell that is generated is not missing.
    fn fill(&mut self, column: &ColumnSchema, place: &Place, row: usize) {
        match (place, &column.kind) {
            (Place::Number { indicator: Some(start), .. }, _) => self.only(row, *start, *start..start + 2),
            (Place::Block { start, .. }, ColumnKind::Categorical { levels }) => {
                let missing = |level: &String| read_cell(level) == Cell::Missing;
                if !levels.iter().all(missing) {
                    for (code, _) in levels.iter().enumerate().filter(|(_, level)| missing(level)) {
                        self.allowed[row * self.codes + start + code] = false;
                    }
                }
            }
            _ => {}
        }
    }

    fn only(&mut self, row: usize, code: usize, block: std::ops::Range<usize>) {
        self.allowed[row * self.codes..][block].fill(false);
        self.allowed[row * self.codes + code] = true;
    }

    /// Whether nothing is said of any row.
    pub fn says_nothing(&self) -> bool {
        self.ranks.iter().all(Option::is_none) && !self.allowed.contains(&false)
    }

    /// Whether each code of a row may be, block after block.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn allowed(&self, row: usize) -> &[bool] {
        &self.allowed[row * self.codes..][..self.codes]
    }

    /// Draws the normal scores of the known numbers of a row, each at a uniform place in its ranks; NaN where a number is not
    /// known.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn draw(&self, row: usize, rng: &mut (impl Rng + ?Sized), scores: &mut [f64]) {
        let ranks = &self.ranks[row * self.numbers..][..self.numbers];
        for ((score, ranks), &total) in scores.iter_mut().zip(ranks).zip(&self.totals) {
            *score = ranks.map_or(f64::NAN, |ranks| normal_quantile(probability(ranks, total, rng.random::<f64>())));
        }
    }

    /// Adds conditions, the same for every row, as far as they can be met before anything is drawn. Equal numbers are left to
    /// [`Given`]. Of ranges only one can be drawn first, and only where nothing else is known: that in which the fewest rows
    /// of the training table lie. Returns which conditions are sure to be met by the coded rows.
    ///
    /// # Errors
    /// [`Error::Table`] if no level is left to a column.
    pub fn restrict(&mut self, conditions: &[Condition], codec: &Codec) -> Result<Vec<bool>> {
        let places = Places::of(codec);
        let place = |name: &str| {
            let at = codec.schema().columns.iter().position(|column| column.name == name)?;
            Some(&places.0[at])
        };
        for condition in conditions {
            let (Some((comparison, value)), Some(code), Some(kind)) =
                (condition.number(), codec.code_of(condition.column()), codec.kind_of(condition.column()))
            else {
                continue;
            };
            // Numbers are made between those of the training table; an equal one is given, whatever it is.
            let ends = code.range();
            if comparison.is_order() && !ends.iter().any(|&end| comparison.holds(compare(end, value))) {
                let [low, high] = ends.map(|end| kind.write(end));
                let (text, name) = (condition.text(), condition.column());
                return Err(Error::Table(format!(
                    "'{text}' is met by no value that the model makes: '{name}' goes from {low} to {high}"
                )));
            }
        }
        let mut sure = vec![false; conditions.len()];
        for (condition, sure) in conditions.iter().zip(&mut sure) {
            let (block, may) = match (place(condition.column()), condition.levels(), condition.missing()) {
                (Some(Place::Block { start, .. }), Some(levels), _) => (*start, levels.to_vec()),
                (Some(Place::Number { indicator: Some(start), .. }), _, Some(missing)) => {
                    (*start, vec![!missing, missing])
                }
                _ => continue,
            };
            *sure = true;
            for row in 0..self.rows {
                let allowed = &mut self.allowed[row * self.codes + block..][..may.len()];
                allowed.iter_mut().zip(&may).for_each(|(allowed, may)| *allowed &= may);
            }
            if self.rows > 0 && !self.allowed[block..block + may.len()].contains(&true) {
                return Err(nothing_left(condition));
            }
        }
        if !self.says_nothing() {
            return Ok(sure);
        }
        let range = |name: &str| -> Option<(usize, Option<usize>, [u32; 2])> {
            let Some(Place::Number { index, indicator }) = place(name) else { return None };
            let mut of_column = conditions.iter().filter(|other| other.column() == name);
            let all = [0, self.totals[*index]];
            let ranks = of_column.try_fold(all, |[low, high], condition| {
                let (comparison, value) = condition.number()?;
                let [from, to] = codec.numerical_codes()[*index].ranks_of(comparison, value)?;
                Some([low.max(from), high.min(to)])
            })?;
            (ranks[0] < ranks[1]).then_some((*index, *indicator, ranks))
        };
        let ranges = conditions.iter().filter_map(|condition| range(condition.column()));
        let rarest = ranges.min_by(|a, b| {
            let share = |(index, _, [low, high]): &(usize, Option<usize>, [u32; 2])| {
                f64::from(high - low) / f64::from(self.totals[*index])
            };
            share(a).total_cmp(&share(b))
        });
        if let Some((index, indicator, ranks)) = rarest {
            for row in 0..self.rows {
                self.ranks[row * self.numbers + index] = Some(ranks);
                if let Some(start) = indicator {
                    self.only(row, start, start..start + 2);
                }
            }
        }
        Ok(sure)
    }

    /// Puts known scores and codes back into generated rows (`rows` x width), which may have been changed since.
    ///
    /// # Panics
    /// If the matrix has another shape.
    pub fn put_back(&self, mut rows: MatMut<'_, f64>, scores: &[f64]) {
        for row in 0..self.rows {
            for (index, &score) in scores[row * self.numbers..][..self.numbers].iter().enumerate() {
                if !score.is_nan() {
                    rows[(row, index)] = score;
                }
            }
            for (code, _) in self.allowed(row).iter().enumerate().filter(|(_, may)| !**may) {
                // Below every code that may be: these are probabilities less frequencies.
                rows[(row, self.numbers + code)] = -2.0;
            }
        }
    }
}

impl Codec {
    /// Gives the rows of a generated table new names, where its identifiers are not given.
    pub(crate) fn name_rows(&self, table: Table, given: &Given, seed: u64) -> Result<Table> {
        let (names, mut columns) = (table.names().to_vec(), table.columns().to_vec());
        for column in &self.schema().columns {
            let ColumnKind::Identifier { pattern } = &column.kind else { continue };
            let Some(at) = names.iter().position(|name| *name == column.name) else { continue };
            for (row, name) in pattern.generate(table.rows(), seed).into_iter().enumerate() {
                let given = given.column(&column.name).and_then(|cells| cells[row].clone());
                columns[at][row] = given.unwrap_or(name);
            }
        }
        Table::new(names, columns)
    }
}

impl Codec {
    /// One cell that stands for several of a column: the mean of numbers or dates, on the grid of the column and in its range, and the
    /// most frequent of other cells, of these the first in the order of the levels.
    pub(crate) fn middle_cell(&self, column: &ColumnSchema, cells: &[String]) -> String {
        let Some(first) = cells.first() else { return String::new() };
        if column.kind.is_number() {
            let table = Table::new(vec![column.name.clone()], vec![cells.to_vec()]);
            let Ok(ColumnValues::Numbers(values)) = table.and_then(|table| column.read(&table)) else {
                return first.clone();
            };
            let values: Vec<f64> = values.into_iter().filter(|value| !value.is_nan()).collect();
            if values.is_empty() || cells.iter().all(|cell| cell == first) {
                return first.clone();
            }
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            return column.kind.write(match self.code_of(&column.name) {
                Some(code) => code.nearest(mean),
                None => Number::Double(mean),
            });
        }
        let mut counts: HashMap<&str, usize> = HashMap::new();
        cells.iter().for_each(|cell| *counts.entry(cell).or_default() += 1);
        let place = |cell: &str| match &column.kind {
            ColumnKind::Categorical { levels } => levels.iter().position(|level| level == cell).unwrap_or(levels.len()),
            _ => 0,
        };
        let best = counts.into_iter().max_by_key(|(cell, count)| (*count, std::cmp::Reverse(place(cell))));
        best.map_or_else(String::new, |(cell, _)| cell.to_owned())
    }
}

/// Whether a cell is missing: empty or one of the usual marks, one that the model saw in this column, or one of `marks`.
pub fn is_missing_cell(cell: &str, kind: Option<&ColumnKind>, marks: &[String]) -> bool {
    let number = kind.is_some_and(ColumnKind::is_number);
    read_cell(cell) == Cell::Missing
        || marks.iter().any(|mark| mark.trim() == cell.trim())
        || number && is_mark_among_numbers(cell)
        || kind.and_then(ColumnKind::missing).is_some_and(|marks| marks.hold(cell))
}

impl NumericalCode {
    /// The ranks of the values that compare so with one; none for a comparison that is no range.
    fn ranks_of(&self, comparison: Comparison, value: Number) -> Option<[u32; 2]> {
        let place = |number: Number| match number {
            Number::Double(value) => self.rank_interval(value),
            Number::Integer(value) => self.integer_interval(value),
        };
        let [low, high] = place(value);
        match comparison {
            Comparison::Less => Some([0, low]),
            Comparison::AtMost => Some([0, high]),
            Comparison::Greater => Some([high, self.total()]),
            Comparison::AtLeast => Some([low, self.total()]),
            Comparison::Equal | Comparison::Unequal => None,
        }
    }
}

/// Whether a cell is one that the column knows.
fn reads(column: &ColumnSchema, cell: &str) -> bool {
    let table = Table::new(vec![column.name.clone()], vec![vec![cell.to_owned()]]);
    table.is_ok_and(|table| column.read_exact(&table).is_ok())
}

fn nothing_left(condition: &Condition) -> Error {
    Error::Table(format!(
        "'{}' leaves no value to '{}' together with the other conditions",
        condition.text(),
        condition.column()
    ))
}

/// Where the columns of a schema stand in the coded row.
struct Places(Vec<Place>);

enum Place {
    /// A number, and where the block begins that says whether it is missing.
    Number {
        index: usize,
        indicator: Option<usize>,
    },
    Block {
        start: usize,
        size: usize,
    },
    Nowhere,
}

impl Places {
    fn of(codec: &Codec) -> Self {
        let (mut number, mut start) = (0, 0);
        let mut indicator: usize = codec
            .schema()
            .columns
            .iter()
            .map(|column| if let ColumnKind::Categorical { levels } = &column.kind { levels.len() } else { 0 })
            .sum();
        let place = |column: &ColumnSchema| match &column.kind {
            ColumnKind::Categorical { levels } => {
                start += levels.len();
                Place::Block { start: start - levels.len(), size: levels.len() }
            }
            kind if kind.is_number() => {
                number += 1;
                let indicator = kind.missing().map(|_| {
                    indicator += 2;
                    indicator - 2
                });
                Place::Number { index: number - 1, indicator }
            }
            _ => Place::Nowhere,
        };
        Self(codec.schema().columns.iter().map(place).collect())
    }
}

impl Relations {
    /// What given cells say about cells that are learnt: a term of a sum whose other two are given, and whose cell a given
    /// cell repeats where that can be told.
    fn implied(&self, given: &Given, codec: &Codec) -> Result<Given> {
        let mut all = given.clone();
        let number = |cell: &str| match read_cell(cell) {
            Cell::Number(value) => Some(value),
            _ => None,
        };
        let kind = |name: &str| codec.kind_of(name);
        for sum in &self.sums {
            let Some(totals) = given.column(&sum.column.name) else { continue };
            for (one, other) in [(&sum.first, &sum.second), (&sum.second, &sum.first)] {
                for row in 0..given.rows {
                    let cell = |name: &str| given.column(name).and_then(|cells| cells[row].as_deref());
                    if let (Some(total), Some(term), None, Some(kind)) =
                        (&totals[row], cell(one), cell(other), kind(other))
                        && let (Some(total), Some(term)) = (number(total), number(term))
                    {
                        all.column_mut(other)[row] = Some(kind.write(Number::Double(total - term)));
                    }
                }
            }
        }
        for tie in &self.ties {
            let code = codec.code_of(&tie.column);
            let Some(code) = code else { continue };
            for row in 0..given.rows {
                let cell = |name: &str| all.column(name).and_then(|cells| cells[row].as_deref()).and_then(number);
                let Some(target) = cell(&tie.column) else { continue };
                let sources: Vec<Option<f64>> = tie.sources.iter().map(|name| cell(name)).collect();
                let common = !Self::is_rare(code, target);
                let rare = |name: &str| codec.code_of(name).is_some_and(|code| Self::is_rare(code, target));
                let same = |(name, source): (&String, &Option<f64>)| *source == Some(target) && rare(name);
                let level = match tie.sources.iter().zip(&sources).position(same) {
                    _ if common => Some(0),
                    // An unknown source before it may be equal too, and would then be named.
                    Some(at) if sources[..at].iter().all(Option::is_some) => Some(at + 1),
                    None if sources.iter().all(Option::is_some) => Some(0),
                    _ => None,
                };
                let levels = kind(&tie.companion);
                let level = level.map(|level| level.to_string()).filter(
                    |level| matches!(levels, Some(ColumnKind::Categorical { levels }) if levels.contains(level)),
                );
                all.column_mut(&tie.companion)[row] = level;
            }
        }
        Ok(all)
    }
}
