//! Norms of the samples.

use faer::MatRef;

use crate::kernels::panels::check_shape;
use crate::simd::Real;
use crate::{Error, Result};

/// Euclidean norms of the rows of `z` (N x D) into `out` (N entries), computed in f64 without overflow or underflow.
///
/// # Errors
/// [`Error::Shape`] if `out` has another length, [`Error::NotFinite`] if `z` holds a NaN or an infinity.
pub fn row_norms_into<T: Real>(out: &mut [T], z: MatRef<'_, T>) -> Result<()> {
    check_shape("the output", out.len(), 1, z.nrows(), 1)?;
    check_finite("the samples", z)?;
    for (i, out) in out.iter_mut().enumerate() {
        let row: Vec<f64> = (0..z.ncols()).map(|k| z[(i, k)].to_f64()).collect();
        let size = row.iter().fold(0.0, |m: f64, x| m.max(x.abs())).max(f64::MIN_POSITIVE);
        *out = T::from_f64(size * row.iter().map(|x| (x / size).powi(2)).sum::<f64>().sqrt());
    }
    Ok(())
}

/// The diagonal K(z, z) = |z|^2 / 2 of the Gram matrix of the rows of `z` (N x D) into `out` (N entries).
///
/// # Errors
/// As for [`row_norms_into`].
pub fn diagonal_into<T: Real>(out: &mut [T], z: MatRef<'_, T>) -> Result<()> {
    check_shape("the output", out.len(), 1, z.nrows(), 1)?;
    check_finite("the samples", z)?;
    for (i, out) in out.iter_mut().enumerate() {
        *out = T::from_f64((0..z.ncols()).map(|k| z[(i, k)].to_f64().powi(2)).sum::<f64>() / 2.0);
    }
    Ok(())
}

/// [`Error::NotFinite`] if there is a NaN or an infinity.
pub(super) fn check_finite<T: Real>(what: &'static str, z: MatRef<'_, T>) -> Result<()> {
    for row in 0..z.nrows() {
        for column in 0..z.ncols() {
            if !z[(row, column)].finite() {
                return Err(Error::NotFinite { what, row, column });
            }
        }
    }
    Ok(())
}
