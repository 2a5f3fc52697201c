//! The finite-width neural tangent kernel of a two-layer ReLU network, by counting bits.
//!
//! With activation patterns I (N x m bits), samples z (N x D) and output signs a (m x d, entries +-1), the kernel at the weights
//! that the patterns were taken at is (HRX section 4)
//!
//! ```text
//! H^{ik}_{jl} = <z_j, z_l> / m * sum_r a_r^i a_r^k I_jr I_lr
//!             = <z_j, z_l> / m * (2 popcount(I_j & I_l & S_ik) - popcount(I_j & I_l)),   S_ik the neurons with a^i = a^k
//! ```
//!
//! a dN x dN matrix with row `i*N + j` for output i at sample j. The counts are exact. The blocks `i = k` are all the same
//! matrix, and the block (k, i) equals the block (i, k), so there are `1 + d(d-1)/2` different ones.
//!
//! [`block_into`] gives one block, [`blocks_with`] chosen ones, [`full_into`] all of them, ten pairs of outputs for one pass of
//! counting, [`product_into`] multiplies by the whole matrix without forming it, and [`drift`](drift()) measures how far the kernel
//! moved, also without forming it.

mod bits;
pub(super) mod block;
mod chosen;
mod classes;
pub(super) mod drift;
mod entry;
pub(super) mod full;
mod gram;
pub(super) mod product;
mod quintets;
pub(crate) mod reference;
mod target;
#[cfg(test)]
mod tests;

pub use drift::Drift;
pub use entry::{block_into, drift, full_into, product_into};
// With an explicit level, for the crate's own tests and benchmarks.
#[doc(hidden)]
pub use self::{
    chosen::blocks_with,
    entry::{block_with, drift_with, full_with, product_with},
};
pub(crate) use full::counting_passes;
pub use product::ProductWorkspace;

use faer::Par;

use self::bits::{CLASSES, CountedPatterns, NeuronOrder};
use self::classes::ClassCounts;
use super::panels::check_shape;
use super::patterns::ActivationPatterns;
use super::{Lane64, PANEL, Panels, workers};
use crate::simd::{Counts, Scalar};
use crate::{Error, Result};

/// One set of samples as the tangent kernel sees it.
#[derive(Debug, Clone, Copy)]
pub struct Features<'a, T> {
    /// Activation patterns at the weights in question, N x m.
    pub patterns: &'a ActivationPatterns,
    /// The samples, N x D.
    pub z: &'a Panels<T>,
}

impl<'a, T: Scalar> Features<'a, T> {
    /// Number of samples N.
    pub fn samples(&self) -> usize {
        self.z.rows()
    }

    /// [`Error::Shape`] unless the patterns belong to these samples and to `neurons` neurons.
    fn check(&self, neurons: usize) -> Result<()> {
        let patterns = self.patterns;
        check_shape("the activation patterns", patterns.samples(), patterns.neurons(), self.z.rows(), neurons)
    }
}

/// The finite-width kernel between two sets of samples, by what it is made of. Where both are the same set in the same memory, as from
/// [`TangentKernel::symmetric`], a block takes half the work.
#[derive(Debug, Clone, Copy)]
pub struct TangentKernel<'a, T> {
    /// Output signs, m x d, entries +-1.
    pub a: &'a Panels<T>,
    /// The samples of the rows, N1 of them.
    pub rows: Features<'a, T>,
    /// The samples of the columns, N2 of them.
    pub columns: Features<'a, T>,
}

impl<'a, T: Scalar> TangentKernel<'a, T> {
    /// The kernel of a set of samples with itself.
    pub fn symmetric(a: &'a Panels<T>, samples: Features<'a, T>) -> Self {
        Self { a, rows: samples, columns: samples }
    }

    /// Whether rows and columns are one set of samples, in the same memory.
    fn is_symmetric(&self) -> bool {
        std::ptr::eq(self.rows.patterns, self.columns.patterns) && std::ptr::eq(self.rows.z, self.columns.z)
    }

    /// Checks that signs, patterns and samples belong together, and the given outputs.
    fn check(&self, outputs: impl IntoIterator<Item = usize>) -> Result<()> {
        check_sides(self.a, self.rows, self.columns)?;
        check_outputs(self.a, outputs)
    }
}

/// Buffers of the tangent kernel: made empty, grown by the calls, kept between them.
#[derive(Debug, Clone)]
pub struct Workspace<T> {
    /// Patterns of the lines and of the lanes of the output.
    lines: CountedPatterns,
    lanes: CountedPatterns,
    order: NeuronOrder,
    workers: Vec<Worker<T>>,
}

/// Buffers of one worker.
#[derive(Debug, Clone)]
struct Worker<T> {
    /// A tile and its transpose; or for all blocks at once, inner products and values of four lines.
    tiles: Vec<Lane64<T>>,
    /// The counts of four lines by class of neurons; a single block uses the first only.
    counts: Box<ClassCounts>,
    /// What is computed but not yet written.
    pending: Option<Pending>,
}

/// A tile that is written while the next one is counted: the transpose of the last one, or its values for the blocks of a quintet.
#[derive(Debug, Clone, Copy)]
struct Pending {
    /// Its first line and lane.
    at: (usize, usize),
    lines: usize,
    lanes: usize,
    /// How many of the lines, or of the blocks, are written.
    written: usize,
}

impl<T: Scalar> Default for Workspace<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Scalar> Workspace<T> {
    /// Empty buffers.
    pub fn new() -> Self {
        Self {
            lines: CountedPatterns::default(),
            lanes: CountedPatterns::default(),
            order: NeuronOrder::default(),
            workers: Vec::new(),
        }
    }

    /// Makes room for as many workers as `par` asks for, no more and no fewer.
    fn reserve(&mut self, par: Par) {
        self.workers.resize_with(workers(par), || Worker {
            tiles: vec![Lane64([T::ZERO; PANEL]); 2 * PANEL],
            counts: Box::new([Counts([[0; PANEL]; 4]); CLASSES]),
            pending: None,
        });
        // A call that did not come to its end may have left something.
        self.workers.iter_mut().for_each(|worker| worker.pending = None);
    }
}

/// What every entry point checks: signs, patterns and samples that belong together.
fn check_sides<T: Scalar>(a: &Panels<T>, rows: Features<'_, T>, columns: Features<'_, T>) -> Result<()> {
    if a.rows() == 0 {
        return Err(Error::Empty { what: "the output signs", unit: "neuron" });
    }
    if a.rows() > i32::MAX as usize {
        let requirement = "the tangent kernel counts up to 2147483647 neurons";
        return Err(Error::Setting { name: "the number of neurons", value: a.rows().to_string(), requirement });
    }
    rows.check(a.rows())?;
    columns.check(a.rows())?;
    columns.z.expect_shape("the column samples", columns.z.rows(), rows.z.columns())
}

/// [`Error::Setting`] unless `i` and `k` are outputs and the signs of both are all +1 or -1.
fn check_outputs<T: Scalar>(a: &Panels<T>, outputs: impl IntoIterator<Item = usize>) -> Result<()> {
    for i in outputs {
        if i >= a.columns() {
            return Err(Error::Setting {
                name: "the output",
                value: i.to_string(),
                requirement: "it must be less than the number of columns of the output signs",
            });
        }
        for r in 0..a.rows() {
            let sign = a.get(r, i);
            if sign != T::ONE && sign != -T::ONE {
                return Err(Error::Setting {
                    name: "an output sign",
                    value: sign.to_string(),
                    requirement: "the tangent kernel is for signs of +1 and -1",
                });
            }
        }
    }
    Ok(())
}
