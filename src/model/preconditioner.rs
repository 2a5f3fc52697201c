//! What stands between the data and the network: a closed-form base denoiser, its residual scale, and the network's inputs.
//!
//! The stopping rule and least squares both like noise of one size. So the network does not regress `X_0` itself but
//! `(X_0 - b(x,t)) / c(t)`, with a base denoiser `b` and its residual scale `c`, and its inputs have unit variance (the
//! preconditioning of Karras et al. 2022, carried over). The estimate keeps the form `f = b + c net` of HRX section 3. Blocks
//! of one-hot columns have a canonical link instead: `f = softmax(o + net)`, with `o` the exact log-posterior of the block
//! under independent columns; trained by cross-entropy, whose derivative by the network's output is again prediction - label.

use faer::linalg::matmul::matmul;
use faer::linalg::solvers::Solve;
use faer::{Accum, Mat, Par, Side};
use rand_xoshiro::Xoshiro256PlusPlus;
use rayon::prelude::*;

use crate::diffusion::process::ForwardProcess;
use crate::random::{Purpose, chunk_streams, normal};
use crate::{Error, Result};

/// Which columns of a matrix are numbers and which are blocks of one-hot codes: first the numbers, then the blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// How many leading columns are numbers.
    pub numerical: usize,
    /// Width of each one-hot block that follows.
    pub blocks: Vec<usize>,
}

impl Layout {
    /// Columns in all: the data dimension d.
    pub fn width(&self) -> usize {
        self.numerical + self.one_hot()
    }

    /// Columns in one-hot blocks.
    pub fn one_hot(&self) -> usize {
        self.blocks.iter().sum()
    }

    /// The blocks as ranges of the one-hot columns, the first starting at 0.
    fn ranges(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        self.blocks.iter().scan(0, |end, &size| {
            let start = *end;
            *end += size;
            Some(start..*end)
        })
    }
}

/// Rows of data that can be drawn again and again, such as a table whose ties are spread anew each time.
pub trait DataSource: Sync {
    /// Number of rows.
    fn rows(&self) -> usize;
    /// What the columns are.
    fn layout(&self) -> &Layout;
    /// Draws row `row`: its numbers, and for each one-hot block the index of the column that is one.
    fn draw(&self, row: usize, rng: &mut Xoshiro256PlusPlus, numbers: &mut [f32], levels: &mut [u32]);
}

/// A matrix of numbers as a [`DataSource`].
#[derive(Debug, Clone)]
pub struct MatrixSource {
    rows: Mat<f32>,
    layout: Layout,
}

impl MatrixSource {
    /// The rows of a matrix, all of whose columns are numbers.
    pub fn new(rows: Mat<f32>) -> Self {
        Self { layout: Layout { numerical: rows.ncols(), blocks: Vec::new() }, rows }
    }
}

impl DataSource for MatrixSource {
    fn rows(&self) -> usize {
        self.rows.nrows()
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn draw(&self, row: usize, _: &mut Xoshiro256PlusPlus, numbers: &mut [f32], _: &mut [u32]) {
        for (i, x) in numbers.iter_mut().enumerate() {
            *x = self.rows[(row, i)];
        }
    }
}

/// Number of times at which the base denoiser is fitted; between them it is interpolated.
const GRID: usize = 49;
/// Rows that take part in fitting the base at each time, and how many are taken at once.
const BASE_ROWS: usize = 40_000;
const CHUNK: usize = 512;
/// Ridge penalty per sample, on inputs of unit variance.
const RIDGE: f64 = 1e-4;
/// Inputs that depend on time alone.
const TIME_INPUTS: usize = 4;
/// Added to the variance of posterior means, so that rare categories do not become huge inputs.
const RARE: f32 = 0.02;

/// Which base denoiser stands under the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Base {
    /// `b = 0`, `c = 1`, identity links, inputs `(x, t - T0)`: the system as HRX have it.
    Zero,
    /// The best linear denoiser, which is the posterior mean of Gaussian data, by a ridge regression per noise level;
    /// identity links, every column a number, inputs of unit variance. Theory's statements hold for the residual.
    Gaussian,
    /// Each column's own posterior mean, then a ridge regression per noise level on all columns; softmax links on one-hot
    /// blocks; outputs that vanish with the signal.
    Columns,
}

impl Base {
    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Base::Zero => "zero",
            Base::Gaussian => "gaussian",
            Base::Columns => "columns",
        }
    }

    /// The base of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        [Base::Zero, Base::Gaussian, Base::Columns].into_iter().find(|b| b.name() == name)
    }
}

/// Base denoiser, residual scales and input transform, fitted to data.
#[derive(Debug, Clone, PartialEq)]
pub struct Preconditioner {
    parts: PreconditionerParts,
}

/// Everything a [`Preconditioner`] has learned, in plain data: for storing it.
#[derive(Debug, Clone, PartialEq)]
pub struct PreconditionerParts {
    /// Which base denoiser.
    pub base: Base,
    /// What the columns are; with [`Base::Zero`] all are numbers.
    pub layout: Layout,
    /// First and last time, T0 and T.
    pub times: [f64; 2],
    /// Means of all columns: of the numbers, and the frequencies of the one-hot columns (whose codes are centred by them).
    /// Zero with [`Base::Zero`].
    pub means: Vec<f32>,
    /// Variances of all columns.
    pub variances: Vec<f32>,
    /// Ridge coefficients, grid of times x (features + 1) x numbers; empty without.
    pub ridge: Vec<f32>,
    /// Residual scales, grid of times x numbers; empty without.
    pub scales: Vec<f32>,
    /// Largest norm of a row of the data: the radius R_0 of HRX.
    pub radius: f64,
}

/// What depends on the time alone.
#[derive(Debug, Clone, Copy)]
pub struct NoiseLevel {
    alpha: f32,
    h: f32,
    elapsed: f32,
    gain: f32,
    cell: usize,
    share: f32,
    waves: [f32; TIME_INPUTS],
}

impl NoiseLevel {
    /// The forward process: `alpha X_0 + sqrt(h) eps`.
    pub fn perturb(&self, clean: &[f32], noisy: &mut [f32], rng: &mut Xoshiro256PlusPlus) {
        let deviation = self.h.sqrt();
        for (noisy, &clean) in noisy.iter_mut().zip(clean) {
            *noisy = self.alpha * clean + deviation * normal::<f32>(rng);
        }
    }
}

/// One row on its way through the denoiser.
#[derive(Debug, Clone)]
pub struct RowBuffer {
    /// The network's inputs.
    pub inputs: Vec<f32>,
    /// Base values of the numbers, then log-posteriors of the one-hot columns.
    pub base: Vec<f32>,
    /// Residual scales of the numbers.
    pub scale: Vec<f32>,
    /// Factor on all of the network's outputs: `alpha`, because at high noise there is little left to learn and much noise to
    /// learn it from.
    pub gain: f32,
}

impl Preconditioner {
    /// Fits the base to the rows of `source` under `process`.
    ///
    /// # Errors
    /// [`Error::Empty`] without rows or columns, [`Error::NotFinite`] if the data are not finite.
    pub fn fit(base: Base, source: &dyn DataSource, process: &ForwardProcess, seed: u64) -> Result<Self> {
        let mut layout = source.layout().clone();
        if source.rows() == 0 || layout.width() == 0 {
            return Err(Error::Empty { what: "the data", unit: "row and column" });
        }
        if base != Base::Columns {
            // Identity links: every column is a number.
            layout = Layout { numerical: layout.width(), blocks: Vec::new() };
        }
        let mut fitted = Self {
            parts: PreconditionerParts {
                base,
                times: [process.start(), process.end()],
                means: vec![0.0; layout.width()],
                variances: vec![0.0; layout.width()],
                ridge: Vec::new(),
                scales: Vec::new(),
                radius: 0.0,
                layout,
            },
        };
        fitted.measure(source, seed)?;
        if base != Base::Zero && fitted.parts.layout.numerical > 0 {
            let levels: Vec<(Vec<f32>, Vec<f32>)> = (0..GRID)
                .into_par_iter()
                .map(|cell| fitted.fit_level(source, process, cell, seed))
                .collect::<Result<_>>()?;
            fitted.parts.ridge = levels.iter().flat_map(|(ridge, _)| ridge.iter().copied()).collect();
            fitted.parts.scales = levels.iter().flat_map(|(_, scales)| scales.iter().copied()).collect();
        }
        Ok(fitted)
    }

    /// Means, variances and radius of the data.
    fn measure(&mut self, source: &dyn DataSource, seed: u64) -> Result<()> {
        let (d, n) = (self.parts.layout.width(), source.rows());
        let (mut sums, mut squares) = (vec![0.0; d], vec![0.0; d]);
        let mut row = vec![0.0f32; d];
        let mut levels = vec![0; source.layout().blocks.len()];
        let [mut rng] = chunk_streams(seed, Purpose::Base, GRID, 1).try_into().expect("one stream was asked for");
        // With all means zero the codes are drawn uncentred.
        let mut visit = |precondition: &Self, see: &mut dyn FnMut(&[f32])| {
            for j in 0..n {
                precondition.draw(source, j, &mut rng, &mut row, &mut levels);
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

    /// Ridge regression of the numbers, less their own posterior means, on the inputs at one time; then the residuals' scale.
    fn fit_level(
        &self,
        source: &dyn DataSource,
        process: &ForwardProcess,
        cell: usize,
        seed: u64,
    ) -> Result<(Vec<f32>, Vec<f32>)> {
        let (d, p, width) = (self.parts.layout.width(), self.parts.layout.numerical, self.features() + 1);
        let [start, end] = self.parts.times;
        let level = self.level(process, start + (end - start) * cell as f64 / (GRID - 1) as f64);
        let [mut rng] = chunk_streams(seed, Purpose::Base, cell, 1).try_into().expect("one stream was asked for");
        let rows = source.rows().min(BASE_ROWS);
        let (mut gram, mut moment) = (Mat::<f64>::zeros(width, width), Mat::<f64>::zeros(width, p));
        let mut squares = vec![0.0; p];
        let mut buffer = self.buffer();
        let (mut clean, mut noisy, mut levels) = (vec![0.0; d], vec![0.0; d], vec![0; self.parts.layout.blocks.len()]);
        let (mut phi, mut rest) = (Mat::<f64>::zeros(CHUNK, width), Mat::<f64>::zeros(CHUNK, p));
        for first in (0..rows).step_by(CHUNK) {
            let count = CHUNK.min(rows - first);
            for row in 0..count {
                // An even walk through all rows, so that every part of the data is seen.
                let from = (first + row) * source.rows() / rows;
                self.draw(source, from, &mut rng, &mut clean, &mut levels);
                level.perturb(&clean, &mut noisy, &mut rng);
                self.features_into(&level, &noisy, &mut buffer);
                for k in 0..width {
                    phi[(row, k)] = if k + 1 < width { f64::from(buffer.inputs[k]) } else { 1.0 };
                }
                for i in 0..p {
                    let residual = f64::from(clean[i] - self.own_mean(&level, i, noisy[i]));
                    rest[(row, i)] = residual;
                    squares[i] += residual * residual;
                }
            }
            let (phi, rest) = (phi.subrows(0, count), rest.subrows(0, count));
            matmul(gram.as_mut(), Accum::Add, phi.transpose(), phi, 1.0, Par::Seq);
            matmul(moment.as_mut(), Accum::Add, phi.transpose(), rest, 1.0, Par::Seq);
        }
        let mut penalised = gram.clone();
        for k in 0..width {
            penalised[(k, k)] += RIDGE * rows as f64;
        }
        let factor = penalised.llt(Side::Lower);
        let factor = factor.map_err(|_| Error::NotFinite { what: "the data", row: 0, column: 0 })?;
        let coefficients = factor.solve(&moment);
        let mut fitted = Mat::<f64>::zeros(width, p);
        matmul(fitted.as_mut(), Accum::Replace, gram.as_ref(), coefficients.as_ref(), 1.0, Par::Seq);
        // Residual sum of squares without a second pass: |r|^2 - 2 c.m + c.Gc, by column.
        let scale = |i: usize| {
            let explained = |k: usize| coefficients[(k, i)] * (fitted[(k, i)] - 2.0 * moment[(k, i)]);
            let rss: f64 = squares[i] + (0..width).map(explained).sum::<f64>();
            ((rss / rows as f64).max(0.0).sqrt() as f32).max(1e-4)
        };
        let mut ridge = Vec::with_capacity(width * p);
        for k in 0..width {
            ridge.extend((0..p).map(|i| coefficients[(k, i)] as f32));
        }
        Ok((ridge, (0..p).map(scale).collect()))
    }

    /// Takes up what [`Preconditioner::to_parts`] gave.
    ///
    /// # Errors
    /// [`Error::Model`] if the parts do not fit together or are not finite.
    pub fn from_parts(parts: PreconditionerParts) -> Result<Self> {
        let (d, p) = (parts.layout.width(), parts.layout.numerical);
        let fitted = Self { parts };
        let PreconditionerParts { base, times, means, variances, ridge, scales, radius, layout } = &fitted.parts;
        let grid = if *base != Base::Zero && p > 0 { GRID } else { 0 };
        let lengths = means.len() == d
            && variances.len() == d
            && ridge.len() == grid * (fitted.features() + 1) * p
            && scales.len() == grid * p;
        let finite = [means, variances, ridge, scales].into_iter().flatten().all(|x| x.is_finite());
        let positive = scales.iter().all(|&x| x > 0.0) && variances.iter().all(|&x| x >= 0.0) && *radius >= 0.0;
        let ordered = times[0] < times[1] && times.iter().all(|t| t.is_finite()) && radius.is_finite();
        let links = *base == Base::Columns || layout.blocks.is_empty();
        if d > 0 && lengths && finite && positive && ordered && links {
            Ok(fitted)
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

    /// What the columns are; with [`Base::Zero`] all are numbers.
    pub fn layout(&self) -> &Layout {
        &self.parts.layout
    }

    /// Radius R_0 of the ball around the origin that holds the data.
    pub fn radius(&self) -> f64 {
        self.parts.radius
    }

    /// Inputs of the network: D.
    pub fn inputs(&self) -> usize {
        match self.parts.base {
            Base::Zero => self.parts.layout.width() + 1,
            Base::Gaussian | Base::Columns => self.features() + TIME_INPUTS,
        }
    }

    /// Inputs of the ridge regression, without its constant: normalised columns and posterior means of one-hot columns.
    fn features(&self) -> usize {
        self.parts.layout.width() + self.parts.layout.one_hot()
    }

    /// Buffers for one row.
    pub fn buffer(&self) -> RowBuffer {
        let p = self.parts.layout.numerical;
        RowBuffer {
            inputs: vec![0.0; self.inputs()],
            base: vec![0.0; self.parts.layout.width()],
            scale: vec![1.0; p],
            gain: 1.0,
        }
    }

    /// Draws a row of data as the process sees it: numbers, and one-hot codes less their frequencies.
    pub fn draw(
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

    /// What depends on the time `t` alone.
    pub fn level(&self, process: &ForwardProcess, t: f64) -> NoiseLevel {
        let [start, end] = self.parts.times;
        let share = ((t - start) / (end - start)).clamp(0.0, 1.0);
        let place = share * (GRID - 1) as f64;
        let cell = (place as usize).min(GRID - 2);
        let angle = std::f64::consts::PI * share;
        NoiseLevel {
            alpha: process.alpha(t) as f32,
            h: process.h(t) as f32,
            elapsed: (t - start) as f32,
            gain: if self.parts.base == Base::Columns { process.alpha(t) as f32 } else { 1.0 },
            cell,
            share: (place - cell as f64) as f32,
            waves: [1.0, 4.0 * share - 2.0, 2.0 * angle.cos(), 2.0 * angle.sin()].map(|x| x as f32),
        }
    }

    /// Posterior mean of number `i` given its own noisy value alone, as if it were Gaussian.
    fn own_mean(&self, level: &NoiseLevel, i: usize, x: f32) -> f32 {
        let (mean, variance) = (self.parts.means[i], self.parts.variances[i]);
        let &NoiseLevel { alpha, h, .. } = level;
        mean + alpha * variance / (alpha * alpha * variance + h) * (x - alpha * mean)
    }

    /// The features of a noisy row into `buffer.inputs`, and log-posteriors of one-hot columns into `buffer.base`.
    fn features_into(&self, level: &NoiseLevel, x: &[f32], buffer: &mut RowBuffer) {
        let (p, d) = (self.parts.layout.numerical, self.parts.layout.width());
        let &NoiseLevel { alpha, h, .. } = level;
        for (i, (input, x)) in buffer.inputs[..d].iter_mut().zip(x).enumerate() {
            let centre = if i < p { alpha * self.parts.means[i] } else { 0.0 };
            *input = (x - centre) / (alpha * alpha * self.parts.variances[i] + h).sqrt();
        }
        // Codes are e_k - f, so log p(x | k) = (alpha x_k + alpha^2 f_k) / h + what does not depend on k.
        for (k, &frequency) in self.parts.means[p..].iter().enumerate() {
            let prior = frequency.max(1e-9).ln();
            buffer.base[p + k] = prior + (alpha * x[p + k] + alpha * alpha * frequency) / h;
        }
        for range in self.parts.layout.ranges() {
            let logits = &mut buffer.base[p + range.start..p + range.end];
            let means = &mut buffer.inputs[d + range.start..d + range.end];
            softmax(logits, means);
            for ((x, frequency), variance) in
                means.iter_mut().zip(&self.parts.means[p + range.start..]).zip(&self.parts.variances[p + range.start..])
            {
                *x = (*x - frequency) / (variance + RARE).sqrt();
            }
        }
    }

    /// Fills the buffer from a noisy row `x` at a noise level: network inputs, base values, log-posteriors and scales.
    pub fn prepare(&self, level: &NoiseLevel, x: &[f32], buffer: &mut RowBuffer) {
        let p = self.parts.layout.numerical;
        if self.parts.base == Base::Zero {
            buffer.inputs[..x.len()].copy_from_slice(x);
            buffer.inputs[x.len()] = level.elapsed;
            return;
        }
        self.features_into(level, x, buffer);
        buffer.gain = level.gain;
        let features = self.features();
        buffer.inputs[features..].copy_from_slice(&level.waves);
        if p == 0 {
            return;
        }
        let size = (features + 1) * p;
        let (low, high) = self.parts.ridge[level.cell * size..(level.cell + 2) * size].split_at(size);
        let (base, share) = (&mut buffer.base[..p], level.share);
        for (i, base) in base.iter_mut().enumerate() {
            *base = self.own_mean(level, i, x[i]);
        }
        let inputs = buffer.inputs[..features].iter().copied().chain([1.0]);
        for ((x, low), high) in inputs.zip(low.chunks_exact(p)).zip(high.chunks_exact(p)) {
            let (x_low, x_high) = (x * (1.0 - share), x * share);
            for ((base, low), high) in base.iter_mut().zip(low).zip(high) {
                *base += x_low * low + x_high * high;
            }
        }
        let (low, high) = self.parts.scales[level.cell * p..(level.cell + 2) * p].split_at(p);
        for ((scale, low), high) in buffer.scale.iter_mut().zip(low).zip(high) {
            *scale = (1.0 - share) * low + share * high;
        }
    }

    /// Turns the network's outputs for a prepared row into the denoiser's value `f`, in place.
    pub fn combine(&self, buffer: &RowBuffer, outputs: &mut [f32]) {
        let p = self.parts.layout.numerical;
        for ((u, base), scale) in outputs.iter_mut().zip(&buffer.base[..p]).zip(&buffer.scale) {
            *u = base + scale * buffer.gain * *u;
        }
        self.probabilities(buffer, outputs);
        for (u, mean) in outputs[p..].iter_mut().zip(&self.parts.means[p..]) {
            *u -= mean;
        }
    }

    /// Derivative of the loss by the network's outputs for a prepared row, in place, and the loss: half the squared residual
    /// `(X_0 - b) / c - u` of each number, cross-entropy of each block; `weights` stand before the two sums.
    pub fn residual(
        &self,
        buffer: &RowBuffer,
        clean: &[f32],
        levels: &[u32],
        weights: [f32; 2],
        outputs: &mut [f32],
    ) -> [f64; 2] {
        let p = self.parts.layout.numerical;
        let (mut squares, mut entropy) = (0.0, 0.0);
        for (i, u) in outputs[..p].iter_mut().enumerate() {
            let residual = buffer.gain * *u - (clean[i] - buffer.base[i]) / buffer.scale[i];
            squares += 0.5 * f64::from(residual) * f64::from(residual);
            *u = weights[0] * buffer.gain * residual;
        }
        self.probabilities(buffer, outputs);
        for (range, &level) in self.parts.layout.ranges().zip(levels) {
            let label = p + range.start + level as usize;
            entropy -= f64::from(outputs[label].max(1e-30).ln());
            outputs[label] -= 1.0;
        }
        outputs[p..].iter_mut().for_each(|u| *u *= weights[1] * buffer.gain);
        [squares, entropy]
    }

    /// `softmax(o + u)` of every one-hot block, in place.
    fn probabilities(&self, buffer: &RowBuffer, outputs: &mut [f32]) {
        let p = self.parts.layout.numerical;
        for range in self.parts.layout.ranges() {
            let range = p + range.start..p + range.end;
            let block = &mut outputs[range.clone()];
            for (u, o) in block.iter_mut().zip(&buffer.base[range]) {
                *u = buffer.gain * *u + o;
            }
            softmax_in_place(block);
        }
    }
}

fn softmax(logits: &[f32], probabilities: &mut [f32]) {
    probabilities.copy_from_slice(logits);
    softmax_in_place(probabilities);
}

/// Exponentials divided by their sum, the largest logit taken off first.
fn softmax_in_place(x: &mut [f32]) {
    let largest = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for x in x.iter_mut() {
        *x = (*x - largest).exp();
        sum += *x;
    }
    x.iter_mut().for_each(|x| *x /= sum);
}
