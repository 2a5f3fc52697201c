//! The analytic tangent kernel: plain loops, a matrix product on `faer` with an arc cosine pass over it, and the fused kernel.
//!
//! The answers of the three are compared before anything is timed. All run on one thread, into memory that has been touched.
//! Run as a test, the shapes are small.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use ntk_score::internals::angles::finish_column;
use ntk_score::internals::reference::gram as reference;
use ntk_score::kernels::Real;
use ntk_score::kernels::gram::{KernelProduct, ProductWorkspace, cross_gram_with, gram_with};
use ntk_score::simd::Level;

fn values<T: Real>(rows: usize, columns: usize, seed: u64) -> Mat<T> {
    let mut state = seed;
    Mat::from_fn(rows, columns, |_, _| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        T::from_f64((state >> 11) as f64 / (1u64 << 52) as f64 - 1.0)
    })
}

/// Whether this is a measurement and not a run of the tests.
fn measuring() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// K(z_i, z_j) one pair after the other, in the type itself.
fn naive<T: Real>(z: &Mat<T>, out: &mut Mat<T>) {
    let inner = |i: usize, j: usize| (0..z.ncols()).fold(T::ZERO, |sum, k| sum + z[(i, k)] * z[(j, k)]);
    let norms: Vec<f64> = (0..z.nrows()).map(|i| inner(i, i).to_f64().sqrt()).collect();
    for j in 0..z.nrows() {
        for i in 0..z.nrows() {
            let product = inner(i, j).to_f64();
            let angle = (product / (norms[i] * norms[j])).clamp(-1.0, 1.0).acos();
            out[(i, j)] = T::from_f64(product * (1.0 - angle / std::f64::consts::PI) / 2.0);
        }
    }
}

/// The unit vectors' inner products by `faer`, then the arc cosine and the norms over them, a vector at a time.
fn by_product<T: Real>(level: Level, z: &Mat<T>, units: &mut Mat<T>, half_norms: &mut [T], out: &mut Mat<T>) {
    for (i, half) in half_norms.iter_mut().enumerate() {
        let norm = (0..z.ncols()).map(|k| z[(i, k)].to_f64().powi(2)).sum::<f64>().sqrt();
        *half = T::from_f64(0.5 * norm);
        for k in 0..z.ncols() {
            units[(i, k)] = T::from_f64(z[(i, k)].to_f64() / norm);
        }
    }
    matmul(out.as_mut(), Accum::Replace, &*units, units.transpose(), T::ONE, Par::Seq);
    for j in 0..out.ncols() {
        let column = out.as_mut().col_mut(j).try_as_col_major_mut().expect("columns are contiguous").as_slice_mut();
        finish_column(level, column, half_norms, half_norms[j]);
    }
}

/// Holds `found` against the reference; the plain ways lose half their digits on the diagonal, `tolerance` allows for it.
fn check<T: Real>(name: &str, found: &Mat<T>, expected: &Mat<f64>, tolerance: f64) {
    let size = expected.norm_max();
    for j in 0..expected.ncols() {
        for i in 0..expected.nrows() {
            let error = (found[(i, j)].to_f64() - expected[(i, j)]).abs() / size;
            assert!(error < tolerance, "{name} is wrong by {error:e} at {i}, {j}");
        }
    }
}

fn matrices<T: Real>(criterion: &mut Criterion, shapes: &[(usize, usize)], exact: f64, rough: f64) {
    for &(n, d) in shapes {
        let z = values::<T>(n, d, 1);
        let expected = reference::gram(z.as_ref());
        let (mut out, mut units, mut norms) = (Mat::zeros(n, n), Mat::zeros(n, d), vec![T::ZERO; n]);
        naive(&z, &mut out);
        check("naive", &out, &expected, rough);
        for level in Level::available() {
            by_product(level, &z, &mut units, &mut norms, &mut out);
            check("faer", &out, &expected, rough);
            gram_with(level, out.as_mut(), z.as_ref(), Par::Seq).unwrap();
            check(level.name(), &out, &expected, exact);
            let mut group = criterion.benchmark_group(format!("gram/{level}/{}-N{n}-D{d}", T::NAME));
            group.sample_size(10).throughput(Throughput::Elements((n * n) as u64));
            group.bench_function("naive", |b| b.iter(|| naive(&z, &mut out)));
            group.bench_function("faer", |b| b.iter(|| by_product(level, &z, &mut units, &mut norms, &mut out)));
            group.bench_function("fused", |b| b.iter(|| gram_with(level, out.as_mut(), z.as_ref(), Par::Seq).unwrap()));
            group.finish();
        }
    }
}

fn grams(criterion: &mut Criterion) {
    let shapes: &[_] = if measuring() { &[(64, 25), (1000, 25), (2048, 94)] } else { &[(65, 25)] };
    matrices::<f32>(criterion, shapes, 5e-7, 2e-4);
    matrices::<f64>(criterion, &shapes[..shapes.len().min(2)], 1e-15, 1e-8);
}

fn products(criterion: &mut Criterion) {
    let (n, d, c) = if measuring() { (2048, 25, 24) } else { (130, 25, 5) };
    let (z, v) = (values::<f32>(n, d, 1), values::<f32>(n, c, 2));
    let mut k = Mat::<f32>::zeros(n, n);
    let (mut expected, mut out) = (Mat::<f32>::zeros(n, c), Mat::<f32>::zeros(n, c));
    for level in Level::available() {
        let mut formed = |out: &mut Mat<f32>| {
            cross_gram_with(level, k.as_mut(), z.as_ref(), z.as_ref(), Par::Seq).unwrap();
            matmul(out.as_mut(), Accum::Replace, &k, &v, 1.0, Par::Seq);
        };
        formed(&mut expected);
        let product = KernelProduct::symmetric(level, z.as_ref()).unwrap();
        let mut workspace = ProductWorkspace::new(Par::Seq);
        product.apply_into(out.as_mut(), v.as_ref(), &mut workspace).unwrap();
        check(level.name(), &out, &Mat::from_fn(n, c, |i, j| f64::from(expected[(i, j)])), 1e-5);
        let mut group = criterion.benchmark_group(format!("gram/{level}/product-N{n}-D{d}-c{c}"));
        group.sample_size(10).throughput(Throughput::Elements((n * n) as u64));
        group.bench_function("faer", |b| b.iter(|| formed(&mut expected)));
        group.bench_function("fused", |b| {
            b.iter(|| product.apply_into(out.as_mut(), v.as_ref(), &mut workspace).unwrap());
        });
        group.finish();
    }
}

criterion_group!(benches, grams, products);
criterion_main!(benches);
