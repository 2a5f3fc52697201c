//! A two-sample test by logistic regression: can a linear boundary tell synthetic rows from training rows?
//!
//! Like SDMetrics' `LogisticDetection` in design (three folds, AUC folded at 1/2, unit ridge penalty), but with categories
//! one-hot coded rather than taken for numbers, so its figures are close to that scorer's and not equal to them. Newton's
//! method; a row has few nonzero entries, so the Hessian costs the square of the number of columns per row, not of the width.
//! Where categories have so many levels that Hessians would fill the memory, none is formed: conjugate gradients then find
//! Newton's step from products with it, to the same optimum.

use super::rows::{Layout, Rows};
use super::tasks::map;
use super::two_sample::{TwoSample, cross_validate};

const MOST_STEPS: usize = 50;
/// Rows are summed in at most this many parts, one thread at a time each; the parts are added in order.
const PARTS: usize = 16;
/// A part has at least this many rows.
const PART: usize = 4096;
/// Widest design whose Hessian is formed: 8 MB a part.
const WIDEST: usize = 1024;
/// Ridge penalty on the weights (not on the intercept), per half squared norm.
const PENALTY: f64 = 1.0;
/// Most products with the Hessian for one step.
const MOST_PRODUCTS: usize = 200;

/// The test on three folds.
pub(super) fn two_sample_test(layout: &Layout, train: &Rows, synthetic: &Rows, seed: u64, threads: usize) -> TwoSample {
    let design = Design::new(layout, train, synthetic);
    cross_validate(train, synthetic, seed, |fitted, held| {
        let weights = design.fit(fitted, design.width <= WIDEST, threads);
        held.iter().map(|&row| design.product(row as usize, &weights)).collect()
    })
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

    fn label(&self, row: usize) -> f64 {
        if row < self.real { 1.0 } else { 0.0 }
    }

    fn numbers(&self, row: usize) -> &[f64] {
        &self.numbers[row * self.dense..][..self.dense]
    }

    fn ones(&self, row: usize) -> &[u32] {
        &self.ones[row * self.blocks..][..self.blocks]
    }

    /// Inner product of a row with weights; the intercept is the last.
    fn product(&self, row: usize, weights: &[f64]) -> f64 {
        let numbers: f64 = self.numbers(row).iter().zip(weights).map(|(value, weight)| value * weight).sum();
        let levels: f64 = self.ones(row).iter().map(|&position| weights[position as usize]).sum();
        numbers + levels + weights[self.width - 1]
    }

    /// Adds a multiple of a row.
    fn add(&self, row: usize, factor: f64, sum: &mut [f64]) {
        self.numbers(row).iter().zip(&mut *sum).for_each(|(value, sum)| *sum += factor * value);
        self.ones(row).iter().for_each(|&position| sum[position as usize] += factor);
        sum[self.width - 1] += factor;
    }

    /// The sum over rows of what `add` adds for each of them (given its place among the rows) to a vector of this length.
    fn sum(
        &self,
        rows: &[u32],
        length: usize,
        threads: usize,
        add: impl Fn(usize, usize, &mut [f64]) + Sync,
    ) -> Vec<f64> {
        let size = rows.len().div_ceil(PARTS).max(PART);
        let parts = map(threads, rows.len().div_ceil(size), |part| {
            let mut sum = vec![0.0; length];
            let places = part * size..rows.len().min((part + 1) * size);
            places.for_each(|place| add(place, rows[place] as usize, &mut sum));
            sum
        });
        let mut total = vec![0.0; length];
        parts.iter().for_each(|part| total.iter_mut().zip(part).for_each(|(total, value)| *total += value));
        total
    }

    /// Ridge-penalised maximum likelihood on these rows.
    fn fit(&self, rows: &[u32], with_hessian: bool, threads: usize) -> Vec<f64> {
        let mut weights = vec![0.0; self.width];
        let (mut loss, mut gradient) = self.derivatives(rows, &weights, threads);
        for _ in 0..MOST_STEPS {
            let curvatures: Vec<f64> = rows
                .iter()
                .map(|&row| {
                    let probability = 1.0 / (1.0 + (-self.product(row as usize, &weights)).exp());
                    probability * (1.0 - probability)
                })
                .collect();
            let step = if with_hessian {
                solve(self.hessian(rows, &curvatures, threads), gradient.clone())
            } else {
                Some(self.conjugate_gradients(rows, &curvatures, &gradient, threads))
            };
            let Some(step) = step else { break };
            let decrement: f64 = step.iter().zip(&gradient).map(|(s, g)| s * g).sum();
            if decrement.is_nan() || decrement < 1e-9 {
                break;
            }
            // Newton's step, halved until the loss falls.
            let mut length = 1.0;
            let next = loop {
                let trial: Vec<f64> = weights.iter().zip(&step).map(|(w, s)| w - length * s).collect();
                let derivatives = self.derivatives(rows, &trial, threads);
                if derivatives.0 <= loss || length < 1e-6 {
                    break (trial, derivatives);
                }
                length *= 0.5;
            };
            (weights, (loss, gradient)) = next;
        }
        weights
    }

    /// Loss and gradient.
    fn derivatives(&self, rows: &[u32], weights: &[f64], threads: usize) -> (f64, Vec<f64>) {
        let width = self.width;
        let mut sum = self.sum(rows, width + 1, threads, |_, row, sum| {
            let (score, label) = (self.product(row, weights), self.label(row));
            sum[width] += score.max(0.0) + (-score.abs()).exp().ln_1p() - label * score;
            self.add(row, 1.0 / (1.0 + (-score).exp()) - label, &mut sum[..width]);
        });
        let mut loss = sum.pop().unwrap_or(0.0);
        for position in 0..width - 1 {
            loss += 0.5 * PENALTY * weights[position] * weights[position];
            sum[position] += PENALTY * weights[position];
        }
        (loss, sum)
    }

    /// The Hessian's lower triangle, row-major.
    fn hessian(&self, rows: &[u32], curvatures: &[f64], threads: usize) -> Vec<f64> {
        let width = self.width;
        let mut hessian = self.sum(rows, width * width, threads, |place, row, sum| {
            let curvature = curvatures[place];
            let numbers = self.numbers(row);
            for (i, a) in numbers.iter().enumerate() {
                let factor = curvature * a;
                numbers[..=i].iter().zip(&mut sum[i * width..]).for_each(|(b, sum)| *sum += factor * b);
            }
            let ones = self.ones(row);
            for (block, &i) in ones.iter().enumerate() {
                let line = &mut sum[i as usize * width..][..width];
                numbers.iter().zip(&mut *line).for_each(|(b, sum)| *sum += curvature * b);
                ones[..=block].iter().for_each(|&j| line[j as usize] += curvature);
            }
            self.add(row, curvature, &mut sum[(width - 1) * width..]);
        });
        (0..width - 1).for_each(|position| hessian[position * width + position] += PENALTY);
        hessian
    }

    /// Solves for Newton's step by conjugate gradients, preconditioned by the Hessian's diagonal.
    fn conjugate_gradients(&self, rows: &[u32], curvatures: &[f64], right: &[f64], threads: usize) -> Vec<f64> {
        let width = self.width;
        let penalised = |position: usize| if position + 1 < width { PENALTY } else { 0.0 };
        let mut diagonal = self.sum(rows, width, threads, |place, row, sum| {
            let curvature = curvatures[place];
            self.numbers(row).iter().zip(&mut *sum).for_each(|(value, sum)| *sum += curvature * value * value);
            self.ones(row).iter().for_each(|&position| sum[position as usize] += curvature);
            sum[width - 1] += curvature;
        });
        diagonal.iter_mut().enumerate().for_each(|(position, value)| *value += penalised(position));
        let apply = |vector: &[f64]| {
            let mut product = self.sum(rows, width, threads, |place, row, sum| {
                self.add(row, curvatures[place] * self.product(row, vector), sum);
            });
            (0..width).for_each(|position| product[position] += penalised(position) * vector[position]);
            product
        };
        let inner = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let scaled = |rest: &[f64]| rest.iter().zip(&diagonal).map(|(r, d)| r / d).collect::<Vec<f64>>();
        let (mut solution, mut rest) = (vec![0.0; width], right.to_vec());
        let mut direction = scaled(&rest);
        let mut energy = inner(&rest, &direction);
        let target = 1e-12 * energy;
        for _ in 0..MOST_PRODUCTS {
            if energy.is_nan() || energy <= target {
                break;
            }
            let product = apply(&direction);
            let length = energy / inner(&direction, &product);
            solution.iter_mut().zip(&direction).for_each(|(x, d)| *x += length * d);
            rest.iter_mut().zip(&product).for_each(|(r, p)| *r -= length * p);
            let next = scaled(&rest);
            let new_energy = inner(&rest, &next);
            let share = new_energy / energy;
            direction.iter_mut().zip(&next).for_each(|(d, n)| *d = n + share * *d);
            energy = new_energy;
        }
        solution
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::rows::{CategoryColumn, NumberColumn};

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
    fn both_ways_to_newtons_step_reach_the_same_optimum() {
        let rows = |count: usize, shift: usize| Rows {
            count,
            numbers: vec![(0..count).map(|i| ((i * 7919 + shift) % 101) as f64).collect()],
            levels: vec![(0..count).map(|i| (i * (i + shift) % 7) as u32).collect()],
        };
        let layout = Layout {
            numbers: vec![NumberColumn { name: "v".into(), whole: true }],
            categories: vec![CategoryColumn { name: "c".into(), levels: vec![String::new(); 7], known: 7 }],
            sizes: vec![7],
            order: vec![(true, 0), (false, 0)],
        };
        let design = Design::new(&layout, &rows(5000, 0), &rows(4200, 30));
        let fitted: Vec<u32> = (0..9200).filter(|row| row % 3 > 0).collect();
        let formed = design.fit(&fitted, true, 1);
        let free = design.fit(&fitted, false, 2);
        assert_eq!(formed, design.fit(&fitted, true, 2));
        for (a, b) in formed.iter().zip(&free) {
            assert!((a - b).abs() < 1e-4, "{formed:?} and {free:?}");
        }
    }
}
