//! Transposing a square of values held in vectors, as many vectors as lanes.
//!
//! log2(lanes) rounds; each exchanges halves of ever larger groups between two vectors: first within 128 bits, then whole
//! 128-bit quarters.

use pulp::bytemuck::{Pod, cast_slice_mut};

/// The square of values `rows`, transposed value by value: for levels without something better.
#[inline(always)]
pub(super) fn portable<T: Pod, V: Pod>(rows: &mut [V]) {
    let lanes = size_of::<V>() / size_of::<T>();
    assert_eq!(rows.len(), lanes, "the square has another size");
    let values: &mut [T] = cast_slice_mut(rows);
    for i in 0..lanes {
        for j in 0..i {
            values.swap(i * lanes + j, j * lanes + i);
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) mod x86 {
    use core::arch::x86_64::*;
    use pulp::x86::{V3, V4};
    use pulp::{f32x8, f32x16, f64x4, f64x8};

    // SAFETY, for every block below: a `V3` or `V4` value is proof that the processor has the instructions used, and the
    // casts are between plain-data vectors of equal size.

    /// Lane pairs (a0 b0 a1 b1 ..) of each 128 bits, low or high halves.
    macro_rules! unpack_rounds {
        ($r:ident, $n:literal, $lo:ident, $hi:ident, $lo2:ident, $hi2:ident, $to:ident, $from:ident) => {
            // Within every group of four rows, within every 128 bits: transpose 4 x 4.
            let mut q = $r;
            for g in (0..$n).step_by(4) {
                let (a, b) = ($lo($r[g], $r[g + 1]), $hi($r[g], $r[g + 1]));
                let (c, d) = ($lo($r[g + 2], $r[g + 3]), $hi($r[g + 2], $r[g + 3]));
                q[g] = $from($lo2($to(a), $to(c)));
                q[g + 1] = $from($hi2($to(a), $to(c)));
                q[g + 2] = $from($lo2($to(b), $to(d)));
                q[g + 3] = $from($hi2($to(b), $to(d)));
            }
            $r = q;
        };
    }

    #[inline(always)]
    pub fn v3_f32(_: V3, rows: &mut [f32x8]) {
        let rows: &mut [f32x8; 8] = rows.try_into().expect("the square has another size");
        // SAFETY: AVX, see above.
        unsafe {
            let mut r = core::mem::transmute::<[f32x8; 8], [__m256; 8]>(*rows);
            unpack_rounds!(
                r,
                8,
                _mm256_unpacklo_ps,
                _mm256_unpackhi_ps,
                _mm256_unpacklo_pd,
                _mm256_unpackhi_pd,
                _mm256_castps_pd,
                _mm256_castpd_ps
            );
            let mut out = r;
            for i in 0..4 {
                out[i] = _mm256_permute2f128_ps::<0x20>(r[i], r[i + 4]);
                out[i + 4] = _mm256_permute2f128_ps::<0x31>(r[i], r[i + 4]);
            }
            *rows = core::mem::transmute::<[__m256; 8], [f32x8; 8]>(out);
        }
    }

    #[inline(always)]
    pub fn v3_f64(_: V3, rows: &mut [f64x4]) {
        let rows: &mut [f64x4; 4] = rows.try_into().expect("the square has another size");
        // SAFETY: AVX, see above.
        unsafe {
            let r = core::mem::transmute::<[f64x4; 4], [__m256d; 4]>(*rows);
            let (a, b) = (_mm256_unpacklo_pd(r[0], r[1]), _mm256_unpackhi_pd(r[0], r[1]));
            let (c, d) = (_mm256_unpacklo_pd(r[2], r[3]), _mm256_unpackhi_pd(r[2], r[3]));
            let out = [
                _mm256_permute2f128_pd::<0x20>(a, c),
                _mm256_permute2f128_pd::<0x20>(b, d),
                _mm256_permute2f128_pd::<0x31>(a, c),
                _mm256_permute2f128_pd::<0x31>(b, d),
            ];
            *rows = core::mem::transmute::<[__m256d; 4], [f64x4; 4]>(out);
        }
    }

    #[inline(always)]
    pub fn v4_f32(_: V4, rows: &mut [f32x16]) {
        let rows: &mut [f32x16; 16] = rows.try_into().expect("the square has another size");
        // SAFETY: AVX-512F, see above.
        unsafe {
            let mut r = core::mem::transmute::<[f32x16; 16], [__m512; 16]>(*rows);
            unpack_rounds!(
                r,
                16,
                _mm512_unpacklo_ps,
                _mm512_unpackhi_ps,
                _mm512_unpacklo_pd,
                _mm512_unpackhi_pd,
                _mm512_castps_pd,
                _mm512_castpd_ps
            );
            // Row 4 g + i now holds, in quarter q, column 4 q + i of rows 4 g .. 4 g + 4: transpose the quarters.
            let mut out = r;
            for i in 0..4 {
                let (a, b) =
                    (_mm512_shuffle_f32x4::<0x88>(r[i], r[i + 4]), _mm512_shuffle_f32x4::<0xdd>(r[i], r[i + 4]));
                let (c, d) = (
                    _mm512_shuffle_f32x4::<0x88>(r[i + 8], r[i + 12]),
                    _mm512_shuffle_f32x4::<0xdd>(r[i + 8], r[i + 12]),
                );
                out[i] = _mm512_shuffle_f32x4::<0x88>(a, c);
                out[i + 4] = _mm512_shuffle_f32x4::<0x88>(b, d);
                out[i + 8] = _mm512_shuffle_f32x4::<0xdd>(a, c);
                out[i + 12] = _mm512_shuffle_f32x4::<0xdd>(b, d);
            }
            *rows = core::mem::transmute::<[__m512; 16], [f32x16; 16]>(out);
        }
    }

    #[inline(always)]
    pub fn v4_f64(_: V4, rows: &mut [f64x8]) {
        let rows: &mut [f64x8; 8] = rows.try_into().expect("the square has another size");
        // SAFETY: AVX-512F, see above.
        unsafe {
            let r = core::mem::transmute::<[f64x8; 8], [__m512d; 8]>(*rows);
            let mut p = r;
            for i in (0..8).step_by(2) {
                p[i] = _mm512_unpacklo_pd(r[i], r[i + 1]);
                p[i + 1] = _mm512_unpackhi_pd(r[i], r[i + 1]);
            }
            // Row 2 g + i holds, in quarter q, column 2 q + i of rows 2 g and 2 g + 1: transpose the quarters.
            let mut out = r;
            for i in 0..2 {
                let (a, b) =
                    (_mm512_shuffle_f64x2::<0x88>(p[i], p[i + 2]), _mm512_shuffle_f64x2::<0xdd>(p[i], p[i + 2]));
                let (c, d) = (
                    _mm512_shuffle_f64x2::<0x88>(p[i + 4], p[i + 6]),
                    _mm512_shuffle_f64x2::<0xdd>(p[i + 4], p[i + 6]),
                );
                out[i] = _mm512_shuffle_f64x2::<0x88>(a, c);
                out[i + 2] = _mm512_shuffle_f64x2::<0x88>(b, d);
                out[i + 4] = _mm512_shuffle_f64x2::<0xdd>(a, c);
                out[i + 6] = _mm512_shuffle_f64x2::<0xdd>(b, d);
            }
            *rows = core::mem::transmute::<[__m512d; 8], [f64x8; 8]>(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kernel, Lanes, Level, Scalar};

    struct Transpose<T>(std::marker::PhantomData<T>);

    impl<T: Scalar> Kernel for Transpose<T> {
        type Output = ();

        #[inline(always)]
        fn run<S: Lanes>(self, s: S) {
            let lanes = T::lanes::<S>();
            let values: Vec<T> = (0..lanes * lanes).map(|i| T::from_f64(i as f64)).collect();
            let mut found = values.clone();
            // SAFETY: there are `lanes` rows of one vector each.
            unsafe {
                let mut rows: Vec<_> = (0..lanes).map(|i| T::vload(s, values.as_ptr().add(i * lanes))).collect();
                T::vtranspose(s, &mut rows);
                for (i, &row) in rows.iter().enumerate() {
                    T::vstore(s, found.as_mut_ptr().add(i * lanes), row);
                }
            }
            for i in 0..lanes {
                for j in 0..lanes {
                    assert_eq!(found[i * lanes + j], values[j * lanes + i], "entry ({i}, {j}) of {lanes}");
                }
            }
        }
    }

    #[test]
    fn every_entry_lands_at_its_mirror() {
        for level in Level::available() {
            level.run(Transpose::<f32>(std::marker::PhantomData));
            level.run(Transpose::<f64>(std::marker::PhantomData));
        }
    }
}
