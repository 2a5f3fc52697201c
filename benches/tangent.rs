//! The finite-width tangent kernel: plain loops over bits, matrix products of masks on `faer`, and the counting kernels, each way
//! of counting in a group of its own.
//!
//! The answers of the three are compared before anything is timed. All run on one thread, into memory that has been touched.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use ntk_score::internals::reference::tangent as reference;
use ntk_score::kernels::Panels;
use ntk_score::kernels::patterns::ActivationPatterns;
use ntk_score::kernels::tangent::{
    Features, ProductWorkspace, TangentKernel, Workspace, block_with, full_with, product_with,
};
use ntk_score::simd::{Level, Popcount};

fn values(rows: usize, columns: usize, seed: u64) -> Mat<f32> {
    let mut state = seed;
    Mat::from_fn(rows, columns, |_, _| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    })
}

/// Samples, output signs and patterns, as matrices and as the kernels want them.
struct Problem {
    z: Mat<f32>,
    a: Mat<f32>,
    patterns: ActivationPatterns,
    /// 1 where a neuron (column) is active on a sample (row).
    masks: Mat<f32>,
    z_panels: Panels<f32>,
    a_panels: Panels<f32>,
}

impl Problem {
    fn new(n: usize, inputs: usize, m: usize, d: usize) -> Self {
        let (z, w, signs) = (values(n, inputs, 1), values(m, inputs, 2), values(m, d, 3));
        let a = Mat::from_fn(m, d, |r, i| signs[(r, i)].signum());
        let patterns = ActivationPatterns::new_from(w.as_ref(), z.as_ref(), Par::Seq).unwrap();
        let masks = Mat::from_fn(n, m, |j, r| f32::from(patterns.is_active(j, r)));
        let [z_panels, a_panels] = [&z, &a].map(|x| Panels::from_matrix("bench", x.as_ref()).unwrap());
        Self { z, a, patterns, masks, z_panels, a_panels }
    }

    fn features(&self) -> Features<'_, f32> {
        Features { patterns: &self.patterns, z: &self.z_panels }
    }

    /// Block (i, k) by whole words and `count_ones`, one pair of samples after the other.
    fn naive_block(&self, (i, k): (usize, usize), out: &mut Mat<f32>) {
        let m = self.a.nrows();
        let mut agree = vec![0u64; m.div_ceil(64)];
        for r in 0..m {
            agree[r / 64] |= u64::from(self.a[(r, i)] == self.a[(r, k)]) << (r % 64);
        }
        for l in 0..self.z.nrows() {
            for j in 0..self.z.nrows() {
                let mut count = 0;
                for ((x, y), agree) in self.patterns.row(j).iter().zip(self.patterns.row(l)).zip(&agree) {
                    count += 2 * (x & y & agree).count_ones() as i32 - (x & y).count_ones() as i32;
                }
                let inner: f32 = (0..self.z.ncols()).map(|c| self.z[(j, c)] * self.z[(l, c)]).sum();
                out[(j, l)] = inner * count as f32 / m as f32;
            }
        }
    }

    /// Block (i, k) as the element-wise product of two matrix products.
    fn product_block(&self, (i, k): (usize, usize), signed: &mut Mat<f32>, gram: &mut Mat<f32>, out: &mut Mat<f32>) {
        let m = self.a.nrows();
        for r in 0..m {
            let sign = self.a[(r, i)] * self.a[(r, k)] / m as f32;
            for j in 0..self.z.nrows() {
                signed[(j, r)] = sign * self.masks[(j, r)];
            }
        }
        matmul(out.as_mut(), Accum::Replace, &*signed, self.masks.transpose(), 1.0, Par::Seq);
        matmul(gram.as_mut(), Accum::Replace, &self.z, self.z.transpose(), 1.0, Par::Seq);
        for l in 0..out.ncols() {
            for j in 0..out.nrows() {
                out[(j, l)] *= gram[(j, l)];
            }
        }
    }
}

fn check(name: &str, found: &Mat<f32>, expected: &Mat<f64>) {
    let size = expected.norm_max();
    for l in 0..expected.ncols() {
        for j in 0..expected.nrows() {
            let error = (f64::from(found[(j, l)]) - expected[(j, l)]).abs() / size;
            assert!(error < 1e-5, "{name} is wrong by {error:e} at {j}, {l}");
        }
    }
}

fn blocks(criterion: &mut Criterion) {
    let (n, inputs, m) = (512, 25, 2048);
    let p = Problem::new(n, inputs, m, 2);
    let (mut signed, mut gram, mut out) = (Mat::zeros(n, m), Mat::zeros(n, n), Mat::zeros(n, n));
    let mut workspace = Workspace::new();
    for outputs in [(0, 0), (0, 1)] {
        let plain = (&p.patterns, p.z.as_ref());
        let expected = reference::block(p.a.as_ref(), outputs, plain, plain);
        p.naive_block(outputs, &mut out);
        check("naive", &out, &expected);
        p.product_block(outputs, &mut signed, &mut gram, &mut out);
        check("faer", &out, &expected);
        for count in Popcount::available() {
            let mut block = |out: &mut Mat<f32>| {
                let (a, samples) = (&p.a_panels, p.features());
                block_with(
                    count,
                    out.as_mut(),
                    outputs,
                    TangentKernel::symmetric(a, samples),
                    &mut workspace,
                    Par::Seq,
                )
                .unwrap();
            };
            block(&mut out);
            check(count.name(), &out, &expected);
            let kind = if outputs.0 == outputs.1 { "same" } else { "different" };
            let mut group = criterion.benchmark_group(format!("tangent/block-{kind}/{}/N{n}-m{m}", count.name()));
            group.sample_size(10).throughput(Throughput::Elements((n * n * m) as u64));
            group.bench_function("naive", |b| b.iter(|| p.naive_block(outputs, &mut out)));
            group.bench_function("faer", |b| b.iter(|| p.product_block(outputs, &mut signed, &mut gram, &mut out)));
            group.bench_function("counted", |b| b.iter(|| block(&mut out)));
            group.finish();
        }
    }
}

fn whole(criterion: &mut Criterion) {
    let (n, inputs, m, d) = (64, 25, 1024, 24);
    let p = Problem::new(n, inputs, m, d);
    let plain = (&p.patterns, p.z.as_ref());
    let expected = reference::full(p.a.as_ref(), plain, plain);
    let (mut signed, mut gram, mut block) = (Mat::zeros(n, m), Mat::zeros(n, n), Mat::zeros(n, n));
    let mut by_products = |out: &mut Mat<f32>| {
        for i in 0..d {
            for k in 0..=i {
                p.product_block((i, k), &mut signed, &mut gram, &mut block);
                out.as_mut().submatrix_mut(i * n, k * n, n, n).copy_from(&block);
                out.as_mut().submatrix_mut(k * n, i * n, n, n).copy_from(&block);
            }
        }
    };
    let mut out = Mat::zeros(d * n, d * n);
    by_products(&mut out);
    check("faer", &out, &expected);
    let mut workspace = Workspace::new();
    for count in Popcount::available() {
        let mut counted = |out: &mut Mat<f32>| {
            full_with(
                count,
                out.as_mut(),
                TangentKernel::symmetric(&p.a_panels, p.features()),
                &mut workspace,
                Par::Seq,
            )
            .unwrap();
        };
        counted(&mut out);
        check(count.name(), &out, &expected);
        let mut group = criterion.benchmark_group(format!("tangent/whole/{}/N{n}-m{m}-d{d}", count.name()));
        group.sample_size(10).throughput(Throughput::Elements((d * n * d * n) as u64));
        group.bench_function("faer", |b| b.iter(|| by_products(&mut out)));
        group.bench_function("counted", |b| b.iter(|| counted(&mut out)));
        group.finish();
    }
}

fn products(criterion: &mut Criterion) {
    let (n, inputs, m, d) = (512, 25, 1024, 24);
    let p = Problem::new(n, inputs, m, d);
    let v = values(n, d, 7);
    let scale = 1.0 / (m as f32).sqrt();
    let (mut back, mut gradient, mut out) = (Mat::zeros(n, m), Mat::zeros(m, inputs), Mat::zeros(n, d));
    let mut by_products = |out: &mut Mat<f32>| {
        let mask = |back: &mut Mat<f32>| {
            for r in 0..m {
                for j in 0..n {
                    back[(j, r)] *= p.masks[(j, r)];
                }
            }
        };
        matmul(back.as_mut(), Accum::Replace, &v, p.a.transpose(), scale, Par::Seq);
        mask(&mut back);
        matmul(gradient.as_mut(), Accum::Replace, back.transpose(), &p.z, 1.0, Par::Seq);
        matmul(back.as_mut(), Accum::Replace, &p.z, gradient.transpose(), scale, Par::Seq);
        mask(&mut back);
        matmul(out.as_mut(), Accum::Replace, &back, &p.a, 1.0, Par::Seq);
    };
    by_products(&mut out);
    let v_panels = Panels::from_matrix("bench", v.as_ref()).unwrap();
    let mut workspace = ProductWorkspace::new();
    let mut fused_out = Panels::zeros(n, d);
    for level in Level::available() {
        let mut fused = |out: &mut Panels<f32>| {
            let (a, samples) = (&p.a_panels, p.features());
            product_with(
                level,
                out,
                &v_panels,
                TangentKernel { a, rows: samples, columns: samples },
                &mut workspace,
                Par::Seq,
            )
            .unwrap();
        };
        fused(&mut fused_out);
        let expected = Mat::from_fn(n, d, |j, i| f64::from(out[(j, i)]));
        check(level.name(), &fused_out.to_matrix(), &expected);
        let mut group = criterion.benchmark_group(format!("tangent/product/{level}/N{n}-D{inputs}-m{m}-d{d}"));
        group.sample_size(10).throughput(Throughput::Elements((4 * n * m * (inputs + d)) as u64));
        group.bench_function("faer", |b| b.iter(|| by_products(&mut out)));
        group.bench_function("fused", |b| b.iter(|| fused(&mut fused_out)));
        group.finish();
    }
}

criterion_group!(benches, blocks, whole, products);
criterion_main!(benches);
