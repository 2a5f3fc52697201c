//! The mixture given some coordinates of a row: again a mixture, of the coordinates that are left.
//!
//! With `z` the known numbers (indices `K`; the others `U`) and `A_b` the codes that block `b` may have:
//!
//! ```text
//! w_k|z   ~ w_k N(z; mu_kK, S_kKK) prod_b sum_(c in A_b) p_kbc           sum_k w_k|z = 1
//! mu_k|z  = mu_kU + R_k (z - mu_kK),   S_k|z = S_kUU - R_k S_kKU,   R_k = S_kUK S_kKK^-1
//! ```
//!
//! and `p_kb` restricted to `A_b`. Under noise on `U` alone the posterior is that of the [mixture](super) with these parts, so the
//! known coordinates act without noise at every diffusion time. Rows that know the same numbers share `R_k` and the axes of
//! `S_k|z`; components that a row all but rules out are left out of it.

// Formulas are written with the indices of the page.
#![allow(clippy::needless_range_loop)]

use std::sync::{Arc, OnceLock};

use faer::{Mat, Par, Side};
use rand::{Rng, RngExt};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::components::{FLOOR, Mixture};
use crate::random::normal;
use crate::simd::foreign;

/// Share of a row's weight below which a component is left out: 128 of them together are about a thousandth.
const NEGLIGIBLE: f64 = 1e-5;
/// Factors of a likelihood that are multiplied before one logarithm is taken: each lies in [1e-30, 1e4], in doubles.
const TOGETHER: usize = 8;

/// A mixture with the covariances of its components.
pub(crate) struct Conditioner<'a> {
    mixture: &'a Mixture,
    /// K x p x p.
    covariances: Vec<f64>,
}

/// Which numbers are known, and what rows that know them share; found when first needed.
pub(crate) struct Pattern {
    known: Vec<usize>,
    free: Vec<usize>,
    factors: Vec<OnceLock<Factor>>,
    parts: Vec<OnceLock<Arc<Part>>>,
}

/// Lower triangular factor of `S_kKK`, and half the logarithm of its determinant.
struct Factor {
    lower: Mat<f64>,
    half_log_determinant: f64,
}

/// What rows of one pattern share of a component.
#[derive(Debug)]
struct Part {
    /// `R_k`, free x known.
    slopes: Mat<f64>,
    /// Axes of `S_k|z`, and the same transposed.
    axes: Vec<f32>,
    across: Vec<f32>,
    variances: Vec<f32>,
}

/// One component of a row's conditional mixture.
#[derive(Debug)]
struct Component {
    index: usize,
    log_weight: f32,
    /// The part of it that is due to open blocks: the posterior takes it from their likelihoods.
    log_open: f32,
    mean: Vec<f32>,
    part: Arc<Part>,
}

/// The mixture given what is known of one row.
#[derive(Debug)]
pub(crate) struct GivenRow {
    free: Vec<usize>,
    /// Whether each code may be.
    allowed: Vec<bool>,
    /// Blocks with several codes that may be.
    open: Vec<std::ops::Range<usize>>,
    components: Vec<Component>,
}

/// Buffers of [`GivenRow::posterior`], for one row after the other.
#[derive(Debug, Default)]
pub(crate) struct GivenScratch {
    /// The noisy free numbers.
    free: Vec<f32>,
    /// Posterior means of the components along their axes.
    gains: Vec<f32>,
    /// Posterior means of the free numbers.
    sums: Vec<f32>,
    /// Log-weights of the components, then their weights.
    logs: Vec<f64>,
}

impl Pattern {
    /// The pattern of a row of numbers, NaN where they are not known.
    pub fn of(numbers: &[f32], components: usize) -> Self {
        let (free, known): (Vec<usize>, Vec<usize>) = (0..numbers.len()).partition(|&i| numbers[i].is_nan());
        let cells = || (0..components).map(|_| OnceLock::new());
        Self { known, free, factors: cells().collect(), parts: (0..components).map(|_| OnceLock::new()).collect() }
    }

    /// Whether a row has this pattern.
    pub fn fits(&self, numbers: &[f32]) -> bool {
        self.free.len() + self.known.len() == numbers.len()
            && self.free.iter().all(|&i| numbers[i].is_nan())
            && self.known.iter().all(|&i| !numbers[i].is_nan())
    }
}

impl<'a> Conditioner<'a> {
    pub fn new(mixture: &'a Mixture) -> Self {
        let p = mixture.layout.numerical;
        let mut covariances = vec![0.0; mixture.components() * p * p];
        for (k, covariance) in covariances.chunks_mut((p * p).max(1)).enumerate() {
            for i in 0..p {
                let (axis, s) = (&mixture.axes[(k * p + i) * p..][..p], f64::from(mixture.variances[k * p + i]));
                for a in 0..p {
                    for b in 0..p {
                        covariance[a * p + b] += s * f64::from(axis[a]) * f64::from(axis[b]);
                    }
                }
            }
        }
        Self { mixture, covariances }
    }

    fn covariance(&self, k: usize, a: usize, b: usize) -> f64 {
        let p = self.mixture.layout.numerical;
        self.covariances[(k * p + a) * p + b]
    }

    fn factor<'p>(&self, pattern: &'p Pattern, k: usize) -> &'p Factor {
        pattern.factors[k].get_or_init(|| {
            let known = &pattern.known;
            let mut lower = Mat::zeros(known.len(), known.len());
            let mut half_log_determinant = 0.0;
            for i in 0..known.len() {
                for j in 0..=i {
                    let sum = (0..j).map(|l| lower[(i, l)] * lower[(j, l)]).sum::<f64>();
                    let rest = self.covariance(k, known[i], known[j]) - sum;
                    // Rounding aside, no pivot is below the least variance of the mixture.
                    lower[(i, j)] = if i == j { rest.max(f64::from(FLOOR)).sqrt() } else { rest / lower[(j, j)] };
                }
                half_log_determinant += lower[(i, i)].ln();
            }
            Factor { lower, half_log_determinant }
        })
    }

    fn part(&self, pattern: &Pattern, k: usize) -> Arc<Part> {
        let found = pattern.parts[k].get_or_init(|| {
            let (known, free) = (&pattern.known, &pattern.free);
            let lower = &self.factor(pattern, k).lower;
            let (n, q) = (known.len(), free.len());
            // L^-1 S_KU, and with it S_UU - S_UK S_KK^-1 S_KU.
            let mut half = Mat::<f64>::zeros(n, q);
            for u in 0..q {
                for i in 0..n {
                    let sum = (0..i).map(|l| lower[(i, l)] * half[(l, u)]).sum::<f64>();
                    half[(i, u)] = (self.covariance(k, known[i], free[u]) - sum) / lower[(i, i)];
                }
            }
            let left = Mat::from_fn(q, q, |a, b| {
                self.covariance(k, free[a], free[b]) - (0..n).map(|i| half[(i, a)] * half[(i, b)]).sum::<f64>()
            });
            let mut slopes = Mat::<f64>::zeros(q, n);
            for u in 0..q {
                for i in (0..n).rev() {
                    let sum = (i + 1..n).map(|l| lower[(l, i)] * slopes[(u, l)]).sum::<f64>();
                    slopes[(u, i)] = (half[(i, u)] - sum) / lower[(i, i)];
                }
            }
            let (mut axes, mut variances) = (vec![0.0; q * q], vec![FLOOR; q]);
            // Where every number is known there is nothing to decompose, and faer refuses to.
            let eigen = (q > 0).then(|| foreign(Par::Seq, || left.self_adjoint_eigen(Side::Lower)));
            match eigen {
                None => {}
                Some(Ok(eigen)) => {
                    for i in 0..q {
                        (0..q).for_each(|j| axes[i * q + j] = eigen.U()[(j, i)] as f32);
                        variances[i] = (eigen.S()[i] as f32).max(FLOOR);
                    }
                }
                // Finite and symmetric: it converges; should it not, the coordinate axes still give a mixture.
                Some(Err(_)) => (0..q).for_each(|i| {
                    axes[i * q + i] = 1.0;
                    variances[i] = (left[(i, i)] as f32).max(FLOOR);
                }),
            }
            let across = (0..q * q).map(|at| axes[at % q * q + at / q]).collect();
            Arc::new(Part { slopes, axes, across, variances })
        });
        found.clone()
    }

    /// The mixture given `numbers` (p, NaN where not known) of the pattern, and which codes may be.
    pub fn row(&self, pattern: &Pattern, numbers: &[f32], allowed: &[bool]) -> GivenRow {
        let mixture = self.mixture;
        let (p, c) = (mixture.layout.numerical, mixture.layout.one_hot());
        let known = &pattern.known;
        let off = |k: usize, i: usize| f64::from(numbers[i]) - f64::from(mixture.means[k * p + i]);
        let several = |range: &std::ops::Range<usize>| allowed[range.clone()].iter().filter(|may| **may).count() > 1;
        let open: Vec<std::ops::Range<usize>> = mixture.layout.ranges().filter(several).collect();
        let share = |k: usize, range: &std::ops::Range<usize>| {
            let levels = mixture.levels[k * c..][range.clone()].iter().zip(&allowed[range.clone()]);
            levels.filter(|(_, may)| **may).map(|(q, _)| f64::from(*q)).sum::<f64>().max(1e-30).ln()
        };
        let mut logs = Vec::with_capacity(mixture.components());
        let mut white = vec![0.0; known.len()];
        for k in 0..mixture.components() {
            let factor = self.factor(pattern, k);
            let mut log = f64::from(mixture.log_weights[k]) - factor.half_log_determinant;
            for i in 0..known.len() {
                let sum = (0..i).map(|l| factor.lower[(i, l)] * white[l]).sum::<f64>();
                white[i] = (off(k, known[i]) - sum) / factor.lower[(i, i)];
                log -= 0.5 * white[i] * white[i];
            }
            logs.push(log + mixture.layout.ranges().map(|range| share(k, &range)).sum::<f64>());
        }
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = logs.iter().map(|log| (log - top).exp()).sum();
        let kept = logs.iter().enumerate().map(|(k, log)| (k, log - top - total.ln()));
        let components = kept.filter(|(_, log)| log.exp() >= NEGLIGIBLE).map(|(index, log)| {
            let part = self.part(pattern, index);
            let mean = pattern.free.iter().enumerate().map(|(u, &j)| {
                let shift: f64 = known.iter().enumerate().map(|(i, &z)| part.slopes[(u, i)] * off(index, z)).sum();
                (f64::from(mixture.means[index * p + j]) + shift) as f32
            });
            let log_open = open.iter().map(|range| share(index, range)).sum::<f64>() as f32;
            Component { index, log_weight: log as f32, log_open, mean: mean.collect(), part }
        });
        let components = components.collect();
        GivenRow { free: pattern.free.clone(), allowed: allowed.to_vec(), open, components }
    }
}

impl GivenRow {
    /// Draws a clean row: the free numbers into their places in `numbers` (p), and one code of each open block as its index.
    pub fn draw(&self, mixture: &Mixture, rng: &mut Xoshiro256PlusPlus, numbers: &mut [f32], codes: &mut Vec<usize>) {
        let c = mixture.layout.one_hot();
        let weights = self.components.iter().map(|component| component.log_weight.exp());
        let Some(chosen) = self.components.get(choose(weights, rng)) else { return };
        let q = self.free.len();
        let mut values = chosen.mean.clone();
        for i in 0..q {
            let along = chosen.part.variances[i].sqrt() * normal::<f32>(rng);
            values.iter_mut().zip(&chosen.part.axes[i * q..][..q]).for_each(|(x, u)| *x += along * u);
        }
        self.free.iter().zip(values).for_each(|(&i, x)| numbers[i] = x);
        codes.clear();
        for range in &self.open {
            let levels = &mixture.levels[chosen.index * c..][range.clone()];
            let shares = levels.iter().zip(&self.allowed[range.clone()]).map(|(&q, &may)| if may { q } else { 0.0 });
            codes.push(range.start + choose(shares, rng));
        }
    }

    /// Posterior under noise: `x` (p) at signal `alpha` and noise variance `h`, `likelihood` (codes) up to a constant for each
    /// block. Writes means of the free numbers into their places in `means` (p) and log-probabilities of the open blocks
    /// into theirs in `chances` (codes).
    #[inline(always)]
    pub fn posterior(
        &self,
        mixture: &Mixture,
        [alpha, h]: [f32; 2],
        x: &[f32],
        likelihood: &mut [f32],
        [means, chances]: [&mut [f32]; 2],
        GivenScratch { free, gains, sums, logs }: &mut GivenScratch,
    ) {
        let (q, c) = (self.free.len(), mixture.layout.one_hot());
        for range in &self.open {
            let allowed = &self.allowed[range.clone()];
            let likelihood = &mut likelihood[range.clone()];
            let may = || likelihood.iter().zip(allowed).filter(|(_, may)| **may);
            let top = may().fold(f32::NEG_INFINITY, |top, (l, _)| top.max(*l));
            for (l, &may) in likelihood.iter_mut().zip(allowed) {
                *l = if may { (*l - top).exp() } else { 0.0 };
            }
        }
        let block = |k: usize, range: &std::ops::Range<usize>, likelihood: &[f32]| {
            let levels = &mixture.levels[k * c..][range.clone()];
            levels.iter().zip(&likelihood[range.clone()]).map(|(q, l)| f64::from(q * l)).sum::<f64>().max(1e-30)
        };
        let stride = q.max(1);
        free.clear();
        free.extend(self.free.iter().map(|&i| x[i]));
        gains.clear();
        gains.resize(stride * self.components.len(), 0.0);
        sums.clear();
        sums.resize(q, 0.0);
        logs.clear();
        for (component, gain) in self.components.iter().zip(gains.chunks_mut(stride)) {
            let part = &component.part;
            for j in 0..q {
                let d = free[j] - alpha * component.mean[j];
                gain.iter_mut().zip(&part.across[j * q..][..q]).for_each(|(y, u)| *y += u * d);
            }
            let log = f64::from(component.log_weight) - f64::from(component.log_open);
            let (mut square, mut log, mut factors) = (0.0f32, log, 1.0f64);
            for (i, (y, s)) in gain.iter_mut().zip(&part.variances).enumerate() {
                let v = alpha * alpha * s + h;
                square += *y * *y / v;
                *y *= alpha * s / v;
                factors *= f64::from(v);
                if (i + 1) % TOGETHER == 0 || i + 1 == q {
                    log -= 0.5 * factors.ln();
                    factors = 1.0;
                }
            }
            log -= 0.5 * f64::from(square);
            let mut factors = 1.0;
            for (b, range) in self.open.iter().enumerate() {
                factors *= block(component.index, range, likelihood);
                if (b + 1) % TOGETHER == 0 || b + 1 == self.open.len() {
                    log += factors.ln();
                    factors = 1.0;
                }
            }
            logs.push(log);
        }
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        logs.iter_mut().for_each(|log| *log = (*log - top).exp());
        let total: f64 = logs.iter().sum();
        self.open.iter().for_each(|range| chances[range.clone()].fill(0.0));
        for (k, component) in self.components.iter().enumerate() {
            let gamma = (logs[k] / total) as f32;
            if f64::from(gamma) < NEGLIGIBLE * 0.01 {
                continue;
            }
            for i in 0..q {
                let along = gamma * gains[k * stride + i];
                sums.iter_mut().zip(&component.part.axes[i * q..][..q]).for_each(|(m, u)| *m += along * u);
            }
            sums.iter_mut().zip(&component.mean).for_each(|(m, mean)| *m += gamma * mean);
            for range in &self.open {
                let share = gamma / block(component.index, range, likelihood) as f32;
                let levels = &mixture.levels[component.index * c..][range.clone()];
                for ((chance, q), l) in chances[range.clone()].iter_mut().zip(levels).zip(&likelihood[range.clone()]) {
                    *chance += share * q * l;
                }
            }
        }
        self.free.iter().zip(sums.iter()).for_each(|(&i, mean)| means[i] = *mean);
        for range in &self.open {
            chances[range.clone()].iter_mut().for_each(|chance| *chance = chance.max(1e-30).ln());
        }
    }
}

/// An index drawn with these shares; the last if rounding leaves none.
fn choose(shares: impl Iterator<Item = f32> + Clone, rng: &mut (impl Rng + ?Sized)) -> usize {
    let total: f32 = shares.clone().sum();
    let mut left = rng.random::<f32>() * total;
    let mut last = 0;
    for (i, share) in shares.enumerate() {
        if share > 0.0 {
            last = i;
            if left < share {
                return i;
            }
            left -= share;
        }
    }
    last
}
