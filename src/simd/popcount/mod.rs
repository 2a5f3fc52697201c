//! Counting the bits that rows of bits share: which instructions a SIMD level uses for it, and kernels written for all of them.
//!
//! ```text
//! counts[row][lane] = sum over plus words of popcount(b[word][row] & x[word][lane]) - the same over the other words
//! ```
//!
//! for four rows and up to 64 lanes at a time; lanes are different bit rows, so that nothing is ever summed across a vector and
//! a count lands in the lane that needs it. Both operands are [`BitWord`]s, 64 bits of 64 bit rows in the order that the way of
//! counting wants:
//!
//! | way | per 4 rows and 64 lanes | order |
//! |---|---|---|
//! | AVX-512 with VPOPCNTDQ | and, count, add on 16 registers of 32-bit lanes | 2 halves of 64 x 32 bits |
//! | AVX2, AVX-512 without it | the row's bits choose a table, the lane's bits look up: shuffle, add ("Four Russians") | 8 bytes of 64 |
//! | portable, NEON | `count_ones` on 32-bit lanes, left to the compiler | 2 halves of 64 x 32 bits |

// Index loops over registers and lanes say which operand each index walks; iterators would hide it.
#![allow(clippy::needless_range_loop)]

mod count;
#[cfg(target_arch = "x86_64")]
mod instruction;
mod portable;
#[cfg(target_arch = "x86_64")]
mod table;
#[cfg(test)]
mod tests;

pub use count::{BitWord, CountBits, Counts};

use super::Level;

/// A way of counting the bits that two vectors share: a SIMD level, and whether AVX-512's own bit count may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Popcount {
    level: Level,
    instruction: bool,
}

impl Popcount {
    /// The fastest way at a level.
    ///
    /// # Panics
    /// If this processor does not have the level.
    pub fn at(level: Level) -> Self {
        assert!(level.is_available(), "SIMD level {level} is not available on this processor");
        Self { level, instruction: level == Level::V4 && has_instruction() }
    }

    /// The fastest way at [`Level::current`].
    pub fn current() -> Self {
        Self::at(Level::current())
    }

    /// Every way this processor has, slowest first.
    pub fn available() -> Vec<Self> {
        let mut ways: Vec<_> = Level::available().into_iter().map(|level| Self { level, instruction: false }).collect();
        if Level::V4.is_available() && has_instruction() {
            ways.push(Self { level: Level::V4, instruction: true });
        }
        ways
    }

    /// The level.
    pub fn level(self) -> Level {
        self.level
    }

    /// The name: that of the level, with `-vpopcntdq` where AVX-512's bit count is used.
    pub fn name(self) -> &'static str {
        if self.instruction { "v4-vpopcntdq" } else { self.level.name() }
    }

    /// Runs a kernel with this way of counting.
    #[inline]
    pub(crate) fn run<K: CountKernel>(self, kernel: K) -> K::Output {
        #[cfg(target_arch = "x86_64")]
        {
            use pulp::x86::{V3, V4};
            match (self.level, self.instruction) {
                (Level::V4, true) => {
                    let counter = instruction::Instruction::try_new().expect("AVX-512 VPOPCNTDQ was not checked");
                    return counter.vectorize(Bound { counter, kernel });
                }
                (Level::V4, false) => {
                    let lanes = V4::try_new().expect("the AVX-512 level was not checked");
                    return lanes.vectorize(Bound { counter: table::Table(lanes), kernel });
                }
                (Level::V3, _) => {
                    let lanes = V3::try_new().expect("the AVX2 level was not checked");
                    return lanes.vectorize(Bound { counter: table::Table(lanes), kernel });
                }
                _ => {}
            }
        }
        #[cfg(target_arch = "aarch64")]
        if self.level == Level::Neon {
            let lanes = pulp::aarch64::Neon::try_new().expect("the NEON level was not checked");
            return lanes.vectorize(Bound { counter: portable::Portable(lanes), kernel });
        }
        kernel.run(portable::Portable(pulp::Scalar256b))
    }

    /// Number of bits in which two slices of the same length differ.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn differing(self, a: &[u64], b: &[u64]) -> u64 {
        assert_eq!(a.len(), b.len(), "slices of different lengths");
        self.run(Differing(a, b))
    }

    /// Number of bits set.
    pub(crate) fn ones(self, a: &[u64]) -> u64 {
        self.run(Ones(a))
    }

    /// Runs `rounds` rounds of the bare counting instructions, nothing loaded from beyond the first-level cache and nothing
    /// stored, and returns how many pairs of bits were counted; for measuring what the processor can do at most.
    pub(crate) fn bare(self, rounds: u64) -> u64 {
        self.run(Bare(rounds))
    }
}

/// Whether the processor counts the bits of 32-bit lanes in one instruction.
fn has_instruction() -> bool {
    #[cfg(target_arch = "x86_64")]
    return instruction::Instruction::is_available();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// A computation written once for every way of counting; `#[inline(always)]` as for [`super::Kernel`].
pub trait CountKernel {
    /// What the computation returns.
    type Output;

    /// Runs the computation with one way of counting.
    fn run<C: CountBits>(self, counter: C) -> Self::Output;
}

/// A kernel together with its way of counting, as pulp's dispatch wants it.
struct Bound<C, K> {
    counter: C,
    kernel: K,
}

impl<C: CountBits, K: CountKernel> pulp::NullaryFnOnce for Bound<C, K> {
    type Output = K::Output;

    #[inline(always)]
    fn call(self) -> K::Output {
        self.kernel.run(self.counter)
    }
}

struct Differing<'a>(&'a [u64], &'a [u64]);

impl CountKernel for Differing<'_> {
    type Output = u64;

    #[inline(always)]
    fn run<C: CountBits>(self, counter: C) -> u64 {
        counter.differing(self.0, self.1)
    }
}

struct Ones<'a>(&'a [u64]);

impl CountKernel for Ones<'_> {
    type Output = u64;

    #[inline(always)]
    fn run<C: CountBits>(self, counter: C) -> u64 {
        counter.ones(self.0)
    }
}

struct Bare(u64);

impl CountKernel for Bare {
    type Output = u64;

    #[inline(always)]
    fn run<C: CountBits>(self, counter: C) -> u64 {
        counter.bare(self.0)
    }
}
