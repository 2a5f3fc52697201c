//! The driver: a table goes in, a fitted model comes out; a fitted model goes in, a generated table comes out.
//!
//! Fourth floor. It composes tables ([`crate::table`]) and score models ([`crate::score`]) and computes nothing itself.

use std::time::{Duration, Instant};

use faer::{Mat, MatRef, Par};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::kernels::Panels;
use crate::kernels::descent::Rule;
use crate::score::denoiser::{Base, DataSource, Layout, Preconditioner};
use crate::score::early_stopping::StoppingRule;
use crate::score::kernel_regression::default_step;
use crate::score::model::ScoreModel;
use crate::score::network::{Network, Trainer, least_squares};
use crate::score::operator::MatrixFree;
use crate::score::process::{ForwardProcess, Schedule};
use crate::score::quadrature::Quadrature;
use crate::score::regression::{Localisation, RegressionSettings, regression_set};
use crate::score::sampler::{Method, Sampler};
use crate::score::spectrum::Spectrum;
use crate::score::streams::{Purpose, stream};
use crate::score::training::{Run, Training};
use crate::table::Table;
use crate::table::calibration::Calibration;
use crate::table::codec::{Codec, Decode};
use crate::table::encoded::EncodedTable;
use crate::table::schema::{Schema, SchemaOptions};
use crate::{Error, Result, memory};

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
    fn rule(self) -> Rule {
        match self {
            OptimizerKind::Descent => Rule::Descent,
            OptimizerKind::Nesterov => Rule::Nesterov { momentum: 0.9 },
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
    let process = ForwardProcess::new(Schedule::LOG_SNR, 0.0, 1.0)?;
    let preconditioner = Preconditioner::fit(Base::Columns, source, &process, settings.seed)?;
    let outputs = preconditioner.layout().width();
    let network = Network::symmetric(preconditioner.inputs(), outputs, settings.width, settings.seed)?;
    let optimizer = settings.optimizer.unwrap_or(OptimizerKind::Adam);
    let training =
        Training { rule: optimizer.rule(), ..Training::tables(settings.batch, settings.seed, settings.threads) };
    let mut run = Run::new(training, source, &process, &preconditioner, network)?;
    if optimizer != OptimizerKind::Adam {
        // Of the mean loss over a batch, by the largest eigenvalue of its kernel.
        let inputs = run.draw_inputs();
        let step = default_step(inputs.as_ref(), Par::rayon(settings.threads))? * settings.batch as f64;
        run.set_rate(step / overlap(outputs, settings.width));
    }
    let begun = started.elapsed();
    let mut losses = [0.0; 2];
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
        let fresh = run.step(share)?;
        // A running mean over the last hundred or so steps, of what there is at first.
        let weight = (1.0 / run.steps() as f64).max(0.01);
        for (smooth, fresh) in losses.iter_mut().zip(fresh) {
            *smooth += weight * (fresh - *smooth);
        }
        observe(&Progress { share, iteration: run.steps(), squared: losses[0], entropy: losses[1] });
    };
    let record = Record {
        rows: source.rows(),
        preset: "best".into(),
        iterations: run.steps(),
        seed: settings.seed,
        losses,
        ended: ended.into(),
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
    let network = run.network();
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

/// Full-batch gradient descent of the plain network on a regression set that is drawn once, until the rule stops it.
fn fit_paper(
    source: &TableSource,
    settings: &FitSettings,
    started: Instant,
    observe: &mut dyn FnMut(&Progress),
) -> Result<(ScoreModel, Record)> {
    let process = ForwardProcess::new(Schedule::VARIANCE_PRESERVING, PAPER_START, 1.0)?;
    let preconditioner = Preconditioner::fit(Base::Zero, source, &process, settings.seed)?;
    let data = source.matrix(&preconditioner, settings.seed);
    let domain = RegressionSettings { draws: 1, localisation: Some(Localisation::new(&process)) };
    let set = regression_set(&process, data.as_ref(), &domain, settings.seed)?;
    let z = Panels::from_matrix("the regression inputs", set.inputs.as_ref())?;
    let labels = Panels::from_matrix("the labels", set.labels.as_ref())?;
    let network = Network::symmetric(z.columns(), labels.columns(), settings.width, settings.seed)?;

    let spectrum = kernel_spectrum(set.inputs.as_ref(), settings)?;
    let samples = z.rows() as f64;
    // On 1/(2N) sum |f - y|^2 with step s, gradient descent converges for s below 2/lambda_1; on the summed loss the step is
    // s/N.
    let step = 1.0 / (spectrum.largest() * overlap(labels.columns(), settings.width));
    let rule = settings.optimizer.unwrap_or(OptimizerKind::Descent).rule();
    let mut trainer = Trainer::new(network, rule, false, settings.threads)?;
    let stopping = StoppingRule::SHARP;
    let mut loss = f64::NAN;
    let ended = loop {
        let made = trainer.steps();
        let (share, over) = match settings.length {
            Length::Iterations(k) => (made as f64 / k as f64, made >= k),
            Length::Budget(budget) => {
                (started.elapsed().as_secs_f64() / budget.as_secs_f64(), started.elapsed() >= budget)
            }
        };
        if over {
            break "the given iterations or time were used before the stopping rule applied";
        }
        loss = trainer.step(&z, step / samples, 0.0, |outputs, errors| least_squares(outputs, &labels, errors))?;
        // The loss is that before the step, so it belongs to `made` iterations.
        if made > 0 && stopping.decide(&spectrum, step, labels.columns(), made as u64, 2.0 * loss)?.stop {
            break "the stopping rule applied";
        }
        let squared = loss / samples / labels.columns() as f64;
        observe(&Progress { share, iteration: trainer.steps(), squared, entropy: 0.0 });
    };
    let record = Record {
        rows: source.rows(),
        preset: "paper".into(),
        iterations: trainer.steps(),
        seed: settings.seed,
        losses: [loss / samples / labels.columns() as f64, 0.0],
        ended: ended.into(),
    };
    let model = ScoreModel::new(process, preconditioner, trainer.network().clone())?;
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
