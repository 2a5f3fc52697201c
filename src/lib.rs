#![doc = include_str!("../README.md")]
#![deny(missing_docs)]
#![warn(unsafe_op_in_unsafe_fn)]

pub mod demo;
pub mod error;
#[cfg(feature = "cli")]
pub mod files;
pub mod kernels;
pub mod memory;
pub mod pipeline;
pub mod score;
pub mod simd;
pub mod table;
pub mod theory;

pub use error::{Error, Result};
