//! Single columns: the Shape score and the histograms behind the plots.

use super::figures::{ColumnScore, Marginal};
use super::rows::{Layout, NumberColumn, Rows, Three};
use super::statistics::{quantile, sorted};

/// Bars of the histogram of a numerical column, unless it has fewer whole values.
const BINS: usize = 32;
/// A whole-number column that spans at most this many values gets one bar per value.
const MOST_WHOLE_BINS: usize = 60;

/// The Shape term of every column, in the table's order. Missing numbers are left out of it.
pub(super) fn shape(layout: &Layout, train: &Rows, synthetic: &Rows) -> Vec<f64> {
    let term = |&(numerical, index): &(bool, usize)| {
        1.0 - if numerical {
            let given = |rows: &Rows| sorted(&present(&rows.numbers[index]));
            kolmogorov_smirnov(&given(train), &given(synthetic))
        } else {
            let size = layout.sizes[index];
            total_variation(&level_shares(&train.levels[index], size), &level_shares(&synthetic.levels[index], size))
        }
    };
    layout.order.iter().map(term).collect()
}

/// The Shape terms with the columns' names and their shares of missing cells.
pub(super) fn columns(layout: &Layout, rows: &Three<Rows>) -> Vec<ColumnScore> {
    let terms = shape(layout, &rows[0], &rows[2]);
    let column = |(&column, shape): (&(bool, usize), f64)| {
        let [missing_train, missing_test, missing_synthetic] =
            [0, 1, 2].map(|which: usize| rows[which].missing(layout, column));
        let (name, numerical) = (layout.name(column).to_owned(), column.0);
        ColumnScore { name, numerical, shape, missing_train, missing_test, missing_synthetic }
    };
    layout.order.iter().zip(terms).map(column).collect()
}

fn present(values: &[f64]) -> Vec<f64> {
    values.iter().copied().filter(|value| !value.is_nan()).collect()
}

/// Largest difference between the empirical distribution functions of two ascending lists; 1 if only one is empty.
fn kolmogorov_smirnov(first: &[f64], second: &[f64]) -> f64 {
    if first.is_empty() || second.is_empty() {
        return if first.is_empty() == second.is_empty() { 0.0 } else { 1.0 };
    }
    let (mut i, mut j, mut largest) = (0, 0, 0.0f64);
    while i < first.len() && j < second.len() {
        let value = first[i].min(second[j]);
        while i < first.len() && first[i] <= value {
            i += 1;
        }
        while j < second.len() && second[j] <= value {
            j += 1;
        }
        let difference = i as f64 / first.len() as f64 - j as f64 / second.len() as f64;
        largest = largest.max(difference.abs());
    }
    largest
}

/// Half the sum of absolute differences between two lists of shares.
pub(super) fn total_variation(first: &[f64], second: &[f64]) -> f64 {
    0.5 * first.iter().zip(second).map(|(a, b)| (a - b).abs()).sum::<f64>()
}

fn level_shares(levels: &[u32], size: usize) -> Vec<f64> {
    shares(levels.iter().map(|&level| level as usize), size, levels.len())
}

fn shares(bins: impl Iterator<Item = usize>, size: usize, rows: usize) -> Vec<f64> {
    let mut counts = vec![0usize; size];
    bins.for_each(|bin| counts[bin] += 1);
    counts.into_iter().map(|count| count as f64 / rows as f64).collect()
}

/// Histograms of every column, in the table's order.
pub(super) fn marginals(layout: &Layout, train: &Rows, synthetic: &Rows) -> Vec<Marginal> {
    layout
        .order
        .iter()
        .map(|&(numerical, index)| {
            if numerical {
                number_marginal(&layout.numbers[index], &train.numbers[index], &synthetic.numbers[index])
            } else {
                let column = &layout.categories[index];
                Marginal {
                    name: column.name.clone(),
                    edges: Vec::new(),
                    levels: column.levels.clone(),
                    train: level_shares(&train.levels[index], layout.sizes[index]),
                    synthetic: level_shares(&synthetic.levels[index], layout.sizes[index]),
                }
            }
        })
        .collect()
}

fn number_marginal(column: &NumberColumn, train: &[f64], synthetic: &[f64]) -> Marginal {
    let mut ordered = sorted(&present(train));
    if ordered.is_empty() {
        ordered.push(0.0);
    }
    let (low, high) = (quantile(&ordered, 0.01), quantile(&ordered, 0.99));
    let whole = column.whole;
    let (low, high) = if high > low { (low, high) } else { (ordered[0], ordered[ordered.len() - 1]) };
    let edges: Vec<f64> = if low == high {
        let half = (low.abs() * 1e-6).max(0.5); // one bin around the constant
        vec![low - half, low + half]
    } else if whole && high - low < MOST_WHOLE_BINS as f64 {
        let (first, last) = (low.floor(), high.ceil());
        (0..=(last - first) as usize + 1).map(|step| first - 0.5 + step as f64).collect()
    } else {
        // Of a skewed column, most of which would fall into one or two even bins, the bins are even in the square root.
        let middle = (quantile(&ordered, 0.5) - low) / (high - low);
        let skewed = !(0.2..=0.8).contains(&middle);
        let root = |value: f64| if skewed { value.abs().sqrt().copysign(value) } else { value };
        let value = |root: f64| if skewed { (root * root).copysign(root) } else { root };
        let (first, last) = (root(low), root(high));
        (0..=BINS).map(|step| value(first + (last - first) * step as f64 / BINS as f64)).collect()
    };
    let bins = edges.len() - 1;
    let bin = |value: &f64| edges[1..bins].partition_point(|edge| edge <= value);
    Marginal {
        name: column.name.clone(),
        train: shares(present(train).iter().map(bin), bins, train.len()),
        synthetic: shares(present(synthetic).iter().map(bin), bins, synthetic.len()),
        edges,
        levels: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_on_small_lists() {
        assert_eq!(kolmogorov_smirnov(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0]), 0.0);
        assert_eq!(kolmogorov_smirnov(&[1.0, 2.0], &[3.0, 4.0]), 1.0);
        assert_eq!(kolmogorov_smirnov(&[0.0, 0.0, 0.0, 1.0], &[0.0, 1.0]), 0.25);
        assert_eq!(kolmogorov_smirnov(&[0.0, 1.0], &[0.5, 0.5, 0.5, 2.0]), 0.5);
        assert_eq!(total_variation(&[0.5, 0.5, 0.0], &[0.25, 0.25, 0.5]), 0.5);
    }

    #[test]
    fn histograms_hold_every_row() {
        let column = NumberColumn { name: "v".into(), whole: true };
        let train: Vec<f64> = (0..1000).map(|i| f64::from(i % 10)).collect();
        let few = number_marginal(&column, &train, &[-100.0, 3.0, 100.0, 9.0]);
        assert_eq!(few.edges.len(), 11, "one bar per whole value");
        assert!(few.train.iter().all(|share| (share - 0.1).abs() < 1e-12));
        assert_eq!((few.synthetic[0], few.synthetic[3], few.synthetic[9]), (0.25, 0.25, 0.5));
        let many: Vec<f64> = (0..1000).map(|i| f64::from(i * i)).collect();
        let many = number_marginal(&column, &many, &many);
        assert_eq!(many.train, many.synthetic);
        assert!((many.train.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        let constant = number_marginal(&column, &[4.0, 4.0], &[5.0, 5.0]);
        assert_eq!((constant.train.len(), constant.synthetic[0]), (1, 1.0));
        let constant = number_marginal(&column, &[1e30, 1e30], &[1e30, 2e30]);
        assert!(constant.edges[0] < constant.edges[1] && constant.train == [1.0]);
    }
}
