//! One tile of the kernel matrix, from unit vectors to finished entries without leaving the registers.
//!
//! ```text
//! per micro-tile of R samples j (broadcast) and V vectors of samples i (lanes):
//!     C[j][lanes] = sum_k u_j[k] u_i[k][lanes]                    cosines, R V accumulators
//!     where |C| > 0.998: 1 - |C| <- |u_j -+ u_i|^2 / 2            rare
//!     K[j][lanes] = (C + |C| - sqrt(1 - |C|) |C| P(|C|)) * (|z_j| / 2 * |z_i| / 2)
//! ```
//! The cosine carries a rounding error of about one unit, which the angle magnifies by up to 1/sqrt(1 - c^2): nothing to speak
//! of below 0.998, half the digits at 1. There the squared distance of the unit vectors takes its place, whose subtractions are
//! exact. Every operation is symmetric in i and j, so entry (i, j) has the same bits as entry (j, i), wherever it is computed.

use super::samples::Block;
use crate::kernels::PANEL;
use crate::simd::{Lanes, Real, weighted_angles};

/// Cosines beyond this are near-duplicates or nearly opposite. At the threshold a rounding error of the cosine moves K by 2.5
/// times itself, times the norms.
const NEAR: f64 = 0.998;

/// Samples j in one tile, so that a row of it is 256 bytes and a tile of 64 samples i takes 16 KB, half of the smallest L1.
pub(super) const fn width<T>() -> usize {
    256 / size_of::<T>()
}

/// `acc[r][v] += sum_k b[k * b_step + r * b_row] * x[k * x_step + lanes v]`.
///
/// # Safety
/// - `b` is readable at `k * b_step + r * b_row` for `r < R`, `k < steps`.
/// - `x + k * x_step` is readable for `V` vectors, for `k < steps`.
#[inline(always)]
pub(super) unsafe fn accumulate<T: Real, S: Lanes, const R: usize, const V: usize>(
    s: S,
    steps: usize,
    (b, b_row, b_step): (*const T, usize, usize),
    (x, x_step): (*const T, usize),
    acc: &mut [[T::Vector<S>; V]; R],
) {
    let lanes = T::lanes::<S>();
    for k in 0..steps {
        // SAFETY: both operands are readable there by the contract above.
        unsafe {
            let (b, x) = (b.add(k * b_step), x.add(k * x_step));
            let mut xs = [T::vsplat(s, T::ZERO); V];
            for v in 0..V {
                xs[v] = T::vload(s, x.add(v * lanes));
            }
            for r in 0..R {
                let c = T::vsplat(s, *b.add(r * b_row));
                for v in 0..V {
                    acc[r][v] = T::vmul_add(s, c, xs[v], acc[r][v]);
                }
            }
        }
    }
}

/// Where a micro-tile lies: its samples j from `j` on, its samples i from `i` on.
#[derive(Clone, Copy)]
pub(super) struct Micro<'a, T> {
    pub left: Block<'a, T>,
    pub right: Block<'a, T>,
    pub i: usize,
    pub j: usize,
}

/// Writes K of `R` samples j with `V` vectors of samples i to `out`, rows of 64 values apart.
///
/// # Safety
/// - `at.j + R` and `at.i` plus V vectors are at most 64, and both blocks have the same dimension.
/// - `out` is writable for R rows, 64 apart, of V vectors.
#[inline(always)]
pub(super) unsafe fn micro_tile<T: Real, S: Lanes, const R: usize, const V: usize>(
    s: S,
    at: Micro<'_, T>,
    out: *mut T,
) {
    let lanes = T::lanes::<S>();
    let dimension = at.left.units.len();
    debug_assert!(at.j + R <= PANEL && at.i + V * lanes <= PANEL && at.right.units.len() == dimension);
    let mut c = [[T::vsplat(s, T::ZERO); V]; R];
    // SAFETY: samples j .. j + R and i .. i + V lanes lie within their blocks of 64.
    unsafe {
        let (ui, uj) = (at.left.units.as_ptr().cast::<T>().add(at.i), at.right.units.as_ptr().cast::<T>().add(at.j));
        accumulate::<T, S, R, V>(s, dimension, (uj, 1, PANEL), (ui, PANEL), &mut c);
        let (ni, nj) = (at.left.half_norms.0.as_ptr().add(at.i), at.right.half_norms.0.as_ptr().add(at.j));
        let mut largest = [T::vsplat(s, T::ZERO); V];
        for r in 0..R {
            for v in 0..V {
                largest[v] = T::vmax(s, largest[v], T::vabs(s, c[r][v]));
            }
        }
        for v in 1..V {
            largest[0] = T::vmax(s, largest[0], largest[v]);
        }
        if T::vbits(s, T::vge(s, largest[0], T::vsplat(s, T::from_f64(NEAR)))) == 0 {
            weighted_angles::<T, S, R, V>(s, &mut c, None);
            for r in 0..R {
                for v in 0..V {
                    let norms = T::vmul(s, T::vsplat(s, *nj.add(r)), T::vload(s, ni.add(v * lanes)));
                    T::vstore(s, out.add(r * PANEL + v * lanes), T::vmul(s, c[r][v], norms));
                }
            }
            return;
        }
        // Through memory, so that the loop below need not be unrolled.
        for r in 0..R {
            for v in 0..V {
                T::vstore(s, out.add(r * PANEL + v * lanes), c[r][v]);
            }
        }
        for r in 0..R {
            for v in 0..V {
                let (out, nj) = (out.add(r * PANEL + v * lanes), T::vsplat(s, *nj.add(r)));
                let (c, t) = refine(s, T::vload(s, out), dimension, uj.add(r), ui.add(v * lanes));
                let mut k = [[c]];
                weighted_angles::<T, S, 1, 1>(s, &mut k, Some(&[[t]]));
                T::vstore(s, out, T::vmul(s, k[0][0], T::vmul(s, nj, T::vload(s, ni.add(v * lanes)))));
            }
        }
    }
}

/// c and 1 - |c|, with the lanes near 1 recomputed from the distance of the unit vectors.
///
/// # Safety
/// - `uj` is readable and `ui` readable for one vector, at `dimension` places 64 apart.
#[inline(always)]
unsafe fn refine<T: Real, S: Lanes>(
    s: S,
    c: T::Vector<S>,
    dimension: usize,
    uj: *const T,
    ui: *const T,
) -> (T::Vector<S>, T::Vector<S>) {
    let one = T::vsplat(s, T::ONE);
    let a = T::vabs(s, c);
    let t = T::vsub(s, one, a);
    let near = T::vge(s, a, T::vsplat(s, T::from_f64(NEAR)));
    if T::vbits(s, near) == 0 {
        return (c, t);
    }
    let zero = T::vsplat(s, T::ZERO);
    let sign = T::vselect(s, T::vlt(s, c, zero), T::vsplat(s, -T::ONE), one);
    let mut squares = zero;
    for k in 0..dimension {
        // SAFETY: the caller's contract.
        let (x, y) = unsafe { (T::vsplat(s, *uj.add(k * PANEL)), T::vload(s, ui.add(k * PANEL))) };
        let difference = T::vneg_mul_add(s, sign, x, y);
        squares = T::vmul_add(s, difference, difference, squares);
    }
    let exact = T::vmul(s, T::vsplat(s, T::from_f64(0.5)), squares);
    let t = T::vselect(s, near, exact, t);
    let a = T::vselect(s, near, T::vsub(s, one, exact), a);
    (T::vselect(s, near, T::vmul(s, sign, a), c), t)
}
