//! One block H^{ik} of the finite-width tangent kernel.

use faer::{MatMut, Par};

use super::{Features, Workspace, check_outputs, check_sides, reference};
use crate::Result;
use crate::kernels::Panels;
use crate::kernels::panels::check_shape;
use crate::simd::{Popcount, Real};

/// [`block_with`] at the current level.
///
/// # Errors
/// As for [`block_with`].
pub fn block_into<T: Real>(
    out: MatMut<'_, T>,
    outputs: (usize, usize),
    a: &Panels<T>,
    rows: Features<'_, T>,
    columns: Features<'_, T>,
    workspace: &mut Workspace<T>,
    par: Par,
) -> Result<()> {
    block_with(Popcount::current(), out, outputs, a, rows, columns, workspace, par)
}

/// Block H^{ik} (N1 x N2), `(i, k) = outputs`, between two sets of samples, for instance test against training; `a` (m x d)
/// holds the output signs.
///
/// # Errors
/// [`crate::Error::Shape`] if the shapes do not fit together, [`crate::Error::Setting`] if there is no such output or a sign is
/// not +-1, [`crate::Error::Empty`] without neurons.
#[allow(clippy::too_many_arguments)] // the arguments of the formula
pub fn block_with<T: Real>(
    _count: Popcount,
    mut out: MatMut<'_, T>,
    (i, k): (usize, usize),
    a: &Panels<T>,
    rows: Features<'_, T>,
    columns: Features<'_, T>,
    _workspace: &mut Workspace<T>,
    _par: Par,
) -> Result<()> {
    check_sides(a, rows, columns)?;
    check_outputs(a, [i, k])?;
    check_shape("the output", out.nrows(), out.ncols(), rows.samples(), columns.samples())?;
    let [za, zb] = [rows.z.to_matrix(), columns.z.to_matrix()];
    let h =
        reference::block(a.to_matrix().as_ref(), (i, k), (rows.patterns, za.as_ref()), (columns.patterns, zb.as_ref()));
    for l in 0..h.ncols() {
        for j in 0..h.nrows() {
            out[(j, l)] = T::from_f64(h[(j, l)]);
        }
    }
    Ok(())
}

/// [`symmetric_block_with`] at the current level.
///
/// # Errors
/// As for [`symmetric_block_with`].
pub fn symmetric_block_into<T: Real>(
    out: MatMut<'_, T>,
    outputs: (usize, usize),
    a: &Panels<T>,
    samples: Features<'_, T>,
    workspace: &mut Workspace<T>,
    par: Par,
) -> Result<()> {
    symmetric_block_with(Popcount::current(), out, outputs, a, samples, workspace, par)
}

/// Block H^{ik} (N x N), `(i, k) = outputs`, of a set of samples against itself. It is symmetric whatever i and k are, so half
/// of it is computed, and mirrored.
///
/// # Errors
/// As for [`block_with`].
pub fn symmetric_block_with<T: Real>(
    count: Popcount,
    out: MatMut<'_, T>,
    outputs: (usize, usize),
    a: &Panels<T>,
    samples: Features<'_, T>,
    workspace: &mut Workspace<T>,
    par: Par,
) -> Result<()> {
    block_with(count, out, outputs, a, samples, samples, workspace, par)
}
