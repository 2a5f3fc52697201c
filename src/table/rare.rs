//! Categories that few rows have, merged into one, so that neither a model nor a generated table names them.

use std::collections::{HashMap, HashSet};

use super::number::{Cell, read_cell};
use super::schema::{ColumnKind, Schema};
use super::table::Table;
use crate::Result;

/// What stands in place of merged categories.
const RARE: &str = "(rare)";

/// Categories of a column that were merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The column's name.
    pub column: String,
    /// How many categories were merged.
    pub levels: usize,
    /// How many rows have them.
    pub rows: usize,
    /// What stands in their place.
    pub name: String,
}

/// The table and its schema with the categories of each column that fewer than `least` rows have merged into one, and what was
/// merged. Missing cells stay what they are. A column that then has one category is constant.
///
/// # Errors
/// Those of [`Table::new`], which do not occur.
pub fn merge_rare(table: &Table, schema: &Schema, least: usize) -> Result<(Table, Schema, Vec<Merged>)> {
    let mut schema = schema.clone();
    let mut columns = table.columns().to_vec();
    let mut merged = Vec::new();
    for column in &mut schema.columns {
        let ColumnKind::Categorical { levels } = &mut column.kind else { continue };
        let Some(at) = table.names().iter().position(|name| *name == column.name) else { continue };
        let mut counts: HashMap<&str, usize> = HashMap::new();
        table.columns()[at].iter().for_each(|cell| *counts.entry(cell).or_default() += 1);
        // Levels that were declared and that no row has are named nowhere else.
        let is_rare =
            |level: &str| counts.get(level).is_some_and(|&count| count < least) && read_cell(level) != Cell::Missing;
        let rare: HashSet<String> = levels.iter().filter(|level| is_rare(level)).cloned().collect();
        if rare.is_empty() {
            continue;
        }
        levels.retain(|level| !rare.contains(level));
        let mut name = RARE.to_owned();
        while levels.contains(&name) {
            name.push('\'');
        }
        let mut rows = 0;
        for cell in columns[at].iter_mut().filter(|cell| rare.contains(*cell)) {
            rows += 1;
            cell.clone_from(&name);
        }
        merged.push(Merged { column: column.name.clone(), levels: rare.len(), rows, name: name.clone() });
        levels.push(name);
        if let [value] = levels.as_slice() {
            column.kind = ColumnKind::Constant { value: value.clone() };
        }
    }
    Ok((Table::new(table.names().to_vec(), columns)?, schema, merged))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Codec, SchemaOptions};

    #[test]
    fn categories_of_few_rows_become_one_and_others_stay() {
        let mut words: Vec<&str> = [["a"; 12], ["b"; 12]].concat();
        words.extend(["c", "c", "d", "NA", "e"]);
        let numbers = (0..words.len()).map(|i| (i * i).to_string()).collect();
        let names = ["word", "number"].map(String::from).to_vec();
        let table = Table::new(names, vec![words.iter().map(|word| word.to_string()).collect(), numbers]).unwrap();
        let options = SchemaOptions { missing: crate::table::Missing::Level, ..SchemaOptions::default() };
        let schema = Schema::infer(&table, &options).unwrap();
        let (after, schema, merged) = merge_rare(&table, &schema, 3).unwrap();
        let told = Merged { column: "word".into(), levels: 3, rows: 4, name: RARE.into() };
        assert_eq!(merged, [told]);
        let cells = after.column("word").unwrap();
        assert_eq!(cells[24..].to_vec(), [RARE, RARE, RARE, "NA", RARE]);
        assert_eq!(after.column("number"), table.column("number"));
        assert!(matches!(&schema.columns[0].kind, ColumnKind::Categorical { levels } if levels.len() == 4));
        Codec::fit(&after, &schema).unwrap().ranks(&after).unwrap();
        // Nothing is rare twice.
        assert_eq!(merge_rare(&after, &schema, 3).unwrap().2, []);
        let (_, schema, merged) = merge_rare(&table, &schema, 100).unwrap();
        assert_eq!(merged[0].levels, 2);
        assert!(matches!(&schema.columns[0].kind, ColumnKind::Categorical { levels } if levels.len() == 3));
    }
}
