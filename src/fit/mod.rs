//! The driver: a table goes in, a fitted model comes out; a fitted model goes in, a generated table comes out.
//!
//! It composes tables ([`crate::table`]) and score models (`crate::model`). [`fit`] is one loop (`training`) over something that
//! steps, watched by something that stops; presets differ in what steps.

mod best;
mod conditional;
mod impute;
mod paper;
mod record;
mod sample;
mod settings;
mod source;
mod training;
mod watch;

use std::time::Instant;

pub use crate::model::score_model::ScoreModel;
pub use conditional::{Completed, Met, complete, sample, sample_where};
pub use impute::{Fill, Filled, impute};
pub use record::{Ended, Progress, Record, StopRecord};
pub use sample::SampleSettings;
pub use settings::{FitSettings, Length, OptimizerKind, Preset, Stopping};

use crate::diffusion::sampler::Sampler;
use crate::kernels::workers;
use crate::model::layout::Layout;
use crate::table::calibration::Calibration;
use crate::table::codec::Codec;
use crate::table::schema::Schema;
use crate::table::{Relations, Table};
use crate::{Error, Result, memory};
use record::Observe;
use source::TableSource;

/// Most rows drawn to calibrate a model, and what keeps their noise apart from that of generated tables.
const CALIBRATION_ROWS: usize = 8192;
const CALIBRATION_SEED: u64 = 0x6361_6c69_6272_6174;

/// A table's codec and the score model fitted to its coded rows.
#[derive(Debug, Clone, PartialEq)]
pub struct FittedTable {
    /// Relations between columns; none under [`Preset::Paper`].
    pub(crate) relations: Relations,
    /// Table to matrix and back.
    pub(crate) codec: Codec,
    /// The score model of the matrix's rows.
    pub model: ScoreModel,
    /// What brings the normal scores of generated numbers back to a normal distribution; none under [`Preset::Paper`].
    pub(crate) calibration: Option<Calibration>,
    /// How it was fitted.
    pub record: Record,
}

/// Fits a score model to a table. `observe` is told where the fit stands after every iteration; if it breaks, the model is
/// returned as it is by then.
///
/// # Errors
/// [`Error::Table`] if the table cannot be used, [`Error::Setting`] for unusable settings, [`Error::Diverged`] if training
/// leaves the finite numbers.
pub fn fit(table: &Table, settings: &FitSettings, observe: Observe) -> Result<FittedTable> {
    let started = Instant::now();
    let schema = Schema::infer(table, &settings.schema)?;
    let mut relations = match settings.preset {
        Preset::Best => Relations::find(table, &schema)?,
        Preset::Paper => Relations::default(),
    };
    for rule in &settings.rules {
        relations.keep(rule, table, &schema)?;
    }
    let (table, schema) = &relations.prepare(table, &schema)?;
    let codec = Codec::fit(table, schema)?;
    if codec.width() == 0 {
        let all = "every column of the table is constant, so there is nothing to learn; give a column with two values";
        return Err(Error::Table(all.into()));
    }
    let source = TableSource {
        rows: codec.ranks(table)?,
        layout: Layout { numerical: codec.numerical(), blocks: codec.blocks().to_vec() },
    };
    // Weights, gradient, two moments, an average and a spare copy, at the most; and the rows of the data.
    let inputs = 2 * codec.width() as u128 + 10 * codec.numerical() as u128 + 4;
    let network = settings.width as u128 * (6 * inputs + codec.width() as u128) * size_of::<f32>() as u128;
    memory::check("the network", network)?;
    let rows = table.rows() as u128 * inputs * size_of::<f32>() as u128;
    memory::check("the coded table", if settings.preset == Preset::Paper { 6 * rows } else { rows })?;
    // Noisy and clean values, inputs and outputs of each row of a batch.
    memory::check("a batch", settings.batch as u128 * (8 * inputs + 64) * size_of::<f32>() as u128)?;
    match settings.preset {
        Preset::Best => {
            let best::Best { model, record, pass } = best::fit(&source, settings, started, observe)?;
            let rows = match settings.length {
                Length::Iterations(_) => CALIBRATION_ROWS,
                Length::Budget(budget) => {
                    // A sampled row takes two passes a step.
                    let time = budget.mul_f64(best::CALIBRATION_SHARE).as_secs_f64();
                    let fitting = time / (pass.max(1e-9) * (2 * SampleSettings::STEPS) as f64);
                    (fitting as usize).clamp(CALIBRATION_ROWS / 16, CALIBRATION_ROWS)
                }
            };
            let calibration = Some(calibrate(&model, rows, settings)?);
            Ok(FittedTable { relations, codec, model, calibration, record })
        }
        Preset::Paper => {
            let (model, record) = paper::fit(&source, settings, started, observe)?;
            Ok(FittedTable { relations, codec, model, calibration: None, record })
        }
    }
}

/// Draws rows from the model and notes how their numbers are distributed: a denoiser that is a little too cautious makes them
/// a little too narrow, in every column's own way.
fn calibrate(model: &ScoreModel, rows: usize, settings: &FitSettings) -> Result<Calibration> {
    let sampler = Sampler::new(SampleSettings::METHOD, SampleSettings::STEPS);
    let mut denoiser = model.batch_denoiser(workers(settings.par));
    let seed = settings.seed ^ CALIBRATION_SEED;
    let rows = sampler.run(model.process(), &mut denoiser, rows, seed, settings.par, &mut |_, _| ())?;
    let numbers = model.preconditioner().layout().numerical;
    let columns = (0..numbers).map(|i| (0..rows.rows()).map(|j| f64::from(rows.get(j, i))).collect());
    Calibration::fit(columns.collect())
}
