//! The three tables of a comparison as numbers and level positions under one layout.
//!
//! This is the only file that knows how the cells of a column are read. A number is what the schema's column reads. Two
//! cells are one category if their texts are equal without the blanks around them; where the training table's categories are
//! different plain numbers, `2` and `2.0` are one as well.

use crate::table::number::{Cell, NumberFormat, is_digit_code, read_cell};
use crate::table::{ColumnKind, ColumnSchema, ColumnValues, Schema, Table};
use crate::{Error, Result};
use std::collections::{BTreeMap, HashMap};

/// How a missing cell is shown among the levels of a category.
const MISSING: &str = "(missing)";
/// Whole numbers beyond this are not told apart in double precision.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A numerical column.
#[derive(Debug, Clone)]
pub(super) struct NumberColumn {
    pub name: String,
    /// Whether the training values are whole.
    pub whole: bool,
}

/// A categorical column.
#[derive(Debug, Clone)]
pub(super) struct CategoryColumn {
    pub name: String,
    /// The training table's levels, then those that only the other tables have.
    pub levels: Vec<String>,
    /// How many of them the training table has.
    pub known: usize,
}

/// Which columns are compared and how: numerical ones first, then categorical ones.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub numbers: Vec<NumberColumn>,
    pub categories: Vec<CategoryColumn>,
    /// Number of levels of each categorical column.
    pub sizes: Vec<usize>,
    /// The table's order: for each column whether it is numerical, and its position among its kind.
    pub order: Vec<(bool, usize)>,
}

/// The rows of one table, column by column.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    pub count: usize,
    /// Numerical columns, NaN where a cell is missing. Rounded to single precision, as the public scorers do, except where
    /// that would make different values equal or infinite.
    pub numbers: Vec<Vec<f64>>,
    /// Categorical columns as positions among the levels.
    pub levels: Vec<Vec<u32>>,
}

/// The tables that are compared: training, test, synthetic.
pub(super) type Three<T> = [T; 3];
pub(super) const NAMES: Three<&str> = ["training", "test", "synthetic"];

/// Reads the columns of a schema from the three tables, all of which have them; none of them is an identifier.
pub(super) fn read(schema: &Schema, tables: Three<&Table>) -> Result<(Layout, Three<Rows>)> {
    let mut layout = Layout { numbers: Vec::new(), categories: Vec::new(), sizes: Vec::new(), order: Vec::new() };
    let mut rows = tables.map(|table| Rows { count: table.rows(), numbers: Vec::new(), levels: Vec::new() });
    for column in &schema.columns {
        let mut cells: Three<&[String]> = [&[]; 3];
        for (which, table) in tables.iter().enumerate() {
            cells[which] = table
                .column(&column.name)
                .ok_or_else(|| Error::Table(format!("the {} table has no column '{}'", NAMES[which], column.name)))?;
        }
        let name = column.name.clone();
        // A constant is what its cell is, so that another table may differ in it.
        let kind = match &column.kind {
            ColumnKind::Categorical { levels } => Err(levels.as_slice()),
            ColumnKind::Constant { value } => {
                let integer = match read_cell(value) {
                    Cell::Number(number) => Some(number.fract() == 0.0),
                    Cell::Integer(_) => Some(true),
                    _ => None,
                };
                let format = NumberFormat::of([value.as_str()]);
                let number = |integer| ColumnKind::Numerical { integer, format, missing: None };
                integer.map(number).ok_or(std::slice::from_ref(value))
            }
            number => Ok(number.clone()),
        };
        match kind {
            Ok(kind) => {
                let column = ColumnSchema { name: name.clone(), kind };
                let values = read_numbers(column, tables)?;
                let whole = values[0].iter().all(|value| value.is_nan() || value.fract() == 0.0);
                layout.order.push((true, layout.numbers.len()));
                layout.numbers.push(NumberColumn { name, whole });
                rows.iter_mut().zip(rounded(values)).for_each(|(rows, values)| rows.numbers.push(values));
            }
            Err(levels) => {
                let (all, known, positions) = read_levels(levels, cells);
                layout.order.push((false, layout.categories.len()));
                layout.sizes.push(all.len());
                layout.categories.push(CategoryColumn { name, levels: all, known });
                rows.iter_mut().zip(positions).for_each(|(rows, positions)| rows.levels.push(positions));
            }
        }
    }
    Ok((layout, rows))
}

/// A column of numbers in the three tables, NaN where a cell is missing.
fn read_numbers(mut column: ColumnSchema, tables: Three<&Table>) -> Result<Three<Vec<f64>>> {
    if let ColumnKind::Numerical { missing, .. } | ColumnKind::Time { missing, .. } = &mut column.kind {
        missing.get_or_insert_default();
    }
    let mut all: Three<Vec<f64>> = Default::default();
    for (which, table) in tables.into_iter().enumerate() {
        let read = column.read(table).map_err(|error| {
            // What is wrong, without the advice for the table that a model is fitted to.
            let text = error.to_string();
            let wrong = text.rsplit_once("; ").map_or(text.as_str(), |(wrong, _)| wrong);
            let which = NAMES[which];
            Error::Table(format!(
                "in the {which} table, {wrong}; correct the cell, delete the row, or leave the column out"
            ))
        })?;
        if let ColumnValues::Numbers(values) = read {
            all[which] = values;
        }
    }
    Ok(all)
}

/// The values in single precision if no two different ones become equal and all stay finite, else as they are.
fn rounded(values: Three<Vec<f64>>) -> Three<Vec<f64>> {
    let mut distinct: Vec<f64> = values.iter().flatten().copied().filter(|value| !value.is_nan()).collect();
    distinct.sort_unstable_by(f64::total_cmp);
    distinct.dedup();
    let single = |value: f64| f64::from(value as f32);
    let kept = distinct.iter().all(|&value| single(value).is_finite())
        && distinct.windows(2).all(|pair| single(pair[0]) < single(pair[1]));
    if kept { values.map(|values| values.into_iter().map(single).collect()) } else { values }
}

/// All levels, how many of them are the training table's, and the positions of the cells among them.
fn read_levels(levels: &[String], cells: Three<&[String]>) -> (Vec<String>, usize, Three<Vec<u32>>) {
    let is_missing = |cell: &str| read_cell(cell) == Cell::Missing;
    let mut all: Vec<String> = Vec::new();
    let mut known: HashMap<String, u32> = HashMap::new();
    let mut add = |text: &str, all: &mut Vec<String>| {
        let next = all.len() as u32;
        let position = *known.entry(text.to_owned()).or_insert(next);
        if position == next {
            all.push(text.to_owned());
        }
        position
    };
    for level in levels.iter().filter(|level| !is_missing(level)) {
        add(level.trim(), &mut all);
    }
    let values: HashMap<u64, u32> =
        (0..).zip(&all).filter_map(|(at, level)| Some((plain_number(level)?.to_bits(), at))).collect();
    // Only where every level is a number of its own can a number tell which level it is.
    let by_value = values.len() == all.len();
    let missing_in = |cells: &[String]| cells.iter().any(|cell| is_missing(cell));
    if missing_in(cells[0]) {
        add(MISSING, &mut all);
    }
    let of_train = all.len();
    let find = |cell: &str, known: &HashMap<String, u32>| {
        let cell = if is_missing(cell) { MISSING } else { cell.trim() };
        let found = known.get(cell).copied();
        found.or_else(|| by_value.then(|| values.get(&plain_number(cell)?.to_bits()).copied()).flatten())
    };
    // What only other tables hold, in the order of a sorted list, so that it does not depend on the order of rows.
    let mut unseen: BTreeMap<(u64, &str), ()> = BTreeMap::new();
    for cell in cells.iter().flat_map(|cells| cells.iter()) {
        if !is_missing(cell) && find(cell, &known).is_none() {
            let order = plain_number(cell.trim()).map_or(u64::MAX, ordered_bits);
            unseen.insert((order, cell.trim()), ());
        }
    }
    let mut add = |text: &str, all: &mut Vec<String>| {
        known.insert(text.to_owned(), all.len() as u32);
        all.push(text.to_owned());
    };
    unseen.keys().for_each(|(_, text)| add(text, &mut all));
    if !missing_in(cells[0]) && (missing_in(cells[1]) || missing_in(cells[2])) {
        add(MISSING, &mut all);
    }
    let positions = cells.map(|cells| cells.iter().map(|cell| find(cell, &known).unwrap_or(0)).collect::<Vec<u32>>());
    (all, of_train, positions)
}

/// The number that a level stands for, if reading it as one loses nothing.
fn plain_number(level: &str) -> Option<f64> {
    match read_cell(level) {
        Cell::Number(value) if !is_digit_code(level) && value.abs() < EXACT => Some(value),
        _ => None,
    }
}

/// Bits whose order is the order of the numbers.
fn ordered_bits(value: f64) -> u64 {
    let bits = value.to_bits();
    if value < 0.0 { !bits } else { bits | (1 << 63) }
}

/// The tables without missing numbers, for what measures distances: a missing number stands at the training median, and a
/// column with missing cells gets a category that says whether the cell was given. Nothing where no number is missing.
pub(super) fn completed(layout: &Layout, rows: &Three<Rows>) -> Option<(Layout, Three<Rows>)> {
    let is_incomplete = |rows: &Rows, column: usize| rows.numbers[column].iter().any(|value| value.is_nan());
    let incomplete: Vec<usize> =
        (0..layout.numbers.len()).filter(|&column| rows.iter().any(|rows| is_incomplete(rows, column))).collect();
    if incomplete.is_empty() {
        return None;
    }
    let (mut layout, mut rows) = (layout.clone(), rows.clone());
    // Before the other categories, because the coverage figures leave out the last entry of the last one.
    for (place, &column) in incomplete.iter().enumerate() {
        let mut present: Vec<f64> = rows[0].numbers[column].iter().copied().filter(|value| !value.is_nan()).collect();
        present.sort_unstable_by(f64::total_cmp);
        let fill = present.get(present.len() / 2).copied().unwrap_or(0.0);
        let known = if is_incomplete(&rows[0], column) { 2 } else { 1 };
        let name = format!("{} is missing", layout.numbers[column].name);
        let levels = vec!["given".to_owned(), "missing".to_owned()];
        layout.categories.insert(place, CategoryColumn { name, levels, known });
        layout.sizes.insert(place, 2);
        for rows in &mut rows {
            let flags = rows.numbers[column].iter().map(|value| u32::from(value.is_nan())).collect();
            rows.levels.insert(place, flags);
            rows.numbers[column].iter_mut().filter(|value| value.is_nan()).for_each(|value| *value = fill);
        }
    }
    layout.order.iter_mut().filter(|(number, _)| !number).for_each(|(_, at)| *at += incomplete.len());
    Some((layout, rows))
}

impl Layout {
    /// Columns of the one-hot form: one per number and one per level.
    pub fn width(&self) -> usize {
        self.numbers.len() + self.sizes.iter().sum::<usize>()
    }

    /// The name of the column at a place of [`Layout::order`].
    pub fn name(&self, (numerical, index): (bool, usize)) -> &str {
        if numerical { &self.numbers[index].name } else { &self.categories[index].name }
    }
}

impl Rows {
    /// The rows at these positions.
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            count: rows.len(),
            numbers: self.numbers.iter().map(|column| rows.iter().map(|&row| column[row]).collect()).collect(),
            levels: self.levels.iter().map(|column| rows.iter().map(|&row| column[row]).collect()).collect(),
        }
    }

    /// Smallest value and span of every numerical column.
    pub fn ranges(&self) -> Vec<(f64, f64)> {
        self.numbers
            .iter()
            .map(|column| {
                let low = column.iter().copied().fold(f64::INFINITY, f64::min);
                let high = column.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                (low, high - low)
            })
            .collect()
    }

    /// Share of rows whose cell is missing.
    pub fn missing(&self, layout: &Layout, (numerical, index): (bool, usize)) -> f64 {
        let count = if numerical {
            self.numbers[index].iter().filter(|value| value.is_nan()).count()
        } else {
            let level = layout.categories[index].levels.iter().position(|level| level == MISSING);
            self.levels[index].iter().filter(|&&own| Some(own as usize) == level).count()
        };
        count as f64 / self.count as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(list: &[&str]) -> Vec<String> {
        list.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn levels_keep_the_training_order_and_then_the_unseen() {
        let (train, test, made) = (cells(&["2", "1", "", "1"]), cells(&["2.0", "7"]), cells(&["NA", " 5", "x"]));
        let levels = cells(&["", "1", "2"]);
        let (all, known, positions) = read_levels(&levels, [&train, &test, &made]);
        assert_eq!(all, ["1", "2", MISSING, "5", "7", "x"]);
        assert_eq!(known, 3);
        assert_eq!(positions, [vec![1, 0, 2, 0], vec![1, 4], vec![2, 3, 5]]);
        // Spellings of one number are categories of their own where the training table tells them apart.
        let (all, known, positions) =
            read_levels(&cells(&["1.1", "1.10"]), [&cells(&["1.1", "1.10"]), &cells(&["1.1"]), &cells(&["1.10", ""])]);
        assert_eq!((all.len(), known), (3, 2));
        assert_eq!(positions[2], [1, 2]);
        let long = ["90071992547409931", "90071992547409932"];
        let (all, ..) = read_levels(&cells(&long[..1]), [&cells(&long[..1]), &cells(&long[1..]), &cells(&long)]);
        assert_eq!(all, long);
    }

    #[test]
    fn numbers_are_rounded_only_where_they_stay_apart() {
        let near = [vec![900_000_000.0, 900_000_008.0], vec![0.1], vec![f64::NAN]];
        assert_eq!(rounded(near.clone())[0], near[0]);
        let plain = rounded([vec![0.1], vec![0.2], vec![f64::NAN]]);
        assert_eq!(plain[0][0], f64::from(0.1f32));
        assert!(plain[2][0].is_nan());
        assert_eq!(rounded([vec![1e200], vec![], vec![]])[0], [1e200]);
    }

    #[test]
    fn missing_numbers_are_filled_and_flagged() {
        let layout = Layout {
            numbers: vec![NumberColumn { name: "v".into(), whole: true }],
            categories: vec![CategoryColumn { name: "c".into(), levels: cells(&["a"]), known: 1 }],
            sizes: vec![1],
            order: vec![(false, 0), (true, 0)],
        };
        let rows = |values: &[f64]| Rows {
            count: values.len(),
            numbers: vec![values.to_vec()],
            levels: vec![vec![0; values.len()]],
        };
        let given = [rows(&[1.0, 2.0, 9.0]), rows(&[4.0]), rows(&[f64::NAN, 3.0])];
        let (wider, filled) = completed(&layout, &given).unwrap();
        assert_eq!(filled[2].numbers[0], [2.0, 3.0]);
        assert_eq!(filled[2].levels, [vec![1, 0], vec![0, 0]]);
        assert_eq!((wider.sizes.as_slice(), wider.categories[0].known), (&[2, 1][..], 1));
        assert_eq!(wider.order, [(false, 1), (true, 0)]);
        assert_eq!(wider.name((false, 1)), "c");
        assert!(completed(&layout, &[rows(&[1.0]), rows(&[1.0]), rows(&[1.0])]).is_none());
        assert_eq!(given[2].missing(&layout, (true, 0)), 0.5);
    }
}
