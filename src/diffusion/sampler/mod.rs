//! Samplers: from noise at time `T` back to data at time `T0`, given a denoiser (Song et al. 2021; Karras et al. 2022; Lu et
//! al. 2022 for DPM-Solver++).
//!
//! With `K` steps there are `K` times `T = t_0 > ... > t_(K-1) = T0`: `K - 1` moves between them, and a last step that returns
//! the denoiser's value at `T0`. One move from `t` to `s < t`, with `f = f(x, t)`:
//!
//! ```text
//! Euler-Maruyama   x + (t - s) (g/2 x + g score) + sqrt(g (t - s)) eps,   score = (alpha f - x)/h
//! ancestral        mean and variance of X_s | X_t = x, X_0 = f, exactly
//! Heun             y = x/alpha, sigma = sqrt(h)/alpha:  dy/dsigma = (y - f)/sigma, by the trapezoidal rule
//! DPM-Solver++(2M) x sqrt(h_s/h_t) - alpha_s (e^-l - 1) D, l half the gain in log-SNR, D extrapolated from the last two f
//! ```
//!
//! Rows are moved in batches of a fixed size, and each 1024 rows have their own stream of noise, so the result is the same
//! bytes for every number of threads and every batch size.

mod churn;
#[cfg(test)]
mod tests;
mod walk;

pub use churn::Churn;

use faer::{Mat, Par};

use crate::checks::check_finite;
use crate::diffusion::denoiser::Denoiser;
use crate::diffusion::process::ForwardProcess;
use crate::kernels::{PANEL, Panels, Real, check_shape};
use crate::random::{CHUNK, Purpose, chunk_streams};
use crate::{Error, Result};
use walk::Walk;

/// How one step back in time is made; see the module's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// Euler-Maruyama on the reverse stochastic differential equation; first order.
    EulerMaruyama,
    /// The exact Gaussian step given the denoiser's value; first order.
    Ancestral,
    /// Heun's rule on the probability-flow equation; second order, two denoiser calls a step.
    Heun,
    /// DPM-Solver++(2M) on the probability-flow equation; second order, one denoiser call a step.
    DpmSolver,
}

impl Method {
    /// Every method.
    pub const ALL: [Method; 4] = [Method::EulerMaruyama, Method::Ancestral, Method::Heun, Method::DpmSolver];

    /// The name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Method::EulerMaruyama => "euler",
            Method::Ancestral => "ancestral",
            Method::Heun => "heun",
            Method::DpmSolver => "dpm",
        }
    }
}

impl std::str::FromStr for Method {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Method::ALL.into_iter().find(|m| m.name() == name).ok_or_else(|| Error::Setting {
            name: "the sampler",
            value: format!("'{name}'"),
            requirement: "it must be euler, ancestral, heun or dpm",
        })
    }
}

/// Where the times of a sampler lie.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Grid {
    /// Evenly in time.
    Time,
    /// Evenly in the log signal-to-noise ratio; the same as [`Grid::Time`] under [`super::process::Schedule::LogSnr`].
    LogSnr,
    /// Evenly in `sigma^(1/rho)`, `sigma = sqrt(h)/alpha` (Karras et al., equation 5, with `rho` 7).
    Karras {
        /// Larger values put more of the times at low noise; positive.
        rho: f64,
    },
}

/// The law that sampling starts from at time `T`.
#[derive(Debug, Clone, Default)]
pub enum Start {
    /// `N(0, I)`.
    #[default]
    Standard,
    /// `N(alpha mean, alpha^2 covariance + h I)`: what Gaussian data become by time `T`.
    Gaussian {
        /// Mean of the data, `d` numbers.
        mean: Vec<f64>,
        /// Covariance of the data, `d` x `d`.
        covariance: Mat<f64>,
    },
    /// `alpha row + sqrt(h) eps`, each row by itself: what clean rows of a law become by time `T`.
    Rows {
        /// As many rows as are sampled, rows x `d`.
        rows: Mat<f64>,
    },
}

/// How to sample.
#[derive(Debug, Clone)]
pub struct Sampler {
    /// How a step is made.
    pub method: Method,
    /// Number of steps `K`; [`Method::Heun`] calls the denoiser `2K - 1` times, the others `K` times.
    pub steps: usize,
    /// Where the times lie.
    pub grid: Grid,
    /// Where sampling starts from.
    pub start: Start,
    /// Noise added back between steps; [`Method::Heun`] only.
    pub churn: Option<Churn>,
    /// Rows moved at the same time; memory is four matrices of this many rows. Rounded up to a multiple of 1024; no influence
    /// on the result.
    pub batch: usize,
}

impl Sampler {
    /// A sampler with times even in log signal-to-noise ratio, from `N(0, I)`, without churn, 8192 rows at a time.
    pub fn new(method: Method, steps: usize) -> Self {
        Self { method, steps, grid: Grid::LogSnr, start: Start::Standard, churn: None, batch: 8192 }
    }

    /// The `steps` times, from `T` down to `T0`; one step has the time `T` alone.
    ///
    /// # Errors
    /// [`Error::Setting`] for no steps or a `rho` that is not positive.
    pub fn times(&self, process: &ForwardProcess) -> Result<Vec<f64>> {
        let bad = |name, value: String, requirement| Err(Error::Setting { name, value, requirement });
        if self.steps == 0 {
            return bad("the number of sampling steps", "0".into(), "at least one step is needed");
        }
        let (late, early) = (process.end(), process.start());
        let between = |from: f64, to: f64, i: usize| from + (to - from) * i as f64 / (self.steps - 1) as f64;
        let inner: Box<dyn Fn(usize) -> f64> = match self.grid {
            Grid::Time => Box::new(|i| between(late, early, i)),
            Grid::LogSnr => {
                Box::new(|i| process.time_of_log_snr(between(process.log_snr(late), process.log_snr(early), i)))
            }
            Grid::Karras { rho } => {
                if !(rho.is_finite() && rho > 0.0) {
                    return bad("rho of the time grid", rho.to_string(), "it must be positive and finite");
                }
                let root = |t: f64| process.sigma(t).powf(1.0 / rho);
                let (from, to) = (root(late), root(early));
                Box::new(move |i| process.time_of_sigma(between(from, to, i).powf(rho)))
            }
        };
        let last = self.steps - 1;
        Ok((0..self.steps)
            .map(|i| {
                if i == 0 {
                    late
                } else if i == last {
                    early
                } else {
                    inner(i)
                }
            })
            .collect())
    }

    /// Draws `rows` rows (rows x `d`) from the law that `denoiser` describes.
    ///
    /// The same `seed` gives the same bytes for every `par` and every batch size. `progress(done, total)` is told after every
    /// denoiser call, in row-calls.
    ///
    /// # Errors
    /// [`Error::Setting`] for unusable settings, [`Error::Shape`] and [`Error::NotFinite`] for an unusable [`Start`],
    /// [`Error::NotFinite`] too if samples leave the finite numbers, and what the denoiser returns.
    pub fn run<T: Real>(
        &self,
        process: &ForwardProcess,
        denoiser: &mut (impl Denoiser<T> + ?Sized),
        rows: usize,
        seed: u64,
        par: Par,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Panels<T>> {
        let times = self.times(process)?;
        self.check_churn()?;
        let d = denoiser.dimension();
        if d == 0 {
            return Err(Error::Empty { what: "the samples' dimension", unit: "column" });
        }
        let start = self.start.prepare(process, d)?;
        if let Start::Rows { rows: clean } = &self.start {
            check_shape("the rows to start from", clean.nrows(), clean.ncols(), rows, d)?;
            check_finite("the rows to start from", clean.as_ref())?;
        }
        let calls = if self.method == Method::Heun { 2 * self.steps - 1 } else { self.steps };
        let mut out = Panels::zeros(rows, d);
        let batch = self.batch.max(1).div_ceil(CHUNK) * CHUNK;
        let mut done = 0;
        for from in (0..rows).step_by(batch) {
            let these = batch.min(rows - from);
            let mut walk = Walk {
                process,
                denoiser: &mut *denoiser,
                x: Panels::zeros(these, d),
                f: Panels::zeros(these, d),
                other: Panels::zeros(these, d),
                streams: chunk_streams(seed, Purpose::Sampling, from / CHUNK, these.div_ceil(CHUNK)),
                par,
                called: &mut || {
                    done += these;
                    progress(done, rows * calls);
                },
            };
            walk.begin(&start);
            if let Start::Rows { rows: clean } = &self.start {
                walk.around(clean, from);
            }
            match self.method {
                Method::EulerMaruyama => walk.euler_maruyama(&times)?,
                Method::Ancestral => walk.ancestral(&times)?,
                Method::Heun => walk.heun(&times, self.churn)?,
                Method::DpmSolver => walk.dpm_solver(&times)?,
            }
            let first = from / PANEL * d;
            out.lanes_mut()[first..first + walk.f.lanes().len()].copy_from_slice(walk.f.lanes());
        }
        for block in 0..out.blocks() {
            for (column, lane) in out.block(block).iter().enumerate() {
                if let Some(row) = lane.0.iter().position(|x| !x.finite()) {
                    return Err(Error::NotFinite { what: "the generated samples", row: block * PANEL + row, column });
                }
            }
        }
        Ok(out)
    }

    fn check_churn(&self) -> Result<()> {
        let Some(churn) = self.churn else { return Ok(()) };
        let bad = |name, value: String, requirement| Err(Error::Setting { name, value, requirement });
        if self.method != Method::Heun {
            return bad("churn", self.method.name().into(), "only the sampler heun can churn");
        }
        for value in [churn.amount, churn.from, churn.noise] {
            if !(value.is_finite() && value >= 0.0) {
                return bad("a setting of churn", value.to_string(), "it must be finite and not negative");
            }
        }
        if churn.to.is_nan() {
            return bad("the end of churn", "NaN".into(), "it must be a number");
        }
        Ok(())
    }
}

impl Start {
    /// Shift and lower triangular factor of the law at time `T`; `None` for the standard normal.
    fn prepare(&self, process: &ForwardProcess, d: usize) -> Result<Option<(Vec<f64>, Mat<f64>)>> {
        let Start::Gaussian { mean, covariance } = self else { return Ok(None) };
        check_shape("the mean of the starting law", mean.len(), 1, d, 1)?;
        check_shape("the covariance of the starting law", covariance.nrows(), covariance.ncols(), d, d)?;
        if let Some(row) = mean.iter().position(|m| !m.is_finite()) {
            return Err(Error::NotFinite { what: "the mean of the starting law", row, column: 0 });
        }
        check_finite("the covariance of the starting law", covariance.as_ref())?;
        let (alpha, h) = (process.alpha(process.end()), process.h(process.end()));
        let noisy = Mat::from_fn(d, d, |i, j| {
            let noise = if i == j { h } else { 0.0 };
            alpha * alpha * 0.5 * (covariance[(i, j)] + covariance[(j, i)]) + noise
        });
        let factor = cholesky(&noisy).ok_or(Error::Setting {
            name: "the covariance of the starting law",
            value: "not positive semidefinite".into(),
            requirement: "a covariance must be",
        })?;
        Ok(Some((mean.iter().map(|m| alpha * m).collect(), factor)))
    }
}

/// The lower Cholesky factor, or `None` if the matrix is not positive definite.
fn cholesky(a: &Mat<f64>) -> Option<Mat<f64>> {
    let d = a.nrows();
    let mut l = Mat::zeros(d, d);
    for j in 0..d {
        for i in j..d {
            let sum = a[(i, j)] - (0..j).map(|k| l[(i, k)] * l[(j, k)]).sum::<f64>();
            if i == j {
                if sum.is_nan() || sum <= 0.0 {
                    return None;
                }
                l[(j, j)] = sum.sqrt();
            } else {
                l[(i, j)] = sum / l[(j, j)];
            }
        }
    }
    Some(l)
}
