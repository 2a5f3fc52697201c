//! Chosen blocks H^{ik} of the finite-width tangent kernel, each into memory of the caller's.

use faer::{MatMut, Par};

use super::entry::block_with;
use super::{TangentKernel, Workspace, check_outputs, check_sides};
use crate::Result;
use crate::kernels::Panels;
use crate::kernels::panels::check_shape;
use crate::kernels::real::Real;
use crate::simd::Popcount;

/// Blocks H^{ik} (N1 x N2 each) between two sets of samples, for instance those of the diagonal or of one output with all
/// others: each with its outputs `(i, k)` and where it goes.
///
/// The blocks `i = k` are one and the same, and (k, i) is (i, k); what occurs again is copied.
///
/// # Errors
/// As for [`block_with`]; the content of the blocks is then unspecified.
pub fn blocks_with<T: Real>(
    count: Popcount,
    blocks: &mut [((usize, usize), MatMut<'_, T>)],
    kernel: TangentKernel<'_, T>,
    workspace: &mut Workspace<T>,
    par: Par,
) -> Result<()> {
    let TangentKernel { a, rows, columns } = kernel;
    check_sides(a, rows, columns)?;
    each(blocks, a, (rows.samples(), columns.samples()), |out, outputs| {
        block_with(count, out, outputs, kernel, workspace, par)
    })
}

/// Computes each block that has not occurred, and copies those that have.
fn each<T: Real>(
    blocks: &mut [((usize, usize), MatMut<'_, T>)],
    a: &Panels<T>,
    (rows, columns): (usize, usize),
    mut compute: impl FnMut(MatMut<'_, T>, (usize, usize)) -> Result<()>,
) -> Result<()> {
    for (outputs, out) in blocks.iter() {
        check_outputs(a, [outputs.0, outputs.1])?;
        check_shape("the output", out.nrows(), out.ncols(), rows, columns)?;
    }
    for n in 0..blocks.len() {
        let (before, rest) = blocks.split_at_mut(n);
        let (outputs, out) = &mut rest[0];
        let (i, k) = *outputs;
        let same = |other: (usize, usize)| other == (i, k) || other == (k, i) || (other.0 == other.1 && i == k);
        match before.iter().find(|(other, _)| same(*other)) {
            Some((_, done)) => out.copy_from(done.as_ref()),
            None => compute(out.as_mut(), (i, k))?,
        }
    }
    Ok(())
}
