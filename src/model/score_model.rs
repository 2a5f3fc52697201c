//! A fitted score model: forward process, preconditioner and network together, as a denoiser and as a score.

use rayon::prelude::*;

use super::preconditioner::{Preconditioner, RowBuffer};
use crate::diffusion::denoiser::Denoiser;
use crate::diffusion::process::ForwardProcess;
use crate::kernels::descent::{Workspace, forward_into};
use crate::kernels::{PANEL, Panels};
use crate::network::Network;
use crate::{Error, Result};

/// The estimate `f(x, t)` of `E[X_0 | X_t = x]` and with it the score `(alpha(t) f(x, t) - x) / h(t)` (HRX section 3).
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreModel {
    process: ForwardProcess,
    preconditioner: Preconditioner,
    network: Network<f32>,
}

impl ScoreModel {
    /// Puts the parts together.
    ///
    /// # Errors
    /// [`Error::Model`] if the network's inputs and outputs are not those of the preconditioner.
    pub fn new(process: ForwardProcess, preconditioner: Preconditioner, network: Network<f32>) -> Result<Self> {
        let (inputs, outputs) = (preconditioner.inputs(), preconditioner.layout().width());
        if (network.inputs(), network.outputs()) != (inputs, outputs) {
            return Err(Error::Model(format!(
                "the network has {} inputs and {} outputs, but the data need {inputs} and {outputs}",
                network.inputs(),
                network.outputs()
            )));
        }
        Ok(Self { process, preconditioner, network })
    }

    /// The forward process.
    pub fn process(&self) -> &ForwardProcess {
        &self.process
    }

    /// Base denoiser and input transform.
    pub fn preconditioner(&self) -> &Preconditioner {
        &self.preconditioner
    }

    /// The network.
    pub fn network(&self) -> &Network<f32> {
        &self.network
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
    pub fn batch_denoiser(&self, workers: usize) -> BatchDenoiser<'_> {
        let (inputs, outputs) = (self.network.inputs(), self.network.outputs());
        BatchDenoiser {
            model: self,
            inputs: Panels::zeros(0, inputs),
            rows: Vec::new(),
            workspaces: Workspace::for_workers(workers, inputs, outputs),
        }
    }
}

/// A [`ScoreModel`] with the buffers for denoising batches.
#[derive(Debug, Clone)]
pub struct BatchDenoiser<'a> {
    model: &'a ScoreModel,
    inputs: Panels<f32>,
    rows: Vec<RowBuffer>,
    workspaces: Vec<Workspace<f32>>,
}

impl Denoiser<f32> for BatchDenoiser<'_> {
    fn dimension(&self) -> usize {
        self.model.dimension()
    }

    fn denoise_into(&mut self, out: &mut Panels<f32>, x: &Panels<f32>, t: f64) -> Result<()> {
        let Self { model, inputs, rows, workspaces } = self;
        let (preconditioner, process) = (&model.preconditioner, &model.process);
        let d = model.dimension();
        x.expect_shape("the noisy rows", x.rows(), d)?;
        out.expect_shape("the denoised rows", x.rows(), d)?;
        if !(process.start() <= t && t <= process.end()) {
            let requirement = "it must lie between the first and the last time of the forward process";
            return Err(Error::Setting { name: "the diffusion time", value: t.to_string(), requirement });
        }
        if inputs.rows() != x.rows() {
            inputs.reset(x.rows(), preconditioner.inputs());
            rows.resize_with(x.rows(), || preconditioner.buffer());
        }
        let level = preconditioner.level(process, t);
        let width = inputs.columns();
        let blocks =
            inputs.lanes_mut().par_chunks_mut(width).zip(rows.par_chunks_mut(PANEL)).zip(x.lanes().par_chunks(d));
        blocks.for_each(|((inputs, rows), x)| {
            let mut noisy = vec![0.0; d];
            for (lane, row) in rows.iter_mut().enumerate() {
                noisy.iter_mut().zip(x).for_each(|(to, from)| *to = from.0[lane]);
                preconditioner.prepare(&level, &noisy, row);
                inputs.iter_mut().zip(&row.inputs).for_each(|(to, from)| to.0[lane] = *from);
            }
        });
        forward_into(out, None, model.network.layers(), inputs, workspaces)?;
        let radius = preconditioner.radius() as f32;
        let blocks = out.lanes_mut().par_chunks_mut(d).zip(rows.par_chunks(PANEL));
        blocks.for_each(|(out, rows)| {
            let mut f = vec![0.0; d];
            for (lane, row) in rows.iter().enumerate() {
                f.iter_mut().zip(out.iter()).for_each(|(to, from)| *to = from.0[lane]);
                preconditioner.combine(row, &mut f);
                // The projection P_R0 of HRX section 3.
                let norm = f.iter().map(|x| x * x).sum::<f32>().sqrt();
                let shrink = if norm > radius { radius / norm } else { 1.0 };
                out.iter_mut().zip(&f).for_each(|(to, from)| to.0[lane] = shrink * from);
            }
        });
        Ok(())
    }
}
