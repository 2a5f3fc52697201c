//! How strongly the columns of one table go together, each two of them.

use super::Associations;
use super::rows::{Layout, Rows};

/// Pearson's correlation between every two numerical columns, over the rows in which both are given; 0 where one is constant.
pub(super) fn correlations(rows: &Rows) -> Vec<Vec<f64>> {
    // Empty for a column with missing cells, whose mean depends on its partner.
    let complete = |column: &Vec<f64>| !column.iter().any(|value| value.is_nan());
    let standard = |column: &Vec<f64>| if complete(column) { standardised(column) } else { Vec::new() };
    let standard: Vec<Vec<f64>> = rows.numbers.iter().map(standard).collect();
    let count = standard.len();
    let mut matrix = vec![vec![0.0; count]; count];
    for first in 0..count {
        for second in 0..=first {
            let (a, b) = (&rows.numbers[first], &rows.numbers[second]);
            let value = if standard[first].is_empty() || standard[second].is_empty() {
                let both = a.iter().zip(b).filter(|(a, b)| !a.is_nan() && !b.is_nan());
                let (a, b): (Vec<f64>, Vec<f64>) = both.map(|(a, b)| (*a, *b)).unzip();
                inner(&standardised(&a), &standardised(&b))
            } else {
                inner(&standard[first], &standard[second])
            };
            matrix[first][second] = value.clamp(-1.0, 1.0);
            matrix[second][first] = matrix[first][second];
        }
    }
    matrix
}

fn inner(first: &[f64], second: &[f64]) -> f64 {
    first.iter().zip(second).map(|(a, b)| a * b).sum()
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
        layout.numbers.iter().map(|c| &c.name).chain(layout.categories.iter().map(|c| &c.name)).cloned().collect();
    let count = names.len();
    let mut matrix = vec![vec![0.0; count]; count];
    for (row, values) in correlations(rows).into_iter().enumerate() {
        matrix[row][..numerical].copy_from_slice(&values);
    }
    for (category, levels) in rows.levels.iter().enumerate() {
        let at = numerical + category;
        for (number, column) in rows.numbers.iter().enumerate() {
            let given = column.iter().zip(levels).filter(|(value, _)| !value.is_nan());
            let (column, levels): (Vec<f64>, Vec<u32>) = given.map(|(value, level)| (*value, *level)).unzip();
            matrix[at][number] = correlation_ratio(&standardised(&column), &levels, layout.sizes[category]);
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
