//! The whole finite-width tangent kernel, all blocks at once.

use faer::{MatMut, Par};

use super::{Features, Workspace, block_with, check_outputs, check_sides};
use crate::Result;
use crate::kernels::Panels;
use crate::kernels::panels::check_shape;
use crate::simd::{Popcount, Real};

/// [`full_with`] at the current level.
///
/// # Errors
/// As for [`full_with`].
pub fn full_into<T: Real>(
    out: MatMut<'_, T>,
    a: &Panels<T>,
    rows: Features<'_, T>,
    columns: Features<'_, T>,
    workspace: &mut Workspace<T>,
    par: Par,
) -> Result<()> {
    full_with(Popcount::current(), out, a, rows, columns, workspace, par)
}

/// The whole kernel H (dN1 x dN2) between two sets of samples: row `i*N1 + j`, column `k*N2 + l`; `a` (m x d) holds the output
/// signs.
///
/// # Errors
/// [`crate::Error::Shape`] if the shapes do not fit together, [`crate::Error::Setting`] if a sign is not +-1,
/// [`crate::Error::Empty`] without neurons.
pub fn full_with<T: Real>(
    count: Popcount,
    mut out: MatMut<'_, T>,
    a: &Panels<T>,
    rows: Features<'_, T>,
    columns: Features<'_, T>,
    workspace: &mut Workspace<T>,
    par: Par,
) -> Result<()> {
    check_sides(a, rows, columns)?;
    check_outputs(a, 0..a.columns())?;
    let (n1, n2) = (rows.samples(), columns.samples());
    check_shape("the output", out.nrows(), out.ncols(), a.columns() * n1, a.columns() * n2)?;
    for i in 0..a.columns() {
        for k in 0..a.columns() {
            let block = out.as_mut().submatrix_mut(i * n1, k * n2, n1, n2);
            block_with(count, block, (i, k), a, rows, columns, workspace, par)?;
        }
    }
    Ok(())
}

/// [`symmetric_full_with`] at the current level.
///
/// # Errors
/// As for [`symmetric_full_with`].
pub fn symmetric_full_into<T: Real>(
    out: MatMut<'_, T>,
    a: &Panels<T>,
    samples: Features<'_, T>,
    workspace: &mut Workspace<T>,
    par: Par,
) -> Result<()> {
    symmetric_full_with(Popcount::current(), out, a, samples, workspace, par)
}

/// The whole kernel H (dN x dN) of a set of samples against itself: row `i*N + j`, column `k*N + l`.
///
/// # Errors
/// As for [`full_with`].
pub fn symmetric_full_with<T: Real>(
    count: Popcount,
    out: MatMut<'_, T>,
    a: &Panels<T>,
    samples: Features<'_, T>,
    workspace: &mut Workspace<T>,
    par: Par,
) -> Result<()> {
    full_with(count, out, a, samples, samples, workspace, par)
}
