//! Training a score model on rows of data: batches drawn with fresh noise, the network's step, the schedule of step sizes.

use faer::Mat;
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::layout::{DataSource, Layout};
use super::noise_level::{GOLDEN, GRID};
use super::preconditioner::{Base, Preconditioner};
use super::row_block::CleanBlock;
use super::score_model::{Passes, add};
use super::times::{PARTS, Recoverable, TimeDensity};
use crate::diffusion::process::ForwardProcess;
use crate::kernels::descent::{Rule, forward_into};
use crate::kernels::share::for_each_item;
use crate::kernels::{PANEL, Panels};
use crate::network::{Network, Trainer, TrainerState};
use crate::random::{Purpose, chunk_streams, stream};
use crate::{Error, Result};

/// Cells of the grid of times in a part of them.
const CELLS_IN_PART: usize = (GRID - 1) / PARTS;
const _: () = assert!(CELLS_IN_PART * PARTS == GRID - 1);

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
            rate: 5e-3,
            warm_up: 0.02,
            average: 0.999,
            weights: [1.0, 2.0],
            times: TimeDensity::TABLES,
            seed,
            workers,
        }
    }
}

/// Training of one network above a base and the networks before it: batches, network and optimizer.
pub struct Run<'a> {
    settings: Training,
    source: &'a dyn DataSource,
    process: &'a ForwardProcess,
    preconditioner: &'a Preconditioner,
    /// Networks trained before.
    stages: &'a [Network<f32>],
    trainer: Trainer<f32>,
    passes: Passes,
    clean: Vec<(CleanBlock, Xoshiro256PlusPlus, [f64; 2])>,
    order: Vec<u32>,
    /// Rows of the batch.
    rows: Vec<u32>,
    position: usize,
    shuffle: Xoshiro256PlusPlus,
}

impl<'a> Run<'a> {
    /// Prepares a run for a network above `stages`.
    ///
    /// # Errors
    /// [`Error::Setting`] if the batch is empty, and as for [`Trainer::new`].
    pub fn new(
        settings: Training,
        source: &'a dyn DataSource,
        process: &'a ForwardProcess,
        preconditioner: &'a Preconditioner,
        stages: &'a [Network<f32>],
        network: Network<f32>,
    ) -> Result<Self> {
        if settings.batch == 0 {
            let requirement = "a batch needs at least one row";
            return Err(Error::Setting { name: "the batch size", value: "0".into(), requirement });
        }
        let trainer = Trainer::new(network, settings.rule, settings.average > 0.0, settings.workers)?;
        let blocks = settings.batch.div_ceil(PANEL);
        // Each network has random numbers of its own.
        let streams = chunk_streams(settings.seed, Purpose::Training, stages.len() * blocks, blocks);
        let mut passes = Passes::new(preconditioner, settings.workers);
        passes.resize(settings.batch, preconditioner);
        let mut shuffle = stream(settings.seed, Purpose::Order);
        (0..stages.len()).for_each(|_| shuffle.jump());
        Ok(Self {
            shuffle,
            clean: streams.into_iter().map(|rng| (preconditioner.clean_block(source), rng, [0.0; 2])).collect(),
            order: (0..source.rows() as u32).collect(),
            rows: Vec::with_capacity(settings.batch),
            position: usize::MAX,
            settings,
            source,
            process,
            preconditioner,
            stages,
            trainer,
            passes,
        })
    }

    /// One step; `progress` in [0, 1] says how much of the run is over and sets the step size. Returns the losses per row:
    /// half the squared error of a number, and the cross-entropy of a one-hot block, each averaged over the columns of its
    /// kind.
    ///
    /// # Errors
    /// As for [`Trainer::step`].
    pub fn step(&mut self, progress: f64) -> Result<[f64; 2]> {
        self.draw_batch()?;
        let rate = self.rate_at(progress);
        let Self { settings, preconditioner, trainer, passes, clean, .. } = self;
        let layout = preconditioner.layout();
        let (d, rows) = (layout.width(), settings.batch);
        let weights = settings.weights.map(|w| w / rows as f32);
        // Early on the average must not cling to the start.
        let steps = trainer.steps() as f64;
        let decay = settings.average.min((1.0 + steps) / (10.0 + steps));
        let Passes { inputs, blocks, workspaces, .. } = passes;
        let mut sums = [0.0; 2];
        trainer.step(inputs, rate, decay, |outputs, errors| {
            let parts = errors.lanes_mut().chunks_mut(d).zip(outputs.lanes().chunks(d));
            let mut parts: Vec<_> = parts.zip(blocks.iter_mut()).zip(clean.iter_mut()).collect();
            for_each_item(&mut parts, workspaces, &|_, block, (((errors, outputs), row_block), (clean, _, losses))| {
                errors.copy_from_slice(outputs);
                let count = (rows - block * PANEL).min(PANEL);
                *losses = preconditioner.residual(row_block, clean, count, weights, errors);
            });
            for (_, _, losses) in clean.iter() {
                sums[0] += losses[0];
                sums[1] += losses[1];
            }
            f64::from(weights[0]) * sums[0] + f64::from(weights[1]) * sums[1]
        })?;
        Ok(mean_losses(sums, rows, layout))
    }

    /// The network inputs of a freshly drawn batch: batch x D, what a step size can be chosen by.
    ///
    /// # Errors
    /// As for the forward pass of the networks before.
    pub fn draw_inputs(&mut self) -> Result<Mat<f32>> {
        self.draw_batch()?;
        Ok(self.passes.inputs.to_matrix())
    }

    /// Inputs of a freshly drawn batch, each row times the gain on its outputs: batch x D. The limit kernel is homogeneous, so
    /// that the kernel of these rows is the one by which the denoiser learns.
    ///
    /// # Errors
    /// As for the forward pass of the networks before.
    pub fn draw_features(&mut self) -> Result<Mat<f32>> {
        self.draw_batch()?;
        let Passes { inputs, blocks, .. } = &self.passes;
        let gain = |j: usize| match self.preconditioner.base() {
            Base::Mixture => blocks[j / PANEL].levels.alpha.0[j % PANEL],
            _ => 1.0,
        };
        Ok(Mat::from_fn(inputs.rows(), inputs.columns(), |j, k| gain(j) * inputs.get(j, k)))
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

    /// Looks at the network's errors on `rows`, where the law of the times follows them and it is time to look.
    ///
    /// # Errors
    /// As for the forward pass of the network.
    pub(crate) fn watch_times(&mut self, rows: Option<&mut HeldRows<'_>>) -> Result<()> {
        let steps = self.trainer.steps();
        if let (TimeDensity::Recoverable(law), Some(rows)) = (&mut self.settings.times, rows)
            && law.due(steps)
        {
            let errors = rows.errors(&self.trainer.averaged())?;
            law.tell(steps, errors, self.preconditioner.variance());
        }
        Ok(())
    }

    /// The network with averaged weights.
    pub fn network(&self) -> Network<f32> {
        self.trainer.averaged()
    }

    /// The network before the latest step.
    pub fn previous(&self) -> Network<f32> {
        self.trainer.previous()
    }

    /// Everything the next steps depend on.
    pub(crate) fn state(&self) -> RunState {
        RunState {
            trainer: self.trainer.state(),
            order: self.order.clone(),
            position: self.position,
            shuffle: self.shuffle.clone(),
            streams: self.clean.iter().map(|(_, rng, _)| rng.clone()).collect(),
            times: match &self.settings.times {
                TimeDensity::Recoverable(law) => Some(law.clone()),
                TimeDensity::Even | TimeDensity::Logistic { .. } => None,
            },
        }
    }

    /// Takes up the state of a run with the same settings on the same rows.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if it does not fit this run.
    pub(crate) fn restore(&mut self, state: RunState) -> Result<()> {
        if (state.order.len(), state.streams.len()) != (self.order.len(), self.clean.len()) {
            return Err(Error::Checkpoint("it has another number of rows or another batch".into()));
        }
        self.trainer.restore(&state.trainer)?;
        if let Some(law) = state.times {
            self.settings.times = TimeDensity::Recoverable(law);
        }
        (self.order, self.position, self.shuffle) = (state.order, state.position, state.shuffle);
        self.clean.iter_mut().zip(state.streams).for_each(|((_, rng, _), state)| *rng = state);
        Ok(())
    }

    /// Rows in order of a fresh shuffle per pass through the data, times stratified over the batch, fresh noise; then base and
    /// networks before this one.
    fn draw_batch(&mut self) -> Result<()> {
        let n = self.order.len();
        let size = self.settings.batch;
        self.rows.clear();
        while self.rows.len() < size {
            if self.position >= n {
                self.order.shuffle(&mut self.shuffle);
                self.position = 0;
            }
            let take = (size - self.rows.len()).min(n - self.position);
            self.rows.extend_from_slice(&self.order[self.position..self.position + take]);
            self.position += take;
        }
        let Self { settings, source, process, preconditioner, passes, clean, rows, stages, .. } = self;
        let times = &settings.times;
        let mut parts: Vec<_> = passes.blocks.iter_mut().zip(clean.iter_mut()).collect();
        for_each_item(&mut parts, &mut passes.workspaces, &|_, block, (noisy, (clean, rng, _))| {
            for (lane, &row) in rows[block * PANEL..].iter().take(PANEL).enumerate() {
                let place = (block * PANEL + lane) as f64 + rng.random::<f64>();
                noisy.levels.set(lane, process, times.at(process, place / size as f64));
                preconditioner.draw_into(*source, row as usize, lane, rng, clean, noisy);
            }
        });
        passes.run(preconditioner, stages, &|_, _| ())
    }
}

/// What a run needs to go on, in plain data.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct RunState {
    trainer: TrainerState<f32>,
    /// The rows in the order of this pass, and how many of them are used.
    order: Vec<u32>,
    position: usize,
    /// Random numbers of the order, and of times and noise of each block of the batch.
    shuffle: Xoshiro256PlusPlus,
    streams: Vec<Xoshiro256PlusPlus>,
    /// The law of the times, where it changes.
    times: Option<Recoverable>,
}

/// Losses per row and column of a kind from sums over rows and columns.
fn mean_losses(sums: [f64; 2], rows: usize, layout: &Layout) -> [f64; 2] {
    let per_row = sums.map(|sum| sum / rows as f64);
    [per_row[0] / layout.numerical.max(1) as f64, per_row[1] / layout.blocks.len().max(1) as f64]
}

/// Rows with noise of even times, drawn once, on which networks are compared, whatever times they are trained on.
pub struct HeldRows<'a> {
    preconditioner: &'a Preconditioner,
    passes: Passes,
    clean: Vec<(CleanBlock, [f64; 2])>,
    outputs: Panels<f32>,
    rows: usize,
}

impl<'a> HeldRows<'a> {
    /// Most rows looked at, and fewest: few rows are drawn several times.
    pub(crate) const MOST: usize = 4096;
    const FEWEST: usize = 2048;

    /// Draws the rows of `source` and sends them through `stages`.
    ///
    /// # Errors
    /// As for the forward pass of the networks.
    pub fn new(
        source: &dyn DataSource,
        preconditioner: &'a Preconditioner,
        process: &ForwardProcess,
        stages: &[Network<f32>],
        (seed, workers): (u64, usize),
    ) -> Result<Self> {
        let n = source.rows();
        let rows = (n * Self::FEWEST.div_ceil(n)).min(Self::MOST);
        let mut rng = stream(seed, Purpose::Estimate);
        let mut passes = Passes::new(preconditioner, workers);
        passes.resize(rows, preconditioner);
        let mut clean: Vec<_> = passes.blocks.iter().map(|_| (preconditioner.clean_block(source), [0.0; 2])).collect();
        // The golden ratio spreads the times of each row, and of all rows, evenly.
        for j in 0..rows {
            let (block, lane) = (j / PANEL, j % PANEL);
            let t = process.start() + (process.end() - process.start()) * ((j as f64 + 0.5) * GOLDEN).fract();
            let row = j % n;
            passes.blocks[block].levels.set(lane, process, t);
            preconditioner.draw_into(source, row, lane, &mut rng, &mut clean[block].0, &mut passes.blocks[block]);
        }
        passes.run(preconditioner, stages, &|_, _| ())?;
        let outputs = Panels::zeros(rows, preconditioner.layout().width());
        Ok(Self { preconditioner, passes, clean, outputs, rows })
    }

    /// The losses per row and column of their kind of a network above those the rows were sent through; of these alone if none
    /// is given.
    ///
    /// # Errors
    /// As for the forward pass of the network.
    pub fn losses(&mut self, network: Option<&Network<f32>>) -> Result<[f64; 2]> {
        let Self { preconditioner, passes, clean, outputs, rows } = self;
        let Passes { inputs, blocks, workspaces, .. } = passes;
        match network {
            Some(network) => forward_into(outputs, None, network.layers(), inputs, workspaces)?,
            None => outputs.lanes_mut().iter_mut().for_each(|lane| lane.0.fill(0.0)),
        }
        let d = outputs.columns();
        let mut parts: Vec<_> =
            outputs.lanes_mut().chunks_mut(d).zip(blocks.iter_mut()).zip(clean.iter_mut()).collect();
        for_each_item(&mut parts, workspaces, &|_, block, ((outputs, row_block), (clean, losses))| {
            let count = (*rows - block * PANEL).min(PANEL);
            *losses = preconditioner.residual(row_block, clean, count, [1.0; 2], outputs);
        });
        let sums = clean.iter().fold([0.0; 2], |sums, (_, losses)| [sums[0] + losses[0], sums[1] + losses[1]]);
        Ok(mean_losses(sums, *rows, preconditioner.layout()))
    }

    /// Mean of `|X_0 - f|^2` over the rows in each part of the times, in the data's units, of a network above those the rows were sent
    /// through.
    ///
    /// # Errors
    /// As for the forward pass of the network.
    pub(crate) fn errors(&mut self, network: &Network<f32>) -> Result<Vec<f64>> {
        let Self { preconditioner, passes, clean, outputs, rows } = self;
        let Passes { inputs, blocks, workspaces, .. } = passes;
        forward_into(outputs, None, network.layers(), inputs, workspaces)?;
        let d = outputs.columns();
        let mut squares = vec![[0.0; PANEL]; blocks.len()];
        let mut parts: Vec<_> =
            outputs.lanes_mut().chunks_mut(d).zip(blocks.iter_mut()).zip(clean.iter()).zip(&mut squares).collect();
        for_each_item(&mut parts, workspaces, &|_, _, (((outputs, row_block), (clean, _)), squares)| {
            let before = row_block.outputs.clone();
            add(&mut row_block.outputs, outputs);
            preconditioner.value_into(row_block, outputs);
            row_block.outputs = before;
            for (clean, value) in clean.values.iter().zip(outputs.iter()) {
                let lanes = squares.iter_mut().zip(&clean.0).zip(&value.0);
                lanes.for_each(|((sum, &x), &f)| *sum += f64::from(x - f).powi(2));
            }
        });
        let (mut sums, mut counts) = ([0.0; PARTS], [0.0; PARTS]);
        for j in 0..*rows {
            let (block, lane) = (j / PANEL, j % PANEL);
            let part = usize::from(blocks[block].levels.cell[lane]) / CELLS_IN_PART;
            sums[part] += squares[block][lane];
            counts[part] += 1.0;
        }
        Ok(sums.iter().zip(&counts).map(|(sum, count)| sum / f64::max(*count, 1.0)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diffusion::process::Schedule;
    use crate::model::layout::MatrixSource;
    use crate::random::normal;

    #[test]
    fn errors_in_each_part_of_the_times_are_those_of_the_closed_form() {
        let mut rng = stream(5, Purpose::Data);
        let data = Mat::from_fn(4096, 2, |_, i| [1.0, 0.3][i] * normal::<f32>(&mut rng));
        let source = MatrixSource::new(data);
        let process = ForwardProcess::new(Schedule::LOG_SNR, 0.0, 1.0).unwrap();
        let fitted = Preconditioner::fit(Base::Gaussian, &source, None, &process, 1, 1, None).unwrap();
        let mut rows = HeldRows::new(&source, &fitted, &process, &[], (1, 2)).unwrap();
        let before = rows.losses(None).unwrap();
        // Pairs of neurons cancel at the start, so that the base alone is left.
        let network = Network::symmetric(fitted.inputs(), 2, 64, 1).unwrap();
        let errors = rows.errors(&network).unwrap();
        assert_eq!(rows.losses(None).unwrap(), before);
        assert!((fitted.variance() / 1.09 - 1.0).abs() < 0.05, "{}", fitted.variance());
        for (part, error) in errors.iter().enumerate() {
            // Independent Gaussians of variance v: v h / (alpha^2 v + h), averaged over the part.
            let at = |k: usize| {
                let t = (part as f64 + (k as f64 + 0.5) / 16.0) / PARTS as f64;
                let (gain, h) = (process.alpha(t).powi(2), process.h(t));
                [1.0, 0.09].map(|v| v * h / (gain * v + h)).iter().sum::<f64>() / 16.0
            };
            let known: f64 = (0..16).map(at).sum();
            // 256 rows, whose squares have a relative deviation of at most sqrt(2): three deviations of the mean.
            assert!((error / known - 1.0).abs() < 3.0 * (2.0f64 / 256.0).sqrt(), "part {part}: {error} {known}");
        }
    }
}
