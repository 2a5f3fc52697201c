//! The comparison of stopping rules on problems that no choice of a rule has seen.
//!
//! The rule's weights were chosen on the spiral, on six components at random places and on functions in the kernel's space of
//! other smoothness, in 2, 8 and 24 dimensions. None of these is here.

use faer::linalg::evd::ComputeEigenvectors;
use faer::{Mat, MatRef, Par};
use rand::RngExt;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::problem::{Inputs, Sample, WHOLE, cross, for_all, times, with_constant};
use super::stopping::{Case, Rules, WINDOWS, compare_problems, judge};
use crate::Result;
use crate::diffusion::process::{ForwardProcess, Schedule};
use crate::kernels::gram::gram;
use crate::random::{Purpose, normal, stream};
use crate::regression::spectrum::eigen;

/// Data dimensions.
const DIMENSIONS: [usize; 4] = [2, 8, 24, 64];
/// Fresh samples that errors are measured at.
const TESTS: usize = 1000;
/// Points whose kernel's eigenvectors a function in the kernel's space is made of, and the noise added to it, for functions of
/// root mean square one.
const ANCHORS: usize = 200;
const NOISE: f64 = 0.5;

/// What is regressed.
#[derive(Clone, Copy)]
enum Kind {
    /// The clean data of a mixture on its noisy data, as the theory has it.
    Mixture(fn(usize, &mut Xoshiro256PlusPlus) -> Mixture),
    /// A function whose coordinates along the kernel's eigenvectors are random times the eigenvalue to this power; above 1/2 its
    /// norm stays bounded.
    Smooth(f64),
}

/// All problems.
const PROBLEMS: [(&str, Kind); 8] = [
    ("two components", Kind::Mixture(two)),
    ("25 narrow components", Kind::Mixture(many)),
    ("anisotropic", Kind::Mixture(anisotropic)),
    ("near a subspace", Kind::Mixture(flat)),
    ("heavy tails", Kind::Mixture(heavy)),
    ("rough function", Kind::Smooth(0.75)),
    ("smooth function", Kind::Smooth(1.25)),
    ("very smooth function", Kind::Smooth(2.0)),
];

/// A mixture of Gaussians along the axes.
struct Mixture {
    weights: Vec<f64>,
    /// A row per component.
    means: Mat<f64>,
    variances: Mat<f64>,
}

fn two(d: usize, _: &mut Xoshiro256PlusPlus) -> Mixture {
    let means = Mat::from_fn(2, d, |c, _| 1.0 - 2.0 * c as f64);
    Mixture { weights: vec![0.5; 2], means, variances: Mat::from_fn(2, d, |_, _| 0.25) }
}

fn many(d: usize, random: &mut Xoshiro256PlusPlus) -> Mixture {
    let weights: Vec<f64> = (0..25).map(|_| random.random_range(0.3..1.0)).collect();
    let means = Mat::from_fn(25, d, |_, _| normal::<f64>(random));
    Mixture { weights, means, variances: Mat::from_fn(25, d, |_, _| 0.01) }
}

fn anisotropic(d: usize, random: &mut Xoshiro256PlusPlus) -> Mixture {
    let means = Mat::from_fn(5, d, |_, _| 1.2 * normal::<f64>(random));
    let variances = Mat::from_fn(5, d, |_, _| (-1.5 + 1.2 * normal::<f64>(random)).exp());
    Mixture { weights: vec![0.2; 5], means, variances }
}

fn flat(d: usize, random: &mut Xoshiro256PlusPlus) -> Mixture {
    let within = (d / 4).max(1);
    let means = Mat::from_fn(4, d, |_, i| if i < within { normal::<f64>(random) } else { 0.0 });
    Mixture { weights: vec![0.25; 4], means, variances: Mat::from_fn(4, d, |_, i| if i < within { 0.2 } else { 1e-4 }) }
}

fn heavy(d: usize, random: &mut Xoshiro256PlusPlus) -> Mixture {
    let means = Mat::from_fn(6, d, |_, _| 0.5 * normal::<f64>(random));
    let weights: Vec<f64> = (0..6).map(|c| (1.0f64 / 3.0).powi(c)).collect();
    Mixture { weights, means, variances: Mat::from_fn(6, d, |c, _| (0.3 * 1.8f64.powi(c as i32)).powi(2)) }
}

impl Mixture {
    fn draw(&self, random: &mut Xoshiro256PlusPlus) -> Vec<f64> {
        let mut left = random.random_range(0.0..self.weights.iter().sum::<f64>());
        let mut component = 0;
        while component + 1 < self.weights.len() && left >= self.weights[component] {
            left -= self.weights[component];
            component += 1;
        }
        let along =
            |i: usize| self.means[(component, i)] + self.variances[(component, i)].sqrt() * normal::<f64>(random);
        (0..self.means.ncols()).map(along).collect()
    }

    /// `E[X_0 given alpha X_0 + sqrt(h) eps = x]`.
    fn posterior_mean(&self, x: &[f64], alpha: f64, h: f64) -> Vec<f64> {
        let spread = |c: usize, i: usize| alpha * alpha * self.variances[(c, i)] + h;
        let logarithm = |c: usize| {
            let along =
                |(i, x): (usize, &f64)| (x - alpha * self.means[(c, i)]).powi(2) / spread(c, i) + spread(c, i).ln();
            self.weights[c].ln() - 0.5 * x.iter().enumerate().map(along).sum::<f64>()
        };
        let logarithms: Vec<f64> = (0..self.weights.len()).map(logarithm).collect();
        let highest = logarithms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let shares: Vec<f64> = logarithms.iter().map(|l| (l - highest).exp()).collect();
        let total: f64 = shares.iter().sum();
        let mean = |c: usize, i: usize| {
            let away = x[i] - alpha * self.means[(c, i)];
            self.means[(c, i)] + alpha * self.variances[(c, i)] / spread(c, i) * away
        };
        (0..x.len()).map(|i| (0..shares.len()).map(|c| shares[c] / total * mean(c, i)).sum()).collect()
    }

    /// `n` samples with times from `window`.
    fn sample(&self, n: usize, window: [f64; 2], random: &mut Xoshiro256PlusPlus) -> Result<Sample> {
        let process = ForwardProcess::new(Schedule::Constant { g: 1.0 }, window[0], window[1])?;
        let d = self.means.ncols();
        let (mut inputs, mut labels, mut truth) = (Mat::zeros(n, d + 1), Mat::zeros(n, d), Mat::zeros(n, d));
        for j in 0..n {
            let clean = self.draw(random);
            let t = random.random_range(window[0]..window[1]);
            let (alpha, h) = (process.alpha(t), process.h(t));
            let noisy: Vec<f64> = clean.iter().map(|x| alpha * x + h.sqrt() * normal::<f64>(random)).collect();
            let mean = self.posterior_mean(&noisy, alpha, h);
            for i in 0..d {
                (inputs[(j, i)], labels[(j, i)], truth[(j, i)]) = (noisy[i], clean[i], mean[i]);
            }
            inputs[(j, d)] = t - window[0];
        }
        Ok(Sample { inputs, labels, truth })
    }
}

/// Samples to fit and samples to test.
fn draw(task: &Task) -> Result<[Sample; 2]> {
    let purposes = [Purpose::Regression, Purpose::Estimate, Purpose::Data];
    let [mut fit, mut test, mut choice] = purposes.map(|purpose| stream(task.seed, purpose));
    match task.kind {
        Kind::Mixture(make) => {
            let mixture = make(task.d, &mut choice);
            let sample = |n, random: &mut Xoshiro256PlusPlus| mixture.sample(n, task.window, random);
            Ok([sample(task.samples, &mut fit)?, sample(TESTS, &mut test)?])
        }
        Kind::Smooth(power) => {
            let mixture = two(task.d, &mut choice);
            let inputs = |n, random: &mut Xoshiro256PlusPlus| -> Result<Mat<f64>> {
                Ok(with_constant(mixture.sample(n, task.window, random)?.inputs.as_ref()))
            };
            let anchors = inputs(ANCHORS, &mut choice)?;
            let kernel = gram(anchors.as_ref(), Par::Seq)?;
            let (values, vectors) = eigen(kernel.as_ref(), ComputeEigenvectors::Yes)?;
            let largest = values[values.len() - 1];
            // Along eigenvectors that rounding has made the function has no part.
            let factor = |value: f64| {
                if value > 1e-10 * largest { (value / largest).powf(power) / value } else { 0.0 }
            };
            let coordinates = Mat::from_fn(ANCHORS, task.d, |j, _| factor(values[j]) * normal::<f64>(&mut choice));
            let weights = times(vectors.as_ref(), coordinates.as_ref());
            let at = |z: MatRef<'_, f64>| -> Result<Mat<f64>> {
                Ok(times(cross(z, anchors.as_ref(), Par::Seq)?.as_ref(), weights.as_ref()))
            };
            let scale = (at(anchors.as_ref())?.squared_norm_l2() / (ANCHORS * task.d) as f64).sqrt();
            let sample = |n, random: &mut Xoshiro256PlusPlus| -> Result<Sample> {
                let inputs = inputs(n, random)?;
                let found = at(inputs.as_ref())?;
                let truth = Mat::from_fn(n, task.d, |j, i| found[(j, i)] / scale);
                let labels = Mat::from_fn(n, task.d, |j, i| truth[(j, i)] + NOISE * normal::<f64>(random));
                Ok(Sample { inputs, labels, truth })
            };
            Ok([sample(task.samples, &mut fit)?, sample(TESTS, &mut test)?])
        }
    }
}

struct Task {
    name: &'static str,
    kind: Kind,
    d: usize,
    samples: usize,
    window: [f64; 2],
    seed: u64,
}

/// Compares the stopping rules on eight problems in 2, 8, 24 and 64 dimensions, with each of `sizes` samples and a seed for
/// each of `seeds`, on the threads of the current rayon pool. Mixtures have all noise levels under even seeds, low ones under
/// odd. `observe` is told the share that is done.
///
/// # Errors
/// Those of the computations, which do not occur with sizes of some thousands.
pub fn unseen(sizes: &[usize], seeds: std::ops::Range<u64>, observe: &mut dyn FnMut(f64)) -> Result<Rules> {
    let mut tasks = Vec::new();
    for (name, kind) in PROBLEMS {
        for d in DIMENSIONS {
            for seed in seeds.clone() {
                let window = if seed % 2 == 0 || matches!(kind, Kind::Smooth(_)) { WHOLE } else { WINDOWS[0].times };
                tasks.extend(sizes.iter().map(|&samples| Task { name, kind, d, samples, window, seed }));
            }
        }
    }
    tasks.sort_by_key(|task| std::cmp::Reverse(task.samples));
    let run = |task: &Task| -> Result<Case> {
        let [sample, tests] = draw(task)?;
        let case = judge(&sample, &tests, task.seed)?;
        let (inputs, window) = match task.kind {
            Kind::Mixture(_) if task.window == WHOLE => (Inputs::Plain, "all"),
            Kind::Mixture(_) => (Inputs::Plain, "low"),
            Kind::Smooth(_) => (Inputs::InSpace, "all"),
        };
        Ok(Case { problem: task.name, inputs, window, curve: Vec::new(), ..case })
    };
    let cost = |task: &Task| (task.samples as f64).powi(3);
    let total: f64 = tasks.iter().map(cost).sum();
    let done: Vec<f64> = tasks
        .iter()
        .scan(0.0, |sum, task| {
            *sum += cost(task) / total;
            Some(*sum)
        })
        .collect();
    let mut cases = for_all(&tasks, run, &mut |count| observe(done[count - 1]))?;
    cases.sort_by_key(|c| (c.problem, c.d, c.samples, c.seed));
    Ok(compare_problems(cases, &PROBLEMS.map(|(name, _)| name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn posterior_means_are_those_of_the_library() {
        use crate::diffusion::mixture::GaussianMixture;
        let process = ForwardProcess::new(Schedule::Constant { g: 1.0 }, 0.05, 3.0).unwrap();
        let own = heavy(3, &mut stream(1, Purpose::Data));
        let std: Vec<f64> = (0..6).map(|c| own.variances[(c, 0)].sqrt()).collect();
        let other = GaussianMixture::new(&own.weights, own.means.as_ref(), &std).unwrap();
        let (t, x) = (0.4, [0.3, -1.0, 2.0]);
        let mut wanted = [0.0; 3];
        other.at(&process, t).posterior_mean_into(&mut wanted, &x);
        let found = own.posterior_mean(&x, process.alpha(t), process.h(t));
        found.iter().zip(wanted).for_each(|(a, b)| assert!((a - b).abs() < 1e-12, "{a} {b}"));
    }

    #[test]
    fn every_problem_is_drawn_and_stopped_by_every_rule() {
        let found = unseen(&[64], 0..1, &mut |_| ()).unwrap();
        assert_eq!(found.cases.len(), PROBLEMS.len() * DIMENSIONS.len());
        assert!(found.cases.iter().all(|case| case.stops.iter().all(|stop| stop.1.is_finite())));
        let all = found.rows.last().unwrap();
        assert!(all.cases == found.cases.len() && all.median[0] < 1.2 && all.median[6] > all.median[0], "{all:?}");
        assert_eq!(found.rows.len(), PROBLEMS.len() + DIMENSIONS.len() + 2);
    }
}
