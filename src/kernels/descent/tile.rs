//! The register tile that all four products of a gradient-descent step are made of.
//!
//! `acc[r][v] += sum_k b[r, k] * x[k][lanes v]`: one operand is broadcast value by value, the other read in vectors, and the
//! sum over `k` never crosses lanes. So the order of additions depends on neither the vector width nor the thread count.

use crate::kernels::PANEL;
use crate::simd::{Lanes, Real};

/// Where the broadcast operand of a tile lies.
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
pub(super) unsafe fn accumulate<T: Real, S: Lanes, const R: usize, const V: usize>(
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
            let x = x.add(k * PANEL);
            let b0 = b.start.add(k * b.step);
            let mut xs = [T::vsplat(s, T::ZERO); V];
            for v in 0..V {
                xs[v] = T::vload(s, x.add(v * lanes));
            }
            for r in 0..R {
                let c = T::vsplat(s, *b0.add(r * b.row));
                for v in 0..V {
                    acc[r][v] = T::vmul_add(s, c, xs[v], acc[r][v]);
                }
            }
        }
    }
}

/// Something done to a tile of `R` neighbouring rows.
pub(super) trait RowTile {
    /// Does it to rows `first .. first + R`.
    ///
    /// # Safety
    /// - Those rows exist.
    unsafe fn tile<const R: usize>(&mut self, first: usize);
}

/// Covers rows `0..rows` with tiles of `R` (at most 6) rows and one smaller tile for the rest.
///
/// # Safety
/// - Rows `0..rows` exist.
#[inline(always)]
pub(super) unsafe fn cover<const R: usize>(rows: usize, mut op: impl RowTile) {
    let whole = rows / R * R;
    // SAFETY: every tile lies within 0..rows.
    unsafe {
        for first in (0..whole).step_by(R) {
            op.tile::<R>(first);
        }
        match rows - whole {
            0 => {}
            1 => op.tile::<1>(whole),
            2 => op.tile::<2>(whole),
            3 => op.tile::<3>(whole),
            4 => op.tile::<4>(whole),
            5 => op.tile::<5>(whole),
            _ => unreachable!("tiles have at most six rows"),
        }
    }
}
