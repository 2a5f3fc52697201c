//! What stands between the data and the network: a closed-form base denoiser, its residual scale, and the network's inputs.
//!
//! The stopping rule and least squares both like noise of one size. So the network does not regress `X_0` itself but
//! `(X_0 - b(x,t)) / c(t)`, with a base denoiser `b` and its residual scale `c`, and its inputs have unit variance (the
//! preconditioning of Karras et al. 2022, carried over). The estimate keeps the form `f = b + c net` of HRX section 3. Blocks
//! of one-hot columns have a canonical link instead: `f = softmax(o + net)`, with `o` the log-posterior of the block under the
//! base; trained by cross-entropy, whose derivative by the network's output is again prediction - label.
//!
//! Several networks may stand above one base, each reading what those before it made of the row. Their outputs add.
//!
//! Everything here works on blocks of 64 rows side by side (`RowBlock`), each row at its own time.

use std::time::Instant;

use faer::{Mat, MatRef};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::contrasts::{Contrasts, OwnUnits, UNITS};
use super::layout::{DataSource, Layout};
use super::mixture::{self, Posterior, Scratch};
use super::noise_level::{GRID, NoiseLevels, TIME_INPUTS};
pub use super::parts::{Base, PreconditionerParts};
use super::row_block::{CleanBlock, Inputs, Likelihoods, Residual, RowBlock, Value};
use crate::diffusion::process::ForwardProcess;
use crate::kernels::share::for_each_item;
use crate::kernels::{Lane64, PANEL};
use crate::network::ALWAYS;
use crate::random::{Purpose, chunk_streams, normal};
use crate::simd::Level;
use crate::{Error, Result};

type Lane = Lane64<f32>;
const ZERO: Lane = Lane64([0.0; PANEL]);

/// Most components of the mixture under a table's network.
const COMPONENTS: usize = 128;
/// Noisy rows from which the residual scale at each time is measured.
const SCALE_ROWS: usize = 2048;
/// Smallest residual scale.
const LEAST_SCALE: f32 = 1e-4;
/// Base denoiser, residual scales and input transform, fitted to data.
#[derive(Debug, Clone, PartialEq)]
pub struct Preconditioner {
    parts: PreconditionerParts,
}

impl Preconditioner {
    /// Fits the base to the rows of `train` under `process`; rows of `held` choose the size of a mixture and measure its error. A
    /// mixture has as many components as can be fitted `until` then, but one at least.
    ///
    /// # Errors
    /// [`Error::Empty`] without rows or columns, [`Error::NotFinite`] if the data are not finite.
    pub fn fit(
        base: Base,
        train: &dyn DataSource,
        held: Option<&dyn DataSource>,
        process: &ForwardProcess,
        workers: usize,
        seed: u64,
        until: Option<Instant>,
    ) -> Result<Self> {
        let mut layout = train.layout().clone();
        if train.rows() == 0 || layout.width() == 0 {
            return Err(Error::Empty { what: "the data", unit: "row and column" });
        }
        if base != Base::Mixture {
            // Identity links: every column is a number.
            layout = Layout { numerical: layout.width(), blocks: Vec::new() };
        }
        let mut fitted = Self {
            parts: PreconditionerParts {
                base,
                times: [process.start(), process.end()],
                means: vec![0.0; layout.width()],
                variances: vec![0.0; layout.width()],
                mixture: None,
                scales: Vec::new(),
                contrasts: Contrasts::default(),
                radius: 0.0,
                layout,
            },
        };
        fitted.measure(train, seed)?;
        if base == Base::Zero {
            return Ok(fitted);
        }
        let held = held.filter(|held| held.rows() > 0);
        let most = if base == Base::Gaussian { 1 } else { COMPONENTS };
        let numbers = |source| AsNumbers { source, preconditioner: fitted.clone() };
        let mixture = if base == Base::Gaussian {
            mixture::fit(&numbers(train), None, most, workers, seed, until)?
        } else {
            mixture::fit(train, held, most, workers, seed, until)?
        };
        fitted.parts.mixture = Some(mixture);
        fitted.parts.scales = vec![1.0; GRID * fitted.parts.layout.numerical];
        fitted.parts.scales = match base {
            Base::Gaussian => fitted.gaussian_scales(process),
            _ => fitted.measure_scales(held.unwrap_or(train), process, workers, seed),
        };
        Ok(fitted)
    }

    /// The diffusion time of a cell of the grid of scales.
    fn time_of_cell(&self, cell: usize) -> f64 {
        let [start, end] = self.parts.times;
        start + (end - start) * cell as f64 / (GRID - 1) as f64
    }

    /// What the best linear denoiser leaves of each column at each time of the grid, in closed form: with principal axes `u_k` of variance
    /// `v_k`, the root of `sum_k u_ki^2 v_k h / (alpha^2 v_k + h)`. Measured on rows, a code that none of them has would have no scale.
    fn gaussian_scales(&self, process: &ForwardProcess) -> Vec<f32> {
        let Some(mixture) = &self.parts.mixture else { return Vec::new() };
        let d = self.parts.layout.numerical;
        let at = |cell: usize| {
            let t = self.time_of_cell(cell);
            let (gain, h) = (process.alpha(t).powi(2), process.h(t));
            let mut squares = vec![0.0; d];
            for (axis, &variance) in mixture.axes.chunks_exact(d).zip(&mixture.variances) {
                let variance = f64::from(variance);
                let left = variance * h / (gain * variance + h);
                squares.iter_mut().zip(axis).for_each(|(sum, &u)| *sum += left * f64::from(u).powi(2));
            }
            squares.into_iter().map(|square| (square.sqrt() as f32).max(LEAST_SCALE))
        };
        (0..GRID).flat_map(at).collect()
    }

    /// Adds to rows what codes are centred by, where a base takes them for numbers: the largest of a block is then its category. With
    /// links, codes end at a corner, where centring does not change which is largest.
    pub(crate) fn uncentre(&self, rows: &mut Mat<f64>, numbers: usize) {
        if self.parts.base == Base::Gaussian {
            for (j, &mean) in self.parts.means.iter().enumerate().skip(numbers) {
                rows.col_mut(j).iter_mut().for_each(|x| *x += f64::from(mean));
            }
        }
    }

    /// The same with these contrasts among the inputs of networks.
    pub(crate) fn with_contrasts(mut self, contrasts: Contrasts) -> Self {
        self.parts.contrasts = contrasts;
        self
    }

    /// Means, variances and radius of the data.
    fn measure(&mut self, source: &dyn DataSource, seed: u64) -> Result<()> {
        let (d, n) = (self.parts.layout.width(), source.rows());
        let (mut sums, mut squares) = (vec![0.0; d], vec![0.0; d]);
        let mut row = vec![0.0f32; d];
        let mut levels = vec![0; source.layout().blocks.len()];
        let [mut rng] = chunk_streams(seed, Purpose::Data, 1, 1).try_into().expect("one stream was asked for");
        // With all means zero the codes are drawn uncentred.
        let mut visit = |precondition: &Self, see: &mut dyn FnMut(&[f32])| {
            for j in 0..n {
                precondition.draw_row(source, j, &mut rng, &mut row, &mut levels);
                see(&row);
            }
        };
        visit(self, &mut |row| {
            for ((sum, square), &x) in sums.iter_mut().zip(&mut squares).zip(row) {
                *sum += f64::from(x);
                *square += f64::from(x) * f64::from(x);
            }
        });
        for i in 0..d {
            let mean = sums[i] / n as f64;
            if !squares[i].is_finite() {
                return Err(Error::NotFinite { what: "a column of the data", row: 0, column: i });
            }
            self.parts.variances[i] = ((squares[i] / n as f64 - mean * mean).max(0.0)) as f32;
            // The system as HRX have it takes the data as they are.
            self.parts.means[i] = if self.parts.base == Base::Zero { 0.0 } else { mean as f32 };
        }
        let mut largest = 0.0f64;
        visit(self, &mut |row| {
            largest = largest.max(row.iter().map(|&x| f64::from(x) * f64::from(x)).sum());
        });
        self.parts.radius = largest.sqrt();
        Ok(())
    }

    /// Root mean square of what the base leaves of each number at each time of the grid, on rows with fresh noise.
    fn measure_scales(&self, source: &dyn DataSource, process: &ForwardProcess, workers: usize, seed: u64) -> Vec<f32> {
        let p = self.parts.layout.numerical;
        let mut cells = vec![vec![0.0f32; p]; GRID];
        let worker = || (self.row_block(), self.scratch(), self.clean_block(source));
        let mut workspaces: Vec<_> = (0..workers.max(1)).map(|_| worker()).collect();
        for_each_item(&mut cells, &mut workspaces, &|(rows, scratch, clean), cell, scales| {
            let t = self.time_of_cell(cell);
            let [mut rng] = chunk_streams(seed, Purpose::Estimate, cell + 1, 1).try_into().expect("one stream");
            let mut squares = vec![0.0f64; p];
            rows.levels.set_all(process, t);
            for block in 0..SCALE_ROWS / PANEL {
                for lane in 0..PANEL {
                    let row = (block * PANEL + lane) * source.rows().max(SCALE_ROWS) / SCALE_ROWS % source.rows();
                    self.draw_into(source, row, lane, &mut rng, clean, rows);
                }
                self.evaluate_base(rows, scratch);
                for ((sum, clean), base) in squares.iter_mut().zip(&clean.values).zip(&rows.base) {
                    *sum += clean.0.iter().zip(&base.0).map(|(&x, &b)| f64::from(x - b).powi(2)).sum::<f64>();
                }
            }
            let scale = |sum: &f64| ((sum / SCALE_ROWS as f64).sqrt() as f32).max(LEAST_SCALE);
            scales.iter_mut().zip(&squares).for_each(|(to, sum)| *to = scale(sum));
        });
        cells.concat()
    }

    /// Takes up what [`Preconditioner::to_parts`] gave.
    ///
    /// # Errors
    /// [`Error::Model`] if the parts do not fit together or are not finite.
    pub fn from_parts(parts: PreconditionerParts) -> Result<Self> {
        let (d, p) = (parts.layout.width(), parts.layout.numerical);
        let PreconditionerParts { base, times, means, variances, mixture, scales, contrasts, radius, layout } = &parts;
        let grid = if *base == Base::Zero { 0 } else { GRID };
        let lengths = means.len() == d && variances.len() == d && scales.len() == grid * p;
        let finite = [means, variances, scales].into_iter().flatten().all(|x| x.is_finite());
        let positive = scales.iter().all(|&x| x > 0.0) && variances.iter().all(|&x| x >= 0.0) && *radius >= 0.0;
        let ordered = times[0] < times[1] && times.iter().all(|t| t.is_finite()) && radius.is_finite();
        let summed = contrasts.is_sound(p) && (*base == Base::Mixture || contrasts.sums.is_empty());
        let links = *base == Base::Mixture || layout.blocks.is_empty();
        let based = match mixture {
            None => *base == Base::Zero,
            Some(mixture) => *base != Base::Zero && mixture.layout == *layout && mixture.is_sound(),
        };
        if d > 0 && lengths && finite && positive && ordered && links && based && summed {
            Ok(Self { parts })
        } else {
            Err(Error::Model("the parts of the base denoiser do not fit together; fit the model again".into()))
        }
    }

    /// Everything that was learned.
    pub fn to_parts(&self) -> &PreconditionerParts {
        &self.parts
    }

    /// What the base is.
    pub fn base(&self) -> Base {
        self.parts.base
    }

    /// What the columns are; all are numbers except with [`Base::Mixture`].
    pub fn layout(&self) -> &Layout {
        &self.parts.layout
    }

    /// Radius R_0 of the ball around the origin that holds the data.
    pub fn radius(&self) -> f64 {
        self.parts.radius
    }

    /// Mean squared distance of a row of the data from the mean row.
    pub(crate) fn variance(&self) -> f64 {
        self.parts.variances.iter().map(|&v| f64::from(v)).sum()
    }

    /// Inputs of a network: D.
    pub fn inputs(&self) -> usize {
        self.input_groups().len()
    }

    /// For each input of a network the column of the table that it speaks of, or [`ALWAYS`] for what depends on time alone. All
    /// codes of a block are one column.
    pub(crate) fn input_groups(&self) -> Vec<usize> {
        let layout = &self.parts.layout;
        let p = layout.numerical;
        let numbers = || 0..p;
        let codes = || layout.ranges().enumerate().flat_map(move |(b, range)| range.map(move |_| p + b));
        match self.parts.base {
            Base::Zero => numbers().chain([ALWAYS]).collect(),
            Base::Gaussian => numbers().chain([ALWAYS; TIME_INPUTS]).collect(),
            Base::Mixture => {
                let numbers_thrice = numbers().chain(numbers()).chain(numbers());
                let steps = numbers().flat_map(|i| std::iter::repeat_n(i, self.parts.steps()));
                let columns = p + layout.blocks.len();
                // Each contrast is a column of its own.
                let sums = (0..self.parts.contrasts.inputs()).map(|i| columns + i / UNITS);
                numbers_thrice.chain(steps).chain(codes()).chain(sums).chain([ALWAYS; TIME_INPUTS]).collect()
            }
        }
    }

    pub(crate) fn row_block(&self) -> RowBlock {
        let (p, d) = (self.parts.layout.numerical, self.parts.layout.width());
        RowBlock {
            levels: NoiseLevels::new(),
            x: vec![ZERO; d],
            base: vec![ZERO; d],
            scale: vec![Lane64([1.0; PANEL]); p],
            outputs: vec![ZERO; d],
            value: vec![ZERO; d],
            likelihood: vec![ZERO; d - p],
            own: vec![OwnUnits::new(); p],
        }
    }

    pub(crate) fn clean_block(&self, source: &dyn DataSource) -> CleanBlock {
        let d = self.parts.layout.width();
        let levels = vec![0; PANEL * source.layout().blocks.len()];
        CleanBlock { values: vec![ZERO; d], levels, row: vec![0.0; d] }
    }

    /// Buffers of the mixture for one worker; none without one.
    pub(crate) fn scratch(&self) -> Option<Scratch> {
        self.parts.mixture.as_ref().map(Scratch::new)
    }

    /// Draws a row of data as the process sees it: numbers, and one-hot codes less their frequencies.
    pub(crate) fn draw_row(
        &self,
        source: &dyn DataSource,
        row: usize,
        rng: &mut Xoshiro256PlusPlus,
        clean: &mut [f32],
        levels: &mut [u32],
    ) {
        let layout = source.layout();
        let (numbers, codes) = clean.split_at_mut(layout.numerical);
        source.draw(row, rng, numbers, levels);
        for (x, mean) in codes.iter_mut().zip(&self.parts.means[layout.numerical..]) {
            *x = -mean;
        }
        for (range, &level) in layout.ranges().zip(levels.iter()) {
            codes[range.start + level as usize] += 1.0;
        }
    }

    /// Draws a row of data and its noise at the time of row `lane` of `rows`.
    pub(crate) fn draw_into(
        &self,
        source: &dyn DataSource,
        row: usize,
        lane: usize,
        rng: &mut Xoshiro256PlusPlus,
        clean: &mut CleanBlock,
        rows: &mut RowBlock,
    ) {
        let blocks = source.layout().blocks.len();
        let CleanBlock { values, levels, row: drawn } = clean;
        self.draw_row(source, row, rng, drawn, &mut levels[lane * blocks..][..blocks]);
        let (alpha, deviation) = (rows.levels.alpha.0[lane], rows.levels.deviation.0[lane]);
        for ((value, x), &clean) in values.iter_mut().zip(&mut rows.x).zip(drawn.iter()) {
            value.0[lane] = clean;
            x.0[lane] = alpha * clean + deviation * normal::<f32>(rng);
        }
    }

    /// Base values and scales of the noisy rows `rows.x` at their times; no network's outputs yet.
    pub(crate) fn evaluate_base(&self, rows: &mut RowBlock, scratch: &mut Option<Scratch>) {
        rows.outputs.fill(ZERO);
        let (Some(mixture), Some(scratch)) = (&self.parts.mixture, scratch) else { return };
        let level = Level::current();
        level.run(Likelihoods { parts: &self.parts, rows });
        let p = self.parts.layout.numerical;
        let RowBlock { levels, x, base, likelihood, .. } = rows;
        let (alpha, h, numbers) = (&levels.alpha, &levels.h, &x[..p]);
        level.run(Posterior { mixture, alpha, h, numbers, codes: likelihood, out: base, scratch });
    }

    /// The inputs (D) of the next network above those whose outputs `rows.outputs` sums up.
    pub(crate) fn inputs_into(&self, rows: &mut RowBlock, inputs: &mut [Lane]) {
        Level::current().run(Inputs { parts: &self.parts, rows, inputs });
    }

    /// The denoiser's value `f` (d) with the networks' outputs so far: numbers, and probabilities less frequencies.
    pub(crate) fn value_into(&self, rows: &mut RowBlock, out: &mut [Lane]) {
        Level::current().run(Value { parts: &self.parts, rows });
        let p = self.parts.layout.numerical;
        out.copy_from_slice(&rows.value);
        for (out, &mean) in out[p..].iter_mut().zip(&self.parts.means[p..]) {
            out.0.iter_mut().for_each(|x| *x -= mean);
        }
    }

    /// How a network sees noisy rows `x` (N x d), each at its own time: inputs (N x D), base values (N x d) and residual scales of
    /// the numbers (N x p).
    pub fn look(&self, process: &ForwardProcess, x: MatRef<'_, f32>, time: impl Fn(usize) -> f64) -> Seen {
        let (n, d, p) = (x.nrows(), self.parts.layout.width(), self.parts.layout.numerical);
        let mut seen = Seen { inputs: Mat::zeros(n, self.inputs()), base: Mat::zeros(n, d), scale: Mat::zeros(n, p) };
        let (mut rows, mut scratch) = (self.row_block(), self.scratch());
        let mut inputs = vec![ZERO; self.inputs()];
        for first in (0..n).step_by(PANEL) {
            let count = PANEL.min(n - first);
            for lane in 0..count {
                rows.levels.set(lane, process, time(first + lane));
                (0..d).for_each(|i| rows.x[i].0[lane] = x[(first + lane, i)]);
            }
            self.evaluate_base(&mut rows, &mut scratch);
            self.inputs_into(&mut rows, &mut inputs);
            for lane in 0..count {
                let copy = |to: &mut Mat<f32>, from: &[Lane]| {
                    from.iter().enumerate().for_each(|(i, x)| to[(first + lane, i)] = x.0[lane]);
                };
                copy(&mut seen.inputs, &inputs);
                copy(&mut seen.base, &rows.base);
                copy(&mut seen.scale, &rows.scale);
            }
        }
        seen
    }

    /// Derivative of the loss by the outputs of the last network, whose outputs are in `outputs` (d), in place; and the losses,
    /// summed over the first `count` rows: half the squared residual `(X_0 - b) / c - u` of each number, and the cross-entropy of
    /// each block; `weights` stand before the two sums. Derivatives of rows from `count` on are zero.
    pub(crate) fn residual(
        &self,
        rows: &mut RowBlock,
        clean: &CleanBlock,
        count: usize,
        weights: [f32; 2],
        outputs: &mut [Lane],
    ) -> [f64; 2] {
        Level::current().run(Residual { parts: &self.parts, rows, clean, count, weights, outputs })
    }
}

/// What [`Preconditioner::look`] sees.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Network inputs, N x D.
    pub inputs: Mat<f32>,
    /// Base values, N x d.
    pub base: Mat<f32>,
    /// Residual scales, N x numbers.
    pub scale: Mat<f32>,
}

/// Every column of a source as a number.
struct AsNumbers<'a> {
    source: &'a dyn DataSource,
    preconditioner: Preconditioner,
}

impl DataSource for AsNumbers<'_> {
    fn rows(&self) -> usize {
        self.source.rows()
    }

    fn layout(&self) -> &Layout {
        self.preconditioner.layout()
    }

    fn draw(&self, row: usize, rng: &mut Xoshiro256PlusPlus, numbers: &mut [f32], _: &mut [u32]) {
        let mut levels = vec![0; self.source.layout().blocks.len()];
        self.preconditioner.draw_row(self.source, row, rng, numbers, &mut levels);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diffusion::process::Schedule;
    use crate::model::layout::MatrixSource;
    use crate::random::stream;

    #[test]
    fn what_a_gaussian_base_leaves_is_what_is_measured() {
        let mut rng = stream(5, Purpose::Data);
        let mut data = Mat::<f32>::zeros(4000, 3);
        for i in 0..data.nrows() {
            let [a, b, c] = [(); 3].map(|()| normal::<f32>(&mut rng));
            // The second column is nearly the first, the third is narrow.
            (data[(i, 0)], data[(i, 1)], data[(i, 2)]) = (a, a + 0.1 * b, 0.02 * c);
        }
        let source = MatrixSource::new(data);
        let process = ForwardProcess::new(Schedule::LOG_SNR, 0.0, 1.0).unwrap();
        let fitted = Preconditioner::fit(Base::Gaussian, &source, None, &process, 2, 1, None).unwrap();
        let measured = fitted.measure_scales(&source, &process, 2, 1);
        for (closed, measured) in fitted.parts.scales.iter().zip(&measured) {
            assert!((closed / measured - 1.0).abs() < 0.06, "{closed} {measured}");
        }
    }
}
