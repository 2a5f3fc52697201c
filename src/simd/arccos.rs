//! The arc cosine as the analytic kernel needs it: without a cancellation, in two ways.
//!
//! # For any angle
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
//!
//! # Mostly for wide angles
//!
//! In many dimensions cosines are small, and the square root is wasted on them. With `asin(x) = pi/2 x Q(x^2)`, the same is
//!
//! ```text
//! c + c^2 Q(c^2)                  wide angles: a below T
//! (c + a) - 2 a s Q(s^2)          the others:  s = sqrt((1 - a) / 2), the sine of half the angle
//! ```
//! Which of the two a pair takes depends on its own cosine alone. Q is found as P is, on [0, T^2], which holds `s^2` as well. A
//! larger T asks for a higher degree, a smaller one for more square roots.
//!
//! | type | T | degree | largest relative error of Q | largest error of K / (abs(z) abs(z')) |
//! |---|---|---|---|---|
//! | f32 | 0.65 | 5 | 2.3e-7 | 1.9e-8 |
//! | f64 | 0.6 | 13 | 4.6e-16 | 4.1e-17 |

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

/// Q and where its angles are wide.
#[derive(Debug, Clone, Copy)]
pub struct ArcSine<T: 'static> {
    /// T: angles with `|cos|` below it are wide.
    pub wide: T,
    /// Its coefficients, constant first.
    pub coefficients: &'static [T],
}

/// Q for f32.
pub(super) const SINGLE_SINE: ArcSine<f32> = ArcSine {
    wide: 0.65,
    coefficients: &[0.636_619_6, 0.106_123_36, 0.047_226_064, 0.033_264_34, -0.000_200_745_66, 0.046_753_008],
};

/// Q for f64.
#[allow(clippy::approx_constant)] // the first is Q's best, not 2/pi
pub(super) const DOUBLE_SINE: ArcSine<f64> = ArcSine {
    wide: 0.6,
    coefficients: &[
        0.636619772367581,
        0.10610329539486661,
        0.04774648287995704,
        0.028420528857169995,
        0.01934162711757167,
        0.014245135873055996,
        0.011011254553143274,
        0.009226828051890987,
        0.005172794924718723,
        0.016043352897855304,
        -0.025100375870460497,
        0.06715680254143426,
        -0.07415178466367066,
        0.051667991808961575,
    ],
};

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
    let mut p = polynomial::<T, S, R, V>(s, T::ARC_COSINE, &a);
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

/// A polynomial of every vector, its coefficients given constant first.
///
/// Each step is a short loop of its own over all vectors: only then do the chains of dependent operations hide each other's
/// latency.
#[inline(always)]
fn polynomial<T: Real, S: Lanes, const R: usize, const V: usize>(
    s: S,
    coefficients: &[T],
    x: &[[T::Vector<S>; V]; R],
) -> [[T::Vector<S>; V]; R] {
    let mut q = [[T::vsplat(s, coefficients[coefficients.len() - 1]); V]; R];
    for &coefficient in coefficients[..coefficients.len() - 1].iter().rev() {
        let coefficient = T::vsplat(s, coefficient);
        for r in 0..R {
            for v in 0..V {
                q[r][v] = T::vmul_add(s, q[r][v], x[r][v], coefficient);
            }
        }
    }
    q
}

/// Replaces c by `2 c (pi - acos(c)) / pi`, for `R` times `V` vectors of wide angles (all below [`ArcSine::wide`]).
#[inline(always)]
pub fn weighted_wide_angles<T: Real, S: Lanes, const R: usize, const V: usize>(s: S, c: &mut [[T::Vector<S>; V]; R]) {
    let mut x = *c;
    for r in 0..R {
        for v in 0..V {
            x[r][v] = T::vmul(s, c[r][v], c[r][v]);
        }
    }
    let q = polynomial::<T, S, R, V>(s, T::ARC_SINE.coefficients, &x);
    for r in 0..R {
        for v in 0..V {
            c[r][v] = T::vmul_add(s, q[r][v], x[r][v], c[r][v]);
        }
    }
}

/// Replaces c by `2 c (pi - acos(c)) / pi`, for `R` times `V` vectors of any angles, wide ones to the same bits as
/// [`weighted_wide_angles`]; `near`, where given, holds what is known of `1 - |c|` better than by subtraction, which must not be
/// negative.
#[inline(always)]
pub fn weighted_mixed_angles<T: Real, S: Lanes, const R: usize, const V: usize>(
    s: S,
    c: &mut [[T::Vector<S>; V]; R],
    near: Option<&[[T::Vector<S>; V]; R]>,
) {
    // No closures here: they would not be compiled for the level.
    let (zero, one, wide) = (T::vsplat(s, T::ZERO), T::vsplat(s, T::ONE), T::vsplat(s, T::ARC_SINE.wide));
    let (half, minus_two) = (T::vsplat(s, T::from_f64(0.5)), T::vsplat(s, T::from_f64(-2.0)));
    // value = base + factor Q(x)
    let (mut x, mut factor) = (*c, *c);
    for r in 0..R {
        for v in 0..V {
            let a = T::vabs(s, c[r][v]);
            let square = T::vmul(s, a, a);
            let versine = match near {
                Some(near) => near[r][v],
                None => T::vsub(s, one, a),
            };
            let sine_squared = T::vmul(s, half, versine);
            let narrow = T::vge(s, a, wide);
            let product = T::vmul(s, T::vmul(s, minus_two, a), T::vsqrt(s, sine_squared));
            x[r][v] = T::vselect(s, narrow, sine_squared, square);
            factor[r][v] = T::vselect(s, narrow, product, square);
            c[r][v] = T::vadd(s, c[r][v], T::vselect(s, narrow, a, zero));
        }
    }
    let q = polynomial::<T, S, R, V>(s, T::ARC_SINE.coefficients, &x);
    for r in 0..R {
        for v in 0..V {
            c[r][v] = T::vmul_add(s, q[r][v], factor[r][v], c[r][v]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kernel, Level};
    use super::*;

    #[derive(Clone, Copy, PartialEq)]
    enum Way {
        Any,
        Mixed,
        Wide,
    }

    struct Profile<T>(Vec<T>, Way);

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
                    match self.1 {
                        Way::Any => weighted_angles::<T, S, 1, 1>(s, &mut c, None),
                        Way::Mixed => weighted_mixed_angles::<T, S, 1, 1>(s, &mut c, None),
                        Way::Wide => weighted_wide_angles::<T, S, 1, 1>(s, &mut c),
                    }
                    T::vstore(s, out.as_mut_ptr(), c[0][0]);
                }
            }
            out
        }
    }

    fn check<T: Real>(way: Way, tolerance: f64) {
        let n = 1 << 14;
        let limit = if way == Way::Wide { T::ARC_SINE.wide.to_f64() * (1.0 - 1e-6) } else { 1.0 };
        let cosines: Vec<T> = (0..n).map(|i| T::from_f64(limit * (2.0 * i as f64 / (n - 1) as f64 - 1.0))).collect();
        for level in Level::available() {
            let found = level.run(Profile(cosines.clone(), way));
            if way == Way::Wide {
                assert!(found == level.run(Profile(cosines.clone(), Way::Mixed)), "{} at {level}", T::NAME);
            }
            for (c, found) in cosines.iter().zip(found) {
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
        for way in [Way::Any, Way::Mixed, Way::Wide] {
            check::<f32>(way, 3e-7);
            check::<f64>(way, 9e-16);
        }
    }
}
