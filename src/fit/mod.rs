//! The driver: a table goes in, a fitted model comes out; a fitted model goes in, a generated table comes out.
//!
//! It composes tables ([`crate::table`]) and score models (`crate::model`). [`fit`] is one loop (`training`) over something that
//! steps, watched by something that stops; presets differ in what steps.

mod best;
mod checkpoint;
mod conditional;
mod impute;
mod paper;
mod record;
mod sample;
mod settings;
mod source;
mod training;
mod watch;

use std::ops::ControlFlow;
use std::time::Duration;

pub use crate::model::score_model::ScoreModel;
pub use checkpoint::Checkpoint;
pub use conditional::{Completed, Met};
pub use impute::{Fill, Filled};
pub use record::{Ended, Progress, Record, StopRecord};
pub use sample::SampleSettings;
pub use settings::{FitSettings, Length, OptimizerKind, Preset, Stopping, Times};

use crate::diffusion::sampler::Sampler;
use crate::kernels::workers;
use crate::model::contrasts;
use crate::model::layout::Layout;
use crate::model::training::HeldRows;
use crate::table::calibration::Calibration;
use crate::table::codec::{Codec, Decode, NumericalCode};
use crate::table::schema::Schema;
use crate::table::{Relations, Table};
use crate::{Error, Result, memory};
use checkpoint::{Observe, Start};
use source::TableSource;

/// Most rows drawn to calibrate a model.
const CALIBRATION_ROWS: usize = 8192;
/// Fewest rows that serve.
const FEWEST_CALIBRATION_ROWS: usize = 512;
/// Rows drawn for each row of a small table. The quantiles of n rows are off by 1/sqrt(n), those of the table's N rows themselves by
/// 1/sqrt(N), so that with sixteen times as many rows the error of both together is 3 % larger than the table's alone. With four times
/// as many it should be 12 % larger, and was 10 %: Kolmogorov distances of numbers from other rows, four choices of 200 rows.
const CALIBRATION_DRAWS: usize = 16;
/// What keeps the noise of those rows apart from that of generated tables.
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
    /// What brings the normal scores of generated numbers back to a normal distribution; none under [`Preset::Paper`], and where a
    /// budget left no time for it.
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
pub fn fit(
    table: &Table,
    settings: &FitSettings,
    observe: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<FittedTable> {
    resume(table, settings, None, &mut |progress, _| Ok(observe(progress)))
}

/// A [`fit`] that can be interrupted: after every iteration `observe` is also given a function that takes out the fit's state,
/// and a later call goes on `from` there. An error that it returns, such as [`Error::Interrupted`], ends the fit at once.
///
/// # Errors
/// As for [`fit`], and [`Error::Checkpoint`] if `from` is of another table, of other settings or of another version of this
/// program.
pub fn resume(
    table: &Table,
    settings: &FitSettings,
    from: Option<Checkpoint>,
    observe: Observe,
) -> Result<FittedTable> {
    let start = Start::new(table, settings, from)?;
    let schema = Schema::infer(table, &settings.schema)?;
    let mut relations = match settings.preset {
        Preset::Best | Preset::Ntk => Relations::find(table, &schema)?,
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
        quantiles: quantiles(&codec),
    };
    check_memory(table.rows(), &source.layout, settings)?;
    match settings.preset {
        Preset::Best | Preset::Ntk => {
            let best::Best { model, record, pass, used } = best::fit(&source, settings, start, observe)?;
            let most = (CALIBRATION_DRAWS * table.rows()).clamp(FEWEST_CALIBRATION_ROWS, CALIBRATION_ROWS);
            let rows = match settings.length {
                Length::Iterations(_) => most,
                Length::Budget(budget) => rows_in_time(most, budget, used, pass),
            };
            let calibration = if rows > 0 { Some(calibrate(&model, codec.numerical(), rows, settings)?) } else { None };
            Ok(FittedTable { relations, codec, model, calibration, record })
        }
        Preset::Paper => {
            let (model, record) = paper::fit(&source, settings, start, observe)?;
            Ok(FittedTable { relations, codec, model, calibration: None, record })
        }
    }
}

/// For each number its values at the knots of contrasts.
fn quantiles(codec: &Codec) -> Vec<f64> {
    let at = |code: &NumericalCode, k| code.value(contrasts::knot(k), Decode::Interpolate);
    codec.numerical_codes().iter().flat_map(|code| (0..contrasts::KNOTS).map(move |k| at(code, k))).collect()
}

/// Checks that there is memory for everything that a fit holds at the same time.
fn check_memory(rows: usize, layout: &Layout, settings: &FitSettings) -> Result<()> {
    let (numbers, width) = (layout.numerical as u128, layout.width() as u128);
    // Numbers three times, with steps, contrasts and codes; as many as there are in any preset.
    let inputs = 7 * numbers + (contrasts::MOST * contrasts::UNITS) as u128 + width + 4;
    // Weights, two moments, an average, those of the last good step, of the best network on rows held out and of the finished
    // one, and the state that goes into a checkpoint; each network with its signs.
    let network = settings.width as u128 * (12 * inputs + 4 * width);
    // Noisy, clean and base values, the outputs and their errors, inputs.
    let row = 10 * width + inputs;
    let (batch, held, coded) = match settings.preset {
        Preset::Best | Preset::Ntk => {
            (settings.batch as u128, HeldRows::MOST as u128, 2 * numbers + layout.blocks.len() as u128)
        }
        Preset::Paper => (0, 0, 6 * (inputs + width) * settings.draws as u128),
    };
    let drawn = if numbers > 0 { calibrator(layout).batch as u128 * row + CALIBRATION_ROWS as u128 * width } else { 0 };
    let needs = [
        ("the network", network),
        ("the coded table", rows as u128 * coded),
        ("a batch", batch * row),
        ("what is computed of the rows held out", held * row),
        ("what is computed of the rows that calibrate the model", drawn),
    ];
    memory::check_together("a fit of this table", &needs.map(|(what, count)| (what, count * size_of::<f32>() as u128)))
}

/// The sampler that models are calibrated with. The rows that it moves at a time do not change the result.
fn calibrator(layout: &Layout) -> Sampler {
    let mut sampler = Sampler::new(SampleSettings::METHOD, SampleSettings::STEPS);
    // About 64 million numbers: where columns are many, all rows at a time would be most of what a fit takes.
    sampler.batch = ((64 << 20) / (12 * layout.width().max(1))).min(CALIBRATION_ROWS);
    sampler
}

/// How many of `most` rows there is time to calibrate with; none if the fewest that serve would take a budget too far.
fn rows_in_time(most: usize, budget: Duration, used: Duration, pass: f64) -> usize {
    // A sampled row takes two passes a step.
    let each = pass.max(1e-9) * (2 * SampleSettings::STEPS) as f64;
    let time = budget.mul_f64(best::CALIBRATION_SHARE).as_secs_f64();
    let least = FEWEST_CALIBRATION_ROWS;
    if used.as_secs_f64() + each * least as f64 > 1.05 * budget.as_secs_f64() + 1.0 {
        return 0;
    }
    ((time / each) as usize).clamp(least, most)
}

/// Draws rows from the model and notes how their numbers are distributed: a denoiser that is a little too cautious makes them
/// a little too narrow, in every column's own way.
fn calibrate(model: &ScoreModel, numbers: usize, rows: usize, settings: &FitSettings) -> Result<Calibration> {
    if numbers == 0 {
        return Calibration::fit(Vec::new());
    }
    let sampler = calibrator(model.preconditioner().layout());
    let mut denoiser = model.batch_denoiser(workers(settings.par));
    let seed = settings.seed ^ CALIBRATION_SEED;
    let rows = sampler.run(model.process(), &mut denoiser, rows, seed, settings.par, &mut |_, _| ())?;
    let columns = (0..numbers).map(|i| (0..rows.rows()).map(|j| f64::from(rows.get(j, i))).collect());
    Calibration::fit(columns.collect())
}
