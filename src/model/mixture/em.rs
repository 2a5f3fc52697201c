//! Fitting a mixture by expectation maximisation, its number of components chosen on rows that were held out.
//!
//! It begins with one component and doubles: every component with rows enough is split along its longest axis, and a few steps
//! of expectation maximisation follow. Doubling ends when held-out rows are no longer more likely. In every step the values of
//! tied cells are drawn anew, so that the mixture sees what training sees.
//!
//! Covariances are shrunk towards the pooled covariance within components, and that by the oracle-approximating intensity of
//! Chen, Wiesel, Eldar and Hero (2010) towards its diagonal: with fewer rows than columns the shrinkage does the work.

use std::time::{Duration, Instant};

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par, Side};
use rand::RngExt;

use super::components::{FLOOR, Mixture};
use super::posterior::{Posterior, Scratch};
use crate::kernels::share::for_each_item;
use crate::kernels::{Lane64, PANEL};
use crate::model::layout::DataSource;
use crate::random::{CHUNK, Purpose, chunk_streams, stream};
use crate::simd::Level;
use crate::simd::foreign;
use crate::{Error, Result};

/// Rows that take part, at most.
const ROWS: usize = 40_000;
/// Numbers that all components' axes or codes may take together, at most (16 MB).
const SIZE: usize = 4 << 20;
/// Rows for each component where none are held out to choose their number.
const ROWS_EACH: usize = 200;
/// Rows that the shrinkage target counts like, beside one for each number.
const PRIOR: f64 = 2.0;
/// Observations that the overall frequencies of a block count like in each component.
const LEVEL_PRIOR: f64 = 2.0;
/// Steps after each doubling, and after the last.
const STEPS: usize = 8;
const LAST_STEPS: usize = 12;
/// Responsibilities below this do not take part in a component's moments.
const LEAST: f32 = 1e-4;
/// Log-likelihood of codes that a clean row does not have.
const ABSENT: f32 = -80.0;

/// A responsibility: row, component, share.
type Share = (u32, u32, f32);

/// 64 rows of clean data and who is responsible for them.
struct Block {
    rows: usize,
    numbers: Vec<Lane64<f32>>,
    levels: Vec<u32>,
    shares: Vec<Share>,
    log_density: f64,
}

/// Fits a mixture of at most `most` components to `train`, choosing their number by the likelihood of `held`. It does not begin
/// what would probably end after `until`, but one component there always is.
///
/// # Errors
/// [`Error::NotFinite`] if the data are not finite.
pub(crate) fn fit(
    train: &dyn DataSource,
    held: Option<&dyn DataSource>,
    most: usize,
    workers: usize,
    seed: u64,
    until: Option<Instant>,
) -> Result<Mixture> {
    let begun = Instant::now();
    let fits = |more: Duration| until.is_none_or(|until| Instant::now() + more < until);
    let mut em = Em::new(train, workers, seed);
    let mut held = held.filter(|held| held.rows() > 0).map(|held| Em::new(held, workers, seed));
    let mut mixture = em.first()?;
    let size = mixture.layout.numerical.pow(2).max(mixture.layout.one_hot()).max(1);
    let most = most.min(SIZE / size);
    let most = if held.is_some() { most } else { most.min(train.rows() / ROWS_EACH).max(1) };
    let mut best: Option<(f64, Mixture)> = None;
    loop {
        // Without rows held out only the rows a component needs bound their number.
        let score = held.as_mut().map(|held| held.expect(&mixture, 0));
        let better = best.as_ref().is_none_or(|(found, _)| score.is_none_or(|score| score > *found));
        if better {
            best = Some((score.unwrap_or(0.0), mixture.clone()));
        }
        // With twice as many components everything so far takes twice as long once more.
        if !better || 2 * mixture.components() > most || !fits(2 * begun.elapsed()) {
            break;
        }
        let Some(split) = em.split(&mixture) else { break };
        mixture = split;
        for _ in 0..STEPS {
            em.next(&mut mixture)?;
        }
    }
    let (_, mut mixture) = best.expect("one component was scored");
    if mixture.components() > 1 {
        for _ in 0..LAST_STEPS {
            if !fits(Duration::ZERO) {
                break;
            }
            em.next(&mut mixture)?;
        }
    }
    Ok(mixture)
}

/// Rows with their responsibilities.
struct Em<'a> {
    source: &'a dyn DataSource,
    blocks: Vec<Block>,
    rows: usize,
    /// Overall frequencies of the codes.
    frequencies: Vec<f64>,
    workers: usize,
    seed: u64,
    drawn: usize,
}

impl<'a> Em<'a> {
    fn new(source: &'a dyn DataSource, workers: usize, seed: u64) -> Self {
        let layout = source.layout();
        let rows = source.rows().min(ROWS);
        let blocks = (0..rows.div_ceil(PANEL)).map(|block| {
            let count = (rows - block * PANEL).min(PANEL);
            Block {
                rows: count,
                numbers: vec![Lane64([0.0; PANEL]); layout.numerical],
                levels: vec![0; count * layout.blocks.len()],
                shares: (0..count as u32).map(|row| (row, 0, 1.0)).collect(),
                log_density: 0.0,
            }
        });
        let mut em = Self { blocks: blocks.collect(), source, rows, frequencies: Vec::new(), workers, seed, drawn: 0 };
        em.draw();
        let mut counts = vec![0.5; layout.one_hot()];
        for block in &em.blocks {
            for levels in block.levels.chunks_exact(layout.blocks.len().max(1)) {
                layout.ranges().zip(levels).for_each(|(range, &level)| counts[range.start + level as usize] += 1.0);
            }
        }
        for range in layout.ranges() {
            let sum: f64 = counts[range.clone()].iter().sum();
            counts[range].iter_mut().for_each(|count| *count /= sum);
        }
        em.frequencies = counts;
        em
    }

    /// Draws the values of all rows anew.
    fn draw(&mut self) {
        let (source, rows) = (self.source, self.rows);
        let blocks = source.layout().blocks.len();
        let chunks = rows.div_ceil(CHUNK);
        let streams = chunk_streams(self.seed, Purpose::Base, self.drawn * chunks, chunks);
        self.drawn += 1;
        let mut parts: Vec<_> = self.blocks.chunks_mut(CHUNK / PANEL).zip(streams).collect();
        let mut numbers = vec![vec![0.0; source.layout().numerical]; self.workers.max(1)];
        for_each_item(&mut parts, &mut numbers, &|numbers, chunk, (part, rng)| {
            for (b, block) in part.iter_mut().enumerate() {
                for row in 0..block.rows {
                    // An even walk through all rows, so that every part of the data is seen.
                    let from = (chunk * CHUNK + b * PANEL + row) * source.rows() / rows;
                    source.draw(from, rng, numbers, &mut block.levels[row * blocks..][..blocks]);
                    block.numbers.iter_mut().zip(numbers.iter()).for_each(|(to, &x)| to.0[row] = x);
                }
            }
        });
    }

    /// Mean log-density of the rows when last asked.
    fn log_density(&self) -> f64 {
        self.blocks.iter().map(|block| block.log_density).sum::<f64>() / self.rows as f64
    }

    /// One component.
    fn first(&mut self) -> Result<Mixture> {
        let layout = self.source.layout().clone();
        let empty = Mixture {
            layout,
            log_weights: vec![0.0],
            means: Vec::new(),
            axes: Vec::new(),
            variances: Vec::new(),
            levels: Vec::new(),
        };
        self.maximise(&empty)
    }

    /// Redraws the rows, finds responsibilities and then new components.
    fn next(&mut self, mixture: &mut Mixture) -> Result<()> {
        self.draw();
        self.expect(mixture, 1);
        *mixture = self.maximise(mixture)?;
        Ok(())
    }

    /// The step of expectation: responsibilities under `mixture`; returns the mean log-density.
    fn expect(&mut self, mixture: &Mixture, keep: usize) -> f64 {
        let codes = mixture.layout.one_hot();
        let worker = || (Scratch::new(mixture), vec![Lane64([ABSENT; PANEL]); codes]);
        let mut workspaces: Vec<_> = (0..self.workers.max(1)).map(|_| worker()).collect();
        let level = Level::current();
        let (one, zero) = (Lane64([1.0; PANEL]), Lane64([0.0; PANEL]));
        for_each_item(&mut self.blocks, &mut workspaces, &|(scratch, codes), _, block| {
            let mark = |codes: &mut [Lane64<f32>], x: f32| {
                for (row, levels) in block.levels.chunks_exact(mixture.layout.blocks.len().max(1)).enumerate() {
                    for (range, &level) in mixture.layout.ranges().zip(levels) {
                        codes[range.start + level as usize].0[row] = x;
                    }
                }
            };
            mark(codes, 0.0);
            let numbers = &block.numbers;
            level.run(Posterior { mixture, alpha: &one, h: &zero, numbers, codes, out: &mut [], scratch });
            mark(codes, ABSENT);
            block.log_density = scratch.log_density.0[..block.rows].iter().map(|&x| f64::from(x)).sum();
            if keep > 0 {
                block.shares.clear();
                for (k, gamma) in scratch.gamma.iter().enumerate() {
                    let rows = gamma.0[..block.rows].iter().enumerate().filter(|(_, g)| **g > LEAST);
                    block.shares.extend(rows.map(|(row, &g)| (row as u32, k as u32, g)));
                }
            }
        });
        self.log_density()
    }

    /// The step of maximisation: components from responsibilities.
    fn maximise(&mut self, before: &Mixture) -> Result<Mixture> {
        let (k, p) = (before.components(), before.layout.numerical);
        let codes = before.layout.one_hot();
        let mut members: Vec<Vec<(u32, f32)>> = vec![Vec::new(); k];
        for (b, block) in self.blocks.iter().enumerate() {
            for &(row, component, share) in &block.shares {
                members[component as usize].push(((b * PANEL) as u32 + row, share));
            }
        }
        let mut moments: Vec<Moments> = (0..k).map(|_| Moments::none()).collect();
        let blocks = &self.blocks;
        let layout = &before.layout;
        for_each_item(&mut moments, &mut vec![(); self.workers.max(1)], &|_, k, moments| {
            *moments = Moments::of(&members[k], blocks, layout.numerical);
        });
        let finite = |moments: &Moments| moments.mean.iter().all(|x| x.is_finite());
        if !moments.iter().all(finite) {
            return Err(Error::NotFinite { what: "the data", row: 0, column: 0 });
        }
        let pooled = pooled(&moments, p, self.rows);
        let prior = if k == 1 { f64::INFINITY } else { PRIOR + p as f64 };
        let mut axes = vec![(Vec::new(), Vec::new()); k];
        for_each_item(&mut axes, &mut vec![(); self.workers.max(1)], &|_, k, axes| {
            *axes = moments[k].axes(&pooled, prior);
        });
        let mut mixture = Mixture { layout: layout.clone(), ..before.clone() };
        mixture.means = moments.iter().flat_map(|m| m.mean.iter().map(|&x| x as f32)).collect();
        mixture.axes = axes.iter().flat_map(|(axes, _)| axes.iter().copied()).collect();
        mixture.variances = axes.iter().flat_map(|(_, variances)| variances.iter().copied()).collect();
        let all = self.rows as f64 + k as f64;
        mixture.log_weights = moments.iter().map(|m| ((m.weight + 1.0) / all).ln() as f32).collect();
        let mut levels = Vec::with_capacity(k * codes);
        for members in &members {
            let mut counts: Vec<f64> = self.frequencies.iter().map(|f| LEVEL_PRIOR * f).collect();
            let width = layout.blocks.len();
            for &(row, share) in members {
                let (block, row) = (&blocks[row as usize / PANEL], row as usize % PANEL);
                for (range, &level) in layout.ranges().zip(&block.levels[row * width..][..width]) {
                    counts[range.start + level as usize] += f64::from(share);
                }
            }
            for range in layout.ranges() {
                let sum: f64 = counts[range.clone()].iter().sum();
                levels.extend(counts[range].iter().map(|&count| ((count / sum) as f32).max(1e-7)));
            }
        }
        mixture.levels = levels;
        Ok(mixture)
    }

    /// Twice as many components: each that has rows enough is split along its longest axis. `None` if none has.
    fn split(&self, mixture: &Mixture) -> Option<Mixture> {
        let (p, codes) = (mixture.layout.numerical, mixture.layout.one_hot());
        let least = 2.0 * p.max(20) as f64;
        let mut rng = stream(self.seed, Purpose::Base);
        let mut split = Mixture {
            layout: mixture.layout.clone(),
            log_weights: Vec::new(),
            means: Vec::new(),
            axes: Vec::new(),
            variances: Vec::new(),
            levels: Vec::new(),
        };
        for k in 0..mixture.components() {
            let enough = f64::from(mixture.log_weights[k].exp()) * self.rows as f64 >= least;
            let variances = &mixture.variances[k * p..][..p];
            let longest = (0..p).max_by(|&a, &b| variances[a].total_cmp(&variances[b]));
            // Half a deviation to either side, which leaves three quarters of the variance within.
            for side in if enough { &[-0.5f32, 0.5][..] } else { &[0.0][..] } {
                split.log_weights.push(mixture.log_weights[k] - if enough { std::f32::consts::LN_2 } else { 0.0 });
                split.means.extend_from_slice(&mixture.means[k * p..][..p]);
                split.axes.extend_from_slice(&mixture.axes[k * p * p..][..p * p]);
                split.variances.extend_from_slice(variances);
                if let Some(axis) = longest {
                    let (at, shift) = (split.means.len() - p, side * variances[axis].sqrt());
                    let direction = &mixture.axes[(k * p + axis) * p..][..p];
                    split.means[at..].iter_mut().zip(direction).for_each(|(m, u)| *m += shift * u);
                    let kept = split.variances.len() - p + axis;
                    split.variances[kept] = (variances[axis] * (1.0 - side * side)).max(FLOOR);
                }
                // Categories alone tell two halves apart only if they begin differently.
                let levels = &mixture.levels[k * codes..][..codes];
                for range in mixture.layout.ranges() {
                    let tilted = levels[range].iter().map(|&q| q * (side * rng.random::<f32>()).exp());
                    let tilted: Vec<f32> = tilted.collect();
                    let sum: f32 = tilted.iter().sum();
                    split.levels.extend(tilted.iter().map(|q| (q / sum).max(1e-7)));
                }
            }
        }
        (split.components() > mixture.components()).then_some(split)
    }
}

/// Weighted moments of the numbers of one component's rows.
struct Moments {
    weight: f64,
    mean: Vec<f64>,
    /// Scatter around the mean, p x p.
    scatter: Mat<f64>,
}

impl Moments {
    /// Rows gathered at a time.
    const GATHERED: usize = 2048;

    fn none() -> Self {
        Self { weight: 0.0, mean: Vec::new(), scatter: Mat::zeros(0, 0) }
    }

    fn of(members: &[(u32, f32)], blocks: &[Block], p: usize) -> Self {
        let value = |row: u32, j: usize| f64::from(blocks[row as usize / PANEL].numbers[j].0[row as usize % PANEL]);
        let weight: f64 = members.iter().map(|m| f64::from(m.1)).sum();
        let mean = |j: usize| {
            let sum: f64 = members.iter().map(|&(row, share)| f64::from(share) * value(row, j)).sum();
            if weight > 0.0 { sum / weight } else { 0.0 }
        };
        let mean: Vec<f64> = (0..p).map(mean).collect();
        let mut scatter = Mat::zeros(p, p);
        for part in members.chunks(Self::GATHERED) {
            let rows = Mat::from_fn(part.len(), p, |i, j| {
                let (row, share) = part[i];
                f64::from(share).sqrt() * (value(row, j) - mean[j])
            });
            foreign(Par::Seq, || matmul(scatter.as_mut(), Accum::Add, rows.transpose(), rows.as_ref(), 1.0, Par::Seq));
        }
        Self { weight, mean, scatter }
    }

    /// Axes (p x p, rows) and variances of the covariance shrunk towards `target`, which counts like `prior` rows.
    fn axes(&self, target: &Mat<f64>, prior: f64) -> (Vec<f32>, Vec<f32>) {
        let p = self.mean.len();
        if p == 0 {
            return (Vec::new(), Vec::new());
        }
        let covariance = |i: usize, j: usize| match prior.is_finite() {
            true => (self.scatter[(i, j)] + prior * target[(i, j)]) / (self.weight + prior),
            false => target[(i, j)],
        };
        let matrix = Mat::from_fn(p, p, covariance);
        // Finite and symmetric: the decomposition converges; should it not, the coordinate axes still give a valid mixture.
        let Ok(eigen) = foreign(Par::Seq, || matrix.self_adjoint_eigen(Side::Lower)) else {
            let axes = (0..p * p).map(|i| f32::from(u8::from(i / p == i % p)));
            return (axes.collect(), (0..p).map(|i| (matrix[(i, i)] as f32).max(FLOOR)).collect());
        };
        let (u, s) = (eigen.U(), eigen.S());
        let axes = (0..p).flat_map(|i| (0..p).map(move |j| u[(j, i)] as f32)).collect();
        (axes, (0..p).map(|i| (s[i] as f32).max(FLOOR)).collect())
    }
}

/// The covariance within components, shrunk towards its diagonal (Chen et al. 2010, equation 23, on correlations).
fn pooled(moments: &[Moments], p: usize, rows: usize) -> Mat<f64> {
    let mut sum = Mat::<f64>::zeros(p, p);
    moments.iter().for_each(|m| sum += &m.scatter);
    let covariance = Mat::from_fn(p, p, |i, j| sum[(i, j)] / rows.max(1) as f64);
    let deviation = |i: usize| covariance[(i, i)].max(f64::from(FLOOR)).sqrt();
    // Of the correlation matrix R, whose trace is p.
    let square: f64 = (0..p)
        .flat_map(|i| (0..p).map(move |j| (i, j)))
        .map(|(i, j)| (covariance[(i, j)] / (deviation(i) * deviation(j))).powi(2))
        .sum();
    let (n, p) = (rows as f64, p as f64);
    let intensity = if p < 2.0 || square <= p {
        1.0
    } else {
        (((1.0 - 2.0 / p) * square + p * p) / ((n + 1.0 - 2.0 / p) * (square - p))).min(1.0)
    };
    Mat::from_fn(sum.nrows(), sum.nrows(), |i, j| {
        if i == j { covariance[(i, i)].max(f64::from(FLOOR)) } else { (1.0 - intensity) * covariance[(i, j)] }
    })
}
