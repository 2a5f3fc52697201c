//! The hot routines: hand-written, cache-blocked and SIMD-vectorised over `faer` matrices and [`Panels`].
//!
//! Second floor: it knows [`crate::simd`] and nothing of scores, tables or files. Each routine takes explicit outputs, an
//! explicit [`faer::Par`] and, in its `_with` form, an explicit [`crate::simd::Level`]; beside each stands its plain reference.

// Index loops over registers and lanes say which operand each index walks; iterators would hide it.
#![allow(clippy::needless_range_loop)]

mod cache;
pub mod descent;
pub(crate) mod elementary;
pub mod gram;
mod outer;
mod panels;
mod parallel;
pub mod patterns;
pub(crate) mod share;
pub mod tangent;

pub(crate) use panels::check_shape;
pub use panels::{Lane64, PANEL, Panels};
pub use parallel::{Disjoint, for_each_task, for_each_task_then, workers};
