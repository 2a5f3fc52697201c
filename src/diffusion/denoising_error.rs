//! Errors against the truth, where the truth is known: a denoiser against a Gaussian mixture, by Monte Carlo.
//!
//! The two errors of score estimation (HRX section 3),
//! `1/(T - T0) int E |f - f*|^2 dt` and `1/(T - T0) int lambda(t) E |s - grad log p_t|^2 dt` with `lambda = h^2/alpha^2`, over
//! `X_t` of the mixture. They are equal where the score is formed from the denoiser and differ by rounding only; both are
//! computed, each against its own closed form.

use faer::Par;
use rand::RngExt;

use crate::diffusion::denoiser::Denoiser;
use crate::diffusion::mixture::GaussianMixture;
use crate::diffusion::process::ForwardProcess;
use crate::kernels::Panels;
use crate::kernels::Real;
use crate::random::{CHUNK, Purpose, chunk_streams, fill_normal, stream};
use crate::{Error, Result};

/// How much work goes into an estimate: `2 strata rows` denoiser rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TruthSettings {
    /// Equal pieces that the time is cut into, each with two random times.
    pub strata: usize,
    /// Noisy samples at each time.
    pub rows: usize,
    /// Samples further from 0 than this count nothing, as on the bounded domain; infinite for all of space.
    pub radius: f64,
    /// Seed of times and samples.
    pub seed: u64,
    /// For drawing the samples; the denoiser has its own.
    pub par: Par,
}

impl Default for TruthSettings {
    fn default() -> Self {
        Self { strata: 32, rows: 256, radius: f64::INFINITY, seed: 0, par: Par::Seq }
    }
}

/// A Monte-Carlo average.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Average {
    /// The average.
    pub value: f64,
    /// Its standard error.
    pub standard_error: f64,
}

impl Average {
    /// Of two independent values or more.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let value = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|x| (x - value).powi(2)).sum::<f64>() / (n - 1.0);
        Self { value, standard_error: (variance / n).sqrt() }
    }
}

/// Errors of a denoiser, averaged over time; squared unit of the data, summed over coordinates.
#[derive(Debug, Clone, PartialEq)]
pub struct TrueError {
    /// `E |f - f*|^2`.
    pub denoiser: Average,
    /// `lambda(t) E |s - grad log p_t|^2`.
    pub score: Average,
    /// Time and mean of `|f - f*|^2` there, times rising within pairs of a stratum only.
    pub by_time: Vec<(f64, f64)>,
}

/// Estimates the errors of `denoiser` under `process` for data of law `mixture`.
///
/// The same seed draws the same samples for every denoiser, so that differences between denoisers are sharper than their
/// standard errors.
///
/// # Errors
/// [`Error::Empty`] without strata or rows, [`Error::Shape`] if the dimensions differ, and what the denoiser returns.
pub fn true_error<T: Real>(
    process: &ForwardProcess,
    mixture: &GaussianMixture,
    denoiser: &mut (impl Denoiser<T> + ?Sized),
    settings: &TruthSettings,
) -> Result<TrueError> {
    let (d, rows) = (mixture.dimension(), settings.rows);
    if settings.strata == 0 || rows == 0 {
        return Err(Error::Empty { what: "the estimate of the error", unit: "time and row" });
    }
    if denoiser.dimension() != d {
        let (found_rows, found_columns) = (rows, denoiser.dimension());
        return Err(Error::Shape { what: "the denoiser's output", rows, columns: d, found_rows, found_columns });
    }
    let mut times = stream(settings.seed, Purpose::Estimate);
    let chunks = rows.div_ceil(CHUNK);
    let (mut x, mut f) = (Panels::<T>::zeros(rows, d), Panels::<T>::zeros(rows, d));
    let (mut pairs, mut by_time) = (Vec::with_capacity(settings.strata), Vec::new());
    let (mut point, mut truth, mut score) = (vec![0.0; d], vec![0.0; d], vec![0.0; d]);
    for stratum in 0..settings.strata {
        let mut pair = [[0.0; 2]; 2];
        for (half, means) in pair.iter_mut().enumerate() {
            let share = (stratum as f64 + times.random::<f64>()) / settings.strata as f64;
            let t = process.start() + (process.end() - process.start()) * share;
            let place = 2 * stratum + half;
            let clean = mixture.sample(rows, times.random());
            let mut noise = chunk_streams(settings.seed, Purpose::Estimate, 1 + place * chunks, chunks);
            fill_normal(&mut x, &mut noise, settings.par);
            let (alpha, spread, h) = (process.alpha(t), process.sqrt_h(t), process.h(t));
            for row in 0..rows {
                for i in 0..d {
                    x.set(row, i, T::from_f64(alpha * clean[(row, i)] + spread * x.get(row, i).to_f64()));
                }
            }
            denoiser.denoise_into(&mut f, &x, t)?;
            let law = mixture.at(process, t);
            for row in 0..rows {
                (0..d).for_each(|i| point[i] = x.get(row, i).to_f64());
                if point.iter().map(|x| x * x).sum::<f64>() > settings.radius * settings.radius {
                    continue;
                }
                law.posterior_mean_into(&mut truth, &point);
                law.score_into(&mut score, &point);
                for i in 0..d {
                    let found = f.get(row, i).to_f64();
                    means[0] += (found - truth[i]).powi(2);
                    means[1] += (h / alpha * (process.score_of(found, point[i], t) - score[i])).powi(2);
                }
            }
            means.iter_mut().for_each(|sum| *sum /= rows as f64);
            by_time.push((t, means[0]));
        }
        pairs.push(pair);
    }
    let average = |which: usize| {
        let count = pairs.len() as f64;
        let value = pairs.iter().map(|pair| 0.5 * (pair[0][which] + pair[1][which])).sum::<f64>() / count;
        // The two times of a stratum tell its variance.
        let variance = pairs.iter().map(|pair| 0.25 * (pair[0][which] - pair[1][which]).powi(2)).sum::<f64>();
        Average { value, standard_error: variance.sqrt() / count }
    };
    Ok(TrueError { denoiser: average(0), score: average(1), by_time })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diffusion::process::Schedule;

    /// The truth plus a constant, or with the data's mean in its place.
    struct Wrong<'a> {
        mixture: &'a GaussianMixture,
        process: &'a ForwardProcess,
        shift: Option<f64>,
    }

    impl Denoiser<f64> for Wrong<'_> {
        fn dimension(&self) -> usize {
            2
        }

        fn denoise_into(&mut self, out: &mut Panels<f64>, x: &Panels<f64>, t: f64) -> Result<()> {
            self.mixture.denoiser(self.process, Par::Seq).denoise_into(out, x, t)?;
            for row in 0..x.rows() {
                for i in 0..2 {
                    let value = self.shift.map_or(0.0, |shift| out.get(row, i) + shift);
                    out.set(row, i, value);
                }
            }
            Ok(())
        }
    }

    fn process() -> ForwardProcess {
        ForwardProcess::new(Schedule::LOG_SNR, 0.0, 1.0).unwrap()
    }

    #[test]
    fn the_truth_has_no_error_and_a_shift_its_square() {
        let (mixture, process) = (GaussianMixture::spiral(), process());
        let settings = TruthSettings { strata: 8, rows: 70, ..TruthSettings::default() };
        let error = |shift| {
            true_error(&process, &mixture, &mut Wrong { mixture: &mixture, process: &process, shift }, &settings)
        };
        let none = error(Some(0.0)).unwrap();
        assert!(none.denoiser.value == 0.0 && none.score.value < 1e-20, "{none:?}");
        let shifted = error(Some(0.3)).unwrap();
        assert!((shifted.denoiser.value - 0.18).abs() < 1e-12 && (shifted.score.value - 0.18).abs() < 1e-9);
        assert_eq!(shifted.by_time.len(), 16);
        assert_eq!(shifted, error(Some(0.3)).unwrap());
    }

    #[test]
    fn standard_errors_cover_repetitions() {
        // A denoiser that answers 0 has the error E |f*|^2; forty repetitions against a long run.
        let (mixture, process) = (GaussianMixture::spiral(), process());
        let mut zero = Wrong { mixture: &mixture, process: &process, shift: None };
        let mut run = |strata, rows, seed| {
            let settings = TruthSettings { strata, rows, seed, ..TruthSettings::default() };
            true_error(&process, &mixture, &mut zero, &settings).unwrap().denoiser
        };
        let exact = run(400, 200, 1000).value;
        let scores: Vec<f64> = (0..40)
            .map(|seed| {
                let found = run(16, 40, seed);
                (found.value - exact) / found.standard_error
            })
            .collect();
        let spread = (scores.iter().map(|z| z * z).sum::<f64>() / 40.0).sqrt();
        assert!((0.7..1.5).contains(&spread), "{spread}");
    }

    #[test]
    fn the_domain_and_unusable_settings() {
        let (mixture, process) = (GaussianMixture::spiral(), process());
        let run = |settings: TruthSettings| {
            let mut wrong = Wrong { mixture: &mixture, process: &process, shift: Some(1.0) };
            true_error(&process, &mixture, &mut wrong, &settings)
        };
        let few = TruthSettings { strata: 4, rows: 50, ..TruthSettings::default() };
        let inside = run(TruthSettings { radius: 1.0, ..few }).unwrap().denoiser.value;
        assert!(inside > 0.1 && inside < 1.9, "{inside}");
        assert!(matches!(run(TruthSettings { rows: 0, ..few }), Err(Error::Empty { .. })));
        let line = GaussianMixture::new(&[1.0], faer::Mat::zeros(1, 1).as_ref(), &[1.0]).unwrap();
        let mut wrong = Wrong { mixture: &mixture, process: &process, shift: None };
        assert!(matches!(true_error(&process, &line, &mut wrong, &few), Err(Error::Shape { .. })));
    }
}
