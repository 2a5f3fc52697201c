//! Which rows of a table a fit learns from, and which rules it keeps.

use clap::Args;

use crate::table::{ColumnSchema, Condition, Rule, Table};

use super::{Failure, Outcome, note};

/// Rules of rows.
#[derive(Debug, Clone, Default, Args)]
pub struct RowArgs {
    /// A rule between two columns of numbers or dates, such as 'start<=end', that generated rows obey; rows that break it are
    /// counted and left out. May be given more than once
    #[arg(long, value_name = "A<=B")]
    keep: Vec<String>,
    /// Learn only from rows that meet a condition such as 'age>=18'; the others are counted. May be given more than once
    #[arg(long = "where", value_name = "CONDITION")]
    conditions: Vec<String>,
}

impl RowArgs {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.keep.is_empty() && self.conditions.is_empty()
    }

    /// The rows that obey everything, and the rules to be kept. How many rows are left out is said on standard error.
    pub fn apply(&self, mut table: Table, columns: &[ColumnSchema]) -> Outcome<(Table, Vec<Rule>)> {
        let conditions = self.conditions.iter().map(|text| Condition::parse(text, columns));
        let conditions = conditions.collect::<Result<Vec<_>, _>>()?;
        let rules = self.keep.iter().map(|text| Rule::parse(text, columns)).collect::<Result<Vec<_>, _>>()?;
        let mut good = vec![true; table.rows()];
        let mut leave_out = |text: &str, met: Vec<bool>, most: usize| -> Outcome {
            let broken = met.iter().filter(|met| !**met).count();
            let (rows, Some(first)) = (met.len(), met.iter().position(|met| !met)) else { return Ok(()) };
            if broken >= most {
                let share = 100.0 * broken as f64 / rows as f64;
                return Err(Failure::new(format!(
                    "{broken} of {rows} rows ({share:.0} %) do not meet '{text}', the first of them row {}; is it the right way round?",
                    first + 1
                )));
            }
            note!("left out {broken} of {rows} rows that do not meet '{text}', the first of them row {}", first + 1);
            good.iter_mut().zip(met).for_each(|(good, met)| *good &= met);
            Ok(())
        };
        let rows = table.rows();
        for condition in &conditions {
            leave_out(condition.text(), condition.met(&table)?, rows)?;
        }
        for rule in &rules {
            leave_out(&rule.text(), rule.obeyed(&table, columns)?, rows / 2 + 1)?;
        }
        if good.contains(&false) {
            let kept: Vec<usize> = (0..rows).filter(|&row| good[row]).collect();
            table = table.select(&kept);
        }
        Ok((table, rules))
    }
}
