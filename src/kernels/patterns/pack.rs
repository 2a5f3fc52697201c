//! Packing patterns from weights and samples without storing the pre-activations.
//!
//! ```text
//! lanes = samples; per block of 64 samples, per block of 64 neurons:
//!     P[r][lanes] = sum_k W[r,k] Z[k][lanes]   in registers, R neurons by V vectors at a time
//!     bits [P >= 0] of the 64 x 64 block, transposed so that each sample gets one word over neurons
//! ```

use faer::Par;

use super::ActivationPatterns;
use crate::Result;
use crate::kernels::outer::{Broadcast, accumulate};
use crate::kernels::{Disjoint, Lane64, PANEL, Panels, for_each_task, workers};
use crate::simd::{Kernel, Lanes, Level, Real, transpose_bits_64};

/// [`patterns_with`] at the current level.
///
/// # Errors
/// As for [`patterns_with`].
pub fn patterns_into<T: Real>(patterns: &mut ActivationPatterns, w: &Panels<T>, z: &Panels<T>, par: Par) -> Result<()> {
    patterns_with(Level::current(), patterns, w, z, par)
}

/// Activation patterns (N x m bits) of the weights `w` (m x D) on the samples `z` (N x D): neuron r is active on sample j if
/// `w_r . z_j >= 0`, the inner product added up in the order of the columns. `patterns` takes the shape it needs.
///
/// # Errors
/// [`crate::Error::Shape`] if `w` and `z` have different numbers of columns.
pub fn patterns_with<T: Real>(
    level: Level,
    patterns: &mut ActivationPatterns,
    w: &Panels<T>,
    z: &Panels<T>,
    par: Par,
) -> Result<()> {
    z.expect_shape("the samples", z.rows(), w.columns())?;
    if (patterns.samples(), patterns.neurons()) != (z.rows(), w.rows()) {
        patterns.reset(z.rows(), w.rows());
    }
    let words = patterns.words_per_row();
    let out = Disjoint::new(patterns.words_mut());
    for_each_task(z.blocks(), &mut vec![(); workers(par)], |(), block| {
        let rows = z.rows_in(block);
        // SAFETY: each task takes the rows of its own block of samples.
        let patterns = unsafe { out.piece(block * PANEL * words, rows * words) };
        level.run(Block { z: z.block(block), w, patterns });
    });
    Ok(())
}

/// The patterns of one block of 64 samples.
struct Block<'a, T> {
    z: &'a [Lane64<T>],
    w: &'a Panels<T>,
    patterns: &'a mut [u64],
}

impl<T: Real> Kernel for Block<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        // 16 accumulators of 32 registers, or 12 of 16: enough to hide the latency of the multiply-adds.
        if S::REGISTER_COUNT >= 32 { self.run_tiled::<S, 4, 4>(s) } else { self.run_tiled::<S, 6, 2>(s) }
    }
}

impl<T: Real> Block<'_, T> {
    #[inline(always)]
    fn run_tiled<S: Lanes, const R: usize, const V: usize>(self, s: S) {
        let words = self.w.blocks();
        let group = V * T::lanes::<S>();
        for block in 0..words {
            let neurons = self.w.rows_in(block);
            let mut bits = [0u64; PANEL];
            for first_lane in (0..PANEL).step_by(group) {
                for first in (0..neurons).step_by(R) {
                    // The last tile may reach into the padding rows of W; their bits are cleared below.
                    let first = first.min(PANEL - R);
                    // SAFETY: a block of W has 64 neurons with its padding, and first + R <= 64; z has 64 samples with its
                    // padding, and first_lane + group <= 64 as the group divides 64.
                    unsafe {
                        let w = self.w.block(block).as_ptr().cast::<T>().add(first);
                        let z = self.z.as_ptr().cast::<T>().add(first_lane);
                        let tile = signs::<T, S, R, V>(s, self.z.len(), w, z);
                        for r in 0..R {
                            bits[first + r] =
                                bits[first + r] & !(lanes_mask(group) << first_lane) | tile[r] << first_lane;
                        }
                    }
                }
            }
            bits[neurons..].fill(0);
            transpose_bits_64(&mut bits);
            for (row, bits) in self.patterns.chunks_exact_mut(words).zip(bits) {
                row[block] = bits;
            }
        }
    }
}

/// The lowest `lanes` bits.
#[inline(always)]
fn lanes_mask(lanes: usize) -> u64 {
    u64::MAX >> (64 - lanes)
}

/// Bits [W[r] . Z[lanes] >= 0] of R neurons by V vectors of samples.
///
/// # Safety
/// - `w + k * PANEL` is readable for R values and `z + k * PANEL` for V vectors, for `k < inputs`.
#[inline(always)]
unsafe fn signs<T: Real, S: Lanes, const R: usize, const V: usize>(
    s: S,
    inputs: usize,
    w: *const T,
    z: *const T,
) -> [u64; R] {
    let zero = T::vsplat(s, T::ZERO);
    let mut acc = [[zero; V]; R];
    // SAFETY: readable by the contract above.
    unsafe { accumulate(s, inputs, Broadcast { start: w, row: 1, step: PANEL }, z, &mut acc) };
    let mut bits = [0; R];
    for r in 0..R {
        for v in 0..V {
            bits[r] |= T::vbits(s, T::vge(s, acc[r][v], zero)) << (v * T::lanes::<S>());
        }
    }
    bits
}
