//! A Gram matrix that owns its memory.

use faer::{Mat, MatMut, MatRef, Par};

use super::gram_into;
use crate::simd::Real;
use crate::{Error, Result};

/// An N x N matrix, column-major.
#[derive(Debug)]
pub struct GramMatrix<T> {
    values: Mat<T>,
}

impl<T: Real> GramMatrix<T> {
    /// The matrix.
    pub fn as_ref(&self) -> MatRef<'_, T> {
        self.values.as_ref()
    }

    /// The matrix, to be changed.
    pub fn as_mut(&mut self) -> MatMut<'_, T> {
        self.values.as_mut()
    }
}

/// The Gram matrix (N x N, both triangles) of the rows of `z` (N x D) in memory of its own.
///
/// # Errors
/// [`Error::Memory`] if N x N values do not fit in memory, [`Error::NotFinite`] if `z` holds a NaN or an infinity.
pub fn gram<T: Real>(z: MatRef<'_, T>, par: Par) -> Result<GramMatrix<T>> {
    let n = z.nrows();
    let bytes = (n as u128).pow(2) * size_of::<T>() as u128;
    if bytes > isize::MAX as u128 {
        return Err(Error::Memory { what: "the Gram matrix", bytes });
    }
    let mut values = Mat::zeros(n, n);
    gram_into(values.as_mut(), z, par)?;
    Ok(GramMatrix { values })
}
