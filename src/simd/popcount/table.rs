//! Counting bits by looking them up in a table of 16 entries in a register, for AVX2 and for AVX-512 without a bit count.

use core::arch::x86_64::*;

use pulp::x86::{V3, V4};

use super::count::{BitWord, CountBits, Counts, check};
use crate::simd::Lanes;

// SAFETY, for every block below: a value of `V4` or `V3` is proof that the processor has the instructions used.

/// Entry `b`: the numbers of bits shared by `b`'s low four bits and each of 0..16, then the same for its high four bits.
static TABLES: Tables = Tables::new();

#[repr(C, align(64))]
struct Tables([[u8; 32]; 256]);

impl Tables {
    const fn new() -> Self {
        let mut tables = [[0; 32]; 256];
        let mut b = 0;
        while b < 256 {
            let mut x = 0;
            while x < 16 {
                tables[b][x] = (b & x).count_ones() as u8;
                tables[b][16 + x] = (b >> 4 & x).count_ones() as u8;
                x += 1;
            }
            b += 1;
        }
        Self(tables)
    }
}

/// Counting by looking up four bits at a time, with the lanes `S`.
#[derive(Clone, Copy)]
pub(super) struct Table<S>(pub(super) S);

/// The byte operations that looking up takes, at one vector width.
pub(super) trait Bytes: Lanes {
    /// A vector of bytes.
    type Vector: Copy;
    /// Bytes in one vector.
    const WIDTH: usize;

    /// All zero.
    fn zero(self) -> Self::Vector;
    /// Reads one vector.
    ///
    /// # Safety
    /// - `from` is valid for reading one vector.
    unsafe fn load(self, from: *const u8) -> Self::Vector;
    /// The same table of 16 bytes in every 128 bits.
    fn table(self, from: &[u8; 16]) -> Self::Vector;
    /// Low and high four bits of every byte.
    fn split(self, x: Self::Vector) -> (Self::Vector, Self::Vector);
    /// `table[index]` per byte, for indices below 16.
    fn look_up(self, table: Self::Vector, index: Self::Vector) -> Self::Vector;
    /// Wrapping sum per byte.
    fn add(self, a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// Adds every byte to the 16-bit number of its place.
    ///
    /// # Safety
    /// - `to` is valid for reading and writing `WIDTH` numbers.
    unsafe fn widen_onto(self, x: Self::Vector, to: *mut u16);
}

impl Bytes for V3 {
    type Vector = __m256i;
    const WIDTH: usize = 32;

    #[inline(always)]
    fn zero(self) -> __m256i {
        // SAFETY: AVX2, see above.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const u8) -> __m256i {
        // SAFETY: the caller gives one readable vector.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    fn table(self, from: &[u8; 16]) -> __m256i {
        // SAFETY: AVX2, and the table has the 16 bytes read.
        unsafe { _mm256_broadcastsi128_si256(_mm_loadu_si128(from.as_ptr().cast())) }
    }

    #[inline(always)]
    fn split(self, x: __m256i) -> (__m256i, __m256i) {
        // SAFETY: AVX2, see above.
        unsafe {
            let low = _mm256_set1_epi8(15);
            (_mm256_and_si256(x, low), _mm256_and_si256(_mm256_srli_epi16::<4>(x), low))
        }
    }

    #[inline(always)]
    fn look_up(self, table: __m256i, index: __m256i) -> __m256i {
        // SAFETY: AVX2, see above.
        unsafe { _mm256_shuffle_epi8(table, index) }
    }

    #[inline(always)]
    fn add(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: AVX2, see above.
        unsafe { _mm256_add_epi8(a, b) }
    }

    #[inline(always)]
    unsafe fn widen_onto(self, x: __m256i, to: *mut u16) {
        // SAFETY: AVX2, and the caller gives room for 32 numbers.
        unsafe {
            let parts = [_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x)];
            for (part, x) in parts.into_iter().enumerate() {
                let to = to.add(16 * part).cast::<__m256i>();
                _mm256_storeu_si256(to, _mm256_add_epi16(_mm256_loadu_si256(to), _mm256_cvtepu8_epi16(x)));
            }
        }
    }
}

impl Bytes for V4 {
    type Vector = __m512i;
    const WIDTH: usize = 64;

    #[inline(always)]
    fn zero(self) -> __m512i {
        // SAFETY: AVX-512F, see above.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const u8) -> __m512i {
        // SAFETY: the caller gives one readable vector.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    fn table(self, from: &[u8; 16]) -> __m512i {
        // SAFETY: AVX-512F, and the table has the 16 bytes read.
        unsafe { _mm512_broadcast_i32x4(_mm_loadu_si128(from.as_ptr().cast())) }
    }

    #[inline(always)]
    fn split(self, x: __m512i) -> (__m512i, __m512i) {
        // SAFETY: AVX-512BW, see above.
        unsafe {
            let low = _mm512_set1_epi8(15);
            (_mm512_and_si512(x, low), _mm512_and_si512(_mm512_srli_epi16::<4>(x), low))
        }
    }

    #[inline(always)]
    fn look_up(self, table: __m512i, index: __m512i) -> __m512i {
        // SAFETY: AVX-512BW, see above.
        unsafe { _mm512_shuffle_epi8(table, index) }
    }

    #[inline(always)]
    fn add(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: AVX-512BW, see above.
        unsafe { _mm512_add_epi8(a, b) }
    }

    #[inline(always)]
    unsafe fn widen_onto(self, x: __m512i, to: *mut u16) {
        // SAFETY: AVX-512BW, and the caller gives room for 64 numbers.
        unsafe {
            let parts = [_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64::<1>(x)];
            for (part, x) in parts.into_iter().enumerate() {
                let to = to.add(32 * part).cast::<__m512i>();
                _mm512_storeu_si512(to, _mm512_add_epi16(_mm512_loadu_si512(to), _mm512_cvtepu8_epi16(x)));
            }
        }
    }
}

/// Bytes of a bit row after which the byte sums are added to 16-bit sums: each adds at most 8.
const BYTE_ROUNDS: usize = 31;
/// Words after which the 16-bit sums are added to the counts: each adds at most 64.
const SHORT_WORDS: usize = 1023;

impl<S: Bytes> Table<S> {
    /// Adds `sign` times the counts of the bits that the bytes `row(n, r)` share with the lanes of `x`, over some words.
    #[inline(always)]
    fn accumulate<const V: usize>(
        self,
        words: std::ops::Range<usize>,
        row: impl Fn(usize, usize) -> u8,
        x: &[BitWord],
        sign: i32,
        counts: &mut Counts,
    ) {
        let s = self.0;
        let lanes: &[u8] = pulp::bytemuck::cast_slice(words_of(x));
        for start in words.clone().step_by(SHORT_WORDS) {
            let mut sums = [[0u16; 64]; 4];
            let bytes = 8 * start..8 * (start + SHORT_WORDS).min(words.end);
            for from in bytes.clone().step_by(BYTE_ROUNDS) {
                let mut acc = [[s.zero(); V]; 4];
                for n in from..(from + BYTE_ROUNDS).min(bytes.end) {
                    let line = &lanes[64 * n..64 * n + 64];
                    // SAFETY: V vectors are at most the 64 bytes of the line.
                    let x: [_; V] =
                        core::array::from_fn(|v| s.split(unsafe { s.load(line.as_ptr().add(S::WIDTH * v)) }));
                    for r in 0..4 {
                        let (low, high) = TABLES.0[usize::from(row(n, r))].split_at(16);
                        let low = s.table(low.try_into().expect("16 bytes"));
                        let high = s.table(high.try_into().expect("16 bytes"));
                        for v in 0..V {
                            let found = s.add(s.look_up(low, x[v].0), s.look_up(high, x[v].1));
                            acc[r][v] = s.add(acc[r][v], found);
                        }
                    }
                }
                for r in 0..4 {
                    for v in 0..V {
                        // SAFETY: V vectors are at most 64 numbers.
                        unsafe { s.widen_onto(acc[r][v], sums[r].as_mut_ptr().add(S::WIDTH * v)) };
                    }
                }
            }
            for r in 0..4 {
                for lane in 0..V * S::WIDTH {
                    counts.0[r][lane] += sign * i32::from(sums[r][lane]);
                }
            }
        }
    }

    #[inline(always)]
    fn tile<const V: usize>(self, b: &[BitWord], first: usize, x: &[BitWord], plus: usize, counts: &mut Counts) {
        let rows = b.as_ptr().cast::<u8>();
        // SAFETY: a word holds 8 times 64 bytes and first + r < 64, see `check`; n < 8 b.len().
        let row = |n: usize, r: usize| unsafe { *rows.add(64 * n + first + r) };
        *counts = Counts([[0; 64]; 4]);
        self.accumulate::<V>(0..plus, row, x, 1, counts);
        if plus < b.len() {
            self.accumulate::<V>(plus..b.len(), row, x, -1, counts);
        }
    }
}

/// The numbers of some words, one after the other.
#[inline(always)]
fn words_of(x: &[BitWord]) -> &[u64] {
    // SAFETY: a BitWord is 64 numbers without padding.
    unsafe { core::slice::from_raw_parts(x.as_ptr().cast(), 64 * x.len()) }
}

impl<S: Bytes> CountBits for Table<S> {
    type Lanes = S;

    #[inline(always)]
    fn lanes(self) -> S {
        self.0
    }

    #[inline(always)]
    fn arrange(self, words: &[u64; 64]) -> BitWord {
        let mut out = BitWord([0; 64]);
        let bytes: &mut [u8] = pulp::bytemuck::cast_slice_mut(&mut out.0);
        for (n, line) in bytes.chunks_exact_mut(64).enumerate() {
            for j in 0..64 {
                line[j] = (words[j] >> (8 * n)) as u8;
            }
        }
        out
    }

    #[inline(always)]
    fn count(self, b: &[BitWord], first: usize, x: &[BitWord], groups: usize, plus: usize, counts: &mut Counts) {
        check(b, first, x, groups, plus);
        if S::WIDTH == 64 || groups <= 2 {
            self.tile::<1>(b, first, x, plus, counts);
        } else {
            self.tile::<2>(b, first, x, plus, counts);
        }
    }

    #[inline(always)]
    fn differing(self, a: &[u64], b: &[u64]) -> u64 {
        a.iter().zip(b).map(|(a, b)| u64::from((a ^ b).count_ones())).sum()
    }

    #[inline(always)]
    fn ones(self, a: &[u64]) -> u64 {
        a.iter().map(|a| u64::from(a.count_ones())).sum()
    }

    #[inline(always)]
    fn bare(self, rounds: u64) -> u64 {
        let s = self.0;
        let memory = BitWord([0x0103_0507_090b_0d0f; 64]);
        let start = std::hint::black_box(memory.0.as_ptr().cast::<S::Vector>());
        let tables = std::hint::black_box(&TABLES.0[5]);
        let table: [_; 4] = core::array::from_fn(|r| s.table(tables[r..r + 16].try_into().expect("16 bytes")));
        let mut acc = [[s.zero(); 2]; 4];
        for _ in 0..rounds {
            // SAFETY: two vectors of a buffer of at least eight; read anew each round, so that the compiler cannot know that
            // it is always the same.
            let x: [_; 2] = core::array::from_fn(|v| unsafe { start.add(v).read_volatile() });
            for r in 0..4 {
                for v in 0..2 {
                    acc[r][v] = s.add(acc[r][v], s.look_up(table[r], x[v]));
                }
            }
        }
        std::hint::black_box(acc);
        rounds * 8 * 4 * S::WIDTH as u64
    }
}
