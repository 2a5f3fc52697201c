//! Multiplying by the whole finite-width tangent kernel without forming it.
//!
//! H = J J^T with J the Jacobian of the outputs by the weights, so `H vec(V) = J (J^T vec(V))`: a backward pass to a matrix G of
//! the shape of the weights, and a forward pass with G in place of the weights and the activations frozen.

use faer::Par;

use super::{Features, check_outputs, check_sides, reference};
use crate::Result;
use crate::kernels::Panels;
use crate::simd::{Level, Real};

/// Buffers of the matrix-free product: made empty, grown by the calls, kept between them.
#[derive(Debug, Clone, Default)]
pub struct ProductWorkspace<T> {
    unused: Vec<T>,
}

impl<T: Real> ProductWorkspace<T> {
    /// Empty buffers.
    pub fn new() -> Self {
        Self { unused: Vec::new() }
    }
}

/// [`product_with`] at the current level.
///
/// # Errors
/// As for [`product_with`].
pub fn product_into<T: Real>(
    out: &mut Panels<T>,
    v: &Panels<T>,
    a: &Panels<T>,
    rows: Features<'_, T>,
    columns: Features<'_, T>,
    workspace: &mut ProductWorkspace<T>,
    par: Par,
) -> Result<()> {
    product_with(Level::current(), out, v, a, rows, columns, workspace, par)
}

/// `out = H vec(V)` (N1 x d) for `v` (N2 x d), H the whole kernel between two sets of samples (the same one twice for the
/// training dynamics) and `a` (m x d) the output signs: `out_ji = sum_kl H^{ik}_{jl} V_lk`, in O((N1 + N2) m (D + d))
/// operations.
///
/// # Errors
/// [`crate::Error::Shape`] if the shapes do not fit together, [`crate::Error::Setting`] if a sign is not +-1,
/// [`crate::Error::Empty`] without neurons.
#[allow(clippy::too_many_arguments)] // the arguments of the formula
pub fn product_with<T: Real>(
    _level: Level,
    out: &mut Panels<T>,
    v: &Panels<T>,
    a: &Panels<T>,
    rows: Features<'_, T>,
    columns: Features<'_, T>,
    _workspace: &mut ProductWorkspace<T>,
    _par: Par,
) -> Result<()> {
    check_sides(a, rows, columns)?;
    check_outputs(a, 0..a.columns())?;
    v.expect_shape("the vector to multiply", columns.samples(), a.columns())?;
    out.expect_shape("the output", rows.samples(), a.columns())?;
    let [za, zb] = [rows.z.to_matrix(), columns.z.to_matrix()];
    let product = reference::product(
        v.to_matrix().as_ref(),
        a.to_matrix().as_ref(),
        (rows.patterns, za.as_ref()),
        (columns.patterns, zb.as_ref()),
    );
    for i in 0..product.ncols() {
        for j in 0..product.nrows() {
            out.set(j, i, T::from_f64(product[(j, i)]));
        }
    }
    Ok(())
}
