//! The arc cosine as the analytic kernel needs it: without a cancellation, in two ways.
//!
//! # For any angle
//!
//! With c the cosine, a = |c| and `acos(a) = pi/2 sqrt(1 - a) P(a)`,
//! `2 c (pi - acos(c)) / pi = (c + a) - sqrt(1 - a) a P(a)`
//! for either sign of c: the odd part c + a vanishes where c is negative, and what is left is small where the kernel is.
//!
//! P is found on [0, 1] by Remez exchange in 50 digits or more and rounded to the type: of all polynomials, or quotients of
//! two, with these degrees it has the least largest relative error. A quotient makes do with half the degree of a polynomial,
//! because it can have poles where the arc cosine branches, at -1; the division is cheaper than what it saves, but in f32 not
//! beside the square root. The kernel is `|z| |z'| / 4` times the value above, so an error e of P moves it by at most 0.1 e.
//!
//! | type | degrees | largest relative error of P | largest error of K / (abs(z) abs(z')) |
//! |---|---|---|---|
//! | f32 | 6 | 1.3e-7 | 1.2e-8 |
//! | f64 | 6 / 5 | 1.2e-16 | 6.4e-18 |
//!
//! # Mostly for wide angles
//!
//! In many dimensions cosines are small, and the square root is wasted on them. With `asin(x) = pi/2 x Q(x^2)`, the same is
//!
//! ```text
//! c + c^2 Q(c^2)                  wide angles: a below T
//! (c + a) - 2 a s Q(s^2)          the others:  s = sqrt((1 - a) / 2), the sine of half the angle
//! ```
//! Which of the two a pair takes depends on its own cosine alone. Q is a quotient found as P is, on [0, T^2], which holds `s^2` as
//! well. A larger T asks for higher degrees, a smaller one for more square roots.
//!
//! | type | T | degrees | largest relative error of Q | largest error of K / (abs(z) abs(z')) |
//! |---|---|---|---|---|
//! | f32 | 0.72 | 2 / 2 | 2.7e-7 | 2.2e-8 |
//! | f64 | 0.66 | 5 / 5 | 3.4e-16 | 2.6e-17 |

use crate::simd::{Lanes, Scalar};

/// A quotient of two polynomials, or a polynomial.
#[derive(Debug, Clone, Copy)]
pub struct Quotient<T: 'static> {
    /// Coefficients of the numerator, constant first.
    pub numerator: &'static [T],
    /// Coefficients of the denominator, constant first, without the leading one, which is 1; none for a polynomial.
    pub denominator: &'static [T],
}

/// P for f32.
const SINGLE: Quotient<f32> = Quotient {
    numerator: &[
        0.999_999_9,
        -0.136_609_23,
        0.056_503_61,
        -0.031_068_694,
        0.017_125_117,
        -0.007_095_981,
        0.001_461_685_3,
    ],
    denominator: &[],
};

/// P for f64.
const DOUBLE: Quotient<f64> = Quotient {
    numerator: &[
        208.74310922096467,
        465.999286292223,
        363.68937797351145,
        117.42907062440162,
        14.145141273421086,
        0.3798145505857083,
        -0.0021395491610348497,
    ],
    denominator: &[208.74310922096467, 494.5177223572872, 419.41660601395296, 153.44526254298617, 22.84669882182347],
};

/// Q and where its angles are wide.
#[derive(Debug, Clone, Copy)]
pub struct ArcSine<T: 'static> {
    /// T: angles with `|cos|` below it are wide.
    pub wide: T,
    /// Q itself.
    pub quotient: Quotient<T>,
}

/// Q for f32.
const SINGLE_SINE: ArcSine<f32> = ArcSine {
    wide: 0.72,
    quotient: Quotient { numerator: &[2.986_744_2, -2.663_656, 0.334_343_97], denominator: &[4.691_565_5, -4.965_905] },
};

/// Q for f64.
const DOUBLE_SINE: ArcSine<f64> = ArcSine {
    wide: 0.66,
    quotient: Quotient {
        numerator: &[
            -76.94044363946782,
            190.06231187842016,
            -166.260164509525,
            60.628725920469435,
            -8.088049879841485,
            0.20181636074099266,
        ],
        denominator: &[
            -120.8577662508458,
            318.6921424025679,
            -305.2118803015697,
            127.59755198754382,
            -21.63548029045759,
        ],
    },
};

/// A floating-point type with the quotients that its arc cosine takes.
pub trait ArcCosine: Scalar {
    /// P, see [`weighted_angles`].
    const ARC_COSINE: Quotient<Self>;
    /// Q, see [`weighted_mixed_angles`].
    const ARC_SINE: ArcSine<Self>;
}

impl ArcCosine for f32 {
    const ARC_COSINE: Quotient<f32> = SINGLE;
    const ARC_SINE: ArcSine<f32> = SINGLE_SINE;
}

impl ArcCosine for f64 {
    const ARC_COSINE: Quotient<f64> = DOUBLE;
    const ARC_SINE: ArcSine<f64> = DOUBLE_SINE;
}

/// Replaces c by `2 c (pi - acos(c)) / pi`, for `R` times `V` vectors at once; `near`, where given, holds what is known of
/// `1 - |c|` better than by subtraction, which must not be negative.
///
/// Each step is a short loop of its own over all vectors: only then does the compiler keep them all in registers, and the
/// chains of dependent operations hide each other's latency.
#[inline(always)]
pub fn weighted_angles<T: ArcCosine, S: Lanes, const R: usize, const V: usize>(
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
    let mut p = quotient::<T, S, R, V>(s, T::ARC_COSINE, &a);
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

/// A quotient of polynomials, of every vector.
#[inline(always)]
fn quotient<T: ArcCosine, S: Lanes, const R: usize, const V: usize>(
    s: S,
    of: Quotient<T>,
    x: &[[T::Vector<S>; V]; R],
) -> [[T::Vector<S>; V]; R] {
    let (top, bottom) = (of.numerator, of.denominator);
    let mut p = [[T::vsplat(s, top[top.len() - 1]); V]; R];
    horner::<T, S, R, V>(s, &top[..top.len() - 1], x, &mut p);
    if bottom.is_empty() {
        return p;
    }
    let (mut q, leading) = (*x, T::vsplat(s, bottom[bottom.len() - 1]));
    for r in 0..R {
        for v in 0..V {
            q[r][v] = T::vadd(s, x[r][v], leading);
        }
    }
    horner::<T, S, R, V>(s, &bottom[..bottom.len() - 1], x, &mut q);
    for r in 0..R {
        for v in 0..V {
            p[r][v] = T::vdiv(s, p[r][v], q[r][v]);
        }
    }
    p
}

/// Goes on with a polynomial of every vector, of which `p` holds the leading part, through the rest of its coefficients, given
/// constant first.
///
/// Each step is a short loop of its own over all vectors: only then do the chains of dependent operations hide each other's
/// latency.
#[inline(always)]
fn horner<T: ArcCosine, S: Lanes, const R: usize, const V: usize>(
    s: S,
    coefficients: &[T],
    x: &[[T::Vector<S>; V]; R],
    p: &mut [[T::Vector<S>; V]; R],
) {
    for &coefficient in coefficients.iter().rev() {
        let coefficient = T::vsplat(s, coefficient);
        for r in 0..R {
            for v in 0..V {
                p[r][v] = T::vmul_add(s, p[r][v], x[r][v], coefficient);
            }
        }
    }
}

/// Replaces c by `2 c (pi - acos(c)) / pi`, for `R` times `V` vectors of wide angles (all below [`ArcSine::wide`]).
#[inline(always)]
pub fn weighted_wide_angles<T: ArcCosine, S: Lanes, const R: usize, const V: usize>(
    s: S,
    c: &mut [[T::Vector<S>; V]; R],
) {
    let mut x = *c;
    for r in 0..R {
        for v in 0..V {
            x[r][v] = T::vmul(s, c[r][v], c[r][v]);
        }
    }
    let q = quotient::<T, S, R, V>(s, T::ARC_SINE.quotient, &x);
    for r in 0..R {
        for v in 0..V {
            c[r][v] = T::vmul_add(s, q[r][v], x[r][v], c[r][v]);
        }
    }
}

/// Replaces c by `2 c (pi - acos(c)) / pi`, for `R` times `V` vectors of any angles, wide ones to the same bits as
/// [`weighted_wide_angles`]; `versine` holds `1 - |c|`, or what is known of it better than by subtraction, which must not be
/// negative.
#[inline(always)]
pub fn weighted_mixed_angles<T: ArcCosine, S: Lanes, const R: usize, const V: usize>(
    s: S,
    c: &mut [[T::Vector<S>; V]; R],
    versine: &[[T::Vector<S>; V]; R],
) {
    // No closures here: they would not be compiled for the level.
    let (zero, wide) = (T::vsplat(s, T::ZERO), T::vsplat(s, T::ARC_SINE.wide));
    let (half, minus_two) = (T::vsplat(s, T::from_f64(0.5)), T::vsplat(s, T::from_f64(-2.0)));
    // value = base + factor Q(x)
    let (mut x, mut factor) = (*c, *c);
    for r in 0..R {
        for v in 0..V {
            let a = T::vabs(s, c[r][v]);
            let square = T::vmul(s, a, a);
            let sine_squared = T::vmul(s, half, versine[r][v]);
            let narrow = T::vge(s, a, wide);
            let product = T::vmul(s, T::vmul(s, minus_two, a), T::vsqrt(s, sine_squared));
            x[r][v] = T::vselect(s, narrow, sine_squared, square);
            factor[r][v] = T::vselect(s, narrow, product, square);
            c[r][v] = T::vadd(s, c[r][v], T::vselect(s, narrow, a, zero));
        }
    }
    let q = quotient::<T, S, R, V>(s, T::ARC_SINE.quotient, &x);
    for r in 0..R {
        for v in 0..V {
            c[r][v] = T::vmul_add(s, q[r][v], factor[r][v], c[r][v]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Kernel, Level};

    #[derive(Clone, Copy, PartialEq)]
    enum Way {
        Any,
        Mixed,
        Wide,
    }

    struct Profile<T>(Vec<T>, Way);

    impl<T: ArcCosine> Kernel for Profile<T> {
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
                        Way::Mixed => {
                            let versine = T::vsub(s, T::vsplat(s, T::ONE), T::vabs(s, c[0][0]));
                            weighted_mixed_angles::<T, S, 1, 1>(s, &mut c, &[[versine]]);
                        }
                        Way::Wide => weighted_wide_angles::<T, S, 1, 1>(s, &mut c),
                    }
                    T::vstore(s, out.as_mut_ptr(), c[0][0]);
                }
            }
            out
        }
    }

    fn check<T: ArcCosine>(way: Way, tolerance: f64) {
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
