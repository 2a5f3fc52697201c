//! The functions of the finite-width kernel that a program calls.

use faer::{MatMut, Par};

use super::{Drift, ProductWorkspace, TangentKernel, Workspace};
use crate::Result;
use crate::kernels::Panels;
use crate::kernels::patterns::ActivationPatterns;
use crate::kernels::real::Real;
use crate::simd::{Level, Popcount};

/// [`block_with`] at the current level.
///
/// # Errors
/// As for [`block_with`].
pub fn block_into<T: Real>(
    out: MatMut<'_, T>,
    outputs: (usize, usize),
    kernel: TangentKernel<'_, T>,
    workspace: &mut Workspace<T>,
    par: Par,
) -> Result<()> {
    block_with(Popcount::current(), out, outputs, kernel, workspace, par)
}

/// Block H^{ik} (N1 x N2), `(i, k) = outputs`, between two sets of samples, for instance test against training. Of a set
/// with itself it is symmetric whatever i and k are, so half of it is computed, and mirrored.
///
/// # Errors
/// [`crate::Error::Shape`] if the shapes do not fit together, [`crate::Error::Setting`] if there is no such output or a sign is
/// not +-1, [`crate::Error::Empty`] without neurons.
pub fn block_with<T: Real>(
    count: Popcount,
    out: MatMut<'_, T>,
    outputs: (usize, usize),
    kernel: TangentKernel<'_, T>,
    workspace: &mut Workspace<T>,
    par: Par,
) -> Result<()> {
    T::tangent_block(count, out, outputs, kernel, workspace, par)
}

/// [`full_with`] at the current level.
///
/// # Errors
/// As for [`full_with`].
pub fn full_into<T: Real>(
    out: MatMut<'_, T>,
    kernel: TangentKernel<'_, T>,
    workspace: &mut Workspace<T>,
    par: Par,
) -> Result<()> {
    full_with(Popcount::current(), out, kernel, workspace, par)
}

/// The whole kernel H (dN1 x dN2) between two sets of samples: row `i*N1 + j`, column `k*N2 + l`.
///
/// # Errors
/// [`crate::Error::Shape`] if the shapes do not fit together, [`crate::Error::Setting`] if a sign is not +-1,
/// [`crate::Error::Empty`] without neurons.
pub fn full_with<T: Real>(
    count: Popcount,
    out: MatMut<'_, T>,
    kernel: TangentKernel<'_, T>,
    workspace: &mut Workspace<T>,
    par: Par,
) -> Result<()> {
    T::full_tangent(count, out, kernel, workspace, par)
}

/// [`product_with`] at the current level.
///
/// # Errors
/// As for [`product_with`].
pub fn product_into<T: Real>(
    out: &mut Panels<T>,
    v: &Panels<T>,
    kernel: TangentKernel<'_, T>,
    workspace: &mut ProductWorkspace<T>,
    par: Par,
) -> Result<()> {
    product_with(Level::current(), out, v, kernel, workspace, par)
}

/// `out = H vec(V)` (N1 x d) for `v` (N2 x d), H the whole kernel between two sets of samples (the same one twice for the
/// training dynamics): `out_ji = sum_kl H^{ik}_{jl} V_lk`, in O((N1 + N2) m (D + d)) operations.
///
/// # Errors
/// [`crate::Error::Shape`] if the shapes do not fit together, [`crate::Error::Setting`] if a sign is not +-1,
/// [`crate::Error::Empty`] without neurons.
pub fn product_with<T: Real>(
    level: Level,
    out: &mut Panels<T>,
    v: &Panels<T>,
    kernel: TangentKernel<'_, T>,
    workspace: &mut ProductWorkspace<T>,
    par: Par,
) -> Result<()> {
    T::tangent_product(level, out, v, kernel, workspace, par)
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
/// [`crate::Error::Empty`] without neurons, [`crate::Error::NotFinite`] if a sample is not finite.
pub fn drift_with<T: Real>(
    count: Popcount,
    now: &ActivationPatterns,
    start: &ActivationPatterns,
    a: &Panels<T>,
    z: &Panels<T>,
    par: Par,
) -> Result<Drift> {
    T::tangent_drift(count, now, start, a, z, par)
}
