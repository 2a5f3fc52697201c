//! The linearised network: the network's own features, frozen where training starts (HRX section 4).
//!
//! `u <- u - eta H(0) (u - y)` with `H(0)` the finite-width kernel at the initial weights. Everything the start contributes is
//! linear in the residuals, so one matrix of coefficients, `gamma <- gamma - eta (u - y)` with `u = u_0 + H(0) gamma`, gives the
//! outputs at any other samples too.

use faer::Par;

use crate::kernels::Real;
use crate::kernels::descent::{Workspace, forward_into};
use crate::kernels::patterns::ActivationPatterns;
use crate::kernels::tangent::{Features, ProductWorkspace, TangentKernel, product_into};
use crate::kernels::{Panels, workers};
use crate::network::Network;
use crate::{Error, Result};

/// Gradient descent of a network that is linear in the change of its weights.
pub struct LinearisedNetwork<'a, T> {
    network: &'a Network<T>,
    samples: &'a Panels<T>,
    labels: &'a Panels<T>,
    patterns: ActivationPatterns,
    start: Panels<T>,
    coefficients: Panels<T>,
    outputs: Panels<T>,
    workspace: ProductWorkspace<T>,
    step: f64,
    iterations: u64,
    par: Par,
}

impl<'a, T: Real> LinearisedNetwork<'a, T> {
    /// Linearises `network` at its weights, for `samples` (`N` x `D`) with `labels` (`N` x `d`) and steps of size `step`
    /// (`eta`, on the summed loss).
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes do not fit together, [`Error::Setting`] for a step that is not positive.
    pub fn new(
        network: &'a Network<T>,
        samples: &'a Panels<T>,
        labels: &'a Panels<T>,
        step: f64,
        par: Par,
    ) -> Result<Self> {
        if !(step.is_finite() && step > 0.0) {
            let requirement = "it must be positive and finite";
            return Err(Error::Setting { name: "the step size", value: step.to_string(), requirement });
        }
        labels.expect_shape("the labels", samples.rows(), network.outputs())?;
        let (patterns, start) = features(network, samples, par)?;
        Ok(Self {
            network,
            samples,
            labels,
            patterns,
            outputs: start.clone(),
            coefficients: Panels::zeros(samples.rows(), network.outputs()),
            start,
            workspace: ProductWorkspace::new(),
            step,
            iterations: 0,
            par,
        })
    }

    /// Makes `iterations` more steps.
    ///
    /// # Errors
    /// [`Error::Diverged`] if the outputs leave the finite numbers.
    pub fn advance(&mut self, iterations: u64) -> Result<()> {
        let step = T::from_f64(self.step);
        for _ in 0..iterations {
            let lanes = self.coefficients.lanes_mut().iter_mut().zip(self.outputs.lanes()).zip(self.labels.lanes());
            for ((gamma, u), y) in lanes {
                for lane in 0..gamma.0.len() {
                    gamma.0[lane] -= step * (u.0[lane] - y.0[lane]);
                }
            }
            let seen = Features { patterns: &self.patterns, z: self.samples };
            let (out, a) = (&mut self.outputs, self.network.a());
            product_into(
                out,
                &self.coefficients,
                TangentKernel { a, rows: seen, columns: seen },
                &mut self.workspace,
                self.par,
            )?;
            add(out, &self.start);
            self.iterations += 1;
            if !self.residual().is_finite() {
                return Err(Error::Diverged { iteration: self.iterations as usize });
            }
        }
        Ok(())
    }

    /// The outputs at the samples, `N` x `d`.
    #[cfg(test)]
    pub fn outputs(&self) -> &Panels<T> {
        &self.outputs
    }

    /// Sum over samples and outputs of the squared residuals.
    pub fn residual(&self) -> f64 {
        let lanes = self.outputs.lanes().iter().zip(self.labels.lanes());
        lanes.map(|(u, y)| u.0.iter().zip(&y.0).map(|(&u, &y)| (u - y).to_f64().powi(2)).sum::<f64>()).sum()
    }

    /// Iterations made.
    #[cfg(test)]
    pub fn iterations(&self) -> u64 {
        self.iterations
    }

    /// The outputs at other samples `z` (`M` x `D`), `M` x `d`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the samples have another number of columns.
    pub fn predict(&mut self, z: &Panels<T>) -> Result<Panels<T>> {
        let (patterns, start) = features(self.network, z, self.par)?;
        let mut out = Panels::zeros(z.rows(), self.network.outputs());
        let rows = Features { patterns: &patterns, z };
        let columns = Features { patterns: &self.patterns, z: self.samples };
        let (gamma, a) = (&self.coefficients, self.network.a());
        product_into(&mut out, gamma, TangentKernel { a, rows, columns }, &mut self.workspace, self.par)?;
        add(&mut out, &start);
        Ok(out)
    }
}

/// Activation patterns and outputs of the network as it is.
fn features<T: Real>(network: &Network<T>, z: &Panels<T>, par: Par) -> Result<(ActivationPatterns, Panels<T>)> {
    let mut patterns = ActivationPatterns::zeros(z.rows(), network.neurons());
    let mut outputs = Panels::zeros(z.rows(), network.outputs());
    let mut workspaces = Workspace::for_workers(workers(par), network.inputs(), network.outputs());
    forward_into(&mut outputs, Some(&mut patterns), network.layers(), z, &mut workspaces)?;
    Ok((patterns, outputs))
}

fn add<T: Real>(to: &mut Panels<T>, from: &Panels<T>) {
    for (to, from) in to.lanes_mut().iter_mut().zip(from.lanes()) {
        to.0.iter_mut().zip(&from.0).for_each(|(to, &from)| *to += from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, chunk_streams, fill_normal};

    fn normals(rows: usize, columns: usize, seed: u64) -> Panels<f64> {
        let mut panels = Panels::zeros(rows, columns);
        fill_normal(&mut panels, &mut chunk_streams(seed, Purpose::Data, 0, 1), Par::Seq);
        panels
    }

    /// Outputs of `w` on `z` with the activations of `frozen`, by plain loops.
    fn frozen_outputs(w: &[Vec<f64>], network: &Network<f64>, z: &Panels<f64>) -> Vec<Vec<f64>> {
        let (m, dims) = (network.neurons(), network.inputs());
        (0..z.rows())
            .map(|j| {
                let active = |r: usize| (0..dims).map(|k| network.w().get(r, k) * z.get(j, k)).sum::<f64>() >= 0.0;
                let value = |r: usize| (0..dims).map(|k| w[r][k] * z.get(j, k)).sum::<f64>();
                let output =
                    |i: usize| (0..m).filter(|&r| active(r)).map(|r| network.a().get(r, i) * value(r)).sum::<f64>();
                (0..network.outputs()).map(|i| output(i) / (m as f64).sqrt()).collect()
            })
            .collect()
    }

    #[test]
    fn coefficients_follow_gradient_descent_with_frozen_activations() {
        let (n, m, eta) = (9, 12, 0.05);
        let network = Network::<f64>::independent(3, 2, m, 4).unwrap();
        let (z, y, test) = (normals(n, 3, 1), normals(n, 2, 2), normals(5, 3, 3));
        let mut linear = LinearisedNetwork::new(&network, &z, &y, eta, Par::Seq).unwrap();
        // The same by plain gradient descent on the weights.
        let mut w: Vec<Vec<f64>> = (0..m).map(|r| (0..3).map(|k| network.w().get(r, k)).collect()).collect();
        for _ in 0..6 {
            let u = frozen_outputs(&w, &network, &z);
            for (j, u) in u.iter().enumerate() {
                for (r, w) in w.iter_mut().enumerate() {
                    if (0..3).map(|k| network.w().get(r, k) * z.get(j, k)).sum::<f64>() >= 0.0 {
                        let back: f64 = (0..2).map(|i| (u[i] - y.get(j, i)) * network.a().get(r, i)).sum();
                        for (k, w) in w.iter_mut().enumerate() {
                            *w -= eta / (m as f64).sqrt() * back * z.get(j, k);
                        }
                    }
                }
            }
        }
        let before = linear.residual();
        linear.advance(6).unwrap();
        assert!(linear.residual() < before && linear.iterations() == 6);
        let predicted = linear.predict(&test).unwrap();
        for (found, wanted) in
            [(linear.outputs(), frozen_outputs(&w, &network, &z)), (&predicted, frozen_outputs(&w, &network, &test))]
        {
            for (j, wanted) in wanted.iter().enumerate() {
                for (i, wanted) in wanted.iter().enumerate() {
                    assert!((found.get(j, i) - wanted).abs() < 1e-12, "{j} {i}");
                }
            }
        }
    }

    #[test]
    fn unusable_input_is_an_error() {
        let network = Network::<f64>::symmetric(3, 2, 4, 0).unwrap();
        let (z, y) = (normals(5, 3, 1), normals(5, 2, 2));
        assert!(LinearisedNetwork::new(&network, &z, &normals(4, 2, 2), 0.1, Par::Seq).is_err());
        assert!(LinearisedNetwork::new(&network, &normals(5, 2, 1), &y, 0.1, Par::Seq).is_err());
        assert!(LinearisedNetwork::new(&network, &z, &y, -0.1, Par::Seq).is_err());
        let mut wild = LinearisedNetwork::new(&network, &z, &y, 1e3, Par::Seq).unwrap();
        assert!(matches!(wild.advance(2000), Err(Error::Diverged { .. })));
    }
}
