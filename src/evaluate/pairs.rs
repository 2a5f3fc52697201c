//! Pairs of columns: the Trend score, and how much of their dependence is kept.

use super::PairScore;
use super::associations::correlations;
use super::marginals::total_variation;
use super::rows::{Layout, Rows};
use super::tasks::map;

/// Bins into which a numerical column is cut for its contingency with another column.
const BINS: usize = 10;
/// Contingency tables with at most this many cells are counted in place; larger ones by sorting the pairs.
const DENSE_CELLS: usize = 1 << 20;
/// The code of a missing number; fewer codes than this are bins.
const MISSING_BIN: u32 = BINS as u32 + 2;

/// Over which range the numerical columns are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bins {
    /// The training column's, for both tables.
    Shared,
    /// Each table's own.
    Own,
}

/// The columns of two tables as codes: levels as they are, numbers by the bin they fall into, a missing number as a bin of
/// its own.
pub(super) struct Coded {
    train: Vec<Vec<u32>>,
    synthetic: Vec<Vec<u32>>,
    /// Number of codes of each column.
    sizes: Vec<usize>,
}

impl Coded {
    /// Codes of every column, in the table's order.
    pub fn new(layout: &Layout, train: &Rows, synthetic: &Rows, bins: Bins) -> Self {
        let mut coded = Self { train: Vec::new(), synthetic: Vec::new(), sizes: Vec::new() };
        for &(numerical, index) in &layout.order {
            if numerical {
                let (real, made) = (&train.numbers[index], &synthetic.numbers[index]);
                let (of_real, of_made) = match bins {
                    // Only the inner edges count: what lies beyond the training range falls into the end bins.
                    Bins::Shared => {
                        let inner = edges(real)[1..BINS].to_vec();
                        (codes(real, &inner), codes(made, &inner))
                    }
                    // All edges count, so the largest value is a bin of its own, as in the published scorer.
                    Bins::Own => (codes(real, &edges(real)), codes(made, &edges(made))),
                };
                coded.train.push(of_real);
                coded.synthetic.push(of_made);
                coded.sizes.push(MISSING_BIN as usize + 1);
            } else {
                coded.train.push(train.levels[index].clone());
                coded.synthetic.push(synthetic.levels[index].clone());
                coded.sizes.push(layout.sizes[index]);
            }
        }
        coded
    }

    /// Normalised mutual information of two columns of each table: 2 I(X, Y) / (H(X) + H(Y)), 0 where both are constant.
    fn dependence(&self, first: usize, second: usize) -> [f64; 2] {
        let sizes = (self.sizes[first], self.sizes[second]);
        [&self.train, &self.synthetic].map(|columns| mutual_information(&columns[first], &columns[second], sizes))
    }
}

/// Every two places of the table's order.
fn pairs_of(layout: &Layout) -> Vec<(usize, usize)> {
    let count = layout.order.len();
    (0..count).flat_map(|first| (first + 1..count).map(move |second| (first, second))).collect()
}

/// The Trend term of every pair of columns, in the table's order.
pub(super) fn trend(layout: &Layout, train: &Rows, synthetic: &Rows, coded: &Coded, threads: usize) -> Vec<f64> {
    let (of_train, of_synthetic) = (correlations(train), correlations(synthetic));
    let pairs = pairs_of(layout);
    map(threads, pairs.len(), |pair| {
        let (first, second) = pairs[pair];
        let (a, b) = (layout.order[first], layout.order[second]);
        if a.0 && b.0 {
            1.0 - (of_train[a.1][b.1] - of_synthetic[a.1][b.1]).abs() / 2.0
        } else {
            let (real, made) = (&coded.train, &coded.synthetic);
            let sizes = (coded.sizes[first], coded.sizes[second]);
            1.0 - contingency_distance(
                (real[first].as_slice(), &real[second]),
                (made[first].as_slice(), &made[second]),
                sizes,
            )
        }
    })
}

/// Normalised mutual information of every pair of columns, of the training and of the synthetic table.
pub(super) fn dependences(layout: &Layout, coded: &Coded, threads: usize) -> Vec<[f64; 2]> {
    let pairs = pairs_of(layout);
    map(threads, pairs.len(), |pair| coded.dependence(pairs[pair].0, pairs[pair].1))
}

/// 1 - the mean difference of the two, weighted by their sum: independent pairs, of which most tables are full, count little.
pub(super) fn weighted_similarity(dependences: &[[f64; 2]]) -> f64 {
    let weight: f64 = dependences.iter().flatten().sum();
    let error: f64 = dependences.iter().map(|[real, made]| (real + made) * (real - made).abs()).sum();
    if weight > 0.0 { 1.0 - error / weight } else { 1.0 }
}

/// The terms with the names of their columns.
pub(super) fn scores(layout: &Layout, trend: &[f64], dependences: &[[f64; 2]]) -> Vec<PairScore> {
    let name = |at: usize| layout.name(layout.order[at]).to_owned();
    let terms = trend.iter().zip(dependences);
    let score = |((first, second), (&trend, &[nmi_train, nmi_synthetic])): ((usize, usize), (&f64, &[f64; 2]))| {
        PairScore { first: name(first), second: name(second), trend, nmi_train, nmi_synthetic }
    };
    pairs_of(layout).into_iter().zip(terms).map(score).collect()
}

/// Normalised mutual information of two columns of codes below `sizes`.
fn mutual_information(first: &[u32], second: &[u32], sizes: (usize, usize)) -> f64 {
    let rows = first.len() as f64;
    let entropy = |counts: &mut dyn Iterator<Item = usize>| -> f64 {
        let shares = counts.filter(|count| *count > 0).map(|count| count as f64 / rows);
        shares.map(|share| -share * share.ln()).sum()
    };
    let single = |codes: &[u32], size: usize| {
        let mut counts = vec![0usize; size];
        codes.iter().for_each(|&code| counts[code as usize] += 1);
        entropy(&mut counts.into_iter())
    };
    let pairs = first.iter().copied().zip(second.iter().copied());
    let joint = match sizes.0.checked_mul(sizes.1) {
        // Counted in place where the cells are not many more than the rows, else by sorting.
        Some(cells) if cells <= 4 * first.len().max(1024) => {
            let mut counts = vec![0usize; cells];
            pairs.for_each(|(a, b)| counts[a as usize * sizes.1 + b as usize] += 1);
            entropy(&mut counts.into_iter())
        }
        _ => {
            let mut pairs: Vec<(u32, u32)> = pairs.collect();
            pairs.sort_unstable();
            entropy(&mut pairs.chunk_by(|a, b| a == b).map(<[_]>::len))
        }
    };
    let both = single(first, sizes.0) + single(second, sizes.1);
    if both > 0.0 { (2.0 * (both - joint) / both).clamp(0.0, 1.0) } else { 0.0 }
}

/// Edges of ten bins of equal width over a column's range; a constant column gets a range of one around it.
fn edges(column: &[f64]) -> Vec<f64> {
    let low = column.iter().copied().fold(f64::INFINITY, f64::min);
    let high = column.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // A constant column, or one without any value.
    let (low, high) = if low.is_infinite() { (0.0, 0.0) } else { (low, high) };
    let (low, high) = if low < high { (low, high) } else { (low - 0.5, high + 0.5) };
    let step = (high - low) / BINS as f64;
    (0..BINS).map(|bin| bin as f64 * step + low).chain([high]).collect()
}

/// For each value the number of edges at or below it; missing ones have a code of their own.
fn codes(column: &[f64], edges: &[f64]) -> Vec<u32> {
    let code = |value: &f64| edges.partition_point(|edge| edge <= value) as u32;
    column.iter().map(|value| if value.is_nan() { MISSING_BIN } else { code(value) }).collect()
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
    fn dependence_is_normalised_and_weighted() {
        let letters: Vec<u32> = (0..300).map(|i| i % 3).collect();
        let other: Vec<u32> = (0..300).map(|i| (i / 3) % 2).collect();
        assert!((mutual_information(&letters, &letters, (3, 3)) - 1.0).abs() < 1e-12);
        assert!(mutual_information(&letters, &other, (3, 2)) < 1e-9);
        assert_eq!(mutual_information(&[4; 9], &[1; 9], (5, 5)), 0.0);
        // H = ln 2 and ln 4, I = ln 2.
        let (two, four) = ([0, 0, 1, 1], [0, 1, 2, 3]);
        for sizes in [(2, 4), (1 << 20, 1 << 10)] {
            assert!((mutual_information(&two, &four, sizes) - 2.0 / 3.0).abs() < 1e-12);
        }
        assert!((weighted_similarity(&[[0.5, 0.3], [0.0, 0.2]]) - (1.0 - (0.8 * 0.2 + 0.2 * 0.2))).abs() < 1e-12);
        assert_eq!(weighted_similarity(&[]), 1.0);
    }
}
