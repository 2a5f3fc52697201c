//! Multiplying by the whole finite-width tangent kernel without forming it.
//!
//! H = J J^T with J the Jacobian of the outputs by the weights, so `H vec(V) = J (J^T vec(V))`: a backward pass to a matrix G of
//! the shape of the weights, and a forward pass with G in place of the weights and the activations frozen.
//!
//! ```text
//! backward: G = 1/sqrt(m) ((V A^T) o M)^T Z                 the gradient kernel of the descent step
//! forward, lanes = samples; per block of 64 samples, per chunk of 64 neurons:
//!     Q[r][lanes]   = sum_k G[r,k] Z[k][lanes]              zeroed where the bit of (lane, r) is clear
//!     out[i][lanes] += sum_r A[r,i] Q[r][lanes]             times 1/sqrt(m) at the end
//! ```

use faer::Par;

use super::{Features, check_outputs, check_sides};
use crate::Result;
use crate::kernels::outer::{Broadcast, accumulate};
use crate::kernels::patterns::ActivationPatterns;
use crate::kernels::{Disjoint, Lane64, PANEL, Panels, descent, for_each_task, workers};
use crate::simd::{Kernel, Lanes, Level, Real, transpose_bits_64};

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
    let width = a.columns();
    let out = Disjoint::new(out.lanes_mut());
    for_each_task(rows.z.blocks(), chunks, |chunk, block| {
        // SAFETY: each task takes the outputs of its own block of samples.
        let out = unsafe { out.piece(block * width, width) };
        level.run(Block { z: rows.z, patterns: rows.patterns, block, gradient, a, out, chunk });
    });
    Ok(())
}

/// The forward pass of one block of 64 samples.
struct Block<'a, T> {
    z: &'a Panels<T>,
    patterns: &'a ActivationPatterns,
    block: usize,
    gradient: &'a Panels<T>,
    a: &'a Panels<T>,
    out: &'a mut [Lane64<T>],
    chunk: &'a mut [Lane64<T>],
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
        let Self { z, patterns, block, gradient, a, out, chunk } = self;
        let (z, rows) = (z.block(block), z.rows_in(block));
        let (words, inputs, outputs) = (patterns.words_per_row(), z.len(), a.columns());
        let group = V * T::lanes::<S>();
        assert!(chunk.len() == PANEL && PANEL.is_multiple_of(group) && out.len() == outputs);
        assert!(gradient.columns() == inputs && gradient.blocks() == words && a.blocks() == words);
        out.fill(Lane64([T::ZERO; PANEL]));
        let patterns = &patterns.words()[block * PANEL * words..][..rows * words];
        for word in 0..words {
            let neurons = a.rows_in(word);
            let mut bits = [0u64; PANEL];
            for (bits, row) in bits.iter_mut().zip(patterns.chunks_exact(words)) {
                *bits = row[word];
            }
            transpose_bits_64(&mut bits);
            let (g, a) = (gradient.block(word).as_ptr().cast::<T>(), a.block(word).as_ptr().cast::<T>());
            for lane in (0..PANEL).step_by(group) {
                let chunk = chunk.as_mut_ptr().cast::<T>();
                // SAFETY: G has `inputs` columns of 64 neurons in this block and z as many of 64 samples, the chunk has room
                // for 64 neurons, A and the output have `outputs` columns, and lanes lane .. lane + group exist in each. Tiles
                // of R neurons start at 64 - R at most, tiles of outputs end at `outputs`.
                unsafe {
                    let (z, chunk) = (z.as_ptr().cast::<T>().add(lane), chunk.add(lane));
                    let out = out.as_mut_ptr().cast::<T>().add(lane);
                    for first in (0..neurons).step_by(R) {
                        let first = first.min(PANEL - R);
                        masked::<T, S, R, V>(s, inputs, g, first, z, chunk, &bits, lane);
                    }
                    let whole = outputs / R * R;
                    for first in (0..whole).step_by(R) {
                        collect::<T, S, R, V>(s, neurons, a, first, chunk, out);
                    }
                    match outputs - whole {
                        0 => {}
                        1 => collect::<T, S, 1, V>(s, neurons, a, whole, chunk, out),
                        2 => collect::<T, S, 2, V>(s, neurons, a, whole, chunk, out),
                        3 => collect::<T, S, 3, V>(s, neurons, a, whole, chunk, out),
                        4 => collect::<T, S, 4, V>(s, neurons, a, whole, chunk, out),
                        _ => collect::<T, S, 5, V>(s, neurons, a, whole, chunk, out),
                    }
                }
            }
        }
        let scale = T::from_f64(1.0 / (a.rows() as f64).sqrt());
        for x in out.iter_mut().flat_map(|lane| &mut lane.0) {
            *x *= scale;
        }
    }
}

/// Q[r][lanes] = G[r] . Z[lanes], zero where neuron `r` is inactive, for R neurons from `first` on and V vectors from `lane` on.
///
/// # Safety
/// - Those neurons exist in the columns of `g` and the lines of `chunk`, those lanes in `z` and `chunk`, which point at the first
///   lane.
#[inline(always)]
#[allow(clippy::too_many_arguments)] // the operands of the formula
unsafe fn masked<T: Real, S: Lanes, const R: usize, const V: usize>(
    s: S,
    inputs: usize,
    g: *const T,
    first: usize,
    z: *const T,
    chunk: *mut T,
    bits: &[u64; PANEL],
    lane: usize,
) {
    let mut acc = [[T::vsplat(s, T::ZERO); V]; R];
    // SAFETY: the caller's word.
    unsafe {
        accumulate(s, inputs, Broadcast { start: g.add(first), row: 1, step: PANEL }, z, &mut acc);
        for r in 0..R {
            let word = bits[first + r] >> lane;
            for v in 0..V {
                let at = v * T::lanes::<S>();
                T::vstore(s, chunk.add((first + r) * PANEL + at), T::vkeep(s, word >> at, acc[r][v]));
            }
        }
    }
}

/// U[i][lanes] += sum_r A[r,i] Q[r][lanes], for R outputs from `first` on.
///
/// # Safety
/// - `a` and `out` have columns `first .. first + R`, and V vectors of lanes are readable in `chunk` and writable in `out`, which
///   point at the first lane.
#[inline(always)]
unsafe fn collect<T: Real, S: Lanes, const R: usize, const V: usize>(
    s: S,
    neurons: usize,
    a: *const T,
    first: usize,
    chunk: *const T,
    out: *mut T,
) {
    let lanes = T::lanes::<S>();
    let mut acc = [[T::vsplat(s, T::ZERO); V]; R];
    // SAFETY: the caller's word.
    unsafe {
        let out = out.add(first * PANEL);
        for r in 0..R {
            for v in 0..V {
                acc[r][v] = T::vload(s, out.add(r * PANEL + v * lanes));
            }
        }
        accumulate(s, neurons, Broadcast { start: a.add(first * PANEL), row: PANEL, step: 1 }, chunk, &mut acc);
        for r in 0..R {
            for v in 0..V {
                T::vstore(s, out.add(r * PANEL + v * lanes), acc[r][v]);
            }
        }
    }
}
