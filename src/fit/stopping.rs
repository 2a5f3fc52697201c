//! When a fit stops by itself: by the rule of early stopping, or where rows that were held out are predicted best.
//!
//! The rule speaks of gradient descent with constant steps `s` on the mean loss. What decides is the effective time, the sum of
//! the steps; momentum `mu` carries every step on, so that it counts `s / (1 - mu)`, and a batch counts like all rows, whose mean
//! loss it estimates. Adam has no effective time, because its steps do not follow the size of the gradient.

use faer::Par;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{OptimizerKind, Preset};
use crate::diffusion::process::ForwardProcess;
use crate::kernels::Panels;
use crate::kernels::descent::{Workspace, forward_into};
use crate::model::preconditioner::{DataSource, Layout, Preconditioner, RowBuffer};
use crate::model::training::Run;
use crate::network::Network;
use crate::random::{Purpose, stream};
use crate::regression::early_stopping::{Noise, StoppingRule, noise_in_flow};
use crate::regression::operator::MatrixFree;
use crate::regression::quadrature::Quadrature;
use crate::regression::spectrum::Spectrum;
use crate::{Error, Result};

/// What ends training before its iterations or its time are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopping {
    /// The stopping rule with the constant of the theory, 2e.
    Theory,
    /// The stopping rule with constant 1, noise estimated on the way and the function's norm taken to be one.
    Sharp,
    /// A tenth of the rows is held out; training stops after twice as many iterations as predicted them best, and the weights of
    /// that best iteration are kept.
    HoldOut,
    /// Nothing.
    None,
}

impl Stopping {
    /// What a preset does unless told otherwise.
    pub(super) fn default_of(preset: Preset, optimizer: OptimizerKind) -> Self {
        match preset {
            Preset::Paper if optimizer != OptimizerKind::Adam => Stopping::Sharp,
            _ => Stopping::None,
        }
    }

    /// "theory", "sharp", "holdout" or "none".
    pub fn name(self) -> &'static str {
        match self {
            Stopping::Theory => "theory",
            Stopping::Sharp => "sharp",
            Stopping::HoldOut => "holdout",
            Stopping::None => "none",
        }
    }

    /// The rule, if it is one.
    ///
    /// # Errors
    /// [`Error::Setting`] for an optimizer without effective time.
    pub(super) fn rule(self, optimizer: OptimizerKind) -> Result<Option<StoppingRule>> {
        let constant = match self {
            Stopping::Theory => StoppingRule::THEORY,
            Stopping::Sharp => StoppingRule::SHARP.constant,
            Stopping::HoldOut | Stopping::None => return Ok(None),
        };
        if optimizer == OptimizerKind::Adam {
            let requirement =
                "the rule needs gradient descent, plain or Nesterov's: take one of these, or stop by holdout";
            return Err(Error::Setting {
                name: "the optimizer under a stopping rule",
                value: "adam".into(),
                requirement,
            });
        }
        // Not relative to the function's norm, which takes iterations beyond the stop to estimate.
        Ok(Some(StoppingRule { constant, noise: Noise::Estimated }))
    }
}

/// How a fit was stopped: stored with the model.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize, serde::Deserialize))]
pub struct StopRecord {
    /// "theory", "sharp", "holdout" or "none".
    pub rule: String,
    /// Whether it ended training.
    pub applied: bool,
    /// The iteration whose weights the model has.
    pub iteration: usize,
    /// Effective time until then: the sum of the steps on the mean loss, over 1 - momentum; none with Adam.
    pub effective_time: Option<f64>,
    /// Scale of the label noise, estimated, and the critical radius; of a rule only.
    pub noise: Option<f64>,
    /// The critical radius.
    pub critical_radius: Option<f64>,
    /// Rows held out.
    pub held_out: usize,
    /// Radius of the domain that the regression was restricted to, where it was.
    pub radius: Option<f64>,
    /// Samples outside the domain, which were dropped.
    pub dropped: usize,
}

/// How much of the effective time one step of this size is.
pub(super) fn effective(step: f64, optimizer: OptimizerKind) -> Option<f64> {
    match optimizer {
        OptimizerKind::Descent => Some(step),
        OptimizerKind::Nesterov => Some(step / (1.0 - OptimizerKind::MOMENTUM)),
        OptimizerKind::Adam => None,
    }
}

/// The rule, watching a training run by its effective time.
pub(super) struct RuleWatch {
    rule: StoppingRule,
    spectrum: Spectrum,
    /// Scale of the noise when last asked.
    pub noise: f64,
}

impl RuleWatch {
    pub fn new(rule: StoppingRule, spectrum: Spectrum) -> Self {
        Self { rule, spectrum, noise: f64::NAN }
    }

    /// Whether to stop at effective time `time`, after which the next step would end at `next`. `residual` is the sum of the squared
    /// residuals of `outputs` outputs over the samples trained on.
    pub fn on_samples(&mut self, [time, next]: [f64; 2], outputs: usize, residual: f64) -> bool {
        self.noise = noise_in_flow(&self.spectrum, time, outputs, residual);
        self.exceeded(next)
    }

    /// The same from the mean square of residuals on samples with fresh noise, which are not fitted to it.
    pub fn on_fresh(&mut self, next: f64, mean_square: f64) -> bool {
        self.noise = mean_square.sqrt();
        self.exceeded(next)
    }

    fn exceeded(&self, next: f64) -> bool {
        self.noise > 0.0 && self.rule.crossing(&self.spectrum, next, 0, self.noise).exceeded()
    }

    pub fn critical_radius(&self) -> f64 {
        self.spectrum.critical_radius(self.rule.constant, self.noise)
    }
}

/// Rows that the spectrum of a kernel is estimated from where new ones are drawn for every batch.
const SPECTRUM_ROWS: usize = 4096;

/// The spectrum of K/N for as many samples as the table has rows, from a few batches of a run.
pub(super) fn spectrum_of_run(run: &mut Run<'_>, rows: usize, seed: u64, par: Par) -> Result<Spectrum> {
    let mut features = run.draw_features();
    while features.nrows() < SPECTRUM_ROWS.min(rows) {
        let more = run.draw_features();
        let (n, columns) = (features.nrows(), features.ncols());
        features.resize_with(n + more.nrows(), columns, |j, k| more[(j - n, k)]);
    }
    let drawn = features.nrows().min(rows);
    let mut operator = MatrixFree::new(features.subrows(0, drawn), par)?;
    let quadrature = Quadrature { block: 8, sweeps: 4, probes: 8, steps: 20, seed, par };
    let few = quadrature.run(&mut operator)?.spectrum()?;
    // The eigenvalues of K/N approach those of the integral operator; what a sample cannot show of them is next to nothing.
    let mut nodes: Vec<(f64, f64)> = few.values().iter().copied().zip(few.weights().iter().copied()).collect();
    nodes.push((0.0, (rows - drawn) as f64));
    Spectrum::from_nodes(nodes, rows)
}

/// The share of rows that is held out.
const HELD_OUT: f64 = 0.1;
/// Iterations before which hold-out does not stop.
const AT_LEAST: usize = 20;

/// Cuts `rows` rows into those to train on and those to hold out, each rising.
///
/// # Errors
/// [`Error::Table`] if there are too few to hold any out.
pub(super) fn hold_out(rows: usize, seed: u64) -> Result<[Vec<usize>; 2]> {
    let held = (HELD_OUT * rows as f64).round() as usize;
    if held < 1 || held == rows {
        return Err(Error::Table(format!("{rows} rows are too few to hold some out; stop in another way")));
    }
    let mut order: Vec<usize> = (0..rows).collect();
    order.shuffle(&mut stream(seed, Purpose::Order));
    let mut parts = [order.split_off(held), order];
    parts.iter_mut().for_each(|part| part.sort_unstable());
    Ok(parts)
}

/// Hold-out, watching a training run: the best network so far, and when to look again.
pub(super) struct HeldWatch {
    next: usize,
    best: Option<(usize, f64, Network<f32>)>,
}

impl HeldWatch {
    pub fn new() -> Self {
        Self { next: 1, best: None }
    }

    /// Whether it is time to look.
    pub fn due(&self, iteration: usize) -> bool {
        iteration >= self.next
    }

    /// Notes the loss on the held-out rows; whether to stop.
    pub fn tell(&mut self, iteration: usize, loss: f64, network: impl FnOnce() -> Network<f32>) -> bool {
        self.next = (iteration + 1).max(iteration + iteration / 10);
        if self.best.as_ref().is_none_or(|best| loss < best.1) {
            self.best = Some((iteration, loss, network()));
        }
        let best = self.best.as_ref().map_or(iteration, |best| best.0);
        iteration >= AT_LEAST && iteration >= 2 * best
    }

    /// Iteration and network that were best.
    pub fn best(self) -> Option<(usize, Network<f32>)> {
        self.best.map(|(iteration, _, network)| (iteration, network))
    }
}

/// Some of a source's rows.
pub(super) struct Part<'a> {
    pub source: &'a dyn DataSource,
    pub rows: &'a [usize],
}

impl DataSource for Part<'_> {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn layout(&self) -> &Layout {
        self.source.layout()
    }

    fn draw(&self, row: usize, rng: &mut Xoshiro256PlusPlus, numbers: &mut [f32], levels: &mut [u32]) {
        self.source.draw(self.rows[row], rng, numbers, levels);
    }
}

/// Held-out rows with noise of even times, drawn once, on which networks under a preconditioner are compared.
pub(super) struct HeldRows {
    inputs: Panels<f32>,
    rows: Vec<(RowBuffer, Vec<f32>, Vec<u32>)>,
    outputs: Panels<f32>,
    workspaces: Vec<Workspace<f32>>,
}

impl HeldRows {
    /// Most rows looked at.
    const MOST: usize = 8192;

    pub fn new(
        source: &dyn DataSource,
        preconditioner: &Preconditioner,
        process: &ForwardProcess,
        (seed, workers): (u64, usize),
    ) -> Self {
        let (count, d) = (source.rows().min(Self::MOST), source.layout().width());
        let mut rng = stream(seed, Purpose::Estimate);
        let mut inputs = Panels::zeros(count, preconditioner.inputs());
        let mut noisy = vec![0.0; d];
        let mut rows = Vec::with_capacity(count);
        for j in 0..count {
            let t = process.start() + (process.end() - process.start()) * (j as f64 + 0.5) / count as f64;
            let level = preconditioner.level(process, t);
            let (mut clean, mut levels) = (vec![0.0; d], vec![0; source.layout().blocks.len()]);
            preconditioner.draw(source, j, &mut rng, &mut clean, &mut levels);
            level.perturb(&clean, &mut noisy, &mut rng);
            let mut buffer = preconditioner.buffer();
            preconditioner.prepare(&level, &noisy, &mut buffer);
            buffer.inputs.iter().enumerate().for_each(|(k, &x)| inputs.set(j, k, x));
            rows.push((buffer, clean, levels));
        }
        let workspaces = Workspace::for_workers(workers, preconditioner.inputs(), d);
        Self { inputs, rows, outputs: Panels::zeros(count, d), workspaces }
    }

    /// The loss per row.
    pub fn loss(&mut self, network: &Network<f32>, preconditioner: &Preconditioner, weights: [f32; 2]) -> Result<f64> {
        forward_into(&mut self.outputs, None, network.layers(), &self.inputs, &mut self.workspaces)?;
        let mut u = vec![0.0; self.outputs.columns()];
        let mut sum = 0.0;
        for (j, (buffer, clean, levels)) in self.rows.iter().enumerate() {
            u.iter_mut().enumerate().for_each(|(i, u)| *u = self.outputs.get(j, i));
            let [squares, entropy] = preconditioner.residual(buffer, clean, levels, weights, &mut u);
            sum += f64::from(weights[0]) * squares + f64::from(weights[1]) * entropy;
        }
        Ok(sum / self.rows.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hold_out_keeps_the_best_and_stops_at_twice_its_iteration() {
        let network = |seed| Network::<f32>::symmetric(2, 1, 2, seed).unwrap();
        let mut watch = HeldWatch::new();
        let mut stopped = None;
        for iteration in 1..200 {
            if watch.due(iteration) {
                let loss = (iteration as f64 - 37.0).abs();
                if watch.tell(iteration, loss, || network(iteration as u64)) {
                    stopped = Some(iteration);
                    break;
                }
            }
        }
        let (best, kept) = watch.best().unwrap();
        assert!(best.abs_diff(37) <= 2, "{best}");
        assert_eq!(kept, network(best as u64));
        assert!(stopped.is_some_and(|at| (2 * best..=2 * best + 8).contains(&at)), "{stopped:?}");
    }

    #[test]
    fn rows_are_held_out_once() {
        let [train, held] = hold_out(57, 3).unwrap();
        assert_eq!((train.len(), held.len()), (51, 6));
        let mut all = [train.clone(), held].concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..57) && train.is_sorted());
        assert_ne!(hold_out(57, 4).unwrap()[0], train);
        assert!(matches!(hold_out(4, 0), Err(Error::Table(_))));
    }

    #[test]
    fn momentum_carries_steps_on_and_adam_has_no_time() {
        assert_eq!(effective(0.3, OptimizerKind::Descent), Some(0.3));
        assert!((effective(0.3, OptimizerKind::Nesterov).unwrap() - 3.0).abs() < 1e-12);
        assert_eq!(effective(0.3, OptimizerKind::Adam), None);
        assert!(Stopping::Sharp.rule(OptimizerKind::Adam).is_err());
        assert_eq!(Stopping::Theory.rule(OptimizerKind::Nesterov).unwrap().unwrap().constant, StoppingRule::THEORY);
        assert_eq!(Stopping::HoldOut.rule(OptimizerKind::Adam).unwrap(), None);
        assert_eq!(Stopping::default_of(Preset::Paper, OptimizerKind::Descent), Stopping::Sharp);
        assert_eq!(Stopping::default_of(Preset::Best, OptimizerKind::Descent), Stopping::None);
    }
}
