//! Training a network step by step: a fused forward pass, the caller's errors, a fused update.

use super::Network;
use crate::kernels::Panels;
use crate::kernels::Real;
use crate::kernels::descent::{self, BackwardInputs, Optimizer, OptimizerState, Rule, Step, Workspace};
use crate::kernels::patterns::ActivationPatterns;
use crate::{Error, Result};

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

/// What a trainer needs to go on, in plain data; weights in the order of memory.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct TrainerState<T> {
    weights: Vec<T>,
    optimizer: OptimizerState<T>,
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
        let (optimizer, workspaces) = (&mut self.optimizer, &mut self.workspaces);
        descent::update(
            w,
            optimizer,
            Step { rate, decay },
            BackwardInputs { e: &self.errors, patterns: &self.patterns, a, z },
            workspaces,
        )?;
        self.rises += usize::from(loss > self.last_loss);
        self.last_loss = loss;
        self.steps += 1;
        Ok(loss)
    }

    /// Everything the next steps depend on.
    pub(crate) fn state(&self) -> TrainerState<T> {
        let Self { network, optimizer, last_loss, steps, rises, .. } = self;
        TrainerState {
            weights: network.w.values().to_vec(),
            optimizer: optimizer.state(),
            last_loss: *last_loss,
            steps: *steps,
            rises: *rises,
        }
    }

    /// Takes up the state of a trainer of the same network and rule.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if it is of another network or rule.
    pub(crate) fn restore(&mut self, state: &TrainerState<T>) -> Result<()> {
        if !self.network.w.take_values(&state.weights) || !self.optimizer.restore(&state.optimizer) {
            return Err(Error::Checkpoint("it has a network of another size or another optimizer".into()));
        }
        self.good = (self.network.w.clone(), self.optimizer.average().cloned());
        (self.last_loss, self.steps, self.rises) = (state.last_loss, state.steps, state.rises);
        Ok(())
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

    /// The network before the latest step: the one whose loss that step returned.
    pub fn previous(&self) -> Network<T> {
        let mut network = self.network.clone();
        network.w = self.good.1.as_ref().unwrap_or(&self.good.0).clone();
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
    use crate::random::{Purpose, normal, stream};

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
