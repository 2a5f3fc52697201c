//! Counting bits with AVX-512's own instruction.

use core::arch::x86_64::*;

use pulp::x86::V4;

use super::count::{BitWord, CountBits, Counts, check, halves};

pulp::simd_type!({
    /// The AVX-512 level and its bit count.
    #[allow(missing_docs)]
    pub(super) struct Instruction {
        pub sse: f!("sse"),
        pub sse2: f!("sse2"),
        pub fxsr: f!("fxsr"),
        pub sse3: f!("sse3"),
        pub ssse3: f!("ssse3"),
        pub sse4_1: f!("sse4.1"),
        pub sse4_2: f!("sse4.2"),
        pub popcnt: f!("popcnt"),
        pub avx: f!("avx"),
        pub avx2: f!("avx2"),
        pub bmi1: f!("bmi1"),
        pub bmi2: f!("bmi2"),
        pub fma: f!("fma"),
        pub lzcnt: f!("lzcnt"),
        pub avx512f: f!("avx512f"),
        pub avx512bw: f!("avx512bw"),
        pub avx512cd: f!("avx512cd"),
        pub avx512dq: f!("avx512dq"),
        pub avx512vl: f!("avx512vl"),
        pub avx512vpopcntdq: f!("avx512vpopcntdq"),
    }
});

// SAFETY, for every block below: a value of `Instruction` is proof that the processor has the instructions used.

impl Instruction {
    /// Adds (or, with `MINUS`, subtracts) the counts of `numbers` 32-bit numbers per row to the accumulators.
    ///
    /// # Safety
    /// - `b + 64 * n` is readable for 4 numbers and `x + 64 * n` for 16 V, for `n < numbers`.
    #[inline(always)]
    unsafe fn accumulate<const V: usize, const MINUS: bool>(
        self,
        numbers: usize,
        b: *const u32,
        x: *const u32,
        acc: &mut [[__m512i; V]; 4],
    ) {
        for n in 0..numbers {
            // SAFETY: readable by the contract above.
            unsafe {
                let mut xs = [_mm512_setzero_si512(); V];
                for v in 0..V {
                    xs[v] = _mm512_loadu_si512(x.add(64 * n + 16 * v).cast());
                }
                for r in 0..4 {
                    let row = _mm512_set1_epi32(*b.add(64 * n + r) as i32);
                    for v in 0..V {
                        let shared = _mm512_popcnt_epi32(_mm512_and_si512(row, xs[v]));
                        acc[r][v] = if MINUS {
                            _mm512_sub_epi32(acc[r][v], shared)
                        } else {
                            _mm512_add_epi32(acc[r][v], shared)
                        };
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn store<const V: usize>(self, acc: [[__m512i; V]; 4], counts: &mut Counts) {
        for r in 0..4 {
            for v in 0..V {
                // SAFETY: AVX-512F, and the counts have 64 lanes, four vectors.
                unsafe { _mm512_storeu_si512(counts.0[r][16 * v..16 * v + 16].as_mut_ptr().cast(), acc[r][v]) };
            }
        }
    }

    #[inline(always)]
    fn tile<const V: usize>(self, b: &[BitWord], first: usize, x: &[BitWord], plus: usize, counts: &mut Counts) {
        // SAFETY: a word holds two times 64 numbers, first + 4 <= 64 and 16 V <= 64, see `check`.
        let acc = unsafe {
            let (rows, lanes) = (b.as_ptr().cast::<u32>().add(first), x.as_ptr().cast::<u32>());
            let mut acc = [[_mm512_setzero_si512(); V]; 4];
            self.accumulate::<V, false>(2 * plus, rows, lanes, &mut acc);
            let rest = 2 * (b.len() - plus);
            if rest > 0 {
                self.accumulate::<V, true>(rest, rows.add(128 * plus), lanes.add(128 * plus), &mut acc);
            }
            acc
        };
        self.store(acc, counts);
    }

    /// Sum of the bit counts of `word(0) .. word(vectors)`.
    #[inline(always)]
    fn sum(self, vectors: usize, word: impl Fn(usize) -> __m512i) -> u64 {
        // SAFETY: AVX-512 with VPOPCNTDQ, see above.
        unsafe {
            let mut acc = [_mm512_setzero_si512(); 4];
            let whole = vectors / 4 * 4;
            for n in (0..whole).step_by(4) {
                for v in 0..4 {
                    acc[v] = _mm512_add_epi64(acc[v], _mm512_popcnt_epi64(word(n + v)));
                }
            }
            for n in whole..vectors {
                acc[0] = _mm512_add_epi64(acc[0], _mm512_popcnt_epi64(word(n)));
            }
            let acc = _mm512_add_epi64(_mm512_add_epi64(acc[0], acc[1]), _mm512_add_epi64(acc[2], acc[3]));
            _mm512_reduce_add_epi64(acc) as u64
        }
    }
}

impl CountBits for Instruction {
    type Lanes = V4;

    #[inline(always)]
    fn lanes(self) -> V4 {
        // SAFETY: this token's features include those of V4.
        unsafe { V4::new_unchecked() }
    }

    #[inline(always)]
    fn arrange(self, words: &[u64; 64]) -> BitWord {
        halves(words)
    }

    #[inline(always)]
    fn count(self, b: &[BitWord], first: usize, x: &[BitWord], groups: usize, plus: usize, counts: &mut Counts) {
        check(b, first, x, groups, plus);
        match groups {
            1 => self.tile::<1>(b, first, x, plus, counts),
            2 => self.tile::<2>(b, first, x, plus, counts),
            3 => self.tile::<3>(b, first, x, plus, counts),
            _ => self.tile::<4>(b, first, x, plus, counts),
        }
    }

    #[inline(always)]
    fn differing(self, a: &[u64], b: &[u64]) -> u64 {
        let (a, b) = (&a[..a.len().min(b.len())], &b[..a.len().min(b.len())]);
        let vectors = a.len() / 8;
        let rest = a[8 * vectors..].iter().zip(&b[8 * vectors..]).map(|(a, b)| u64::from((a ^ b).count_ones()));
        let rest: u64 = rest.sum();
        // SAFETY: vectors n < vectors lie within both slices.
        rest + self.sum(vectors, |n| unsafe {
            _mm512_xor_si512(
                _mm512_loadu_si512(a.as_ptr().add(8 * n).cast()),
                _mm512_loadu_si512(b.as_ptr().add(8 * n).cast()),
            )
        })
    }

    #[inline(always)]
    fn ones(self, a: &[u64]) -> u64 {
        let vectors = a.len() / 8;
        let rest: u64 = a[8 * vectors..].iter().map(|a| u64::from(a.count_ones())).sum();
        // SAFETY: vectors n < vectors lie within the slice.
        rest + self.sum(vectors, |n| unsafe { _mm512_loadu_si512(a.as_ptr().add(8 * n).cast()) })
    }

    #[inline(always)]
    fn bare(self, rounds: u64) -> u64 {
        let memory = BitWord([0x0123_4567_89ab_cdef; 64]);
        // SAFETY: AVX-512 with VPOPCNTDQ, see above; 4 vectors are read from a buffer of 8.
        unsafe {
            let start = std::hint::black_box(memory.0.as_ptr().cast::<__m512i>());
            let b: [__m512i; 4] = std::hint::black_box(core::array::from_fn(|r| _mm512_set1_epi32(r as i32 + 77)));
            let mut acc = [[_mm512_setzero_si512(); 4]; 4];
            for _ in 0..rounds {
                // Read anew each round, so that the compiler cannot know that it is always the same.
                let x: [__m512i; 4] = core::array::from_fn(|v| start.add(v).read_volatile());
                for r in 0..4 {
                    for v in 0..4 {
                        acc[r][v] = _mm512_add_epi32(acc[r][v], _mm512_popcnt_epi32(_mm512_and_si512(b[r], x[v])));
                    }
                }
            }
            std::hint::black_box(acc);
        }
        rounds * 16 * 512
    }
}
