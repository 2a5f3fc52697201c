//! The codec: rows of a table to real vectors and back (rank transform for numbers, one-hot for categories).
//!
//! **Matrix layout.** One row per table row. First the numerical columns in schema order, one normal score each; then one
//! one-hot block per categorical column in schema order; then, for each numerical column with admitted missing cells, a
//! block of two that says filled or missing. Constant columns take no place and are written back as they were; identifiers
//! take none either and are made anew. Dates are numbers inside.
//!
//! **Numbers.** A value that occupies the ranks [lo, hi) of the n sorted training values becomes Phi^-1(u) with u in
//! [lo/n, hi/n): the middle, or a uniform draw ([`TieCode`]), kept at least 0.5/n away from 0 and 1. Going back, u = Phi(z)
//! falls into the rank interval of exactly one observed value. A value seen at least twice owns its interval and comes
//! back exactly, so point masses keep their mass. Values seen once can either be copied, which is the exact empirical
//! quantile function ([`Decode::Observed`]), or serve as knots at the middle of their interval with straight lines
//! between ([`Decode::Interpolate`]). Both reproduce the marginal within 1/n in the Kolmogorov distance; copying makes
//! every generated amount one that a real row carries, which says more about the training rows than about the
//! distribution they came from, so interpolation is the default. Interpolated values stay on the column's grid (whole
//! numbers, cents, steps of 1000) and between their two neighbours, hence in the observed range. Columns with at most
//! 100 distinct values are lattices, for which only observed values are returned. Whole numbers that doubles do not hold
//! are kept, interpolated and written exactly.

use super::encoded::EncodedTable;
pub use super::numerical::{Decode, NumericalCode};
use super::schema::{ColumnKind, Schema};
use super::table::Table;
use super::values::ColumnValues;
use crate::{Error, Result};
use faer::{Mat, MatRef};
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

/// Where in its rank interval a numerical cell is placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TieCode {
    /// In the middle: no randomness, and decoding gives the table back.
    Middle,
    /// Uniformly in the interval, which makes the scores of a column with ties exactly normal.
    Spread {
        /// Seed of the draws.
        seed: u64,
    },
}

/// A fitted codec; see the module's text for what it does.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "model-file", serde(into = "CodecParts", try_from = "CodecParts"))]
pub struct Codec {
    schema: Schema,
    numbers: Vec<NumericalCode>,
    level_counts: Vec<Vec<u32>>,
    blocks: Vec<usize>,
}

/// Everything a codec has learned, in plain data: for storing it.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub struct CodecParts {
    /// The columns.
    pub schema: Schema,
    /// For each numerical column its distinct values, ascending; the nearest doubles, where `exact` has them.
    pub levels: Vec<Vec<f64>>,
    /// For each numerical column whose values are whole numbers that doubles do not hold, these values.
    pub exact: Vec<Option<Vec<i128>>>,
    /// For each numerical column how often each of these values occurs.
    pub counts: Vec<Vec<u32>>,
    /// For each one-hot block how often each level occurs.
    pub level_counts: Vec<Vec<u32>>,
}

impl Codec {
    /// Learns the codec of a table.
    ///
    /// # Errors
    /// [`Error::Table`] if a cell does not fit the schema or the table has no rows.
    pub fn fit(table: &Table, schema: &Schema) -> Result<Self> {
        if table.rows() == 0 || u32::try_from(table.rows()).is_err() {
            return Err(Error::Table(format!("the table has {} rows; give between 2 and {}", table.rows(), u32::MAX)));
        }
        let (mut levels, mut exact, mut counts) = (Vec::new(), Vec::new(), Vec::new());
        let (mut level_counts, mut indicators) = (Vec::new(), Vec::new());
        for column in &schema.columns {
            let values = column.read_exact(table)?;
            let filled = match &values {
                ColumnValues::Numbers(values) => {
                    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
                    sorted.sort_unstable_by(f64::total_cmp);
                    let (distinct, count) = run_lengths(&sorted);
                    levels.push(distinct);
                    exact.push(None);
                    counts.push(count);
                    sorted.len()
                }
                ColumnValues::Integers(values) => {
                    let mut sorted: Vec<i128> = values.iter().flatten().copied().collect();
                    sorted.sort_unstable();
                    let (distinct, count) = run_lengths(&sorted);
                    levels.push(distinct.iter().map(|&value| value as f64).collect());
                    exact.push(Some(distinct));
                    counts.push(count);
                    sorted.len()
                }
                _ => 0,
            };
            match (&column.kind, values) {
                (kind, _) if kind.missing().is_some() => {
                    indicators.push(vec![filled as u32, (table.rows() - filled) as u32]);
                }
                (ColumnKind::Categorical { levels }, ColumnValues::Levels(positions)) => {
                    let mut count = vec![0; levels.len()];
                    positions.iter().for_each(|&position| count[position as usize] += 1);
                    level_counts.push(count);
                }
                _ => {}
            }
        }
        level_counts.append(&mut indicators);
        Self::from_parts(CodecParts { schema: schema.clone(), levels, exact, counts, level_counts })
    }

    /// Puts a codec together from what was stored of it.
    ///
    /// # Errors
    /// [`Error::Table`] if the parts do not belong together.
    pub fn from_parts(parts: CodecParts) -> Result<Self> {
        let CodecParts { schema, levels, exact, counts, level_counts } = parts;
        let wrong =
            |what: &str| Err(Error::Table(format!("the stored codec is damaged ({what}); fit the model again")));
        if schema.columns.is_empty() {
            return wrong("it has no columns");
        }
        let (mut formats, mut blocks, mut indicators) = (Vec::new(), Vec::new(), Vec::new());
        for column in &schema.columns {
            formats.extend(column.kind.number_format());
            if !column.kind.has_sound_decimals() {
                return wrong("a column has more decimals than there can be");
            }
            indicators.extend(column.kind.missing().map(|_| 2));
            if let ColumnKind::Categorical { levels } = &column.kind {
                blocks.push(levels.len());
            }
        }
        blocks.append(&mut indicators);
        if [levels.len(), exact.len(), counts.len()] != [formats.len(); 3] {
            return wrong("the numerical columns are not all there");
        }
        if blocks.contains(&0) || !level_counts.iter().map(Vec::len).eq(blocks.iter().copied()) {
            return wrong("the categorical columns do not fit their levels");
        }
        let mut numbers = Vec::with_capacity(formats.len());
        for (((levels, exact), counts), format) in levels.into_iter().zip(exact).zip(counts).zip(formats) {
            match NumericalCode::new(levels, exact, &counts, format) {
                Some(code) => numbers.push(code),
                None => return wrong("the values of a numerical column are not in order"),
            }
        }
        Ok(Self { schema, numbers, level_counts, blocks })
    }

    /// What the codec has learned, for storing it.
    pub fn to_parts(&self) -> CodecParts {
        CodecParts {
            schema: self.schema.clone(),
            levels: self.numbers.iter().map(|code| code.levels().to_vec()).collect(),
            exact: self.numbers.iter().map(|code| code.exact().map(<[_]>::to_vec)).collect(),
            counts: self.numbers.iter().map(NumericalCode::counts).collect(),
            level_counts: self.level_counts.clone(),
        }
    }

    /// The columns.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Number of numerical columns, which are the first columns of the matrix.
    pub fn numerical(&self) -> usize {
        self.numbers.len()
    }

    /// Sizes of the one-hot blocks, in the order of the matrix.
    pub fn blocks(&self) -> &[usize] {
        &self.blocks
    }

    /// Columns of the matrix.
    pub fn width(&self) -> usize {
        self.numbers.len() + self.blocks.iter().sum::<usize>()
    }

    /// How often each level of each one-hot block occurs in the training table.
    pub fn level_counts(&self) -> &[Vec<u32>] {
        &self.level_counts
    }

    /// The numerical columns' values and frequencies.
    pub fn numerical_codes(&self) -> &[NumericalCode] {
        &self.numbers
    }

    /// What the column of this name holds.
    pub(super) fn kind_of(&self, name: &str) -> Option<&ColumnKind> {
        self.schema.columns.iter().find(|column| column.name == name).map(|column| &column.kind)
    }

    /// The values of the numerical column of this name.
    pub(super) fn code_of(&self, name: &str) -> Option<&NumericalCode> {
        let numbers = self.schema.columns.iter().filter(|column| column.kind.is_number());
        numbers.zip(&self.numbers).find(|(column, _)| column.name == name).map(|(_, code)| code)
    }

    /// Finds the rank interval of every numerical cell and the level of every categorical one; from these the matrix, or
    /// single rows of it, can be drawn again and again cheaply.
    ///
    /// Values that the training table does not have get the empty interval between their neighbours.
    ///
    /// # Errors
    /// [`Error::Table`] if a cell does not fit the schema.
    pub fn ranks(&self, table: &Table) -> Result<EncodedTable> {
        let mut ranks = vec![[0; 2]; table.rows() * self.numbers.len()];
        let mut levels = vec![0; table.rows() * self.blocks.len()];
        let (mut number, mut block, mut indicator) = (0, 0, self.schema.categorical());
        for column in &self.schema.columns {
            // The ranks of a numerical column, and which of its cells are missing.
            let found: Vec<([u32; 2], bool)> = match column.read_exact(table)? {
                ColumnValues::Numbers(values) => {
                    let code = &self.numbers[number];
                    values.iter().map(|&value| (code.rank_interval(value), value.is_nan())).collect()
                }
                ColumnValues::Integers(values) => {
                    let code = &self.numbers[number];
                    let all = [0, code.total()];
                    let ranks = |value: Option<i128>| value.map_or(all, |value| code.integer_interval(value));
                    values.iter().map(|&value| (ranks(value), value.is_none())).collect()
                }
                ColumnValues::Levels(positions) => {
                    for (row, &position) in positions.iter().enumerate() {
                        levels[row * self.blocks.len() + block] = position;
                    }
                    block += 1;
                    continue;
                }
                ColumnValues::Constant => continue,
            };
            for (row, &(interval, _)) in found.iter().enumerate() {
                ranks[row * self.numbers.len() + number] = interval;
            }
            number += 1;
            if column.kind.missing().is_some() {
                for (row, &(_, absent)) in found.iter().enumerate() {
                    levels[row * self.blocks.len() + indicator] = u32::from(absent);
                }
                indicator += 1;
            }
        }
        let totals = self.numbers.iter().map(NumericalCode::total).collect();
        Ok(EncodedTable::new(table.rows(), totals, self.blocks.clone(), ranks, levels))
    }

    /// Encodes a table as a matrix, `rows` x [`Codec::width`].
    ///
    /// # Errors
    /// [`Error::Table`] if a cell does not fit the schema.
    pub fn encode(&self, table: &Table, ties: TieCode) -> Result<Mat<f64>> {
        let encoded = self.ranks(table)?;
        let mut matrix = Mat::zeros(table.rows(), self.width());
        match ties {
            TieCode::Middle => encoded.middle_into(matrix.as_mut()),
            TieCode::Spread { seed } => {
                encoded.draw_into(matrix.as_mut(), &mut Xoshiro256PlusPlus::seed_from_u64(seed));
            }
        }
        Ok(matrix)
    }

    /// Decodes a matrix, `rows` x [`Codec::width`]: normal scores to values, the largest entry of each block to its level.
    ///
    /// # Errors
    /// [`Error::Shape`] for a wrong width and [`Error::NotFinite`] for a NaN or an infinity.
    pub fn decode(&self, matrix: MatRef<'_, f64>, how: Decode) -> Result<Table> {
        let rows = matrix.nrows();
        if matrix.ncols() != self.width() {
            return Err(Error::Shape {
                what: "the matrix to decode",
                rows,
                columns: self.width(),
                found_rows: rows,
                found_columns: matrix.ncols(),
            });
        }
        for column in 0..matrix.ncols() {
            if let Some(row) = (0..rows).find(|&row| !matrix[(row, column)].is_finite()) {
                return Err(Error::NotFinite { what: "the matrix to decode", row, column });
            }
        }
        let (mut number, mut block) = (0, 0);
        let mut indicator = self.schema.categorical();
        let mut offsets = Vec::with_capacity(self.blocks.len());
        let mut offset = self.numbers.len();
        for size in &self.blocks {
            offsets.push(offset);
            offset += size;
        }
        let mut columns = Vec::with_capacity(self.schema.columns.len());
        for column in &self.schema.columns {
            columns.push(match &column.kind {
                ColumnKind::Constant { value } => vec![value.clone(); rows],
                ColumnKind::Categorical { levels } => {
                    let (start, size) = (offsets[block], levels.len());
                    block += 1;
                    (0..rows).map(|row| levels[largest(matrix, row, start, size)].clone()).collect()
                }
                ColumnKind::Identifier { pattern } => pattern.generate(rows, seed_of(matrix)),
                kind @ (ColumnKind::Numerical { .. } | ColumnKind::Time { .. }) => {
                    let code = &self.numbers[number];
                    let mut cells: Vec<String> =
                        (0..rows).map(|row| kind.write(code.number(matrix[(row, number)], how))).collect();
                    number += 1;
                    if let Some(marks) = kind.missing() {
                        for (row, cell) in cells.iter_mut().enumerate() {
                            if largest(matrix, row, offsets[indicator], 2) == 1 {
                                marks.written().clone_into(cell);
                            }
                        }
                        indicator += 1;
                    }
                    cells
                }
            });
        }
        Table::new(self.schema.columns.iter().map(|column| column.name.clone()).collect(), columns)
    }
}

impl From<Codec> for CodecParts {
    fn from(codec: Codec) -> Self {
        codec.to_parts()
    }
}

impl TryFrom<CodecParts> for Codec {
    type Error = Error;

    fn try_from(parts: CodecParts) -> Result<Self> {
        Self::from_parts(parts)
    }
}

/// Position of the largest of `size` entries of a row; the first of equals.
fn largest(matrix: MatRef<'_, f64>, row: usize, start: usize, size: usize) -> usize {
    let mut best = 0;
    for position in 1..size {
        if matrix[(row, start + position)] > matrix[(row, start + best)] {
            best = position;
        }
    }
    best
}

/// The seed of what is drawn for identifiers, which the rows themselves decide: equal rows give equal tables.
fn seed_of(matrix: MatRef<'_, f64>) -> u64 {
    let first = (0..matrix.ncols().min(8)).filter(|_| matrix.nrows() > 0).map(|column| matrix[(0, column)].to_bits());
    first.fold(0x9e37_79b9_7f4a_7c15, |seed, bits| (seed ^ bits).wrapping_mul(0x2545_f491_4f6c_dd1d).rotate_left(29))
}

fn run_lengths<T: PartialEq + Copy>(sorted: &[T]) -> (Vec<T>, Vec<u32>) {
    let (mut levels, mut counts): (Vec<T>, Vec<u32>) = (Vec::new(), Vec::new());
    for &value in sorted {
        match (levels.last(), counts.last_mut()) {
            (Some(&last), Some(count)) if last == value => *count += 1,
            _ => {
                levels.push(value);
                counts.push(1);
            }
        }
    }
    (levels, counts)
}
