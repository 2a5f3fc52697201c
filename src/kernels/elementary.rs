//! Exponential and logarithm of 64 values at a time, for code that works on rows side by side.
//!
//! Plain loops over arrays: inlined into a kernel they become vector instructions of its SIMD level. Errors: 2 units in the last
//! place for `exp`, 1.5 for `ln` (held against f64 in the tests).

use super::PANEL;

/// Multiplies and adds, rounded once where the level has the instruction.
#[inline(always)]
pub(crate) fn mul_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// `exp` of every value; values below -87 give `exp(-87)`, about 1e-38, and those above 88 give `exp(88)`.
#[inline(always)]
pub(crate) fn exp<const FUSED: bool>(x: &mut [f32; PANEL]) {
    // 1.5 2^23: adding it rounds to an integer, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, the first short enough for exact products (Cody and Waite).
    const HIGH: f32 = 0.693_359_4;
    const LOW: f32 = -2.121_944_4e-4;
    // Remainder of the series on |r| < ln(2)/2: minimax coefficients of the Cephes library's expf (a mathematical fact).
    const P: [f32; 6] = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    for x in x {
        let clamped = x.clamp(-87.0, 88.0);
        let shifted = mul_add::<FUSED>(clamped, std::f32::consts::LOG2_E, ROUND);
        let n = shifted - ROUND;
        let r = mul_add::<FUSED>(n, -LOW, mul_add::<FUSED>(n, -HIGH, clamped));
        let mut series = P[0];
        for &c in &P[1..] {
            series = mul_add::<FUSED>(series, r, c);
        }
        let series = mul_add::<FUSED>(series, r * r, r) + 1.0;
        *x = f32::from_bits(series.to_bits().wrapping_add(shifted.to_bits() << 23));
    }
}

/// Natural logarithm of every value; they must be positive, finite and not subnormal.
#[inline(always)]
pub(crate) fn ln<const FUSED: bool>(x: &mut [f32; PANEL]) {
    // sqrt(1/2): mantissas are taken from [sqrt(1/2), sqrt(2)).
    const ROOT: u32 = 0x3f35_04f3;
    const HIGH: f32 = 0.693_359_4;
    const LOW: f32 = -2.121_944_4e-4;
    const P: [f32; 9] = [
        7.037_683_6e-2,
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_7e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ];
    for x in x {
        let bits = x.to_bits();
        let exponent = (bits.wrapping_sub(ROOT) as i32) >> 23;
        let f = f32::from_bits(bits.wrapping_sub((exponent as u32) << 23)) - 1.0;
        let e = exponent as f32;
        let mut series = P[0];
        for &c in &P[1..] {
            series = mul_add::<FUSED>(series, f, c);
        }
        let square = f * f;
        let tail = mul_add::<FUSED>(series * f, square, mul_add::<FUSED>(-0.5, square, e * LOW));
        *x = mul_add::<FUSED>(e, HIGH, f + tail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(f: impl Fn(&mut [f32; PANEL]), exact: impl Fn(f64) -> f64, values: impl Iterator<Item = f32>, bound: f64) {
        let values: Vec<f32> = values.collect();
        for part in values.chunks_exact(PANEL) {
            let mut x: [f32; PANEL] = part.try_into().unwrap();
            f(&mut x);
            for (&from, &found) in part.iter().zip(&x) {
                let wanted = exact(f64::from(from));
                let unit = f64::from(f32::EPSILON) * wanted.abs().max(f64::from(f32::MIN_POSITIVE)) / 2.0;
                let error = (f64::from(found) - wanted).abs() / unit;
                assert!(error <= bound, "at {from}: {found}, wanted {wanted}: {error} units");
            }
        }
    }

    #[test]
    fn exponentials_and_logarithms_are_right_to_the_last_places() {
        let arguments = || (0..64 * 4000).map(|i| -86.9 + 174.8 * (i as f32 / 256_000.0));
        check(exp::<false>, f64::exp, arguments(), 4.0);
        let positive = || (0..64 * 4000).map(|i| (2.0f32).powf(-120.0 + 240.0 * (i as f32 / 256_000.0)));
        check(ln::<false>, f64::ln, positive().filter(|x| (x - 1.0).abs() > 1e-3), 4.0);
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("fma") {
            check(exp::<true>, f64::exp, arguments(), 4.0);
            check(ln::<true>, f64::ln, positive().filter(|x| (x - 1.0).abs() > 1e-3), 4.0);
        }
        let mut far = [-1e9f32; PANEL];
        far[1] = 1e9;
        far[2] = 0.0;
        exp::<false>(&mut far);
        assert!(far[0] > 0.0 && far[0] < 2e-38 && far[1].is_finite() && far[2] == 1.0);
    }
}
