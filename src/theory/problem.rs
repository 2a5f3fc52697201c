//! The problems that the experiments run on: score regression of Gaussian mixtures, whose answer is known.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};

use crate::diffusion::mixture::GaussianMixture;
use crate::diffusion::process::{ForwardProcess, Schedule};
use crate::diffusion::regression_set::{Localisation, RegressionSet, RegressionSettings};
use crate::kernels::Panels;
use crate::kernels::gram::{cross_gram_into, gram};
use crate::random::{Purpose, normal, stream};
use crate::regression::closed_form::ClosedForm;
use crate::regression::operator::MatrixFree;
use crate::regression::quadrature::Quadrature;
use crate::regression::spectrum::Spectrum;
use crate::simd::foreign;
use crate::{Error, Result};

/// First and last diffusion time of the Ornstein-Uhlenbeck process unless a window of noise is asked for.
pub(super) const WHOLE: [f64; 2] = [0.05, 3.0];

/// Components of the mixtures beyond the plane, and their standard deviation.
const COMPONENTS: usize = 6;
const STD: f64 = 0.3;

/// Up to this many samples the Gram matrix is decomposed; beyond, quadrature and the labels' Krylov space take its place.
pub(super) const EXACT: usize = 2048;

/// What is regressed on what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[cfg_attr(feature = "cli", serde(rename_all = "snake_case"))]
pub enum Inputs {
    /// The clean data on `z = (x, t - T0)`, as the theory has it.
    Plain,
    /// The same with a constant third part, `z = (x, t - T0, 1)`: the kernel then holds more than functions with
    /// `f(c z) = c f(z)`.
    Constant,
    /// On inputs with a constant part, a function of norm one in the kernel's space with Gaussian noise added: the setting of the
    /// theorem itself.
    InSpace,
}

/// Kernel functions that a function in the kernel's space is made of, and the noise added to it.
const ANCHORS: usize = 30;
const NOISE: f64 = 0.5;

/// A mixture under the forward process.
pub(super) struct Problem {
    pub mixture: GaussianMixture,
    pub process: ForwardProcess,
    pub inputs: Inputs,
}

/// Samples of a regression with the truth at them.
pub(super) struct Sample {
    pub inputs: Mat<f64>,
    pub labels: Mat<f64>,
    pub truth: Mat<f64>,
}

impl Problem {
    /// The spiral in the plane, or six components at random places in `d` dimensions; times from `window`.
    pub fn new(d: usize, window: [f64; 2], inputs: Inputs) -> Result<Self> {
        let mixture = if d == 2 {
            GaussianMixture::spiral()
        } else {
            // Of a seed that no data have, lest the means be the first numbers of some.
            let mut random = stream(u64::MAX - d as u64, Purpose::Data);
            let means = Mat::from_fn(COMPONENTS, d, |_, _| normal::<f64>(&mut random));
            GaussianMixture::new(&[1.0; COMPONENTS], means.as_ref(), &[STD; COMPONENTS])?
        };
        let process = ForwardProcess::new(Schedule::Constant { g: 1.0 }, window[0], window[1])?;
        Ok(Self { mixture, process, inputs })
    }

    pub fn dimension(&self) -> usize {
        self.mixture.dimension()
    }

    /// `n` samples on the domain that holds them all with probability 0.999.
    pub fn draw(&self, n: usize, seed: u64) -> Result<Sample> {
        let domain = Localisation { margin: 0.0, ..Localisation::new(&self.process) };
        let mut sample = self.with_truth(self.set(n, seed, Some(domain))?);
        if self.inputs == Inputs::Plain {
            return Ok(sample);
        }
        sample.inputs = with_constant(sample.inputs.as_ref());
        if self.inputs == Inputs::InSpace {
            let d = self.dimension();
            let anchors = with_constant(self.set(ANCHORS, u64::MAX, None)?.inputs.as_ref());
            let mut random = stream(u64::MAX, Purpose::Estimate);
            let weights = Mat::from_fn(ANCHORS, d, |_, _| normal::<f64>(&mut random));
            let kernel = gram(anchors.as_ref(), Par::Seq)?;
            let squares = times(times(weights.transpose(), kernel.as_ref()).as_ref(), weights.as_ref());
            let products = cross(sample.inputs.as_ref(), anchors.as_ref(), Par::Seq)?;
            sample.truth = times(products.as_ref(), weights.as_ref());
            let mut noise = stream(seed, Purpose::Estimate);
            for i in 0..d {
                let norm = squares[(i, i)].sqrt();
                for j in 0..sample.truth.nrows() {
                    sample.truth[(j, i)] /= norm;
                    sample.labels[(j, i)] = sample.truth[(j, i)] + NOISE * normal::<f64>(&mut noise);
                }
            }
        }
        Ok(sample)
    }

    pub fn set(&self, n: usize, seed: u64, localisation: Option<Localisation>) -> Result<RegressionSet<f64>> {
        let data = self.mixture.sample(n, seed);
        RegressionSet::draw(&self.process, data.as_ref(), &RegressionSettings { draws: 1, localisation }, seed)
    }

    pub fn with_truth(&self, set: RegressionSet<f64>) -> Sample {
        let (n, d) = (set.inputs.nrows(), self.dimension());
        let mut truth = Mat::zeros(n, d);
        let (mut x, mut f) = (vec![0.0; d], vec![0.0; d]);
        for j in 0..n {
            (0..d).for_each(|i| x[i] = set.inputs[(j, i)]);
            self.mixture.at(&self.process, set.times[j]).posterior_mean_into(&mut f, &x);
            (0..d).for_each(|i| truth[(j, i)] = f[i]);
        }
        Sample { inputs: set.inputs, labels: set.labels, truth }
    }
}

/// Kernel regression of `labels` on `inputs` at every iteration: by all eigenvectors, or beyond [`EXACT`] samples by quadrature
/// and a Krylov space of products in single precision, without an N x N matrix.
/// With a `spectrum` that is good enough none is computed beyond [`EXACT`] samples.
pub(super) fn solve(
    inputs: MatRef<'_, f64>,
    labels: MatRef<'_, f64>,
    spectrum: Option<&Spectrum>,
    seed: u64,
    par: Par,
) -> Result<ClosedForm> {
    let (n, d) = (inputs.nrows(), labels.ncols());
    if n <= EXACT {
        return ClosedForm::new(gram(inputs, par)?.as_ref(), labels, par);
    }
    let mut operator = MatrixFree::new(single(inputs).as_ref(), par)?;
    let settings = Quadrature { block: 16, sweeps: 6, probes: 16, steps: 20, seed, par };
    let spectrum = match spectrum {
        Some(spectrum) => spectrum.clone(),
        None => settings.run(&mut operator)?.spectrum()?,
    };
    let products = (640 / d).max(48);
    ClosedForm::in_krylov_space(&mut operator, labels, products * d, spectrum, par)
}

/// `count` of the samples, each the farthest in angle from those chosen before: the first, then on.
pub(super) fn farthest(sample: &Sample, count: usize) -> Sample {
    let (n, columns) = (sample.inputs.nrows(), sample.inputs.ncols());
    let norm = |j: usize| (0..columns).map(|k| sample.inputs[(j, k)].powi(2)).sum::<f64>().sqrt();
    let cosine = |i: usize, j: usize| {
        (0..columns).map(|k| sample.inputs[(i, k)] * sample.inputs[(j, k)]).sum::<f64>() / (norm(i) * norm(j))
    };
    let mut chosen = vec![0];
    let mut nearest: Vec<f64> = (0..n).map(|j| cosine(0, j)).collect();
    while chosen.len() < count.min(n) {
        let next = (0..n).min_by(|&i, &j| nearest[i].total_cmp(&nearest[j])).unwrap_or(0);
        chosen.push(next);
        nearest.iter_mut().enumerate().for_each(|(j, nearest)| *nearest = nearest.max(cosine(next, j)));
    }
    let rows = |m: &Mat<f64>| Mat::from_fn(chosen.len(), m.ncols(), |j, k| m[(chosen[j], k)]);
    Sample { inputs: rows(&sample.inputs), labels: rows(&sample.labels), truth: rows(&sample.truth) }
}

/// The kernel between test samples and samples.
pub(super) fn cross(tests: MatRef<'_, f64>, samples: MatRef<'_, f64>, par: Par) -> Result<Mat<f64>> {
    let mut kernel = Mat::zeros(tests.nrows(), samples.nrows());
    cross_gram_into(kernel.as_mut(), tests, samples, par)?;
    Ok(kernel)
}

/// A product on this thread.
pub(super) fn times(left: MatRef<'_, f64>, right: MatRef<'_, f64>) -> Mat<f64> {
    let mut out = Mat::zeros(left.nrows(), right.ncols());
    foreign(Par::Seq, || matmul(out.as_mut(), Accum::Replace, left, right, 1.0, Par::Seq));
    out
}

pub(super) fn with_constant(z: MatRef<'_, f64>) -> Mat<f64> {
    Mat::from_fn(z.nrows(), z.ncols() + 1, |j, k| if k < z.ncols() { z[(j, k)] } else { 1.0 })
}

/// Mean over rows of the squared distance.
pub(super) fn distance(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> f64 {
    (a - b).squared_norm_l2() / a.nrows() as f64
}

pub(super) fn single(m: MatRef<'_, f64>) -> Mat<f32> {
    Mat::from_fn(m.nrows(), m.ncols(), |i, j| m[(i, j)] as f32)
}

pub(super) fn panels(m: MatRef<'_, f64>) -> Result<Panels<f32>> {
    Panels::from_matrix("the samples", single(m).as_ref())
}

/// Runs `work` for every task, on all threads of the pool; results in the order of the tasks.
pub(super) fn for_all<T: Sync, R: Send>(
    tasks: &[T],
    work: impl Fn(&T) -> Result<R> + Sync,
    observe: &mut dyn FnMut(usize),
) -> Result<Vec<R>> {
    use std::sync::mpsc::channel;
    let (sender, receiver) = channel();
    let mut results: Vec<Option<R>> = (0..tasks.len()).map(|_| None).collect();
    let mut failed: Option<Error> = None;
    rayon::in_place_scope(|scope| {
        // Tasks take turns rather than being cut into halves: the first ones are the longest.
        let next = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        for _ in 0..rayon::current_num_threads() {
            let (sender, next, work) = (sender.clone(), next.clone(), &work);
            scope.spawn(move |_| {
                loop {
                    let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(task) = tasks.get(at) else { break };
                    if sender.send((at, work(task))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let mut done = 0;
        for (at, result) in receiver {
            match result {
                Ok(result) => results[at] = Some(result),
                Err(error) => failed = Some(error),
            }
            done += 1;
            observe(done);
        }
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(results.into_iter().map(|r| r.expect("every task has sent its result")).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_not_the_numbers_that_data_are_made_of() {
        for d in [8, 24] {
            let problem = Problem::new(d, WHOLE, Inputs::Plain).unwrap();
            let mut same = stream(d as u64, Purpose::Data);
            let first: Vec<f64> = (0..d).map(|_| normal(&mut same)).collect();
            let means = problem.mixture.means();
            assert!((0..d).all(|i| means[(0, i)] != first[i]));
        }
    }
}
