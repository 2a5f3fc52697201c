//! Backward pass: the gradient, or the weights updated with it as soon as each block is finished.

use std::ops::Range;

use super::optimizer::{Optimizer, StateBlocks, Update, check_step};
use super::{BackwardInputs, Step, Workspace, check_buffers};
use crate::Result;
use crate::kernels::outer::{Broadcast, accumulate};
use crate::kernels::panels::check_shape;
use crate::kernels::row_tile::{MOST_BLOCKS, Part, RowTile, blocks_per_task, cover, inverse_root, with_constant};
use crate::kernels::{Disjoint, Lane64, PANEL, Panels, for_each_task};
use crate::simd::{Kernel, Lanes, Level, Scalar};

/// See [`super::gradient_with`].
pub(in crate::kernels) fn gradient<T: Scalar>(
    level: Level,
    gradient: &mut Panels<T>,
    inputs: BackwardInputs<'_, T>,
    workspaces: &mut [Workspace<T>],
) -> Result<()> {
    check(inputs, workspaces)?;
    let BackwardInputs { a, z, .. } = inputs;
    gradient.expect_shape("the gradient", a.rows(), z.columns())?;
    let columns = z.columns();
    let (blocks, group) = (a.blocks(), blocks_per_task::<T>(a.blocks(), columns + a.columns(), workspaces.len()));
    let out = Disjoint::new(gradient.lanes_mut());
    for_each_task(blocks.div_ceil(group), workspaces, |workspace, task| {
        let blocks = task * group..(task * group + group).min(blocks);
        // SAFETY: each task takes the gradient of its own blocks of neurons.
        let gradient = unsafe { out.piece(blocks.start * columns, blocks.len() * columns) };
        level.run(BackwardBlocks { inputs, blocks, gradient, chunk: &mut workspace.chunk, update: None });
    });
    Ok(())
}

/// See [`super::update_with`].
pub(in crate::kernels) fn update_weights<T: Scalar>(
    level: Level,
    w: &mut Panels<T>,
    optimizer: &mut Optimizer<T>,
    step: Step,
    inputs: BackwardInputs<'_, T>,
    workspaces: &mut [Workspace<T>],
) -> Result<()> {
    check(inputs, workspaces)?;
    let BackwardInputs { a, z, .. } = inputs;
    w.expect_shape("the weights", a.rows(), z.columns())?;
    optimizer.check(w)?;
    check_step(step)?;
    let columns = z.columns();
    let numbers = optimizer.begin(step);
    let state = optimizer.storage().map(|s| (s.len(), Disjoint::new(s)));
    let weights = Disjoint::new(w.lanes_mut());
    let buffered = workspaces.iter().map(|w| w.sums.len()).min().unwrap_or(0) / columns.max(1);
    let group = blocks_per_task::<T>(a.blocks(), columns + a.columns(), workspaces.len()).min(buffered.max(1));
    let blocks = a.blocks();
    for_each_task(blocks.div_ceil(group), workspaces, |workspace, task| {
        let blocks = task * group..(task * group + group).min(blocks);
        let (from, len) = (blocks.start * columns, blocks.len() * columns);
        // SAFETY: each task takes the weights and the state of its own blocks of neurons.
        let (w, [first, second, average]) = unsafe {
            let state = state.each_ref().map(|(all, s)| if *all == 0 { s.piece(0, 0) } else { s.piece(from, len) });
            (weights.piece(from, len), state)
        };
        let update = Some(Update { numbers, w, state: StateBlocks { first, second, average } });
        let gradient = &mut workspace.sums[..len];
        level.run(BackwardBlocks { inputs, blocks, gradient, chunk: &mut workspace.chunk, update });
    });
    Ok(())
}

fn check<T: Scalar>(inputs: BackwardInputs<'_, T>, workspaces: &[Workspace<T>]) -> Result<()> {
    let BackwardInputs { e, patterns, a, z } = inputs;
    e.expect_shape("the errors", z.rows(), a.columns())?;
    check_shape("the activation patterns", patterns.samples(), patterns.neurons(), z.rows(), a.rows())?;
    check_buffers(workspaces, z.columns())
}

/// The backward pass of some blocks of 64 neurons.
struct BackwardBlocks<'a, T> {
    inputs: BackwardInputs<'a, T>,
    blocks: Range<usize>,
    gradient: &'a mut [Lane64<T>],
    chunk: &'a mut [Lane64<T>],
    update: Option<Update<'a, T>>,
}

impl<T: Scalar> Kernel for BackwardBlocks<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        // As in the forward pass; with few inputs and outputs nothing goes through the buffer.
        let few = if self.inputs.z.columns() <= 4 { self.inputs.a.columns() } else { 0 };
        if const { S::REGISTER_COUNT >= 32 } {
            match few {
                1 => self.run_tiled::<S, 4, 4, 1>(s),
                2 => self.run_tiled::<S, 4, 4, 2>(s),
                _ => self.run_tiled::<S, 4, 4, 0>(s),
            }
        } else {
            match few {
                1 => self.run_tiled::<S, 4, 2, 1>(s),
                2 => self.run_tiled::<S, 4, 2, 2>(s),
                _ => self.run_tiled::<S, 6, 2, 0>(s),
            }
        }
    }
}

impl<T: Scalar> BackwardBlocks<'_, T> {
    #[inline(always)]
    fn run_tiled<S: Lanes, const R: usize, const V: usize, const FEW: usize>(mut self, s: S) {
        let BackwardInputs { e, patterns, a, z } = self.inputs;
        let (columns, words) = (z.columns(), patterns.words_per_row());
        let group = V * T::lanes::<S>();
        assert!(self.chunk.len() == PANEL && PANEL.is_multiple_of(group));
        assert!(self.gradient.len() == self.blocks.len() * columns);
        if z.blocks() == 0 {
            self.gradient.fill(Lane64([T::ZERO; PANEL]));
        }
        // What an update will touch, to be fetched during the last samples.
        let mut ahead = [std::ptr::null::<T>(); 4];
        if let Some(Update { w, state, .. }) = &self.update {
            let StateBlocks { first, second, average } = state;
            ahead =
                [&**w, first, second, average].map(|m| if m.is_empty() { std::ptr::null() } else { m.as_ptr().cast() });
        }
        let mut bits = [[0u64; PANEL]; MOST_BLOCKS];
        for samples in 0..z.blocks() {
            let rows = z.rows_in(samples);
            let last = samples + 1 == z.blocks();
            let part = Part { first: samples == 0, scale: if last { inverse_root(a.rows()) } else { T::ONE } };
            let chunk = &patterns.words()[samples * PANEL * words..][..rows * words];
            with_constant!(self.blocks.len(), [1, 2, 3, 4, 5, 6, 7, 8], B => {
                words_of::<B>(&mut bits, chunk, words, self.blocks.start);
            });
            for (n, block) in self.blocks.clone().enumerate() {
                let signs = a.block(block);
                let gradient = &mut self.gradient[n * columns..][..columns];
                let bits = &bits[n];
                let mut next = [std::ptr::null(); 4];
                if last {
                    next = ahead.map(|m| if m.is_null() { m } else { m.wrapping_add(n * columns * PANEL) });
                }
                for first_lane in (0..PANEL).step_by(group) {
                    // SAFETY: E has `outputs` columns of 64 samples in this block, A as many of 64 neurons, the chunk has
                    // room for 64 samples, Z and G have `columns` columns; lanes first_lane .. first_lane + group exist in
                    // each.
                    unsafe {
                        if const { FEW > 0 } {
                            let fold = Fold::<T, S, V, FEW> {
                                s,
                                rows,
                                part,
                                e: e.block(samples).as_ptr().cast(),
                                a: signs.as_ptr().cast::<T>().add(first_lane),
                                z: z.block(samples).as_ptr().cast(),
                                g: gradient.as_mut_ptr().cast::<T>().add(first_lane),
                                bits,
                                first_lane,
                            };
                            cover::<R>(columns, fold);
                            continue;
                        }
                        let spread = Spread::<T, S, V> {
                            s,
                            outputs: signs.len(),
                            e: e.block(samples).as_ptr().cast(),
                            a: signs.as_ptr().cast::<T>().add(first_lane),
                            b: self.chunk.as_mut_ptr().cast::<T>().add(first_lane),
                            bits,
                            first_lane,
                        };
                        cover::<R>(rows, spread);
                        let gather = Gather::<T, S, V> {
                            s,
                            rows,
                            part,
                            z: z.block(samples).as_ptr().cast(),
                            b: self.chunk.as_ptr().cast::<T>().add(first_lane),
                            g: gradient.as_mut_ptr().cast::<T>().add(first_lane),
                            ahead: next.map(|m| if m.is_null() { m } else { m.wrapping_add(first_lane) }),
                        };
                        cover::<R>(columns, gather);
                    }
                }
                if last && let Some(update) = &mut self.update {
                    update.apply(s, n * columns..(n + 1) * columns, gradient);
                }
            }
        }
        if z.blocks() == 0
            && let Some(mut update) = self.update
        {
            update.apply(s, 0..self.gradient.len(), self.gradient);
        }
    }
}

/// Words `first .. first + B` of every row of at most 64 rows of `words` words: all of a row at once, because rows lie far apart, so
/// that the line they are on is fetched once.
#[inline(always)]
fn words_of<const B: usize>(bits: &mut [[u64; PANEL]; MOST_BLOCKS], rows: &[u64], words: usize, first: usize) {
    for (j, row) in rows.chunks_exact(words).enumerate().take(PANEL) {
        for (n, word) in row[first..first + B].iter().enumerate() {
            bits[n][j] = *word;
        }
    }
}

/// B[j][lanes] = E[j] . A[lanes], zero where neuron `lane` is inactive on sample `j`.
struct Spread<'a, T, S, const V: usize> {
    s: S,
    outputs: usize,
    e: *const T,
    a: *const T,
    b: *mut T,
    bits: &'a [u64; PANEL],
    first_lane: usize,
}

impl<T: Scalar, S: Lanes, const V: usize> RowTile for Spread<'_, T, S, V> {
    #[inline(always)]
    unsafe fn tile<const R: usize>(&mut self, first: usize) {
        let (s, lanes) = (self.s, T::lanes::<S>());
        let mut acc = [[T::vsplat(s, T::ZERO); V]; R];
        // SAFETY: rows first .. first + R are samples of this block, see the caller.
        unsafe {
            let b = Broadcast { start: self.e.add(first), row: 1, step: PANEL };
            accumulate(s, self.outputs, b, self.a, &mut acc);
            for r in 0..R {
                let word = self.bits[first + r] >> self.first_lane;
                for v in 0..V {
                    let kept = T::vkeep(s, word >> (v * lanes), acc[r][v]);
                    T::vstore(s, self.b.add((first + r) * PANEL + v * lanes), kept);
                }
            }
        }
    }
}

/// G[k][lanes] += sum_j Z[j,k] B[j][lanes].
struct Gather<T, S, const V: usize> {
    s: S,
    rows: usize,
    part: Part<T>,
    z: *const T,
    b: *const T,
    g: *mut T,
    /// Matrices of the shape of G that will be wanted next; null where there is none.
    ahead: [*const T; 4],
}

impl<T: Scalar, S: Lanes, const V: usize> RowTile for Gather<T, S, V> {
    #[inline(always)]
    unsafe fn tile<const R: usize>(&mut self, first: usize) {
        // SAFETY: rows first .. first + R are inputs, see the caller.
        unsafe {
            let g = self.g.add(first * PANEL);
            let mut acc = [[T::vsplat(self.s, T::ZERO); V]; R];
            let b = Broadcast { start: self.z.add(first * PANEL), row: PANEL, step: 1 };
            accumulate(self.s, self.rows, b, self.b, &mut acc);
            self.part.add(self.s, g, &acc);
            for rows in self.ahead {
                if !rows.is_null() {
                    for r in first..first + R {
                        for v in 0..V {
                            self.s.prefetch(rows.wrapping_add(r * PANEL + v * T::lanes::<S>()));
                        }
                    }
                }
            }
        }
    }
}

/// Spread and Gather in one for few inputs and outputs: signs and sums stay in registers while all samples of a block go by.
struct Fold<'a, T, S, const V: usize, const FEW: usize> {
    s: S,
    rows: usize,
    part: Part<T>,
    e: *const T,
    a: *const T,
    z: *const T,
    g: *mut T,
    bits: &'a [u64; PANEL],
    first_lane: usize,
}

impl<T: Scalar, S: Lanes, const V: usize, const FEW: usize> RowTile for Fold<'_, T, S, V, FEW> {
    #[inline(always)]
    unsafe fn tile<const R: usize>(&mut self, first: usize) {
        let (s, lanes) = (self.s, T::lanes::<S>());
        let zero = T::vsplat(s, T::ZERO);
        let (mut acc, mut signs) = ([[zero; V]; R], [[zero; V]; FEW]);
        // SAFETY: rows first .. first + R are inputs, E and A have FEW columns, see the caller.
        unsafe {
            let (z, g) = (self.z.add(first * PANEL), self.g.add(first * PANEL));
            for i in 0..FEW {
                for v in 0..V {
                    signs[i][v] = T::vload(s, self.a.add(i * PANEL + v * lanes));
                }
            }
            for j in 0..self.rows {
                let word = self.bits[j] >> self.first_lane;
                let mut back = [zero; V];
                for i in 0..FEW {
                    let error = T::vsplat(s, *self.e.add(i * PANEL + j));
                    for v in 0..V {
                        back[v] = T::vmul_add(s, error, signs[i][v], back[v]);
                    }
                }
                for v in 0..V {
                    back[v] = T::vkeep(s, word >> (v * lanes), back[v]);
                }
                for r in 0..R {
                    let input = T::vsplat(s, *z.add(r * PANEL + j));
                    for v in 0..V {
                        acc[r][v] = T::vmul_add(s, input, back[v], acc[r][v]);
                    }
                }
            }
            self.part.add(s, g, &acc);
        }
    }
}
