//! How good a generated table is: marginals, pairs of columns, coverage, and whether it copies its training rows.
//!
//! [`evaluate`] takes the three tables that the literature's protocol needs (training, test, synthetic) and returns every
//! figure at once. The definitions are those of the papers' public scorers, so that figures can be set beside published
//! ones; numbers are rounded to single precision first, as they do, unless that would make different numbers equal.
//!
//! Only columns that all three tables have are compared. A category that the training table does not have is one more
//! level. A missing cell is a level of a category; of a number it is compared by its rate, left out of the column's own
//! distribution and of correlations, and a bin of its own beside another column. In distances and in the logistic test it
//! stands at the training median and sets a category of its own; trees see that it is missing.
//!
//! Distances run over all pairs of rows. They are computed in blocks, on as many threads as asked for, and the figures do
//! not depend on how many there are.

mod associations;
mod boosting;
mod copies;
mod coverage;
mod figures;
mod logistic;
mod marginals;
mod membership;
mod nearest;
mod neighbours;
mod pairs;
mod rows;
mod statistics;
mod tasks;
mod trees;
mod two_sample;

pub use figures::{
    Associations, ColumnScore, Evaluation, Floor, LeftOut, Marginal, Membership, PairScore, TargetScore, TreeColumn,
};

use crate::table::number::{Cell, read_cell};
use crate::table::{ColumnKind, Schema, SchemaOptions, Table};
use crate::{Error, Result};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;
use rows::{Layout, NAMES, Rows};
use statistics::{mean, mean_or_one};

/// Fewest training rows of which halves are compared.
const HALVED: usize = 10;

/// Settings of [`evaluate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvaluationOptions {
    /// Seed of the random parts: which rows are left out where tables differ in size, the folds of the two-sample tests,
    /// the halves of the training table.
    pub seed: u64,
    /// Threads to use.
    pub threads: usize,
    /// The column that trees predict; the last one if none is named.
    pub target: Option<String>,
}

impl Default for EvaluationOptions {
    fn default() -> Self {
        Self { seed: 0, threads: 1, target: None }
    }
}

/// The schema of the columns that can be compared: those of the training table that the other two have as well and that are
/// not empty.
///
/// # Errors
/// As [`Schema::infer`], and [`Error::Table`] if the tables have no column in common.
pub fn common_schema(train: &Table, test: &Table, synthetic: &Table, options: &SchemaOptions) -> Result<Schema> {
    let shared = |name: &&String| [test, synthetic].iter().all(|table| table.names().contains(name));
    let filled = |name: &&String| {
        let cells = train.column(name).unwrap_or(&[]);
        cells.is_empty() || cells.iter().any(|cell| read_cell(cell) != Cell::Missing)
    };
    let kept: Vec<String> = train.names().iter().filter(shared).filter(filled).cloned().collect();
    let mut options = options.clone();
    options.missing = crate::table::Missing::Level;
    // A column that is left out need not be said to be anything; one that no table has is a mistake.
    let stays = |name: &String| kept.contains(name) || !train.names().contains(name);
    for list in [&mut options.categorical, &mut options.numerical, &mut options.drop, &mut options.identifier] {
        list.retain(stays);
    }
    options.dates.retain(|(name, _)| stays(name));
    options.declared.retain(|declared| stays(&declared.name));
    if kept.iter().all(|name| options.drop.contains(name)) {
        return Err(Error::Table("the three tables have no column in common that could be compared".into()));
    }
    let columns = kept.iter().map(|name| train.column(name).unwrap_or(&[]).to_vec()).collect();
    Schema::infer(&Table::new(kept, columns)?, &options)
}

/// Compares a synthetic table with the training table it imitates and a test table from the same source.
///
/// `schema` is the training table's, all of it or the columns to be compared. A constant column is compared as numbers if it
/// holds one, else as a category. [`Evaluation::left_out`] says which columns of the tables were not compared.
///
/// # Errors
/// [`Error::Table`], naming the table, if a table has fewer than two rows, none of the schema's columns is in all three
/// tables, a cell of a numerical column is no finite number, or no column of the target's name is compared.
pub fn evaluate(
    train: &Table,
    test: &Table,
    synthetic: &Table,
    schema: &Schema,
    options: &EvaluationOptions,
) -> Result<Evaluation> {
    let tables = [train, test, synthetic];
    for (which, table) in NAMES.iter().zip(tables) {
        if table.rows() < 2 {
            return Err(Error::Table(format!(
                "the {which} table has fewer than two rows, which is too few to compare"
            )));
        }
    }
    let (schema, left_out) = compared(schema, tables)?;
    let (layout, rows) = rows::read(&schema, tables)?;
    let target = trees::target(&layout, options.target.as_deref()).ok_or_else(|| {
        let name = options.target.as_deref().unwrap_or_default();
        Error::Table(format!("'{name}' is none of the columns that are compared, so it cannot be predicted"))
    })?;
    let (seed, threads) = (options.seed, options.threads);
    let completed = rows::completed(&layout, &rows);
    let (full_layout, full) = completed.as_ref().map_or((&layout, &rows), |(layout, rows)| (layout, rows));

    let whole = Fidelity::new((&layout, &rows[0], &rows[2]), (full_layout, &full[0], &full[2]), options);
    let floor = halves(rows[0].count, seed).map(|[first, second]| {
        let (a, b) = (rows[0].select(&first), rows[0].select(&second));
        let (full_a, full_b) = (full[0].select(&first), full[0].select(&second));
        Fidelity::new((&layout, &a, &b), (full_layout, &full_a, &full_b), options).floor(a.count)
    });
    let nearest = nearest::nearest_records(full_layout, full, seed, threads);
    let copies = copies::copies(&layout, tables, &rows);
    let (utility, utility_note) = match trees::utility(&layout, &rows, target, seed, threads) {
        Ok(score) => (Some(score), None),
        Err(why) => (None, Some(why)),
    };
    Ok(Evaluation {
        n_train: rows[0].count,
        n_test: rows[1].count,
        n_synthetic: rows[2].count,
        shape: whole.shape,
        shape_error_pct: 100.0 * (1.0 - whole.shape),
        trend_shared_bins: whole.trend_shared,
        trend_shared_bins_error_pct: 100.0 * (1.0 - whole.trend_shared),
        trend: whole.trend_own,
        trend_error_pct: 100.0 * (1.0 - whole.trend_own),
        nmi_weighted: whole.nmi_weighted,
        missing_error_pct: whole.missing_error_pct,
        alpha_precision: whole.alpha_precision,
        beta_recall: whole.beta_recall,
        dcr_share: nearest.share,
        dcr_share_expected: rows[0].count as f64 / (rows[0].count + rows[1].count) as f64,
        dcr_share_balanced: nearest.share_balanced,
        dcr_median: nearest.median,
        dcr_median_of_test: nearest.median_of_test,
        exact_train_copies_pct: copies.synthetic_pct,
        exact_train_copies_in_test_pct: copies.test_pct,
        exact_train_copies_in_test_interval_pct: copies.test_interval_pct,
        membership: membership::membership(full_layout, full, seed, threads),
        c2st_logistic: whole.c2st_logistic,
        c2st_trees: whole.trees.score,
        c2st_trees_auc: whole.trees.auc,
        c2st_trees_columns: whole.tree_columns,
        utility,
        utility_note,
        floor,
        left_out,
        columns: marginals::columns(&layout, &rows),
        pairs: pairs::scores(&layout, &whole.trends, &whole.dependences),
        associations_train: associations::associations(&layout, &rows[0]),
        associations_synthetic: associations::associations(&layout, &rows[2]),
        marginals: marginals::marginals(&layout, &rows[0], &rows[2]),
    })
}

/// The schema's columns that all tables have, and those of any table that are not among them, with the reason.
fn compared(schema: &Schema, tables: [&Table; 3]) -> Result<(Schema, Vec<LeftOut>)> {
    let lacks = |name: &String| NAMES.into_iter().zip(tables).find(|(_, table)| !table.names().contains(name));
    let mut schema = schema.clone();
    // New identifiers are no better or worse than others.
    schema
        .columns
        .retain(|column| lacks(&column.name).is_none() && !matches!(column.kind, ColumnKind::Identifier { .. }));
    if schema.columns.is_empty() {
        return Err(Error::Table("the three tables have no column in common that could be compared".into()));
    }
    let mut left_out: Vec<LeftOut> = Vec::new();
    for name in tables.iter().flat_map(|table| table.names()) {
        if schema.columns.iter().any(|column| column.name == *name) || left_out.iter().any(|own| own.name == *name) {
            continue;
        }
        let empty =
            |table: &Table| table.column(name).is_some_and(|c| c.iter().all(|cell| read_cell(cell) == Cell::Missing));
        let reason = match lacks(name) {
            Some((which, _)) => format!("the {which} table does not have it"),
            None if empty(tables[0]) => "it is empty in the training table".into(),
            None => "it names the rows, or was asked to be left out".into(),
        };
        left_out.push(LeftOut { name: name.clone(), reason });
    }
    Ok((schema, left_out))
}

/// Two disjoint halves of the training rows, drawn at random.
fn halves(count: usize, seed: u64) -> Option<[Vec<usize>; 2]> {
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
    let half = count / 2;
    (count >= HALVED).then(|| [order[..half].to_vec(), order[half..2 * half].to_vec()])
}

/// The figures that two tables have of each other.
struct Fidelity {
    shape: f64,
    trends: Vec<f64>,
    trend_shared: f64,
    trend_own: f64,
    dependences: Vec<[f64; 2]>,
    nmi_weighted: f64,
    missing_error_pct: f64,
    alpha_precision: f64,
    beta_recall: f64,
    c2st_logistic: f64,
    trees: two_sample::TwoSample,
    tree_columns: Vec<TreeColumn>,
}

impl Fidelity {
    /// Compares two tables, each given as it is and completed.
    fn new(
        (layout, train, synthetic): (&Layout, &Rows, &Rows),
        (full_layout, full_train, full_synthetic): (&Layout, &Rows, &Rows),
        options: &EvaluationOptions,
    ) -> Self {
        let (seed, threads) = (options.seed, options.threads);
        let trend = |coded: &pairs::Coded| pairs::trend(layout, train, synthetic, coded, threads);
        let shared = pairs::Coded::new(layout, train, synthetic, pairs::Bins::Shared);
        let own = pairs::Coded::new(layout, train, synthetic, pairs::Bins::Own);
        let trends = trend(&shared);
        let dependences = pairs::dependences(layout, &shared, threads);
        let missing = layout
            .order
            .iter()
            .map(|&column| (train.missing(layout, column) - synthetic.missing(layout, column)).abs());
        let coverage = coverage::coverage(full_layout, full_train, full_synthetic, seed, threads);
        let logistic = logistic::two_sample_test(full_layout, full_train, full_synthetic, seed, threads);
        let (trees, tree_columns) = trees::two_sample_test(layout, train, synthetic, seed, threads);
        Self {
            shape: mean(marginals::shape(layout, train, synthetic).into_iter()),
            trend_shared: mean_or_one(trends.iter().copied()),
            trend_own: mean_or_one(trend(&own).into_iter()),
            nmi_weighted: pairs::weighted_similarity(&dependences),
            trends,
            dependences,
            missing_error_pct: 100.0 * mean(missing),
            alpha_precision: coverage.alpha_precision,
            beta_recall: coverage.beta_recall,
            c2st_logistic: logistic.score,
            trees,
            tree_columns,
        }
    }

    fn floor(&self, rows: usize) -> Floor {
        Floor {
            rows,
            shape_error_pct: 100.0 * (1.0 - self.shape),
            trend_shared_bins_error_pct: 100.0 * (1.0 - self.trend_shared),
            trend_error_pct: 100.0 * (1.0 - self.trend_own),
            nmi_weighted: self.nmi_weighted,
            missing_error_pct: self.missing_error_pct,
            alpha_precision: self.alpha_precision,
            beta_recall: self.beta_recall,
            c2st_logistic: self.c2st_logistic,
            c2st_trees: self.trees.score,
        }
    }
}
