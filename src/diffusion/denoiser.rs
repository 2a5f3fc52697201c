//! What a sampler needs: an estimate of the clean row given a noisy one.

use crate::Result;
use crate::kernels::Panels;
use crate::kernels::Real;

/// A denoiser: the estimate `f(x, t)` of `E[X_0 | X_t = x]`.
pub trait Denoiser<T: Real> {
    /// The data dimension `d`.
    fn dimension(&self) -> usize;

    /// Writes `f(x, t)` for every row of `x` (rows x `d`), all at time `t`, into `out` (rows x `d`). Padding rows of `out`
    /// must stay zero, and a row of `out` may depend on the same row of `x` only.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) if the shapes do not fit, and whatever else keeps the estimate from being computed.
    fn denoise_into(&mut self, out: &mut Panels<T>, x: &Panels<T>, t: f64) -> Result<()>;
}
