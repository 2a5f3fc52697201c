//! The functions of the analytic kernel that a program calls.

use std::ops::Range;

use faer::{MatMut, MatRef, Par};

use super::{GramMatrix, KernelProduct, ProductWorkspace};
use crate::Result;
use crate::kernels::real::Real;
use crate::simd::Level;

/// [`gram_with`] at the current level.
///
/// # Errors
/// As for [`gram_with`].
pub fn gram_into<T: Real>(out: MatMut<'_, T>, z: MatRef<'_, T>, par: Par) -> Result<()> {
    gram_with(Level::current(), out, z, par)
}

/// The Gram matrix (N x N, both triangles) of the rows of `z` (N x D) into `out`.
///
/// Any strides are accepted; an output whose rows or columns are contiguous and aligned to 64 bytes is fastest.
///
/// # Errors
/// [`crate::Error::Shape`] if `out` is not N x N, [`crate::Error::NotFinite`] if `z` holds a NaN or an infinity, [`crate::Error::Setting`] if a norm
/// is beyond the type's range.
pub fn gram_with<T: Real>(level: Level, out: MatMut<'_, T>, z: MatRef<'_, T>, par: Par) -> Result<()> {
    T::gram(level, out, z, par)
}

/// [`gram_lower_with`] at the current level.
///
/// # Errors
/// As for [`gram_lower_with`].
pub fn gram_lower_into<T: Real>(out: MatMut<'_, T>, z: MatRef<'_, T>, par: Par) -> Result<()> {
    gram_lower_with(Level::current(), out, z, par)
}

/// The lower triangle of the Gram matrix, diagonal included, into `out` (N x N); entries above the diagonal are left alone.
///
/// # Errors
/// As for [`gram_with`].
pub fn gram_lower_with<T: Real>(level: Level, out: MatMut<'_, T>, z: MatRef<'_, T>, par: Par) -> Result<()> {
    T::gram_lower(level, out, z, par)
}

/// [`gram_rows_with`] at the current level.
///
/// # Errors
/// As for [`gram_rows_with`].
pub fn gram_rows_into<T: Real>(out: MatMut<'_, T>, z: MatRef<'_, T>, rows: Range<usize>, par: Par) -> Result<()> {
    gram_rows_with(Level::current(), out, z, rows, par)
}

/// Rows `rows` of the Gram matrix into `out` (`rows.len()` x N): the same bits as those rows of [`gram_with`].
///
/// # Errors
/// As for [`gram_with`], and [`crate::Error::Setting`] if the range does not lie within the samples.
pub fn gram_rows_with<T: Real>(
    level: Level,
    out: MatMut<'_, T>,
    z: MatRef<'_, T>,
    rows: Range<usize>,
    par: Par,
) -> Result<()> {
    T::gram_rows(level, out, z, rows, par)
}

/// [`cross_gram_with`] at the current level.
///
/// # Errors
/// As for [`cross_gram_with`].
pub fn cross_gram_into<T: Real>(out: MatMut<'_, T>, z1: MatRef<'_, T>, z2: MatRef<'_, T>, par: Par) -> Result<()> {
    cross_gram_with(Level::current(), out, z1, z2, par)
}

/// K of every row of `z1` (N1 x D) with every row of `z2` (N2 x D) into `out` (N1 x N2).
///
/// # Errors
/// [`crate::Error::Shape`] if `out` is not N1 x N2 or the samples differ in dimension, [`crate::Error::NotFinite`] if either holds a NaN or
/// an infinity, [`crate::Error::Setting`] if a norm is beyond the type's range.
pub fn cross_gram_with<T: Real>(
    level: Level,
    out: MatMut<'_, T>,
    z1: MatRef<'_, T>,
    z2: MatRef<'_, T>,
    par: Par,
) -> Result<()> {
    T::cross_gram(level, out, z1, z2, par)
}

/// The Gram matrix (N x N, both triangles) of the rows of `z` (N x D) in memory of its own, in huge pages where the system has
/// them.
///
/// # Errors
/// [`crate::Error::Memory`] if the system does not give memory for N x N values, [`crate::Error::NotFinite`] if `z` holds a NaN or an infinity,
/// [`crate::Error::Setting`] if a norm is beyond the type's range.
pub fn gram<T: Real>(z: MatRef<'_, T>, par: Par) -> Result<GramMatrix<T>> {
    T::owned_gram(Level::current(), z, par)
}

/// Euclidean norms of the rows of `z` (N x D) into `out` (N entries), computed in f64 without overflow or underflow.
///
/// # Errors
/// [`crate::Error::Shape`] if `out` has another length, [`crate::Error::NotFinite`] if `z` holds a NaN or an infinity.
pub fn row_norms_into<T: Real>(out: &mut [T], z: MatRef<'_, T>) -> Result<()> {
    T::row_norms(out, z)
}

/// The diagonal K(z, z) = |z|^2 / 2 of the Gram matrix of the rows of `z` (N x D) into `out` (N entries).
///
/// # Errors
/// As for [`row_norms_into`].
pub fn diagonal_into<T: Real>(out: &mut [T], z: MatRef<'_, T>) -> Result<()> {
    T::diagonal(out, z)
}

impl<T: Real> KernelProduct<T> {
    /// The Gram matrix of the rows of `z` (N x D).
    ///
    /// # Errors
    /// [`crate::Error::NotFinite`] if `z` holds a NaN or an infinity, [`crate::Error::Setting`] if a norm is beyond the type's
    /// range, [`crate::Error::Memory`] if there is no memory for a copy.
    pub fn symmetric(level: Level, z: MatRef<'_, T>) -> Result<Self> {
        T::symmetric_product(level, z)
    }

    /// The kernel of the rows of `z1` (N1 x D) with those of `z2` (N2 x D), N1 x N2.
    ///
    /// # Errors
    /// As for [`KernelProduct::symmetric`], and [`crate::Error::Shape`] if the samples differ in dimension.
    pub fn cross(level: Level, z1: MatRef<'_, T>, z2: MatRef<'_, T>) -> Result<Self> {
        T::cross_product(level, z1, z2)
    }

    /// `out = K v`, with `v` N2 x c and `out` N1 x c, any strides. The result does not depend on the number of workers.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the shapes do not fit, [`crate::Error::NotFinite`] if `v` holds a NaN or an infinity,
    /// [`crate::Error::Memory`] if there is no memory for a copy of `v` and `out`.
    pub fn apply_into(&self, out: MatMut<'_, T>, v: MatRef<'_, T>, workspace: &mut ProductWorkspace<T>) -> Result<()> {
        T::apply_kernel(self, out, v, workspace)
    }

    /// Rows `rows` of `K v` into `out` (`rows.len()` x c), for callers who share the rows out: `K v` of the whole range does
    /// half as much work when K is symmetric. The two agree to rounding.
    ///
    /// # Errors
    /// As for [`KernelProduct::apply_into`], and [`crate::Error::Setting`] if the range does not lie within the rows.
    pub fn apply_rows_into(
        &self,
        out: MatMut<'_, T>,
        v: MatRef<'_, T>,
        rows: Range<usize>,
        workspace: &mut ProductWorkspace<T>,
    ) -> Result<()> {
        T::apply_kernel_rows(self, out, v, rows, workspace)
    }
}
