//! What was found about the columns of a table: what each was taken for, what was left out, and what is worth saying.

use super::codec::Codec;
use super::kinds::{Look, look, missing_cells};
use super::schema::{ColumnKind, ColumnSchema, Declared, Missing, Schema, SchemaOptions, Wanted, shown};
use super::table::Table;
use crate::error::quoted;
use crate::{Error, Result};
use std::collections::HashSet;

/// What was found about one column.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The column's name.
    pub name: String,
    /// What it was taken for; none if it was not looked at.
    pub kind: Option<ColumnKind>,
    /// Whether it is not used and not generated.
    pub left_out: bool,
    /// Missing cells.
    pub missing: usize,
    /// Different texts among the others.
    pub distinct: usize,
    /// Something that the user should know.
    pub note: Option<String>,
}

/// What was found about a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Findings {
    /// The columns that are used.
    pub schema: Schema,
    /// Every column of the table, in its order.
    pub columns: Vec<Finding>,
    /// Rows of the table.
    pub rows: usize,
}

impl Schema {
    /// Looks at a table and says what its columns are.
    ///
    /// The rules, in order: a column that the user named is what the user said; one that is empty in every row, or the same
    /// in every row, is constant; one whose cells are dates or times is that; one with any text in it is categorical, unless
    /// at least nine in ten of its cells differ from all others, which makes it an identifier; a column of numbers is
    /// categorical if it has at most 20 distinct values and at least ten rows for each of them (two distinct values are
    /// categorical from four rows on), if leading zeros show that it holds codes, or if some of its few numbers are the same
    /// but for their spelling; whole numbers that count are an identifier; other numbers are numerical. Identifiers are left
    /// out unless named. Missing cells and their marks do not count in any of this.
    ///
    /// # Errors
    /// [`Error::Table`], one sentence naming row (counted from 1, without the header) and column, if the table has fewer
    /// than two rows, a column is named that it does not have, no column is left, a cell is missing (unless admitted) or
    /// infinite or a whole number beyond 64 bits, a cell of a numerical column is text, a column of numbers or dates holds a
    /// few stray texts, or day and month of dates cannot be told apart.
    pub fn infer(table: &Table, options: &SchemaOptions) -> Result<Self> {
        Ok(Findings::of(table, options)?.schema)
    }
}

impl Findings {
    /// What [`Schema::infer`] finds, and why; with its errors.
    pub fn of(table: &Table, options: &SchemaOptions) -> Result<Self> {
        if let Some(schema) = &options.schema {
            return Ok(Self::given(table, schema, options));
        }
        options.check(table)?;
        if table.rows() < 2 {
            let rows = if table.rows() == 0 { "no rows" } else { "only one row" };
            return Err(Error::Table(format!("the table has {rows}; give at least two")));
        }
        let left_out = |name: &str| {
            let declared = |name: &str| options.declared.iter().find(|declared| declared.name == name);
            options.drop.iter().any(|own| own == name)
                || declared(name).is_some_and(|declared| declared.kind == Some(Wanted::LeftOut))
        };
        refuse_empty(table, options, &left_out)?;
        let mut columns = Vec::new();
        for (name, cells) in table.names().iter().zip(table.columns()) {
            let missing = missing_cells(cells, options);
            let look = if left_out(name) { None } else { Some(look(name, cells, options)?) };
            let distinct = cells.iter().collect::<HashSet<_>>().len();
            columns.push(match look {
                None => Finding {
                    name: name.clone(),
                    kind: None,
                    left_out: true,
                    missing,
                    distinct,
                    note: Some("left out as asked".into()),
                },
                Some(Look { kind, note, names_rows }) => {
                    // Marks that count only among numbers.
                    let marks = kind.missing();
                    let marked = cells.iter().filter(|cell| marks.is_some_and(|marks| marks.hold(cell))).count();
                    let missing = missing.max(marked);
                    Finding { name: name.clone(), kind: Some(kind), left_out: names_rows, missing, distinct, note }
                }
            });
        }
        keep_counters_if_alone(&mut columns)?;
        let used = columns.iter().filter(|column| !column.left_out);
        let used =
            used.filter_map(|column| Some(ColumnSchema { name: column.name.clone(), kind: column.kind.clone()? }));
        Ok(Self { schema: Schema { columns: used.collect() }, columns, rows: table.rows() })
    }

    fn given(table: &Table, schema: &Schema, options: &SchemaOptions) -> Self {
        let finding = |(name, cells): (&String, &Vec<String>)| {
            let kind = schema.columns.iter().find(|column| column.name == *name).map(|column| column.kind.clone());
            Finding {
                name: name.clone(),
                left_out: kind.is_none(),
                kind,
                missing: missing_cells(cells, options),
                distinct: cells.iter().collect::<HashSet<_>>().len(),
                note: None,
            }
        };
        let columns = table.names().iter().zip(table.columns()).map(finding).collect();
        Self { schema: schema.clone(), columns, rows: table.rows() }
    }

    /// The same as declarations, for somebody to change and give back in [`SchemaOptions::declared`].
    pub fn declared(&self) -> Vec<Declared> {
        let declared = |column: &Finding| {
            let mut declared = Declared { name: column.name.clone(), ..Declared::default() };
            declared.missing =
                column.kind.as_ref().and_then(ColumnKind::missing).map_or(Vec::new(), |marks| marks.0.clone());
            declared.kind = Some(match &column.kind {
                _ if column.left_out => Wanted::LeftOut,
                None => Wanted::LeftOut,
                Some(ColumnKind::Numerical { format, .. }) => {
                    declared.decimals = Some([format.minimum_decimals, format.maximum_decimals]);
                    Wanted::Number
                }
                Some(ColumnKind::Time { format, .. }) => {
                    let pattern = format.pattern();
                    declared.format = Some(if pattern == "%s" { "epoch" } else { pattern }.to_owned());
                    Wanted::Date
                }
                Some(ColumnKind::Categorical { levels }) => {
                    declared.levels = levels.clone();
                    Wanted::Category
                }
                Some(ColumnKind::Identifier { .. }) => Wanted::Identifier,
                Some(ColumnKind::Constant { .. }) => Wanted::Constant,
            });
            declared
        };
        self.columns.iter().map(declared).collect()
    }

    /// One line per column for reading: name, kind, levels or range, step, share of missing cells, and a note. `codec` is
    /// that of the table and these findings.
    pub fn described(&self, codec: &Codec) -> Vec<[String; 6]> {
        let mut codes = codec.numerical_codes().iter();
        let mut lines = Vec::new();
        for column in &self.columns {
            let code = match &column.kind {
                Some(kind) if kind.is_number() && !column.left_out => codes.next(),
                _ => None,
            };
            let [mut detail, mut step] = [String::new(), String::new()];
            let kind = match &column.kind {
                _ if column.left_out => "left out",
                None => "left out",
                Some(ColumnKind::Numerical { integer, .. }) => {
                    if *integer {
                        "whole number"
                    } else {
                        "number"
                    }
                }
                Some(ColumnKind::Time { format, .. }) => {
                    step = format.unit().to_owned();
                    "date"
                }
                Some(ColumnKind::Categorical { levels }) => {
                    detail = examples(levels);
                    "category"
                }
                Some(ColumnKind::Identifier { pattern }) => {
                    detail = pattern.words();
                    "identifier"
                }
                Some(ColumnKind::Constant { value }) => {
                    detail = format!("'{value}'");
                    "constant"
                }
            };
            if let (Some(code), Some(kind)) = (code, &column.kind) {
                let [low, high] = code.range().map(|number| kind.write(number));
                detail = format!("{low} to {high}");
                if let (ColumnKind::Numerical { .. }, Some(number)) = (kind, code.step()) {
                    step = kind.write(number);
                }
            }
            let share = 100.0 * column.missing as f64 / self.rows.max(1) as f64;
            let missing = if column.missing == 0 { String::new() } else { format!("{share:.1} %") };
            let note = column.note.clone().unwrap_or_default();
            lines.push([shown(&column.name), kind.to_owned(), detail, step, missing, note]);
        }
        lines
    }
}

/// Names all columns that are empty in every row at once, where missing cells are refused.
fn refuse_empty(table: &Table, options: &SchemaOptions, left_out: &dyn Fn(&str) -> bool) -> Result<()> {
    let used = || table.names().iter().zip(table.columns()).filter(|(name, _)| !left_out(name));
    let empty = used().filter(|(_, cells)| missing_cells(cells, options) == cells.len());
    let empty: Vec<String> = empty.map(|(name, _)| format!("'{name}'")).collect();
    let all = empty.len() == used().count();
    if used().count() == 0 {
        return Err(Error::Table("every column is dropped; keep at least one".into()));
    }
    if !empty.is_empty() && (all || options.missing == Missing::Fail) {
        let are = if empty.len() == 1 {
            format!("column {} is", empty[0])
        } else {
            format!("columns {} are", empty.join(", "))
        };
        return Err(Error::Table(format!("{are} empty in every row; fill or leave out by `drop`")));
    }
    Ok(())
}

/// A table of nothing but row names teaches nothing; but whole numbers that count can be learnt as numbers.
fn keep_counters_if_alone(columns: &mut [Finding]) -> Result<()> {
    let learnable = |column: &Finding| !column.left_out && !matches!(column.kind, Some(ColumnKind::Identifier { .. }));
    if columns.iter().any(learnable) {
        return Ok(());
    }
    let mut kept = false;
    for column in columns.iter_mut().filter(|column| column.kind.as_ref().is_some_and(ColumnKind::is_number)) {
        column.left_out = false;
        column.note = Some("counts rows; kept, as there is nothing else".into());
        kept = true;
    }
    if kept {
        return Ok(());
    }
    let names = quoted(columns.iter().filter(|column| column.kind.is_some()).map(|column| &column.name));
    Err(Error::Table(format!(
        "there is nothing to learn: {} holds a different text in nearly every row, as an identifier does; name it in \
         `categorical` to generate these very texts, or give a table with other columns too",
        names
    )))
}

fn examples(levels: &[String]) -> String {
    const SHOWN: usize = 4;
    let some: Vec<&str> =
        levels.iter().take(SHOWN).map(|level| if level.is_empty() { "''" } else { level.trim() }).collect();
    let more = if levels.len() > SHOWN { ", ..." } else { "" };
    format!("{}: {}{more}", levels.len(), some.join(", "))
}

#[cfg(test)]
#[path = "findings_tests.rs"]
mod tests;
