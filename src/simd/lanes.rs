//! What the kernels need of a SIMD level beyond pulp's own trait: masks as bits and back, transposes, scaled counts, non-temporal
//! stores and prefetching.
//!
//! Every operation has a portable default, so that a level without a better instruction is correct before it is fast.

use super::bits::transpose_bits_64;

/// A SIMD level: pulp's operations plus those of this crate.
pub trait Lanes: pulp::Simd {
    /// Whether multiply-add is one instruction. Where it is not, products are rounded before they are added, because the
    /// software routine that rounds once is a hundred times slower.
    const FUSED: bool = true;

    /// The mask as bits: bit `i` is lane `i`.
    #[inline(always)]
    fn bits_m32(self, mask: Self::m32s) -> u64 {
        let ones = self.select_u32s(mask, self.splat_u32s(1), self.splat_u32s(0));
        portable_bits(pulp::bytemuck::bytes_of(&ones), 4)
    }

    /// The mask as bits: bit `i` is lane `i`.
    #[inline(always)]
    fn bits_m64(self, mask: Self::m64s) -> u64 {
        let ones = self.select_u64s(mask, self.splat_u64s(1), self.splat_u64s(0));
        portable_bits(pulp::bytemuck::bytes_of(&ones), 8)
    }

    /// `v` with every lane zeroed whose bit is clear; bits beyond the lanes are ignored.
    #[inline(always)]
    fn keep_f32(self, bits: u64, v: Self::f32s) -> Self::f32s {
        let mut out = v;
        for (i, x) in pulp::bytemuck::cast_slice_mut::<_, f32>(std::slice::from_mut(&mut out)).iter_mut().enumerate() {
            *x = if bits >> i & 1 == 1 { *x } else { 0.0 };
        }
        out
    }

    /// `v` with every lane zeroed whose bit is clear; bits beyond the lanes are ignored.
    #[inline(always)]
    fn keep_f64(self, bits: u64, v: Self::f64s) -> Self::f64s {
        let mut out = v;
        for (i, x) in pulp::bytemuck::cast_slice_mut::<_, f64>(std::slice::from_mut(&mut out)).iter_mut().enumerate() {
            *x = if bits >> i & 1 == 1 { *x } else { 0.0 };
        }
        out
    }

    /// Stores past the caches where the level can.
    ///
    /// # Safety
    /// - `to` is valid for writing one vector and aligned to the vector's size.
    /// - [`Lanes::fence`] is called before another thread reads what was written.
    #[inline(always)]
    unsafe fn stream_f32(self, to: *mut f32, v: Self::f32s) {
        // SAFETY: the caller gives room for one vector.
        unsafe { to.cast::<Self::f32s>().write_unaligned(v) }
    }

    /// Stores past the caches where the level can.
    ///
    /// # Safety
    /// As for [`Lanes::stream_f32`].
    #[inline(always)]
    unsafe fn stream_f64(self, to: *mut f64, v: Self::f64s) {
        // SAFETY: the caller gives room for one vector.
        unsafe { to.cast::<Self::f64s>().write_unaligned(v) }
    }

    /// Transposes the square whose rows are `rows`, as many as there are lanes.
    ///
    /// # Panics
    /// If the number of rows is not the number of lanes.
    #[inline(always)]
    fn transpose_f32(self, rows: &mut [Self::f32s]) {
        super::transpose::portable::<f32, _>(rows);
    }

    /// Transposes the square whose rows are `rows`, as many as there are lanes.
    ///
    /// # Panics
    /// If the number of rows is not the number of lanes.
    #[inline(always)]
    fn transpose_f64(self, rows: &mut [Self::f64s]) {
        super::transpose::portable::<f64, _>(rows);
    }

    /// `to[lane] = scale[lane] * counts[lane]` for signed counts, as many as a vector of them has lanes.
    ///
    /// # Safety
    /// - `scale` is valid for reading that many numbers, and `to` for writing them.
    #[inline(always)]
    unsafe fn scale_counts_f32(self, counts: Self::u32s, scale: *const f32, to: *mut f32) {
        for (lane, &count) in pulp::bytemuck::cast_slice::<_, i32>(std::slice::from_ref(&counts)).iter().enumerate() {
            // SAFETY: the caller gives as many numbers as lanes.
            unsafe { *to.add(lane) = *scale.add(lane) * count as f32 };
        }
    }

    /// `to[lane] = scale[lane] * counts[lane]` for signed counts, as many as a vector of them has lanes.
    ///
    /// # Safety
    /// - As for [`Lanes::scale_counts_f32`].
    #[inline(always)]
    unsafe fn scale_counts_f64(self, counts: Self::u32s, scale: *const f64, to: *mut f64) {
        for (lane, &count) in pulp::bytemuck::cast_slice::<_, i32>(std::slice::from_ref(&counts)).iter().enumerate() {
            // SAFETY: the caller gives as many numbers as lanes.
            unsafe { *to.add(lane) = *scale.add(lane) * f64::from(count) };
        }
    }

    /// Orders earlier streaming stores before later stores.
    #[inline(always)]
    fn fence(self) {}

    /// [`transpose_bits_64`] with the level's vectors.
    #[inline(always)]
    fn transpose_bits(self, rows: &mut [u64; 64]) {
        transpose_bits_64(rows);
    }

    /// Asks for the cache line at `at` to be brought nearer, into the second-level cache where the level can say so. Any address
    /// will do; nothing is read that the program could see.
    #[inline(always)]
    fn prefetch<T>(self, at: *const T) {
        let _ = at;
    }
}

/// Collects the lowest bit of every `stride` bytes.
#[inline(always)]
fn portable_bits(bytes: &[u8], stride: usize) -> u64 {
    bytes.iter().step_by(stride).enumerate().fold(0, |bits, (i, &b)| bits | u64::from(b & 1) << i)
}

impl Lanes for pulp::Scalar256b {
    const FUSED: bool = false;
}

#[cfg(target_arch = "aarch64")]
impl Lanes for pulp::aarch64::Neon {}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::super::transpose::x86 as transpose;
    use super::Lanes;
    use core::arch::x86_64::*;
    use pulp::x86::{V3, V4};
    use pulp::{b8, b16, f32x8, f32x16, f64x4, f64x8, m32x8, m64x4, u32x8, u32x16};

    // SAFETY, for every block below: a `V3` or `V4` value is proof that the processor has the instructions used, and the
    // casts are between plain-data vectors of equal size.
    impl Lanes for V3 {
        #[inline(always)]
        unsafe fn scale_counts_f32(self, counts: u32x8, scale: *const f32, to: *mut f32) {
            // SAFETY: AVX2, and the caller gives 8 numbers.
            unsafe {
                let counts = _mm256_cvtepi32_ps(pulp::cast(counts));
                _mm256_storeu_ps(to, _mm256_mul_ps(_mm256_loadu_ps(scale), counts));
            }
        }

        #[inline(always)]
        unsafe fn scale_counts_f64(self, counts: u32x8, scale: *const f64, to: *mut f64) {
            // SAFETY: AVX2, and the caller gives 8 numbers.
            unsafe {
                let counts: __m256i = pulp::cast(counts);
                for (half, counts) in
                    [_mm256_castsi256_si128(counts), _mm256_extracti128_si256::<1>(counts)].into_iter().enumerate()
                {
                    let product = _mm256_mul_pd(_mm256_loadu_pd(scale.add(4 * half)), _mm256_cvtepi32_pd(counts));
                    _mm256_storeu_pd(to.add(4 * half), product);
                }
            }
        }

        #[inline(always)]
        fn transpose_f32(self, rows: &mut [f32x8]) {
            transpose::v3_f32(self, rows);
        }

        #[inline(always)]
        fn transpose_f64(self, rows: &mut [f64x4]) {
            transpose::v3_f64(self, rows);
        }

        #[inline(always)]
        fn bits_m32(self, mask: m32x8) -> u64 {
            // SAFETY: AVX, see above.
            unsafe { _mm256_movemask_ps(core::mem::transmute::<m32x8, __m256>(mask)) as u32 as u64 }
        }

        #[inline(always)]
        fn bits_m64(self, mask: m64x4) -> u64 {
            // SAFETY: AVX, see above.
            unsafe { _mm256_movemask_pd(core::mem::transmute::<m64x4, __m256d>(mask)) as u32 as u64 }
        }

        #[inline(always)]
        fn keep_f32(self, bits: u64, v: f32x8) -> f32x8 {
            // SAFETY: AVX2, see above.
            unsafe {
                let lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
                let set = _mm256_and_si256(_mm256_set1_epi32(bits as i32), lane);
                let mask = _mm256_castsi256_ps(_mm256_cmpeq_epi32(set, lane));
                core::mem::transmute::<__m256, f32x8>(_mm256_and_ps(mask, core::mem::transmute::<f32x8, __m256>(v)))
            }
        }

        #[inline(always)]
        fn keep_f64(self, bits: u64, v: f64x4) -> f64x4 {
            // SAFETY: AVX2, see above.
            unsafe {
                let lane = _mm256_setr_epi64x(1, 2, 4, 8);
                let set = _mm256_and_si256(_mm256_set1_epi64x(bits as i64), lane);
                let mask = _mm256_castsi256_pd(_mm256_cmpeq_epi64(set, lane));
                core::mem::transmute::<__m256d, f64x4>(_mm256_and_pd(mask, core::mem::transmute::<f64x4, __m256d>(v)))
            }
        }

        #[inline(always)]
        unsafe fn stream_f32(self, to: *mut f32, v: f32x8) {
            debug_assert!(to.cast::<f32x8>().is_aligned() && (to as usize).is_multiple_of(32));
            // SAFETY: AVX, and the caller gives aligned room for one vector.
            unsafe { _mm256_stream_ps(to, core::mem::transmute::<f32x8, __m256>(v)) }
        }

        #[inline(always)]
        unsafe fn stream_f64(self, to: *mut f64, v: f64x4) {
            debug_assert!((to as usize).is_multiple_of(32));
            // SAFETY: AVX, and the caller gives aligned room for one vector.
            unsafe { _mm256_stream_pd(to, core::mem::transmute::<f64x4, __m256d>(v)) }
        }

        #[inline(always)]
        fn fence(self) {
            // SAFETY: SSE, which every x86-64 has.
            unsafe { _mm_sfence() }
        }

        #[inline(always)]
        fn prefetch<T>(self, at: *const T) {
            // SAFETY: SSE, and a prefetch accepts any address.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
        }
    }

    impl Lanes for V4 {
        #[inline(always)]
        unsafe fn scale_counts_f32(self, counts: u32x16, scale: *const f32, to: *mut f32) {
            // SAFETY: AVX-512F, and the caller gives 16 numbers.
            unsafe {
                let counts = _mm512_cvtepi32_ps(pulp::cast(counts));
                _mm512_storeu_ps(to, _mm512_mul_ps(_mm512_loadu_ps(scale), counts));
            }
        }

        #[inline(always)]
        unsafe fn scale_counts_f64(self, counts: u32x16, scale: *const f64, to: *mut f64) {
            // SAFETY: AVX-512F, and the caller gives 16 numbers.
            unsafe {
                let counts: __m512i = pulp::cast(counts);
                for (half, counts) in
                    [_mm512_castsi512_si256(counts), _mm512_extracti64x4_epi64::<1>(counts)].into_iter().enumerate()
                {
                    let product = _mm512_mul_pd(_mm512_loadu_pd(scale.add(8 * half)), _mm512_cvtepi32_pd(counts));
                    _mm512_storeu_pd(to.add(8 * half), product);
                }
            }
        }

        #[inline(always)]
        fn transpose_f32(self, rows: &mut [f32x16]) {
            transpose::v4_f32(self, rows);
        }

        #[inline(always)]
        fn transpose_f64(self, rows: &mut [f64x8]) {
            transpose::v4_f64(self, rows);
        }

        #[inline(always)]
        fn bits_m32(self, mask: b16) -> u64 {
            u64::from(mask.0)
        }

        #[inline(always)]
        fn bits_m64(self, mask: b8) -> u64 {
            u64::from(mask.0)
        }

        #[inline(always)]
        fn keep_f32(self, bits: u64, v: f32x16) -> f32x16 {
            // SAFETY: AVX-512F, see above.
            unsafe {
                let v = core::mem::transmute::<f32x16, __m512>(v);
                core::mem::transmute::<__m512, f32x16>(_mm512_maskz_mov_ps(bits as u16, v))
            }
        }

        #[inline(always)]
        fn keep_f64(self, bits: u64, v: f64x8) -> f64x8 {
            // SAFETY: AVX-512F, see above.
            unsafe {
                let v = core::mem::transmute::<f64x8, __m512d>(v);
                core::mem::transmute::<__m512d, f64x8>(_mm512_maskz_mov_pd(bits as u8, v))
            }
        }

        #[inline(always)]
        unsafe fn stream_f32(self, to: *mut f32, v: f32x16) {
            debug_assert!((to as usize).is_multiple_of(64));
            // SAFETY: AVX-512F, and the caller gives aligned room for one vector.
            unsafe { _mm512_stream_ps(to, core::mem::transmute::<f32x16, __m512>(v)) }
        }

        #[inline(always)]
        unsafe fn stream_f64(self, to: *mut f64, v: f64x8) {
            debug_assert!((to as usize).is_multiple_of(64));
            // SAFETY: AVX-512F, and the caller gives aligned room for one vector.
            unsafe { _mm512_stream_pd(to, core::mem::transmute::<f64x8, __m512d>(v)) }
        }

        #[inline(always)]
        fn fence(self) {
            // SAFETY: SSE, which every x86-64 has.
            unsafe { _mm_sfence() }
        }

        #[inline(always)]
        fn prefetch<T>(self, at: *const T) {
            // SAFETY: SSE, and a prefetch accepts any address.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
        }

        #[inline(always)]
        fn transpose_bits(self, rows: &mut [u64; 64]) {
            // SAFETY: AVX-512F, and 64 words are eight vectors.
            unsafe {
                let at = rows.as_mut_ptr().cast::<__m512i>();
                let mut x: [__m512i; 8] = core::array::from_fn(|i| at.add(i).read_unaligned());
                exchange::<32>(&mut x, 4, 0x0000_0000_ffff_ffff);
                exchange::<16>(&mut x, 2, 0x0000_ffff_0000_ffff);
                exchange::<8>(&mut x, 1, 0x00ff_00ff_00ff_00ff);
                // The last three rounds pair words of the same vector: a word keeps half its bits and takes the rest, moved
                // up or down by 4, 2 or 1, from the word so far away.
                let turn = |low: i64, width: i64, distance: usize| {
                    let is_low = |i: usize| i & distance == 0;
                    let words = |f: &dyn Fn(usize) -> i64| {
                        let words: [i64; 8] = core::array::from_fn(f);
                        words.as_ptr().cast::<__m512i>().read_unaligned()
                    };
                    let keep = words(&|i| if is_low(i) { low } else { !low });
                    let left = words(&|i| if is_low(i) { width } else { 0 });
                    (keep, left, words(&|i| if is_low(i) { 0 } else { width }))
                };
                let (four, two) = (turn(0x0f0f_0f0f_0f0f_0f0f, 4, 4), turn(0x3333_3333_3333_3333, 2, 2));
                let one = turn(0x5555_5555_5555_5555, 1, 1);
                for (i, x) in x.into_iter().enumerate() {
                    let take = |x, p, (keep, left, right): (__m512i, __m512i, __m512i)| {
                        let moved = _mm512_srlv_epi64(_mm512_sllv_epi64(p, left), right);
                        _mm512_ternarylogic_epi64::<0xCA>(keep, x, moved)
                    };
                    let x = take(x, _mm512_shuffle_i64x2::<0b01_00_11_10>(x, x), four);
                    let x = take(x, _mm512_permutex_epi64::<0b01_00_11_10>(x), two);
                    let x = take(x, _mm512_shuffle_epi32::<0b01_00_11_10>(x), one);
                    at.add(i).write_unaligned(x);
                }
            }
        }
    }

    /// Exchanges the high `W` of every `2 W` bits of one vector with the low ones of the vector `distance` further on.
    ///
    /// # Safety
    /// - The processor has AVX-512F.
    #[inline(always)]
    unsafe fn exchange<const W: u32>(x: &mut [__m512i; 8], distance: usize, low: i64) {
        for i in (0..8).filter(|i| i & distance == 0) {
            // SAFETY: AVX-512F by the contract above.
            unsafe {
                let both = _mm512_xor_si512(_mm512_srli_epi64::<W>(x[i]), x[i + distance]);
                let swap = _mm512_and_si512(both, _mm512_set1_epi64(low));
                x[i] = _mm512_xor_si512(x[i], _mm512_slli_epi64::<W>(swap));
                x[i + distance] = _mm512_xor_si512(x[i + distance], swap);
            }
        }
    }
}
