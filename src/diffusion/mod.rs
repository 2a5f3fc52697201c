//! Diffusion: forward processes, denoising score matching as a regression, known scores, samplers.
//!
//! It composes [`crate::kernels`] and knows nothing of networks, tables or files.

pub mod denoiser;
#[cfg(feature = "cli")]
pub(crate) mod denoising_error;
pub mod mixture;
pub mod process;
pub mod regression_set;
pub mod sampler;
