//! The two-layer network and its training step (HRX section 3): a fused forward pass, the caller's errors, a fused update.

use faer::MatRef;
use rand::RngExt;

use super::streams::{Purpose, normal, stream};
use crate::kernels::Panels;
use crate::kernels::descent::{self, Layers, Optimizer, Rule, Workspace};
use crate::kernels::patterns::ActivationPatterns;
use crate::simd::Real;
use crate::{Error, Result};

/// `f_i(z) = 1/sqrt(m) sum_r a_ri relu(w_r . z)`: `w` is trained, the signs `a` are drawn once.
#[derive(Debug, Clone, PartialEq)]
pub struct Network<T> {
    w: Panels<T>,
    a: Panels<T>,
}

impl<T: Real> Network<T> {
    /// Symmetric initialisation: neurons `2r` and `2r + 1` have equal weights `w ~ N(0, I)` and opposite signs, so that the
    /// network is zero at the start.
    ///
    /// # Errors
    /// [`Error::Setting`] if `neurons` is odd or zero, [`Error::Empty`] without inputs or outputs.
    pub fn symmetric(inputs: usize, outputs: usize, neurons: usize, seed: u64) -> Result<Self> {
        if !neurons.is_multiple_of(2) {
            let value = neurons.to_string();
            let requirement = "symmetric initialisation needs an even number of neurons";
            return Err(Error::Setting { name: "the width", value, requirement });
        }
        Self::draw(inputs, outputs, neurons, seed, true)
    }

    /// Independent initialisation: `w ~ N(0, I)` and signs +-1 with equal chances, for every neuron.
    ///
    /// # Errors
    /// [`Error::Empty`] without neurons, inputs or outputs.
    pub fn independent(inputs: usize, outputs: usize, neurons: usize, seed: u64) -> Result<Self> {
        Self::draw(inputs, outputs, neurons, seed, false)
    }

    fn draw(inputs: usize, outputs: usize, neurons: usize, seed: u64, paired: bool) -> Result<Self> {
        let counts = [(neurons, "neuron"), (inputs, "input"), (outputs, "output")];
        if let Some((_, unit)) = counts.into_iter().find(|(count, _)| *count == 0) {
            return Err(Error::Empty { what: "the network", unit });
        }
        let (mut w, mut a) = (Panels::<T>::zeros(neurons, inputs), Panels::<T>::zeros(neurons, outputs));
        // Weights and signs have a stream each, so that the weights do not depend on the number of outputs.
        let mut weights = stream(seed, Purpose::Weights);
        let mut signs = weights.clone();
        signs.jump();
        for r in 0..neurons {
            let twin = paired && r % 2 == 1;
            for k in 0..inputs {
                let x = if twin { w.get(r - 1, k) } else { normal(&mut weights) };
                w.set(r, k, x);
            }
            for i in 0..outputs {
                let sign = if twin { -a.get(r - 1, i) } else { if signs.random() { T::ONE } else { -T::ONE } };
                a.set(r, i, sign);
            }
        }
        Ok(Self { w, a })
    }

    /// A network from its weights (m x D) and signs (m x d).
    ///
    /// # Errors
    /// [`Error::Shape`] if their numbers of neurons differ, [`Error::NotFinite`], [`Error::Empty`].
    pub fn from_parts(w: MatRef<'_, T>, a: MatRef<'_, T>) -> Result<Self> {
        Self::from_panels(Panels::from_matrix("the weights", w)?, Panels::from_matrix("the output signs", a)?)
    }

    /// [`Network::from_parts`] from panels.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Empty`].
    pub fn from_panels(w: Panels<T>, a: Panels<T>) -> Result<Self> {
        a.expect_shape("the output signs", w.rows(), a.columns())?;
        if w.rows() == 0 || w.columns() == 0 || a.columns() == 0 {
            return Err(Error::Empty { what: "the network", unit: "neuron, input and output" });
        }
        Ok(Self { w, a })
    }

    /// The trained weights, m x D.
    pub fn w(&self) -> &Panels<T> {
        &self.w
    }

    /// The output signs, m x d.
    pub fn a(&self) -> &Panels<T> {
        &self.a
    }

    /// What the kernels read.
    pub fn layers(&self) -> Layers<'_, T> {
        Layers { w: &self.w, a: &self.a }
    }

    /// Number of inputs D.
    pub fn inputs(&self) -> usize {
        self.w.columns()
    }

    /// Number of outputs d.
    pub fn outputs(&self) -> usize {
        self.a.columns()
    }

    /// Number of neurons m.
    pub fn neurons(&self) -> usize {
        self.w.rows()
    }

    /// The same signs with other weights, such as an average.
    ///
    /// # Errors
    /// [`Error::Shape`] if the weights have another shape.
    pub fn with_weights(&self, w: &Panels<T>) -> Result<Self> {
        w.expect_shape("the weights", self.neurons(), self.inputs())?;
        Ok(Self { w: w.clone(), a: self.a.clone() })
    }
}

/// A network in training: weights, optimizer state and every buffer a step needs, so that steps allocate nothing.
#[derive(Debug, Clone)]
pub struct Trainer<T> {
    network: Network<T>,
    optimizer: Optimizer<T>,
    outputs: Panels<T>,
    errors: Panels<T>,
    patterns: ActivationPatterns,
    workspaces: Vec<Workspace<T>>,
    /// Weights, and their average where it is kept, of the last step whose loss was finite.
    good: (Panels<T>, Option<Panels<T>>),
    last_loss: f64,
    steps: usize,
    rises: usize,
}

impl<T: Real> Trainer<T> {
    /// Prepares to train `network` on `workers` threads; `averaged` keeps an exponential moving average of the weights.
    ///
    /// # Errors
    /// [`Error::Setting`] if the rule's numbers are out of range.
    pub fn new(network: Network<T>, rule: Rule, averaged: bool, workers: usize) -> Result<Self> {
        let optimizer = Optimizer::new(rule, network.w(), averaged)?;
        Ok(Self {
            outputs: Panels::zeros(0, network.outputs()),
            errors: Panels::zeros(0, network.outputs()),
            patterns: ActivationPatterns::zeros(0, network.neurons()),
            workspaces: Workspace::for_workers(workers, network.inputs(), network.outputs()),
            good: (network.w().clone(), optimizer.average().cloned()),
            last_loss: f64::INFINITY,
            steps: 0,
            rises: 0,
            network,
            optimizer,
        })
    }

    /// One step on a batch `z` (N x D): forward pass, then `residual(outputs, errors)` fills the derivative of the loss by the
    /// outputs (N x d, padding rows zero) and returns the loss, then the weights move by `rate`. `decay` is the share of the
    /// old average that is kept. Returns the loss before the step.
    ///
    /// # Errors
    /// [`Error::Diverged`] if the loss is not finite: weights and average are then what they were when it last was, and the
    /// optimizer's velocities begin anew. [`Error::Shape`] and [`Error::Setting`] as for the kernels.
    pub fn step(
        &mut self,
        z: &Panels<T>,
        rate: f64,
        decay: f64,
        residual: impl FnOnce(&Panels<T>, &mut Panels<T>) -> f64,
    ) -> Result<f64> {
        for panels in [&mut self.outputs, &mut self.errors] {
            if panels.rows() != z.rows() {
                panels.reset(z.rows(), self.network.outputs());
            }
        }
        let layers = self.network.layers();
        descent::forward_into(&mut self.outputs, Some(&mut self.patterns), layers, z, &mut self.workspaces)?;
        let loss = residual(&self.outputs, &mut self.errors);
        if !loss.is_finite() {
            self.network.w.lanes_mut().copy_from_slice(self.good.0.lanes());
            self.optimizer.restart(self.good.1.as_ref());
            return Err(Error::Diverged { iteration: self.steps });
        }
        let (good, good_average) = (&mut self.good.0, &mut self.good.1);
        let (w, average) = (&self.network.w, self.optimizer.average());
        rayon::join(
            || good.lanes_mut().copy_from_slice(w.lanes()),
            || {
                if let (Some(good), Some(average)) = (good_average, average) {
                    good.lanes_mut().copy_from_slice(average.lanes());
                }
            },
        );
        let Network { w, a } = &mut self.network;
        let numbers = (rate, decay);
        let (optimizer, workspaces) = (&mut self.optimizer, &mut self.workspaces);
        descent::update(w, optimizer, numbers, &self.errors, &self.patterns, a, z, workspaces)?;
        self.rises += usize::from(loss > self.last_loss);
        self.last_loss = loss;
        self.steps += 1;
        Ok(loss)
    }

    /// The network as it stands.
    pub fn network(&self) -> &Network<T> {
        &self.network
    }

    /// The network with the averaged weights, or as it stands if no average is kept.
    pub fn averaged(&self) -> Network<T> {
        let mut network = self.network.clone();
        if let Some(average) = self.optimizer.average() {
            network.w = average.clone();
        }
        network
    }

    /// Activation patterns of the latest step's forward pass.
    pub fn patterns(&self) -> &ActivationPatterns {
        &self.patterns
    }

    /// Outputs of the latest step's forward pass, N x d.
    pub fn outputs(&self) -> &Panels<T> {
        &self.outputs
    }

    /// Steps made.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Steps whose loss was larger than the one before: on a fixed batch with a step size below 2 / lambda_max there are none.
    pub fn rises(&self) -> usize {
        self.rises
    }
}

/// The residual of least squares: fills `errors` with `outputs - labels` and returns `1/2 sum (outputs - labels)^2`.
pub fn least_squares<T: Real>(outputs: &Panels<T>, labels: &Panels<T>, errors: &mut Panels<T>) -> f64 {
    let mut loss = 0.0;
    for ((u, y), e) in outputs.lanes().iter().zip(labels.lanes()).zip(errors.lanes_mut()) {
        for ((u, y), e) in u.0.iter().zip(&y.0).zip(&mut e.0) {
            *e = *u - *y;
            loss += 0.5 * e.to_f64() * e.to_f64();
        }
    }
    loss
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A trainer, its inputs and labels, after `steps` steps.
    fn trained(rule: Rule, steps: usize) -> (Trainer<f64>, Panels<f64>, Panels<f64>) {
        let mut rng = stream(3, Purpose::Training);
        let mut draw = |columns| {
            let mut panels = Panels::zeros(70, columns);
            (0..70 * columns).for_each(|i| panels.set(i % 70, i / 70, normal(&mut rng)));
            panels
        };
        let (z, y) = (draw(3), draw(2));
        let mut trainer = Trainer::new(Network::symmetric(3, 2, 130, 1).unwrap(), rule, true, 2).unwrap();
        for _ in 0..steps {
            trainer.step(&z, 1e-3, 0.9, |u, e| least_squares(u, &y, e)).unwrap();
        }
        (trainer, z, y)
    }

    #[test]
    fn a_step_that_leaves_the_finite_numbers_keeps_the_last_good_weights() {
        for rule in [Rule::Descent, Rule::Nesterov { momentum: 0.9 }, Rule::ADAM] {
            let (good, ..) = trained(rule, 5);
            let (mut trainer, z, y) = trained(rule, 5);
            // Far too long a step from weights whose loss is finite: it is the next loss that tells.
            trainer.step(&z, 1e300, 0.9, |u, e| least_squares(u, &y, e)).unwrap();
            let found = trainer.step(&z, 1e-3, 0.9, |u, e| least_squares(u, &y, e)).unwrap_err();
            assert!(matches!(found, Error::Diverged { iteration: 6 }), "{found}");
            assert_eq!(trainer.network(), good.network(), "{rule:?}");
            assert_eq!(trainer.averaged(), good.averaged(), "{rule:?}");
            // Training goes on from there.
            let losses: Vec<f64> =
                (0..50).map(|_| trainer.step(&z, 1e-3, 0.9, |u, e| least_squares(u, &y, e)).unwrap()).collect();
            assert!(losses[49] < losses[0], "{rule:?}: {} after {}", losses[49], losses[0]);
        }
    }
}
