//! One gradient-descent step, forward and backward: plain loops, matrix products of `faer` and of `gemm`, and the fused kernels at
//! every level.
//!
//! The answers of all are compared before anything is timed. `naive`, `faer-unfused` and `gemm-unfused` know no level; they stand in
//! each group so that a group can be read alone. All run on one thread, into memory that has been touched.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use gemm::{Parallelism, gemm};
use ntk_score::internals::reference;
use ntk_score::kernels::Panels;
use ntk_score::kernels::descent::{
    BackwardInputs, Layers, Optimizer, Rule, Step, Workspace, forward_with, gradient_with, update_with,
};
use ntk_score::kernels::patterns::ActivationPatterns;
use ntk_score::simd::Level;

/// Samples, inputs, neurons, outputs. The last is the one that the speed of the step is stated for, left out where the benchmark
/// only tests itself.
const SHAPES: [(usize, usize, usize, usize); 5] =
    [(256, 3, 1024, 2), (256, 25, 1024, 24), (512, 94, 512, 93), (512, 188, 512, 93), (8192, 25, 4096, 24)];
/// Small enough that the weights stay what they are however often a step is repeated.
const RATE: f64 = 1e-12;

fn values(rows: usize, columns: usize, seed: u64) -> Mat<f32> {
    let mut state = seed;
    Mat::from_fn(rows, columns, |_, _| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    })
}

/// The problem: samples, weights, signs, labels.
struct Problem {
    z: Mat<f32>,
    w: Mat<f32>,
    a: Mat<f32>,
    y: Mat<f32>,
}

impl Problem {
    fn new((n, inputs, m, d): (usize, usize, usize, usize)) -> Self {
        let signs = values(m, d, 3);
        let a = Mat::from_fn(m, d, |r, i| signs[(r, i)].signum());
        Self { z: values(n, inputs, 1), w: values(m, inputs, 2), a, y: values(n, d, 4) }
    }
}

/// The gradient in plain loops.
fn naive(p: &Problem) -> Mat<f64> {
    let (outputs, patterns) = reference::descent::forward(p.w.as_ref(), p.a.as_ref(), p.z.as_ref());
    let e = Mat::from_fn(p.y.nrows(), p.y.ncols(), |j, i| (outputs[(j, i)] - f64::from(p.y[(j, i)])) as f32);
    reference::descent::gradient(e.as_ref(), &patterns, p.a.as_ref(), p.z.as_ref())
}

/// Whose matrix products.
#[derive(Clone, Copy)]
enum Library {
    Faer,
    Gemm,
}

impl Library {
    /// `out = scale left right`, on one thread.
    fn multiply(self, out: MatMut<'_, f32>, left: MatRef<'_, f32>, right: MatRef<'_, f32>, scale: f32) {
        match self {
            Library::Faer => matmul(out, Accum::Replace, left, right, scale, Par::Seq),
            Library::Gemm => {
                assert!((out.nrows(), out.ncols(), left.ncols()) == (left.nrows(), right.ncols(), right.nrows()));
                let (m, n, k) = (out.nrows(), out.ncols(), left.ncols());
                let (out_at, column, row) = (out.as_ptr_mut(), out.col_stride(), out.row_stride());
                // SAFETY: pointers and strides are those of matrices whose shapes were just compared.
                unsafe {
                    let left = (left.as_ptr(), left.col_stride(), left.row_stride());
                    let right = (right.as_ptr(), right.col_stride(), right.row_stride());
                    let (no, one_thread) = (false, Parallelism::None);
                    let (left_at, left_column, left_row) = left;
                    let (right_at, right_column, right_row) = right;
                    #[rustfmt::skip]
                    gemm(
                        m, n, k, out_at, column, row, no, left_at, left_column, left_row,
                        right_at, right_column, right_row, 0.0, scale, no, no, no, one_thread,
                    );
                }
            }
        }
    }
}

/// The step by matrix products, with the N x m matrices that it needs.
struct Unfused {
    library: Library,
    pre_activations: Mat<f32>,
    back: Mat<f32>,
    outputs: Mat<f32>,
    gradient: Mat<f32>,
}

impl Unfused {
    fn new(library: Library, p: &Problem) -> Self {
        let (n, m) = (p.z.nrows(), p.w.nrows());
        Self {
            library,
            pre_activations: Mat::zeros(n, m),
            back: Mat::zeros(n, m),
            outputs: Mat::zeros(n, p.a.ncols()),
            gradient: Mat::zeros(m, p.w.ncols()),
        }
    }

    fn step(&mut self, p: &Problem, w: &mut Mat<f32>) {
        let scale = 1.0 / (p.w.nrows() as f32).sqrt();
        let Self { library, pre_activations, back, outputs, gradient } = self;
        library.multiply(pre_activations.as_mut(), p.z.as_ref(), w.transpose(), 1.0);
        for column in pre_activations.col_iter_mut() {
            for x in column.try_as_col_major_mut().expect("columns are contiguous").as_slice_mut() {
                *x = if *x >= 0.0 { *x } else { -1.0 };
            }
        }
        // The rectified copy; -1 in the original marks the inactive.
        for (to, from) in back.col_iter_mut().zip(pre_activations.col_iter()) {
            let to = to.try_as_col_major_mut().expect("columns are contiguous").as_slice_mut();
            let from = from.try_as_col_major().expect("columns are contiguous").as_slice();
            for (to, &from) in to.iter_mut().zip(from) {
                *to = from.max(0.0);
            }
        }
        library.multiply(outputs.as_mut(), back.as_ref(), p.a.as_ref(), scale);
        *outputs -= &p.y;
        library.multiply(back.as_mut(), outputs.as_ref(), p.a.transpose(), scale);
        for (to, from) in back.col_iter_mut().zip(pre_activations.col_iter()) {
            let to = to.try_as_col_major_mut().expect("columns are contiguous").as_slice_mut();
            let from = from.try_as_col_major().expect("columns are contiguous").as_slice();
            for (to, &from) in to.iter_mut().zip(from) {
                *to = if from >= 0.0 { *to } else { 0.0 };
            }
        }
        library.multiply(gradient.as_mut(), back.transpose(), p.z.as_ref(), 1.0);
        for (w, g) in w.col_iter_mut().zip(gradient.col_iter()) {
            let w = w.try_as_col_major_mut().expect("columns are contiguous").as_slice_mut();
            let g = g.try_as_col_major().expect("columns are contiguous").as_slice();
            for (w, &g) in w.iter_mut().zip(g) {
                *w -= RATE as f32 * g;
            }
        }
    }
}

/// The step by the fused kernels.
struct Fused {
    level: Level,
    z: Panels<f32>,
    w: Panels<f32>,
    a: Panels<f32>,
    y: Panels<f32>,
    outputs: Panels<f32>,
    patterns: ActivationPatterns,
    optimizer: Optimizer<f32>,
    workspaces: Vec<Workspace<f32>>,
}

impl Fused {
    fn new(level: Level, p: &Problem) -> Self {
        let [z, w, a, y] = [&p.z, &p.w, &p.a, &p.y].map(|m| Panels::from_matrix("bench", m.as_ref()).unwrap());
        let optimizer = Optimizer::new(Rule::Descent, &w, false).unwrap();
        let workspaces = Workspace::for_workers(1, z.columns(), a.columns());
        let patterns = ActivationPatterns::zeros(z.rows(), w.rows());
        let outputs = Panels::zeros(z.rows(), a.columns());
        Self { level, z, w, a, y, outputs, patterns, optimizer, workspaces }
    }

    fn forward(&mut self) {
        let Self { level, z, w, a, y, outputs, patterns, workspaces, .. } = self;
        forward_with(*level, outputs, Some(patterns), Layers { w, a }, z, workspaces).unwrap();
        for (u, y) in outputs.values_mut().iter_mut().zip(y.values()) {
            *u -= y;
        }
    }

    fn gradient(&mut self) -> Panels<f32> {
        self.forward();
        let Self { level, z, w, a, outputs, patterns, workspaces, .. } = self;
        let mut gradient = Panels::zeros(w.rows(), w.columns());
        gradient_with(*level, &mut gradient, BackwardInputs { e: outputs, patterns, a, z }, workspaces).unwrap();
        gradient
    }

    fn step(&mut self) {
        self.forward();
        let Self { level, z, w, a, outputs, patterns, optimizer, workspaces, .. } = self;
        update_with(
            *level,
            w,
            optimizer,
            Step { rate: RATE, decay: 0.0 },
            BackwardInputs { e: outputs, patterns, a, z },
            workspaces,
        )
        .unwrap();
    }
}

/// Holds a gradient against the naive one, neuron by neuron. A pre-activation within rounding of zero may fall on either side,
/// and then its neuron's row differs by that sample's share: at most one neuron in a thousand (and one) may.
fn check(name: &str, found: impl Fn(usize, usize) -> f32, expected: &Mat<f64>) {
    let size = expected.norm_max();
    let error = |r: usize| {
        (0..expected.ncols()).map(|k| (f64::from(found(r, k)) - expected[(r, k)]).abs() / size).fold(0.0, f64::max)
    };
    let errors: Vec<f64> = (0..expected.nrows()).map(error).collect();
    let off = errors.iter().filter(|&&e| e >= 1e-4).count();
    let worst = errors.iter().copied().fold(0.0, f64::max);
    assert!(off <= 1 + expected.nrows() / 1000 && worst < 0.05, "{name}: {off} neurons are wrong, by up to {worst:e}");
}

fn steps(criterion: &mut Criterion) {
    // `cargo bench` says so; without it every function runs once.
    let timed = std::env::args().any(|a| a == "--bench");
    for shape in SHAPES.into_iter().filter(|s| timed || s.0 < 1024) {
        let problem = Problem::new(shape);
        let expected = naive(&problem);
        let mut w = problem.w.clone();
        let mut unfused = [Library::Faer, Library::Gemm].map(|library| Unfused::new(library, &problem));
        for (name, unfused) in ["faer", "gemm"].into_iter().zip(&mut unfused) {
            unfused.step(&problem, &mut w);
            check(name, |r, k| unfused.gradient[(r, k)], &expected);
        }
        let [by_faer, by_gemm] = &mut unfused;
        let (n, inputs, m, d) = shape;
        for level in Level::available() {
            let mut fused = Fused::new(level, &problem);
            let gradient = fused.gradient();
            check(level.name(), |r, k| gradient.get(r, k), &expected);
            let mut group = criterion.benchmark_group(format!("descent/{level}/N{n}-D{inputs}-m{m}-d{d}"));
            group.sample_size(10).throughput(Throughput::Elements((4 * n * m * (inputs + d)) as u64));
            group.bench_function("naive", |b| b.iter(|| naive(&problem)));
            group.bench_function("faer-unfused", |b| b.iter(|| by_faer.step(&problem, &mut w)));
            group.bench_function("gemm-unfused", |b| b.iter(|| by_gemm.step(&problem, &mut w)));
            group.bench_function("fused", |b| b.iter(|| fused.step()));
            group.finish();
        }
    }
}

criterion_group!(benches, steps);
criterion_main!(benches);
