//! Multiplying by the whole finite-width tangent kernel without forming it.
//!
//! H = J J^T with J the Jacobian of the outputs by the weights, so `H vec(V) = J (J^T vec(V))`: a backward pass to a matrix G of
//! the shape of the weights, and a forward pass with G in place of the weights and the activations frozen.
//!
//! ```text
//! backward: G = 1/sqrt(m) ((V A^T) o M)^T Z                 the gradient kernel of the descent step
//! forward, lanes = samples; per chunk of 64 neurons, per block of 64 samples (of a few):
//!     Q[r][lanes]   = sum_k G[r,k] Z[k][lanes]              zeroed where the bit of (lane, r) is clear
//!     out[i][lanes] += sum_r A[r,i] Q[r][lanes]             times 1/sqrt(m) at the end
//! ```

use faer::Par;

use super::TangentKernel;
use crate::Result;
use crate::kernels::descent::BackwardInputs;
use crate::kernels::outer::{Broadcast, accumulate};
use crate::kernels::row_tile::{
    BlockPair, Collect, ForwardPass, RowTile, blocks_per_task, cover, for_each_block, part_of_neurons,
};
use crate::kernels::{Disjoint, Lane64, PANEL, Panels, descent, for_each_task, workers};
use crate::simd::{Kernel, Lanes, Level, Scalar};

/// Buffers of the matrix-free product: made empty, grown by the calls, kept between them.
#[derive(Debug, Clone)]
pub struct ProductWorkspace<T> {
    /// J^T vec(V), in the shape of the weights.
    gradient: Panels<T>,
    backward: Vec<descent::Workspace<T>>,
    /// The inputs and outputs that the backward pass has buffers for.
    sizes: (usize, usize),
    /// One chunk of 64 neurons by 64 samples for each worker.
    chunks: Vec<Vec<Lane64<T>>>,
}

impl<T: Scalar> Default for ProductWorkspace<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Scalar> ProductWorkspace<T> {
    /// Empty buffers.
    pub fn new() -> Self {
        Self { gradient: Panels::zeros(0, 0), backward: Vec::new(), sizes: (0, 0), chunks: Vec::new() }
    }

    fn reserve(&mut self, neurons: usize, (inputs, outputs): (usize, usize), workers: usize) {
        if (self.gradient.rows(), self.gradient.columns()) != (neurons, inputs) {
            self.gradient.reset(neurons, inputs);
        }
        if self.backward.len() != workers || self.sizes != (inputs, outputs) {
            self.backward = descent::Workspace::for_workers(workers, inputs, outputs);
            self.sizes = (inputs, outputs);
        }
        self.chunks.resize_with(workers, || vec![Lane64([T::ZERO; PANEL]); PANEL]);
    }
}

/// See [`super::product_with`].
pub(in crate::kernels) fn product<T: Scalar>(
    level: Level,
    out: &mut Panels<T>,
    v: &Panels<T>,
    kernel: TangentKernel<'_, T>,
    workspace: &mut ProductWorkspace<T>,
    par: Par,
) -> Result<()> {
    let TangentKernel { a, rows, columns } = kernel;
    kernel.check(0..a.columns())?;
    v.expect_shape("the vector to multiply", columns.samples(), a.columns())?;
    out.expect_shape("the output", rows.samples(), a.columns())?;
    workspace.reserve(a.rows(), (columns.z.columns(), a.columns()), workers(par));
    let ProductWorkspace { gradient, backward, chunks, .. } = workspace;
    let inputs = BackwardInputs { e: v, patterns: columns.patterns, a, z: columns.z };
    descent::backward::gradient(level, gradient, inputs, backward)?;
    let gradient = &*gradient;
    let (z, patterns) = (rows.z, rows.patterns);
    let (inputs, width, words) = (z.columns(), a.columns(), patterns.words_per_row());
    let (blocks, group) = (z.blocks(), blocks_per_task::<T>(z.blocks(), inputs + width, chunks.len()));
    let out = Disjoint::new(out.lanes_mut());
    for_each_task(blocks.div_ceil(group), chunks, |chunk, task| {
        let (first, end) = (task * group, (task * group + group).min(blocks));
        let rows = z.rows().min(end * PANEL) - first * PANEL;
        // SAFETY: each task takes the outputs of its own blocks of samples.
        let out = unsafe { out.piece(first * width, (end - first) * width) };
        let patterns = &patterns.words()[first * PANEL * words..][..rows * words];
        let z = &z.lanes()[first * inputs..end * inputs];
        level.run(FrozenBlocks { z, count: end - first, patterns, gradient, a, out, chunk });
    });
    Ok(())
}

/// The forward pass of some blocks of 64 samples, with their activations frozen.
struct FrozenBlocks<'a, T> {
    z: &'a [Lane64<T>],
    count: usize,
    patterns: &'a [u64],
    gradient: &'a Panels<T>,
    a: &'a Panels<T>,
    out: &'a mut [Lane64<T>],
    chunk: &'a mut [Lane64<T>],
}

impl<T: Scalar> Kernel for FrozenBlocks<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        // 16 accumulators of 32 registers, or 12 of 16: enough to hide the latency of the multiply-adds.
        if const { S::REGISTER_COUNT >= 32 } { self.run_tiled::<S, 4, 4>(s) } else { self.run_tiled::<S, 6, 2>(s) }
    }
}

impl<T: Scalar> FrozenBlocks<'_, T> {
    #[inline(always)]
    fn run_tiled<S: Lanes, const R: usize, const V: usize>(self, s: S) {
        let (inputs, outputs, words) = (self.gradient.columns(), self.a.columns(), self.a.blocks());
        assert!(self.chunk.len() == PANEL && self.gradient.blocks() == words);
        assert!(self.z.len() == self.count * inputs && self.out.len() == self.count * outputs);
        let (count, group) = (self.count, V * T::lanes::<S>());
        for_each_block(s, count, words, 1, group, &mut TiledFrozen::<T, R, V>(self));
    }
}

/// The same with tiles of R neurons by V vectors.
struct TiledFrozen<'a, T, const R: usize, const V: usize>(FrozenBlocks<'a, T>);

impl<T: Scalar, const R: usize, const V: usize> ForwardPass for TiledFrozen<'_, T, R, V> {
    #[inline(always)]
    fn begin<S: Lanes>(&self, s: S, at: BlockPair, bits: &mut [u64; PANEL]) {
        let (words, patterns) = (self.0.a.blocks(), self.0.patterns);
        for (bits, row) in bits.iter_mut().zip(patterns[at.sample * PANEL * words..].chunks_exact(words)) {
            *bits = row[at.neuron];
        }
        s.transpose_bits(bits);
    }

    #[inline(always)]
    fn lanes<S: Lanes>(&mut self, s: S, at: BlockPair, bits: &mut [u64; PANEL], lane: usize) {
        let of = &mut self.0;
        let (inputs, outputs, neurons) = (of.gradient.columns(), of.a.columns(), of.a.rows_in(at.neuron));
        let (g, a, part) = (of.gradient.block(at.neuron), of.a.block(at.neuron), part_of_neurons(of.a, at.neuron));
        let (z, out) = (&of.z[at.sample * inputs..][..inputs], &mut of.out[at.sample * outputs..][..outputs]);
        // SAFETY: G has `inputs` columns of 64 neurons in this block and z as many of 64 samples, the chunk has room for 64
        // neurons, A and the output have `outputs` columns, and V vectors from `lane` on exist in each.
        unsafe {
            let (g, a) = (g.as_ptr().cast::<T>(), a.as_ptr().cast::<T>());
            let z = z.as_ptr().cast::<T>().add(lane);
            let q = of.chunk.as_mut_ptr().cast::<T>().add(lane);
            cover::<R>(neurons, Freeze::<T, S, V> { s, inputs, g, z, q, bits, lane });
            let out = out.as_mut_ptr().cast::<T>().add(lane);
            cover::<R>(outputs, Collect::<T, S, V> { s, neurons, part, a, p: q, out });
        }
    }
}

/// Q[r][lanes] = G[r] . Z[lanes], zero where neuron `r` is inactive.
struct Freeze<'a, T, S, const V: usize> {
    s: S,
    inputs: usize,
    g: *const T,
    z: *const T,
    q: *mut T,
    bits: &'a [u64; PANEL],
    lane: usize,
}

impl<T: Scalar, S: Lanes, const V: usize> RowTile for Freeze<'_, T, S, V> {
    #[inline(always)]
    unsafe fn tile<const R: usize>(&mut self, first: usize) {
        let s = self.s;
        let mut acc = [[T::vsplat(s, T::ZERO); V]; R];
        // SAFETY: rows first .. first + R are neurons of this block, and the lanes exist, see the caller.
        unsafe {
            let b = Broadcast { start: self.g.add(first), row: 1, step: PANEL };
            accumulate(s, self.inputs, b, self.z, &mut acc);
            for r in 0..R {
                let word = self.bits[first + r] >> self.lane;
                for v in 0..V {
                    let at = v * T::lanes::<S>();
                    T::vstore(s, self.q.add((first + r) * PANEL + at), T::vkeep(s, word >> at, acc[r][v]));
                }
            }
        }
    }
}
