//! From a fitted model to a generated table.

use faer::{Mat, Par};

use super::FittedTable;
use crate::diffusion::sampler::{Method, Sampler};
use crate::kernels::{Panels, workers};
use crate::table::Table;
use crate::table::codec::{Codec, Decode};
use crate::{Result, memory};

/// Settings of [`FittedTable::sample`]: begin with [`SampleSettings::new`] and change what should differ.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct SampleSettings {
    /// Rows to generate.
    pub rows: usize,
    /// Sampler.
    pub method: Method,
    /// Steps from noise to data.
    pub steps: usize,
    /// Seed.
    pub seed: u64,
    /// How parallel to be; the result does not depend on it.
    pub par: Par,
}

impl SampleSettings {
    /// The sampler used unless another is asked for, and the one models are calibrated with.
    pub const METHOD: Method = Method::Heun;
    /// Its steps.
    pub const STEPS: usize = 40;

    /// `rows` rows by the usual sampler.
    pub fn new(rows: usize) -> Self {
        Self { rows, method: Self::METHOD, steps: Self::STEPS, seed: 0, par: Par::rayon(0) }
    }
}

/// Checks that there is memory for a table of so many rows: normal scores in two types, and the cells as text.
pub(super) fn check_memory(rows: usize, codec: &Codec) -> Result<()> {
    memory::check("the generated table", rows as u128 * codec.width() as u128 * 48)
}

/// Generates a table, without regard to stated rules.
pub(super) fn sample(
    fitted: &FittedTable,
    settings: &SampleSettings,
    observe: &mut dyn FnMut(usize, usize),
) -> Result<Table> {
    let FittedTable { relations, codec, model, .. } = fitted;
    check_memory(settings.rows, codec)?;
    memory::check("the times of so many steps", settings.steps as u128 * 64)?;
    let sampler = Sampler::new(settings.method, settings.steps);
    let mut denoiser = model.batch_denoiser(workers(settings.par));
    let rows = sampler.run(model.process(), &mut denoiser, settings.rows, settings.seed, settings.par, observe)?;
    let scores = fitted.scores(&rows);
    relations.restore(codec.decode(scores.as_ref(), Decode::default())?, codec.schema())
}

impl FittedTable {
    /// Drawn rows as the codec decodes them: calibrated normal scores, and codes.
    pub(super) fn scores(&self, rows: &Panels<f32>) -> Mat<f64> {
        let mut scores = Mat::from_fn(rows.rows(), rows.columns(), |i, j| f64::from(rows.get(i, j)));
        if let Some(calibration) = &self.calibration {
            calibration.apply(scores.as_mut());
        }
        self.model.preconditioner().uncentre(&mut scores, self.codec.numerical());
        scores
    }
}
