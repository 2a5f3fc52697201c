//! How far the finite-width tangent kernel is from where it started, and from its limit.

use faer::Par;

use super::{Features, check_outputs, check_sides, reference};
use crate::Result;
use crate::kernels::Panels;
use crate::kernels::patterns::ActivationPatterns;
use crate::simd::{Popcount, Real};

/// Frobenius norms over the whole dN x dN kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drift {
    /// `||H(tau) - H(0)||_F`.
    pub change: f64,
    /// `||H(0)||_F`.
    pub start: f64,
    /// `||H(0) - H||_F`, H the kernel of infinitely many neurons.
    pub gap: f64,
    /// `||H||_F`.
    pub limit: f64,
}

impl Drift {
    /// `||H(tau) - H(0)||_F / ||H(0)||_F`; 0 if both are zero.
    pub fn relative_change(&self) -> f64 {
        if self.change == 0.0 { 0.0 } else { self.change / self.start }
    }

    /// `||H(0) - H||_F / ||H||_F`; 0 if both are zero.
    pub fn relative_gap(&self) -> f64 {
        if self.gap == 0.0 { 0.0 } else { self.gap / self.limit }
    }
}

/// [`drift_with`] at the current level.
///
/// # Errors
/// As for [`drift_with`].
pub fn drift<T: Real>(
    now: &ActivationPatterns,
    start: &ActivationPatterns,
    a: &Panels<T>,
    z: &Panels<T>,
    par: Par,
) -> Result<Drift> {
    drift_with(Popcount::current(), now, start, a, z, par)
}

/// Drift of the kernel on the samples `z` (N x D) with output signs `a` (m x d), from the patterns `start` at the initial weights
/// to the patterns `now`; accumulated tile by tile in f64, no dN x dN matrix is ever stored.
///
/// The limit is `I_d (x) K` with `K(z, z') = <z, z'> (pi - angle) / (2 pi)` (HRX section 4).
///
/// # Errors
/// [`crate::Error::Shape`] if the shapes do not fit together, [`crate::Error::Setting`] if a sign is not +-1,
/// [`crate::Error::Empty`] without neurons.
pub fn drift_with<T: Real>(
    _count: Popcount,
    now: &ActivationPatterns,
    start: &ActivationPatterns,
    a: &Panels<T>,
    z: &Panels<T>,
    _par: Par,
) -> Result<Drift> {
    check_sides(a, Features { patterns: now, z }, Features { patterns: start, z })?;
    check_outputs(a, 0..a.columns())?;
    let (z, a) = (z.to_matrix(), a.to_matrix());
    let row = |j: usize| (0..z.ncols()).map(|c| z[(j, c)].to_f64()).collect::<Vec<f64>>();
    let mut sums = [0.0; 4];
    for i in 0..a.ncols() {
        for k in 0..a.ncols() {
            let h0 = reference::block(a.as_ref(), (i, k), (start, z.as_ref()), (start, z.as_ref()));
            let h1 = reference::block(a.as_ref(), (i, k), (now, z.as_ref()), (now, z.as_ref()));
            for l in 0..z.nrows() {
                for j in 0..z.nrows() {
                    let limit = if i == k { reference::limit(&row(j), &row(l)) } else { 0.0 };
                    let (h0, h1) = (h0[(j, l)], h1[(j, l)]);
                    for (sum, x) in sums.iter_mut().zip([h1 - h0, h0, h0 - limit, limit]) {
                        *sum += x * x;
                    }
                }
            }
        }
    }
    let [change, start, gap, limit] = sums.map(f64::sqrt);
    Ok(Drift { change, start, gap, limit })
}
