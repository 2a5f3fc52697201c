//! Pairs of columns: the Trend score and the association matrices.

use super::marginals::total_variation;
use super::rows::{Layout, Rows};
use super::{Associations, PairScore};

/// Bins into which a numerical column is cut for its contingency with another column.
const BINS: usize = 10;
/// Contingency tables with at most this many cells are counted in place; larger ones by sorting the pairs.
const DENSE_CELLS: usize = 1 << 20;

/// Over which range the numerical columns are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bins {
    /// The training column's, for both tables.
    Shared,
    /// Each table's own.
    Own,
}

/// The Trend term of every pair of columns, in the table's order.
pub(super) fn trend(layout: &Layout, train: &Rows, synthetic: &Rows, bins: Bins) -> Vec<PairScore> {
    let (coded_train, coded_synthetic): (Vec<Vec<u32>>, Vec<Vec<u32>>) = match bins {
        Bins::Shared => {
            let edges: Vec<Vec<f64>> = train.numbers.iter().map(|column| edges(column)).collect();
            // Only the inner edges count: what lies beyond the training range falls into the end bins.
            let cut = |rows: &Rows| {
                let columns = rows.numbers.iter().zip(&edges);
                columns.map(|(column, edges)| codes(column, &edges[1..BINS])).collect()
            };
            (cut(train), cut(synthetic))
        }
        Bins::Own => {
            // All edges count, so the largest value is a bin of its own, as in the published scorer.
            let cut = |rows: &Rows| rows.numbers.iter().map(|column| codes(column, &edges(column))).collect();
            (cut(train), cut(synthetic))
        }
    };
    let correlations = (correlations(train), correlations(synthetic));
    let column = |rows: &Rows, coded: &[Vec<u32>], (numerical, index): (bool, usize)| {
        if numerical { coded[index].clone() } else { rows.levels[index].clone() }
    };
    let size = |(numerical, index): (bool, usize)| {
        if numerical { BINS + 2 } else { layout.sizes[index] }
    };
    let mut pairs = Vec::new();
    for (position, &first) in layout.order.iter().enumerate() {
        let first_columns = (column(train, &coded_train, first), column(synthetic, &coded_synthetic, first));
        for &second in &layout.order[position + 1..] {
            let trend = if first.0 && second.0 {
                let difference = correlations.0[first.1][second.1] - correlations.1[first.1][second.1];
                1.0 - difference.abs() / 2.0
            } else {
                let sizes = (size(first), size(second));
                let second_columns = (column(train, &coded_train, second), column(synthetic, &coded_synthetic, second));
                1.0 - contingency_distance(
                    (&first_columns.0, &second_columns.0),
                    (&first_columns.1, &second_columns.1),
                    sizes,
                )
            };
            pairs.push(PairScore { first: layout.name(first), second: layout.name(second), trend });
        }
    }
    pairs
}

impl Layout {
    fn name(&self, (numerical, index): (bool, usize)) -> String {
        if numerical { self.numbers[index].name.clone() } else { self.categories[index].name.clone() }
    }
}

/// Edges of ten bins of equal width over a column's range; a constant column gets a range of one around it.
fn edges(column: &[f64]) -> Vec<f64> {
    let low = column.iter().copied().fold(f64::INFINITY, f64::min);
    let high = column.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (low, high) = if low < high { (low, high) } else { (low - 0.5, high + 0.5) };
    let step = (high - low) / BINS as f64;
    (0..BINS).map(|bin| bin as f64 * step + low).chain([high]).collect()
}

/// For each value the number of edges at or below it.
fn codes(column: &[f64], edges: &[f64]) -> Vec<u32> {
    column.iter().map(|value| edges.partition_point(|edge| edge <= value) as u32).collect()
}

/// Total variation distance between the joint distributions of two pairs of columns.
fn contingency_distance(real: (&[u32], &[u32]), synthetic: (&[u32], &[u32]), sizes: (usize, usize)) -> f64 {
    if let Some(cells) = sizes.0.checked_mul(sizes.1).filter(|&cells| cells <= DENSE_CELLS) {
        let shares = |(first, second): (&[u32], &[u32])| -> Vec<f64> {
            let mut counts = vec![0u32; cells];
            for (&a, &b) in first.iter().zip(second) {
                counts[a as usize * sizes.1 + b as usize] += 1;
            }
            counts.into_iter().map(|count| f64::from(count) / first.len() as f64).collect()
        };
        return total_variation(&shares(real), &shares(synthetic));
    }
    let keys = |(first, second): (&[u32], &[u32])| {
        let mut keys: Vec<(u32, u32)> = first.iter().copied().zip(second.iter().copied()).collect();
        keys.sort_unstable();
        keys
    };
    let (real, synthetic) = (keys(real), keys(synthetic));
    let (mut i, mut j, mut sum) = (0, 0, 0.0);
    while i < real.len() || j < synthetic.len() {
        let key = match (real.get(i), synthetic.get(j)) {
            (Some(a), Some(b)) => *a.min(b),
            (Some(a), None) => *a,
            (_, Some(b)) => *b,
            (None, None) => break,
        };
        let in_real = real[i..].iter().take_while(|own| **own == key).count();
        let in_synthetic = synthetic[j..].iter().take_while(|own| **own == key).count();
        sum += (in_real as f64 / real.len() as f64 - in_synthetic as f64 / synthetic.len() as f64).abs();
        i += in_real;
        j += in_synthetic;
    }
    0.5 * sum
}

/// Pearson's correlation between every two numerical columns; 0 where one is constant.
fn correlations(rows: &Rows) -> Vec<Vec<f64>> {
    let standard: Vec<Vec<f64>> = rows.numbers.iter().map(|column| standardised(column)).collect();
    let count = standard.len();
    let mut matrix = vec![vec![0.0; count]; count];
    for first in 0..count {
        for second in 0..=first {
            let value = standard[first].iter().zip(&standard[second]).map(|(a, b)| a * b).sum::<f64>();
            matrix[first][second] = value.clamp(-1.0, 1.0);
            matrix[second][first] = matrix[first][second];
        }
    }
    matrix
}

/// A column with mean 0 and sum of squares 1, or all zeros if it is constant.
fn standardised(column: &[f64]) -> Vec<f64> {
    let mean = column.iter().sum::<f64>() / column.len() as f64;
    let norm = column.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>().sqrt();
    let constant = column.iter().all(|value| *value == column[0]);
    column.iter().map(|value| if constant { 0.0 } else { (value - mean) / norm }).collect()
}

/// The associations between all columns of one table.
pub(super) fn associations(layout: &Layout, rows: &Rows) -> Associations {
    let numerical = layout.numbers.len();
    let names: Vec<String> =
        layout.numbers.iter().chain(&layout.categories).map(|column| column.name.clone()).collect();
    let count = names.len();
    let mut matrix = vec![vec![0.0; count]; count];
    for (row, values) in correlations(rows).into_iter().enumerate() {
        matrix[row][..numerical].copy_from_slice(&values);
    }
    let standard: Vec<Vec<f64>> = rows.numbers.iter().map(|column| standardised(column)).collect();
    for (category, levels) in rows.levels.iter().enumerate() {
        let at = numerical + category;
        for (number, column) in standard.iter().enumerate() {
            matrix[at][number] = correlation_ratio(column, levels, layout.sizes[category]);
            matrix[number][at] = matrix[at][number];
        }
        for other in 0..=category {
            let sizes = (layout.sizes[category], layout.sizes[other]);
            matrix[at][numerical + other] = cramers_v(levels, &rows.levels[other], sizes);
            matrix[numerical + other][at] = matrix[at][numerical + other];
        }
    }
    Associations { names, numerical, matrix }
}

/// Square root of the share of a standardised column's variance that lies between the levels.
fn correlation_ratio(standard: &[f64], levels: &[u32], size: usize) -> f64 {
    let (mut sums, mut counts) = (vec![0.0; size], vec![0.0; size]);
    for (value, &level) in standard.iter().zip(levels) {
        sums[level as usize] += value;
        counts[level as usize] += 1.0;
    }
    let between: f64 =
        sums.iter().zip(&counts).filter(|(_, count)| **count > 0.0).map(|(sum, count)| sum * sum / count).sum();
    between.sqrt().min(1.0)
}

/// Cramér's V: the chi-squared statistic over its largest possible value, square-rooted.
fn cramers_v(first: &[u32], second: &[u32], sizes: (usize, usize)) -> f64 {
    let rows = first.len() as f64;
    let (mut of_first, mut of_second) = (vec![0.0; sizes.0], vec![0.0; sizes.1]);
    let mut pairs: Vec<(u32, u32)> = first.iter().copied().zip(second.iter().copied()).collect();
    for &(a, b) in &pairs {
        of_first[a as usize] += 1.0;
        of_second[b as usize] += 1.0;
    }
    let present = |counts: &[f64]| counts.iter().filter(|count| **count > 0.0).count();
    let smaller = present(&of_first).min(present(&of_second));
    if smaller < 2 {
        return 0.0;
    }
    pairs.sort_unstable();
    // Sum over cells of observed^2 / expected, minus the number of rows, is the chi-squared statistic.
    let sum: f64 = pairs
        .chunk_by(|a, b| a == b)
        .map(|cell| {
            let expected = of_first[cell[0].0 as usize] * of_second[cell[0].1 as usize] / rows;
            (cell.len() * cell.len()) as f64 / expected
        })
        .sum();
    ((sum - rows).max(0.0) / (rows * (smaller - 1) as f64)).sqrt().min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_have_equal_width_and_closed_ends() {
        let column: Vec<f64> = (0..=20).map(f64::from).collect();
        let edges = edges(&column);
        assert_eq!(edges, (0..=10).map(|bin| f64::from(2 * bin)).collect::<Vec<_>>());
        assert_eq!(codes(&[-5.0, 0.0, 1.9, 2.0, 18.0, 20.0, 99.0], &edges[1..BINS]), [0, 0, 0, 1, 9, 9, 9]);
        assert_eq!(codes(&[0.0, 19.9, 20.0], &edges), [1, 10, 11]);
        assert_eq!(super::edges(&[3.0, 3.0])[0], 2.5);
    }

    #[test]
    fn contingency_tables_are_compared_alike_in_both_forms() {
        let real: (Vec<u32>, Vec<u32>) = ((0..200).map(|i| i * 7 % 5).collect(), (0..200).map(|i| i * i % 3).collect());
        let made: (Vec<u32>, Vec<u32>) = ((0..150).map(|i| i * 3 % 5).collect(), (0..150).map(|i| i % 3).collect());
        let dense = contingency_distance((&real.0, &real.1), (&made.0, &made.1), (5, 3));
        let sparse = contingency_distance((&real.0, &real.1), (&made.0, &made.1), (1 << 20, 1 << 20));
        assert!((dense - sparse).abs() < 1e-14 && dense > 0.1, "{dense} {sparse}");
    }

    #[test]
    fn associations_know_their_extremes() {
        let letters: Vec<u32> = (0..300).map(|i| i % 3).collect();
        let other: Vec<u32> = (0..300).map(|i| (i / 3) % 2).collect();
        assert!((cramers_v(&letters, &letters, (3, 3)) - 1.0).abs() < 1e-12);
        assert!(cramers_v(&letters, &other, (3, 2)) < 1e-7);
        assert_eq!(cramers_v(&letters, &vec![0; 300], (3, 1)), 0.0);
        let number: Vec<f64> = letters.iter().map(|&level| f64::from(level) * 2.0).collect();
        assert!((correlation_ratio(&standardised(&number), &letters, 3) - 1.0).abs() < 1e-12);
        assert!(correlation_ratio(&standardised(&number), &other, 2) < 1e-7);
        assert_eq!(standardised(&[5.0, 5.0]), [0.0, 0.0]);
    }
}
