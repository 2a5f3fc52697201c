//! The base denoiser of tables: a mixture whose posterior mean is known in closed form.
//!
//! Component `k` has weight `w_k`; in it the numbers are Gaussian, `N(mu_k, U_k^T diag(s_k) U_k)`, and each block of one-hot codes
//! is an independent category with probabilities `p_kb`. Under the forward process `X_t = alpha X_0 + sqrt(h) eps`, with
//! `v_ki = alpha^2 s_ki + h`, `y_k = U_k (x - alpha mu_k)` and `l_bc = exp(log N(x_b; alpha e_c, h I))` of each code:
//!
//! ```text
//! gamma_k  ~ w_k  prod_i v_ki^(-1/2) exp(-y_ki^2 / (2 v_ki))  prod_b sum_c p_kbc l_bc        sum_k gamma_k = 1
//! E[X_0 numbers | X_t = x] = sum_k gamma_k (mu_k + U_k^T (alpha s_k y_k / v_k))
//! P[code c of block b | X_t = x] = l_bc sum_k gamma_k p_kbc / (sum_c' p_kbc' l_bc')
//! ```
//!
//! (Bayes's rule for each component, and the law of total expectation over them.) `fit` finds the components by
//! expectation maximisation on clean rows; with one component it is the best linear denoiser of the numbers.

mod components;
mod em;
mod given;
mod posterior;
#[cfg(test)]
mod tests;

pub use components::Mixture;
pub(crate) use em::fit;
pub(crate) use given::{Conditioner, GivenRow, GivenScratch, Pattern};
pub(crate) use posterior::{Posterior, Scratch};
