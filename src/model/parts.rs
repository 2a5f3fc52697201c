//! What a preconditioner has learned, in plain data.

use super::contrasts::Contrasts;
use super::layout::Layout;
use super::mixture::Mixture;

/// Soft steps of each number among the inputs, at most, and for how many numbers together.
const STEPS: usize = 4;
const ALL_STEPS: usize = 128;

/// Which base denoiser stands under the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Base {
    /// `b = 0`, `c = 1`, identity links, inputs `(x, t - T0)`: the system as HRX have it.
    Zero,
    /// The best linear denoiser, which is the posterior mean of Gaussian data; identity links, every column a number, inputs of
    /// unit variance. Theory's statements hold for the residual.
    Gaussian,
    /// The posterior mean under a [mixture](super::mixture) of Gaussians and products of categories; softmax links on one-hot
    /// blocks; outputs that vanish with the signal.
    Mixture,
}

impl Base {
    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Base::Zero => "zero",
            Base::Gaussian => "gaussian",
            Base::Mixture => "mixture",
        }
    }

    /// The base of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        [Base::Zero, Base::Gaussian, Base::Mixture].into_iter().find(|b| b.name() == name)
    }
}

/// Everything a [`Preconditioner`](super::preconditioner::Preconditioner) has learned, in plain data: for storing it.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub struct PreconditionerParts {
    /// Which base denoiser.
    pub base: Base,
    /// What the columns are; all are numbers except with [`Base::Mixture`].
    pub layout: Layout,
    /// First and last time, T0 and T.
    pub times: [f64; 2],
    /// Means of all columns: of the numbers, and the frequencies of the one-hot columns (whose codes are centred by them).
    /// Zero with [`Base::Zero`].
    pub means: Vec<f32>,
    /// Variances of all columns.
    pub variances: Vec<f32>,
    /// The mixture; none with [`Base::Zero`].
    pub mixture: Option<Mixture>,
    /// Residual scales, grid of times x numbers; empty without a mixture.
    pub scales: Vec<f32>,
    /// Sums of numbers in their own units among the inputs.
    pub contrasts: Contrasts,
    /// Largest norm of a row of the data: the radius R_0 of HRX.
    pub radius: f64,
}

impl PreconditionerParts {
    /// Soft steps of each number among the inputs.
    pub(in crate::model) fn steps(&self) -> usize {
        match self.base {
            Base::Mixture => (ALL_STEPS / self.layout.numerical.max(1)).min(STEPS),
            _ => 0,
        }
    }
}
