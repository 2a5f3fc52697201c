//! Signed counts of all pairs of a quintet of outputs from one pass over the neurons.
//!
//! The signs of five outputs at a neuron, up to a sign common to all, are one of 16 classes: bit `t - 1` of the class says whether
//! output t has another sign than output 0. With the neurons sorted by class and `n_c` shared neurons of two samples in class c,
//!
//! ```text
//! signed count of the pair (s, t) = sum_c (+-1) n_c,   + where outputs s and t have the same sign in class c
//! ```
//!
//! so that ten pairs cost the counting of one, and a Walsh-Hadamard transform over the classes: its coefficient `u` has the sign of
//! the product of the bits of c that are set in u, and the pair (s, t) is the coefficient with the bits of s and of t.

use super::bits::{CLASSES, NeuronOrder};
use super::quintets::{MOST, PAIRS};
use crate::kernels::PANEL;
use crate::simd::{BitWord, CountBits, Counts, Lanes};

/// The coefficients of the transform in the order of [`super::quintets::Quintet::blocks`]: no pair, then (0, 1), (0, 2), (1, 2), (0, 3), ...
const COEFFICIENTS: [usize; PAIRS] = {
    let mut coefficients = [0; PAIRS];
    let (mut pair, mut t) = (0, 1);
    while t < MOST {
        let mut s = 0;
        while s < t {
            pair += 1;
            coefficients[pair] = (1 << t | 1 << s) >> 1;
            s += 1;
        }
        t += 1;
    }
    coefficients
};

/// Counts of four lines and 64 lanes for every class of neurons.
pub(super) type ClassCounts = [Counts; CLASSES];

/// Four lines of a block of bit rows, from `first` on.
#[derive(Clone, Copy)]
pub(super) struct FourLines<'a> {
    pub words: &'a [BitWord],
    pub first: usize,
}

/// Counts class `class` for four lines; as for [`CountBits::count`].
#[inline(always)]
pub(super) fn count_class<C: CountBits>(
    counter: C,
    order: &NeuronOrder,
    class: usize,
    lines: FourLines<'_>,
    x: &[BitWord],
    groups: usize,
    counts: &mut ClassCounts,
) {
    let words = order.class(class);
    counter.count(&lines.words[words.clone()], lines.first, &x[words.clone()], groups, words.len(), &mut counts[class]);
}

/// The signed counts of line `r` of four and the lanes of one vector from `lane` on, by pairs of outputs; as wrapping integers.
///
/// # Panics
/// Unless `r` is below 4 and `lane` plus a vector at most 64.
#[inline(always)]
pub(super) fn signed_counts<S: Lanes>(s: S, counts: &ClassCounts, r: usize, lane: usize) -> [S::u32s; PAIRS] {
    assert!(r < 4 && lane + S::U32_LANES <= PANEL, "vector outside the counts");
    let mut n = [s.splat_u32s(0); CLASSES];
    for class in 0..CLASSES {
        // SAFETY: the vector lies within the 64 counts by the assertion, and any bits are integers.
        n[class] = unsafe { counts[class].0[r].as_ptr().add(lane).cast::<S::u32s>().read_unaligned() };
    }
    butterflies::<S, 1>(s, &mut n);
    butterflies::<S, 2>(s, &mut n);
    butterflies::<S, 4>(s, &mut n);
    butterflies::<S, 8>(s, &mut n);
    let mut signed = [n[0]; PAIRS];
    for pair in 1..PAIRS {
        signed[pair] = n[COEFFICIENTS[pair]];
    }
    signed
}

/// Sums and differences of the classes that differ in one bit.
#[inline(always)]
fn butterflies<S: Lanes, const BIT: usize>(s: S, n: &mut [S::u32s; CLASSES]) {
    for class in 0..CLASSES {
        if class & BIT == 0 {
            let (same, other) = (n[class], n[class | BIT]);
            n[class] = s.add_u32s(same, other);
            n[class | BIT] = s.sub_u32s(same, other);
        }
    }
}
