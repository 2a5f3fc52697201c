//! Gaussian mixtures: data whose score, posterior mean and log-density are known at every time of the forward process.
//!
//! With components `N(mu_c, s_c^2 I)` of weight `w_c` the noisy law at time `t` is the mixture of
//! `N(alpha mu_c, v_c I)`, `v_c = alpha^2 s_c^2 + h`. Everything below follows from the responsibilities of its components,
//! which are computed from their logarithms, the largest subtracted.

use std::f64::consts::TAU;

use faer::{Mat, MatRef, Par};
use rand::RngExt;
use rayon::prelude::*;

use crate::checks::check_finite;
use crate::diffusion::denoiser::Denoiser;
use crate::diffusion::process::ForwardProcess;
use crate::kernels::Real;
use crate::kernels::{Lane64, PANEL, Panels, check_shape, workers};
use crate::random::{CHUNK, Purpose, chunk_streams, normal, rows_in};
use crate::{Error, Result};

/// A mixture of isotropic Gaussians.
#[derive(Debug, Clone, PartialEq)]
pub struct GaussianMixture {
    weights: Vec<f64>,
    means: Mat<f64>,
    std: Vec<f64>,
}

impl GaussianMixture {
    /// A mixture of `k` components in dimension `d`.
    ///
    /// - `weights`: `k` positive numbers; they are divided by their sum.
    /// - `means`: `k` x `d`.
    /// - `std`: `k` standard deviations, each the same in all directions, in the unit of the data; positive.
    ///
    /// # Errors
    /// [`Error::Empty`] without components or dimensions, [`Error::Shape`] if the lengths differ, [`Error::NotFinite`] or
    /// [`Error::Setting`] for values that are not finite or not positive.
    pub fn new(weights: &[f64], means: MatRef<'_, f64>, std: &[f64]) -> Result<Self> {
        let (k, d) = (means.nrows(), means.ncols());
        if k == 0 {
            return Err(Error::Empty { what: "the mixture", unit: "row" });
        }
        if d == 0 {
            return Err(Error::Empty { what: "the mixture", unit: "column" });
        }
        check_shape("the mixture's weights", weights.len(), 1, k, 1)?;
        check_shape("the mixture's standard deviations", std.len(), 1, k, 1)?;
        for (name, values) in [("a weight of the mixture", weights), ("a standard deviation of the mixture", std)] {
            if let Some(bad) = values.iter().find(|x| !(x.is_finite() && **x > 0.0)) {
                let value = bad.to_string();
                return Err(Error::Setting { name, value, requirement: "it must be positive and finite" });
            }
        }
        check_finite("the mixture's means", means)?;
        let total: f64 = weights.iter().sum();
        Ok(Self { weights: weights.iter().map(|w| w / total).collect(), means: means.to_owned(), std: std.to_vec() })
    }

    /// Seven components along a spiral in the plane, broadening and thinning outwards: the demonstration's data. Mean
    /// zero, standard deviation near one in both directions.
    pub fn spiral() -> Self {
        let k = 7;
        let weights: Vec<f64> = (0..k).map(|c| 1.0 + 0.15 * (c % 3) as f64).collect();
        let place = |c: usize| {
            let (turn, radius) = (0.55 + 0.82 * c as f64, 0.35 + 0.24 * c as f64);
            [radius * turn.cos(), radius * turn.sin()]
        };
        let mean = |i: usize| (0..k).map(|c| weights[c] * place(c)[i]).sum::<f64>() / weights.iter().sum::<f64>();
        let centre = [mean(0), mean(1)];
        let means = Mat::from_fn(k, 2, |c, i| place(c)[i] - centre[i]);
        let std: Vec<f64> = (0..k).map(|c| 0.08 + 0.025 * c as f64).collect();
        Self::new(&weights, means.as_ref(), &std).expect("the numbers above are valid")
    }

    /// The data dimension `d`.
    pub fn dimension(&self) -> usize {
        self.means.ncols()
    }

    /// The weights, `k` numbers that sum to one.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The means, `k` x `d`.
    pub fn means(&self) -> MatRef<'_, f64> {
        self.means.as_ref()
    }

    /// The standard deviations, `k` numbers.
    pub fn std(&self) -> &[f64] {
        &self.std
    }

    /// The mean of the mixture, `d` numbers.
    pub fn mean(&self) -> Vec<f64> {
        let k = self.weights.len();
        (0..self.dimension()).map(|i| (0..k).map(|c| self.weights[c] * self.means[(c, i)]).sum()).collect()
    }

    /// The covariance matrix of the mixture, `d` x `d`.
    pub fn covariance(&self) -> Mat<f64> {
        let mean = self.mean();
        Mat::from_fn(self.dimension(), self.dimension(), |i, j| {
            let between = |c: usize| (self.means[(c, i)] - mean[i]) * (self.means[(c, j)] - mean[j]);
            let within = |c: usize| if i == j { self.std[c] * self.std[c] } else { 0.0 };
            (0..self.weights.len()).map(|c| self.weights[c] * (between(c) + within(c))).sum()
        })
    }

    /// `rows` independent draws, `rows` x `d`; the same seed gives the same draws.
    pub fn sample(&self, rows: usize, seed: u64) -> Mat<f64> {
        let d = self.dimension();
        let mut data = Mat::zeros(rows, d);
        for (chunk, mut stream) in chunk_streams(seed, Purpose::Data, 0, rows.div_ceil(CHUNK)).into_iter().enumerate() {
            for row in chunk * CHUNK..rows.min((chunk + 1) * CHUNK) {
                let mut left: f64 = stream.random();
                let mut component = 0;
                while component + 1 < self.weights.len() && left >= self.weights[component] {
                    left -= self.weights[component];
                    component += 1;
                }
                for i in 0..d {
                    data[(row, i)] = self.means[(component, i)] + self.std[component] * normal::<f64>(&mut stream);
                }
            }
        }
        data
    }

    /// The noisy law at time `t` of `process`.
    pub fn at(&self, process: &ForwardProcess, t: f64) -> NoisyMixture<'_> {
        self.noisy(process.alpha(t), process.h(t))
    }

    /// The law of the data themselves.
    pub fn clean(&self) -> NoisyMixture<'_> {
        self.noisy(1.0, 0.0)
    }

    fn noisy(&self, alpha: f64, h: f64) -> NoisyMixture<'_> {
        let half = 0.5 * self.dimension() as f64;
        let parts = (0..self.weights.len())
            .map(|c| {
                let spread = self.std[c] * self.std[c];
                let variance = alpha * alpha * spread + h;
                Part {
                    variance,
                    shrink: alpha * spread / variance,
                    log_weight: self.weights[c].ln() - half * (TAU * variance).ln(),
                }
            })
            .collect();
        NoisyMixture { mixture: self, alpha, parts }
    }

    /// The exact denoiser under `process`, for samplers and as the truth that others are held against.
    pub fn denoiser<'a, T: Real>(&'a self, process: &'a ForwardProcess, par: Par) -> impl Denoiser<T> + 'a {
        MixtureDenoiser { mixture: self, process, par }
    }
}

#[derive(Debug, Clone, Copy)]
struct Part {
    variance: f64,
    /// `alpha s^2 / v`, what the posterior mean keeps of `x - alpha mu`.
    shrink: f64,
    /// Log weight less the log of the Gaussian's normalisation.
    log_weight: f64,
}

/// A mixture seen at one time of the forward process. Points have `d` coordinates.
#[derive(Debug, Clone)]
pub struct NoisyMixture<'a> {
    mixture: &'a GaussianMixture,
    alpha: f64,
    parts: Vec<Part>,
}

impl NoisyMixture<'_> {
    /// Log of weight times density of component `c` at `x`.
    fn log_part(&self, c: usize, x: &[f64]) -> f64 {
        let Part { variance, log_weight, .. } = self.parts[c];
        let q: f64 = x.iter().enumerate().map(|(i, x)| (x - self.alpha * self.mixture.means[(c, i)]).powi(2)).sum();
        log_weight - 0.5 * q / variance
    }

    fn largest(&self, x: &[f64]) -> f64 {
        assert_eq!(x.len(), self.mixture.dimension(), "a point of the mixture's dimension is needed");
        (0..self.parts.len()).map(|c| self.log_part(c, x)).fold(f64::NEG_INFINITY, f64::max)
    }

    /// Writes the average over components, by responsibility, of `value(component, coordinate)`.
    fn average(&self, x: &[f64], out: &mut [f64], value: impl Fn(usize, usize) -> f64) {
        assert_eq!(out.len(), x.len(), "the output has as many coordinates as the point");
        let largest = self.largest(x);
        out.fill(0.0);
        let mut total = 0.0;
        for c in 0..self.parts.len() {
            let share = (self.log_part(c, x) - largest).exp();
            total += share;
            for (i, out) in out.iter_mut().enumerate() {
                *out += share * value(c, i);
            }
        }
        out.iter_mut().for_each(|x| *x /= total);
    }

    /// `log p_t(x)`.
    ///
    /// # Panics
    /// If `x` has not `d` coordinates.
    pub fn log_density(&self, x: &[f64]) -> f64 {
        let largest = self.largest(x);
        largest + (0..self.parts.len()).map(|c| (self.log_part(c, x) - largest).exp()).sum::<f64>().ln()
    }

    /// Writes the score, the gradient of `log p_t` at `x`.
    ///
    /// # Panics
    /// If `x` or `out` has not `d` coordinates.
    pub fn score_into(&self, out: &mut [f64], x: &[f64]) {
        let means = &self.mixture.means;
        self.average(x, out, |c, i| (self.alpha * means[(c, i)] - x[i]) / self.parts[c].variance);
    }

    /// Writes the posterior mean `f*(x, t) = E[X_0 | X_t = x]`.
    ///
    /// # Panics
    /// If `x` or `out` has not `d` coordinates.
    pub fn posterior_mean_into(&self, out: &mut [f64], x: &[f64]) {
        let means = &self.mixture.means;
        // Not (x + h score)/alpha, which cancels at high noise.
        self.average(x, out, |c, i| means[(c, i)] + self.parts[c].shrink * (x[i] - self.alpha * means[(c, i)]));
    }
}

/// The posterior mean of a mixture as a [`Denoiser`]; computed in `f64` whatever the type.
#[derive(Debug, Clone, Copy)]
struct MixtureDenoiser<'a> {
    mixture: &'a GaussianMixture,
    process: &'a ForwardProcess,
    par: Par,
}

impl<T: Real> Denoiser<T> for MixtureDenoiser<'_> {
    fn dimension(&self) -> usize {
        self.mixture.dimension()
    }

    fn denoise_into(&mut self, out: &mut Panels<T>, x: &Panels<T>, t: f64) -> Result<()> {
        let d = self.mixture.dimension();
        x.expect_shape("the noisy samples", x.rows(), d)?;
        out.expect_shape("the output", x.rows(), d)?;
        let law = self.mixture.at(self.process, t);
        let body = |(block, out): (usize, &mut [Lane64<T>])| {
            let (mut point, mut clean) = (vec![0.0; d], vec![0.0; d]);
            for row in 0..rows_in(x.rows(), block) {
                for (to, from) in point.iter_mut().zip(x.block(block)) {
                    *to = from.0[row].to_f64();
                }
                law.posterior_mean_into(&mut clean, &point);
                for (to, from) in out.iter_mut().zip(&clean) {
                    to.0[row] = T::from_f64(*from);
                }
            }
        };
        if workers(self.par) == 1 {
            out.lanes_mut().chunks_mut(d).enumerate().for_each(body);
        } else {
            out.lanes_mut().par_chunks_mut(d).with_min_len(1024 / PANEL).enumerate().for_each(body);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diffusion::process::Schedule;

    #[test]
    fn far_points_and_tiny_spreads_stay_finite() {
        let means = Mat::from_fn(2, 1, |c, _| if c == 0 { -1.0 } else { 1.0 });
        let mixture = GaussianMixture::new(&[1.0, 3.0], means.as_ref(), &[1e-8, 1e-8]).unwrap();
        let process = ForwardProcess::new(Schedule::Constant { g: 1.0 }, 1e-12, 5.0).unwrap();
        let law = mixture.at(&process, 1e-12);
        let mut out = [0.0];
        law.posterior_mean_into(&mut out, &[40.0]);
        assert!((out[0] - 1.0).abs() < 1e-2, "{out:?}");
        law.score_into(&mut out, &[40.0]);
        assert!(out[0].is_finite() && out[0] < -1e10);
        assert!(law.log_density(&[40.0]).is_finite());
        // Without noise the posterior mean is the point itself.
        mixture.clean().posterior_mean_into(&mut out, &[0.3]);
        assert!((out[0] - 0.3).abs() < 1e-12);
    }

    #[test]
    fn draws_have_the_mixture_s_moments_and_repeat() {
        let mixture = GaussianMixture::spiral();
        let (mean, covariance) = (mixture.mean(), mixture.covariance());
        assert!(mean.iter().all(|m| m.abs() < 1e-12), "{mean:?}");
        assert!((0..2).all(|i| (0.4..1.6).contains(&covariance[(i, i)])), "{covariance:?}");
        let rows = 40_000;
        let x = mixture.sample(rows, 3);
        assert_eq!(x, mixture.sample(rows, 3));
        assert_ne!(x[(0, 0)], mixture.sample(1, 4)[(0, 0)]);
        for i in 0..2 {
            let m = x.col(i).iter().sum::<f64>() / rows as f64;
            // Five standard errors.
            assert!((m - mean[i]).abs() < 5.0 * (covariance[(i, i)] / rows as f64).sqrt());
            for j in 0..2 {
                let c = (0..rows).map(|r| (x[(r, i)] - mean[i]) * (x[(r, j)] - mean[j])).sum::<f64>() / rows as f64;
                assert!((c - covariance[(i, j)]).abs() < 0.04, "{c}");
            }
        }
    }

    #[test]
    fn unusable_mixtures_are_errors() {
        let means = Mat::<f64>::zeros(2, 3);
        let new = |w: &[f64], m: MatRef<'_, f64>, s: &[f64]| GaussianMixture::new(w, m, s).unwrap_err();
        assert!(matches!(new(&[], Mat::zeros(0, 3).as_ref(), &[]), Error::Empty { .. }));
        assert!(matches!(new(&[1.0], means.as_ref(), &[1.0, 1.0]), Error::Shape { .. }));
        assert!(matches!(new(&[1.0, 0.0], means.as_ref(), &[1.0, 1.0]), Error::Setting { .. }));
        assert!(matches!(new(&[1.0, 1.0], means.as_ref(), &[1.0, f64::NAN]), Error::Setting { .. }));
        let mut infinite = means.clone();
        infinite[(1, 2)] = f64::INFINITY;
        assert!(matches!(new(&[1.0, 1.0], infinite.as_ref(), &[1.0, 1.0]), Error::NotFinite { row: 1, column: 2, .. }));
    }
}
