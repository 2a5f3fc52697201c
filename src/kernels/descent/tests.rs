//! Holds the kernels against the reference at every level and around every size boundary.

use faer::Mat;

use super::*;
use crate::kernels::Real;
use crate::kernels::patterns::ActivationPatterns;
use crate::simd::Level;

/// Deterministic values in [-1, 1) whose period fits no tile.
fn values(rows: usize, columns: usize, seed: u64) -> Mat<f64> {
    let mut state = seed;
    Mat::from_fn(rows, columns, |_, _| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    })
}

fn case<T: Real>(n: usize, d: usize, m: usize, inputs: usize) -> [Mat<T>; 4] {
    let convert = |m: Mat<f64>| Mat::from_fn(m.nrows(), m.ncols(), |i, j| T::from_f64(m[(i, j)]));
    let signs = values(m, d, 3);
    let signs = Mat::from_fn(m, d, |i, j| if signs[(i, j)] < 0.0 { -1.0 } else { 1.0 });
    [values(n, inputs, 1), values(m, inputs, 2), signs, values(n, d, 4)].map(convert)
}

fn largest_difference<T: Real>(found: &Panels<T>, expected: &Mat<f64>) -> f64 {
    let mut worst: f64 = 0.0;
    let size = expected.norm_max().max(1e-300);
    for j in 0..expected.ncols() {
        for i in 0..expected.nrows() {
            worst = worst.max((found.get(i, j).to_f64() - expected[(i, j)]).abs() / size);
        }
    }
    worst
}

fn check<T: Real>(n: usize, d: usize, m: usize, inputs: usize, tolerance: f64) {
    let [z, w, a, e] = case::<T>(n, d, m, inputs);
    let (u, expected_patterns) = reference::forward(w.as_ref(), a.as_ref(), z.as_ref());
    let g = reference::gradient(e.as_ref(), &expected_patterns, a.as_ref(), z.as_ref());
    let [z, w, a, e] = [z, w, a, e].map(|m| Panels::from_matrix("test", m.as_ref()).unwrap());
    for level in Level::available() {
        for workers in [1, 3] {
            let mut workspaces = Workspace::for_workers(workers, inputs, d);
            let mut outputs = Panels::zeros(n, d);
            let mut patterns = ActivationPatterns::zeros(0, 0);
            let layers = Layers { w: &w, a: &a };
            forward_with(level, &mut outputs, Some(&mut patterns), layers, &z, &mut workspaces).unwrap();
            assert_eq!(patterns, expected_patterns, "patterns at {level}, N {n} d {d} m {m} D {inputs}");
            let error = largest_difference(&outputs, &u);
            assert!(error <= tolerance, "outputs at {level}, N {n} d {d} m {m} D {inputs}: {error:e}");
            let mut gradient = Panels::zeros(m, inputs);
            gradient_with(
                level,
                &mut gradient,
                BackwardInputs { e: &e, patterns: &patterns, a: &a, z: &z },
                &mut workspaces,
            )
            .unwrap();
            let error = largest_difference(&gradient, &g);
            assert!(error <= tolerance, "gradient at {level}, N {n} d {d} m {m} D {inputs}: {error:e}");
        }
    }
}

#[test]
fn every_level_and_size_boundary_agrees_with_the_reference() {
    for (n, d, m, inputs) in [
        (1, 1, 1, 1),
        (1, 1, 65, 2),
        (63, 2, 64, 3),
        (64, 3, 63, 4),
        (65, 4, 65, 5),
        (1100, 1, 70, 4),
        (70, 2, 1100, 3),
        (130, 5, 127, 6),
        (70, 7, 200, 8),
        (66, 24, 130, 25),
        (129, 93, 67, 94),
    ] {
        check::<f32>(n, d, m, inputs, 2e-6);
        check::<f64>(n, d, m, inputs, 1e-14);
    }
}

#[test]
fn avx2_and_avx512_and_every_number_of_workers_give_the_same_bits() {
    for (n, d, m, inputs) in [(130, 5, 200, 6), (1100, 1, 70, 2), (70, 2, 1100, 3), (600, 24, 600, 25)] {
        let [z, w, a, e] = case::<f32>(n, d, m, inputs).map(|m| Panels::from_matrix("test", m.as_ref()).unwrap());
        let mut first = None;
        for level in [Level::V3, Level::V4].into_iter().filter(|l| l.is_available()) {
            for workers in [1, 2, 5] {
                let mut workspaces = Workspace::for_workers(workers, inputs, d);
                let (mut u, mut g, mut w_next) = (Panels::zeros(n, d), Panels::zeros(m, inputs), w.clone());
                let mut patterns = ActivationPatterns::zeros(n, m);
                let layers = Layers { w: &w, a: &a };
                forward_with(level, &mut u, Some(&mut patterns), layers, &z, &mut workspaces).unwrap();
                gradient_with(
                    level,
                    &mut g,
                    BackwardInputs { e: &e, patterns: &patterns, a: &a, z: &z },
                    &mut workspaces,
                )
                .unwrap();
                let mut optimizer = Optimizer::new(Rule::ADAM, &w, true).unwrap();
                let (step, w) = (Step { rate: 0.1, decay: 0.9 }, &mut w_next);
                update_with(
                    level,
                    w,
                    &mut optimizer,
                    step,
                    BackwardInputs { e: &e, patterns: &patterns, a: &a, z: &z },
                    &mut workspaces,
                )
                .unwrap();
                let average = optimizer.average().unwrap().clone();
                let found = (u, g, w_next, average, patterns);
                let first = first.get_or_insert_with(|| found.clone());
                assert!(*first == found, "{level}, {workers} workers, N {n} d {d} m {m} D {inputs}");
            }
        }
    }
}

#[test]
fn no_samples_give_no_gradient_and_no_neurons_give_no_output() {
    for level in Level::available() {
        let [z, w, a, e] = case::<f64>(0, 2, 65, 3).map(|m| Panels::from_matrix("test", m.as_ref()).unwrap());
        let mut workspaces = Workspace::for_workers(2, 3, 2);
        let patterns = ActivationPatterns::zeros(0, 65);
        let mut gradient = w.clone();
        gradient_with(
            level,
            &mut gradient,
            BackwardInputs { e: &e, patterns: &patterns, a: &a, z: &z },
            &mut workspaces,
        )
        .unwrap();
        assert_eq!(gradient, Panels::zeros(65, 3));
        let mut moved = w.clone();
        let mut optimizer = Optimizer::new(Rule::ADAM, &w, true).unwrap();
        let step = Step { rate: 0.1, decay: 0.9 };
        update_with(
            level,
            &mut moved,
            &mut optimizer,
            step,
            BackwardInputs { e: &e, patterns: &patterns, a: &a, z: &z },
            &mut workspaces,
        )
        .unwrap();
        assert_eq!(moved, w);

        let [z, w, a, mut outputs] = case::<f64>(70, 2, 0, 3).map(|m| Panels::from_matrix("test", m.as_ref()).unwrap());
        assert_eq!(w.rows(), 0);
        forward_with(level, &mut outputs, None, Layers { w: &w, a: &a }, &z, &mut workspaces).unwrap();
        assert_eq!(outputs, Panels::zeros(70, 2));
    }
}

#[test]
fn fused_updates_follow_their_formulas() {
    let [z, w0, a, e] = case::<f64>(70, 3, 66, 4);
    let (_, patterns) = reference::forward(w0.as_ref(), a.as_ref(), z.as_ref());
    let g = reference::gradient(e.as_ref(), &patterns, a.as_ref(), z.as_ref());
    let [z, a, e] = [z, a, e].map(|m| Panels::from_matrix("test", m.as_ref()).unwrap());
    let (rate, decay) = (0.1, 0.75);
    for level in Level::available() {
        for rule in [Rule::Descent, Rule::Nesterov { momentum: 0.9 }, Rule::ADAM] {
            let mut w = Panels::from_matrix("w", w0.as_ref()).unwrap();
            let mut optimizer = Optimizer::new(rule, &w, true).unwrap();
            let mut workspaces = Workspace::for_workers(2, 4, 3);
            let (mut x, mut average) = (w0.clone(), w0.clone());
            let (mut v, mut s) = (Mat::<f64>::zeros(66, 4), Mat::<f64>::zeros(66, 4));
            for t in 1..=3 {
                // The patterns are held fixed, so the gradient is the same each time.
                let step = Step { rate, decay };
                update_with(
                    level,
                    &mut w,
                    &mut optimizer,
                    step,
                    BackwardInputs { e: &e, patterns: &patterns, a: &a, z: &z },
                    &mut workspaces,
                )
                .unwrap();
                for k in 0..4 {
                    for r in 0..66 {
                        let (g, i) = (g[(r, k)], (r, k));
                        let step = match rule {
                            Rule::Descent => g,
                            Rule::Nesterov { momentum } => {
                                v[i] = momentum * v[i] + g;
                                g + momentum * v[i]
                            }
                            Rule::Adam { beta1, beta2, epsilon } => {
                                v[i] = beta1 * v[i] + (1.0 - beta1) * g;
                                s[i] = beta2 * s[i] + (1.0 - beta2) * g * g;
                                let second: f64 = s[i] / (1.0 - beta2.powi(t));
                                v[i] / (1.0 - beta1.powi(t)) / (second.sqrt() + epsilon)
                            }
                        };
                        x[i] -= rate * step;
                        average[i] += (1.0 - decay) * (x[i] - average[i]);
                    }
                }
            }
            assert!(largest_difference(&w, &x) < 1e-13, "{rule:?} at {level}");
            assert!(largest_difference(optimizer.average().unwrap(), &average) < 1e-13, "average, {rule:?} at {level}");
        }
    }
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    let [z, w, a, e] = case::<f32>(5, 2, 7, 3).map(|m| Panels::from_matrix("test", m.as_ref()).unwrap());
    let mut workspaces = Workspace::for_workers(1, 3, 2);
    let layers = Layers { w: &w, a: &a };
    assert!(forward_into(&mut Panels::zeros(5, 3), None, layers, &z, &mut workspaces).is_err());
    assert!(forward_into(&mut Panels::zeros(5, 2), None, layers, &e, &mut workspaces).is_err());
    assert!(forward_into(&mut Panels::zeros(5, 2), None, layers, &z, &mut []).is_err());
    let patterns = ActivationPatterns::zeros(4, 7);
    assert!(
        gradient_into(
            &mut Panels::zeros(7, 3),
            BackwardInputs { e: &e, patterns: &patterns, a: &a, z: &z },
            &mut workspaces
        )
        .is_err()
    );
    let optimizer = Optimizer::new(Rule::Nesterov { momentum: 1.0 }, &w, false);
    assert!(optimizer.is_err());
}
