//! The preset `paper`: full-batch descent of the plain network on a regression set that is drawn once, until the rule stops it.

use faer::Mat;

use super::checkpoint::{Observe, Start};
use super::record::{Record, StopRecord};
use super::settings::{FitSettings, Length, OptimizerKind, Preset, Stopping};
use super::source::TableSource;
use super::training::{Span, Steps, StepsState, Watches, overlap, train};
use super::watch::{HeldWatch, RuleWatch, hold_out};
use crate::diffusion::process::{ForwardProcess, Schedule};
use crate::diffusion::regression_set::{Localisation, RegressionSet, RegressionSettings};
use crate::kernels::descent::{Workspace, forward_into};
use crate::kernels::{Panels, workers};
use crate::model::preconditioner::{Base, Preconditioner};
use crate::model::score_model::ScoreModel;
use crate::network::{Network, Trainer, least_squares};
use crate::regression::early_stopping::noise_in_flow;
use crate::regression::operator::MatrixFree;
use crate::regression::quadrature::Quadrature;
use crate::{Error, Result};

/// Adam's step size, which unlike gradient descent's has no unit of the loss: the one that Kingma and Ba recommend.
const ADAM: f64 = 1e-3;

/// First diffusion time of the variance-preserving process: a noise of 1 to 2 % of the signal.
const START: f64 = 1e-3;

/// Fits the model.
pub(super) fn fit(
    source: &TableSource,
    settings: &FitSettings,
    mut start: Start,
    observe: Observe,
) -> Result<(ScoreModel, Record)> {
    let optimizer = settings.optimizer.unwrap_or(OptimizerKind::Descent);
    let stop = settings.stop.unwrap_or(Stopping::default_of(Preset::Paper, optimizer));
    let rule = stop.rule(optimizer)?;
    let (seed, par) = (settings.seed, settings.par);
    let process = ForwardProcess::new(Schedule::VARIANCE_PRESERVING, START, 1.0)?;
    let preconditioner = Preconditioner::fit(Base::Zero, source, None, &process, workers(par), seed, None)?;
    let data = source.matrix(&preconditioner, seed);
    let domain = RegressionSettings { draws: settings.draws, localisation: Some(Localisation::new(&process)) };
    let set = RegressionSet::draw(&process, data.as_ref(), &domain, seed)?;
    // Rows are held out with all their samples, which share a label.
    let mut out = vec![false; data.nrows()];
    if stop == Stopping::HoldOut {
        hold_out(data.nrows(), seed)?[1].iter().for_each(|&row| out[row] = true);
    }
    let [held, kept] = [true, false]
        .map(|which| (0..set.sources.len()).filter(|&j| out[set.sources[j]] == which).collect::<Vec<usize>>());
    let pick = |from: &Mat<f32>, rows: &[usize]| Mat::from_fn(rows.len(), from.ncols(), |j, i| from[(rows[j], i)]);
    let inputs = pick(&set.inputs, &kept);
    let z = Panels::from_matrix("the regression inputs", inputs.as_ref())?;
    let labels = Panels::from_matrix("the labels", pick(&set.labels, &kept).as_ref())?;
    let held_z = Panels::from_matrix("the inputs held out", pick(&set.inputs, &held).as_ref())?;
    let held_labels = Panels::from_matrix("the labels held out", pick(&set.labels, &held).as_ref())?;
    let network = Network::symmetric(z.columns(), labels.columns(), settings.width, seed)?;
    // The eigenvalues of K/N, by quadrature: no N x N matrix.
    let mut operator = MatrixFree::new(inputs.as_ref(), par)?;
    let spectrum = Quadrature { seed, par, ..Quadrature::SHORT }.run(&mut operator)?.spectrum()?;
    // On 1/(2N) sum |f - y|^2 with step s, gradient descent converges for s below 2/lambda_1; on the summed loss the step is
    // s/N.
    let step = 1.0 / (spectrum.largest() * overlap(labels.columns(), settings.width));
    let samples = z.rows() as f64;
    let mut steps = FixedSet {
        trainer: Trainer::new(network, optimizer.rule(), false, workers(par))?,
        workspaces: Workspace::for_workers(workers(par), z.columns(), labels.columns()),
        predicted: [(); 2].map(|()| Panels::zeros(held.len(), labels.columns())),
        z,
        labels,
        held: (held_z, held_labels),
        optimizer,
        step,
    };
    let rule = rule.map(|rule| RuleWatch::new(rule, spectrum));
    let by_rows = (stop == Stopping::HoldOut).then(HeldWatch::new);
    let mut watches = Watches { rule, held: by_rows, smooth: false };
    let span = match settings.length {
        Length::Iterations(all) => Span::Iterations(all),
        Length::Budget(budget) => Span::Time(budget.saturating_sub(start.used())),
    };
    let going = start.from.take().map(|from| from.going);
    let trained = train(&mut steps, span, &mut watches, going, &mut |progress, going| {
        observe(progress, &|| start.checkpoint(None, going()))
    })?;
    debug_assert_eq!(samples, steps.z.rows() as f64);
    let record = Record {
        rows: data.nrows(),
        preset: Preset::Paper,
        iterations: trained.steps,
        seed,
        losses: trained.losses,
        held_out_losses: Vec::new(),
        ended: trained.ended,
        stop: StopRecord {
            rule: stop,
            iteration: trained.iteration,
            effective_time: optimizer.effective(step * trained.iteration as f64),
            noise: watches.rule.as_ref().map(|rule| rule.noise).filter(|noise| noise.is_finite()),
            critical_radius: watches.rule.as_ref().map(RuleWatch::critical_radius).filter(|radius| radius.is_finite()),
            held_out: held.len(),
            radius: Some(set.radius),
            dropped: set.dropped_far + set.dropped_early,
        },
    };
    Ok((ScoreModel::new(process, preconditioner, vec![trained.network])?, record))
}

/// A network in training on a fixed regression set.
struct FixedSet {
    trainer: Trainer<f32>,
    z: Panels<f32>,
    labels: Panels<f32>,
    held: (Panels<f32>, Panels<f32>),
    /// Predictions for what is held out, and their errors.
    predicted: [Panels<f32>; 2],
    workspaces: Vec<Workspace<f32>>,
    optimizer: OptimizerKind,
    step: f64,
}

impl Steps for FixedSet {
    fn step(&mut self, _: f64) -> Result<[f64; 2]> {
        let Self { trainer, z, labels, step, optimizer, .. } = self;
        let rate = if *optimizer == OptimizerKind::Adam { ADAM } else { *step / z.rows() as f64 };
        let loss = trainer.step(z, rate, 0.0, |outputs, errors| least_squares(outputs, labels, errors))?;
        Ok([loss / z.rows() as f64 / labels.columns() as f64, 0.0])
    }

    fn time_of_step(&self, _: f64) -> Option<f64> {
        self.optimizer.effective(self.step)
    }

    /// The samples trained on are fitted to their noise, which counts by the degrees of freedom used so far.
    fn noise(&self, watch: &RuleWatch, time: f64, loss: f64) -> f64 {
        let outputs = self.labels.columns();
        noise_in_flow(&watch.spectrum, time, outputs, 2.0 * loss * self.z.rows() as f64 * outputs as f64)
    }

    fn held_out_loss(&mut self) -> Result<f64> {
        let [predicted, errors] = &mut self.predicted;
        forward_into(predicted, None, self.trainer.network().layers(), &self.held.0, &mut self.workspaces)?;
        Ok(least_squares(predicted, &self.held.1, errors))
    }

    fn network(&self) -> Network<f32> {
        self.trainer.network().clone()
    }

    fn previous(&self) -> Network<f32> {
        self.trainer.previous()
    }

    fn state(&self) -> StepsState {
        StepsState::FixedSet(self.trainer.state())
    }

    fn restore(&mut self, state: StepsState) -> Result<()> {
        match state {
            StepsState::FixedSet(state) => self.trainer.restore(&state),
            StepsState::Batches(_) => Err(Error::Checkpoint("it is of another preset".into())),
        }
    }
}
