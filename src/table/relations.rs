//! Relations between columns that a smooth generator cannot hit: equal cells, exact sums, orders that always hold.
//!
//! They are found by counting in the training table and kept around the codec. [`Relations::prepare`] changes the table that is
//! learnt: a column that is always the sum of two others is left out, and a column whose cells often equal another's gets a
//! companion, a category that says which column this row's cell equals. [`Relations::restore`] undoes it in a generated table.

// Loops over rows read and write several columns of the same row.
#![allow(clippy::needless_range_loop)]

use std::collections::HashMap;

use super::condition::Rule;
use super::numerical::NumericalCode;
use super::schema::{ColumnKind, ColumnSchema, Schema};
use super::table::Table;
use super::values::ColumnValues;
use crate::Result;

/// Share of the rows in which two columns must be equal, by values that are rare in both: those that are common may meet by
/// chance, and their ties are the codec's matter.
const TIED: f64 = 0.02;
/// Share of a column's rows from which a value is common.
const COMMON: f64 = 0.01;
/// Columns that one column may equal.
const SOURCES: usize = 6;
/// Rows below which nothing is concluded, and violations of an order that chance must make likely before none counts.
const FEWEST: usize = 50;
const EXPECTED_VIOLATIONS: usize = 20;
/// Columns of numbers beyond which pairs and triples are not counted: the work grows with the cube.
const MOST_COLUMNS: usize = 64;

/// A column whose cells often equal those of others.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Tie {
    pub column: String,
    /// Columns before it, the most frequent first.
    pub sources: Vec<String>,
    /// The companion: level 0 says that the cell equals none, level k that it equals the k-th source.
    pub companion: String,
}

/// `column = first + second` in every row.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Sum {
    pub column: ColumnSchema,
    /// Where the column stands in the table.
    pub position: usize,
    pub first: String,
    pub second: String,
}

/// `smaller <= larger` in every row.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Order {
    pub smaller: String,
    pub larger: String,
}

/// What was found in a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub struct Relations {
    pub(super) ties: Vec<Tie>,
    pub(super) sums: Vec<Sum>,
    pub(super) orders: Vec<Order>,
    /// Stated, not found.
    #[cfg_attr(feature = "model-file", serde(default, skip_serializing_if = "Vec::is_empty"))]
    pub(super) rules: Vec<Rule>,
}

/// A column of numbers of the training table.
struct Numbers {
    position: usize,
    values: Vec<f64>,
    /// Whether each value is rare in its column.
    rare: Vec<bool>,
}

impl Relations {
    /// Finds the relations between the numbers of a table.
    ///
    /// # Errors
    /// As [`Schema::read`].
    pub fn find(table: &Table, schema: &Schema) -> Result<Self> {
        let mut found = Self::default();
        let rows = table.rows();
        if rows < FEWEST {
            return Ok(found);
        }
        let mut columns = Vec::new();
        for (position, (column, values)) in schema.columns.iter().zip(schema.read(table)?).enumerate() {
            if let (true, ColumnValues::Numbers(values)) = (column.kind.is_number(), values) {
                columns.push(Numbers::new(position, values));
            }
        }
        if columns.len() > MOST_COLUMNS {
            return Ok(found);
        }
        let derived = found.find_sums(&columns, schema);
        columns.retain(|column| !derived.contains(&column.position));
        found.find_ties(&columns, schema, table);
        found.find_orders(&columns, schema);
        Ok(found)
    }

    /// Notes sums; returns the positions of the columns that need not be learnt.
    fn find_sums(&mut self, columns: &[Numbers], schema: &Schema) -> Vec<usize> {
        let mut derived: Vec<usize> = Vec::new();
        let mut terms: Vec<usize> = Vec::new();
        for sum in columns {
            let ColumnKind::Numerical { missing: None, .. } = schema.columns[sum.position].kind else { continue };
            if terms.contains(&sum.position) {
                continue;
            }
            let pairs = columns.iter().enumerate().flat_map(|(i, a)| columns[i + 1..].iter().map(move |b| (a, b)));
            let adds_up = |a: &Numbers, b: &Numbers| {
                let scale = sum.largest().max(a.largest()).max(b.largest());
                // Terms that are all zero would make one column a copy of the other: that is a tie.
                [sum, a, b].iter().all(|column| column.varies())
                    && sum.values.iter().zip(&a.values).zip(&b.values).all(|((s, a), b)| {
                        // NaN, a missing cell, adds up to nothing.
                        (s - (a + b)).abs() <= 1e-12 * scale
                    })
            };
            let found = pairs
                .filter(|(a, b)| [a.position, b.position].iter().all(|p| *p != sum.position && !derived.contains(p)))
                .find(|(a, b)| adds_up(a, b));
            if let Some((a, b)) = found {
                let name = |column: &Numbers| schema.columns[column.position].name.clone();
                derived.push(sum.position);
                terms.extend([a.position, b.position]);
                let (column, position) = (schema.columns[sum.position].clone(), sum.position);
                self.sums.push(Sum { column, position, first: name(a), second: name(b) });
            }
        }
        derived
    }

    fn find_ties(&mut self, columns: &[Numbers], schema: &Schema, table: &Table) {
        for (i, target) in columns.iter().enumerate() {
            let kind = &schema.columns[target.position].kind;
            let same_kind = |source: &&Numbers| {
                std::mem::discriminant(&schema.columns[source.position].kind) == std::mem::discriminant(kind)
            };
            // The source that explains most of the rows left, as long as these are many: what equals the first source and
            // through it a second needs no level of its own.
            let mut left: Vec<usize> = (0..target.values.len()).filter(|&row| target.rare[row]).collect();
            let mut sources: Vec<&Numbers> = Vec::new();
            while sources.len() < SOURCES {
                let count = |source: &&Numbers| left.iter().filter(|&&row| target.ties_with(source, row)).count();
                let best = columns[..i].iter().filter(same_kind).map(|source| (count(&source), source));
                let Some((count, best)) = best.max_by_key(|(count, _)| *count) else { break };
                if (count as f64) < TIED * target.values.len() as f64 {
                    break;
                }
                left.retain(|&row| !target.ties_with(best, row));
                sources.push(best);
            }
            if sources.is_empty() {
                continue;
            }
            let name = |position: usize| schema.columns[position].name.clone();
            let column = name(target.position);
            let mut companion = format!("{column} equals");
            while table.column(&companion).is_some() {
                companion.push('\'');
            }
            self.ties.push(Tie { column, sources: sources.iter().map(|s| name(s.position)).collect(), companion });
        }
    }

    fn find_orders(&mut self, columns: &[Numbers], schema: &Schema) {
        let rows = columns.first().map_or(0, |column| column.values.len());
        for (i, a) in columns.iter().enumerate() {
            for b in &columns[i + 1..] {
                let (left, right) = (&schema.columns[a.position], &schema.columns[b.position]);
                // Cells are exchanged as they are written.
                if left.kind != right.kind {
                    continue;
                }
                for (smaller, larger, names) in [(a, b, [left, right]), (b, a, [right, left])] {
                    let pairs = || smaller.values.iter().zip(&larger.values);
                    if pairs().any(|(x, y)| x > y) || pairs().all(|(x, y)| x == y) {
                        continue;
                    }
                    // How often would values that do not belong together break it?
                    let apart = larger.values.iter().cycle().skip(rows / 2);
                    if smaller.values.iter().zip(apart).filter(|(x, y)| x > y).count() >= EXPECTED_VIOLATIONS {
                        let [smaller, larger] = names.map(|column| column.name.clone());
                        self.orders.push(Order { smaller, larger });
                    }
                }
            }
        }
    }

    /// The table and schema to be learnt.
    ///
    /// # Errors
    /// As [`Schema::read`].
    pub fn prepare(&self, table: &Table, schema: &Schema) -> Result<(Table, Schema)> {
        let mut names = table.names().to_vec();
        let mut columns = table.columns().to_vec();
        let mut learnt = schema.clone();
        let read = |name: &str| -> Result<Numbers> {
            let position = schema.columns.iter().position(|column| column.name == name).unwrap_or(0);
            let ColumnValues::Numbers(values) = schema.columns[position].read(table)? else {
                return Ok(Numbers { position, values: vec![f64::NAN; table.rows()], rare: vec![false; table.rows()] });
            };
            Ok(Numbers::new(position, values))
        };
        for tie in &self.ties {
            let target = read(&tie.column)?;
            let sources = tie.sources.iter().map(|name| read(name)).collect::<Result<Vec<_>>>()?;
            let level = |row: usize| sources.iter().position(|s| target.ties_with(s, row)).map_or(0, |at| at + 1);
            let cells: Vec<String> = (0..table.rows()).map(|row| level(row).to_string()).collect();
            let levels = (0..=sources.len()).map(|level| level.to_string()).filter(|level| cells.contains(level));
            let kind = ColumnKind::Categorical { levels: levels.collect() };
            names.push(tie.companion.clone());
            columns.push(cells);
            learnt.columns.push(ColumnSchema { name: tie.companion.clone(), kind });
        }
        learnt.columns.retain(|column| self.sums.iter().all(|sum| sum.column.name != column.name));
        Ok((Table::new(names, columns)?, learnt))
    }

    /// Whether a value is rare in its column, of which `code` knows the training table's values.
    pub(super) fn is_rare(code: &NumericalCode, value: f64) -> bool {
        let [low, high] = code.rank_interval(value);
        f64::from(high - low) <= most_of_a_rare_value(code.total() as usize)
    }

    /// Whether what is written back can be written.
    pub(crate) fn is_sound(&self) -> bool {
        self.sums.iter().all(|sum| sum.column.kind.has_sound_decimals())
    }

    /// One sentence for each relation, for people.
    pub fn in_words(&self) -> Vec<String> {
        let ties =
            self.ties.iter().map(|tie| format!("'{}' often equals '{}'", tie.column, tie.sources.join("' or '")));
        let sum = |sum: &Sum| format!("'{}' is always '{}' + '{}'", sum.column.name, sum.first, sum.second);
        let orders = self.orders.iter().map(|o| format!("'{}' is never above '{}'", o.smaller, o.larger));
        let rules = self.rules.iter().map(|rule| format!("'{}' is kept, as stated", rule.text()));
        ties.chain(self.sums.iter().map(sum)).chain(orders).chain(rules).collect()
    }
}

/// How often a value may occur in so many rows and be rare.
fn most_of_a_rare_value(rows: usize) -> f64 {
    (COMMON * rows as f64).max(2.0)
}

impl Numbers {
    fn new(position: usize, values: Vec<f64>) -> Self {
        let mut counts: HashMap<u64, usize> = HashMap::new();
        values.iter().for_each(|x| *counts.entry(x.to_bits()).or_default() += 1);
        let most = most_of_a_rare_value(values.len());
        let rare = values.iter().map(|x| !x.is_nan() && counts[&x.to_bits()] as f64 <= most).collect();
        Self { position, values, rare }
    }

    fn ties_with(&self, other: &Self, row: usize) -> bool {
        self.rare[row] && other.rare[row] && self.values[row] == other.values[row]
    }

    fn largest(&self) -> f64 {
        self.values.iter().fold(0.0, |largest, x| x.abs().max(largest))
    }

    fn varies(&self) -> bool {
        self.values.iter().any(|&x| x != self.values[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::SchemaOptions;

    /// Bills, payments that equal them in every third row, totals of both, and days from and to.
    fn table() -> Table {
        let mut state = 3u64;
        let mut next = |bound: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % bound
        };
        let mut columns = vec![Vec::new(); 5];
        for row in 0..600 {
            let bill = 1000 + next(100_000);
            let paid = if row % 3 == 0 { bill } else { 5 + next(90_000) };
            let from = next(300);
            let cells = [bill, paid, bill + paid, from, from + 1 + next(40)];
            columns.iter_mut().zip(cells).for_each(|(column, cell)| column.push(cell.to_string()));
        }
        let names = ["bill", "paid", "total", "from", "to"].map(str::to_owned).to_vec();
        Table::new(names, columns).unwrap()
    }

    #[test]
    fn ties_sums_and_orders_are_found_and_come_back() {
        let table = table();
        let schema = Schema::infer(&table, &SchemaOptions::default()).unwrap();
        let relations = Relations::find(&table, &schema).unwrap();
        let words = relations.in_words();
        assert!(words.contains(&"'paid' often equals 'bill'".into()), "{words:?}");
        assert!(words.contains(&"'total' is always 'bill' + 'paid'".into()), "{words:?}");
        assert!(words.contains(&"'from' is never above 'to'".into()), "{words:?}");
        assert_eq!(words.len(), 3, "{words:?}");
        let (learnt, learnt_schema) = relations.prepare(&table, &schema).unwrap();
        assert_eq!(learnt_schema.columns.len(), 5);
        // What a generator that knows nothing of relations makes: no ties, no sums, orders broken.
        let mut columns: Vec<Vec<String>> = Vec::new();
        let mut names = Vec::new();
        for column in &learnt_schema.columns {
            let mut cells = learnt.column(&column.name).unwrap().to_vec();
            match column.name.as_str() {
                "paid" => cells.iter_mut().for_each(|cell| *cell = "7".into()),
                "from" => cells[5] = "100000".into(),
                _ => {}
            }
            names.push(column.name.clone());
            columns.push(cells);
        }
        let restored = relations.restore(Table::new(names, columns).unwrap(), &learnt_schema).unwrap();
        assert_eq!(restored.names(), table.names());
        let number = |name: &str, row: usize| restored.column(name).unwrap()[row].parse::<i64>().unwrap();
        for row in 0..600 {
            let wanted = if row % 3 == 0 { number("bill", row) } else { 7 };
            assert_eq!(number("paid", row), wanted);
            assert_eq!(number("total", row), number("bill", row) + number("paid", row));
            assert!(number("from", row) <= number("to", row));
        }
    }

    #[test]
    fn columns_that_have_nothing_to_do_with_each_other_are_left_alone() {
        let columns = [17u64, 23, 29].map(|step| (0..400).map(|i| (i * step % 997).to_string()).collect());
        let names = ["a", "b", "c"].map(str::to_owned).to_vec();
        let table = Table::new(names, columns.to_vec()).unwrap();
        let schema = Schema::infer(&table, &SchemaOptions::default()).unwrap();
        let relations = Relations::find(&table, &schema).unwrap();
        assert_eq!(relations, Relations::default(), "{:?}", relations.in_words());
        assert_eq!(relations.restore(table.clone(), &schema).unwrap(), table);
    }
}
