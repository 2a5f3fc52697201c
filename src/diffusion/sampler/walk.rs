//! One batch of rows on its way from noise to data: the moves of every method.

use faer::{Mat, Par};
use rand_xoshiro::Xoshiro256PlusPlus;
use rayon::prelude::*;

use super::churn::Churn;
use crate::Result;
use crate::diffusion::denoiser::Denoiser;
use crate::diffusion::process::ForwardProcess;
use crate::kernels::Real;
use crate::kernels::{Lane64, PANEL, Panels, workers};
use crate::random::{CHUNK, fill_normal, for_each_chunk, normal, rows_in};

/// One batch of rows on its way from `T` to `T0`. At the end `f` holds the result.
pub(super) struct Walk<'a, T, D: ?Sized> {
    pub process: &'a ForwardProcess,
    pub denoiser: &'a mut D,
    pub x: Panels<T>,
    pub f: Panels<T>,
    /// Heun: the denoiser's value at the other end of the step. DPM-Solver: its value one step before.
    pub other: Panels<T>,
    pub streams: Vec<Xoshiro256PlusPlus>,
    pub par: Par,
    pub called: &'a mut dyn FnMut(),
}

impl<T: Real, D: Denoiser<T> + ?Sized> Walk<'_, T, D> {
    pub fn begin(&mut self, start: &Option<(Vec<f64>, Mat<f64>)>) {
        fill_normal(&mut self.x, &mut self.streams, self.par);
        let Some((shift, factor)) = start else { return };
        let (rows, d) = (self.x.rows(), self.x.columns());
        let body = |(block, lanes): (usize, &mut [Lane64<T>])| {
            let mut eps = vec![0.0; d];
            for row in 0..rows_in(rows, block) {
                eps.iter_mut().zip(&*lanes).for_each(|(e, lane)| *e = lane.0[row].to_f64());
                for (i, lane) in lanes.iter_mut().enumerate() {
                    let sum: f64 = (0..=i).map(|k| factor[(i, k)] * eps[k]).sum();
                    lane.0[row] = T::from_f64(shift[i] + sum);
                }
            }
        };
        if workers(self.par) == 1 {
            self.x.lanes_mut().chunks_mut(d).enumerate().for_each(body);
        } else {
            self.x.lanes_mut().par_chunks_mut(d).enumerate().for_each(body);
        }
    }

    /// Noise around clean rows at time `T`; they begin with row `first` of `clean`.
    pub fn around(&mut self, clean: &Mat<f64>, first: usize) {
        let (alpha, deviation) = (self.process.alpha(self.process.end()), self.process.sqrt_h(self.process.end()));
        for row in 0..self.x.rows() {
            for column in 0..self.x.columns() {
                let noise = self.x.get(row, column).to_f64();
                self.x.set(row, column, T::from_f64(alpha * clean[(first + row, column)] + deviation * noise));
            }
        }
    }

    /// `f = f(x, t)`.
    fn denoise(&mut self, t: f64) -> Result<()> {
        self.denoiser.denoise_into(&mut self.f, &self.x, t)?;
        (self.called)();
        Ok(())
    }

    /// `x = keep x + a f + b other + noise eps`.
    fn update(&mut self, keep: f64, a: f64, b: f64, noise: f64) {
        let (rows, d) = (self.x.rows(), self.x.columns());
        let (f, other) = (self.f.lanes(), self.other.lanes());
        let [keep, a, b, noise] = [keep, a, b, noise].map(T::from_f64);
        for_each_chunk(&mut self.x, &mut self.streams, self.par, |chunk, lanes, stream| {
            let first = chunk * (CHUNK / PANEL) * d;
            for (k, x) in lanes.iter_mut().enumerate() {
                let (f, other) = (&f[first + k].0, &other[first + k].0);
                if b == T::ZERO {
                    // What `other` holds before the second step is never read.
                    x.0.iter_mut().zip(f).for_each(|(x, &f)| *x = keep * *x + a * f);
                } else {
                    x.0.iter_mut().zip(f).zip(other).for_each(|((x, &f), &o)| *x = keep * *x + (a * f + b * o));
                }
                if noise != T::ZERO {
                    let used = rows_in(rows, (first + k) / d);
                    x.0[..used].iter_mut().for_each(|x| *x += noise * normal::<T>(stream));
                }
            }
        });
    }

    pub fn euler_maruyama(&mut self, times: &[f64]) -> Result<()> {
        for pair in times.windows(2) {
            let (t, s) = (pair[0], pair[1]);
            self.denoise(t)?;
            let (alpha, h, speed) = (self.process.alpha(t), self.process.h(t), self.process.g(t) * (t - s));
            self.update(1.0 + 0.5 * speed - speed / h, speed * alpha / h, 0.0, speed.sqrt());
        }
        self.denoise(times[times.len() - 1])
    }

    pub fn ancestral(&mut self, times: &[f64]) -> Result<()> {
        for pair in times.windows(2) {
            self.denoise(pair[0])?;
            let bridge = self.process.bridge(pair[1], pair[0]);
            self.update(bridge.noisy, bridge.clean, 0.0, bridge.variance.sqrt());
        }
        self.denoise(times[times.len() - 1])
    }

    pub fn heun(&mut self, times: &[f64], churn: Option<Churn>) -> Result<()> {
        let process = *self.process;
        for pair in times.windows(2) {
            let (mut t, s) = (pair[0], pair[1]);
            if let Some(churn) = churn {
                let sigma = process.sigma(t);
                let more = (churn.amount / times.len() as f64).min(std::f64::consts::SQRT_2 - 1.0);
                if more > 0.0 && (churn.from..=churn.to).contains(&sigma) {
                    // The denoiser is asked for nothing noisier than T.
                    let back = process.time_of_sigma(sigma * (1.0 + more)).min(process.end());
                    let (kept, added) = process.transition(t, back);
                    self.update(kept, 0.0, 0.0, churn.noise * added.sqrt());
                    t = back;
                }
            }
            self.denoise(t)?;
            // Euler's step in y = x/alpha, written for x; then the trapezoidal rule's correction, (1-q)/(2q) times the change of f.
            let q = process.sigma(s) / process.sigma(t);
            self.update(process.sqrt_h(s) / process.sqrt_h(t), process.alpha(s) * (1.0 - q), 0.0, 0.0);
            std::mem::swap(&mut self.f, &mut self.other);
            self.denoise(s)?;
            let correction = process.alpha(s) * (1.0 - q) / (2.0 * q);
            self.update(1.0, correction, -correction, 0.0);
        }
        self.denoise(times[times.len() - 1])
    }

    pub fn dpm_solver(&mut self, times: &[f64]) -> Result<()> {
        let process = *self.process;
        let mut previous = None;
        for pair in times.windows(2) {
            let (t, s) = (pair[0], pair[1]);
            self.denoise(t)?;
            let gain = 0.5 * (process.log_snr(s) - process.log_snr(t));
            let weight = -process.alpha(s) * (-gain).exp_m1();
            let ahead = previous.map_or(0.0, |previous: f64| 0.5 * gain / previous);
            self.update(process.sqrt_h(s) / process.sqrt_h(t), weight * (1.0 + ahead), -weight * ahead, 0.0);
            std::mem::swap(&mut self.f, &mut self.other);
            previous = Some(gain);
        }
        self.denoise(times[times.len() - 1])
    }
}
