//! Holds the gradient-descent kernels against an outside reference, against difference quotients and against the theory of the
//! step size.

use faer::{Mat, Side};
use ntk_score::internals::reference;
use ntk_score::kernels::Panels;
use ntk_score::kernels::Real;
use ntk_score::kernels::descent::{
    BackwardInputs, Layers, Optimizer, Rule, Step, Workspace, forward_with, gradient_with, update_with,
};
use ntk_score::kernels::patterns::ActivationPatterns;
use ntk_score::simd::Level;
use serde_json::Value;

fn matrix(value: &Value) -> Mat<f64> {
    let rows: Vec<Vec<f64>> = serde_json::from_value(value.clone()).unwrap();
    Mat::from_fn(rows.len(), rows[0].len(), |i, j| rows[i][j])
}

/// Deterministic values in [-1, 1) without a short period.
fn values(rows: usize, columns: usize, seed: u64) -> Mat<f64> {
    let mut state = seed;
    Mat::from_fn(rows, columns, |_, _| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    })
}

fn panels<T: Real>(m: &Mat<f64>) -> Panels<T> {
    let m = Mat::from_fn(m.nrows(), m.ncols(), |i, j| T::from_f64(m[(i, j)]));
    Panels::from_matrix("test", m.as_ref()).unwrap()
}

/// A network with its data, and everything a step needs.
struct Training<T> {
    level: Level,
    w: Panels<T>,
    a: Panels<T>,
    z: Panels<T>,
    y: Panels<T>,
    outputs: Panels<T>,
    patterns: ActivationPatterns,
    optimizer: Optimizer<T>,
    workspaces: Vec<Workspace<T>>,
}

impl<T: Real> Training<T> {
    fn new(level: Level, [w, a, z, y]: [&Mat<f64>; 4]) -> Self {
        let [w, a, z, y] = [w, a, z, y].map(panels);
        let optimizer = Optimizer::new(Rule::Descent, &w, false).unwrap();
        let workspaces = Workspace::for_workers(2, z.columns(), a.columns());
        let outputs = Panels::zeros(z.rows(), a.columns());
        Self { level, w, a, z, y, outputs, patterns: ActivationPatterns::zeros(0, 0), optimizer, workspaces }
    }

    /// Runs the forward pass and returns the loss 1/2 sum |f(z) - y|^2.
    fn loss(&mut self) -> f64 {
        let layers = Layers { w: &self.w, a: &self.a };
        let (outputs, patterns) = (&mut self.outputs, Some(&mut self.patterns));
        forward_with(self.level, outputs, patterns, layers, &self.z, &mut self.workspaces).unwrap();
        let mut loss = 0.0;
        for j in 0..self.y.rows() {
            for i in 0..self.y.columns() {
                loss += 0.5 * (self.outputs.get(j, i).to_f64() - self.y.get(j, i).to_f64()).powi(2);
            }
        }
        loss
    }

    /// The derivative of the loss by the outputs of the last forward pass.
    fn errors(&self) -> Panels<T> {
        let mut e = self.outputs.clone();
        for j in 0..self.y.rows() {
            for i in 0..self.y.columns() {
                e.set(j, i, e.get(j, i) - self.y.get(j, i));
            }
        }
        e
    }

    /// A plain step with the last forward pass.
    fn step(&mut self, eta: f64) {
        let e = self.errors();
        let Self { level, w, a, z, patterns, optimizer, workspaces, .. } = self;
        update_with(
            *level,
            w,
            optimizer,
            Step { rate: eta, decay: 0.0 },
            BackwardInputs { e: &e, patterns, a, z },
            workspaces,
        )
        .unwrap();
    }
}

/// The largest difference relative to the largest entry.
fn largest_difference<T: Real>(found: &Panels<T>, expected: &Mat<f64>) -> f64 {
    let mut worst: f64 = 0.0;
    for j in 0..expected.ncols() {
        for i in 0..expected.nrows() {
            worst = worst.max((found.get(i, j).to_f64() - expected[(i, j)]).abs());
        }
    }
    worst / expected.norm_max()
}

fn follows_the_reference<T: Real>(tolerance: f64) {
    let file: Value = serde_json::from_str(include_str!("../data/gradient_descent.json")).unwrap();
    let [w, a, z, y] = ["w0", "a", "z", "y"].map(|name| matrix(&file[name]));
    let eta = file["eta"].as_f64().unwrap();
    let steps = file["steps"].as_u64().unwrap() as usize;
    for level in Level::available() {
        let mut training = Training::<T>::new(level, [&w, &a, &z, &y]);
        let mut start = None;
        for step in 0..=steps {
            let expected = file["loss"][step].as_f64().unwrap();
            let loss = training.loss();
            assert!((loss - expected).abs() <= tolerance * expected, "loss {step} at {level}: {loss} for {expected}");
            let error = largest_difference(&training.outputs, &matrix(&file["outputs"][step]));
            assert!(error <= tolerance, "outputs {step} at {level}: {error:e}");
            let start = start.get_or_insert_with(|| training.patterns.clone());
            let flips = start.words().iter().zip(training.patterns.words()).map(|(a, b)| (a ^ b).count_ones() as u64);
            assert_eq!(
                flips.sum::<u64>(),
                file["flips_since_start"][step].as_u64().unwrap(),
                "flips {step} at {level}"
            );
            if step < steps {
                training.step(eta);
            }
        }
        let error = largest_difference(&training.w, &matrix(&file["w_last"]));
        assert!(error <= tolerance, "weights at {level}: {error:e}");
    }
}

#[test]
fn six_steps_follow_the_reference_in_64_bits() {
    follows_the_reference::<f64>(1e-12);
}

#[test]
fn six_steps_follow_the_reference_in_32_bits() {
    follows_the_reference::<f32>(2e-6);
}

/// Plain gradient descent by the formulas, in 64 bits: the weights after `steps` steps.
fn descended(data: [&Mat<f64>; 4], eta: f64, steps: usize) -> Mat<f64> {
    let [w, a, z, y] = data;
    let mut w = w.clone();
    for _ in 0..steps {
        let (outputs, patterns) = reference::descent::forward(w.as_ref(), a.as_ref(), z.as_ref());
        let e = &outputs - y;
        w -= eta * reference::descent::gradient(e.as_ref(), &patterns, a.as_ref(), z.as_ref());
    }
    w
}

fn stays_with_the_formulas<T: Real>([after_one, after_hundred]: [f64; 2]) {
    let (n, inputs, m, d, eta) = (150, 9, 260, 4, 0.01);
    let [w, z, y] = [values(m, inputs, 9), values(n, inputs, 10), values(n, d, 11)];
    let signs = values(m, d, 12);
    let a = Mat::from_fn(m, d, |r, i| signs[(r, i)].signum());
    let data = [&w, &a, &z, &y];
    for (steps, tolerance) in [(1, after_one), (100, after_hundred)] {
        let expected = descended(data, eta, steps);
        // What training is after: weights that moved, not those that it began with.
        assert!((&expected - &w).norm_max() > 1e-3 * steps as f64, "the weights hardly moved");
        for level in Level::available() {
            let mut training = Training::<T>::new(level, data);
            for _ in 0..steps {
                training.loss();
                training.step(eta);
            }
            let error = largest_difference(&training.w, &expected);
            assert!(error <= tolerance, "weights after {steps} steps at {level}: {error:e}");
        }
    }
}

#[test]
fn a_hundred_steps_stay_with_the_formulas_in_64_bits() {
    stays_with_the_formulas::<f64>([1e-14, 1e-11]);
}

#[test]
fn a_hundred_steps_stay_with_the_formulas_in_32_bits() {
    stays_with_the_formulas::<f32>([2e-6, 1e-4]);
}

#[test]
fn gradient_is_the_difference_quotient_away_from_kinks() {
    let (n, inputs, m, d) = (37, 5, 70, 3);
    let [w, z, y] = [values(m, inputs, 1), values(n, inputs, 2), values(n, d, 3)];
    let signs = values(m, d, 4);
    let a = Mat::from_fn(m, d, |r, i| signs[(r, i)].signum());
    let mut training = Training::<f64>::new(Level::detect(), [&w, &a, &z, &y]);
    training.loss();
    let start = training.patterns.clone();
    let e = training.errors();
    let mut gradient = Panels::zeros(m, inputs);
    let Training { level, a, z, workspaces, .. } = &mut training;
    gradient_with(*level, &mut gradient, BackwardInputs { e: &e, patterns: &start, a, z }, workspaces).unwrap();
    let (h, mut compared) = (1e-5, 0);
    for r in 0..m {
        for k in 0..inputs {
            let at = training.w.get(r, k);
            let mut smooth = true;
            let [above, below] = [at + h, at - h].map(|x| {
                training.w.set(r, k, x);
                let loss = training.loss();
                smooth &= training.patterns == start;
                loss
            });
            training.w.set(r, k, at);
            if smooth {
                let (found, expected) = (gradient.get(r, k), (above - below) / (2.0 * h));
                assert!((found - expected).abs() < 1e-8, "entry {r}, {k}: {found} for {expected}");
                compared += 1;
            }
        }
    }
    assert!(compared > m * inputs / 2, "only {compared} entries away from kinks");
}

/// The largest eigenvalue of the tangent kernel at the start, from the gradients of the single outputs.
fn largest_eigenvalue(w: &Mat<f64>, a: &Mat<f64>, z: &Mat<f64>) -> f64 {
    let (n, d) = (z.nrows(), a.ncols());
    let (_, patterns) = reference::descent::forward(w.as_ref(), a.as_ref(), z.as_ref());
    let gradients: Vec<Mat<f64>> = (0..n * d)
        .map(|which| {
            let e = Mat::from_fn(n, d, |j, i| f64::from(u8::from(which == i * n + j)));
            reference::descent::gradient(e.as_ref(), &patterns, a.as_ref(), z.as_ref())
        })
        .collect();
    let inner = |a: &Mat<f64>, b: &Mat<f64>| -> f64 {
        (0..a.ncols()).map(|k| (0..a.nrows()).map(|r| a[(r, k)] * b[(r, k)]).sum::<f64>()).sum()
    };
    let kernel = Mat::from_fn(n * d, n * d, |p, q| inner(&gradients[p], &gradients[q]));
    *kernel.self_adjoint_eigenvalues(Side::Lower).unwrap().last().unwrap()
}

#[test]
fn loss_never_rises_below_twice_the_inverse_of_the_largest_eigenvalue() {
    let (n, inputs, m, d) = (20, 3, 16384, 2);
    let [w, z, y] = [values(m, inputs, 5), values(n, inputs, 6), values(n, d, 7)];
    let signs = values(m, d, 8);
    let a = Mat::from_fn(m, d, |r, i| signs[(r, i)].signum());
    let largest = largest_eigenvalue(&w, &a, &z);
    let rises = |share: f64| {
        let mut training = Training::<f64>::new(Level::detect(), [&w, &a, &z, &y]);
        let mut loss = training.loss();
        let mut rises = 0;
        for _ in 0..200 {
            training.step(share / largest);
            let next = training.loss();
            rises += usize::from(next > loss);
            loss = next;
        }
        rises
    };
    for share in [0.1, 1.0, 1.8] {
        assert_eq!(rises(share), 0, "step size {share} over the largest eigenvalue");
    }
    // The bound is sharp: beyond it the loss grows.
    assert!(rises(2.5) > 0);
}
