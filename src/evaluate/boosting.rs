//! Gradient-boosted trees: second-order boosting on histograms, level by level, as XGBoost has it (Chen and Guestrin 2016).
//!
//! Values are put into at most 255 bins per column, cut at quantiles of the rows that are fitted. A round sums gradients and
//! curvatures of the loss in the bins of every column and open node, splits each node where
//! G_left^2 / (H_left + ridge) + G_right^2 / (H_right + ridge) grows most, and gives a leaf the value
//! -rate * G / (H + ridge). Missing values go to the side where they gain more. Columns are the tasks that threads share:
//! every sum runs over rows in order on one thread, so a model does not depend on how many there are.

use super::tasks::map;

/// The bin of a missing value.
const MISSING: u8 = 255;
/// Most bins of values.
const BINS: usize = 255;
/// A split has to gain more than this, which rounding could.
const LEAST_GAIN: f64 = 1e-6;

/// What is minimised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// Cross-entropy of labels 0 and 1; scores are log-odds.
    Logistic,
    /// Squared error.
    Squared,
}

/// How trees are grown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Growth {
    pub loss: Loss,
    pub rounds: usize,
    pub depth: usize,
    /// Least sum of curvatures in a leaf.
    pub least_weight: f64,
}

const RATE: f64 = 0.3;
const RIDGE: f64 = 1.0;

/// Columns as bins.
pub(super) struct Binned {
    columns: Vec<Vec<u8>>,
    /// Bins of values of each column.
    sizes: Vec<usize>,
}

impl Binned {
    /// Bins of columns of numbers, NaN where a value is missing, cut at quantiles of the `fitted` rows.
    pub fn new(columns: &[Vec<f64>], fitted: &[u32], threads: usize) -> Self {
        let (columns, sizes) = map(threads, columns.len(), |column| {
            let column = &columns[column];
            let cuts = cuts(fitted.iter().map(|&row| column[row as usize]));
            let bin = |value: &f64| {
                if value.is_nan() { MISSING } else { cuts.partition_point(|cut| cut <= value) as u8 }
            };
            (column.iter().map(bin).collect::<Vec<u8>>(), cuts.len() + 1)
        })
        .into_iter()
        .unzip();
        Self { columns, sizes }
    }
}

/// Ascending lower ends of all bins but the first. A value that fills a bin alone gets it.
fn cuts(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.filter(|value| !value.is_nan()).collect();
    values.sort_unstable_by(f64::total_cmp);
    let distinct = values.chunk_by(|a, b| a == b).map(|same| (same[0], same.len())).collect::<Vec<_>>();
    if distinct.len() <= BINS {
        return distinct.iter().skip(1).map(|(value, _)| *value).collect();
    }
    let mut cuts = Vec::with_capacity(BINS - 1);
    let (mut left, mut held) = (values.len(), 0);
    for &(value, count) in &distinct {
        let share = left as f64 / (BINS - cuts.len()) as f64;
        // A new bin before a value with which the last one would be farther from its share than without.
        if held > 0 && cuts.len() + 1 < BINS && held as f64 + count as f64 / 2.0 > share {
            cuts.push(value);
            left -= held;
            held = 0;
        }
        held += count;
    }
    cuts
}

#[derive(Debug, Clone, Copy)]
enum Node {
    Leaf(f64),
    /// Rows whose bin in `column` is at most `bin` go to `left`, others to `left + 1`.
    Split {
        column: usize,
        bin: u8,
        missing_left: bool,
        left: usize,
    },
}

/// A fitted model.
pub(super) struct Boosted {
    base: f64,
    trees: Vec<Vec<Node>>,
    /// What the splits on each column gained, in all trees.
    pub gains: Vec<f64>,
}

/// Rows that are together so far: a range of the order, its sums, and its place in the tree.
#[derive(Clone, Copy)]
struct Open {
    start: usize,
    end: usize,
    sums: [f64; 2],
    node: usize,
}

#[derive(Clone, Copy)]
struct Split {
    gain: f64,
    bin: u8,
    missing_left: bool,
    left: [f64; 2],
}

impl Boosted {
    /// Fits `labels` (one per row of the table; those of the `fitted` rows are used).
    pub fn fit(binned: &Binned, fitted: &[u32], labels: &[f64], growth: &Growth, threads: usize) -> Self {
        let mean = fitted.iter().map(|&row| labels[row as usize]).sum::<f64>() / fitted.len().max(1) as f64;
        let base = match growth.loss {
            Loss::Squared => mean,
            Loss::Logistic => {
                let mean = mean.clamp(1e-6, 1.0 - 1e-6);
                (mean / (1.0 - mean)).ln()
            }
        };
        let mut model = Self { base, trees: Vec::new(), gains: vec![0.0; binned.columns.len()] };
        let mut scores = vec![base; labels.len()];
        for _ in 0..growth.rounds {
            let mut order: Vec<(u32, [f32; 2])> = fitted
                .iter()
                .map(|&row| (row, derivatives(growth.loss, scores[row as usize], labels[row as usize])))
                .collect();
            let tree = model.grow(binned, &mut order, growth, threads);
            for (row, _) in &order {
                scores[*row as usize] += value(&tree, binned, *row as usize);
            }
            model.trees.push(tree);
        }
        model
    }

    /// The score of a row after the first `rounds` trees.
    pub fn score(&self, binned: &Binned, row: usize, rounds: usize) -> f64 {
        self.base + self.trees.iter().take(rounds).map(|tree| value(tree, binned, row)).sum::<f64>()
    }

    fn grow(&mut self, binned: &Binned, order: &mut [(u32, [f32; 2])], growth: &Growth, threads: usize) -> Vec<Node> {
        let sums = total(order);
        let mut tree = vec![Node::Leaf(leaf(sums))];
        let mut open = vec![Open { start: 0, end: order.len(), sums, node: 0 }];
        for _ in 0..growth.depth {
            let columns = binned.columns.len();
            let found: Vec<Vec<Option<Split>>> = map(threads, columns, |column| {
                let (bins, size) = (&binned.columns[column], binned.sizes[column]);
                let mut histogram = vec![[0.0; 2]; BINS + 1];
                let search = |open: &Open| best_split(open, order, (bins, size), growth, &mut histogram);
                open.iter().map(search).collect()
            });
            let mut next = Vec::new();
            for (place, open) in open.iter().enumerate() {
                let mut best: Option<(usize, Split)> = None;
                for (column, splits) in found.iter().enumerate() {
                    if let Some(split) = splits[place]
                        && best.is_none_or(|(_, best)| split.gain > best.gain)
                    {
                        best = Some((column, split));
                    }
                }
                let Some((column, split)) = best else { continue };
                self.gains[column] += split.gain;
                let goes_left =
                    |row: u32| goes_left(binned.columns[column][row as usize], split.bin, split.missing_left);
                let middle = open.start + partition(&mut order[open.start..open.end], goes_left);
                let (left, [g, h]) = (split.left, open.sums);
                let right = [g - left[0], h - left[1]];
                let node = tree.len();
                tree[open.node] = Node::Split { column, bin: split.bin, missing_left: split.missing_left, left: node };
                tree.extend([Node::Leaf(leaf(left)), Node::Leaf(leaf(right))]);
                next.push(Open { start: open.start, end: middle, sums: left, node });
                next.push(Open { start: middle, end: open.end, sums: right, node: node + 1 });
            }
            open = next;
        }
        tree
    }
}

fn best_split(
    open: &Open,
    order: &[(u32, [f32; 2])],
    (bins, size): (&[u8], usize),
    growth: &Growth,
    histogram: &mut [[f64; 2]],
) -> Option<Split> {
    histogram.fill([0.0; 2]);
    for &(row, [g, h]) in &order[open.start..open.end] {
        let sum = &mut histogram[bins[row as usize] as usize];
        sum[0] += f64::from(g);
        sum[1] += f64::from(h);
    }
    let whole = strength(open.sums);
    let missing = histogram[MISSING as usize];
    let mut best: Option<Split> = None;
    let mut below = [0.0; 2];
    // The last bin too: a split there parts the given values from the missing ones.
    for (bin, [g, h]) in histogram[..size].iter().enumerate() {
        below = [below[0] + g, below[1] + h];
        for missing_left in [true, false] {
            if missing_left && missing[1] == 0.0 {
                continue;
            }
            let left = if missing_left { [below[0] + missing[0], below[1] + missing[1]] } else { below };
            let right = [open.sums[0] - left[0], open.sums[1] - left[1]];
            if left[1] < growth.least_weight || right[1] < growth.least_weight {
                continue;
            }
            let gain = strength(left) + strength(right) - whole;
            if gain > best.map_or(LEAST_GAIN, |best| best.gain) {
                best = Some(Split { gain, bin: bin as u8, missing_left, left });
            }
        }
    }
    best
}

fn goes_left(bin: u8, split: u8, missing_left: bool) -> bool {
    if bin == MISSING { missing_left } else { bin <= split }
}

/// The value of the leaf in which a row ends.
fn value(tree: &[Node], binned: &Binned, row: usize) -> f64 {
    let mut at = 0;
    loop {
        match tree[at] {
            Node::Leaf(value) => return value,
            Node::Split { column, bin, missing_left, left } => {
                at = if goes_left(binned.columns[column][row], bin, missing_left) { left } else { left + 1 };
            }
        }
    }
}

/// Gradient and curvature of the loss in the score.
fn derivatives(loss: Loss, score: f64, label: f64) -> [f32; 2] {
    match loss {
        Loss::Squared => [(score - label) as f32, 1.0],
        Loss::Logistic => {
            let probability = 1.0 / (1.0 + (-score).exp());
            [(probability - label) as f32, (probability * (1.0 - probability)).max(1e-16) as f32]
        }
    }
}

fn total(order: &[(u32, [f32; 2])]) -> [f64; 2] {
    order.iter().fold([0.0; 2], |[g, h], (_, [a, b])| [g + f64::from(*a), h + f64::from(*b)])
}

fn strength([g, h]: [f64; 2]) -> f64 {
    g * g / (h + RIDGE)
}

fn leaf([g, h]: [f64; 2]) -> f64 {
    -RATE * g / (h + RIDGE)
}

/// Puts the rows that go left before the others, each side in its old order, and returns how many go left.
fn partition(rows: &mut [(u32, [f32; 2])], goes_left: impl Fn(u32) -> bool) -> usize {
    let mut right = Vec::with_capacity(rows.len());
    let mut left = 0;
    for at in 0..rows.len() {
        if goes_left(rows[at].0) {
            rows[left] = rows[at];
            left += 1;
        } else {
            right.push(rows[at]);
        }
    }
    rows[left..].copy_from_slice(&right);
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growth(loss: Loss, rounds: usize) -> Growth {
        Growth { loss, rounds, depth: 6, least_weight: 1.0 }
    }

    #[test]
    fn bins_are_quantiles_and_point_masses_stand_alone() {
        assert_eq!(cuts([3.0, 1.0, f64::NAN, 2.0, 1.0].into_iter()), [2.0, 3.0]);
        let even = cuts((0..10_000).map(f64::from));
        assert_eq!(even.len(), BINS - 1);
        assert!(even.windows(2).all(|pair| (30.0..50.0).contains(&(pair[1] - pair[0]))));
        // Half of all values are zero, and nothing else shares their bin.
        let spiky = cuts((0..10_000).map(|i| if i % 2 == 0 { 0.0 } else { f64::from(i - 5000) }));
        let zero = spiky.iter().position(|cut| *cut == 0.0).unwrap();
        assert_eq!(spiky[zero + 1], 1.0);
        assert!(cuts(std::iter::empty()).is_empty());
    }

    #[test]
    fn a_relation_between_columns_is_learnt_and_its_columns_are_named() {
        let mut state = 1u64;
        let mut column = || -> Vec<f64> {
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 54) as f64
            };
            (0..4000).map(|_| next()).collect()
        };
        let columns = vec![column(), column(), column()];
        let labels: Vec<f64> = (0..4000).map(|i| if columns[0][i] > columns[1][i] { 1.0 } else { 0.0 }).collect();
        let fitted: Vec<u32> = (0..3000).collect();
        let run = |threads: usize| {
            let binned = Binned::new(&columns, &fitted, threads);
            let model = Boosted::fit(&binned, &fitted, &labels, &growth(Loss::Logistic, 20), threads);
            let right = (3000..4000).filter(|&row| (model.score(&binned, row, 20) > 0.0) == (labels[row] > 0.5));
            assert!(right.count() > 950);
            assert!(model.gains[2] < 0.05 * (model.gains[0] + model.gains[1]));
            (3000..4000).map(|row| model.score(&binned, row, 20)).collect::<Vec<f64>>()
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn missing_values_find_their_side() {
        let column: Vec<f64> = (0..600).map(|i| if i % 3 == 0 { f64::NAN } else { f64::from(i % 7) }).collect();
        let labels: Vec<f64> = column.iter().map(|value| if value.is_nan() { 5.0 } else { 1.0 }).collect();
        let fitted: Vec<u32> = (0..600).collect();
        let binned = Binned::new(&[column], &fitted, 1);
        let model = Boosted::fit(&binned, &fitted, &labels, &growth(Loss::Squared, 30), 1);
        for (row, label) in labels.iter().enumerate() {
            assert!((model.score(&binned, row, 30) - label).abs() < 0.01);
        }
    }

    #[test]
    fn nothing_to_learn_gives_the_mean() {
        let binned = Binned::new(&[vec![1.0; 50]], &(0..50).collect::<Vec<u32>>(), 1);
        let labels: Vec<f64> = (0..50).map(|i| f64::from(i % 2)).collect();
        let model = Boosted::fit(&binned, &(0..50).collect::<Vec<u32>>(), &labels, &growth(Loss::Logistic, 5), 1);
        assert!(model.score(&binned, 0, 5).abs() < 1e-12);
        assert_eq!(model.gains, [0.0]);
    }
}
