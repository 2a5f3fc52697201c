//! The presets that train on batches with fresh noise: `best`, a mixture as base, then networks one after the other, each trained on
//! what is left; and `ntk`, one network in the theory's way above the best linear denoiser.

use std::time::{Duration, Instant};

use super::checkpoint::{Checkpoint, Done, Observe, Start};
use super::record::{Ended, Progress, Record, StopRecord};
use super::settings::{FitSettings, Length, OptimizerKind, Preset, Stopping};
use super::source::TableSource;
use super::training::{Span, Steps, StepsState, Trained, Watches, overlap, train};
use super::watch::{HeldWatch, RuleWatch, hold_out, spectrum_of_run};
use crate::diffusion::process::{ForwardProcess, Schedule};
use crate::kernels::workers;
use crate::model::contrast_search;
use crate::model::layout::{DataSource, Subset};
use crate::model::preconditioner::{Base, Preconditioner};
use crate::model::score_model::ScoreModel;
use crate::model::times::TimeDensity;
use crate::model::training::{HeldRows, Run, Training};
use crate::network::{Network, SparseStart};
use crate::regression::kernel_regression::default_step;
use crate::{Error, Result};

/// Rows below which none are held out: the few that could be would decide by chance.
const FEWEST_TO_HOLD_OUT: usize = 40;
/// Share of a time budget that is left for the calibration.
pub(super) const CALIBRATION_SHARE: f64 = 0.04;

/// Share of a time budget that the base denoiser may take beyond what it cannot do without. On tables of some dozens of columns it
/// takes some seconds.
const BASE_SHARE: f64 = 0.5;

/// A fitted model, and how long the forward pass of a row takes in it, in seconds.
pub(super) struct Best {
    pub model: ScoreModel,
    pub record: Record,
    pub pass: f64,
    /// Time that the fit has used.
    pub used: Duration,
}

/// Fits the model.
pub(super) fn fit(source: &TableSource, settings: &FitSettings, mut start: Start, observe: Observe) -> Result<Best> {
    let theory = settings.preset == Preset::Ntk;
    let base = if theory { Base::Gaussian } else { Base::Mixture };
    let optimizer = settings.optimizer.unwrap_or(if theory { OptimizerKind::Descent } else { OptimizerKind::Adam });
    let rows = DataSource::rows(source);
    let stop = settings.stop.unwrap_or(match Stopping::default_of(settings.preset, optimizer) {
        Stopping::HoldOut if rows < FEWEST_TO_HOLD_OUT => Stopping::None,
        stop => stop,
    });
    let rule = stop.rule(optimizer)?;
    if rule.is_some() && base == Base::Mixture && source.layout.numerical == 0 {
        let name = "the stopping rule for a table of categories";
        let requirement = "it is about squared errors: stop by holdout, or take the preset ntk";
        return Err(Error::Setting { name, value: stop.name().into(), requirement });
    }
    let [kept, held] = match stop {
        Stopping::HoldOut => hold_out(rows, settings.seed)?,
        _ => [(0..rows).collect(), Vec::new()],
    };
    let (kept, held) = (Subset::new(source, &kept), Subset::new(source, &held));
    let held = (held.rows() > 0).then_some(&held as &dyn DataSource);
    let threads = workers(settings.par);
    let process = ForwardProcess::new(Schedule::LOG_SNR, 0.0, 1.0)?;
    let (parts, weights, mut done, mut going) = match start.from.take() {
        Some(Checkpoint { base, stages, done, going, .. }) => (base, stages, done, Some(going)),
        None => (None, Vec::new(), Done::default(), None),
    };
    let preconditioner = match parts {
        Some(parts) => Preconditioner::from_parts(parts)?,
        None => {
            let until = match settings.length {
                Length::Budget(budget) => {
                    Some(Instant::now() + budget.mul_f64(BASE_SHARE).saturating_sub(start.used()))
                }
                Length::Iterations(_) => None,
            };
            let fitted = Preconditioner::fit(base, &kept, held, &process, threads, settings.seed, until)?;
            // Some seconds, which a short budget does not have once the base has taken its share.
            if base == Base::Mixture && until.is_none_or(|until| Instant::now() < until) {
                let contrasts = contrast_search::find(&fitted, &kept, &process, threads, settings.seed);
                fitted.with_contrasts(contrasts)
            } else {
                fitted
            }
        }
    };
    let outputs = preconditioner.layout().width();
    let groups = preconditioner.input_groups();
    let fresh = |stage: usize| {
        let seed = settings.seed.wrapping_add(stage as u64);
        if theory {
            return Network::symmetric(groups.len(), outputs, settings.width, seed);
        }
        Network::sparse(&groups, outputs, settings.width, SparseStart::TABLES, seed)
    };
    let before = weights.iter().enumerate().map(|(stage, weights)| fresh(stage)?.with_values(weights));
    let mut stages = before.collect::<Result<Vec<Network<f32>>>>()?;
    let times = settings.times.density();
    let training =
        Training { rule: optimizer.rule(), times, ..Training::tables(settings.batch, settings.seed, threads) };
    let looked_at = from_all_over(kept.rows());
    let looked_at = Subset::new(&kept, &looked_at);
    let all = if theory { 1 } else { settings.stages.max(1) };
    let mut last: Option<(Trained, StopRecord)> = None;
    for stage in stages.len()..all {
        let share = 1.0 / (all - stage) as f64;
        let mut held_rows = match held {
            Some(held) => Some(HeldRows::new(held, &preconditioner, &process, &stages, (settings.seed, threads))?),
            None => None,
        };
        let fresh_rows = match training.times {
            TimeDensity::Recoverable(_) if held.is_none() => {
                Some(HeldRows::new(&looked_at, &preconditioner, &process, &stages, (settings.seed, threads))?)
            }
            _ => None,
        };
        let before = held_rows.as_mut().map(|rows| rows.losses(None)).transpose()?;
        if stage == 0 && going.is_none() {
            done.held_out_losses.extend(before);
        }
        let mut run = Run::new(training.clone(), &kept, &process, &preconditioner, &stages, fresh(stage)?)?;
        if optimizer != OptimizerKind::Adam {
            // Of the mean loss over a batch, by the largest eigenvalue of its kernel.
            let inputs = run.draw_inputs()?;
            let step = default_step(inputs.as_ref(), settings.par)? * settings.batch as f64;
            run.set_rate(step / overlap(outputs, settings.width));
        }
        let spectrum = |run: &mut Run<'_>| spectrum_of_run(run, kept.rows(), settings.seed, settings.par);
        let rule = rule.map(|rule| Ok::<_, Error>(RuleWatch::new(rule, spectrum(&mut run)?))).transpose()?;
        let mut watches = Watches { rule, held: held_rows.is_some().then(HeldWatch::new), smooth: true };
        let span = match settings.length {
            Length::Iterations(all) => Span::Iterations(((all - done.iterations) as f64 * share).round() as usize),
            Length::Budget(budget) => {
                let left = budget.mul_f64(1.0 - CALIBRATION_SHARE).saturating_sub(start.used());
                Span::Time(left.mul_f64(share))
            }
        };
        let weights = training.weights.map(f64::from);
        let mut steps = Stage { run, held: held_rows, fresh: fresh_rows, optimizer, weights };
        let trained = train(&mut steps, span, &mut watches, going.take(), &mut |progress, going| {
            let share = (stage as f64 + progress.share) / all as f64;
            let progress = Progress { share, iteration: done.iterations + progress.iteration, ..*progress };
            observe(&progress, &|| start.checkpoint(Some(preconditioner.to_parts()), going()).after(&stages, &done))
        })?;
        done.iterations += trained.steps;
        // A step is about two forward passes of its batch.
        done.pass += trained.used.as_secs_f64() / (2 * trained.steps.max(1) * settings.batch) as f64;
        let after = steps.held.as_mut().map(|rows| rows.losses(Some(&trained.network))).transpose()?;
        let record = StopRecord {
            rule: stop,
            iteration: trained.iteration,
            effective_time: trained.time,
            noise: watches.rule.as_ref().map(|rule| rule.noise).filter(|noise| noise.is_finite()),
            critical_radius: watches.rule.as_ref().map(RuleWatch::critical_radius).filter(|radius| radius.is_finite()),
            held_out: held.map_or(0, DataSource::rows),
            radius: None,
            dropped: 0,
        };
        drop(steps);
        let total = |losses: [f64; 2]| losses[0] * weights[0] + losses[1] * weights[1];
        let helps = before.zip(after).is_none_or(|(before, after)| total(after) < total(before));
        let over = trained.ended == Ended::Cancelled;
        if helps {
            stages.push(trained.network.clone());
            done.held_out_losses.extend(after);
        }
        last = Some((trained, record));
        if over || !helps {
            break;
        }
    }
    let (trained, stop) = last.ok_or_else(|| Error::Checkpoint("it has as many networks as the fit".into()))?;
    let record = Record {
        rows,
        preset: settings.preset,
        iterations: done.iterations,
        seed: settings.seed,
        losses: trained.losses,
        held_out_losses: done.held_out_losses,
        ended: trained.ended,
        stop,
    };
    Ok(Best { model: ScoreModel::new(process, preconditioner, stages)?, record, pass: done.pass, used: start.used() })
}

/// At most as many of `rows` rows as networks are compared on, from all over the table: those at its head may be alike.
fn from_all_over(rows: usize) -> Vec<usize> {
    let some = rows.min(HeldRows::MOST);
    (0..some).map(|j| j * rows / some).collect()
}

/// One network in training on batches with fresh noise.
struct Stage<'a> {
    run: Run<'a>,
    held: Option<HeldRows<'a>>,
    /// Rows of the training set with noise of their own, where the law of the times asks for errors and none are held out.
    fresh: Option<HeldRows<'a>>,
    optimizer: OptimizerKind,
    weights: [f64; 2],
}

impl Steps for Stage<'_> {
    fn step(&mut self, share: f64) -> Result<[f64; 2]> {
        self.run.watch_times(self.held.as_mut().or(self.fresh.as_mut()))?;
        self.run.step(share)
    }

    fn time_of_step(&self, share: f64) -> Option<f64> {
        self.optimizer.effective(self.run.rate_at(share))
    }

    /// Fresh noise is not fitted, so the mean square of residuals is that of the noise.
    fn noise(&self, _: &RuleWatch, _: f64, loss: f64) -> f64 {
        (2.0 * loss).sqrt()
    }

    fn held_out_loss(&mut self) -> Result<f64> {
        let network = self.run.network();
        let Some(held) = &mut self.held else { return Ok(f64::NAN) };
        let losses = held.losses(Some(&network))?;
        Ok(losses[0] * self.weights[0] + losses[1] * self.weights[1])
    }

    fn network(&self) -> Network<f32> {
        self.run.network()
    }

    fn previous(&self) -> Network<f32> {
        self.run.previous()
    }

    fn state(&self) -> StepsState {
        StepsState::Batches(self.run.state())
    }

    fn restore(&mut self, state: StepsState) -> Result<()> {
        match state {
            StepsState::Batches(state) => self.run.restore(state),
            StepsState::FixedSet(_) => Err(Error::Checkpoint("it is of another preset".into())),
        }
    }
}
