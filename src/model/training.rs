//! Training a score model on rows of data: batches drawn with fresh noise, the network's step, the schedule of step sizes.

use faer::Mat;
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;
use rayon::prelude::*;

use super::preconditioner::{DataSource, Preconditioner, RowBuffer};
use crate::diffusion::process::ForwardProcess;
use crate::kernels::descent::Rule;
use crate::kernels::{PANEL, Panels};
use crate::network::{Network, Trainer};
use crate::random::{Purpose, chunk_streams, stream};
use crate::{Error, Result};

/// How a score model is trained on batches.
#[derive(Debug, Clone, PartialEq)]
pub struct Training {
    /// Rows in a batch.
    pub batch: usize,
    /// How gradients change the weights.
    pub rule: Rule,
    /// The largest step size.
    pub rate: f64,
    /// Share of the run over which the step size rises linearly at the start.
    pub warm_up: f64,
    /// Share of the weight average kept in each step, once the run is long enough for it.
    pub average: f64,
    /// Weights before the squared errors of numbers and before the cross-entropies of one-hot blocks.
    pub weights: [f32; 2],
    /// Times drawn.
    pub times: TimeDensity,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// Threads of the kernels.
    pub workers: usize,
}

impl Training {
    /// What serves tables best, with Adam: three quarters of the times lie where there is most to learn, and categories weigh double,
    /// because their gradients are smaller than those of numbers, whose residuals have unit variance.
    pub fn tables(batch: usize, seed: u64, workers: usize) -> Self {
        Self {
            batch,
            rule: Rule::ADAM,
            rate: 2e-3,
            warm_up: 0.02,
            average: 0.999,
            weights: [1.0, 2.0],
            times: TimeDensity { even: 0.25, centre: 1.0, spread: 1.6 },
            seed,
            workers,
        }
    }
}

/// Which diffusion times training draws: a share evenly over all of them, the others by a logistic law of the log
/// signal-to-noise ratio, around where there is most to learn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeDensity {
    /// Share of the evenly spread times, in [0, 1].
    pub even: f64,
    /// Centre of the logistic law.
    pub centre: f64,
    /// Its scale; positive.
    pub spread: f64,
}

impl TimeDensity {
    /// The time at `place` in [0, 1] of the sequence: evenly spread ones first, then the others from noisy to clean.
    fn at(&self, process: &ForwardProcess, place: f64) -> f64 {
        let Self { even, centre, spread } = *self;
        let (start, end) = (process.start(), process.end());
        if place < even {
            return start + (end - start) * place / even;
        }
        let law = |x: f64| 1.0 / (1.0 + (-(x - centre) / spread).exp());
        let (low, high) = (law(process.log_snr(end)), law(process.log_snr(start)));
        let v = low + (high - low) * (place - even) / (1.0 - even);
        process.time_of_log_snr(centre + spread * (v / (1.0 - v)).ln()).clamp(start, end)
    }
}

/// A training run: batches, network and optimizer.
pub struct Run<'a> {
    settings: Training,
    source: &'a dyn DataSource,
    process: &'a ForwardProcess,
    preconditioner: &'a Preconditioner,
    trainer: Trainer<f32>,
    batch: Batch,
    order: Vec<u32>,
    position: usize,
    shuffle: Xoshiro256PlusPlus,
}

/// Everything about a batch that its step needs.
struct Batch {
    inputs: Panels<f32>,
    rows: Vec<Sample>,
    streams: Vec<Xoshiro256PlusPlus>,
    losses: Vec<[f64; 2]>,
}

/// One row of a batch.
struct Sample {
    buffer: RowBuffer,
    clean: Vec<f32>,
    noisy: Vec<f32>,
    outputs: Vec<f32>,
    levels: Vec<u32>,
}

impl<'a> Run<'a> {
    /// Prepares a run.
    ///
    /// # Errors
    /// [`Error::Setting`] if the batch is empty, and as for [`Trainer::new`].
    pub fn new(
        settings: Training,
        source: &'a dyn DataSource,
        process: &'a ForwardProcess,
        preconditioner: &'a Preconditioner,
        network: Network<f32>,
    ) -> Result<Self> {
        if settings.batch == 0 {
            let requirement = "a batch needs at least one row";
            return Err(Error::Setting { name: "the batch size", value: "0".into(), requirement });
        }
        let trainer = Trainer::new(network, settings.rule, settings.average > 0.0, settings.workers)?;
        let d = source.layout().width();
        let sample = || Sample {
            buffer: preconditioner.buffer(),
            clean: vec![0.0; d],
            noisy: vec![0.0; d],
            outputs: vec![0.0; d],
            levels: vec![0; source.layout().blocks.len()],
        };
        let blocks = settings.batch.div_ceil(PANEL);
        let batch = Batch {
            inputs: Panels::zeros(settings.batch, preconditioner.inputs()),
            rows: (0..settings.batch).map(|_| sample()).collect(),
            streams: chunk_streams(settings.seed, Purpose::Training, 0, blocks),
            losses: vec![[0.0; 2]; blocks],
        };
        Ok(Self {
            shuffle: stream(settings.seed, Purpose::Order),
            order: (0..source.rows() as u32).collect(),
            position: usize::MAX,
            settings,
            source,
            process,
            preconditioner,
            trainer,
            batch,
        })
    }

    /// One step; `progress` in [0, 1] says how much of the run is over and sets the step size. Returns the losses per row:
    /// half the squared error of a number, and the cross-entropy of a one-hot block, each averaged over the columns of its
    /// kind.
    ///
    /// # Errors
    /// As for [`Trainer::step`].
    pub fn step(&mut self, progress: f64) -> Result<[f64; 2]> {
        self.draw_batch();
        let rate = self.rate_at(progress);
        let Self { settings, preconditioner, trainer, batch, .. } = self;
        let layout = preconditioner.layout();
        let (d, rows) = (layout.width(), settings.batch as f64);
        let weights = settings.weights.map(|w| w / settings.batch as f32);
        let Batch { inputs, rows: samples, losses, .. } = batch;
        // Early on the average must not cling to the start.
        let steps = trainer.steps() as f64;
        let decay = settings.average.min((1.0 + steps) / (10.0 + steps));
        let mut sums = [0.0; 2];
        trainer.step(inputs, rate, decay, |outputs, errors| {
            let blocks = errors.lanes_mut().par_chunks_mut(d).zip(outputs.lanes().par_chunks(d));
            let blocks = blocks.zip(samples.par_chunks_mut(PANEL)).zip(losses.par_iter_mut());
            blocks.for_each(|(((errors, outputs), samples), losses)| {
                *losses = [0.0; 2];
                for (lane, sample) in samples.iter_mut().enumerate() {
                    let Sample { buffer, clean, outputs: u, levels, .. } = sample;
                    u.iter_mut().zip(outputs).for_each(|(to, from)| *to = from.0[lane]);
                    let [squares, entropy] = preconditioner.residual(buffer, clean, levels, weights, u);
                    errors.iter_mut().zip(u).for_each(|(to, from)| to.0[lane] = *from);
                    losses[0] += squares;
                    losses[1] += entropy;
                }
            });
            for [squares, entropy] in losses.iter() {
                sums[0] += squares;
                sums[1] += entropy;
            }
            sums[0] + sums[1]
        })?;
        Ok([sums[0] / rows / layout.numerical.max(1) as f64, sums[1] / rows / layout.blocks.len().max(1) as f64])
    }

    /// The network inputs of a freshly drawn batch: batch x D, what a step size can be chosen by.
    pub fn draw_inputs(&mut self) -> Mat<f32> {
        self.draw_batch();
        self.batch.inputs.to_matrix()
    }

    /// Inputs of a freshly drawn batch, each row times the gain on its outputs: batch x D. The limit kernel is homogeneous, so
    /// that the kernel of these rows is the one by which the denoiser learns.
    pub fn draw_features(&mut self) -> Mat<f32> {
        self.draw_batch();
        let (inputs, rows) = (&self.batch.inputs, &self.batch.rows);
        Mat::from_fn(inputs.rows(), inputs.columns(), |j, k| rows[j].buffer.gain * inputs.get(j, k))
    }

    /// The step size when `progress` of the run is over.
    pub fn rate_at(&self, progress: f64) -> f64 {
        let Training { warm_up, rate, .. } = self.settings;
        let rise = if warm_up > 0.0 { (progress / warm_up).min(1.0) } else { 1.0 };
        rate * rise * (0.5 * (1.0 + (std::f64::consts::PI * progress.clamp(0.0, 1.0)).cos()))
    }

    /// Sets the largest step size.
    pub fn set_rate(&mut self, rate: f64) {
        self.settings.rate = rate;
    }

    /// The network with averaged weights.
    pub fn network(&self) -> Network<f32> {
        self.trainer.averaged()
    }

    /// Steps made.
    pub fn steps(&self) -> usize {
        self.trainer.steps()
    }

    /// Rows in order of a fresh shuffle per pass through the data, times stratified over the batch, fresh noise.
    fn draw_batch(&mut self) {
        let n = self.order.len();
        let size = self.settings.batch;
        let mut rows = Vec::with_capacity(size);
        while rows.len() < size {
            if self.position >= n {
                self.order.shuffle(&mut self.shuffle);
                self.position = 0;
            }
            let take = (size - rows.len()).min(n - self.position);
            rows.extend_from_slice(&self.order[self.position..self.position + take]);
            self.position += take;
        }
        let Self { settings, source, process, preconditioner, batch, .. } = self;
        let Batch { inputs, rows: samples, streams, .. } = batch;
        let times = settings.times;
        let width = inputs.columns();
        let blocks = inputs.lanes_mut().par_chunks_mut(width).zip(samples.par_chunks_mut(PANEL));
        blocks.zip(rows.par_chunks(PANEL)).zip(streams.par_iter_mut()).enumerate().for_each(
            |(block, (((inputs, samples), rows), rng))| {
                for (lane, (sample, &row)) in samples.iter_mut().zip(rows).enumerate() {
                    let place = (block * PANEL + lane) as f64 + rng.random::<f64>();
                    let level = preconditioner.level(process, times.at(process, place / size as f64));
                    preconditioner.draw(*source, row as usize, rng, &mut sample.clean, &mut sample.levels);
                    level.perturb(&sample.clean, &mut sample.noisy, rng);
                    preconditioner.prepare(&level, &sample.noisy, &mut sample.buffer);
                    inputs.iter_mut().zip(&sample.buffer.inputs).for_each(|(to, from)| to.0[lane] = *from);
                }
            },
        );
    }
}
