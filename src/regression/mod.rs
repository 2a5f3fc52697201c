//! Kernel regression with the neural tangent kernel: its dynamics, spectra, and the rules that stop it early.

pub mod closed_form;
pub mod early_stopping;
#[cfg(test)]
mod example;
pub mod kernel_regression;
pub(crate) mod krylov;
pub mod operator;
pub mod quadrature;
pub mod risk;
pub mod spectrum;
pub mod spectrum_estimate;
