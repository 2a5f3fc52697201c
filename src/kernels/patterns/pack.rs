//! Packing patterns from weights and samples without storing the pre-activations.
//!
//! ```text
//! lanes = samples; per block of 64 neurons, per block of 64 samples (of a few, so that W is fetched from afar once for them):
//!     P[r][lanes] = sum_k W[r,k] Z[k][lanes]   in registers, R neurons by V vectors at a time
//!     bits [P >= 0] of the 64 x 64 block, transposed so that each sample gets one word over neurons
//! ```

use faer::Par;

use super::ActivationPatterns;
use crate::Result;
use crate::kernels::descent::tile::{MOST_BLOCKS, RowTile, blocks_at_once, blocks_per_task, cover, write_words};
use crate::kernels::outer::{Broadcast, accumulate};
use crate::kernels::{Disjoint, Lane64, PANEL, Panels, for_each_task, workers};
use crate::simd::{Kernel, Lanes, Level, Real};

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
    let (inputs, words, workers) = (w.columns(), patterns.words_per_row(), workers(par));
    let (blocks, group) = (z.blocks(), blocks_per_task::<T>(z.blocks(), inputs, workers));
    let out = Disjoint::new(patterns.words_mut());
    for_each_task(blocks.div_ceil(group), &mut vec![(); workers], |(), task| {
        let (first, end) = (task * group, (task * group + group).min(blocks));
        let rows = z.rows().min(end * PANEL) - first * PANEL;
        // SAFETY: each task takes the rows of its own blocks of samples.
        let patterns = unsafe { out.piece(first * PANEL * words, rows * words) };
        level.run(Blocks { z: &z.lanes()[first * inputs..end * inputs], count: end - first, w, patterns });
    });
    Ok(())
}

/// The patterns of some blocks of 64 samples.
struct Blocks<'a, T> {
    z: &'a [Lane64<T>],
    count: usize,
    w: &'a Panels<T>,
    patterns: &'a mut [u64],
}

impl<T: Real> Kernel for Blocks<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        // 16 accumulators of 32 registers, or 12 of 16: enough to hide the latency of the multiply-adds.
        if S::REGISTER_COUNT >= 32 { self.run_tiled::<S, 4, 4>(s) } else { self.run_tiled::<S, 6, 2>(s) }
    }
}

impl<T: Real> Blocks<'_, T> {
    #[inline(always)]
    fn run_tiled<S: Lanes, const R: usize, const V: usize>(self, s: S) {
        let (inputs, words) = (self.w.columns(), self.w.blocks());
        let group = V * T::lanes::<S>();
        assert!(self.z.len() == self.count * inputs && PANEL.is_multiple_of(group));
        let (mut bits, line) = ([[0u64; PANEL]; MOST_BLOCKS], blocks_at_once::<T>(inputs));
        for first in (0..words).step_by(line) {
            let blocks = first..(first + line).min(words);
            for sample in 0..self.count {
                let z = &self.z[sample * inputs..][..inputs];
                for block in blocks.clone() {
                    let (neurons, w) = (self.w.rows_in(block), self.w.block(block));
                    let bits = &mut bits[block - first];
                    *bits = [0; PANEL];
                    for first_lane in (0..PANEL).step_by(group) {
                        // SAFETY: W has `inputs` columns of 64 neurons in this block and z as many of 64 samples, and lanes
                        // first_lane .. first_lane + group exist, as the group divides 64.
                        unsafe {
                            let z = z.as_ptr().cast::<T>().add(first_lane);
                            let w = w.as_ptr().cast();
                            cover::<R>(neurons, Signs::<T, S, V> { s, inputs, w, z, bits, first_lane });
                        }
                    }
                    s.transpose_bits(bits);
                }
                write_words(&mut self.patterns[sample * PANEL * words..], words, first, &bits[..blocks.len()]);
            }
        }
    }
}

/// Bits [W[r] . Z[lanes] >= 0] of some neurons by V vectors of samples.
struct Signs<'a, T, S, const V: usize> {
    s: S,
    inputs: usize,
    w: *const T,
    z: *const T,
    bits: &'a mut [u64; PANEL],
    first_lane: usize,
}

impl<T: Real, S: Lanes, const V: usize> RowTile for Signs<'_, T, S, V> {
    #[inline(always)]
    unsafe fn tile<const R: usize>(&mut self, first: usize) {
        let s = self.s;
        let zero = T::vsplat(s, T::ZERO);
        let mut acc = [[zero; V]; R];
        // SAFETY: rows first .. first + R are neurons of this block, and the lanes exist, see the caller.
        unsafe {
            let b = Broadcast { start: self.w.add(first), row: 1, step: PANEL };
            accumulate(s, self.inputs, b, self.z, &mut acc);
        }
        for r in 0..R {
            let mut word = 0;
            for v in 0..V {
                word |= T::vbits(s, T::vge(s, acc[r][v], zero)) << (self.first_lane + v * T::lanes::<S>());
            }
            self.bits[first + r] |= word;
        }
    }
}
