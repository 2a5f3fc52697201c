//! 64 rows side by side on their way through the denoiser, and the arithmetic on them.

use super::contrasts::OwnUnits;
use super::noise_level::{NoiseLevels, TIME_INPUTS};
use super::parts::{Base, PreconditionerParts};
use crate::kernels::elementary::exp;
use crate::kernels::{Lane64, PANEL};
use crate::simd::{Kernel, Lanes};

type Lane = Lane64<f32>;
const ZERO: Lane = Lane64([0.0; PANEL]);

/// Added to the variance of posterior means, so that rare categories do not become huge inputs.
const RARE: f32 = 0.02;

/// 64 rows on their way through the denoiser.
#[derive(Debug, Clone)]
pub(crate) struct RowBlock {
    /// Times of the rows.
    pub levels: NoiseLevels,
    /// The noisy rows, d.
    pub x: Vec<Lane>,
    /// Base values of the numbers, then log-posteriors of the one-hot columns.
    pub(in crate::model) base: Vec<Lane>,
    /// Residual scales of the numbers.
    pub(in crate::model) scale: Vec<Lane>,
    /// Sum of the outputs of the networks so far.
    pub outputs: Vec<Lane>,
    /// The denoiser's value with the networks so far: numbers, then probabilities.
    pub(in crate::model) value: Vec<Lane>,
    /// Log-likelihoods of the codes, up to a constant for each block.
    pub(in crate::model) likelihood: Vec<Lane>,
    /// The numbers in their own units.
    pub(in crate::model) own: Vec<OwnUnits>,
}

/// Rows as they are before noise: numbers and centred codes (d), and the levels of the blocks (64 x blocks).
#[derive(Debug, Clone)]
pub(crate) struct CleanBlock {
    pub values: Vec<Lane>,
    pub levels: Vec<u32>,
    pub(in crate::model) row: Vec<f32>,
}

/// Log-likelihoods of the codes, and residual scales of the numbers.
pub(super) struct Likelihoods<'a> {
    pub parts: &'a PreconditionerParts,
    pub rows: &'a mut RowBlock,
}

impl Kernel for Likelihoods<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, _: S) {
        let parts = self.parts;
        let RowBlock { levels, x, likelihood, scale, .. } = self.rows;
        let p = parts.layout.numerical;
        // Codes are e_k - f, so log p(x | k) = (alpha x_k + alpha^2 f_k) / h + what does not depend on k.
        for (k, like) in likelihood.iter_mut().enumerate() {
            let (x, frequency) = (&x[p + k], parts.means[p + k]);
            for l in 0..PANEL {
                let alpha = levels.alpha.0[l];
                like.0[l] = (alpha * x.0[l] + alpha * alpha * frequency) / levels.h.0[l];
            }
        }
        for (j, scale) in scale.iter_mut().enumerate() {
            for l in 0..PANEL {
                let at = usize::from(levels.cell[l]) * p + j;
                let share = levels.share.0[l];
                scale.0[l] = (1.0 - share) * parts.scales[at] + share * parts.scales[at + p];
            }
        }
    }
}

/// Value of the denoiser with the networks so far.
pub(super) struct Value<'a> {
    pub parts: &'a PreconditionerParts,
    pub rows: &'a mut RowBlock,
}

impl Kernel for Value<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, _: S) {
        let parts = self.parts;
        let RowBlock { levels, base, scale, outputs, value, .. } = self.rows;
        let p = parts.layout.numerical;
        // The gain: at high noise there is little left to learn and much noise to learn it from.
        let gain = if parts.base == Base::Mixture { levels.alpha } else { Lane64([1.0; PANEL]) };
        for (j, value) in value.iter_mut().enumerate() {
            let (b, u) = (&base[j].0, &outputs[j].0);
            if j < p {
                for l in 0..PANEL {
                    value.0[l] = b[l] + scale[j].0[l] * gain.0[l] * u[l];
                }
            } else {
                for l in 0..PANEL {
                    value.0[l] = b[l] + gain.0[l] * u[l];
                }
            }
        }
        for range in parts.layout.ranges() {
            softmax::<S>(&mut value[p + range.start..p + range.end]);
        }
    }
}

/// A network's inputs.
pub(super) struct Inputs<'a> {
    pub parts: &'a PreconditionerParts,
    pub rows: &'a mut RowBlock,
    pub inputs: &'a mut [Lane],
}

impl Kernel for Inputs<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        let Self { parts, rows, inputs } = self;
        let p = parts.layout.numerical;
        if parts.base == Base::Zero {
            inputs[..p].copy_from_slice(&rows.x);
            inputs[p] = rows.levels.elapsed;
            return;
        }
        Value { parts, rows }.run(s);
        let RowBlock { levels, x, scale, value, own, .. } = rows;
        let NoiseLevels { alpha, h, deviation, waves, .. } = &*levels;
        let (normalised, rest) = inputs.split_at_mut(p);
        for (j, out) in normalised.iter_mut().enumerate() {
            let (mean, variance) = (parts.means[j], parts.variances[j]);
            for l in 0..PANEL {
                let a = alpha.0[l];
                out.0[l] = (x[j].0[l] - a * mean) / (a * a * variance + h.0[l]).sqrt();
            }
        }
        let time = rest.len() - TIME_INPUTS;
        rest[time..].copy_from_slice(waves);
        if parts.base == Base::Gaussian {
            return;
        }
        let rest = &mut rest[..time];
        let (means, rest) = rest.split_at_mut(p);
        let (noise, rest) = rest.split_at_mut(p);
        for j in 0..p {
            let (mean, variance) = (parts.means[j], parts.variances[j].max(1e-6));
            for l in 0..PANEL {
                let (a, c, v) = (alpha.0[l], scale[j].0[l], value[j].0[l]);
                // The variance of X_0 is that of its posterior mean and what is left of it.
                let explained = (variance - c * c).max(0.05 * variance);
                means[j].0[l] = (v - mean) / explained.sqrt();
                // The noise that is seen has unit variance less what the posterior leaves open.
                let seen = (1.0 - a * a * c * c / h.0[l]).max(0.05);
                noise[j].0[l] = (x[j].0[l] - a * v) / (deviation.0[l] * seen.sqrt());
            }
        }
        let each = parts.steps();
        let (steps, codes) = rest.split_at_mut(each * p);
        for (i, step) in steps.iter_mut().enumerate() {
            // Knots at even distances from -1.75 to 1.75 deviations.
            let knot = if each > 1 { 3.5 * (i % each) as f32 / (each - 1) as f32 - 1.75 } else { 0.0 };
            // tanh(2 (x - knot)) = 1 - 2 / (1 + exp(4 (x - knot))).
            step.0.iter_mut().zip(&normalised[i / each].0).for_each(|(s, &x)| *s = 4.0 * (x - knot));
            exp::<false>(&mut step.0);
            step.0.iter_mut().for_each(|s| *s = 1.0 - 2.0 / (1.0 + *s));
        }
        let (codes, sums) = codes.split_at_mut(codes.len() - parts.contrasts.inputs());
        parts.contrasts.inputs_into(value, scale, own, sums);
        for (k, code) in codes.iter_mut().enumerate() {
            let (frequency, variance) = (parts.means[p + k], parts.variances[p + k]);
            let unit = 1.0 / (variance + RARE).sqrt();
            for l in 0..PANEL {
                code.0[l] = (value[p + k].0[l] - frequency) * unit;
            }
        }
    }
}

/// Losses and their derivative.
pub(super) struct Residual<'a> {
    pub parts: &'a PreconditionerParts,
    pub rows: &'a mut RowBlock,
    pub clean: &'a CleanBlock,
    pub count: usize,
    pub weights: [f32; 2],
    pub outputs: &'a mut [Lane],
}

impl Kernel for Residual<'_> {
    type Output = [f64; 2];

    #[inline(always)]
    fn run<S: Lanes>(self, _: S) -> [f64; 2] {
        let Self { parts, rows, clean, count, weights, outputs } = self;
        let RowBlock { levels, base, scale, outputs: before, .. } = rows;
        let p = parts.layout.numerical;
        let gain = if parts.base == Base::Mixture { levels.alpha } else { Lane64([1.0; PANEL]) };
        let (mut squares, mut entropy) = (0.0, 0.0);
        for (j, out) in outputs[..p].iter_mut().enumerate() {
            let mut sum = 0.0f32;
            for l in 0..PANEL {
                let wanted = (clean.values[j].0[l] - base[j].0[l]) / scale[j].0[l];
                let residual = gain.0[l] * (before[j].0[l] + out.0[l]) - wanted;
                let residual = if l < count { residual } else { 0.0 };
                sum += residual * residual;
                out.0[l] = weights[0] * gain.0[l] * residual;
            }
            squares += 0.5 * f64::from(sum);
        }
        let blocks = parts.layout.blocks.len();
        for (b, range) in parts.layout.ranges().enumerate() {
            let block = &mut outputs[p + range.start..p + range.end];
            for (k, out) in block.iter_mut().enumerate() {
                let j = p + range.start + k;
                for l in 0..PANEL {
                    out.0[l] = base[j].0[l] + gain.0[l] * (before[j].0[l] + out.0[l]);
                }
            }
            softmax::<S>(block);
            for l in 0..count {
                let label = &mut block[clean.levels[l * blocks + b] as usize].0[l];
                entropy -= f64::from(label.max(1e-30).ln());
                *label -= 1.0;
            }
            for out in block.iter_mut() {
                for l in 0..PANEL {
                    out.0[l] *= if l < count { weights[1] * gain.0[l] } else { 0.0 };
                }
            }
        }
        [squares, entropy]
    }
}

/// Exponentials divided by their sum over the given codes, in each row, the largest taken off first.
#[inline(always)]
fn softmax<S: Lanes>(codes: &mut [Lane]) {
    let mut largest = Lane64([f32::NEG_INFINITY; PANEL]);
    for code in &*codes {
        largest.0.iter_mut().zip(&code.0).for_each(|(m, &x)| *m = if x > *m { x } else { *m });
    }
    let mut sum = ZERO;
    for code in &mut *codes {
        // No quotient is subnormal, which would cost a hundred cycles and more.
        code.0.iter_mut().zip(&largest.0).for_each(|(x, &m)| *x = (*x - m).max(-80.0));
        if S::FUSED {
            exp::<true>(&mut code.0)
        } else {
            exp::<false>(&mut code.0)
        }
        sum.0.iter_mut().zip(&code.0).for_each(|(s, &x)| *s += x);
    }
    for code in codes {
        code.0.iter_mut().zip(&sum.0).for_each(|(x, &s)| *x /= s);
    }
}
