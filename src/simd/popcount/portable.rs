//! Counting bits with `count_ones`, in loops that the compiler vectorises for the level's instructions.

use super::count::{BitWord, CountBits, Counts, check, halves};
use crate::simd::Lanes;

/// Counting without instructions of a particular level.
#[derive(Clone, Copy)]
pub(super) struct Portable<S>(pub(super) S);

/// 32-bit number `n` (two to a word) of a bit row.
#[inline(always)]
fn number(words: &[BitWord], n: usize, row: usize) -> u32 {
    let numbers: &[u32] = pulp::bytemuck::cast_slice(&words[n / 2].0);
    numbers[64 * (n % 2) + row]
}

/// Adds `sign` times the counts of the bits that rows `first` and on of `b` share with the lanes of `x`, over some words.
#[inline(always)]
fn accumulate(
    words: std::ops::Range<usize>,
    b: &[BitWord],
    first: usize,
    x: &[BitWord],
    groups: usize,
    sign: i32,
    counts: &mut Counts,
) {
    for group in 0..groups {
        for r in 0..4 {
            let mut acc = [0u32; 16];
            for n in 2 * words.start..2 * words.end {
                let numbers: &[u32] = pulp::bytemuck::cast_slice(&x[n / 2].0);
                let lanes = &numbers[64 * (n % 2) + 16 * group..][..16];
                let row = number(b, n, first + r);
                for lane in 0..16 {
                    acc[lane] += (row & lanes[lane]).count_ones();
                }
            }
            for lane in 0..16 {
                counts.0[r][16 * group + lane] += sign * acc[lane] as i32;
            }
        }
    }
}

impl<S: Lanes> CountBits for Portable<S> {
    type Lanes = S;

    #[inline(always)]
    fn lanes(self) -> S {
        self.0
    }

    #[inline(always)]
    fn arrange(self, words: &[u64; 64]) -> BitWord {
        halves(words)
    }

    #[inline(always)]
    fn count(self, b: &[BitWord], first: usize, x: &[BitWord], groups: usize, plus: usize, counts: &mut Counts) {
        check(b, first, x, groups, plus);
        *counts = Counts([[0; 64]; 4]);
        accumulate(0..plus, b, first, x, groups, 1, counts);
        accumulate(plus..b.len(), b, first, x, groups, -1, counts);
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
        let b = std::hint::black_box([1u32, 2, 3, 4]);
        let x = std::hint::black_box([5u32; 16]);
        let mut acc = [[0u32; 16]; 4];
        for round in 0..rounds {
            for r in 0..4 {
                for lane in 0..16 {
                    acc[r][lane] += (b[r] & (x[lane] ^ round as u32)).count_ones();
                }
            }
        }
        std::hint::black_box(acc);
        rounds * 4 * 16 * 32
    }
}
