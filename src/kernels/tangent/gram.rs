//! The inner products that every entry of the tangent kernel is multiplied by.

use crate::kernels::outer::{Broadcast, accumulate};
use crate::kernels::{Lane64, PANEL};
use crate::simd::{Counts, Lanes, Scalar};

/// `out[r][lane] = scale * <b row first + r, x row lane>` for four rows and the first `lanes` lanes, of blocks of 64 rows.
///
/// # Panics
/// Unless `b` and `x` have the same number of columns, `first` is at most 60, `lanes` at most 64, and `out` has four lines.
#[inline(always)]
pub(super) fn inner_products<T: Scalar, S: Lanes>(
    s: S,
    b: &[Lane64<T>],
    first: usize,
    x: &[Lane64<T>],
    lanes: usize,
    scale: T,
    out: &mut [Lane64<T>],
) {
    assert!(b.len() == x.len() && first + 4 <= PANEL && lanes <= PANEL && out.len() == 4, "tile outside its operands");
    if S::REGISTER_COUNT >= 32 {
        tiled::<T, S, 4>(s, b, first, x, lanes, scale, out);
    } else {
        tiled::<T, S, 2>(s, b, first, x, lanes, scale, out);
    }
}

#[inline(always)]
fn tiled<T: Scalar, S: Lanes, const V: usize>(
    s: S,
    b: &[Lane64<T>],
    first: usize,
    x: &[Lane64<T>],
    lanes: usize,
    scale: T,
    out: &mut [Lane64<T>],
) {
    let width = T::lanes::<S>();
    let scale = T::vsplat(s, scale);
    for lane in (0..lanes).step_by(V * width) {
        let mut acc = [[T::vsplat(s, T::ZERO); V]; 4];
        // SAFETY: rows first .. first + 4 and lanes lane .. lane + V width exist in every column, as V width divides 64.
        unsafe {
            let rows = Broadcast { start: b.as_ptr().cast::<T>().add(first), row: 1, step: PANEL };
            accumulate(s, x.len(), rows, x.as_ptr().cast::<T>().add(lane), &mut acc);
            for r in 0..4 {
                for v in 0..V {
                    T::vstore(s, out[r].0.as_mut_ptr().add(lane + v * width), T::vmul(s, acc[r][v], scale));
                }
            }
        }
    }
}

/// Multiplies four lines by their counts.
#[inline(always)]
pub(super) fn times_counts<T: Scalar>(lines: &mut [Lane64<T>], counts: &Counts) {
    for (line, counts) in lines.iter_mut().zip(&counts.0) {
        for lane in 0..PANEL {
            line.0[lane] *= T::from_f64(f64::from(counts[lane]));
        }
    }
}
