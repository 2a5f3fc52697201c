//! Forward pass: outputs and activation bits of a batch.

use super::tile::{MOST_BLOCKS, Part, RowTile, blocks_at_once, blocks_per_task, cover, write_words};
use super::{Layers, Workspace, check_buffers, scale};
use crate::Result;
use crate::kernels::outer::{Broadcast, accumulate};
use crate::kernels::patterns::ActivationPatterns;
use crate::kernels::{Disjoint, Lane64, PANEL, Panels, for_each_task};
use crate::simd::{Kernel, Lanes, Level, Real};

/// [`forward_with`] at the current level.
///
/// # Errors
/// As for [`forward_with`].
pub fn forward_into<T: Real>(
    outputs: &mut Panels<T>,
    patterns: Option<&mut ActivationPatterns>,
    layers: Layers<'_, T>,
    z: &Panels<T>,
    workspaces: &mut [Workspace<T>],
) -> Result<()> {
    forward_with(Level::current(), outputs, patterns, layers, z, workspaces)
}

/// Outputs U (N x d) of the network on the samples `z` (N x D), and the activation patterns (N x m bits) where asked for.
///
/// Runs on as many workers as there are workspaces; the result does not depend on how many.
///
/// # Errors
/// [`crate::Error::Shape`] if the shapes do not fit together, [`crate::Error::Setting`] if the workspaces do not.
pub fn forward_with<T: Real>(
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
        level.run(Blocks { z, count: end - first, w, a, outputs, patterns, chunk: &mut workspace.chunk });
    });
    Ok(())
}

/// The forward pass of some blocks of 64 samples.
struct Blocks<'a, T> {
    z: &'a [Lane64<T>],
    count: usize,
    w: &'a Panels<T>,
    a: &'a Panels<T>,
    outputs: &'a mut [Lane64<T>],
    patterns: Option<&'a mut [u64]>,
    chunk: &'a mut [Lane64<T>],
}

impl<T: Real> Kernel for Blocks<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        // 16 accumulators of 32 registers, or 12 of 16: enough to hide the latency of the multiply-adds. With one or two
        // outputs their sums take registers as well.
        match (S::REGISTER_COUNT >= 32, self.a.columns()) {
            (true, 1) => self.run_tiled::<S, 4, 4, 1>(s),
            (true, 2) => self.run_tiled::<S, 4, 4, 2>(s),
            (true, _) => self.run_tiled::<S, 4, 4, 0>(s),
            (false, 1) => self.run_tiled::<S, 4, 2, 1>(s),
            (false, 2) => self.run_tiled::<S, 4, 2, 2>(s),
            (false, _) => self.run_tiled::<S, 6, 2, 0>(s),
        }
    }
}

impl<T: Real> Blocks<'_, T> {
    #[inline(always)]
    fn run_tiled<S: Lanes, const R: usize, const V: usize, const FEW: usize>(mut self, s: S) {
        let (inputs, width, words) = (self.w.columns(), self.a.columns(), self.w.blocks());
        let group = V * T::lanes::<S>();
        assert!(self.chunk.len() == PANEL && PANEL.is_multiple_of(group));
        assert!(self.z.len() == self.count * inputs && self.outputs.len() == self.count * width);
        if words == 0 {
            self.outputs.fill(Lane64([T::ZERO; PANEL]));
        }
        let (mut bits, line) = ([[0u64; PANEL]; MOST_BLOCKS], blocks_at_once::<T>(inputs));
        for first in (0..words).step_by(line) {
            let blocks = first..(first + line).min(words);
            for sample in 0..self.count {
                let z = &self.z[sample * inputs..][..inputs];
                let outputs = &mut self.outputs[sample * width..][..width];
                for block in blocks.clone() {
                    let neurons = self.w.rows_in(block);
                    let (w, a) = (self.w.block(block), self.a.block(block));
                    let last = block + 1 == words;
                    let part = Part { first: block == 0, scale: if last { scale::<T>(self.w.rows()) } else { T::ONE } };
                    let bits = &mut bits[block - first];
                    *bits = [0; PANEL];
                    for first_lane in (0..PANEL).step_by(group) {
                        // SAFETY: W has `inputs` columns of 64 neurons in this block, z as many of 64 samples, the chunk has
                        // room for 64 neurons, and A and U have `width` columns; lanes first_lane .. first_lane + group exist
                        // in each.
                        unsafe {
                            let u = outputs.as_mut_ptr().cast::<T>().add(first_lane);
                            if FEW > 0 {
                                let mut sums = [[T::vsplat(s, T::ZERO); V]; FEW];
                                let fold = Fold::<T, S, V, FEW> {
                                    s,
                                    inputs,
                                    w: w.as_ptr().cast(),
                                    z: z.as_ptr().cast::<T>().add(first_lane),
                                    a: a.as_ptr().cast(),
                                    bits,
                                    first_lane,
                                    sums: &mut sums,
                                };
                                cover::<R>(neurons, fold);
                                part.add(s, u, &sums);
                                continue;
                            }
                            let activate = Activate::<T, S, V> {
                                s,
                                inputs,
                                w: w.as_ptr().cast(),
                                z: z.as_ptr().cast::<T>().add(first_lane),
                                p: self.chunk.as_mut_ptr().cast::<T>().add(first_lane),
                                bits,
                                first_lane,
                            };
                            cover::<R>(neurons, activate);
                            let collect = Collect::<T, S, V> {
                                s,
                                neurons,
                                part,
                                a: a.as_ptr().cast(),
                                p: self.chunk.as_ptr().cast::<T>().add(first_lane),
                                u,
                            };
                            cover::<R>(width, collect);
                        }
                    }
                    if self.patterns.is_some() {
                        s.transpose_bits(bits);
                    }
                }
                if let Some(patterns) = self.patterns.as_deref_mut() {
                    write_words(&mut patterns[sample * PANEL * words..], words, first, &bits[..blocks.len()]);
                }
            }
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

impl<T: Real, S: Lanes, const V: usize> RowTile for Activate<'_, T, S, V> {
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

/// U[i][lanes] += sum_r A[r,i] P[r][lanes].
struct Collect<T, S, const V: usize> {
    s: S,
    neurons: usize,
    part: Part<T>,
    a: *const T,
    p: *const T,
    u: *mut T,
}

impl<T: Real, S: Lanes, const V: usize> RowTile for Collect<T, S, V> {
    #[inline(always)]
    unsafe fn tile<const R: usize>(&mut self, first: usize) {
        // SAFETY: rows first .. first + R are outputs, see the caller.
        unsafe {
            let u = self.u.add(first * PANEL);
            let mut acc = [[T::vsplat(self.s, T::ZERO); V]; R];
            let b = Broadcast { start: self.a.add(first * PANEL), row: PANEL, step: 1 };
            accumulate(self.s, self.neurons, b, self.p, &mut acc);
            self.part.add(self.s, u, &acc);
        }
    }
}

/// Activate and Collect in one for few outputs, whose sums stay in registers while all neurons of a block go by.
struct Fold<'a, T: Real, S: Lanes, const V: usize, const FEW: usize> {
    s: S,
    inputs: usize,
    w: *const T,
    z: *const T,
    a: *const T,
    bits: &'a mut [u64; PANEL],
    first_lane: usize,
    sums: &'a mut [[T::Vector<S>; V]; FEW],
}

impl<T: Real, S: Lanes, const V: usize, const FEW: usize> RowTile for Fold<'_, T, S, V, FEW> {
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
