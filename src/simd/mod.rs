//! SIMD levels and the lane operations the kernels are written in.
//!
//! Lowest floor of the crate: it knows vectors and bits, no matrices. A kernel is a type implementing [`Kernel`], written once
//! against [`Lanes`] (what a level can do) and [`Real`] (f32 or f64), and run at a level with [`Level::run`].

mod arccos;
mod bits;
mod foreign;
mod lanes;
mod level;
pub mod peaks;
mod popcount;
mod real;
mod transpose;

pub use arccos::{ArcSine, Quotient, weighted_angles, weighted_mixed_angles, weighted_wide_angles};
pub use bits::transpose_bits_64;
pub(crate) use foreign::foreign;
pub use lanes::Lanes;
pub use level::{Kernel, Level};
pub use popcount::{BitWord, CountBits, CountKernel, Counts, Popcount};
pub use real::Real;
