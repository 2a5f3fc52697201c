//! Rows that meet conditions, and rows of which some cells are given.
//!
//! What can be said of the coded row before anything is drawn (levels, equal numbers, one range) is known to the
//! [denoiser](crate::model::conditional); the rest is met by drawing again. Every row that is returned has been held against every
//! condition as it is written in the table.

use super::FittedTable;
use super::sample::{self, SampleSettings};
use crate::diffusion::denoiser::Denoiser;
use crate::diffusion::sampler::{Sampler, Start};
use crate::error::quoted;
use crate::kernels::workers;
use crate::model::conditional::Known;
use crate::model::layout::Layout;
use crate::random::{CHUNK, Purpose, chunk_streams};
use crate::table::codec::Decode;
use crate::table::{Condition, Given, GivenCode, Table};
use crate::{Error, Result};

/// Rows drawn at a time: what is known of each takes up to 15 KB.
const BATCH: usize = 4096;
/// Rows drawn at a time at least: fewer cost as much.
const LEAST: usize = 64;
/// Rows after which conditions are given up that fewer than one row in [`RAREST`] meets.
const PATIENCE: usize = 20_000;
const RAREST: usize = 1000;
/// Times that a row with given cells is drawn until all relations hold.
const TRIES: usize = 16;
/// What keeps seeds of rounds apart: the golden ratio, as in many generators of seeds.
const APART: u64 = 0x9e37_79b9_7f4a_7c15;

/// Rows that meet conditions.
#[derive(Debug, Clone, PartialEq)]
pub struct Met {
    /// The rows.
    pub table: Table,
    /// Rows that were drawn for it.
    pub drawn: usize,
    /// How many of these met all conditions and kept all relations.
    pub met: usize,
    /// For each condition whether it was met by construction, not by drawing again.
    pub sure: Vec<bool>,
}

/// Rows whose given cells are as they were.
#[derive(Debug, Clone, PartialEq)]
pub struct Completed {
    /// The rows, as many as were given and in their order.
    pub table: Table,
    /// Rows in which relations between columns do not hold with the given cells, however often they were drawn.
    pub broken: usize,
}

impl FittedTable {
    /// Generates a table that keeps the relations and rules of the model. `observe` is told how much is done, in parts of a whole.
    ///
    /// # Errors
    /// [`Error::Setting`] for unusable settings, [`Error::NotFinite`] if samples leave the finite numbers, [`Error::Table`] if next to
    /// no row obeys the rules.
    pub fn sample(&self, settings: &SampleSettings, observe: &mut dyn FnMut(usize, usize)) -> Result<Table> {
        if self.relations.rules().is_empty() {
            return sample::sample(self, settings, observe);
        }
        self.sample_where(settings, &[], observe).map(|met| met.table)
    }
}

impl FittedTable {
    /// Generates `settings.rows` rows that meet all conditions (see [`Condition::parse`], with the columns of
    /// [`FittedTable::columns`]) and the rules that the model keeps. `observe` is told how much is done, in parts of a whole.
    ///
    /// # Errors
    /// As [`FittedTable::sample`], and [`Error::Table`] if conditions leave nothing or next to no row meets them.
    pub fn sample_where(
        &self,
        settings: &SampleSettings,
        conditions: &[Condition],
        observe: &mut dyn FnMut(usize, usize),
    ) -> Result<Met> {
        let FittedTable { relations, codec, .. } = self;
        sample::check_memory(settings.rows, codec)?;
        let columns = self.columns();
        let mut parts: Vec<Table> = Vec::new();
        let (mut kept, mut drawn, mut met, mut sure) = (0, 0, 0, vec![false; conditions.len()]);
        for round in 0.. {
            let left = settings.rows - kept;
            let rows = match drawn {
                0 => left,
                _ => (1.1 * left as f64 * drawn as f64 / met.max(1) as f64) as usize,
            };
            let rows = rows.clamp(if left == 0 { 0 } else { LEAST }, BATCH);
            let mut given = Given::nothing(rows);
            for condition in conditions {
                if let Some(cell) = condition.cell() {
                    given.give(condition.column(), vec![Some(cell); rows]);
                }
            }
            let mut code = GivenCode::of(&given, codec, relations, false)?;
            sure = code.restrict(conditions, codec)?;
            let (base, whole) = (kept, settings.rows);
            let (table, mut good) = draw(self, &given, &code, settings, round, &mut |done, total| {
                observe(base * total + left.min(rows) * done, whole * total);
            })?;
            for condition in conditions {
                good.iter_mut().zip(condition.met(&table)?).for_each(|(good, met)| *good &= met);
            }
            for rule in relations.rules() {
                good.iter_mut().zip(rule.obeyed(&table, &columns)?).for_each(|(good, obeyed)| *good &= obeyed);
            }
            drawn += rows;
            met += good.iter().filter(|good| **good).count();
            let take: Vec<usize> = (0..rows).filter(|&row| good[row]).take(left).collect();
            kept += take.len();
            parts.push(table.select(&take));
            if kept == settings.rows {
                break;
            }
            if drawn >= PATIENCE && met * RAREST < drawn {
                let stated = quoted(conditions.iter().map(Condition::text));
                return Err(Error::Table(format!(
                    "of {drawn} rows drawn, {met} met {stated} and the rules that the model keeps; widen a condition or leave one out"
                )));
            }
        }
        let table = Table::stack(parts)?;
        let table = codec.name_rows(table, &Given::nothing(kept), settings.seed)?;
        Ok(Met { table, drawn, met, sure })
    }
}

impl FittedTable {
    /// Generates what is not given of rows, one row for each. `filled` is for filling gaps: no generated cell is then missing, and a
    /// given category that the model does not know counts as not given. `settings.rows` is not used.
    ///
    /// # Errors
    /// As [`FittedTable::sample`], and [`Error::Table`] if a given cell does not fit its column.
    pub fn complete(
        &self,
        given: &Given,
        filled: bool,
        settings: &SampleSettings,
        observe: &mut dyn FnMut(usize, usize),
    ) -> Result<Completed> {
        let FittedTable { relations, codec, .. } = self;
        let rows = given.rows();
        sample::check_memory(rows, codec)?;
        let columns = self.columns();
        let mut parts: Vec<Table> = Vec::new();
        let mut order: Vec<usize> = Vec::new();
        let mut broken = 0;
        for (batch, from) in (0..rows).step_by(BATCH).enumerate() {
            let mut left: Vec<usize> = (from..rows.min(from + BATCH)).collect();
            for attempt in 0..TRIES {
                let these = given.select(&left);
                let code = GivenCode::of(&these, codec, relations, filled)?;
                let round = (batch * TRIES + attempt) as u64;
                let (done_before, count) = (order.len(), left.len());
                let (table, mut good) = draw(self, &these, &code, settings, round, &mut |done, total| {
                    observe(done_before * total + count * done, rows * total);
                })?;
                for rule in relations.rules() {
                    let fixed = |name: &str, row: usize| these.column(name).is_some_and(|cells| cells[row].is_some());
                    for (row, obeyed) in rule.obeyed(&table, &columns)?.into_iter().enumerate() {
                        good[row] &= obeyed || fixed(&rule.left, row) && fixed(&rule.right, row);
                    }
                }
                let last = attempt + 1 == TRIES;
                let (take, again): (Vec<usize>, Vec<usize>) = (0..left.len()).partition(|&row| good[row] || last);
                broken += good.iter().filter(|good| last && !**good).count();
                order.extend(take.iter().map(|&row| left[row]));
                parts.push(table.select(&take));
                left = again.into_iter().map(|row| left[row]).collect();
                if left.is_empty() {
                    break;
                }
            }
        }
        if rows == 0 {
            let (table, _) = draw(self, given, &GivenCode::of(given, codec, relations, filled)?, settings, 0, observe)?;
            return Ok(Completed { table, broken: 0 });
        }
        let mut place = vec![0; rows];
        order.into_iter().enumerate().for_each(|(at, row)| place[row] = at);
        let table = codec.name_rows(Table::stack(parts)?.select(&place), given, settings.seed)?;
        Ok(Completed { table, broken })
    }
}

/// Draws one row for each that is given. Also says which keep all relations.
fn draw(
    fitted: &FittedTable,
    given: &Given,
    code: &GivenCode,
    settings: &SampleSettings,
    round: u64,
    observe: &mut dyn FnMut(usize, usize),
) -> Result<(Table, Vec<bool>)> {
    let FittedTable { relations, codec, model, .. } = fitted;
    let (rows, p) = (given.rows(), codec.numerical());
    let seed = settings.seed.wrapping_add(APART.wrapping_mul(round));
    let layout = Layout { numerical: p, blocks: codec.blocks().to_vec() };
    let mut streams = chunk_streams(seed, Purpose::Conditions, 0, rows.div_ceil(CHUNK));
    let mut scores = vec![f64::NAN; rows * p];
    let mut known = Known::nothing(&layout, rows);
    for row in 0..rows {
        let scores = &mut scores[row * p..][..p];
        code.draw(row, &mut streams[row / CHUNK], scores);
        known.numbers_mut(row).iter_mut().zip(&*scores).for_each(|(x, score)| *x = *score as f32);
        known.allowed_mut(row).copy_from_slice(code.allowed(row));
    }
    let mut sampler = Sampler { batch: rows, ..Sampler::new(settings.method, settings.steps) };
    let threads = workers(settings.par);
    let mut denoiser: Box<dyn Denoiser<f32>> = if code.says_nothing() {
        Box::new(model.batch_denoiser(threads))
    } else {
        let denoiser = model.conditional_denoiser(&known, threads)?;
        sampler.start = Start::Rows { rows: denoiser.starts(seed ^ APART) };
        Box::new(denoiser)
    };
    let drawn = sampler.run(model.process(), &mut *denoiser, rows, seed, settings.par, observe)?;
    let mut matrix = fitted.scores(&drawn);
    code.put_back(matrix.as_mut(), &scores);
    relations.restore_given(codec.decode(matrix.as_ref(), Decode::default())?, codec.schema(), given)
}

impl FittedTable {
    /// The columns of generated tables, in their order.
    pub fn columns(&self) -> Vec<crate::table::ColumnSchema> {
        self.relations.columns(self.codec.schema())
    }
}
