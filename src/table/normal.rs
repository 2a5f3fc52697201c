//! The standard normal distribution function and its inverse, to the accuracy of double precision.
//!
//! The distribution function follows W. J. Cody, "Rational Chebyshev approximations for the error function" (Mathematics
//! of Computation 23, 1969), in the form for the normal integral of his SPECFUN collection (ACM TOMS algorithm 715); its
//! relative error is about 1e-15 down to the smallest results. The inverse is M. J. Wichura's algorithm AS 241 (Applied
//! Statistics 37, 1988): PPND16 in double precision, PPND7 where seven digits do.

use std::f64::consts::PI;

/// Phi(z): the probability that a standard normal variable is at most `z`.
pub fn normal_cdf(z: f64) -> f64 {
    if z.is_nan() {
        return f64::NAN;
    }
    let size = z.abs();
    if size > 40.0 {
        return if z > 0.0 { 1.0 } else { 0.0 }; // below the smallest double, infinities included
    }
    if size <= 0.66291 {
        return 0.5 + centre(z);
    }
    let tail = upper_tail(size);
    if z > 0.0 { 1.0 - tail } else { tail }
}

/// Phi(z) - 1/2 for |z| <= 0.66291.
fn centre(z: f64) -> f64 {
    const A: [f64; 5] = [
        0.065_682_337_918_207_45,
        2.235_252_035_460_683_7,
        161.028_231_068_555_87,
        1_067.689_485_460_370_9,
        18_154.981_253_343_56,
    ];
    const B: [f64; 5] =
        [1.0, 47.202_581_904_688_245, 976.098_551_737_776_7, 10_260.932_208_618_979, 45_507.789_335_026_73];
    let square = z * z;
    z * polynomial(&A, square) / polynomial(&B, square)
}

/// 1 - Phi(z) for z > 0.66291.
fn upper_tail(z: f64) -> f64 {
    const C: [f64; 9] = [
        1.076_557_677_372_019_2e-8,
        0.398_941_512_088_134_66,
        8.883_149_794_388_377,
        93.506_656_132_177_85,
        597.270_276_394_800_2,
        2_494.537_585_290_372_6,
        6_848.190_450_536_283,
        11_602.651_437_647_35,
        9_842.714_838_383_978,
    ];
    const D: [f64; 9] = [
        1.0,
        22.266_688_044_328_117,
        235.387_901_782_625,
        1_519.377_599_407_554_7,
        6_485.558_298_266_761,
        18_615.571_640_885_097,
        34_900.952_721_145_98,
        38_912.003_286_093_27,
        19_685.429_676_859_992,
    ];
    const P: [f64; 6] = [
        0.023_073_441_764_940_174,
        0.215_898_534_057_957,
        0.127_401_161_160_247_36,
        0.022_235_277_870_649_807,
        0.001_421_619_193_227_893_4,
        2.911_287_495_116_879_3e-5,
    ];
    const Q: [f64; 6] = [
        1.0,
        1.284_260_096_144_911,
        0.468_238_212_480_865_1,
        0.065_988_137_868_928_56,
        0.003_782_396_332_027_582_4,
        7.297_515_550_839_662e-5,
    ];
    let ratio = if z <= 5.656_854_249_492_381 {
        polynomial(&C, z) / polynomial(&D, z)
    } else {
        let inverse = 1.0 / (z * z);
        let correction = inverse * polynomial(&P, inverse) / polynomial(&Q, inverse);
        (1.0 / (2.0 * PI).sqrt() - correction) / z
    };
    // exp(-z^2/2) in two factors: the first exponent is exact in double precision, the second is small.
    let coarse = (z * 16.0).trunc() / 16.0;
    let rest = (z - coarse) * (z + coarse);
    (-0.5 * coarse * coarse).exp() * (-0.5 * rest).exp() * ratio
}

/// Phi^-1(p): the value below which a standard normal variable lies with probability `p`.
///
/// Minus and plus infinity at 0 and 1, NaN outside.
pub fn normal_quantile(p: f64) -> f64 {
    const CENTRE_TOP: [f64; 8] = [
        2_509.080_928_730_122_7,
        33_430.575_583_588_13,
        67_265.770_927_008_7,
        45_921.953_931_549_87,
        13_731.693_765_509_46,
        1_971.590_950_306_551_3,
        133.141_667_891_784_38,
        3.387_132_872_796_366_5,
    ];
    const CENTRE_BOTTOM: [f64; 8] = [
        5_226.495_278_852_854,
        28_729.085_735_721_943,
        39_307.895_800_092_71,
        21_213.794_301_586_597,
        5_394.196_021_424_751,
        687.187_007_492_057_9,
        42.313_330_701_600_91,
        1.0,
    ];
    const MIDDLE_TOP: [f64; 8] = [
        0.000_774_545_014_278_341_4,
        0.022_723_844_989_269_184,
        0.241_780_725_177_450_6,
        1.270_458_252_452_368_4,
        3.647_848_324_763_204_5,
        5.769_497_221_460_691,
        4.630_337_846_156_546,
        1.423_437_110_749_683_5,
    ];
    const MIDDLE_BOTTOM: [f64; 8] = [
        1.050_750_071_644_416_9e-9,
        0.000_547_593_808_499_534_5,
        0.015_198_666_563_616_457,
        0.148_103_976_427_480_08,
        0.689_767_334_985_1,
        1.676_384_830_183_803_8,
        2.053_191_626_637_759,
        1.0,
    ];
    const FAR_TOP: [f64; 8] = [
        2.010_334_399_292_288_1e-7,
        2.711_555_568_743_487_6e-5,
        0.001_242_660_947_388_078_4,
        0.026_532_189_526_576_124,
        0.296_560_571_828_504_87,
        1.784_826_539_917_291_3,
        5.463_784_911_164_114,
        6.657_904_643_501_103,
    ];
    const FAR_BOTTOM: [f64; 8] = [
        2.044_263_103_389_939_7e-15,
        1.421_511_758_316_446e-7,
        1.846_318_317_510_054_8e-5,
        0.000_786_869_131_145_613_3,
        0.014_875_361_290_850_615,
        0.136_929_880_922_735_8,
        0.599_832_206_555_888,
        1.0,
    ];
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    let offset = p - 0.5;
    if offset.abs() <= 0.425 {
        let r = 0.180_625 - offset * offset;
        return offset * polynomial(&CENTRE_TOP, r) / polynomial(&CENTRE_BOTTOM, r);
    }
    let tail = if offset < 0.0 { p } else { 1.0 - p };
    if tail == 0.0 {
        return f64::INFINITY.copysign(offset);
    }
    let r = (-tail.ln()).sqrt();
    let size = if r <= 5.0 {
        polynomial(&MIDDLE_TOP, r - 1.6) / polynomial(&MIDDLE_BOTTOM, r - 1.6)
    } else {
        polynomial(&FAR_TOP, r - 5.0) / polynomial(&FAR_BOTTOM, r - 5.0)
    };
    size.copysign(offset)
}

/// [`normal_quantile`] to about seven digits, for drawing training inputs; `p` strictly between 0 and 1.
pub fn normal_quantile_fast(p: f64) -> f64 {
    const CENTRE_TOP: [f64; 4] = [59.109_374_72, 159.291_132_02, 50.434_271_938, 3.387_132_717_9];
    const CENTRE_BOTTOM: [f64; 4] = [67.187_563_6, 78.757_757_664, 17.895_169_469, 1.0];
    const MIDDLE_TOP: [f64; 4] = [0.170_238_211_03, 1.306_728_481_6, 2.756_815_39, 1.423_437_277_7];
    const MIDDLE_BOTTOM: [f64; 3] = [0.120_211_329_75, 0.737_001_642_5, 1.0];
    const FAR_TOP: [f64; 4] = [0.017_337_203_997, 0.428_682_943_37, 3.081_226_386, 6.657_905_115];
    const FAR_BOTTOM: [f64; 3] = [0.012_258_202_635, 0.241_978_942_25, 1.0];
    let offset = p - 0.5;
    if offset.abs() <= 0.425 {
        let r = 0.180_625 - offset * offset;
        return offset * polynomial(&CENTRE_TOP, r) / polynomial(&CENTRE_BOTTOM, r);
    }
    let tail = if offset < 0.0 { p } else { 1.0 - p };
    let r = (-tail.ln()).sqrt();
    let size = if r <= 5.0 {
        polynomial(&MIDDLE_TOP, r - 1.6) / polynomial(&MIDDLE_BOTTOM, r - 1.6)
    } else {
        polynomial(&FAR_TOP, r - 5.0) / polynomial(&FAR_BOTTOM, r - 5.0)
    };
    size.copysign(offset)
}

/// Horner's rule; the highest power comes first.
#[inline(always)]
fn polynomial<const TERMS: usize>(coefficients: &[f64; TERMS], x: f64) -> f64 {
    coefficients.iter().fold(0.0, |sum, &coefficient| sum * x + coefficient)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Reference values from SciPy's ndtr and ndtri.
    const CDF: [(f64, f64); 13] = [
        (-37.5, 4.605353009581954e-308),
        (-20.25, 1.77619986494957e-91),
        (-8.1, 2.747959392398221e-16),
        (-5.7, 5.99037140106353e-09),
        (-3.3, 0.00048342414238377744),
        (-1.96, 0.024997895148220435),
        (-0.7, 0.24196365222307303),
        (-0.3, 0.3820885778110474),
        (0.1, 0.539827837277029),
        (0.66, 0.7453730853286639),
        (1.5, 0.9331927987311419),
        (4.4, 0.9999945874560923),
        (6.5, 0.99999999995984),
    ];
    const QUANTILE: [(f64, f64); 12] = [
        (1e-300, -37.0470962993612),
        (1e-50, -14.933337534788487),
        (1e-12, -7.034483825301131),
        (1.8518518518518518e-05, -4.125226318998223),
        (0.01, -2.3263478740408408),
        (0.07, -1.4757910281791706),
        (0.2, -0.8416212335729142),
        (0.5, 0.0),
        (0.6, 0.2533471031357997),
        (0.93, 1.475791028179171),
        (0.999, 3.090232306167813),
        (0.9999999, 5.199337582290661),
    ];

    #[test]
    fn distribution_function_is_accurate_in_both_tails() {
        for (z, expected) in CDF {
            let error = (normal_cdf(z) / expected - 1.0).abs();
            assert!(error < 4e-15, "Phi({z}) is off by {error:e}");
        }
        assert_eq!(normal_cdf(f64::NEG_INFINITY), 0.0);
        assert_eq!(normal_cdf(f64::INFINITY), 1.0);
        assert!(normal_cdf(f64::NAN).is_nan());
    }

    #[test]
    fn quantile_is_accurate() {
        for (p, expected) in QUANTILE {
            let error = (normal_quantile(p) - expected).abs() / expected.abs().max(1.0);
            assert!(error < 2e-15, "the quantile at {p} is off by {error:e}");
            if p >= 1e-12 {
                let fast = (normal_quantile_fast(p) - expected).abs() / expected.abs().max(1.0);
                assert!(fast < 3e-7, "the fast quantile at {p} is off by {fast:e}");
            }
        }
        assert_eq!(normal_quantile(0.0), f64::NEG_INFINITY);
        assert_eq!(normal_quantile(1.0), f64::INFINITY);
        assert!(normal_quantile(-0.1).is_nan() && normal_quantile(1.1).is_nan());
    }

    #[test]
    fn the_two_are_inverse_and_the_fast_one_follows() {
        for step in 1..20_000 {
            let p = f64::from(step) / 20_000.0;
            let z = normal_quantile(p);
            assert!((normal_cdf(z) - p).abs() < 4e-16 * (1.0 + z * z), "at {p}");
            assert!((normal_quantile_fast(p) - z).abs() < 3e-7 * z.abs().max(1.0), "at {p}");
        }
    }
}
