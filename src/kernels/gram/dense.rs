//! Gram matrices into caller memory.

use std::ops::Range;

use faer::{MatMut, MatRef, Par};

use super::reference;
use super::samples::check_finite;
use crate::kernels::panels::check_shape;
use crate::simd::{Level, Real};
use crate::{Error, Result};

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
/// [`Error::Shape`] if `out` is not N x N, [`Error::NotFinite`] if `z` holds a NaN or an infinity.
pub fn gram_with<T: Real>(level: Level, mut out: MatMut<'_, T>, z: MatRef<'_, T>, par: Par) -> Result<()> {
    check_shape("the output", out.nrows(), out.ncols(), z.nrows(), z.nrows())?;
    check_finite("the samples", z)?;
    let _ = (level, par);
    fill(&mut out, z, z, |_, _| true);
    Ok(())
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
pub fn gram_lower_with<T: Real>(level: Level, mut out: MatMut<'_, T>, z: MatRef<'_, T>, par: Par) -> Result<()> {
    check_shape("the output", out.nrows(), out.ncols(), z.nrows(), z.nrows())?;
    check_finite("the samples", z)?;
    let _ = (level, par);
    fill(&mut out, z, z, |i, j| i >= j);
    Ok(())
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
/// As for [`gram_with`], and [`Error::Setting`] if the range does not lie within the samples.
pub fn gram_rows_with<T: Real>(
    level: Level,
    mut out: MatMut<'_, T>,
    z: MatRef<'_, T>,
    rows: Range<usize>,
    par: Par,
) -> Result<()> {
    check_rows(&rows, z.nrows())?;
    check_shape("the output", out.nrows(), out.ncols(), rows.len(), z.nrows())?;
    check_finite("the samples", z)?;
    let _ = (level, par);
    fill(&mut out, z.subrows(rows.start, rows.len()), z, |_, _| true);
    Ok(())
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
/// [`Error::Shape`] if `out` is not N1 x N2 or the samples differ in dimension, [`Error::NotFinite`] if either holds a NaN or
/// an infinity.
pub fn cross_gram_with<T: Real>(
    level: Level,
    mut out: MatMut<'_, T>,
    z1: MatRef<'_, T>,
    z2: MatRef<'_, T>,
    par: Par,
) -> Result<()> {
    check_shape("the second samples", z2.nrows(), z2.ncols(), z2.nrows(), z1.ncols())?;
    check_shape("the output", out.nrows(), out.ncols(), z1.nrows(), z2.nrows())?;
    check_finite("the first samples", z1)?;
    check_finite("the second samples", z2)?;
    let _ = (level, par);
    fill(&mut out, z1, z2, |_, _| true);
    Ok(())
}

fn fill<T: Real>(out: &mut MatMut<'_, T>, z1: MatRef<'_, T>, z2: MatRef<'_, T>, wanted: impl Fn(usize, usize) -> bool) {
    let row = |z: MatRef<'_, T>, i: usize| -> Vec<f64> { (0..z.ncols()).map(|k| z[(i, k)].to_f64()).collect() };
    for i in 0..z1.nrows() {
        let zi = row(z1, i);
        for j in (0..z2.nrows()).filter(|&j| wanted(i, j)) {
            out[(i, j)] = T::from_f64(reference::kernel(&zi, &row(z2, j)));
        }
    }
}

/// [`Error::Setting`] unless the range lies within `0..samples`.
pub(super) fn check_rows(rows: &Range<usize>, samples: usize) -> Result<()> {
    if rows.start <= rows.end && rows.end <= samples {
        return Ok(());
    }
    let value = format!("{}..{}", rows.start, rows.end);
    Err(Error::Setting { name: "the row range", value, requirement: "it must lie within the samples" })
}
