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

use super::{Features, check_outputs, check_sides};
use crate::Result;
use crate::kernels::descent::tile::{Part, RowTile, blocks_per_task, cover};
use crate::kernels::outer::{Broadcast, accumulate};
use crate::kernels::{Disjoint, Lane64, PANEL, Panels, descent, for_each_task, workers};
use crate::simd::{Kernel, Lanes, Level, Real};

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

impl<T: Real> Default for ProductWorkspace<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Real> ProductWorkspace<T> {
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

/// [`product_with`] at the current level.
///
/// # Errors
/// As for [`product_with`].
pub fn product_into<T: Real>(
    out: &mut Panels<T>,
    v: &Panels<T>,
    a: &Panels<T>,
    rows: Features<'_, T>,
    columns: Features<'_, T>,
    workspace: &mut ProductWorkspace<T>,
    par: Par,
) -> Result<()> {
    product_with(Level::current(), out, v, a, rows, columns, workspace, par)
}

/// `out = H vec(V)` (N1 x d) for `v` (N2 x d), H the whole kernel between two sets of samples (the same one twice for the
/// training dynamics) and `a` (m x d) the output signs: `out_ji = sum_kl H^{ik}_{jl} V_lk`, in O((N1 + N2) m (D + d))
/// operations.
///
/// # Errors
/// [`crate::Error::Shape`] if the shapes do not fit together, [`crate::Error::Setting`] if a sign is not +-1,
/// [`crate::Error::Empty`] without neurons.
#[allow(clippy::too_many_arguments)] // the arguments of the formula
pub fn product_with<T: Real>(
    level: Level,
    out: &mut Panels<T>,
    v: &Panels<T>,
    a: &Panels<T>,
    rows: Features<'_, T>,
    columns: Features<'_, T>,
    workspace: &mut ProductWorkspace<T>,
    par: Par,
) -> Result<()> {
    check_sides(a, rows, columns)?;
    check_outputs(a, 0..a.columns())?;
    v.expect_shape("the vector to multiply", columns.samples(), a.columns())?;
    out.expect_shape("the output", rows.samples(), a.columns())?;
    workspace.reserve(a.rows(), (columns.z.columns(), a.columns()), workers(par));
    let ProductWorkspace { gradient, backward, chunks, .. } = workspace;
    descent::gradient_with(level, gradient, v, columns.patterns, a, columns.z, backward)?;
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
        level.run(Blocks { z, count: end - first, patterns, gradient, a, out, chunk });
    });
    Ok(())
}

/// The forward pass of some blocks of 64 samples.
struct Blocks<'a, T> {
    z: &'a [Lane64<T>],
    count: usize,
    patterns: &'a [u64],
    gradient: &'a Panels<T>,
    a: &'a Panels<T>,
    out: &'a mut [Lane64<T>],
    chunk: &'a mut [Lane64<T>],
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
        let Self { z, count, patterns, gradient, a, out, chunk } = self;
        let (inputs, outputs, words) = (gradient.columns(), a.columns(), a.blocks());
        let group = V * T::lanes::<S>();
        assert!(chunk.len() == PANEL && PANEL.is_multiple_of(group) && gradient.blocks() == words);
        assert!(z.len() == count * inputs && out.len() == count * outputs);
        for word in 0..words {
            let neurons = a.rows_in(word);
            let (g, a_block) = (gradient.block(word), a.block(word));
            let scale = if word + 1 == words { T::from_f64(1.0 / (a.rows() as f64).sqrt()) } else { T::ONE };
            let part = Part { first: word == 0, scale };
            for sample in 0..count {
                let (z, out) = (&z[sample * inputs..][..inputs], &mut out[sample * outputs..][..outputs]);
                let mut bits = [0u64; PANEL];
                for (bits, row) in bits.iter_mut().zip(patterns[sample * PANEL * words..].chunks_exact(words)) {
                    *bits = row[word];
                }
                s.transpose_bits(&mut bits);
                for lane in (0..PANEL).step_by(group) {
                    // SAFETY: G has `inputs` columns of 64 neurons in this block and z as many of 64 samples, the chunk has
                    // room for 64 neurons, A and the output have `outputs` columns, and lanes lane .. lane + group exist in
                    // each.
                    unsafe {
                        let z = z.as_ptr().cast::<T>().add(lane);
                        let q = chunk.as_mut_ptr().cast::<T>().add(lane);
                        let freeze = Freeze::<T, S, V> { s, inputs, g: g.as_ptr().cast(), z, q, bits: &bits, lane };
                        cover::<R>(neurons, freeze);
                        let out = out.as_mut_ptr().cast::<T>().add(lane);
                        let a = a_block.as_ptr().cast();
                        cover::<R>(outputs, Collect::<T, S, V> { s, neurons, part, a, q, out });
                    }
                }
            }
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

impl<T: Real, S: Lanes, const V: usize> RowTile for Freeze<'_, T, S, V> {
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

/// out[i][lanes] += sum_r A[r,i] Q[r][lanes].
struct Collect<T, S, const V: usize> {
    s: S,
    neurons: usize,
    part: Part<T>,
    a: *const T,
    q: *const T,
    out: *mut T,
}

impl<T: Real, S: Lanes, const V: usize> RowTile for Collect<T, S, V> {
    #[inline(always)]
    unsafe fn tile<const R: usize>(&mut self, first: usize) {
        let mut acc = [[T::vsplat(self.s, T::ZERO); V]; R];
        // SAFETY: rows first .. first + R are outputs, and the lanes exist, see the caller.
        unsafe {
            let out = self.out.add(first * PANEL);
            let b = Broadcast { start: self.a.add(first * PANEL), row: PANEL, step: 1 };
            accumulate(self.s, self.neurons, b, self.q, &mut acc);
            self.part.add(self.s, out, &acc);
        }
    }
}
