//! What every way of counting bits is made of: words, counts, and the trait of its instructions.

use crate::simd::Lanes;

/// 64 bits of each of 64 bit rows, in the order that [`CountBits::arrange`] of one way of counting gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct BitWord(pub [u64; 64]);

/// Counts of four rows against 64 lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Counts(pub [[i32; 64]; 4]);

/// The instructions of one way of counting.
pub trait CountBits: Copy {
    /// The level whose vectors go with it.
    type Lanes: Lanes;

    /// The lanes of the level.
    fn lanes(self) -> Self::Lanes;

    /// Brings 64 words, one of each bit row, into the order of this way.
    fn arrange(self, words: &[u64; 64]) -> BitWord;

    /// Counts of rows `first .. first + 4` of `b` against the first `16 * groups` lanes of `x`: bits shared in words
    /// `..plus` less bits shared in words `plus..`. The other lanes of `counts` are then unspecified.
    ///
    /// # Panics
    /// Unless `b` and `x` have the same length, `plus` is at most that, `first` at most 60 and `groups` 1 to 4.
    fn count(self, b: &[BitWord], first: usize, x: &[BitWord], groups: usize, plus: usize, counts: &mut Counts);

    /// Number of bits in which two slices differ; the shorter length counts.
    fn differing(self, a: &[u64], b: &[u64]) -> u64;

    /// Number of bits set.
    fn ones(self, a: &[u64]) -> u64;

    /// See [`super::Popcount::bare`].
    fn bare(self, rounds: u64) -> u64;
}

/// What [`CountBits::count`] demands of its arguments.
#[inline(always)]
pub(super) fn check(b: &[BitWord], first: usize, x: &[BitWord], groups: usize, plus: usize) {
    assert!(
        b.len() == x.len() && plus <= b.len() && first <= 60 && (1..=4).contains(&groups),
        "tile outside its operands"
    );
}

/// 64 words as two halves of 64 x 32 bits: half h of row j is 32-bit number `64 h + j`.
#[inline(always)]
pub(super) fn halves(words: &[u64; 64]) -> BitWord {
    let mut out = BitWord([0; 64]);
    let numbers: &mut [u32] = pulp::bytemuck::cast_slice_mut(&mut out.0);
    let (low, high) = numbers.split_at_mut(64);
    for j in 0..64 {
        low[j] = words[j] as u32;
        high[j] = (words[j] >> 32) as u32;
    }
    out
}
