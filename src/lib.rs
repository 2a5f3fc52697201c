#![doc = include_str!("../README.md")]
#![deny(missing_docs)]
#![warn(unsafe_op_in_unsafe_fn)]
// What only model files and programs use is dead without them; with them the compiler sees all that is.
#![cfg_attr(not(feature = "cli"), allow(dead_code))]

mod checks;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod diffusion;
mod error;
pub mod evaluate;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod files;
pub mod fit;
#[doc(hidden)]
pub mod internals;
pub mod kernels;
mod memory;
mod model;
pub mod network;
mod random;
pub mod regression;
pub mod simd;
#[cfg(feature = "model-file")]
pub mod store;
pub mod table;
#[cfg(feature = "cli")]
mod theory;

pub use error::{Error, Result};
