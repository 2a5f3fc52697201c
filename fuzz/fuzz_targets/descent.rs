//! The fused gradient-descent step against its plain reference: any shape, memory layout, level and number of workers.
//!
//! The entries are multiples of 1/8 times a power of two per matrix, so that every sum is exact in both precisions: patterns
//! must agree bit for bit also where a pre-activation is exactly zero, and all levels must agree with each other.
#![no_main]

use arbitrary::{Result, Unstructured};
use faer::Mat;
use libfuzzer_sys::fuzz_target;
use ntk_score::internals::reference::descent as reference;
use ntk_score::kernels::Panels;
use ntk_score::kernels::Real;
use ntk_score::kernels::descent::{
    BackwardInputs, Layers, Optimizer, Rule, Step, Workspace, forward_with, gradient_with, update_with,
};
use ntk_score::kernels::patterns::ActivationPatterns;
use ntk_score::simd::Level;
use ntk_score_fuzz::{Palette, Storage, Stored, assert_close, level, size};

struct Case {
    level: Level,
    workers: usize,
    storage: [Storage; 4],
    z: Mat<f64>,
    w: Mat<f64>,
    a: Mat<f64>,
    e: Mat<f64>,
}

fn case(u: &mut Unstructured<'_>) -> Result<Case> {
    let (n, m) = (size(u, 0, 140)?, size(u, 1, 200)?);
    let (inputs, outputs) = (size(u, 1, 16)?, size(u, 1, 10)?);
    let (level, workers) = (level(u)?, u.int_in_range(1..=4)?);
    let storage = u.arbitrary()?;
    let mut scale = || Ok::<f64, arbitrary::Error>(2f64.powi(u.int_in_range(-12..=12)?));
    let scales = [scale()?, scale()?, scale()?];
    let mut palette = Palette::take(u, 509)?;
    Ok(Case {
        level,
        workers,
        storage,
        z: palette.matrix(n, inputs, |p| p.eighth() * scales[0]),
        w: palette.matrix(m, inputs, |p| p.eighth() * scales[1]),
        a: palette.matrix(m, outputs, |p| if p.byte() & 1 == 1 { 1.0 } else { -1.0 }),
        e: palette.matrix(n, outputs, |p| p.eighth() * scales[2]),
    })
}

fn check<T: Real>(case: &Case, epsilon: f64) {
    let Case { level, workers, storage, z, w, a, e } = case;
    let (n, m, inputs, outputs) = (z.nrows(), w.nrows(), z.ncols(), a.ncols());
    let largest = [z.norm_max(), w.norm_max(), e.norm_max()];
    let stored = [(z, 0), (w, 1), (a, 2), (e, 3)].map(|(x, i)| Stored::<T>::new(x.as_ref(), storage[i]));
    let [z_view, w_view, a_view, e_view] = stored.each_ref().map(Stored::view);
    let (u, expected_patterns) = reference::forward(w_view, a_view, z_view);
    let g = reference::gradient(e_view, &expected_patterns, a_view, z_view);
    let [z, mut w, a, e] = [z_view, w_view, a_view, e_view].map(|x| Panels::from_matrix("fuzz", x).unwrap());

    let mut workspaces = Workspace::for_workers(*workers, inputs, outputs);
    let mut patterns = ActivationPatterns::zeros(0, 0);
    let mut found = Panels::zeros(n, outputs);
    let layers = Layers { w: &w, a: &a };
    forward_with(*level, &mut found, Some(&mut patterns), layers, &z, &mut workspaces).unwrap();
    assert_eq!(patterns, expected_patterns, "patterns at {level}");
    let mut alone = Panels::zeros(n, outputs);
    forward_with(Level::Scalar, &mut alone, None, layers, &z, &mut workspaces).unwrap();
    assert_eq!(found, alone, "outputs at {level} and without patterns at scalar");
    let root = (m as f64).sqrt();
    compare("output", &found, &u, epsilon, root * inputs as f64 * largest[0] * largest[1]);

    let mut gradient = Panels::zeros(m, inputs);
    gradient_with(*level, &mut gradient, BackwardInputs { e: &e, patterns: &patterns, a: &a, z: &z }, &mut workspaces)
        .unwrap();
    compare("gradient", &gradient, &g, epsilon, (n * outputs) as f64 * largest[2] * largest[0] / root);

    let start = w.clone();
    let mut optimizer = Optimizer::new(Rule::Descent, &w, true).unwrap();
    let (rate, decay) = (0.25, 0.5);
    update_with(
        *level,
        &mut w,
        &mut optimizer,
        Step { rate, decay },
        BackwardInputs { e: &e, patterns: &patterns, a: &a, z: &z },
        &mut workspaces,
    )
    .unwrap();
    for r in 0..m {
        for k in 0..inputs {
            let moved = start.get(r, k) - T::from_f64(rate) * gradient.get(r, k);
            assert_eq!(w.get(r, k), moved, "weight {r}, {k} at {level}");
            let middle = 0.5 * (start.get(r, k).to_f64() + moved.to_f64());
            let size = start.get(r, k).to_f64().abs() + moved.to_f64().abs();
            let average = optimizer.average().unwrap().get(r, k).to_f64();
            assert_close(average, middle, 2.0 * epsilon * size, || format!("average {r}, {k} at {level}"));
        }
    }
}

/// The sums are exact, so what is left are the roundings of the factor 1/sqrt(m) and of the product with it; the reference
/// adds terms that are already scaled, which costs it some units in the last place of an f64 of what the terms could add up
/// to, `bound`.
fn compare<T: Real>(what: &str, found: &Panels<T>, expected: &Mat<f64>, epsilon: f64, bound: f64) {
    for i in 0..expected.nrows() {
        for j in 0..expected.ncols() {
            let tolerance = 2.0 * epsilon * expected[(i, j)].abs() + 1e-13 * bound;
            assert_close(found.get(i, j).to_f64(), expected[(i, j)], tolerance, || format!("{what} {i}, {j}"));
        }
    }
}

fuzz_target!(|data: &[u8]| {
    if let Ok(case) = case(&mut Unstructured::new(data)) {
        check::<f32>(&case, f64::from(f32::EPSILON));
        check::<f64>(&case, f64::EPSILON);
    }
});
