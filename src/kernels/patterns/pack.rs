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
use crate::kernels::outer::{Broadcast, accumulate};
use crate::kernels::row_tile::{
    BlockPair, ForwardPass, RowTile, blocks_at_once, blocks_per_task, cover, for_each_block, write_words,
};
use crate::kernels::{Disjoint, Lane64, PANEL, Panels, for_each_task, workers};
use crate::simd::{Kernel, Lanes, Level, Scalar};

/// See [`super::patterns_with`].
pub(in crate::kernels) fn pack<T: Scalar>(
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
        level.run(PatternBlocks { z: &z.lanes()[first * inputs..end * inputs], count: end - first, w, patterns });
    });
    Ok(())
}

/// The patterns of some blocks of 64 samples.
struct PatternBlocks<'a, T> {
    z: &'a [Lane64<T>],
    count: usize,
    w: &'a Panels<T>,
    patterns: &'a mut [u64],
}

impl<T: Scalar> Kernel for PatternBlocks<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        // 16 accumulators of 32 registers, or 12 of 16: enough to hide the latency of the multiply-adds.
        if const { S::REGISTER_COUNT >= 32 } { self.run_tiled::<S, 4, 4>(s) } else { self.run_tiled::<S, 6, 2>(s) }
    }
}

impl<T: Scalar> PatternBlocks<'_, T> {
    #[inline(always)]
    fn run_tiled<S: Lanes, const R: usize, const V: usize>(self, s: S) {
        let (inputs, words) = (self.w.columns(), self.w.blocks());
        assert!(self.z.len() == self.count * inputs);
        let (count, line, group) = (self.count, blocks_at_once::<T>(inputs), V * T::lanes::<S>());
        for_each_block(s, count, words, line, group, &mut TiledPatterns::<T, R, V>(self));
    }
}

/// The same with tiles of R neurons by V vectors.
struct TiledPatterns<'a, T, const R: usize, const V: usize>(PatternBlocks<'a, T>);

impl<T: Scalar, const R: usize, const V: usize> ForwardPass for TiledPatterns<'_, T, R, V> {
    #[inline(always)]
    fn lanes<S: Lanes>(&mut self, s: S, at: BlockPair, bits: &mut [u64; PANEL], first_lane: usize) {
        let of = &self.0;
        let (inputs, neurons, w) = (of.w.columns(), of.w.rows_in(at.neuron), of.w.block(at.neuron));
        let z = &of.z[at.sample * inputs..][..inputs];
        // SAFETY: W has `inputs` columns of 64 neurons in this block and z as many of 64 samples, and V vectors from first_lane on
        // exist.
        unsafe {
            let (w, z) = (w.as_ptr().cast::<T>(), z.as_ptr().cast::<T>().add(first_lane));
            cover::<R>(neurons, Signs::<T, S, V> { s, inputs, w, z, bits, first_lane });
        }
    }

    #[inline(always)]
    fn end<S: Lanes>(&mut self, s: S, sample: usize, first: usize, bits: &mut [[u64; PANEL]]) {
        for bits in &mut *bits {
            s.transpose_bits(bits);
        }
        let words = self.0.w.blocks();
        write_words(&mut self.0.patterns[sample * PANEL * words..], words, first, bits);
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

impl<T: Scalar, S: Lanes, const V: usize> RowTile for Signs<'_, T, S, V> {
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
