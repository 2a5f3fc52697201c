//! A two-sample test by logistic regression: can a linear boundary tell synthetic rows from training rows?
//!
//! Like SDMetrics' `LogisticDetection` in design (three folds, AUC folded at 1/2, unit ridge penalty), but with categories
//! one-hot coded rather than taken for numbers, so its figures are close to that scorer's and not equal to them. Newton's
//! method; a row has few nonzero entries, so the Hessian costs the square of the number of columns per row, not of the width.

use super::rows::{Layout, Rows};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;
use rayon::prelude::*;

const FOLDS: usize = 3;
const MOST_STEPS: usize = 50;
/// Rows whose share of gradient and Hessian is summed by one thread at a time; the parts are added in order.
const CHUNK: usize = 4096;
/// Ridge penalty on the weights (not on the intercept), per half squared norm.
const PENALTY: f64 = 1.0;

/// 1 - mean over folds of 2 max(AUC, 1/2) - 1.
pub(super) fn two_sample_score(layout: &Layout, train: &Rows, synthetic: &Rows, seed: u64) -> f64 {
    let design = Design::new(layout, train, synthetic);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut fold_of = vec![0; train.count + synthetic.count];
    for (start, count) in [(0, train.count), (train.count, synthetic.count)] {
        let mut order: Vec<usize> = (start..start + count).collect();
        order.shuffle(&mut rng);
        order.iter().enumerate().for_each(|(position, &row)| fold_of[row] = position % FOLDS);
    }
    let mut total = 0.0;
    for fold in 0..FOLDS {
        let (held, fitted): (Vec<usize>, Vec<usize>) = (0..fold_of.len()).partition(|&row| fold_of[row] == fold);
        let weights = design.fit(&fitted);
        let scores = |real: bool| -> Vec<f64> {
            let rows = held.iter().filter(|&&row| design.is_real(row) == real);
            rows.map(|&row| design.predict(row, &weights)).collect()
        };
        let (real, made) = (scores(true), scores(false));
        let area = if real.is_empty() || made.is_empty() { 0.5 } else { area_under_curve(&real, &made) };
        total += 2.0 * area.max(0.5) - 1.0;
    }
    1.0 - total / FOLDS as f64
}

/// Standardised numbers, one-hot categories and an intercept, of the training rows and then the synthetic ones.
struct Design {
    real: usize,
    dense: usize,
    width: usize,
    /// Row-major standardised numbers.
    numbers: Vec<f64>,
    blocks: usize,
    /// Row-major positions of the ones.
    ones: Vec<u32>,
}

impl Design {
    fn new(layout: &Layout, train: &Rows, synthetic: &Rows) -> Self {
        let (dense, blocks) = (train.numbers.len(), train.levels.len());
        let count = train.count + synthetic.count;
        let mut numbers = vec![0.0; count * dense];
        for (column, (real, made)) in train.numbers.iter().zip(&synthetic.numbers).enumerate() {
            let both = || real.iter().chain(made);
            let mean = both().sum::<f64>() / count as f64;
            let variance = both().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count as f64;
            let scale = if variance > 0.0 { variance.sqrt() } else { 1.0 };
            both().enumerate().for_each(|(row, value)| numbers[row * dense + column] = (value - mean) / scale);
        }
        let mut ones = vec![0; count * blocks];
        let mut offset = dense as u32;
        for (block, (real, made)) in train.levels.iter().zip(&synthetic.levels).enumerate() {
            real.iter().chain(made).enumerate().for_each(|(row, level)| ones[row * blocks + block] = offset + level);
            offset += layout.sizes[block] as u32;
        }
        Self { real: train.count, dense, width: layout.width() + 1, numbers, blocks, ones }
    }

    fn is_real(&self, row: usize) -> bool {
        row < self.real
    }

    /// The nonzero entries of a row; the intercept is the last.
    fn entries(&self, row: usize, out: &mut Vec<(usize, f64)>) {
        out.clear();
        let numbers = &self.numbers[row * self.dense..][..self.dense];
        out.extend(numbers.iter().copied().enumerate());
        out.extend(self.ones[row * self.blocks..][..self.blocks].iter().map(|&position| (position as usize, 1.0)));
        out.push((self.width - 1, 1.0));
    }

    fn predict(&self, row: usize, weights: &[f64]) -> f64 {
        let mut entries = Vec::with_capacity(self.dense + self.blocks + 1);
        self.entries(row, &mut entries);
        entries.iter().map(|&(position, value)| weights[position] * value).sum()
    }

    /// Ridge-penalised maximum likelihood on these rows.
    fn fit(&self, rows: &[usize]) -> Vec<f64> {
        let mut weights = vec![0.0; self.width];
        let (mut loss, mut gradient, mut hessian) = self.derivatives(rows, &weights);
        for _ in 0..MOST_STEPS {
            let Some(step) = solve(hessian, gradient.clone()) else {
                break;
            };
            let decrement: f64 = step.iter().zip(&gradient).map(|(s, g)| s * g).sum();
            if decrement < 1e-9 {
                break;
            }
            // Newton's step, halved until the loss falls.
            let mut length = 1.0;
            let next = loop {
                let trial: Vec<f64> = weights.iter().zip(&step).map(|(w, s)| w - length * s).collect();
                let derivatives = self.derivatives(rows, &trial);
                if derivatives.0 <= loss || length < 1e-6 {
                    break (trial, derivatives);
                }
                length *= 0.5;
            };
            (weights, (loss, gradient, hessian)) = next;
        }
        weights
    }

    /// Loss, gradient and Hessian (lower triangle, row-major).
    fn derivatives(&self, rows: &[usize], weights: &[f64]) -> (f64, Vec<f64>, Vec<f64>) {
        let width = self.width;
        let part = |rows: &[usize]| {
            let (mut loss, mut gradient, mut hessian) = (0.0, vec![0.0; width], vec![0.0; width * width]);
            let mut entries = Vec::new();
            for &row in rows {
                self.entries(row, &mut entries);
                let score: f64 = entries.iter().map(|&(position, value)| weights[position] * value).sum();
                let label = if self.is_real(row) { 1.0 } else { 0.0 };
                loss += score.max(0.0) + (-score.abs()).exp().ln_1p() - label * score;
                let probability = 1.0 / (1.0 + (-score).exp());
                let curvature = probability * (1.0 - probability);
                for (index, &(i, a)) in entries.iter().enumerate() {
                    gradient[i] += (probability - label) * a;
                    for &(j, b) in &entries[..=index] {
                        hessian[i * width + j] += curvature * a * b;
                    }
                }
            }
            (loss, gradient, hessian)
        };
        let parts: Vec<_> = rows.par_chunks(CHUNK).map(part).collect();
        let (mut loss, mut gradient, mut hessian) = (0.0, vec![0.0; width], vec![0.0; width * width]);
        for (part_loss, part_gradient, part_hessian) in parts {
            loss += part_loss;
            gradient.iter_mut().zip(part_gradient).for_each(|(sum, value)| *sum += value);
            hessian.iter_mut().zip(part_hessian).for_each(|(sum, value)| *sum += value);
        }
        for position in 0..width - 1 {
            loss += 0.5 * PENALTY * weights[position] * weights[position];
            gradient[position] += PENALTY * weights[position];
            hessian[position * width + position] += PENALTY;
        }
        (loss, gradient, hessian)
    }
}

/// Solves a symmetric positive definite system by Cholesky's method, given the lower triangle; nothing if it is singular.
fn solve(mut matrix: Vec<f64>, mut right: Vec<f64>) -> Option<Vec<f64>> {
    let n = right.len();
    for i in 0..n {
        let (above, row) = matrix.split_at_mut(i * n);
        for j in 0..i {
            let known: f64 = row[..j].iter().zip(&above[j * n..][..j]).map(|(a, b)| a * b).sum();
            row[j] = (row[j] - known) / above[j * n + j];
        }
        let square = row[i] - row[..i].iter().map(|value| value * value).sum::<f64>();
        if square.is_nan() || square <= 0.0 {
            return None;
        }
        row[i] = square.sqrt();
        let known: f64 = row[..i].iter().zip(&right).map(|(a, b)| a * b).sum();
        right[i] = (right[i] - known) / row[i];
    }
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|j| matrix[j * n + i] * right[j]).sum();
        right[i] = (right[i] - known) / matrix[i * n + i];
    }
    Some(right)
}

/// Probability that a score of the first list exceeds one of the second, ties counted half.
fn area_under_curve(first: &[f64], second: &[f64]) -> f64 {
    let mut second = second.to_vec();
    second.sort_unstable_by(f64::total_cmp);
    let wins: f64 = first
        .iter()
        .map(|score| {
            let below = second.partition_point(|other| other < score);
            let up_to = second.partition_point(|other| other <= score);
            (below + up_to) as f64 / 2.0
        })
        .sum();
    wins / (first.len() * second.len()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_are_solved() {
        let lower = vec![4.0, 0.0, 0.0, 2.0, 5.0, 0.0, 1.0, 3.0, 6.0];
        let solution = solve(lower, vec![1.0, 2.0, 3.0]).unwrap();
        let full = [[4.0, 2.0, 1.0], [2.0, 5.0, 3.0], [1.0, 3.0, 6.0]];
        for (row, right) in full.iter().zip([1.0, 2.0, 3.0]) {
            let left: f64 = row.iter().zip(&solution).map(|(a, b)| a * b).sum();
            assert!((left - right).abs() < 1e-12);
        }
        assert!(solve(vec![1.0, 0.0, 1.0, 1.0], vec![1.0, 1.0]).is_none());
    }

    #[test]
    fn the_area_counts_ties_half() {
        assert_eq!(area_under_curve(&[2.0, 3.0], &[0.0, 1.0]), 1.0);
        assert_eq!(area_under_curve(&[0.0], &[1.0]), 0.0);
        assert_eq!(area_under_curve(&[1.0, 2.0], &[1.0, 2.0]), 0.5);
    }
}
