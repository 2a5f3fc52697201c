//! Conditions on rows: a column compared with a value (`default=1`), or two columns with each other (`start<=end`).

use std::cmp::Ordering;

use super::number::{Cell, Number, read_cell};
use super::schema::{ColumnKind, ColumnSchema, shown};
use super::table::Table;
use super::values::{ColumnValues, listed, same_otherwise_written};
use crate::{Error, Result};

/// How two things are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`
    Unequal,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
}

/// Signs of comparisons, longer ones before those that they begin with.
const SIGNS: [(&str, Comparison); 9] = [
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("!=", Comparison::Unequal),
    ("<>", Comparison::Unequal),
    ("==", Comparison::Equal),
    ("=", Comparison::Equal),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
    ("≠", Comparison::Unequal),
];

impl Comparison {
    pub(super) fn holds(self, order: Option<Ordering>) -> bool {
        match (self, order) {
            (_, None) => false,
            (Self::Equal, Some(order)) => order == Ordering::Equal,
            (Self::Unequal, Some(order)) => order != Ordering::Equal,
            (Self::Less, Some(order)) => order == Ordering::Less,
            (Self::AtMost, Some(order)) => order != Ordering::Greater,
            (Self::Greater, Some(order)) => order == Ordering::Greater,
            (Self::AtLeast, Some(order)) => order != Ordering::Less,
        }
    }

    pub(super) fn is_order(self) -> bool {
        !matches!(self, Self::Equal | Self::Unequal)
    }
}

/// A column compared with a value. A value that is missing meets no condition but that it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    text: String,
    column: ColumnSchema,
    test: Test,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    /// Whether each level may be.
    Levels(Vec<bool>),
    /// The number on the other side.
    Number(Comparison, Number),
    /// Whether the cell is to be missing.
    Missing(bool),
    /// A constant column that meets it.
    Always,
}

impl Condition {
    /// Reads a condition such as `default=1`, `LIMIT_BAL>=200000`, `town!=Bath` or `income=` (missing) on one of `columns`. Names
    /// are written as in the table; blanks around the sign and quotes around the value are left out.
    ///
    /// # Errors
    /// [`Error::Table`], one sentence, if it names no column, has no sign, or compares the column with what it cannot be.
    pub fn parse(text: &str, columns: &[ColumnSchema]) -> Result<Self> {
        let (name, comparison, value) = split(text, columns.iter().map(|column| column.name.as_str()))?;
        let column = columns.iter().find(|column| column.name == name).expect("the name is one of these").clone();
        let quoted = ['\'', '"'].iter().find_map(|&q| value.strip_prefix(q)?.strip_suffix(q));
        let value = quoted.unwrap_or(value);
        let test = test(&column, comparison, value).map_err(|why| Error::Table(format!("'{text}' {why}")))?;
        Ok(Self { text: text.to_owned(), column, test })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The column's name.
    pub fn column(&self) -> &str {
        &self.column.name
    }

    /// Whether each row of a table meets it.
    ///
    /// # Errors
    /// As [`ColumnSchema::read`].
    pub fn met(&self, table: &Table) -> Result<Vec<bool>> {
        let rows = table.rows();
        Ok(match (&self.test, self.column.read_exact(table)?) {
            (Test::Always, _) => vec![true; rows],
            (Test::Levels(may), ColumnValues::Levels(levels)) => levels.iter().map(|&l| may[l as usize]).collect(),
            (Test::Missing(wanted), values) => numbers(values).iter().map(|x| x.is_none() == *wanted).collect(),
            (Test::Number(comparison, value), values) => {
                numbers(values).iter().map(|x| comparison.holds(x.and_then(|x| compare(x, *value)))).collect()
            }
            _ => vec![false; rows],
        })
    }

    /// Which levels a category may have.
    pub(super) fn levels(&self) -> Option<&[bool]> {
        match &self.test {
            Test::Levels(may) => Some(may),
            _ => None,
        }
    }

    /// Whether a cell is to be missing, where that is what is said.
    pub(super) fn missing(&self) -> Option<bool> {
        match self.test {
            Test::Missing(wanted) => Some(wanted),
            _ => None,
        }
    }

    /// The comparison with a number.
    pub(super) fn number(&self) -> Option<(Comparison, Number)> {
        match self.test {
            Test::Number(comparison, value) => Some((comparison, value)),
            _ => None,
        }
    }

    /// The cell of a column of numbers that is to equal a value.
    pub(crate) fn cell(&self) -> Option<String> {
        match self.test {
            Test::Number(Comparison::Equal, value) => Some(self.column.kind.write(value)),
            _ => None,
        }
    }
}

/// Two columns compared with each other, in every row in which neither is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub struct Rule {
    /// The column on the left.
    pub left: String,
    /// How they compare.
    pub(crate) comparison: Comparison,
    /// The column on the right.
    pub right: String,
}

impl Rule {
    /// Reads a rule such as `start<=end` between two of `columns`, both numbers or both dates.
    ///
    /// # Errors
    /// [`Error::Table`], one sentence.
    pub fn parse(text: &str, columns: &[ColumnSchema]) -> Result<Self> {
        let names = || columns.iter().map(|column| column.name.as_str());
        let (left, comparison, right) = split(text, names())?;
        let rule = Self { left: left.to_owned(), comparison, right: right.to_owned() };
        let find = |name: &str| columns.iter().find(|column| column.name == name);
        let Some(other) = find(right) else { return Err(unknown(text, right, names())) };
        let one = find(left).expect("the name is one of these");
        let alike = match (&one.kind, &other.kind) {
            (ColumnKind::Numerical { .. }, ColumnKind::Numerical { .. }) => true,
            (ColumnKind::Time { format: a, .. }, ColumnKind::Time { format: b, .. }) => a.unit() == b.unit(),
            _ => false,
        };
        if !alike || left == right {
            return Err(Error::Table(format!(
                "'{text}' compares columns that are not both numbers, or both dates to the same unit; a rule compares such"
            )));
        }
        Ok(rule)
    }

    /// Whether each row of a table obeys it.
    ///
    /// # Errors
    /// As [`ColumnSchema::read`].
    pub fn obeyed(&self, table: &Table, columns: &[ColumnSchema]) -> Result<Vec<bool>> {
        let read = |name: &str| -> Result<Vec<Option<Number>>> {
            let column = columns.iter().find(|column| column.name == name);
            let column = column.ok_or_else(|| Error::Table(format!("the table has no column '{name}'")))?;
            Ok(numbers(column.read_exact(table)?))
        };
        let (left, right) = (read(&self.left)?, read(&self.right)?);
        Ok(left
            .into_iter()
            .zip(right)
            .map(|pair| match pair {
                (Some(a), Some(b)) => self.comparison.holds(compare(a, b)),
                _ => true,
            })
            .collect())
    }

    /// For people, and to be read again.
    pub fn text(&self) -> String {
        let sign = SIGNS.iter().find(|(_, comparison)| *comparison == self.comparison).map_or("", |(sign, _)| sign);
        format!("{}{sign}{}", self.left, self.right)
    }
}

/// The order of two numbers, none beside a NaN.
pub(super) fn compare(a: Number, b: Number) -> Option<Ordering> {
    match (a, b) {
        (Number::Integer(a), Number::Integer(b)) => Some(a.cmp(&b)),
        (Number::Double(a), Number::Double(b)) => a.partial_cmp(&b),
        // No double beyond 2^53 has a fraction, and below it the whole number is a double.
        (Number::Integer(a), Number::Double(b)) if b.fract() == 0.0 && b.abs() < 1e38 => Some(a.cmp(&(b as i128))),
        (Number::Integer(a), Number::Double(b)) => (a as f64).partial_cmp(&b),
        (Number::Double(_), Number::Integer(_)) => compare(b, a).map(Ordering::reverse),
    }
}

/// The numbers of a column, none where a cell is missing.
pub(super) fn numbers(values: ColumnValues) -> Vec<Option<Number>> {
    match values {
        ColumnValues::Numbers(values) => {
            values.into_iter().map(|x| (!x.is_nan()).then_some(Number::Double(x))).collect()
        }
        ColumnValues::Integers(values) => values.into_iter().map(|x| x.map(Number::Integer)).collect(),
        _ => Vec::new(),
    }
}

/// Column, sign and what stands after it; the longest name that fits is meant.
fn split<'t, 'n>(
    text: &'t str,
    names: impl Iterator<Item = &'n str> + Clone,
) -> Result<(&'n str, Comparison, &'t str)> {
    let after = |name: &str| text.strip_prefix(name).or_else(|| text.trim_start().strip_prefix(name.trim()));
    let sign = |rest: &'t str| {
        let rest = rest.trim_start();
        SIGNS.iter().find_map(|(sign, comparison)| Some((*comparison, rest.strip_prefix(sign)?.trim())))
    };
    let found = names.clone().filter_map(|name| Some((name, sign(after(name)?)?))).max_by_key(|(name, _)| name.len());
    if let Some((name, (comparison, value))) = found {
        return Ok((name, comparison, value));
    }
    let at = SIGNS.iter().filter_map(|(sign, _)| text.find(sign)).min();
    match at {
        Some(at) => Err(unknown(text, text[..at].trim(), names)),
        None => Err(Error::Table(format!(
            "'{text}' compares nothing; write a column, one of = != < <= > >=, and what to compare it with"
        ))),
    }
}

fn unknown<'n>(text: &str, name: &str, names: impl Iterator<Item = &'n str>) -> Error {
    let names: Vec<String> = names.map(shown).collect();
    Error::Table(format!("'{text}' names a column '{name}', which is not there; the columns are {}", names.join(", ")))
}

fn test(column: &ColumnSchema, comparison: Comparison, value: &str) -> std::result::Result<Test, String> {
    let name = &column.name;
    let empty = read_cell(value) == Cell::Missing;
    match &column.kind {
        ColumnKind::Identifier { .. } => Err(format!("is about '{name}', whose values only name rows")),
        ColumnKind::Constant { value: only } => {
            let met = match comparison {
                Comparison::Equal => value.trim() == only.trim(),
                Comparison::Unequal => value.trim() != only.trim(),
                _ => among(std::slice::from_ref(only), comparison, value)?[0],
            };
            if met { Ok(Test::Always) } else { Err(format!("is met by no row: '{name}' is always '{only}'")) }
        }
        ColumnKind::Categorical { levels } => among(levels, comparison, value).map(Test::Levels),
        kind if empty => match (kind.missing(), comparison) {
            (None, _) => Err(format!("asks for missing cells, which '{name}' does not have")),
            (Some(_), Comparison::Equal) => Ok(Test::Missing(true)),
            (Some(_), Comparison::Unequal) => Ok(Test::Missing(false)),
            _ => Err("compares with nothing".into()),
        },
        kind => {
            let cell = Table::new(vec![name.clone()], vec![vec![value.to_owned()]]).map_err(|e| e.to_string())?;
            let bare = ColumnSchema { name: name.clone(), kind: kind.clone() };
            let read = bare.read_exact(&cell).ok().and_then(|values| numbers(values).pop().flatten());
            match (read, kind) {
                (Some(number), _) => {
                    // What cannot be written cannot be generated either.
                    let again = Table::new(vec![name.clone()], vec![vec![kind.write(number)]]);
                    let again = again.and_then(|again| bare.read_exact(&again)).map(numbers);
                    let same = again.is_ok_and(|again| again.first() == Some(&Some(number)));
                    if comparison == Comparison::Equal && !same {
                        return Err(format!("asks for a value that '{name}' cannot have as it is written"));
                    }
                    Ok(Test::Number(comparison, number))
                }
                (None, ColumnKind::Time { format, .. }) => {
                    Err(format!("compares '{name}' with '{value}', which is no date such as {}", format.example()))
                }
                (None, _) => Err(format!("compares '{name}' with '{value}', which is no number")),
            }
        }
    }
}

/// Which levels compare so with a value: by their text, or in order if all are numbers.
fn among(levels: &[String], comparison: Comparison, value: &str) -> std::result::Result<Vec<bool>, String> {
    let number = |cell: &str| match read_cell(cell) {
        Cell::Number(x) => Some(Number::Double(x)),
        Cell::Integer(x) => Some(Number::Integer(x)),
        _ => None,
    };
    if comparison.is_order() {
        let Some(bound) = number(value) else {
            return Err(format!(
                "puts categories in an order with '{value}'; categories are compared by = and != only"
            ));
        };
        let known = levels.iter().all(|level| number(level).is_some() || read_cell(level) == Cell::Missing);
        if !known {
            return Err("puts categories in an order that are not all numbers; use = or !=".into());
        }
        let holds = |level: &String| number(level).is_some_and(|x| comparison.holds(compare(x, bound)));
        return Ok(levels.iter().map(holds).collect());
    }
    let at = levels.iter().position(|level| level == value);
    let at = at.or_else(|| same_otherwise_written(value, levels).map(|at| at as usize));
    let Some(at) = at else {
        return Err(format!("names the category '{value}', which is not there; known are {}", listed(levels)));
    };
    Ok((0..levels.len()).map(|level| (level == at) == (comparison == Comparison::Equal)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Schema, SchemaOptions};

    fn table() -> Table {
        let number = |i: usize| if i.is_multiple_of(7) { String::new() } else { (10 * i).to_string() };
        let columns = vec![
            (0..60).map(number).collect(),
            (0..60).map(|i| ["Bath", "Como", "a<b"][i % 3].to_owned()).collect(),
            (0..60).map(|i| format!("2024-{:02}-{:02}", 1 + i % 12, 1 + i % 27)).collect(),
            (0..60).map(|i| (18_446_744_073_709_541_000u64 + i as u64 * i as u64).to_string()).collect(),
            vec!["EU".to_owned(); 60],
        ];
        let names = ["income", "income<x", "day", "big", "area"].map(str::to_owned).to_vec();
        Table::new(names, columns).unwrap()
    }

    fn count(text: &str) -> usize {
        let (table, schema) = (table(), Schema::infer(&table(), &SchemaOptions::default()).unwrap());
        let condition = Condition::parse(text, &schema.columns).unwrap();
        condition.met(&table).unwrap().iter().filter(|met| **met).count()
    }

    #[test]
    fn conditions_select_the_rows_that_meet_them() {
        assert_eq!(count("income>=500"), 10 - 1);
        assert_eq!(count("income < 20"), 1);
        assert_eq!(count("income="), 9);
        assert_eq!(count("income!=''"), 51);
        assert_eq!(count("income<x=Bath"), 20, "a name with a sign in it");
        assert_eq!(count("income<x != 'a<b'"), 40);
        assert_eq!(count("day<2024-02-01"), 5);
        assert_eq!(count("big=18446744073709541025"), 1, "exact beyond doubles");
        assert_eq!(count("big<=18446744073709541025"), 6);
        assert_eq!(count("area=EU"), 60);
    }

    #[test]
    fn what_cannot_be_compared_is_refused_in_a_sentence() {
        let schema = Schema::infer(&table(), &SchemaOptions::default()).unwrap();
        let said = |text: &str| Condition::parse(text, &schema.columns).unwrap_err().to_string();
        assert!(said("incom=3").contains("a column 'incom'"), "{}", said("incom=3"));
        assert!(said("income").contains("compares nothing"));
        assert!(said("income=many").contains("no number"));
        assert!(said("income<x=Rome").contains("'Rome', which is not there; known are"));
        assert!(said("income<x>5").contains("are not all numbers"));
        assert!(said("day=yesterday").contains("no date such as"));
        assert!(said("day=").contains("does not have"));
        assert!(said("area!=EU").contains("is always 'EU'"));
        let rule = |text: &str| Rule::parse(text, &schema.columns);
        assert!(rule("income<=nothing").unwrap_err().to_string().contains("'nothing'"));
        assert!(rule("income<=day").unwrap_err().to_string().contains("not both"));
        let rule = rule("income < big").unwrap();
        assert_eq!(rule.text(), "income<big");
        assert!(rule.obeyed(&table(), &schema.columns).unwrap().iter().all(|obeyed| *obeyed));
    }
}
