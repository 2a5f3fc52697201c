//! The kernels as closures to be timed, with their operation counts and their errors against the references.

use faer::{Mat, Par};
use ntk_score::Result;
use ntk_score::kernels::Real;
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

/// What bounds a kernel from below.
#[derive(Debug, Clone, Copy)]
pub enum Limit {
    /// A streaming fill of `bytes`.
    Fill,
    /// `flops` at the multiply-add peak.
    Arithmetic,
    /// The bare instructions that count so many pairs of bits.
    Bits(f64),
    /// The same, and a streaming fill of `bytes` after it; what does both at a time may take less.
    BitsAndFill(f64),
    /// Reading `bytes`.
    Read,
}

/// A kernel ready to be timed.
pub struct Work<'a> {
    /// Floating-point operations.
    pub flops: f64,
    /// Least bytes read from and written to memory; for [`Limit::Fill`] and [`Limit::BitsAndFill`] those written.
    pub bytes: f64,
    pub limit: Limit,
    /// Largest error against the reference, relative to its largest entry.
    pub max_error: f64,
    pub run: Box<dyn FnMut() -> Result<()> + Send + 'a>,
}

/// Rows on which a slow reference is computed.
const CHECKED: usize = 48;

/// What is timed in turn with the kernel, and what it is called.
pub type Beside = Option<(&'static str, Box<dyn FnMut() -> Result<()> + Send>)>;

/// Standard normal entries from a stream of their own.
pub fn normal<T: Real>(rows: usize, columns: usize, seed: u64) -> Mat<T> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    Mat::from_fn(rows, columns, |_, _| T::from_f64(StandardNormal.sample(&mut random)))
}

/// Output signs, +1 or -1.
pub fn signs<T: Real>(neurons: usize, outputs: usize) -> Mat<T> {
    let normal = normal::<f64>(neurons, outputs, 4);
    Mat::from_fn(neurons, outputs, |r, i| T::from_f64(normal[(r, i)].signum()))
}

pub fn par(threads: usize) -> Par {
    if threads == 1 { Par::Seq } else { Par::rayon(threads) }
}

/// Up to [`CHECKED`] of `count` rows, evenly spread and including the first and the last.
pub fn checked_rows(count: usize) -> Vec<usize> {
    let rows = CHECKED.min(count);
    (0..rows).map(|i| if rows == 1 { 0 } else { i * (count - 1) / (rows - 1) }).collect()
}

/// Largest difference from `expected`, relative to its largest entry.
pub fn error(expected: &Mat<f64>, found: impl Fn(usize, usize) -> f64) -> f64 {
    let mut worst: f64 = 0.0;
    for j in 0..expected.ncols() {
        for i in 0..expected.nrows() {
            // Written so that a NaN is the largest error of all.
            let difference = (found(i, j) - expected[(i, j)]).abs();
            worst = if difference <= worst { worst } else { difference };
        }
    }
    worst / expected.norm_max().max(f64::MIN_POSITIVE)
}
