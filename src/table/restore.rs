//! Relations in a generated table: companions used and taken away, sums added, cells that break an order exchanged; and what is
//! given of a row left as it is.

// Loops over rows read and write several columns of the same row.
#![allow(clippy::needless_range_loop)]

use std::cmp::Ordering;

use super::condition::{Comparison, Rule, compare, numbers};
use super::given::Given;
use super::number::{Cell, Number, read_cell};
use super::relations::Relations;
use super::schema::{ColumnKind, ColumnSchema, Schema};
use super::table::Table;
use crate::{Error, Result};

/// A table on its way: some of its cells are given and stay.
struct Draft {
    names: Vec<String>,
    columns: Vec<Vec<String>>,
    /// For each column whether its cells are given; empty where none is.
    fixed: Vec<Vec<bool>>,
    /// Whether each row keeps all relations.
    kept: Vec<bool>,
}

impl Draft {
    fn place(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|own| own == name)
    }

    fn is_fixed(&self, column: usize, row: usize) -> bool {
        self.fixed[column].get(row).copied().unwrap_or(false)
    }

    fn fix(&mut self, column: usize, row: usize, cell: String) {
        if self.fixed[column].is_empty() {
            self.fixed[column] = vec![false; self.kept.len()];
        }
        self.fixed[column][row] = true;
        self.columns[column][row] = cell;
    }

    fn remove(&mut self, column: usize) {
        self.names.remove(column);
        self.columns.remove(column);
        self.fixed.remove(column);
    }
}

impl Relations {
    /// A generated table of these columns with its relations.
    ///
    /// # Errors
    /// [`Error::Table`](crate::Error::Table) if columns are missing.
    pub fn restore(&self, table: Table, schema: &Schema) -> Result<Table> {
        let rows = table.rows();
        self.restore_given(table, schema, &Given::nothing(rows)).map(|(table, _)| table)
    }

    /// The same where cells are given. Also says of each row whether all relations hold with them; where not, the row is to be
    /// drawn again, and the given cells stand in it all the same.
    ///
    /// # Errors
    /// As [`Relations::restore`].
    pub fn restore_given(&self, table: Table, schema: &Schema, given: &Given) -> Result<(Table, Vec<bool>)> {
        let rows = table.rows();
        let (names, columns) = (table.names().to_vec(), table.columns().to_vec());
        let mut draft = Draft { fixed: vec![Vec::new(); names.len()], names, columns, kept: vec![true; rows] };
        for column in 0..draft.names.len() {
            let Some(cells) = given.column(&draft.names[column]) else { continue };
            for row in 0..rows {
                if let Some(cell) = &cells[row] {
                    draft.fix(column, row, cell.clone());
                }
            }
        }
        for order in &self.orders {
            exchange(&mut draft, schema, &order.smaller, &order.larger);
        }
        for rule in &self.rules {
            match rule.comparison {
                Comparison::AtMost | Comparison::Less => exchange(&mut draft, schema, &rule.left, &rule.right),
                Comparison::AtLeast | Comparison::Greater => exchange(&mut draft, schema, &rule.right, &rule.left),
                Comparison::Equal | Comparison::Unequal => {}
            }
        }
        self.copy_backwards(&mut draft);
        self.copy(&mut draft);
        self.add(&mut draft, given);
        Ok((Table::new(draft.names, draft.columns)?, draft.kept))
    }

    /// A given cell that repeats another column's gives it to that column. Later columns repeat earlier ones, so the last come
    /// first.
    fn copy_backwards(&self, draft: &mut Draft) {
        for tie in self.ties.iter().rev() {
            let (Some(to), Some(companion)) = (draft.place(&tie.column), draft.place(&tie.companion)) else { continue };
            let sources: Vec<_> = tie.sources.iter().map(|name| draft.place(name)).collect();
            for row in 0..draft.kept.len() {
                if let Some(from) = source(&draft.columns[companion][row], &sources)
                    && draft.is_fixed(to, row)
                    && !draft.is_fixed(from, row)
                {
                    let cell = draft.columns[to][row].clone();
                    draft.fix(from, row, cell);
                }
            }
        }
    }

    fn copy(&self, draft: &mut Draft) {
        for tie in &self.ties {
            let (Some(to), Some(companion)) = (draft.place(&tie.column), draft.place(&tie.companion)) else { continue };
            let sources: Vec<_> = tie.sources.iter().map(|name| draft.place(name)).collect();
            for row in 0..draft.kept.len() {
                if let Some(from) = source(&draft.columns[companion][row], &sources)
                    && !draft.is_fixed(to, row)
                {
                    draft.columns[to][row] = draft.columns[from][row].clone();
                }
            }
            draft.remove(companion);
        }
    }

    fn add(&self, draft: &mut Draft, given: &Given) {
        let number = |cell: &str| match read_cell(cell) {
            Cell::Number(value) => Some(value),
            Cell::Integer(value) => Some(value as f64),
            _ => None,
        };
        for sum in &self.sums {
            let (Some(a), Some(b)) = (draft.place(&sum.first), draft.place(&sum.second)) else { continue };
            let totals = given.column(&sum.column.name);
            let mut cells = Vec::with_capacity(draft.kept.len());
            for row in 0..draft.kept.len() {
                let terms = number(&draft.columns[a][row]).zip(number(&draft.columns[b][row]));
                let added = terms.map(|(x, y)| sum.column.kind.write(Number::Double(x + y)));
                let Some(total) = totals.and_then(|totals| totals[row].as_ref()) else {
                    cells.push(added.unwrap_or_default());
                    continue;
                };
                if added.as_deref().and_then(number) != number(total) {
                    // The other term makes it up where one alone is given.
                    let (one, other) = if draft.is_fixed(b, row) { (b, a) } else { (a, b) };
                    let rest = number(total).zip(number(&draft.columns[one][row])).map(|(total, x)| total - x);
                    let kind = &sum.column.kind;
                    match rest {
                        Some(rest) if draft.is_fixed(one, row) && !draft.is_fixed(other, row) => {
                            draft.columns[other][row] = kind.write(Number::Double(rest));
                        }
                        _ => draft.kept[row] = draft.is_fixed(one, row) && draft.is_fixed(other, row),
                    }
                }
                cells.push(total.clone());
            }
            let position = sum.position.min(draft.names.len());
            draft.names.insert(position, sum.column.name.clone());
            draft.columns.insert(position, cells);
            draft.fixed.insert(position, Vec::new());
        }
    }

    /// Rules that were stated.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Keeps a rule in what is generated.
    ///
    /// # Errors
    /// [`Error::Table`] if a row of the training table breaks it.
    pub fn keep(&mut self, rule: &Rule, table: &Table, schema: &Schema) -> Result<()> {
        if let Some(row) = rule.obeyed(table, &schema.columns)?.iter().position(|obeyed| !obeyed) {
            return Err(Error::Table(format!(
                "row {} of the table breaks the rule '{}', which is to be kept; leave the row out or correct it",
                row + 1,
                rule.text()
            )));
        }
        self.rules.push(rule.clone());
        Ok(())
    }

    /// The columns of generated tables, in their order: what is learnt less the companions, and the sums.
    pub fn columns(&self, learnt: &Schema) -> Vec<ColumnSchema> {
        let companion = |name: &str| self.ties.iter().any(|tie| tie.companion == name);
        let mut columns: Vec<_> = learnt.columns.iter().filter(|column| !companion(&column.name)).cloned().collect();
        for sum in &self.sums {
            columns.insert(sum.position.min(columns.len()), sum.column.clone());
        }
        columns
    }
}

/// The column that a companion names.
fn source(level: &str, sources: &[Option<usize>]) -> Option<usize> {
    level.parse::<usize>().ok()?.checked_sub(1).and_then(|source| *sources.get(source)?)
}

/// Exchanges two cells of one kind where the first is larger; a row in which one of them is given is not kept.
fn exchange(draft: &mut Draft, schema: &Schema, smaller: &str, larger: &str) {
    let find = |name: &str| schema.columns.iter().find(|column| column.name == name);
    let (Some(one), Some(other)) = (find(smaller), find(larger)) else { return };
    let (Some(a), Some(b)) = (draft.place(smaller), draft.place(larger)) else { return };
    let read = |column: &ColumnSchema, cells: &[String]| {
        let table = Table::new(vec![column.name.clone()], vec![cells.to_vec()]).ok()?;
        Some(numbers(column.read_exact(&table).ok()?))
    };
    let (Some(lower), Some(upper)) = (read(one, &draft.columns[a]), read(other, &draft.columns[b])) else { return };
    for row in 0..draft.kept.len() {
        let order = lower[row].zip(upper[row]).and_then(|(x, y)| compare(x, y));
        if order != Some(Ordering::Greater) {
            continue;
        }
        if alike(&one.kind, &other.kind) && !draft.is_fixed(a, row) && !draft.is_fixed(b, row) {
            let cell = std::mem::take(&mut draft.columns[a][row]);
            draft.columns[a][row] = std::mem::replace(&mut draft.columns[b][row], cell);
        } else {
            draft.kept[row] = draft.is_fixed(a, row) && draft.is_fixed(b, row);
        }
    }
}

/// Whether cells of one column are written as those of the other; which cells are missing does not matter.
fn alike(one: &ColumnKind, other: &ColumnKind) -> bool {
    match (one, other) {
        (ColumnKind::Numerical { integer: a, format: f, .. }, ColumnKind::Numerical { integer: b, format: g, .. }) => {
            a == b && f == g
        }
        (ColumnKind::Time { format: a, .. }, ColumnKind::Time { format: b, .. }) => a == b,
        _ => false,
    }
}
