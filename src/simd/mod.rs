//! SIMD levels and the lane operations the kernels are written in.
//!
//! Lowest layer of the crate: it knows vectors and bits, no matrices and no formulas. A kernel is a type implementing `Kernel`,
//! written once against `Lanes` (what a level can do) and `Scalar` (f32 or f64), and run at a level with `Level::run`.

mod bits;
mod foreign;
mod lanes;
mod level;
mod popcount;
mod scalar;
mod transpose;

pub use level::Level;
// For the crate's own benchmarks and fuzzers.
#[doc(hidden)]
pub use popcount::Popcount;

pub(crate) use foreign::foreign;
pub(crate) use lanes::Lanes;
pub(crate) use level::Kernel;
pub(crate) use popcount::{BitWord, CountBits, CountKernel, Counts};
pub(crate) use scalar::Scalar;
