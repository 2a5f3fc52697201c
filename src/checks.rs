//! Checks of arguments that several modules make at their public functions.

use faer::MatRef;

use crate::kernels::Real;
use crate::{Error, Result};

/// [`Error::NotFinite`] naming the first NaN or infinity of a matrix.
pub(crate) fn check_finite<T: Real>(what: &'static str, matrix: MatRef<'_, T>) -> Result<()> {
    for column in 0..matrix.ncols() {
        for row in 0..matrix.nrows() {
            if !matrix[(row, column)].finite() {
                return Err(Error::NotFinite { what, row, column });
            }
        }
    }
    Ok(())
}
