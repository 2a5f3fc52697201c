//! The objects of the papers: forward process, network, denoisers, kernel regression, stopping, samplers.
//!
//! Third floor: it composes the kernels and knows nothing of tables or files.

pub mod denoiser;
pub mod early_stopping;
pub mod kernel_regression;
pub(crate) mod krylov;
pub mod linearised;
pub mod mixture;
pub mod model;
pub mod network;
pub mod operator;
pub mod process;
pub mod quadrature;
pub mod regression;
pub mod sampler;
pub mod spectrum;
pub mod streams;
pub mod training;
pub mod truth;
