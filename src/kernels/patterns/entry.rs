//! The functions that pack patterns, as a program calls them.

use faer::{MatRef, Par};

use super::ActivationPatterns;
use crate::Result;
use crate::kernels::Panels;
use crate::kernels::real::Real;
use crate::simd::Level;

/// [`patterns_with`] at the current level.
///
/// # Errors
/// As for [`patterns_with`].
pub fn patterns_into<T: Real>(patterns: &mut ActivationPatterns, w: &Panels<T>, z: &Panels<T>, par: Par) -> Result<()> {
    patterns_with(Level::current(), patterns, w, z, par)
}

/// Activation patterns (N x m bits) of the weights `w` (m x D) on the samples `z` (N x D): neuron r is active on sample j if
/// `w_r . z_j >= 0`, the inner product added up in the order of the columns. `patterns` takes the shape it needs.
///
/// # Errors
/// [`crate::Error::Shape`] if `w` and `z` have different numbers of columns.
pub fn patterns_with<T: Real>(
    level: Level,
    patterns: &mut ActivationPatterns,
    w: &Panels<T>,
    z: &Panels<T>,
    par: Par,
) -> Result<()> {
    T::patterns(level, patterns, w, z, par)
}

impl ActivationPatterns {
    /// The patterns of the weights `w` (m x D) on the samples `z` (N x D): neuron r is active on sample j if
    /// `w_r . z_j >= 0`.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the columns differ, [`crate::Error::NotFinite`] for a NaN or an infinity.
    pub fn new_from<T: Real>(w: MatRef<'_, T>, z: MatRef<'_, T>, par: Par) -> Result<Self> {
        let w = Panels::from_matrix("the weights", w)?;
        let z = Panels::from_matrix("the samples", z)?;
        let mut patterns = Self::zeros(0, 0);
        patterns_into(&mut patterns, &w, &z, par)?;
        Ok(patterns)
    }
}
