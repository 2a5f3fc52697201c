//! The components of a mixture, in plain data.

use crate::model::layout::Layout;

/// Smallest variance along an axis, in units of normal scores: below the noise of the first diffusion time (3.4e-4), so that
/// columns that determine each other stay so as far as sampling can show.
pub(super) const FLOOR: f32 = 1e-4;

/// A fitted mixture.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
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
            && self.variances.iter().all(|&s| s >= FLOOR)
            && self.levels.iter().all(|&p| p > 0.0 && p <= 1.0)
    }
}
