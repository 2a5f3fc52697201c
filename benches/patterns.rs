//! Activation patterns: packing them from weights and samples, and counting flips between two sets, against plain loops and
//! against a matrix product of `faer` followed by comparisons.
//!
//! The answers are compared before anything is timed. All run on one thread, into memory that has been touched.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use ntk_score::internals::reference;
use ntk_score::kernels::Panels;
use ntk_score::kernels::patterns::{ActivationPatterns, patterns_with};
use ntk_score::simd::{Level, Popcount};

fn values(rows: usize, columns: usize, seed: u64) -> Mat<f32> {
    let mut state = seed;
    Mat::from_fn(rows, columns, |_, _| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    })
}

/// The pre-activations (neurons by samples) stored, then compared.
fn by_product(w: &Mat<f32>, z: &Mat<f32>, stored: &mut Mat<f32>, out: &mut ActivationPatterns) {
    matmul(stored.as_mut(), Accum::Replace, w, z.transpose(), 1.0, Par::Seq);
    let words = out.words_per_row();
    for (row, column) in out.words_mut().chunks_exact_mut(words).zip(stored.col_iter()) {
        let column = column.try_as_col_major().expect("columns are contiguous").as_slice();
        for (word, values) in row.iter_mut().zip(column.chunks(64)) {
            *word = values.iter().enumerate().fold(0, |word, (r, &x)| word | u64::from(x >= 0.0) << r);
        }
    }
}

fn packing(criterion: &mut Criterion) {
    let (n, inputs, m) = (1024, 25, 1024);
    let (w, z) = (values(m, inputs, 1), values(n, inputs, 2));
    let none = Mat::<f32>::zeros(m, 0);
    let naive = || reference::descent::forward(w.as_ref(), none.as_ref(), z.as_ref()).1;
    let expected = naive();
    // A sum rounded otherwise may fall on the other side of zero.
    let check = |name: &str, found: &ActivationPatterns| {
        let differing = found.hamming(&expected).unwrap();
        assert!(differing <= 2, "{name} differs in {differing} bits");
    };
    let mut stored = Mat::zeros(m, n);
    let mut out = ActivationPatterns::zeros(n, m);
    by_product(&w, &z, &mut stored, &mut out);
    check("faer", &out);
    let [w_panels, z_panels] = [&w, &z].map(|x| Panels::from_matrix("bench", x.as_ref()).unwrap());
    for level in Level::available() {
        let fused = |out: &mut ActivationPatterns| {
            patterns_with(level, out, &w_panels, &z_panels, Par::Seq).unwrap();
        };
        fused(&mut out);
        check(level.name(), &out);
        let mut group = criterion.benchmark_group(format!("patterns/packing/{level}/N{n}-D{inputs}-m{m}"));
        group.sample_size(10).throughput(Throughput::Elements((n * m * inputs) as u64));
        group.bench_function("naive", |b| b.iter(naive));
        group.bench_function("faer", |b| b.iter(|| by_product(&w, &z, &mut stored, &mut out)));
        group.bench_function("fused", |b| b.iter(|| fused(&mut out)));
        group.finish();
    }
}

fn flips(criterion: &mut Criterion) {
    let (n, inputs, m) = (1024, 5, 4096);
    let z = values(n, inputs, 2);
    let [start, now] = [1, 3]
        .map(|seed| ActivationPatterns::new_from(values(m, inputs, seed).as_ref(), z.as_ref(), Par::Seq).unwrap());
    let naive = || {
        let differ = |j, r| u64::from(start.is_active(j, r) != now.is_active(j, r));
        (0..n).map(|j| (0..m).map(|r| differ(j, r)).sum::<u64>()).sum::<u64>()
    };
    let expected = naive();
    for count in Popcount::available() {
        let counted = || count.differing(start.words(), now.words());
        assert_eq!(counted(), expected, "{}", count.name());
        let mut group = criterion.benchmark_group(format!("patterns/flips/{}/N{n}-m{m}", count.name()));
        group.sample_size(10).throughput(Throughput::Bytes((n * m / 4) as u64));
        group.bench_function("naive", |b| b.iter(naive));
        group.bench_function("counted", |b| b.iter(counted));
        group.finish();
    }
}

criterion_group!(benches, packing, flips);
criterion_main!(benches);
