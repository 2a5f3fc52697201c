//! The fused gradient-descent step of a two-layer ReLU network (HRX section 3): forward and backward pass in which nothing of
//! size N x m but the activation bits reaches memory.
//!
//! ```text
//! forward,  lanes = samples; per block of 64 samples, per chunk of 64 neurons:
//!     P[r][lanes]   = sum_k W[r,k] Z[k][lanes]          -> bits [P >= 0], P <- max(P, 0) in a 16 KB buffer
//!     U[i][lanes]  += sum_r A[r,i] P[r][lanes]
//! backward, lanes = neurons; per block of 64 neurons, per chunk of 64 samples:
//!     B[j][lanes]   = sum_i E[j,i] A[i][lanes]          -> zeroed where the bit of (j, lane) is clear
//!     G[k][lanes]  += sum_j Z[j,k] B[j][lanes]
//!     then W <- update(W, G) while both are in cache
//! ```
//!
//! All matrices are [`Panels`]: W is m x D and A is m x d with 64 neurons to a block, Z is N x D, U and E are N x d with 64
//! samples to a block. Both passes run in parallel over their outer loop and add nothing across tasks. E is formed by the
//! caller between the passes, so any loss whose derivative by the output is cheap fits, and so do weights of the samples, which
//! multiply the rows of E.
//!
//! No sum runs across lanes or workers, and every sum over neurons or samples is cut into the same parts of 64, each summed on its
//! own and added as a whole. So results are the same bits for every number of workers and at AVX2 as at AVX-512, and the
//! error in f32 hardly grows with the length of a sum: `ntk-profile descent --sweep` shows it below 1e-6 up to 16,384 neurons and
//! 27,000 samples.

pub(super) mod backward;
mod entry;
pub(super) mod forward;
mod optimizer;
pub(crate) mod reference;
#[cfg(test)]
mod tests;

pub use entry::{forward_into, gradient_into, update};
// With an explicit level, for the crate's own tests and benchmarks.
#[doc(hidden)]
pub use entry::{forward_with, gradient_with, update_with};
pub(crate) use optimizer::OptimizerState;
pub use optimizer::{Optimizer, Rule};

use super::patterns::ActivationPatterns;
use super::{Lane64, PANEL, Panels, row_tile};
use crate::simd::Scalar;
use crate::{Error, Result};

/// Buffers of one worker: give each kernel call one per thread it may use.
#[derive(Debug, Clone)]
pub struct Workspace<T> {
    /// A chunk of pre-activations or of back-propagated errors, 64 x 64.
    chunk: Vec<Lane64<T>>,
    /// The gradients of the blocks of neurons of one task.
    sums: Vec<Lane64<T>>,
}

impl<T: Scalar> Workspace<T> {
    /// Buffers for networks with `inputs` inputs and `outputs` outputs.
    pub fn new(inputs: usize, outputs: usize) -> Self {
        let zero = Lane64([T::ZERO; PANEL]);
        let blocks = row_tile::blocks_per_task::<T>(usize::MAX, inputs + outputs, 1);
        Self { chunk: vec![zero; PANEL], sums: vec![zero; blocks * inputs] }
    }

    /// One set of buffers for each of `workers` workers.
    pub fn for_workers(workers: usize, inputs: usize, outputs: usize) -> Vec<Self> {
        vec![Self::new(inputs, outputs); workers.max(1)]
    }
}

/// The weights a step reads: `w` (m x D) is trained, `a` (m x d) holds the fixed output signs.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'a, T> {
    /// First-layer weights, m x D.
    pub w: &'a Panels<T>,
    /// Output signs, m x d.
    pub a: &'a Panels<T>,
}

/// What a backward pass reads: the gradient is `1/sqrt(m) ((E A^T) o M)^T Z`.
#[derive(Debug, Clone, Copy)]
pub struct BackwardInputs<'a, T> {
    /// E: derivative of the loss by the outputs, N x d. Padding rows must be zero, as [`Panels`] asks.
    pub e: &'a Panels<T>,
    /// M: activation patterns of the forward pass, N x m bits.
    pub patterns: &'a ActivationPatterns,
    /// A: output signs, m x d.
    pub a: &'a Panels<T>,
    /// Z: samples, N x D.
    pub z: &'a Panels<T>,
}

/// The numbers of one update.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Step size, at least 0.
    pub rate: f64,
    /// Share of the old weight average that is kept, between 0 and 1; ignored without an average.
    pub decay: f64,
}

fn check_buffers<T: Scalar>(workspaces: &[Workspace<T>], inputs: usize) -> Result<()> {
    if workspaces.is_empty() || workspaces.iter().any(|w| w.sums.len() < inputs) {
        return Err(Error::Setting {
            name: "the workspace",
            value: format!("{} buffers", workspaces.len()),
            requirement: "one made for at least these inputs and outputs is needed for each worker",
        });
    }
    Ok(())
}
