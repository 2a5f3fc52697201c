//! A fitted score model: forward process, preconditioner and networks together, as a denoiser and as a score.

use super::mixture::Scratch;
use super::preconditioner::Preconditioner;
use super::row_block::RowBlock;
use crate::diffusion::denoiser::Denoiser;
use crate::diffusion::process::ForwardProcess;
use crate::kernels::descent::{Workspace, forward_into};
use crate::kernels::share::for_each_item;
use crate::kernels::{Lane64, Panels};
use crate::network::Network;
use crate::{Error, Result};

/// The estimate `f(x, t)` of `E[X_0 | X_t = x]` and with it the score `(alpha(t) f(x, t) - x) / h(t)` (HRX section 3).
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreModel {
    process: ForwardProcess,
    preconditioner: Preconditioner,
    stages: Vec<Network<f32>>,
}

impl ScoreModel {
    /// Puts the parts together. Each of the networks reads what those before it made of a row; there may be none.
    ///
    /// # Errors
    /// [`Error::Model`] if a network's inputs and outputs are not those of the preconditioner.
    pub(crate) fn new(
        process: ForwardProcess,
        preconditioner: Preconditioner,
        stages: Vec<Network<f32>>,
    ) -> Result<Self> {
        let (inputs, outputs) = (preconditioner.inputs(), preconditioner.layout().width());
        for network in &stages {
            if (network.inputs(), network.outputs()) != (inputs, outputs) {
                return Err(Error::Model(format!(
                    "the network has {} inputs and {} outputs, but the data need {inputs} and {outputs}",
                    network.inputs(),
                    network.outputs()
                )));
            }
        }
        Ok(Self { process, preconditioner, stages })
    }

    /// The forward process.
    pub fn process(&self) -> &ForwardProcess {
        &self.process
    }

    /// Base denoiser and input transform.
    pub(crate) fn preconditioner(&self) -> &Preconditioner {
        &self.preconditioner
    }

    /// The networks, in the order in which they read a row.
    pub fn stages(&self) -> &[Network<f32>] {
        &self.stages
    }

    /// Dimension d of the data as the process sees them.
    pub fn dimension(&self) -> usize {
        self.preconditioner.layout().width()
    }

    /// The denoiser `f(x, t)`: posterior mean of the clean row given one noisy row `x` (length d) at time `t`, projected to
    /// the ball that holds the data.
    ///
    /// # Errors
    /// [`Error::Shape`] if `x` has another length, [`Error::Setting`] if `t` lies outside the process's times.
    pub fn denoise(&self, x: &[f32], t: f64) -> Result<Vec<f32>> {
        let mut batch = Panels::zeros(1, x.len());
        for (i, &x) in x.iter().enumerate() {
            batch.set(0, i, x);
        }
        let mut out = Panels::zeros(1, self.dimension());
        self.batch_denoiser(1).denoise_into(&mut out, &batch, t)?;
        Ok((0..self.dimension()).map(|i| out.get(0, i)).collect())
    }

    /// The score `grad log p_t(x)` at one row `x` (length d) and time `t`.
    ///
    /// # Errors
    /// As for [`ScoreModel::denoise`].
    pub fn score(&self, x: &[f32], t: f64) -> Result<Vec<f32>> {
        let f = self.denoise(x, t)?;
        Ok(f.iter().zip(x).map(|(&f, &x)| self.process.score_of(f64::from(f), f64::from(x), t) as f32).collect())
    }

    /// A denoiser of whole batches with its buffers, on `workers` threads.
    pub(crate) fn batch_denoiser(&self, workers: usize) -> BatchDenoiser<'_> {
        BatchDenoiser { model: self, passes: Passes::new(&self.preconditioner, workers) }
    }
}

/// Rows on their way through the base and the networks, with every buffer that takes.
#[derive(Debug, Clone)]
pub(crate) struct Passes {
    /// Blocks of 64 rows.
    pub blocks: Vec<RowBlock>,
    /// Inputs of the network whose turn it is, rows x D.
    pub inputs: Panels<f32>,
    outputs: Panels<f32>,
    scratches: Vec<Option<Scratch>>,
    pub workspaces: Vec<Workspace<f32>>,
}

impl Passes {
    pub fn new(preconditioner: &Preconditioner, workers: usize) -> Self {
        let (inputs, outputs) = (preconditioner.inputs(), preconditioner.layout().width());
        Self {
            blocks: Vec::new(),
            inputs: Panels::zeros(0, inputs),
            outputs: Panels::zeros(0, outputs),
            scratches: vec![preconditioner.scratch(); workers.max(1)],
            workspaces: Workspace::for_workers(workers, inputs, outputs),
        }
    }

    /// Makes room for `rows` rows.
    pub fn resize(&mut self, rows: usize, preconditioner: &Preconditioner) {
        if self.inputs.rows() != rows {
            self.inputs.reset(rows, preconditioner.inputs());
            self.outputs.reset(rows, preconditioner.layout().width());
            self.blocks.resize_with(self.inputs.blocks(), || preconditioner.row_block());
        }
    }

    /// Evaluates the base on rows that `fill(block, rows)` sets, and sends them through `stages`; then `inputs` holds what the next
    /// network would read.
    pub fn run(
        &mut self,
        preconditioner: &Preconditioner,
        stages: &[Network<f32>],
        fill: &(impl Fn(usize, &mut RowBlock) + Sync),
    ) -> Result<()> {
        let width = self.inputs.columns();
        let mut parts: Vec<_> = self.blocks.iter_mut().zip(self.inputs.lanes_mut().chunks_mut(width)).collect();
        for_each_item(&mut parts, &mut self.scratches, &|scratch, block, (rows, inputs)| {
            fill(block, rows);
            preconditioner.evaluate_base(rows, scratch);
            preconditioner.inputs_into(rows, inputs);
        });
        for network in stages {
            self.pass(preconditioner, network)?;
        }
        Ok(())
    }

    /// One network more.
    fn pass(&mut self, preconditioner: &Preconditioner, network: &Network<f32>) -> Result<()> {
        forward_into(&mut self.outputs, None, network.layers(), &self.inputs, &mut self.workspaces)?;
        let (width, d) = (self.inputs.columns(), self.outputs.columns());
        let inputs = self.inputs.lanes_mut().chunks_mut(width);
        let mut parts: Vec<_> = self.blocks.iter_mut().zip(inputs).zip(self.outputs.lanes().chunks(d)).collect();
        for_each_item(&mut parts, &mut self.scratches, &|_, _, ((rows, inputs), outputs)| {
            add(&mut rows.outputs, outputs);
            preconditioner.inputs_into(rows, inputs);
        });
        Ok(())
    }

    /// Runs `body(block, rows, out)` for every block of `out`.
    pub fn for_each_block(
        &mut self,
        out: &mut Panels<f32>,
        body: &(impl Fn(usize, &mut RowBlock, &mut [Lane64<f32>]) + Sync),
    ) {
        let d = out.columns();
        let mut parts: Vec<_> = self.blocks.iter_mut().zip(out.lanes_mut().chunks_mut(d)).collect();
        for_each_item(&mut parts, &mut self.scratches, &|_, block, (rows, out)| body(block, rows, out));
    }
}

pub(super) fn add(sum: &mut [Lane64<f32>], more: &[Lane64<f32>]) {
    for (sum, more) in sum.iter_mut().zip(more) {
        sum.0.iter_mut().zip(&more.0).for_each(|(s, &x)| *s += x);
    }
}

/// A [`ScoreModel`] with the buffers for denoising batches.
#[derive(Debug, Clone)]
pub(crate) struct BatchDenoiser<'a> {
    model: &'a ScoreModel,
    passes: Passes,
}

impl Denoiser<f32> for BatchDenoiser<'_> {
    fn dimension(&self) -> usize {
        self.model.dimension()
    }

    fn denoise_into(&mut self, out: &mut Panels<f32>, x: &Panels<f32>, t: f64) -> Result<()> {
        let Self { model, passes } = self;
        let (preconditioner, process) = (&model.preconditioner, &model.process);
        let d = model.dimension();
        x.expect_shape("the noisy rows", x.rows(), d)?;
        out.expect_shape("the denoised rows", x.rows(), d)?;
        if !(process.start() <= t && t <= process.end()) {
            let requirement = "it must lie between the first and the last time of the forward process";
            return Err(Error::Setting { name: "the diffusion time", value: t.to_string(), requirement });
        }
        passes.resize(x.rows(), preconditioner);
        passes.run(preconditioner, &model.stages, &|block, rows| {
            rows.levels.set_all(process, t);
            rows.x.copy_from_slice(x.block(block));
        })?;
        let radius = preconditioner.radius() as f32;
        passes.for_each_block(out, &|block, rows, out| {
            preconditioner.value_into(rows, out);
            let count = x.rows_in(block);
            // The projection P_R0 of HRX section 3; padding rows stay zero.
            let mut squares = [0.0f32; crate::kernels::PANEL];
            for lane in &*out {
                squares.iter_mut().zip(&lane.0).for_each(|(s, &x)| *s += x * x);
            }
            for (row, s) in squares.iter_mut().enumerate() {
                let norm = s.sqrt();
                *s = if row >= count {
                    0.0
                } else if norm > radius {
                    radius / norm
                } else {
                    1.0
                };
            }
            for lane in out {
                lane.0.iter_mut().zip(&squares).for_each(|(x, &s)| *x = if s == 0.0 { 0.0 } else { s * *x });
            }
        });
        Ok(())
    }
}
