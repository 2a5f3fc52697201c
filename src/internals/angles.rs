//! The analytic kernel's last step on its own: what a program would do that has the inner products from a matrix product.

use crate::kernels::Real;
use crate::kernels::gram::arccos::weighted_angles;
use crate::simd::{Kernel, Lanes, Level};

/// Replaces cosines between a sample and others by entries of the kernel: `column` holds the cosines, `half_norms` half the norms of
/// the others, `half_norm` that of the sample.
pub fn finish_column<T: Real>(level: Level, column: &mut [T], half_norms: &[T], half_norm: T) {
    level.run(Angles { column, half_norms, half_norm });
}

struct Angles<'a, T> {
    column: &'a mut [T],
    half_norms: &'a [T],
    half_norm: T,
}

impl<T: Real> Kernel for Angles<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        let (lanes, one) = (T::lanes::<S>(), T::vsplat(s, T::ONE));
        let half = T::vsplat(s, self.half_norm);
        for (c, norms) in self.column.chunks_mut(lanes).zip(self.half_norms.chunks(lanes)) {
            // Whole vectors in place, the rest through a buffer.
            let (mut x, mut n) = ([T::ZERO; 16], [T::ZERO; 16]);
            x[..c.len()].copy_from_slice(c);
            n[..c.len()].copy_from_slice(norms);
            // SAFETY: no level has vectors of more than 16 values.
            unsafe {
                let v = T::vmin(s, T::vload(s, x.as_ptr()), one);
                let mut k = [[T::vmax(s, v, T::vsplat(s, -T::ONE))]];
                weighted_angles::<T, S, 1, 1>(s, &mut k, None);
                let norms = T::vmul(s, half, T::vload(s, n.as_ptr()));
                T::vstore(s, x.as_mut_ptr(), T::vmul(s, k[0][0], norms));
            }
            c.copy_from_slice(&x[..c.len()]);
        }
    }
}
