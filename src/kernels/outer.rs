//! The register tile that every product of the kernels is made of.
//!
//! `acc[r][v] += sum_k b[r, k] * x[k][lanes v]`: one operand is broadcast value by value, the other read in vectors, and the sum
//! over `k` never crosses lanes. So the order of additions depends on neither the vector width nor the thread count.

use super::PANEL;
use crate::simd::{Lanes, Scalar};

/// The broadcast operand of a tile.
#[derive(Clone, Copy)]
pub(super) struct Broadcast<T> {
    /// Entry (0, 0).
    pub start: *const T,
    /// Distance between rows of the tile.
    pub row: usize,
    /// Distance between steps of the sum.
    pub step: usize,
}

/// Adds `steps` outer products to the accumulators.
///
/// # Safety
/// - `b.start + r * b.row + k * b.step` is readable for `r < R`, `k < steps`.
/// - `x + k * PANEL` is readable for `V` vectors, for `k < steps`.
#[inline(always)]
pub(super) unsafe fn accumulate<T: Scalar, S: Lanes, const R: usize, const V: usize>(
    s: S,
    steps: usize,
    b: Broadcast<T>,
    x: *const T,
    acc: &mut [[T::Vector<S>; V]; R],
) {
    let lanes = T::lanes::<S>();
    for k in 0..steps {
        // SAFETY: both operands are readable there by the contract above.
        unsafe {
            let mut xs = [T::vsplat(s, T::ZERO); V];
            for v in 0..V {
                xs[v] = T::vload(s, x.add(k * PANEL + v * lanes));
            }
            for r in 0..R {
                let c = T::vsplat(s, *b.start.add(k * b.step + r * b.row));
                for v in 0..V {
                    acc[r][v] = T::vmul_add(s, c, xs[v], acc[r][v]);
                }
            }
        }
    }
}
