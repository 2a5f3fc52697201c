//! Rows one to four: training converges, patterns and kernel freeze, the network is kernel regression.

use faer::{Mat, Par};

use super::problem::{Inputs, Problem, WHOLE, cross, farthest, for_all, panels, solve};
use super::slope::{Interval, slope};
use crate::Result;
use crate::kernels::Panels;
use crate::kernels::descent::{Rule, Workspace, forward_into};
use crate::kernels::patterns::ActivationPatterns;
use crate::kernels::tangent::drift;
use crate::network::linearised::LinearisedNetwork;
use crate::network::{Network, Trainer, least_squares};

/// Samples and test samples, and iterations.
const SAMPLES: usize = 64;
const TESTS: usize = 128;
const ITERATIONS: u64 = 100;

/// One network, trained for 100 iterations.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct WidthPoint {
    /// Data dimension.
    pub d: usize,
    /// Neurons.
    pub neurons: usize,
    /// Seed.
    pub seed: u64,
    /// Share of activation bits that differ from the start at the end.
    pub flipped: f64,
    /// Share of activation bits that differed from the start after any of the iterations: the union that the theorem bounds.
    pub ever: f64,
    /// Share of the flips that switched on; the others switched off.
    pub switched_on: f64,
    /// `||H(tau) - H(0)||_F / ||H(0)||_F`.
    pub change: f64,
    /// `||H(0) - H||_F / ||H||_F`.
    pub gap: f64,
    /// Largest `|f_W - f_K|` over iterations and test points.
    pub largest_difference: f64,
    /// Largest over iterations of its root mean square over test points.
    pub difference: f64,
    /// Largest `|f_W - f_L|` over test points at the end, `f_L` the network linearised at its start.
    pub linearised: f64,
}

/// A quantity's slopes against the width.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct WidthSlope {
    /// Data dimension.
    pub d: usize,
    /// Over the widest factor of ten.
    pub widest: Interval,
    /// Over all widths.
    pub all: Interval,
}

/// Slopes of each quantity of [`WidthPoint`] in each dimension.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct Widths {
    /// Samples of the regression.
    pub samples: usize,
    /// Iterations of training.
    pub iterations: u64,
    /// All runs.
    pub points: Vec<WidthPoint>,
    /// Of [`WidthPoint::flipped`].
    pub flipped: Vec<WidthSlope>,
    /// Of [`WidthPoint::ever`].
    pub ever: Vec<WidthSlope>,
    /// Of [`WidthPoint::change`].
    pub change: Vec<WidthSlope>,
    /// Of [`WidthPoint::gap`].
    pub gap: Vec<WidthSlope>,
    /// Of [`WidthPoint::largest_difference`].
    pub largest_difference: Vec<WidthSlope>,
    /// Of [`WidthPoint::difference`].
    pub difference: Vec<WidthSlope>,
    /// Of [`WidthPoint::linearised`].
    pub linearised: Vec<WidthSlope>,
}

/// A regression with the kernel's answers to it.
struct Data {
    z: Panels<f32>,
    y: Panels<f32>,
    tests: Panels<f32>,
    step: f64,
    /// The kernel's predictions at the tests after every number of iterations from 0 on.
    kernel: Vec<Mat<f64>>,
}

impl Data {
    fn new(d: usize, seed: u64) -> Result<Self> {
        let problem = Problem::new(d, WHOLE, Inputs::Plain)?;
        let (sample, tests) = (problem.draw(SAMPLES, seed)?, problem.draw(TESTS, seed ^ 0x7465_7374)?);
        let closed = solve(sample.inputs.as_ref(), sample.labels.as_ref(), None, seed, Par::Seq)?;
        let step = closed.default_step()?;
        let predictor = closed.predictor(cross(tests.inputs.as_ref(), sample.inputs.as_ref(), Par::Seq)?.as_ref())?;
        let kernel = (0..=ITERATIONS).map(|tau| closed.predict(&predictor, step, tau)).collect();
        let (z, y) = (panels(sample.inputs.as_ref())?, panels(sample.labels.as_ref())?);
        Ok(Self { z, y, tests: panels(tests.inputs.as_ref())?, step, kernel })
    }

    fn train(&self, d: usize, neurons: usize, seed: u64) -> Result<WidthPoint> {
        let network = Network::symmetric(d + 1, d, neurons, seed)?;
        let mut trainer = Trainer::new(network.clone(), Rule::Descent, false, 1)?;
        let mut workspaces = Workspace::for_workers(1, d + 1, d);
        let mut predicted = Panels::zeros(self.tests.rows(), d);
        let mut start = ActivationPatterns::zeros(0, 0);
        let mut ever = ActivationPatterns::zeros(self.z.rows(), neurons);
        let (mut largest, mut mean) = (0.0f64, 0.0f64);
        for iteration in 0..=ITERATIONS {
            forward_into(&mut predicted, None, trainer.network().layers(), &self.tests, &mut workspaces)?;
            let kernel = &self.kernel[iteration as usize];
            let square = |row: usize, i: usize| (f64::from(predicted.get(row, i)) - kernel[(row, i)]).powi(2);
            let squares = (0..predicted.rows()).map(|row| (0..d).map(|i| square(row, i)).sum::<f64>());
            let (top, sum) = squares.fold((0.0f64, 0.0), |(top, sum), x| (top.max(x), sum + x));
            largest = largest.max(top.sqrt());
            mean = mean.max((sum / predicted.rows() as f64).sqrt());
            // The last of these steps only brings the patterns after ITERATIONS of them.
            trainer.step(&self.z, self.step, 0.0, |outputs, errors| least_squares(outputs, &self.y, errors))?;
            if iteration == 0 {
                start = trainer.patterns().clone();
            }
            ever.merge_flips(&start, trainer.patterns())?;
        }
        let now = trainer.patterns();
        let flips = now.hamming(&start)?;
        let flipped_once = ever.hamming(&ActivationPatterns::zeros(self.z.rows(), neurons))?;
        let mut linear = LinearisedNetwork::new(&network, &self.z, &self.y, self.step, Par::Seq)?;
        linear.advance(ITERATIONS)?;
        let linear = linear.predict(&self.tests)?;
        let apart =
            |row: usize| (0..d).map(|i| f64::from(predicted.get(row, i) - linear.get(row, i)).powi(2)).sum::<f64>();
        let linearised = (0..predicted.rows()).map(apart).fold(0.0, f64::max).sqrt();
        let on: u64 =
            now.words().iter().zip(start.words()).map(|(now, start)| u64::from((now & !start).count_ones())).sum();
        let moved = drift(now, &start, trainer.network().a(), &self.z, Par::Seq)?;
        Ok(WidthPoint {
            d,
            neurons,
            seed,
            flipped: flips as f64 / (self.z.rows() * neurons) as f64,
            ever: flipped_once as f64 / (self.z.rows() * neurons) as f64,
            switched_on: on as f64 / flips.max(1) as f64,
            change: moved.relative_change(),
            gap: moved.relative_gap(),
            largest_difference: largest,
            difference: mean,
            linearised,
        })
    }
}

/// Trains networks of all `widths` with `seeds` seeds in each dimension.
pub(super) fn run(
    dimensions: &[usize],
    widths: &[usize],
    seeds: std::ops::Range<u64>,
    observe: &mut dyn FnMut(f64),
) -> Result<Widths> {
    let sets: Vec<(usize, u64)> = dimensions.iter().flat_map(|&d| seeds.clone().map(move |seed| (d, seed))).collect();
    let data = for_all(&sets, |&(d, seed)| Data::new(d, seed), &mut |_| ())?;
    let mut tasks: Vec<(usize, usize)> =
        widths.iter().rev().flat_map(|&m| (0..sets.len()).map(move |set| (m, set))).collect();
    // Longest first.
    tasks.sort_by_key(|&(m, set)| std::cmp::Reverse(m * (2 * sets[set].0 + 1)));
    let cost = |&(m, set): &(usize, usize)| (m * (2 * sets[set].0 + 1)) as f64;
    let total: f64 = tasks.iter().map(cost).sum();
    let mut done: Vec<f64> = tasks.iter().map(cost).collect();
    (1..done.len()).for_each(|i| done[i] += done[i - 1]);
    let mut points = for_all(&tasks, |&(m, set)| data[set].train(sets[set].0, m, sets[set].1), &mut |count| {
        observe(done[count - 1] / total)
    })?;
    points.sort_by_key(|p| (p.d, p.neurons, p.seed));
    let slopes = |quantity: fn(&WidthPoint) -> f64| -> Vec<WidthSlope> {
        let widest = *widths.iter().max().unwrap_or(&1) as f64 / 10.0;
        let over = |d: usize, from: f64| {
            let of_seed = |seed: u64| {
                let own = points.iter().filter(|p| p.d == d && p.seed == seed && p.neurons as f64 >= from);
                slope(&own.map(|p| (p.neurons as f64, quantity(p))).collect::<Vec<_>>())
            };
            Interval::of(&seeds.clone().map(of_seed).collect::<Vec<_>>())
        };
        dimensions.iter().map(|&d| WidthSlope { d, widest: over(d, widest), all: over(d, 0.0) }).collect()
    };
    Ok(Widths {
        samples: SAMPLES,
        iterations: ITERATIONS,
        flipped: slopes(|p| p.flipped),
        ever: slopes(|p| p.ever),
        change: slopes(|p| p.change),
        gap: slopes(|p| p.gap),
        largest_difference: slopes(|p| p.largest_difference),
        difference: slopes(|p| p.difference),
        linearised: slopes(|p| p.linearised),
        points,
    })
}

/// Samples and most iterations of the runs that are held against the bound on training. Few samples, chosen far from each other
/// among more: the smallest eigenvalue is then large enough for the bound to say something, and for networks of these widths to
/// be wide. Beside them samples as they are drawn, whose smallest eigenvalue is small, and the bound with it nearly flat.
const fn few(d: usize, separated: bool) -> usize {
    match (separated, d) {
        (false, _) => 32,
        (true, 2) => 6,
        (true, _) => 16,
    }
}
const AMONG: usize = 64;
const fn longest(separated: bool) -> usize {
    if separated { 6000 } else { 1000 }
}

/// How training falls, against the bound.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct Convergence {
    /// Data dimension.
    pub d: usize,
    /// Neurons.
    pub neurons: usize,
    /// Seed.
    pub seed: u64,
    /// Samples.
    pub samples: usize,
    /// Whether they were picked far from each other, or taken as they were drawn.
    pub separated: bool,
    /// `lambda_0` over the largest eigenvalue.
    pub conditioning: f64,
    /// Largest ratio of `||u - y||^2` to the bound over all iterations from the first on; above 1 the bound is crossed.
    pub closest: f64,
    /// `(tau, ||u - y||^2, the same of kernel regression, bound)` over `||y||^2`, at some iterations.
    pub curve: Vec<[f64; 4]>,
}

/// Trains until the bound has fallen to a hundredth, or for 6000 iterations; 1000 on samples as they are drawn.
pub(super) fn convergence(
    dimensions: &[usize],
    widths: &[usize],
    seeds: std::ops::Range<u64>,
    observe: &mut dyn FnMut(f64),
) -> Result<Vec<Convergence>> {
    let mut tasks: Vec<(usize, usize, u64, bool)> = Vec::new();
    for &m in widths.iter().rev() {
        for separated in [true, false] {
            tasks.extend(dimensions.iter().flat_map(|&d| seeds.clone().map(move |seed| (d, m, seed, separated))));
        }
    }
    let all = tasks.len() as f64;
    for_all(&tasks, |&task| converge(task), &mut |done| observe(done as f64 / all))
}

fn converge((d, neurons, seed, separated): (usize, usize, u64, bool)) -> Result<Convergence> {
    let problem = Problem::new(d, WHOLE, Inputs::Plain)?;
    let samples = few(d, separated);
    let sample =
        if separated { farthest(&problem.draw(AMONG, seed)?, samples) } else { problem.draw(samples, seed)? };
    let closed = solve(sample.inputs.as_ref(), sample.labels.as_ref(), None, seed, Par::Seq)?;
    let step = closed.default_step()?;
    let n = sample.inputs.nrows() as f64;
    let lowest = closed.spectrum().values().last().copied().unwrap_or(0.0) * n;
    let (z, y) = (panels(sample.inputs.as_ref())?, panels(sample.labels.as_ref())?);
    let mut trainer = Trainer::new(Network::symmetric(d + 1, d, neurons, seed)?, Rule::Descent, false, 1)?;
    let bound = |tau: usize| (tau as f64 * (-step * lowest).ln_1p()).exp();
    let mut first = 0.0;
    let (mut closest, mut curve) = (0.0f64, Vec::new());
    let mut next = 1.0f64;
    let long = longest(separated);
    for tau in 0..=long {
        let loss = trainer.step(&z, step, 0.0, |outputs, errors| least_squares(outputs, &y, errors))?;
        if tau == 0 {
            first = loss;
            continue;
        }
        let share = loss / first;
        closest = closest.max(share / bound(tau));
        if tau as f64 >= next || tau == long {
            next = (next * 1.15).max(next + 1.0);
            curve.push([tau as f64, share, closed.residual(step, tau as u64) / closed.residual(step, 0), bound(tau)]);
        }
        if bound(tau) < 0.01 {
            break;
        }
    }
    let conditioning = closed.spectrum().values().last().copied().unwrap_or(0.0) / closed.spectrum().largest();
    Ok(Convergence { d, neurons, seed, samples: sample.inputs.nrows(), separated, conditioning, closest, curve })
}
