//! What [`evaluate`](super::evaluate) returns: every figure about a synthetic table, in words.

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
    /// 1 - mean over pairs of columns of |difference of their normalised mutual information|, weighted by the sum of the
    /// two; numerical columns cut into the shared bins. 1 is best.
    pub nmi_weighted: f64,
    /// Mean over columns of |difference of the shares of missing cells| between training and synthetic table, in percent.
    pub missing_error_pct: f64,
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
    /// Percentage of synthetic rows that equal a training row in every cell, digit by digit.
    pub exact_train_copies_pct: f64,
    /// Percentage of test rows that equal a training row: what chance gives, because a test row is no copy.
    pub exact_train_copies_in_test_pct: f64,
    /// 95 % interval of the chance that a fresh row equals a training row, in percent.
    pub exact_train_copies_in_test_interval_pct: [f64; 2],
    /// Whether distances to the synthetic table tell training rows from test rows.
    pub membership: Membership,
    /// Logistic two-sample test between training and synthetic rows: 1 - mean over three folds of 2 max(AUC, 1/2) - 1 of
    /// a ridge-penalised logistic regression on standardised numbers and one-hot categories. 1 means that a linear
    /// boundary cannot tell them apart; it is blind to relations between columns.
    pub c2st_logistic: f64,
    /// The same by boosted trees (100 rounds, depth 6), which see relations between columns. Missing numbers stay missing.
    pub c2st_trees: f64,
    /// Mean AUC of those trees: 1/2 when they are at a loss.
    pub c2st_trees_auc: f64,
    /// The columns by which they told the tables apart, largest share first.
    pub c2st_trees_columns: Vec<TreeColumn>,
    /// How well trees that learnt one column on synthetic rows predict it on test rows; nothing where that says nothing.
    pub utility: Option<TargetScore>,
    /// Why there is no `utility`.
    pub utility_note: Option<String>,
    /// The same figures of two halves of the training table, one of which stands for the synthetic table; nothing where it
    /// has fewer than ten rows.
    pub floor: Option<Floor>,
    /// Columns of any of the tables that were not compared.
    pub left_out: Vec<LeftOut>,
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
    /// 1 - distance. Missing numbers are left out of it; missing categories are a level.
    pub shape: f64,
    /// Share of missing cells in the training table.
    pub missing_train: f64,
    /// Share of missing cells in the test table.
    pub missing_test: f64,
    /// Share of missing cells in the synthetic table.
    pub missing_synthetic: f64,
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
    /// Normalised mutual information in the training table, with shared bins.
    pub nmi_train: f64,
    /// The same in the synthetic table.
    pub nmi_synthetic: f64,
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

/// Histograms of one column: the share of rows in every bin, of the training and of the synthetic table.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct Marginal {
    /// The column.
    pub name: String,
    /// Bin edges of a numerical column, one more than bins; empty for a categorical one. The
    /// bins of a skewed column are even in the signed square root. The outer bins also hold what
    /// lies beyond them, which is less than 1 % of the training rows on either side.
    pub edges: Vec<f64>,
    /// Levels of a categorical column, one per bin; empty for a numerical one.
    pub levels: Vec<String>,
    /// Share of training rows in each bin, of those whose cell is a number.
    pub train: Vec<f64>,
    /// Share of synthetic rows in each bin.
    pub synthetic: Vec<f64>,
}

/// Whether distances to the synthetic table tell training rows from test rows.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct Membership {
    /// Probability that a training row is nearer to its nearest synthetic row (L1 distance) than a test row is, ties counted
    /// half. 1/2 when nothing is memorised.
    pub auc: f64,
    /// Lower end of its 95 % interval (DeLong).
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
    /// Training rows that were tried: all, or 10,000 of them.
    pub n_train: usize,
    /// Test rows that were tried.
    pub n_test: usize,
}

/// A column and its share in what the splits of the trees gained.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct TreeColumn {
    /// The column.
    pub name: String,
    /// Its share; all columns' sum to 1.
    pub gain_share: f64,
}

/// How well trees predict a column of the test table.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct TargetScore {
    /// The column.
    pub target: String,
    /// `AUC` (of several levels, each against the others, weighted by its frequency) or `R2`.
    pub measure: &'static str,
    /// After learning from the synthetic rows.
    pub trained_on_synthetic: f64,
    /// After learning from the training rows.
    pub trained_on_train: f64,
}

/// What two halves of the training table have of each figure: no generated table can be expected to do better.
///
/// The halves are half as large as the tables, so their figures are a little worse than those of two tables of full size.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct Floor {
    /// Rows of a half.
    pub rows: usize,
    /// See [`Evaluation::shape_error_pct`].
    pub shape_error_pct: f64,
    /// See [`Evaluation::trend_shared_bins_error_pct`].
    pub trend_shared_bins_error_pct: f64,
    /// See [`Evaluation::trend_error_pct`].
    pub trend_error_pct: f64,
    /// See [`Evaluation::nmi_weighted`].
    pub nmi_weighted: f64,
    /// See [`Evaluation::missing_error_pct`].
    pub missing_error_pct: f64,
    /// See [`Evaluation::alpha_precision`].
    pub alpha_precision: f64,
    /// See [`Evaluation::beta_recall`].
    pub beta_recall: f64,
    /// See [`Evaluation::c2st_logistic`].
    pub c2st_logistic: f64,
    /// See [`Evaluation::c2st_trees`].
    pub c2st_trees: f64,
}

/// A column that was not compared.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct LeftOut {
    /// The column.
    pub name: String,
    /// Why.
    pub reason: String,
}
