//! The denoiser of rows of which some coordinates are known.
//!
//! The sampler needs `E[X_0 | X_t of the free coordinates, X_0 of the known ones]`. The base knows it in closed form
//! (`mixture::given`): known coordinates act on it without noise, at every time. The networks were trained on rows whose coordinates
//! are all equally noisy; they read the known ones with the noise of the time, and what they add to the base stays theirs. Known
//! coordinates themselves are returned as they are, which makes every sampler carry them along their noisy truth
//! `alpha x + sqrt(h) eps`: replacement needs nothing else. At high noise the base decides and is right; at low noise the noisy truth
//! is nearly the truth. Replacement alone, without the conditional base, does not know at high noise what is known, and moves
//! samples towards the unconditional distribution.

use std::collections::HashMap;

use faer::Mat;

use super::layout::Layout;
use super::mixture::{Conditioner, GivenRow, GivenScratch, Mixture, Pattern};
use super::score_model::{Passes, ScoreModel};
use crate::diffusion::denoiser::Denoiser;
use crate::kernels::share::for_each_item;
use crate::kernels::{PANEL, Panels};
use crate::random::{CHUNK, Purpose, chunk_streams};
use crate::simd::{Kernel, Lanes, Level};
use crate::{Error, Result};

/// Rows of one pattern from which what they share is kept for all of them; rarer patterns keep it while rows follow each other.
const SHARED: usize = 64;
/// Log-probability of a code that may not be: its exponential is zero.
const NEVER: f32 = -1e4;

/// What is known of rows: some of their numbers, and which codes each block may have.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    layout: Layout,
    rows: usize,
    /// rows x p; NaN where a number is not known.
    numbers: Vec<f32>,
    /// rows x codes.
    allowed: Vec<bool>,
}

impl Known {
    /// Nothing is known of `rows` rows.
    pub fn nothing(layout: &Layout, rows: usize) -> Self {
        let numbers = vec![f32::NAN; rows * layout.numerical];
        Self { layout: layout.clone(), rows, numbers, allowed: vec![true; rows * layout.one_hot()] }
    }

    /// The numbers of a row, NaN where they are not known; to be changed.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn numbers_mut(&mut self, row: usize) -> &mut [f32] {
        let p = self.layout.numerical;
        &mut self.numbers[row * p..][..p]
    }

    /// Whether each code of a row may be, block after block; to be changed. Some code of each block must be left.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn allowed_mut(&mut self, row: usize) -> &mut [bool] {
        let c = self.layout.one_hot();
        &mut self.allowed[row * c..][..c]
    }

    fn numbers(&self, row: usize) -> &[f32] {
        &self.numbers[row * self.layout.numerical..][..self.layout.numerical]
    }

    fn allowed(&self, row: usize) -> &[bool] {
        &self.allowed[row * self.layout.one_hot()..][..self.layout.one_hot()]
    }

    /// The same for a model that takes codes as numbers, less `means`: a block is known if one code is left.
    fn as_numbers(&self, means: &[f32]) -> Self {
        let d = self.layout.width();
        let layout = Layout { numerical: d, blocks: Vec::new() };
        let mut known = Self::nothing(&layout, self.rows);
        let p = self.layout.numerical;
        for row in 0..self.rows {
            let numbers = known.numbers_mut(row);
            numbers[..p].copy_from_slice(self.numbers(row));
            for range in self.layout.ranges() {
                let allowed = &self.allowed(row)[range.clone()];
                if allowed.iter().filter(|may| **may).count() == 1 {
                    for (code, may) in range.zip(allowed) {
                        numbers[p + code] = f32::from(u8::from(*may)) - means[p + code];
                    }
                }
            }
        }
        known
    }
}

/// A [`ScoreModel`] given what is known of each row, with the buffers for denoising these rows.
pub struct ConditionalDenoiser<'a> {
    model: &'a ScoreModel,
    passes: Passes,
    known: Known,
    /// The mixture given each row; none without a mixture.
    given: Vec<GivenRow>,
}

impl ScoreModel {
    /// The denoiser of the rows of which something is known, on `workers` threads: [`Denoiser::denoise_into`] then takes
    /// exactly these rows.
    ///
    /// Without a mixture as base (the system as HRX have it) known coordinates are replaced, and nothing more.
    ///
    /// # Errors
    /// [`Error::Model`] if the layout is not the model's, or a block has no code left.
    pub(crate) fn conditional_denoiser(&self, known: &Known, workers: usize) -> Result<ConditionalDenoiser<'_>> {
        let parts = self.preconditioner().to_parts();
        let left = |row: usize| known.layout.ranges().all(|range| known.allowed(row)[range].contains(&true));
        if known.layout.width() != parts.layout.width() || !(0..known.rows).all(left) {
            return Err(Error::Model("what is known of the rows does not fit the model".into()));
        }
        let known = match known.layout == parts.layout {
            true => known.clone(),
            false if parts.layout.blocks.is_empty() => known.as_numbers(&parts.means),
            false => return Err(Error::Model("what is known of the rows does not fit the model".into())),
        };
        let given = parts.mixture.as_ref().map_or(Vec::new(), |mixture| given_rows(mixture, &known, workers));
        Ok(ConditionalDenoiser { model: self, passes: Passes::new(self.preconditioner(), workers), known, given })
    }
}

fn given_rows(mixture: &Mixture, known: &Known, workers: usize) -> Vec<GivenRow> {
    let conditioner = Conditioner::new(mixture);
    let key = |row: usize| known.numbers(row).iter().map(|x| x.is_nan()).collect::<Vec<bool>>();
    let mut counts: HashMap<Vec<bool>, (usize, usize)> = HashMap::new();
    (0..known.rows).for_each(|row| counts.entry(key(row)).or_insert((row, 0)).1 += 1);
    let common = counts.into_iter().filter(|(_, (_, count))| *count >= SHARED);
    let pattern = |row: usize| Pattern::of(known.numbers(row), mixture.components());
    let shared: HashMap<Vec<bool>, Pattern> = common.map(|(key, (row, _))| (key, pattern(row))).collect();
    let mut blocks: Vec<Vec<GivenRow>> = (0..known.rows.div_ceil(PANEL)).map(|_| Vec::with_capacity(PANEL)).collect();
    for_each_item(&mut blocks, &mut vec![(); workers.max(1)], &|_, block, given| {
        let mut last: Option<Pattern> = None;
        for row in block * PANEL..known.rows.min((block + 1) * PANEL) {
            let numbers = known.numbers(row);
            let pattern = match shared.get(&key(row)) {
                Some(pattern) => pattern,
                None => {
                    let rare = last.take().filter(|last| last.fits(numbers)).unwrap_or_else(|| pattern(row));
                    &*last.insert(rare)
                }
            };
            given.push(conditioner.row(pattern, numbers, known.allowed(row)));
        }
    });
    blocks.into_iter().flatten().collect()
}

impl ConditionalDenoiser<'_> {
    /// Clean rows (rows x d) drawn from the base given what is known: where sampling begins, see
    /// [`Start::Rows`](crate::diffusion::sampler::Start::Rows).
    pub fn starts(&self, seed: u64) -> Mat<f64> {
        let parts = self.model.preconditioner().to_parts();
        let (p, d) = (parts.layout.numerical, parts.layout.width());
        let rows = self.known.rows;
        let mut out = Mat::zeros(rows, d);
        let mut streams = chunk_streams(seed, Purpose::Conditions, 0, rows.div_ceil(CHUNK));
        let (mut numbers, mut codes) = (vec![0.0f32; p], Vec::new());
        for row in 0..rows {
            numbers.copy_from_slice(self.known.numbers(row));
            codes.clear();
            if let (Some(mixture), Some(given)) = (&parts.mixture, self.given.get(row)) {
                given.draw(mixture, &mut streams[row / CHUNK], &mut numbers, &mut codes);
            }
            for (i, &x) in numbers.iter().enumerate() {
                out[(row, i)] = if x.is_nan() { 0.0 } else { f64::from(x) };
            }
            for code in self.only_codes(row).chain(codes.iter().copied()) {
                out[(row, p + code)] = 1.0;
            }
            for (code, mean) in parts.means[p..].iter().enumerate() {
                out[(row, p + code)] -= f64::from(*mean);
            }
        }
        out
    }

    /// The codes of the blocks in which only one may be.
    fn only_codes(&self, row: usize) -> impl Iterator<Item = usize> + '_ {
        let allowed = self.known.allowed(row);
        self.known.layout.ranges().filter_map(move |range| {
            let mut may = range.filter(|&code| allowed[code]);
            may.next().filter(|_| may.next().is_none())
        })
    }
}

impl Denoiser<f32> for ConditionalDenoiser<'_> {
    fn dimension(&self) -> usize {
        self.model.dimension()
    }

    fn denoise_into(&mut self, out: &mut Panels<f32>, x: &Panels<f32>, t: f64) -> Result<()> {
        let Self { model, passes, known, given } = self;
        let (preconditioner, process) = (model.preconditioner(), model.process());
        let parts = preconditioner.to_parts();
        let (p, d) = (parts.layout.numerical, model.dimension());
        x.expect_shape("the noisy rows", known.rows, d)?;
        out.expect_shape("the denoised rows", known.rows, d)?;
        passes.resize(known.rows, preconditioner);
        passes.run(preconditioner, model.stages(), &|block, rows| {
            rows.levels.set_all(process, t);
            rows.x.copy_from_slice(x.block(block));
        })?;
        let level = Level::current();
        passes.for_each_block(out, &|block, rows, out| {
            let first = block * PANEL;
            let count = x.rows_in(block);
            if let (Some(mixture), false) = (&parts.mixture, given.is_empty()) {
                level.run(GivenBlock { mixture, given: &given[first..first + count], rows });
            }
            for lane in 0..count {
                for (code, &may) in known.allowed(first + lane).iter().enumerate() {
                    if !may {
                        rows.base[p + code].0[lane] = NEVER;
                    }
                }
            }
            preconditioner.value_into(rows, out);
            for lane in 0..PANEL {
                let numbers = if lane < count { known.numbers(first + lane) } else { &[] };
                for (out, &x) in out.iter_mut().zip(numbers).filter(|(_, x)| !x.is_nan()) {
                    out.0[lane] = x;
                }
                if lane >= count {
                    out.iter_mut().for_each(|out| out.0[lane] = 0.0);
                }
            }
        });
        Ok(())
    }
}

/// The base values of 64 rows given what is known of them.
struct GivenBlock<'a> {
    mixture: &'a Mixture,
    given: &'a [GivenRow],
    rows: &'a mut super::row_block::RowBlock,
}

impl Kernel for GivenBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, _: S) {
        let Self { mixture, given, rows } = self;
        let (p, c) = (mixture.layout.numerical, mixture.layout.one_hot());
        let (mut x, mut likelihood) = (vec![0.0; p], vec![0.0; c]);
        let (mut means, mut chances) = (vec![0.0; p], vec![0.0; c]);
        let mut scratch = GivenScratch::default();
        for (lane, given) in given.iter().enumerate() {
            x.iter_mut().zip(&rows.x).for_each(|(x, from)| *x = from.0[lane]);
            likelihood.iter_mut().zip(&rows.likelihood).for_each(|(l, from)| *l = from.0[lane]);
            // What is not open or free keeps the value it had.
            let (numbers, codes) = rows.base.split_at(p);
            means.iter_mut().zip(numbers).for_each(|(m, from)| *m = from.0[lane]);
            chances.iter_mut().zip(codes).for_each(|(m, from)| *m = from.0[lane]);
            let level = [rows.levels.alpha.0[lane], rows.levels.h.0[lane]];
            given.posterior(mixture, level, &x, &mut likelihood, [&mut means, &mut chances], &mut scratch);
            for (base, value) in rows.base.iter_mut().zip(means.iter().chain(&chances)) {
                base.0[lane] = *value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diffusion::process::{ForwardProcess, Schedule};
    use crate::diffusion::sampler::{Method, Sampler, Start};
    use crate::model::preconditioner::{Base, Preconditioner, PreconditionerParts};
    use faer::Par;

    /// A direction in degrees, variances along and across it.
    type Ellipse = (f64, [f64; 2]);
    const ELLIPSES: [Ellipse; 3] = [(40.0, [0.9, 0.02]), (-35.0, [0.6, 0.05]), (10.0, [0.3, 0.2])];
    const MEANS: [[f64; 2]; 3] = [[-0.9, -0.7], [0.8, 0.5], [0.6, -1.0]];
    const WEIGHTS: [f64; 3] = [0.5, 0.3, 0.2];
    const LEVELS: [[f64; 3]; 3] = [[0.7, 0.295, 0.005], [0.1, 0.88, 0.02], [0.3, 0.3, 0.4]];

    /// Two numbers and a block of three codes, three components, nothing above them.
    fn model() -> ScoreModel {
        let layout = Layout { numerical: 2, blocks: vec![3] };
        let axes = ELLIPSES.iter().flat_map(|(angle, _)| {
            let (sin, cos) = angle.to_radians().sin_cos();
            [cos, sin, -sin, cos].map(|x| x as f32)
        });
        let mixture = Mixture {
            layout: layout.clone(),
            log_weights: WEIGHTS.map(|w| w.ln() as f32).to_vec(),
            means: MEANS.iter().flatten().map(|x| *x as f32).collect(),
            axes: axes.collect(),
            variances: ELLIPSES.iter().flat_map(|(_, s)| s.map(|x| x as f32)).collect(),
            levels: LEVELS.iter().flatten().map(|x| *x as f32).collect(),
        };
        let frequency = |code: usize| WEIGHTS.iter().zip(LEVELS).map(|(w, p)| w * p[code]).sum::<f64>() as f32;
        let process = ForwardProcess::new(Schedule::LOG_SNR, 0.0, 1.0).unwrap();
        let parts = PreconditionerParts {
            base: Base::Mixture,
            times: [0.0, 1.0],
            means: vec![0.0, 0.0, frequency(0), frequency(1), frequency(2)],
            variances: vec![1.0; 5],
            scales: vec![1.0; 2 * crate::model::noise_level::GRID],
            contrasts: Default::default(),
            radius: 10.0,
            mixture: Some(mixture),
            layout,
        };
        ScoreModel::new(process, Preconditioner::from_parts(parts).unwrap(), Vec::new()).unwrap()
    }

    /// Covariance of a component.
    fn covariance((angle, [along, across]): Ellipse) -> [f64; 3] {
        let (sin, cos) = angle.to_radians().sin_cos();
        [along * cos * cos + across * sin * sin, (along - across) * sin * cos, along * sin * sin + across * cos * cos]
    }

    fn run(model: &ScoreModel, known: &Known, method: Method) -> Panels<f32> {
        let mut denoiser = model.conditional_denoiser(known, 2).unwrap();
        let mut sampler = Sampler { batch: known.rows, ..Sampler::new(method, 40) };
        sampler.start = Start::Rows { rows: denoiser.starts(3) };
        sampler.run(model.process(), &mut denoiser, known.rows, 3, Par::rayon(2), &mut |_, _| ()).unwrap()
    }

    /// Mean, deviation, and the shares of the codes.
    fn summary(rows: &Panels<f32>, model: &ScoreModel, column: usize) -> ([f64; 2], [f64; 3]) {
        let n = rows.rows() as f64;
        let of = |column: usize| (0..rows.rows()).map(move |row| f64::from(rows.get(row, column)));
        let mean = of(column).sum::<f64>() / n;
        let spread = (of(column).map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
        let means = &model.preconditioner().to_parts().means;
        let share = |code: usize| of(2 + code).filter(|x| x + f64::from(means[2 + code]) > 0.5).count() as f64 / n;
        ([mean, spread], [0, 1, 2].map(share))
    }

    #[test]
    fn numbers_given_a_number_and_a_set_of_levels_follow_the_exact_conditional() {
        let model = model();
        for method in [Method::Heun, Method::DpmSolver] {
            for z in [-0.6, 0.3, 1.5] {
                let mut known = Known::nothing(&Layout { numerical: 2, blocks: vec![3] }, 4000);
                for row in 0..known.rows {
                    known.numbers_mut(row)[0] = z as f32;
                    known.allowed_mut(row)[0] = false;
                }
                let rows = run(&model, &known, method);
                let ([mean, spread], shares) = summary(&rows, &model, 1);
                let mut parts = Vec::new();
                for k in 0..3 {
                    let [a, b, c] = covariance(ELLIPSES[k]);
                    let off = z - MEANS[k][0];
                    let weight = WEIGHTS[k] * (1.0 - LEVELS[k][0]) * (-0.5 * off * off / a).exp() / a.sqrt();
                    parts.push((weight, MEANS[k][1] + b / a * off, c - b * b / a, LEVELS[k][1] / (1.0 - LEVELS[k][0])));
                }
                let total: f64 = parts.iter().map(|part| part.0).sum();
                type Part = (f64, f64, f64, f64);
                let average = |f: &dyn Fn(&Part) -> f64| parts.iter().map(|p| p.0 * f(p)).sum::<f64>() / total;
                let wanted = average(&|p| p.1);
                let deviation = (average(&|p| p.2 + p.1 * p.1) - wanted * wanted).sqrt();
                let share = average(&|p| p.3);
                let error = 4.0 / 4000f64.sqrt();
                assert!(
                    (mean - wanted).abs() < error * deviation + 0.01,
                    "{method:?} {z}: mean {mean}, wanted {wanted}"
                );
                assert!(
                    (spread / deviation - 1.0).abs() < 0.06,
                    "{method:?} {z}: deviation {spread}, wanted {deviation}"
                );
                assert!(
                    shares[0] == 0.0 && (shares[1] - share).abs() < 0.03,
                    "{method:?} {z}: {shares:?}, wanted {share}"
                );
                assert!((0..rows.rows()).all(|row| rows.get(row, 0) == z as f32), "known numbers stay as they are");
            }
        }
    }

    #[test]
    fn everything_given_a_rare_level_follows_the_exact_conditional() {
        let model = model();
        let mut known = Known::nothing(&Layout { numerical: 2, blocks: vec![3] }, 4000);
        (0..known.rows).for_each(|row| known.allowed_mut(row)[..2].fill(false));
        let rows = run(&model, &known, Method::Heun);
        #[allow(clippy::needless_range_loop)] // The column is looked up in three tables.
        for column in 0..2 {
            let ([mean, spread], shares) = summary(&rows, &model, column);
            let weights = [0, 1, 2].map(|k| WEIGHTS[k] * LEVELS[k][2]);
            let total: f64 = weights.iter().sum();
            let average = |f: &dyn Fn(usize) -> f64| (0..3).map(|k| weights[k] * f(k)).sum::<f64>() / total;
            let wanted = average(&|k| MEANS[k][column]);
            let variance = |k: usize| covariance(ELLIPSES[k])[2 * column];
            let deviation = (average(&|k| variance(k) + MEANS[k][column].powi(2)) - wanted * wanted).sqrt();
            assert!((mean - wanted).abs() < 0.05 * deviation, "{mean}, wanted {wanted}");
            assert!((spread / deviation - 1.0).abs() < 0.05, "{spread}, wanted {deviation}");
            assert_eq!(shares, [0.0, 0.0, 1.0]);
        }
    }

    #[test]
    fn rows_do_not_depend_on_threads_or_on_what_is_known_of_others() {
        let model = model();
        let layout = Layout { numerical: 2, blocks: vec![3] };
        // More rows than share a pattern, and rows of every pattern between them.
        let known = |rows: usize| {
            let mut known = Known::nothing(&layout, rows);
            for row in 0..rows {
                match row % 5 {
                    0 => known.numbers_mut(row)[0] = 0.5,
                    1 => known.numbers_mut(row).copy_from_slice(&[0.1, -0.4]),
                    2 => known.allowed_mut(row)[row % 3] = false,
                    _ => {}
                }
            }
            known
        };
        let run = |rows: usize, threads: usize| {
            let known = known(rows);
            let mut denoiser = model.conditional_denoiser(&known, threads).unwrap();
            let mut sampler = Sampler { batch: rows, ..Sampler::new(Method::Heun, 6) };
            sampler.start = Start::Rows { rows: denoiser.starts(1) };
            sampler.run(model.process(), &mut denoiser, rows, 1, Par::rayon(threads), &mut |_, _| ()).unwrap()
        };
        let many = run(700, 1);
        assert_eq!(many, run(700, 3));
        let few = run(70, 1);
        // Noise is drawn block by block, so that only whole blocks have the same.
        assert!((0..64).all(|row| (0..5).all(|column| few.get(row, column) == many.get(row, column))));
        let mut nothing_left = known(3);
        nothing_left.allowed_mut(1).fill(false);
        assert!(model.conditional_denoiser(&nothing_left, 1).is_err());
    }
}
