//! The objects of the papers: forward process, network, denoisers, kernel regression, stopping, samplers.
//!
//! Third floor: it composes the kernels and knows nothing of tables or files.

pub mod denoiser;
pub mod mixture;
pub mod model;
pub mod network;
pub mod process;
pub mod regression;
pub mod sampler;
pub mod streams;
pub mod training;
