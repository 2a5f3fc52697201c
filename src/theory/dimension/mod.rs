//! Intrinsic dimension of data over noise levels, from a denoiser.
//!
//! In the coordinates `y = X_t / alpha = x0 + sigma eps`, `sigma = sqrt(h)/alpha`, with `D(y)` the denoiser's value there, and over the
//! first `p` of `d` columns:
//!
//! ```text
//! MMSE dimension  E |D(x0 + sigma eps) - x0|^2 / sigma^2                        (Wu and Verdu 2011; Yeats et al. 2025)
//! FLIPD           tr dD/dy + |D(y) - y|^2 / sigma^2  at  y = x0                 (Kamkari et al. 2024)
//! rank gap        p - argmax_i (s_i - s_(i+1)), s the falling singular values of K scores at x0 + sigma eps
//!                                                                               (Stanczuk et al. 2022)
//! ```
//!
//! FLIPD is the slope of the log-density over the logarithm of the noise, at a row itself. At noisy rows its mean is `p` whatever the
//! data, because `E |D - y|^2 = sigma^2 E tr (I - dD/dy)` there.
//!
//! The trace is by central differences, along each column where columns are few and along random signs (Hutchinson 1990) otherwise:
//! so it needs nothing of the denoiser but its values, and the base with the inputs derived from it counts as it is. Noise is the
//! same at every level, which makes curves smooth and their differences sharper than their errors.

mod plateau;
#[cfg(test)]
mod tests;

pub use plateau::{FLATNESS, LEAST_RANGE, Plateau};

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use serde::Serialize;

use crate::diffusion::denoiser::Denoiser;
use crate::diffusion::denoising_error::Average;
use crate::diffusion::process::ForwardProcess;
use crate::diffusion::sampler::Sampler;
use crate::fit::{FittedTable, SampleSettings};
use crate::kernels::{Panels, Real, workers};
use crate::random::{CHUNK, Purpose, chunk_streams, fill_normal, normal};
use crate::regression::spectrum::Spectrum;
use crate::simd::foreign;
use crate::{Error, Result, memory};
use plateau::plateau;

/// Noise levels, even in log signal-to-noise ratio: half a unit apart under the schedule of tables, whose ratio falls from 8 to -6.
pub const LEVELS: usize = 29;
/// Noises of each row for the MMSE dimension: at low noise the standard error of one dimension is then the root of
/// `2 / (4 rows)`, 3 % for 512 rows.
const DRAWS: usize = 4;
/// Most directions of differences for the trace. A row's trace along random signs has the variance `2 |J|^2 / directions`, J off its
/// diagonal: with 16 of them and k dimensions k/8 at most, a standard error of 0.016 sqrt(k) over 512 rows.
const DIRECTIONS: usize = 16;
/// Step of differences over sigma, on which scale a denoiser bends: 1/16 leaves an error of `(1/16)^2 / 6` of the third derivative, and
/// single precision one of 1e-4 at a noise of 1e-2.
const STEP: f64 = 1.0 / 16.0;
/// Scores of one row over columns, as Stanczuk et al. have it.
const SCORES: usize = 4;
/// Scores at each level of noise, and the fewest and most rows that they are of: about as much work as FLIPD takes.
const SCORES_AT_LEVEL: usize = 1 << 14;
const RANKED_ROWS: [usize; 2] = [8, 64];
/// Scores computed at the same time, which bounds memory.
const BATCH: usize = 1 << 13;
/// The gap of a row is clear if the singular value above it is this many times the one below. Of four times as many scores as columns
/// that are noise alone, all singular values lie within a factor of 3 (Marchenko and Pastur), spread over the columns.
const CLEAR: f64 = 2.0;
/// The rank gap of a level is told if this share of its rows has a clear one.
const LEAST_SHARE: f64 = 0.5;

/// The dimension at one level of noise, in columns: means over rows, with their standard errors over rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NoiseLevel {
    /// Noise to signal, `sqrt(h)/alpha`, in the unit of the coded data.
    pub sigma: f64,
    /// Log signal-to-noise ratio.
    pub log_snr: f64,
    /// MMSE dimension.
    pub mmse: Average,
    /// FLIPD.
    pub flipd: Average,
    /// Quartiles of FLIPD over rows.
    pub flipd_quartiles: [f64; 3],
    /// Rank gap, over the rows whose gap is clear; none if those are fewer than half, or there is one column alone.
    pub rank_gap: Option<Average>,
    /// The share of the rows whose gap is clear.
    pub rank_gap_share: f64,
}

/// The plateau of each curve.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plateaus {
    /// Of the MMSE dimension.
    pub mmse: Option<Plateau>,
    /// Of FLIPD.
    pub flipd: Option<Plateau>,
    /// Of the rank gap.
    pub rank_gap: Option<Plateau>,
}

impl Plateaus {
    /// Of these levels, noise rising.
    pub fn of(levels: &[NoiseLevel]) -> Self {
        let of = |estimate: fn(&NoiseLevel) -> Option<Average>| {
            let point = |level| estimate(level).map(|e| (e.value, e.standard_error));
            plateau(&levels.iter().map(|level| (level.sigma, point(level))).collect::<Vec<_>>())
        };
        Self { mmse: of(|l| Some(l.mmse)), flipd: of(|l| Some(l.flipd)), rank_gap: of(|l| l.rank_gap) }
    }
}

/// The dimension of a table's numerical columns.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Seed.
    pub seed: u64,
    /// Rows drawn from the model.
    pub rows: usize,
    /// Numerical columns, which are measured.
    pub columns: usize,
    /// Columns with the codes of categories, all of which are noisy.
    pub coded_columns: usize,
    /// The plateau of the MMSE dimension; none if that has none.
    pub dimension: Option<Plateau>,
    /// The plateau of each curve.
    pub plateaus: Plateaus,
    /// The curves: one object a level, noise rising.
    pub curves: Vec<NoiseLevel>,
}

/// Measures the table behind a model on `rows` rows (2 at least) drawn from it. The same seed gives the same report for every `par`.
/// `observe(done, total)` is told after every call of the denoiser, in row-calls.
///
/// Numerical columns alone are measured: codes are discrete and have no dimension, and at the noise that blurs them they would add what is
/// none.
///
/// # Errors
/// [`Error::Table`] without a numerical column, [`Error::Memory`] if so many rows do not fit, and what the computations return.
pub fn of_model(
    fitted: &FittedTable,
    rows: usize,
    seed: u64,
    par: Par,
    observe: &mut dyn FnMut(usize, usize),
) -> Result<Report> {
    let (model, columns) = (&fitted.model, fitted.codec.numerical());
    if columns == 0 {
        let none = "the model has no numerical column, and categories have no dimension; fit a table that has one";
        return Err(Error::Table(none.into()));
    }
    let (d, inputs) = (model.dimension(), model.preconditioner().inputs());
    let most = rows.max(BATCH).max(SCORES * columns) as u128;
    memory::check("what is computed of the rows", most * (12 * d + inputs) as u128 * size_of::<f32>() as u128)?;
    let sampler = Sampler::new(SampleSettings::METHOD, SampleSettings::STEPS);
    let mut denoiser = model.batch_denoiser(workers(par));
    let to_come = LEVELS * calls(rows, columns);
    let mut drawn = 0;
    let mut tell = |done: usize, total: usize| {
        drawn = total;
        observe(done, total + to_come);
    };
    let clean = sampler.run(model.process(), &mut denoiser, rows, seed, par, &mut tell)?;
    let data = Data { process: model.process(), rows: &clean, columns, seed, par };
    let mut done = drawn;
    let curves = data.curves(&mut denoiser, &mut |rows| {
        done += rows;
        observe(done, drawn + to_come);
    })?;
    let plateaus = Plateaus::of(&curves);
    Ok(Report { seed, rows, columns, coded_columns: d, dimension: plateaus.mmse, plateaus, curves })
}

/// Rows that the denoiser is called for at each level.
fn calls(rows: usize, columns: usize) -> usize {
    rows * (DRAWS + 1 + 2 * columns.min(DIRECTIONS)) + ranked(rows, columns) * SCORES * columns
}

/// Of how many rows the rank gap is looked for.
fn ranked(rows: usize, columns: usize) -> usize {
    let [least, most] = RANKED_ROWS;
    if columns > 1 { (SCORES_AT_LEVEL / (SCORES * columns)).clamp(least, most).min(rows) } else { 0 }
}

/// Rows of data under a forward process.
pub struct Data<'a, T> {
    /// The process.
    pub process: &'a ForwardProcess,
    /// Clean rows, rows x `d`.
    pub rows: &'a Panels<T>,
    /// The first columns, which are measured; noise is on all.
    pub columns: usize,
    /// Seed of the noise and of random directions.
    pub seed: u64,
    /// For drawing noise; the denoiser has its own. No influence on the result.
    pub par: Par,
}

/// A denoiser at one time: from noisy rows to estimates.
type Denoise<'a, T> = &'a mut dyn FnMut(&Panels<T>) -> Result<Panels<T>>;

impl<T: Real> Data<'_, T> {
    /// The dimension at [`LEVELS`] levels of noise, the lowest first. `observe(rows)` is told after every call of the denoiser.
    ///
    /// # Errors
    /// [`Error::Shape`] if rows or columns are not the denoiser's, [`Error::Empty`] for less than two rows or one column,
    /// [`Error::NotFinite`] if the denoiser's values are not, and what it returns.
    pub fn curves(
        &self,
        denoiser: &mut (impl Denoiser<T> + ?Sized),
        observe: &mut dyn FnMut(usize),
    ) -> Result<Vec<NoiseLevel>> {
        let (n, d) = (self.rows.rows(), denoiser.dimension());
        self.rows.expect_shape("the rows", n, d)?;
        if n < 2 || self.columns == 0 {
            return Err(Error::Empty { what: "what the dimension is measured on", unit: "column and two rows" });
        }
        let process = self.process;
        let [from, to] = [process.start(), process.end()].map(|t| process.log_snr(t));
        let time = |level: usize| match level {
            0 => process.start(),
            _ if level + 1 == LEVELS => process.end(),
            _ => process.time_of_log_snr(from + (to - from) * level as f64 / (LEVELS - 1) as f64),
        };
        let mut at = |t: f64| {
            let mut denoise = |x: &Panels<T>| {
                let mut f = Panels::zeros(x.rows(), d);
                denoiser.denoise_into(&mut f, x, t)?;
                if f.values().iter().any(|x| !x.finite()) {
                    return Err(Error::NotFinite { what: "the denoiser's output", row: 0, column: 0 });
                }
                observe(x.rows());
                Ok(f)
            };
            let mmse = Average::of(&self.mmse(t, &mut denoise)?);
            let mut flipd = self.flipd(t, &mut denoise)?;
            let gaps = self.rank_gaps(t, &mut denoise)?;
            let clear: Vec<f64> = gaps.iter().flatten().map(|&k| k as f64).collect();
            let rank_gap_share = clear.len() as f64 / gaps.len().max(1) as f64;
            let told = clear.len() > 1 && rank_gap_share >= LEAST_SHARE;
            Ok(NoiseLevel {
                sigma: process.sigma(t),
                log_snr: process.log_snr(t),
                mmse,
                flipd: Average::of(&flipd),
                flipd_quartiles: quartiles(&mut flipd),
                rank_gap: told.then(|| Average::of(&clear)),
                rank_gap_share,
            })
        };
        (0..LEVELS).map(|level| at(time(level))).collect()
    }

    /// The MMSE dimension of each row.
    fn mmse(&self, t: f64, denoise: Denoise<'_, T>) -> Result<Vec<f64>> {
        let (n, d, chunks) = (self.rows.rows(), self.rows.columns(), self.rows.rows().div_ceil(CHUNK));
        let mut sums = vec![0.0; n];
        for draw in 0..DRAWS {
            let mut noise = Panels::<T>::zeros(n, d);
            let mut streams = chunk_streams(self.seed, Purpose::Estimate, draw * chunks, chunks);
            fill_normal(&mut noise, &mut streams, self.par);
            let sigma = self.process.sigma(t);
            let f = denoise(&self.moved(t, &|row, i| sigma * noise.get(row, i).to_f64()))?;
            sums.iter_mut().enumerate().for_each(|(row, sum)| *sum += self.square(&f, row));
        }
        let scale = 1.0 / (DRAWS as f64 * self.process.sigma(t).powi(2));
        Ok(sums.into_iter().map(|sum| scale * sum).collect())
    }

    /// FLIPD of each row.
    fn flipd(&self, t: f64, denoise: Denoise<'_, T>) -> Result<Vec<f64>> {
        let (n, p, sigma) = (self.rows.rows(), self.columns, self.process.sigma(t));
        let f = denoise(&self.moved(t, &|_, _| 0.0))?;
        let mut values: Vec<f64> = (0..n).map(|row| self.square(&f, row) / (sigma * sigma)).collect();
        let (step, chunks, count) = (STEP * sigma, n.div_ceil(CHUNK), p.min(DIRECTIONS));
        let share = if p > DIRECTIONS { 1.0 / count as f64 } else { 1.0 };
        for k in 0..count {
            let signs = (p > DIRECTIONS).then(|| {
                let mut signs = Panels::<T>::zeros(n, p);
                fill_normal(&mut signs, &mut chunk_streams(self.seed, Purpose::Probes, k * chunks, chunks), self.par);
                signs
            });
            let direction = |row: usize, i: usize| match &signs {
                _ if i >= p => 0.0,
                Some(signs) => 1f64.copysign(signs.get(row, i).to_f64()),
                None => f64::from(u8::from(i == k)),
            };
            let above = denoise(&self.moved(t, &|row, i| step * direction(row, i)))?;
            let below = denoise(&self.moved(t, &|row, i| -step * direction(row, i)))?;
            for (row, value) in values.iter_mut().enumerate() {
                let change = |i| direction(row, i) * (above.get(row, i).to_f64() - below.get(row, i).to_f64());
                *value += share * (0..p).map(change).sum::<f64>() / (2.0 * step);
            }
        }
        Ok(values)
    }

    /// The rank gap of each of the first rows; none where it is not clear.
    fn rank_gaps(&self, t: f64, denoise: Denoise<'_, T>) -> Result<Vec<Option<usize>>> {
        let (n, d, p) = (self.rows.rows(), self.rows.columns(), self.columns);
        let (rows, scores) = (ranked(n, p), SCORES * p);
        let mut streams = chunk_streams(self.seed, Purpose::Estimate, DRAWS * n.div_ceil(CHUNK), rows);
        let (alpha, spread) = (self.process.alpha(t), self.process.sqrt_h(t));
        let mut gaps = Vec::with_capacity(rows);
        let together = (BATCH / scores).max(1);
        for first in (0..rows).step_by(together) {
            let these = together.min(rows - first);
            let mut x = Panels::zeros(these * scores, d);
            for row in 0..these {
                let stream = &mut streams[first + row];
                for score in 0..scores {
                    for i in 0..d {
                        let clean = self.rows.get(first + row, i).to_f64();
                        x.set(row * scores + score, i, T::from_f64(alpha * clean + spread * normal::<f64>(stream)));
                    }
                }
            }
            let f = denoise(&x)?;
            for row in 0..these {
                // h / alpha times the scores: a factor moves no gap.
                let score = |j: usize, i: usize| f.get(j, i).to_f64() - x.get(j, i).to_f64() / alpha;
                gaps.push(gap(&Mat::from_fn(scores, p, |j, i| score(row * scores + j, i)))?);
            }
        }
        Ok(gaps)
    }

    /// `alpha (x0 + shift(row, column))`.
    fn moved(&self, t: f64, shift: &dyn Fn(usize, usize) -> f64) -> Panels<T> {
        let alpha = self.process.alpha(t);
        let mut x = Panels::zeros(self.rows.rows(), self.rows.columns());
        for row in 0..x.rows() {
            for i in 0..x.columns() {
                x.set(row, i, T::from_f64(alpha * (self.rows.get(row, i).to_f64() + shift(row, i))));
            }
        }
        x
    }

    /// Squared distance of an estimate from its clean row, over the columns that are measured.
    fn square(&self, f: &Panels<T>, row: usize) -> f64 {
        (0..self.columns).map(|i| (f.get(row, i).to_f64() - self.rows.get(row, i).to_f64()).powi(2)).sum()
    }
}

/// `p - argmax_i (s_i - s_(i+1))` of scores (K x p), so from 1 to p - 1; none if that gap is not clear.
fn gap(scores: &Mat<f64>) -> Result<Option<usize>> {
    let p = scores.ncols();
    let mut gram = Mat::zeros(p, p);
    foreign(Par::Seq, || matmul(gram.as_mut(), Accum::Replace, scores.transpose(), scores.as_ref(), 1.0, Par::Seq));
    let spectrum = Spectrum::of_gram(gram.as_ref())?;
    let singular: Vec<f64> = spectrum.values().iter().map(|value| value.sqrt()).collect();
    let mut widest = (0.0, None);
    for (i, pair) in singular.windows(2).enumerate() {
        if pair[0] - pair[1] > widest.0 {
            widest = (pair[0] - pair[1], (pair[0] >= CLEAR * pair[1]).then_some(p - 1 - i));
        }
    }
    Ok(widest.1)
}

/// Quartiles, each the nearest value; sorts.
fn quartiles(values: &mut [f64]) -> [f64; 3] {
    values.sort_unstable_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[((values.len() - 1) * quarter + 2) / 4])
}
