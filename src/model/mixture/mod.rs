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
//! (Bayes's rule for each component, and the law of total expectation over them.) [`fit`](em::fit) finds the components by
//! expectation maximisation on clean rows; with one component it is the best linear denoiser of the numbers.

mod em;
mod posterior;
#[cfg(test)]
mod tests;

pub(crate) use em::fit;
pub(crate) use posterior::{Posterior, Scratch};

use super::layout::Layout;
use crate::kernels::PANEL;

/// A fitted mixture.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixture {
    /// What the columns are.
    pub(crate) layout: Layout,
    /// Log weights, K.
    pub(crate) log_weights: Vec<f32>,
    /// Means of the numbers, K x p.
    pub(crate) means: Vec<f32>,
    /// Principal axes of the numbers' covariance, K x p x p: `axes[k][i]` is the direction of `variances[k][i]`.
    pub(crate) axes: Vec<f32>,
    /// Variances along the axes, K x p.
    pub(crate) variances: Vec<f32>,
    /// Probabilities of the codes, K x codes.
    pub(crate) levels: Vec<f32>,
}

impl Mixture {
    /// Number of components K.
    pub fn components(&self) -> usize {
        self.log_weights.len()
    }

    /// Whether all parts have the sizes of the layout and hold what they may.
    pub(crate) fn is_sound(&self) -> bool {
        let (k, p, codes) = (self.components(), self.layout.numerical, self.layout.one_hot());
        let sizes = k > 0
            && self.means.len() == k * p
            && Some(self.axes.len()) == (k * p).checked_mul(p)
            && self.variances.len() == k * p
            && self.levels.len() == k * codes;
        let finite = [&self.log_weights, &self.means, &self.axes, &self.variances, &self.levels];
        sizes
            && finite.into_iter().flatten().all(|x| x.is_finite())
            && self.variances.iter().all(|&s| s >= em::FLOOR)
            && self.levels.iter().all(|&p| p > 0.0 && p <= 1.0)
    }
}
