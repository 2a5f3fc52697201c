//! The passes of the step, as a program calls them.

use super::{BackwardInputs, Layers, Optimizer, Step, Workspace};
use crate::Result;
use crate::kernels::Panels;
use crate::kernels::patterns::ActivationPatterns;
use crate::kernels::real::Real;
use crate::simd::Level;

/// [`forward_with`] at the current level.
///
/// # Errors
/// As for [`forward_with`].
pub fn forward_into<T: Real>(
    outputs: &mut Panels<T>,
    patterns: Option<&mut ActivationPatterns>,
    layers: Layers<'_, T>,
    z: &Panels<T>,
    workspaces: &mut [Workspace<T>],
) -> Result<()> {
    forward_with(Level::current(), outputs, patterns, layers, z, workspaces)
}

/// Outputs U (N x d) of the network on the samples `z` (N x D), and the activation patterns (N x m bits) where asked for.
///
/// Runs on as many workers as there are workspaces; the result does not depend on how many.
///
/// # Errors
/// [`crate::Error::Shape`] if the shapes do not fit together, [`crate::Error::Setting`] if the workspaces do not.
pub fn forward_with<T: Real>(
    level: Level,
    outputs: &mut Panels<T>,
    patterns: Option<&mut ActivationPatterns>,
    layers: Layers<'_, T>,
    z: &Panels<T>,
    workspaces: &mut [Workspace<T>],
) -> Result<()> {
    T::forward(level, outputs, patterns, layers, z, workspaces)
}

/// [`gradient_with`] at the current level.
///
/// # Errors
/// As for [`gradient_with`].
pub fn gradient_into<T: Real>(
    gradient: &mut Panels<T>,
    inputs: BackwardInputs<'_, T>,
    workspaces: &mut [Workspace<T>],
) -> Result<()> {
    gradient_with(Level::current(), gradient, inputs, workspaces)
}

/// Gradient G (m x D) of a loss by the weights, given its derivative E (N x d) by the outputs:
/// `G = 1/sqrt(m) ((E A^T) o M)^T Z` with the activation patterns M of the forward pass.
///
/// Runs on as many workers as there are workspaces; the result does not depend on how many.
///
/// # Errors
/// [`crate::Error::Shape`] if the shapes do not fit together, [`crate::Error::Setting`] if the workspaces do not.
pub fn gradient_with<T: Real>(
    level: Level,
    gradient: &mut Panels<T>,
    inputs: BackwardInputs<'_, T>,
    workspaces: &mut [Workspace<T>],
) -> Result<()> {
    T::gradient(level, gradient, inputs, workspaces)
}

/// [`update_with`] at the current level.
///
/// # Errors
/// As for [`update_with`].
pub fn update<T: Real>(
    w: &mut Panels<T>,
    optimizer: &mut Optimizer<T>,
    step: Step,
    inputs: BackwardInputs<'_, T>,
    workspaces: &mut [Workspace<T>],
) -> Result<()> {
    update_with(Level::current(), w, optimizer, step, inputs, workspaces)
}

/// One update of the weights `w` (m x D) with the gradient of [`gradient_with`], which is never stored.
///
/// # Errors
/// [`crate::Error::Shape`] if the shapes do not fit together, [`crate::Error::Setting`] if the workspaces, the step size or the
/// decay do not.
pub fn update_with<T: Real>(
    level: Level,
    w: &mut Panels<T>,
    optimizer: &mut Optimizer<T>,
    step: Step,
    inputs: BackwardInputs<'_, T>,
    workspaces: &mut [Workspace<T>],
) -> Result<()> {
    T::update(level, w, optimizer, step, inputs, workspaces)
}
