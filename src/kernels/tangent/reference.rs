//! The finite-width tangent kernel in plain loops and f64: what the kernels are held against. Start reading here.

use faer::{Mat, MatRef};

use crate::kernels::patterns::ActivationPatterns;
use crate::simd::Scalar;

/// `sum_r a_r^i a_r^k I_jr I_lr` for sample `j` of one set of patterns and sample `l` of another.
pub fn signed_count<T: Scalar>(
    a: MatRef<'_, T>,
    (i, k): (usize, usize),
    (rows, j): (&ActivationPatterns, usize),
    (columns, l): (&ActivationPatterns, usize),
) -> i64 {
    let both = (0..a.nrows()).filter(|&r| rows.is_active(j, r) && columns.is_active(l, r));
    both.map(|r| if a[(r, i)] == a[(r, k)] { 1 } else { -1 }).sum()
}

/// Block (i, k) of the kernel between two sets of samples `z` with their patterns, N1 x N2.
pub fn block<T: Scalar>(
    a: MatRef<'_, T>,
    (i, k): (usize, usize),
    (rows, row_z): (&ActivationPatterns, MatRef<'_, T>),
    (columns, column_z): (&ActivationPatterns, MatRef<'_, T>),
) -> Mat<f64> {
    Mat::from_fn(row_z.nrows(), column_z.nrows(), |j, l| {
        let inner: f64 = (0..row_z.ncols()).map(|c| row_z[(j, c)].to_f64() * column_z[(l, c)].to_f64()).sum();
        inner / a.nrows() as f64 * signed_count(a, (i, k), (rows, j), (columns, l)) as f64
    })
}

/// The whole kernel between two sets of samples, dN1 x dN2: row `i*N1 + j` and column `k*N2 + l`.
pub fn full<T: Scalar>(
    a: MatRef<'_, T>,
    rows: (&ActivationPatterns, MatRef<'_, T>),
    columns: (&ActivationPatterns, MatRef<'_, T>),
) -> Mat<f64> {
    let (d, n1, n2) = (a.ncols(), rows.1.nrows(), columns.1.nrows());
    let mut full = Mat::zeros(d * n1, d * n2);
    let signs: Vec<Vec<i64>> =
        (0..a.nrows()).map(|r| (0..d).map(|i| if a[(r, i)] > T::ZERO { 1 } else { -1 }).collect()).collect();
    let mut counts = vec![0; d * d];
    for l in 0..n2 {
        for j in 0..n1 {
            // The signed counts of all blocks at once: as `block`, but the neurons are looked through once.
            counts.fill(0);
            for r in (0..a.nrows()).filter(|&r| rows.0.is_active(j, r) && columns.0.is_active(l, r)) {
                for (counts, x) in counts.chunks_exact_mut(d).zip(&signs[r]) {
                    counts.iter_mut().zip(&signs[r]).for_each(|(count, y)| *count += x * y);
                }
            }
            let inner: f64 = (0..rows.1.ncols()).map(|c| rows.1[(j, c)].to_f64() * columns.1[(l, c)].to_f64()).sum();
            for (at, &count) in counts.iter().enumerate() {
                full[(at / d * n1 + j, at % d * n2 + l)] = inner / a.nrows() as f64 * count as f64;
            }
        }
    }
    full
}

/// `H vec(V)` as an N1 x d matrix, for V (N2 x d): entry (j, i) is `sum_kl H^{ik}_{jl} V_lk`.
pub fn product<T: Scalar>(
    v: MatRef<'_, T>,
    a: MatRef<'_, T>,
    rows: (&ActivationPatterns, MatRef<'_, T>),
    columns: (&ActivationPatterns, MatRef<'_, T>),
) -> Mat<f64> {
    let (d, n1, n2) = (a.ncols(), rows.1.nrows(), columns.1.nrows());
    let full = full(a, rows, columns);
    let entry = |j: usize, i: usize| -> f64 {
        let terms = (0..d).flat_map(|k| (0..n2).map(move |l| (k, l)));
        terms.map(|(k, l)| full[(i * n1 + j, k * n2 + l)] * v[(l, k)].to_f64()).sum()
    };
    Mat::from_fn(n1, d, entry)
}

/// The kernel of infinitely many neurons between two vectors (Cho and Saul 2009, HRX section 4):
/// `<x, y> (pi - angle) / (2 pi)`, and 0 where either vector is zero.
///
/// The angle is taken from the difference and the sum of the unit vectors, which keeps its digits where they are nearly
/// parallel.
pub fn limit(x: &[f64], y: &[f64]) -> f64 {
    let norm = |v: &[f64]| v.iter().map(|a| a * a).sum::<f64>().sqrt();
    let (nx, ny) = (norm(x), norm(y));
    if nx == 0.0 || ny == 0.0 {
        return 0.0;
    }
    let (mut inner, mut difference, mut sum) = (0.0, 0.0, 0.0);
    for (a, b) in x.iter().zip(y) {
        let (u, v) = (a / nx, b / ny);
        inner += a * b;
        difference += (u - v) * (u - v);
        sum += (u + v) * (u + v);
    }
    let angle = 2.0 * f64::atan2(difference.sqrt(), sum.sqrt());
    inner * (std::f64::consts::PI - angle) / (2.0 * std::f64::consts::PI)
}
