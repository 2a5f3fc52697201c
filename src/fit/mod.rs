//! The driver: a table goes in, a fitted model comes out; a fitted model goes in, a generated table comes out.
//!
//! Fourth floor. It composes tables ([`crate::table`]) and score models ([`crate::score`]) and computes nothing itself.

mod stopping;

use std::time::{Duration, Instant};

use faer::{Mat, MatRef, Par};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::diffusion::process::{ForwardProcess, Schedule};
use crate::diffusion::regression_set::{Localisation, RegressionSettings, regression_set};
use crate::diffusion::sampler::{Method, Sampler};
use crate::kernels::Panels;
use crate::kernels::descent::{Rule, Workspace, forward_into};
use crate::model::preconditioner::{Base, DataSource, Layout, Preconditioner};
use crate::model::score_model::ScoreModel;
use crate::model::training::{Run, Training};
use crate::network::{Network, Trainer, least_squares};
use crate::random::{Purpose, stream};
use crate::regression::kernel_regression::default_step;
use crate::regression::operator::MatrixFree;
use crate::regression::quadrature::Quadrature;
use crate::regression::spectrum::Spectrum;
use crate::table::Table;
use crate::table::calibration::Calibration;
use crate::table::codec::{Codec, Decode};
use crate::table::encoded::EncodedTable;
use crate::table::schema::{Schema, SchemaOptions};
use crate::{Error, Result, memory};

use stopping::{HeldRows, HeldWatch, Part, RuleWatch, effective, hold_out, spectrum_of_run};
pub use stopping::{StopRecord, Stopping};

/// A whole way of fitting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// Whatever makes the best tables: a base denoiser under the network, softmax links, fresh noise in every batch, Adam,
    /// averaged weights.
    Best,
    /// The system as HRX have it: zero base, identity links, full-batch gradient descent on a fixed regression set, stopped
    /// by the rule.
    Paper,
}

/// An optimizer by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptimizerKind {
    /// Plain gradient descent.
    Descent,
    /// Nesterov's accelerated gradient, momentum 0.9.
    Nesterov,
    /// Adam with its authors' settings.
    Adam,
}

impl OptimizerKind {
    const MOMENTUM: f64 = 0.9;

    fn rule(self) -> Rule {
        match self {
            OptimizerKind::Descent => Rule::Descent,
            OptimizerKind::Nesterov => Rule::Nesterov { momentum: Self::MOMENTUM },
            OptimizerKind::Adam => Rule::ADAM,
        }
    }
}

/// How long to train.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Length {
    /// At most this long, everything [`fit`] does included; how far it gets depends on the machine.
    Budget(Duration),
    /// This many iterations; the same seed then gives the same bytes.
    Iterations(usize),
}

/// Settings of [`fit`].
#[derive(Debug, Clone)]
pub struct FitSettings {
    /// The way of fitting.
    pub preset: Preset,
    /// How the table's columns are read.
    pub schema: SchemaOptions,
    /// Neurons m; even.
    pub width: usize,
    /// The optimizer; the preset's own if there is none.
    pub optimizer: Option<OptimizerKind>,
    /// How long to train.
    pub length: Length,
    /// What ends training before that; the preset's own if there is none: [`Stopping::Sharp`] for [`Preset::Paper`] (unless the
    /// optimizer is Adam), [`Stopping::None`] for [`Preset::Best`].
    pub stop: Option<Stopping>,
    /// Rows in a batch of [`Preset::Best`].
    pub batch: usize,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// Threads; the result does not depend on them.
    pub threads: usize,
}

impl FitSettings {
    /// What a preset uses unless told otherwise.
    pub fn new(preset: Preset, length: Length) -> Self {
        Self {
            preset,
            schema: SchemaOptions::default(),
            width: 4096,
            optimizer: None,
            length,
            stop: None,
            batch: 1024,
            seed: 0,
            threads: rayon::current_num_threads(),
        }
    }
}

/// Most rows drawn to calibrate a model, the share of a time budget set aside for it, and what keeps its noise apart from that of
/// generated tables.
const CALIBRATION_ROWS: usize = 8192;
const CALIBRATION_SHARE: f64 = 0.04;
const CALIBRATION_SEED: u64 = 0x6361_6c69_6272_6174;

/// First diffusion time of the variance-preserving process under [`Preset::Paper`]: a noise of 1 to 2 % of the signal.
const PAPER_START: f64 = 1e-3;

/// Where a fit stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Share of the work that is done, in [0, 1].
    pub share: f64,
    /// Iterations made.
    pub iteration: usize,
    /// Half the mean squared error of numbers, in units of the base denoiser's residual; smoothed.
    pub squared: f64,
    /// Mean cross-entropy of categories in nats; smoothed. Zero without categories or with identity links.
    pub entropy: f64,
}

/// What a fit did: stored with the model.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize, serde::Deserialize))]
pub struct Record {
    /// Rows of the training table.
    pub rows: usize,
    /// "best" or "paper".
    pub preset: String,
    /// Iterations made.
    pub iterations: usize,
    /// Seed.
    pub seed: u64,
    /// Last smoothed losses: squared error and cross-entropy, as in [`Progress`].
    pub losses: [f64; 2],
    /// Why training ended, in words.
    pub ended: String,
    /// How it was stopped; none in models of before that was noted.
    #[cfg_attr(feature = "cli", serde(default))]
    pub stop: Option<StopRecord>,
}

/// A table's codec and the score model fitted to its coded rows.
#[derive(Debug, Clone, PartialEq)]
pub struct FittedTable {
    /// Table to matrix and back.
    pub codec: Codec,
    /// The score model of the matrix's rows.
    pub model: ScoreModel,
    /// What brings the normal scores of generated numbers back to a normal distribution; none under [`Preset::Paper`].
    pub calibration: Option<Calibration>,
    /// How it was fitted.
    pub record: Record,
}

/// Fits a score model to a table. `observe` is told where the fit stands after every iteration.
///
/// # Errors
/// [`Error::Table`] if the table cannot be used, [`Error::Setting`] for unusable settings, [`Error::Diverged`] if training
/// leaves the finite numbers.
pub fn fit(table: &Table, settings: &FitSettings, observe: &mut dyn FnMut(&Progress)) -> Result<FittedTable> {
    let started = Instant::now();
    let schema = Schema::infer(table, &settings.schema)?;
    let codec = Codec::fit(table, &schema)?;
    if codec.width() == 0 {
        let all = "every column of the table is constant, so there is nothing to learn; give a column with two values";
        return Err(Error::Table(all.into()));
    }
    let source = TableSource {
        rows: codec.ranks(table)?,
        layout: Layout { numerical: codec.numerical(), blocks: codec.blocks().to_vec() },
    };
    // Weights, gradient, two moments, an average and a spare copy, at the most; and the rows of the data.
    let inputs = 2 * codec.width() as u128 + 4;
    let network = settings.width as u128 * (6 * inputs + codec.width() as u128) * size_of::<f32>() as u128;
    memory::check("the network", network)?;
    let rows = table.rows() as u128 * inputs * size_of::<f32>() as u128;
    memory::check("the coded table", if settings.preset == Preset::Paper { 6 * rows } else { rows })?;
    // Noisy and clean values, inputs and outputs of each row of a batch.
    memory::check("a batch", settings.batch as u128 * (8 * inputs + 64) * size_of::<f32>() as u128)?;
    match settings.preset {
        Preset::Best => {
            let (model, record, rows) = fit_best(&source, settings, started, observe)?;
            let calibration = Some(calibrate(&model, rows, settings)?);
            Ok(FittedTable { codec, model, calibration, record })
        }
        Preset::Paper => {
            let (model, record) = fit_paper(&source, settings, started, observe)?;
            Ok(FittedTable { codec, model, calibration: None, record })
        }
    }
}

fn fit_best(
    source: &TableSource,
    settings: &FitSettings,
    started: Instant,
    observe: &mut dyn FnMut(&Progress),
) -> Result<(ScoreModel, Record, usize)> {
    let optimizer = settings.optimizer.unwrap_or(OptimizerKind::Adam);
    let stop = settings.stop.unwrap_or(Stopping::default_of(Preset::Best, optimizer));
    let rule = stop.rule(optimizer)?;
    let [kept, held] = match stop {
        Stopping::HoldOut => hold_out(DataSource::rows(source), settings.seed)?,
        _ => [(0..DataSource::rows(source)).collect(), Vec::new()],
    };
    let source = Part { source, rows: &kept };
    let process = ForwardProcess::new(Schedule::LOG_SNR, 0.0, 1.0)?;
    let preconditioner = Preconditioner::fit(Base::Columns, &source, &process, settings.seed)?;
    let outputs = preconditioner.layout().width();
    let network = Network::symmetric(preconditioner.inputs(), outputs, settings.width, settings.seed)?;
    let training =
        Training { rule: optimizer.rule(), ..Training::tables(settings.batch, settings.seed, settings.threads) };
    let weights = training.weights;
    let mut run = Run::new(training, &source, &process, &preconditioner, network)?;
    if optimizer != OptimizerKind::Adam {
        // Of the mean loss over a batch, by the largest eigenvalue of its kernel.
        let inputs = run.draw_inputs();
        let step = default_step(inputs.as_ref(), Par::rayon(settings.threads))? * settings.batch as f64;
        run.set_rate(step / overlap(outputs, settings.width));
    }
    let mut by_rule = match rule {
        None => None,
        Some(_) if preconditioner.layout().numerical == 0 => {
            let name = "the stopping rule for a table of categories";
            let requirement = "it is about numbers with squared errors: stop by holdout, or take the preset paper";
            return Err(Error::Setting { name, value: stop.name().into(), requirement });
        }
        Some(rule) => {
            let par = Par::rayon(settings.threads);
            Some(RuleWatch::new(rule, spectrum_of_run(&mut run, kept.len(), settings.seed, par)?))
        }
    };
    let mut by_rows = (stop == Stopping::HoldOut).then(|| {
        let held = Part { source: source.source, rows: &held };
        let rows = HeldRows::new(&held, &preconditioner, &process, (settings.seed, settings.threads));
        (HeldWatch::new(), rows)
    });
    let mut time = effective(0.0, optimizer);
    let begun = started.elapsed();
    let mut losses = [0.0; 2];
    let mut applied = false;
    let ended = loop {
        let (share, ended) = match settings.length {
            Length::Iterations(k) if run.steps() >= k => (1.0, Some("all iterations were made")),
            Length::Iterations(k) => (run.steps() as f64 / k as f64, None),
            Length::Budget(budget) => {
                let reserve = budget.mul_f64(CALIBRATION_SHARE);
                let (used, all) = (started.elapsed().saturating_sub(begun), budget.saturating_sub(begun + reserve));
                (used.as_secs_f64() / all.as_secs_f64(), (used >= all).then_some("the time budget was used"))
            }
        };
        if let Some(ended) = ended {
            break ended;
        }
        let next = effective(run.rate_at(share), optimizer).zip(time).map(|(step, time)| time + step);
        if let (Some(watch), Some(next)) = (&mut by_rule, next)
            && run.steps() > 0
            && watch.on_fresh(next, 2.0 * losses[0])
        {
            applied = true;
            break "the stopping rule applied";
        }
        let fresh = run.step(share)?;
        time = next;
        // A running mean over the last hundred or so steps, of what there is at first.
        let weight = (1.0 / run.steps() as f64).max(0.01);
        for (smooth, fresh) in losses.iter_mut().zip(fresh) {
            *smooth += weight * (fresh - *smooth);
        }
        observe(&Progress { share, iteration: run.steps(), squared: losses[0], entropy: losses[1] });
        if let Some((watch, rows)) = by_rows.as_mut().filter(|(watch, _)| watch.due(run.steps())) {
            let network = run.network();
            let loss = rows.loss(&network, &preconditioner, weights)?;
            if watch.tell(run.steps(), loss, || network) {
                applied = true;
                break "the rows held out had been predicted better half as far";
            }
        }
    };
    let (iteration, network) =
        by_rows.and_then(|(watch, _)| watch.best()).unwrap_or_else(|| (run.steps(), run.network()));
    let record = Record {
        rows: kept.len() + held.len(),
        preset: "best".into(),
        iterations: run.steps(),
        seed: settings.seed,
        losses,
        ended: ended.into(),
        stop: Some(StopRecord {
            rule: stop.name().into(),
            applied,
            iteration,
            // Under a schedule of step sizes the time until an earlier iteration is not kept.
            effective_time: time.filter(|_| iteration == run.steps()),
            noise: by_rule.as_ref().map(|watch| watch.noise).filter(|noise| noise.is_finite()),
            critical_radius: by_rule.as_ref().map(RuleWatch::critical_radius).filter(|radius| radius.is_finite()),
            held_out: held.len(),
            radius: None,
            dropped: 0,
        }),
    };
    let rows = match settings.length {
        Length::Iterations(_) => CALIBRATION_ROWS,
        Length::Budget(budget) => {
            // A step is about two forward passes of its batch, and a sampled row takes two of them a step.
            let pass = (started.elapsed() - begun).as_secs_f64() / (2 * run.steps().max(1) * settings.batch) as f64;
            let fitting = budget.mul_f64(CALIBRATION_SHARE).as_secs_f64() / (pass * (2 * SampleSettings::STEPS) as f64);
            (fitting as usize).clamp(CALIBRATION_ROWS / 16, CALIBRATION_ROWS)
        }
    };
    Ok((ScoreModel::new(process, preconditioner, network)?, record, rows))
}

/// Draws rows from the model and notes how their numbers are distributed: a denoiser that is a little too cautious makes them
/// a little too narrow, in every column's own way.
fn calibrate(model: &ScoreModel, rows: usize, settings: &FitSettings) -> Result<Calibration> {
    let sampler = Sampler::new(SampleSettings::METHOD, SampleSettings::STEPS);
    let mut denoiser = model.batch_denoiser(settings.threads);
    let (seed, par) = (settings.seed ^ CALIBRATION_SEED, Par::rayon(settings.threads));
    let rows = sampler.run(model.process(), &mut denoiser, rows, seed, par, &mut |_, _| ())?;
    let numbers = model.preconditioner().layout().numerical;
    let columns = (0..numbers).map(|i| (0..rows.rows()).map(|j| f64::from(rows.get(j, i))).collect());
    Calibration::fit(columns.collect())
}

/// Full-batch descent of the plain network on a regression set that is drawn once, until the rule stops it.
fn fit_paper(
    source: &TableSource,
    settings: &FitSettings,
    started: Instant,
    observe: &mut dyn FnMut(&Progress),
) -> Result<(ScoreModel, Record)> {
    let optimizer = settings.optimizer.unwrap_or(OptimizerKind::Descent);
    let stop = settings.stop.unwrap_or(Stopping::default_of(Preset::Paper, optimizer));
    let rule = stop.rule(optimizer)?;
    let process = ForwardProcess::new(Schedule::VARIANCE_PRESERVING, PAPER_START, 1.0)?;
    let preconditioner = Preconditioner::fit(Base::Zero, source, &process, settings.seed)?;
    let data = source.matrix(&preconditioner, settings.seed);
    let domain = RegressionSettings { draws: 1, localisation: Some(Localisation::new(&process)) };
    let set = regression_set(&process, data.as_ref(), &domain, settings.seed)?;
    // One sample per row of the table: samples held out are rows held out.
    let [kept, held] = match stop {
        Stopping::HoldOut => hold_out(set.inputs.nrows(), settings.seed)?,
        _ => [(0..set.inputs.nrows()).collect(), Vec::new()],
    };
    let pick = |from: &Mat<f32>, rows: &[usize]| Mat::from_fn(rows.len(), from.ncols(), |j, i| from[(rows[j], i)]);
    let inputs = pick(&set.inputs, &kept);
    let z = Panels::from_matrix("the regression inputs", inputs.as_ref())?;
    let labels = Panels::from_matrix("the labels", pick(&set.labels, &kept).as_ref())?;
    let held_z = Panels::from_matrix("the inputs held out", pick(&set.inputs, &held).as_ref())?;
    let held_labels = Panels::from_matrix("the labels held out", pick(&set.labels, &held).as_ref())?;
    let network = Network::symmetric(z.columns(), labels.columns(), settings.width, settings.seed)?;

    let spectrum = kernel_spectrum(inputs.as_ref(), settings)?;
    let (samples, outputs) = (z.rows() as f64, labels.columns());
    // On 1/(2N) sum |f - y|^2 with step s, gradient descent converges for s below 2/lambda_1; on the summed loss the step is
    // s/N.
    let step = 1.0 / (spectrum.largest() * overlap(outputs, settings.width));
    let mut trainer = Trainer::new(network, optimizer.rule(), false, settings.threads)?;
    let mut by_rule = rule.map(|rule| RuleWatch::new(rule, spectrum));
    let mut by_rows = (stop == Stopping::HoldOut).then(|| {
        let workspaces = Workspace::for_workers(settings.threads, z.columns(), outputs);
        (HeldWatch::new(), Panels::zeros(held.len(), outputs), Panels::zeros(held.len(), outputs), workspaces)
    });
    let time = |iterations: usize| effective(step * iterations as f64, optimizer);
    let mut loss = f64::NAN;
    let mut applied = false;
    let ended = loop {
        let made = trainer.steps();
        let (share, over) = match settings.length {
            Length::Iterations(k) => (made as f64 / k as f64, made >= k),
            Length::Budget(budget) => {
                (started.elapsed().as_secs_f64() / budget.as_secs_f64(), started.elapsed() >= budget)
            }
        };
        if over {
            break match stop {
                Stopping::None => "the given iterations or time were used",
                Stopping::HoldOut => "the given iterations or time were used before hold-out applied",
                _ => "the given iterations or time were used before the stopping rule applied",
            };
        }
        if let Some((watch, predicted, errors, workspaces)) = by_rows.as_mut().filter(|held| held.0.due(made)) {
            forward_into(predicted, None, trainer.network().layers(), &held_z, workspaces)?;
            let loss = least_squares(predicted, &held_labels, errors);
            if watch.tell(made, loss, || trainer.network().clone()) {
                applied = true;
                break "the rows held out had been predicted better half as far";
            }
        }
        loss = trainer.step(&z, step / samples, 0.0, |outputs, errors| least_squares(outputs, &labels, errors))?;
        // The loss is that before the step, so it belongs to `made` iterations.
        if let (Some(watch), Some(now), Some(next)) = (&mut by_rule, time(made), time(made + 1))
            && made > 0
            && watch.on_samples([now, next], outputs, 2.0 * loss)
        {
            applied = true;
            break "the stopping rule applied";
        }
        let squared = loss / samples / outputs as f64;
        observe(&Progress { share, iteration: trainer.steps(), squared, entropy: 0.0 });
    };
    let (iteration, network) =
        by_rows.and_then(|held| held.0.best()).unwrap_or_else(|| (trainer.steps(), trainer.network().clone()));
    let record = Record {
        rows: source.rows(),
        preset: "paper".into(),
        iterations: trainer.steps(),
        seed: settings.seed,
        losses: [loss / samples / outputs as f64, 0.0],
        ended: ended.into(),
        stop: Some(StopRecord {
            rule: stop.name().into(),
            applied,
            iteration,
            effective_time: time(iteration),
            noise: by_rule.as_ref().map(|watch| watch.noise).filter(|noise| noise.is_finite()),
            critical_radius: by_rule.as_ref().map(RuleWatch::critical_radius).filter(|radius| radius.is_finite()),
            held_out: held.len(),
            radius: Some(set.radius),
            dropped: set.dropped_far + set.dropped_early,
        }),
    };
    let model = ScoreModel::new(process, preconditioner, network)?;
    Ok((model, record))
}

/// By how much the largest eigenvalue of a network's kernel may exceed the limit kernel's, because the signs of two outputs
/// agree by chance on more than half of the neurons: the norm of a random matrix of signs' correlations.
fn overlap(outputs: usize, neurons: usize) -> f64 {
    1.0 + 2.0 * (outputs as f64 / neurons as f64).sqrt() + outputs as f64 / neurons as f64
}

/// The eigenvalues of K/N of the regression's inputs, by quadrature: no N x N matrix.
fn kernel_spectrum(inputs: MatRef<'_, f32>, settings: &FitSettings) -> Result<Spectrum> {
    let par = Par::rayon(settings.threads);
    let mut operator = MatrixFree::new(inputs, par)?;
    let quadrature = Quadrature { block: 8, sweeps: 4, probes: 8, steps: 20, seed: settings.seed, par };
    quadrature.run(&mut operator)?.spectrum()
}

/// Settings of [`sample`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleSettings {
    /// Rows to generate.
    pub rows: usize,
    /// Sampler.
    pub method: Method,
    /// Steps from noise to data.
    pub steps: usize,
    /// Seed.
    pub seed: u64,
    /// Threads; the result does not depend on them.
    pub threads: usize,
}

impl SampleSettings {
    /// The sampler used unless another is asked for, and the one models are calibrated with.
    pub const METHOD: Method = Method::Heun;
    /// Its steps.
    pub const STEPS: usize = 40;
}

/// Generates a table. `observe` is told how much is done, in parts of a whole.
///
/// # Errors
/// [`Error::Setting`] for unusable settings, [`Error::Model`] if samples leave the finite numbers.
pub fn sample(fitted: &FittedTable, settings: &SampleSettings, observe: &mut dyn FnMut(usize, usize)) -> Result<Table> {
    let FittedTable { codec, model, calibration, .. } = fitted;
    // Normal scores in two types, and the cells as text.
    memory::check("the generated table", settings.rows as u128 * codec.width() as u128 * 48)?;
    memory::check("the times of so many steps", settings.steps as u128 * 64)?;
    let sampler = Sampler::new(settings.method, settings.steps);
    let mut denoiser = model.batch_denoiser(settings.threads);
    let par = Par::rayon(settings.threads);
    let rows = sampler.run(model.process(), &mut denoiser, settings.rows, settings.seed, par, observe)?;
    let mut scores = Mat::from_fn(rows.rows(), rows.columns(), |i, j| f64::from(rows.get(i, j)));
    if let Some(calibration) = calibration {
        calibration.apply(scores.as_mut());
    }
    codec.decode(scores.as_ref(), Decode::default())
}

/// Rows of an encoded table, ties drawn anew each time.
struct TableSource {
    rows: EncodedTable,
    layout: Layout,
}

impl TableSource {
    /// Every row once, as `preconditioner` codes them: rows x d.
    fn matrix(&self, preconditioner: &Preconditioner, seed: u64) -> Mat<f32> {
        let mut rng = stream(seed, Purpose::Data);
        let mut row = vec![0.0; self.layout.width()];
        let mut levels = vec![0; self.layout.blocks.len()];
        let mut data = Mat::zeros(DataSource::rows(self), row.len());
        for j in 0..data.nrows() {
            preconditioner.draw(self, j, &mut rng, &mut row, &mut levels);
            for (i, &x) in row.iter().enumerate() {
                data[(j, i)] = x;
            }
        }
        data
    }
}

impl DataSource for TableSource {
    fn rows(&self) -> usize {
        self.rows.rows()
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn draw(&self, row: usize, rng: &mut Xoshiro256PlusPlus, numbers: &mut [f32], levels: &mut [u32]) {
        self.rows.draw_row_into(row, rng, numbers, levels);
    }
}
