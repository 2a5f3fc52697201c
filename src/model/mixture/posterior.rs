//! Posterior means under a mixture for 64 noisy rows side by side.
//!
//! Two passes over the components: the first finds the responsibilities `gamma`, the second adds up what the components that
//! matter contribute. Components whose responsibility is below [`NEGLIGIBLE`] in all 64 rows are left out of the second pass.

use super::components::Mixture;
use crate::kernels::elementary::{exp, ln, mul_add};
use crate::kernels::{Lane64, PANEL};
use crate::simd::{Kernel, Lanes};

/// Responsibility below which a component adds nothing that f32 could show in a standardised value.
const NEGLIGIBLE: f32 = 1e-7;
/// Logarithm below which likelihoods and responsibilities are all the same: smaller ones would make products that are subnormal, and
/// each of these costs a hundred cycles and more on Intel (`sample --rows 2000 --threads 1` took 1.7 times as long).
const LEAST_LOG: f32 = -60.0;
/// The smallest log-probability, of 1e-30.
const LEAST_CHANCE: f32 = -69.077_55;
/// Factors that are multiplied before one logarithm is taken of them: each lies in [1e-5, 1e4].
const TOGETHER: usize = 6;

type Lane = Lane64<f32>;
const ZERO: Lane = Lane64([0.0; PANEL]);
const ONE: Lane = Lane64([1.0; PANEL]);

/// Buffers of one worker.
#[derive(Debug, Clone)]
pub(crate) struct Scratch {
    /// Likelihoods of the codes, scaled so that the largest of a block is 1.
    likelihood: Vec<Lane>,
    /// `x - alpha mu`, then a sum.
    shifted: Vec<Lane>,
    /// Responsibilities, K.
    pub(super) gamma: Vec<Lane>,
    /// Log of the sum of the unnormalised responsibilities: the log-density, less the constants of the codes' likelihoods.
    pub(super) log_density: Lane,
}

impl Scratch {
    pub(crate) fn new(mixture: &Mixture) -> Self {
        Self {
            likelihood: vec![ZERO; mixture.layout.one_hot()],
            shifted: vec![ZERO; mixture.layout.numerical],
            gamma: vec![ZERO; mixture.components()],
            log_density: ZERO,
        }
    }
}

/// What is asked: posterior means of the numbers and log-probabilities of the codes for 64 rows.
pub(crate) struct Posterior<'a> {
    pub mixture: &'a Mixture,
    /// `alpha(t)` of each row.
    pub alpha: &'a Lane,
    /// `h(t)` of each row; zero only for clean rows.
    pub h: &'a Lane,
    /// Numbers of the noisy rows, p.
    pub numbers: &'a [Lane],
    /// Log-likelihoods of the codes up to a constant for each block.
    pub codes: &'a [Lane],
    /// Means of the numbers, then log-probabilities of the codes; nothing is written if empty.
    pub out: &'a mut [Lane],
    pub scratch: &'a mut Scratch,
}

#[inline(always)]
fn add_product<const F: bool>(sum: &mut Lane, a: f32, b: &Lane) {
    for (sum, &b) in sum.0.iter_mut().zip(&b.0) {
        *sum = mul_add::<F>(a, b, *sum);
    }
}

/// The largest of some lanes, row by row.
#[inline(always)]
fn largest_of(lanes: &[Lane]) -> Lane {
    let mut largest = Lane64([f32::NEG_INFINITY; PANEL]);
    for lane in lanes {
        largest.0.iter_mut().zip(&lane.0).for_each(|(l, &x)| *l = if x > *l { x } else { *l });
    }
    largest
}

/// Adds the logarithm of `factors` to `logs` and begins a new product.
#[inline(always)]
fn take_logarithm<const F: bool>(factors: &mut Lane, logs: &mut Lane) {
    ln::<F>(&mut factors.0);
    add_product::<F>(logs, 1.0, factors);
    *factors = ONE;
}

impl Kernel for Posterior<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, _: S) {
        if S::FUSED { self.compute::<true>() } else { self.compute::<false>() }
    }
}

impl Posterior<'_> {
    #[inline(always)]
    fn compute<const F: bool>(self) {
        let Self { mixture, alpha, h, numbers, codes, out, scratch } = self;
        let Scratch { likelihood, shifted, gamma, log_density } = scratch;
        let (p, c) = (mixture.layout.numerical, mixture.layout.one_hot());
        for range in mixture.layout.ranges() {
            let largest = largest_of(&codes[range.clone()]);
            for (l, code) in likelihood[range.clone()].iter_mut().zip(&codes[range]) {
                for ((l, &x), &m) in l.0.iter_mut().zip(&code.0).zip(&largest.0) {
                    *l = (x - m).max(LEAST_LOG);
                }
                exp::<F>(&mut l.0);
            }
        }
        // First pass: unnormalised log-responsibilities.
        let mut top = Lane64([f32::NEG_INFINITY; PANEL]);
        for (k, gamma) in gamma.iter_mut().enumerate() {
            let mut square = ZERO;
            let mut factors = ONE;
            let mut logs = ZERO;
            mixture.shift::<F>(k, alpha, numbers, shifted);
            for i in 0..p {
                let y = mixture.coordinate::<F>(k, i, shifted);
                let s = mixture.variances[k * p + i];
                for l in 0..PANEL {
                    let v = mul_add::<F>(alpha.0[l] * alpha.0[l], s, h.0[l]);
                    square.0[l] += y.0[l] * y.0[l] / v;
                    factors.0[l] *= v;
                }
                if (i + 1) % TOGETHER == 0 {
                    take_logarithm::<F>(&mut factors, &mut logs);
                }
            }
            take_logarithm::<F>(&mut factors, &mut logs);
            // So far the logs are those of the determinant, which counts -1/2.
            let mut score = ZERO;
            for l in 0..PANEL {
                score.0[l] = -0.5 * (square.0[l] + logs.0[l]) + mixture.log_weights[k];
            }
            let mut factors = ONE;
            for (b, range) in mixture.layout.ranges().enumerate() {
                let sum = mixture.block_sum::<F>(k, range, likelihood);
                factors.0.iter_mut().zip(&sum.0).for_each(|(f, &s)| *f *= s);
                if b % 4 == 3 {
                    take_logarithm::<F>(&mut factors, &mut score);
                }
            }
            take_logarithm::<F>(&mut factors, &mut score);
            top.0.iter_mut().zip(&score.0).for_each(|(t, &s)| *t = if s > *t { s } else { *t });
            *gamma = score;
        }
        let mut total = ZERO;
        for gamma in gamma.iter_mut() {
            gamma.0.iter_mut().zip(&top.0).for_each(|(g, &t)| *g = (*g - t).max(LEAST_LOG));
            exp::<F>(&mut gamma.0);
            total.0.iter_mut().zip(&gamma.0).for_each(|(t, &g)| *t += g);
        }
        for gamma in gamma.iter_mut() {
            gamma.0.iter_mut().zip(&total.0).for_each(|(g, &t)| *g /= t);
        }
        ln::<F>(&mut total.0);
        for l in 0..PANEL {
            log_density.0[l] = top.0[l] + total.0[l];
        }
        if out.is_empty() {
            return;
        }
        // Second pass: means and probabilities.
        out.fill(ZERO);
        let (means, chances) = out.split_at_mut(p);
        for (k, gamma) in gamma.iter().enumerate() {
            if gamma.0.iter().all(|&g| g < NEGLIGIBLE) {
                continue;
            }
            mixture.shift::<F>(k, alpha, numbers, shifted);
            for (j, mean) in means.iter_mut().enumerate() {
                add_product::<F>(mean, mixture.means[k * p + j], gamma);
            }
            for i in 0..p {
                let mut y = mixture.coordinate::<F>(k, i, shifted);
                let s = mixture.variances[k * p + i];
                for l in 0..PANEL {
                    let a = alpha.0[l];
                    y.0[l] *= gamma.0[l] * a * s / mul_add::<F>(a * a, s, h.0[l]);
                }
                for (mean, &u) in means.iter_mut().zip(&mixture.axes[(k * p + i) * p..][..p]) {
                    add_product::<F>(mean, u, &y);
                }
            }
            for range in mixture.layout.ranges() {
                let mut share = mixture.block_sum::<F>(k, range.clone(), likelihood);
                share.0.iter_mut().zip(&gamma.0).for_each(|(s, &g)| *s = g / *s);
                for (chance, &q) in chances[range.clone()].iter_mut().zip(&mixture.levels[k * c..][range]) {
                    add_product::<F>(chance, q, &share);
                }
            }
        }
        // log(p_c l_c) as a sum: likelihoods themselves end at e^-60.
        for range in mixture.layout.ranges() {
            let largest = largest_of(&codes[range.clone()]);
            for (chance, code) in chances[range.clone()].iter_mut().zip(&codes[range]) {
                ln::<F>(&mut chance.0);
                for ((c, &x), &m) in chance.0.iter_mut().zip(&code.0).zip(&largest.0) {
                    *c = (*c + (x - m)).max(LEAST_CHANCE);
                }
            }
        }
    }
}

impl Mixture {
    /// `x - alpha mu_k`.
    #[inline(always)]
    fn shift<const F: bool>(&self, k: usize, alpha: &Lane, numbers: &[Lane], out: &mut [Lane]) {
        let means = &self.means[k * numbers.len()..][..numbers.len()];
        for ((out, x), &mean) in out.iter_mut().zip(numbers).zip(means) {
            for l in 0..PANEL {
                out.0[l] = mul_add::<F>(-mean, alpha.0[l], x.0[l]);
            }
        }
    }

    /// The `i`-th coordinate of `U_k (x - alpha mu_k)`.
    #[inline(always)]
    fn coordinate<const F: bool>(&self, k: usize, i: usize, shifted: &[Lane]) -> Lane {
        let p = shifted.len();
        let mut y = ZERO;
        for (x, &u) in shifted.iter().zip(&self.axes[(k * p + i) * p..][..p]) {
            add_product::<F>(&mut y, u, x);
        }
        y
    }

    /// `sum_c p_kbc l_bc`.
    #[inline(always)]
    fn block_sum<const F: bool>(&self, k: usize, range: std::ops::Range<usize>, likelihood: &[Lane]) -> Lane {
        let mut sum = ZERO;
        for (l, &q) in likelihood[range.clone()].iter().zip(&self.levels[k * likelihood.len()..][range]) {
            add_product::<F>(&mut sum, q, l);
        }
        sum
    }
}
