#![doc = include_str!("../README.md")]
#![deny(missing_docs)]
#![warn(unsafe_op_in_unsafe_fn)]

mod checks;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod diffusion;
pub mod error;
pub mod evaluate;
#[cfg(feature = "cli")]
pub mod files;
pub mod fit;
#[doc(hidden)]
pub mod internals;
pub mod kernels;
pub mod memory;
pub mod model;
pub mod network;
pub mod random;
pub mod regression;
pub mod simd;
#[cfg(feature = "model-file")]
pub mod store;
pub mod table;
#[cfg(feature = "cli")]
pub mod theory;

pub use error::{Error, Result};
