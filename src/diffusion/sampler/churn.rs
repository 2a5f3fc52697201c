//! Noise that is added on the way.

/// Karras et al.'s stochastic churn for [`Method::Heun`](super::Method::Heun): noise added before a step, and removed by it (their algorithm 2).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Churn {
    /// Total amount, spread over the steps; 0 adds none.
    pub amount: f64,
    /// Lowest `sigma` at which noise is added.
    pub from: f64,
    /// Highest `sigma` at which noise is added.
    pub to: f64,
    /// Factor on the added noise's standard deviation, near 1.
    pub noise: f64,
}
