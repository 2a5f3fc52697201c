//! How good a generated table is: marginals, pairs of columns, coverage, and whether it copies its training rows.
//!
//! [`evaluate`] takes the three tables that the literature's protocol needs (training, test, synthetic) and returns every
//! figure at once. The definitions are those of the papers' public scorers, so that figures can be set beside published
//! ones; numbers are rounded to single precision first, as they do.
//!
//! Distances run over all pairs of rows. They are computed in blocks, on all threads of the current rayon pool, and the
//! figures do not depend on how many there are.

mod coverage;
mod logistic;
mod marginals;
mod nearest;
mod neighbours;
mod pairs;
mod rows;

pub use marginals::Marginal;

use crate::table::{Schema, Table};
use crate::{Error, Result};
use rows::Layout;

/// Settings of [`evaluate`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EvaluationOptions {
    /// Seed of the random parts: which rows are left out where tables differ in size, and the folds of the two-sample
    /// test.
    pub seed: u64,
}

/// Every figure about a synthetic table. The names of the fields are stable; as JSON they are the keys.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct Evaluation {
    /// Rows of the training table.
    pub n_train: usize,
    /// Rows of the test table.
    pub n_test: usize,
    /// Rows of the synthetic table.
    pub n_synthetic: usize,
    /// Mean over columns of 1 - KS (numerical, Kolmogorov-Smirnov distance) or 1 - TV (categorical, total variation
    /// distance) between training and synthetic table. 1 is best.
    pub shape: f64,
    /// 100 (1 - `shape`).
    pub shape_error_pct: f64,
    /// Mean over pairs of columns of 1 - |difference of Pearson correlations| / 2 (both numerical) or 1 - TV of the
    /// contingency tables (otherwise; numerical columns cut into ten bins of equal width over the training column's
    /// range, in both tables). 1 is best.
    pub trend_shared_bins: f64,
    /// 100 (1 - `trend_shared_bins`).
    pub trend_shared_bins_error_pct: f64,
    /// The same with each table's numerical columns cut over their own range, as published figures have it. One outlier
    /// moves every bin, so this is a noisy figure.
    pub trend: f64,
    /// 100 (1 - `trend`).
    pub trend_error_pct: f64,
    /// Area between the curves of the share of synthetic rows in the ball around the training rows' centre that holds a
    /// share alpha of them, and alpha (Alaa et al. 2022, without embedding), as 1 - normalised area. 1 is best.
    pub alpha_precision: f64,
    /// The same for the share of training rows that have, within the distance to their nearest training neighbour, a
    /// synthetic row inside the synthetic rows' alpha ball. A second sample of the training distribution has about 1/2.
    pub beta_recall: f64,
    /// Share of synthetic rows that are nearer to a training row than to any test row (L1 distance; numbers over the
    /// training range, 2 per differing category).
    pub dcr_share: f64,
    /// What `dcr_share` is when nothing is memorised: the training rows' share of all real rows.
    pub dcr_share_expected: f64,
    /// The same share against as many training rows as there are test rows, ties counted half, averaged over up to five
    /// disjoint draws; 0.5 when nothing is memorised.
    pub dcr_share_balanced: f64,
    /// Median distance of synthetic rows to the nearest training row.
    pub dcr_median: f64,
    /// Median distance of test rows to the nearest training row, for comparison.
    pub dcr_median_of_test: f64,
    /// Percentage of synthetic rows that equal a training row.
    pub exact_train_copies_pct: f64,
    /// Percentage of test rows that equal a training row, for comparison.
    pub exact_train_copies_in_test_pct: f64,
    /// Logistic two-sample test between training and synthetic rows: 1 - mean over three folds of 2 max(AUC, 1/2) - 1 of
    /// a ridge-penalised logistic regression on standardised numbers and one-hot categories. 1 means that a linear
    /// boundary cannot tell them apart; it is blind to relations between columns.
    pub c2st_logistic: f64,
    /// The Shape term of each column, in the table's order.
    pub columns: Vec<ColumnScore>,
    /// The shared-bin Trend term of each pair of columns.
    pub pairs: Vec<PairScore>,
    /// Association between every two columns of the training table; see [`Associations`].
    pub associations_train: Associations,
    /// The same of the synthetic table.
    pub associations_synthetic: Associations,
    /// Histograms of every column of the training and the synthetic table.
    pub marginals: Vec<Marginal>,
}

/// The Shape term of one column.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct ColumnScore {
    /// The column.
    pub name: String,
    /// Whether it was compared as numbers (KS) or as categories (TV).
    pub numerical: bool,
    /// 1 - distance.
    pub shape: f64,
}

/// The Trend term of one pair of columns.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct PairScore {
    /// One column.
    pub first: String,
    /// The other column.
    pub second: String,
    /// The term, with shared bins.
    pub trend: f64,
}

/// A symmetric matrix of associations: Pearson's correlation between numerical columns (-1 to 1), the correlation ratio
/// between a numerical and a categorical one, Cramér's V between categorical ones (both 0 to 1). 0 where a column is
/// constant.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct Associations {
    /// The columns: numerical ones first, then categorical ones, each in the table's order.
    pub names: Vec<String>,
    /// How many of them are numerical.
    pub numerical: usize,
    /// One row per column.
    pub matrix: Vec<Vec<f64>>,
}

/// Compares a synthetic table with the training table it imitates and a test table from the same source.
///
/// `schema` is the training table's. A constant column is compared as numbers if it holds one, else as a category.
///
/// # Errors
/// [`Error::Table`], naming the table, if a column is missing or superfluous, a cell is missing or no finite number, a
/// categorical cell holds a level that the training table does not have, or a table has fewer than two rows.
pub fn evaluate(
    train: &Table,
    test: &Table,
    synthetic: &Table,
    schema: &Schema,
    options: &EvaluationOptions,
) -> Result<Evaluation> {
    let layout = Layout::of(schema);
    for (which, table) in [("training", train), ("test", test), ("synthetic", synthetic)] {
        if table.rows() < 2 {
            return Err(Error::Table(format!(
                "the {which} table has fewer than two rows, which is too few to compare"
            )));
        }
        if let Some(name) = table.names().iter().find(|name| !train.names().contains(name)) {
            return Err(Error::Table(format!(
                "the {which} table has a column '{name}' that the training table does not have; give tables with the same columns"
            )));
        }
    }
    let train = layout.read(train, "training")?;
    let test = layout.read(test, "test")?;
    let synthetic = layout.read(synthetic, "synthetic")?;

    let columns = marginals::shape(&layout, &train, &synthetic);
    let pairs = pairs::trend(&layout, &train, &synthetic, pairs::Bins::Shared);
    let own_pairs = pairs::trend(&layout, &train, &synthetic, pairs::Bins::Own);
    let shape = mean(columns.iter().map(|column| column.shape));
    let shared = mean_or_one(pairs.iter().map(|pair| pair.trend));
    let own = mean_or_one(own_pairs.iter().map(|pair| pair.trend));
    let coverage = coverage::coverage(&layout, &train, &synthetic, options.seed);
    let nearest = nearest::nearest_records(&layout, &train, &test, &synthetic, options.seed);
    Ok(Evaluation {
        n_train: train.count,
        n_test: test.count,
        n_synthetic: synthetic.count,
        shape,
        shape_error_pct: 100.0 * (1.0 - shape),
        trend_shared_bins: shared,
        trend_shared_bins_error_pct: 100.0 * (1.0 - shared),
        trend: own,
        trend_error_pct: 100.0 * (1.0 - own),
        alpha_precision: coverage.alpha_precision,
        beta_recall: coverage.beta_recall,
        dcr_share: nearest.share,
        dcr_share_expected: train.count as f64 / (train.count + test.count) as f64,
        dcr_share_balanced: nearest.share_balanced,
        dcr_median: nearest.median,
        dcr_median_of_test: nearest.median_of_test,
        exact_train_copies_pct: 100.0 * nearest.copies,
        exact_train_copies_in_test_pct: 100.0 * nearest.copies_in_test,
        c2st_logistic: logistic::two_sample_score(&layout, &train, &synthetic, options.seed),
        columns,
        pairs,
        associations_train: pairs::associations(&layout, &train),
        associations_synthetic: pairs::associations(&layout, &synthetic),
        marginals: marginals::marginals(&layout, &train, &synthetic),
    })
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

/// The mean, or 1 for nothing: a table of one column has no pair in which it could go wrong.
fn mean_or_one(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    if values.len() == 0 { 1.0 } else { mean(values) }
}

/// The quantile at `share` in [0, 1] of an ascending list, linear between order statistics.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() - 1) as f64 * share;
    let below = (place.floor() as usize).min(sorted.len() - 1);
    let (low, high) = (sorted[below], sorted[(below + 1).min(sorted.len() - 1)]);
    let along = place - below as f64;
    // From the nearer end, so that whole places give the order statistic itself even when `place` is rounded.
    if along >= 0.5 { high - (high - low) * (1.0 - along) } else { low + (high - low) * along }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}
