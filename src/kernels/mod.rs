//! The hot routines: hand-written, cache-blocked and SIMD-vectorised over `faer` matrices and [`Panels`].
//!
//! It knows [`crate::simd`] and nothing of scores, tables or files. Each routine takes explicit outputs, an
//! explicit [`faer::Par`] and, in its `_with` form, an explicit [`crate::simd::Level`] or [`crate::simd::Popcount`]; beside each
//! stands its plain reference.

// Index loops over registers and lanes say which operand each index walks; iterators would hide it.
#![allow(clippy::needless_range_loop)]

pub(crate) mod cache;
pub mod descent;
pub(crate) mod elementary;
pub mod gram;
mod outer;
mod panels;
mod parallel;
pub mod patterns;
mod real;
mod row_tile;
pub(crate) mod share;
pub mod tangent;

pub use panels::Panels;
pub use real::Real;

pub(crate) use panels::{Lane64, PANEL, check_shape};
pub(crate) use parallel::{Disjoint, for_each_task, for_each_task_then, workers};
