//! The gradient-descent step in plain loops: what the kernels are held against. Start reading here.
//!
//! For one sample z with error row e: `p_r = w_r . z`, active if `p_r >= 0`, `u_i = 1/sqrt(m) sum_r a_ri max(p_r, 0)`, and
//! `dL/dw_r = 1/sqrt(m) sum_j [p_jr >= 0] (e_j . a_r) z_j` (HRX section 3, DZPS).

use faer::{Mat, MatRef};

use crate::kernels::patterns::ActivationPatterns;
use crate::simd::Scalar;

/// Outputs (N x d) and patterns of the network with weights `w` (m x D) and signs `a` (m x d) on the samples `z` (N x D).
pub fn forward<T: Scalar>(w: MatRef<'_, T>, a: MatRef<'_, T>, z: MatRef<'_, T>) -> (Mat<f64>, ActivationPatterns) {
    let (m, n) = (w.nrows(), z.nrows());
    let mut outputs = Mat::zeros(n, a.ncols());
    let mut patterns = ActivationPatterns::zeros(n, m);
    let words = patterns.words_per_row();
    for j in 0..n {
        for r in 0..m {
            let p: f64 = (0..w.ncols()).map(|k| w[(r, k)].to_f64() * z[(j, k)].to_f64()).sum();
            if p >= 0.0 {
                patterns.words_mut()[j * words + r / 64] |= 1 << (r % 64);
                for i in 0..a.ncols() {
                    outputs[(j, i)] += a[(r, i)].to_f64() * p / (m as f64).sqrt();
                }
            }
        }
    }
    (outputs, patterns)
}

/// Gradient (m x D) of the loss whose derivative by the outputs is `e` (N x d), with the given patterns.
pub fn gradient<T: Scalar>(
    e: MatRef<'_, T>,
    patterns: &ActivationPatterns,
    a: MatRef<'_, T>,
    z: MatRef<'_, T>,
) -> Mat<f64> {
    let m = a.nrows();
    let mut gradient = Mat::zeros(m, z.ncols());
    for r in 0..m {
        for j in (0..z.nrows()).filter(|&j| patterns.is_active(j, r)) {
            let b: f64 = (0..a.ncols()).map(|i| e[(j, i)].to_f64() * a[(r, i)].to_f64()).sum();
            for k in 0..z.ncols() {
                gradient[(r, k)] += b * z[(j, k)].to_f64() / (m as f64).sqrt();
            }
        }
    }
    gradient
}
