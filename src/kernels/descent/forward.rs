//! Forward pass: outputs and activation bits of a batch.

use super::{Layers, Workspace, check_buffers};
use crate::Result;
use crate::kernels::outer::{Broadcast, accumulate};
use crate::kernels::patterns::ActivationPatterns;
use crate::kernels::row_tile::{
    BlockPair, Collect, ForwardPass, RowTile, blocks_at_once, blocks_per_task, cover, for_each_block, part_of_neurons,
    write_words,
};
use crate::kernels::{Disjoint, Lane64, PANEL, Panels, for_each_task};
use crate::simd::{Kernel, Lanes, Level, Scalar};

/// See [`super::forward_with`].
pub(in crate::kernels) fn forward<T: Scalar>(
    level: Level,
    outputs: &mut Panels<T>,
    patterns: Option<&mut ActivationPatterns>,
    layers: Layers<'_, T>,
    z: &Panels<T>,
    workspaces: &mut [Workspace<T>],
) -> Result<()> {
    let Layers { w, a } = layers;
    let (inputs, neurons, width) = (w.columns(), w.rows(), a.columns());
    z.expect_shape("the samples", z.rows(), inputs)?;
    a.expect_shape("the output signs", neurons, width)?;
    outputs.expect_shape("the outputs", z.rows(), width)?;
    check_buffers(workspaces, inputs)?;
    let mut rows_of_words = None;
    let words = neurons.div_ceil(64);
    if let Some(patterns) = patterns {
        if (patterns.samples(), patterns.neurons()) != (z.rows(), neurons) {
            patterns.reset(z.rows(), neurons);
        }
        rows_of_words = Some(Disjoint::new(patterns.words_mut()));
    }
    let (blocks, group) = (z.blocks(), blocks_per_task::<T>(z.blocks(), inputs + width, workspaces.len()));
    let out = Disjoint::new(outputs.lanes_mut());
    for_each_task(blocks.div_ceil(group), workspaces, |workspace, task| {
        let (first, end) = (task * group, (task * group + group).min(blocks));
        let rows = z.rows().min(end * PANEL) - first * PANEL;
        // SAFETY: each task takes the outputs and the pattern rows of its own blocks of samples.
        let (outputs, patterns) = unsafe {
            let patterns = rows_of_words.as_ref().map(|p| p.piece(first * PANEL * words, rows * words));
            (out.piece(first * width, (end - first) * width), patterns)
        };
        let z = &z.lanes()[first * inputs..end * inputs];
        level.run(ForwardBlocks { z, count: end - first, w, a, outputs, patterns, chunk: &mut workspace.chunk });
    });
    Ok(())
}

/// The forward pass of some blocks of 64 samples.
struct ForwardBlocks<'a, T> {
    z: &'a [Lane64<T>],
    count: usize,
    w: &'a Panels<T>,
    a: &'a Panels<T>,
    outputs: &'a mut [Lane64<T>],
    patterns: Option<&'a mut [u64]>,
    chunk: &'a mut [Lane64<T>],
}

impl<T: Scalar> Kernel for ForwardBlocks<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        // 16 accumulators of 32 registers, or 12 of 16: enough to hide the latency of the multiply-adds. With one or two
        // outputs their sums take registers as well.
        if const { S::REGISTER_COUNT >= 32 } {
            match self.a.columns() {
                1 => self.run_tiled::<S, 4, 4, 1>(s),
                2 => self.run_tiled::<S, 4, 4, 2>(s),
                _ => self.run_tiled::<S, 4, 4, 0>(s),
            }
        } else {
            match self.a.columns() {
                1 => self.run_tiled::<S, 4, 2, 1>(s),
                2 => self.run_tiled::<S, 4, 2, 2>(s),
                _ => self.run_tiled::<S, 6, 2, 0>(s),
            }
        }
    }
}

impl<T: Scalar> ForwardBlocks<'_, T> {
    #[inline(always)]
    fn run_tiled<S: Lanes, const R: usize, const V: usize, const FEW: usize>(self, s: S) {
        let (inputs, width, words) = (self.w.columns(), self.a.columns(), self.w.blocks());
        assert!(self.chunk.len() == PANEL && self.a.blocks() == words);
        assert!(self.z.len() == self.count * inputs && self.outputs.len() == self.count * width);
        if words == 0 {
            self.outputs.fill(Lane64([T::ZERO; PANEL]));
        }
        let (count, line, group) = (self.count, blocks_at_once::<T>(inputs), V * T::lanes::<S>());
        for_each_block(s, count, words, line, group, &mut TiledForward::<T, R, V, FEW>(self));
    }
}

/// The same with tiles of R neurons by V vectors, and the outputs' sums in registers if there are only `FEW`.
struct TiledForward<'a, T, const R: usize, const V: usize, const FEW: usize>(ForwardBlocks<'a, T>);

impl<T: Scalar, const R: usize, const V: usize, const FEW: usize> ForwardPass for TiledForward<'_, T, R, V, FEW> {
    #[inline(always)]
    fn lanes<S: Lanes>(&mut self, s: S, at: BlockPair, bits: &mut [u64; PANEL], first_lane: usize) {
        let of = &mut self.0;
        let (inputs, width, neurons) = (of.w.columns(), of.a.columns(), of.w.rows_in(at.neuron));
        let (w, a, part) = (of.w.block(at.neuron), of.a.block(at.neuron), part_of_neurons(of.a, at.neuron));
        let (z, outputs) = (&of.z[at.sample * inputs..][..inputs], &mut of.outputs[at.sample * width..][..width]);
        // SAFETY: W has `inputs` columns of 64 neurons in this block, z as many of 64 samples, the chunk has room for 64 neurons,
        // and A and U have `width` columns; V vectors from first_lane on exist in each.
        unsafe {
            let (w, a) = (w.as_ptr().cast::<T>(), a.as_ptr().cast::<T>());
            let z = z.as_ptr().cast::<T>().add(first_lane);
            let u = outputs.as_mut_ptr().cast::<T>().add(first_lane);
            if const { FEW > 0 } {
                let mut sums = [[T::vsplat(s, T::ZERO); V]; FEW];
                cover::<R>(neurons, Fold::<T, S, V, FEW> { s, inputs, w, z, a, bits, first_lane, sums: &mut sums });
                part.add(s, u, &sums);
            } else {
                let p = of.chunk.as_mut_ptr().cast::<T>().add(first_lane);
                cover::<R>(neurons, Activate::<T, S, V> { s, inputs, w, z, p, bits, first_lane });
                cover::<R>(width, Collect::<T, S, V> { s, neurons, part, a, p, out: u });
            }
        }
    }

    #[inline(always)]
    fn end<S: Lanes>(&mut self, s: S, sample: usize, first: usize, bits: &mut [[u64; PANEL]]) {
        let words = self.0.w.blocks();
        if let Some(patterns) = self.0.patterns.as_deref_mut() {
            for bits in &mut *bits {
                s.transpose_bits(bits);
            }
            write_words(&mut patterns[sample * PANEL * words..], words, first, bits);
        }
    }
}

/// P[r][lanes] = W[r] . Z[lanes], its signs as bits, and its positive part.
struct Activate<'a, T, S, const V: usize> {
    s: S,
    inputs: usize,
    w: *const T,
    z: *const T,
    p: *mut T,
    bits: &'a mut [u64; PANEL],
    first_lane: usize,
}

impl<T: Scalar, S: Lanes, const V: usize> RowTile for Activate<'_, T, S, V> {
    #[inline(always)]
    unsafe fn tile<const R: usize>(&mut self, first: usize) {
        let s = self.s;
        let zero = T::vsplat(s, T::ZERO);
        let mut acc = [[zero; V]; R];
        // SAFETY: rows first .. first + R are neurons of this block, see the caller.
        unsafe {
            let b = Broadcast { start: self.w.add(first), row: 1, step: PANEL };
            accumulate(s, self.inputs, b, self.z, &mut acc);
            for r in 0..R {
                let mut word = 0;
                for v in 0..V {
                    let active = T::vge(s, acc[r][v], zero);
                    let lane = v * T::lanes::<S>();
                    word |= T::vbits(s, active) << (self.first_lane + lane);
                    let positive = T::vselect(s, active, acc[r][v], zero);
                    T::vstore(s, self.p.add((first + r) * PANEL + lane), positive);
                }
                self.bits[first + r] |= word;
            }
        }
    }
}

/// Activate and Collect in one for few outputs, whose sums stay in registers while all neurons of a block go by.
struct Fold<'a, T: Scalar, S: Lanes, const V: usize, const FEW: usize> {
    s: S,
    inputs: usize,
    w: *const T,
    z: *const T,
    a: *const T,
    bits: &'a mut [u64; PANEL],
    first_lane: usize,
    sums: &'a mut [[T::Vector<S>; V]; FEW],
}

impl<T: Scalar, S: Lanes, const V: usize, const FEW: usize> RowTile for Fold<'_, T, S, V, FEW> {
    #[inline(always)]
    unsafe fn tile<const R: usize>(&mut self, first: usize) {
        let s = self.s;
        let zero = T::vsplat(s, T::ZERO);
        let mut acc = [[zero; V]; R];
        // SAFETY: rows first .. first + R are neurons of this block, and A has FEW columns, see the caller.
        unsafe {
            let b = Broadcast { start: self.w.add(first), row: 1, step: PANEL };
            accumulate(s, self.inputs, b, self.z, &mut acc);
            for r in 0..R {
                let mut word = 0;
                for v in 0..V {
                    let active = T::vge(s, acc[r][v], zero);
                    word |= T::vbits(s, active) << (self.first_lane + v * T::lanes::<S>());
                    acc[r][v] = T::vselect(s, active, acc[r][v], zero);
                }
                self.bits[first + r] |= word;
                for i in 0..FEW {
                    let sign = T::vsplat(s, *self.a.add(i * PANEL + first + r));
                    for v in 0..V {
                        self.sums[i][v] = T::vmul_add(s, sign, acc[r][v], self.sums[i][v]);
                    }
                }
            }
        }
    }
}
