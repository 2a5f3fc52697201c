//! The arc cosine as the analytic kernel needs it: without a branch, a selection or a cancellation.
//!
//! With c the cosine, a = |c| and `acos(a) = pi/2 sqrt(1 - a) P(a)`,
//! `2 c (pi - acos(c)) / pi = (c + a) - sqrt(1 - a) a P(a)`
//! for either sign of c: the odd part c + a vanishes where c is negative, and what is left is small where the kernel is.
//!
//! P is the polynomial of least largest relative error on [0, 1], found by Remez exchange in 60 digits and rounded to the
//! type. The kernel is `|z| |z'| / 4` times the value above, so an error e of P moves it by at most 0.1 e.
//!
//! | type | degree | largest relative error of P | largest error of K / (abs(z) abs(z')) |
//! |---|---|---|---|
//! | f32 | 6 | 1.3e-7 | 1.2e-8 |
//! | f64 | 16 | 7.1e-16 | 6.1e-17 |

use super::{Lanes, Real};

/// Coefficients of P for f32, constant first.
pub(super) const SINGLE: [f32; 7] =
    [0.999_999_9, -0.136_609_23, 0.056_503_61, -0.031_068_694, 0.017_125_117, -0.007_095_981, 0.001_461_685_3];

/// Coefficients of P for f64, constant first.
pub(super) const DOUBLE: [f64; 17] = [
    0.9999999999999994,
    -0.136619772367223,
    0.05669011378026188,
    -0.03233570860205514,
    0.021442143380807535,
    -0.015516802600895033,
    0.011883992202911376,
    -0.009458309045675645,
    0.007698406201127044,
    -0.006260271916817387,
    0.004892791364804014,
    -0.003478099118227334,
    0.002105702876562872,
    -0.0010094924834520814,
    0.0003511544700005595,
    -7.765175821800804e-05,
    8.119773195612102e-06,
];

/// Replaces c by `2 c (pi - acos(c)) / pi`, for `R` times `V` vectors at once; `near`, where given, holds what is known of
/// `1 - |c|` better than by subtraction, which must not be negative.
///
/// Each step is a short loop of its own over all vectors: only then does the compiler keep them all in registers, and the
/// chains of dependent operations hide each other's latency.
#[inline(always)]
pub fn weighted_angles<T: Real, S: Lanes, const R: usize, const V: usize>(
    s: S,
    c: &mut [[T::Vector<S>; V]; R],
    near: Option<&[[T::Vector<S>; V]; R]>,
) {
    let one = T::vsplat(s, T::ONE);
    let (mut a, mut root) = (*c, *c);
    for r in 0..R {
        for v in 0..V {
            a[r][v] = T::vabs(s, c[r][v]);
            root[r][v] = T::vsub(s, one, a[r][v]);
        }
    }
    if let Some(near) = near {
        root = *near;
    }
    let coefficients = T::ARC_COSINE;
    let mut p = [[T::vsplat(s, coefficients[coefficients.len() - 1]); V]; R];
    for &coefficient in coefficients[..coefficients.len() - 1].iter().rev() {
        let coefficient = T::vsplat(s, coefficient);
        for r in 0..R {
            for v in 0..V {
                p[r][v] = T::vmul_add(s, p[r][v], a[r][v], coefficient);
            }
        }
    }
    for r in 0..R {
        for v in 0..V {
            p[r][v] = T::vmul(s, p[r][v], a[r][v]);
            root[r][v] = T::vsqrt(s, root[r][v]);
        }
    }
    for r in 0..R {
        for v in 0..V {
            c[r][v] = T::vneg_mul_add(s, p[r][v], root[r][v], T::vadd(s, c[r][v], a[r][v]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kernel, Level};
    use super::*;

    struct Profile<T>(Vec<T>);

    impl<T: Real> Kernel for Profile<T> {
        type Output = Vec<T>;

        #[inline(always)]
        fn run<S: Lanes>(self, s: S) -> Vec<T> {
            let mut out = vec![T::ZERO; self.0.len()];
            let lanes = T::lanes::<S>();
            for (out, c) in out.chunks_exact_mut(lanes).zip(self.0.chunks_exact(lanes)) {
                // SAFETY: both chunks hold one vector.
                unsafe {
                    let mut c = [[T::vload(s, c.as_ptr())]];
                    weighted_angles::<T, S, 1, 1>(s, &mut c, None);
                    T::vstore(s, out.as_mut_ptr(), c[0][0]);
                }
            }
            out
        }
    }

    fn check<T: Real>(tolerance: f64) {
        let n = 1 << 14;
        let cosines: Vec<T> = (0..n).map(|i| T::from_f64(2.0 * i as f64 / (n - 1) as f64 - 1.0)).collect();
        for level in Level::available() {
            for (c, found) in cosines.iter().zip(level.run(Profile(cosines.clone()))) {
                let c = c.to_f64();
                // pi - acos(c) without cancellation at either end
                let supplement = 2.0 * (1.0 + c).sqrt().atan2((1.0 - c).sqrt());
                let expected = 2.0 * c * supplement / std::f64::consts::PI;
                let error = (found.to_f64() - expected).abs();
                assert!(error <= tolerance, "{} at {level}, c = {c}: {error:e}", T::NAME);
            }
        }
    }

    #[test]
    fn both_signs_are_accurate_over_the_whole_range() {
        check::<f32>(3e-7);
        check::<f64>(9e-16);
    }
}
