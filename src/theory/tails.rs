//! Localisation on heavy-tailed data: the rule with every sample, and on the bounded domain.

use faer::Par;

use super::problem::{Inputs, Problem, Sample, WHOLE, cross, distance, solve};
use crate::Result;
use crate::diffusion::mixture::GaussianMixture;
use crate::diffusion::process::{ForwardProcess, Schedule};
use crate::diffusion::regression_set::{Localisation, RegressionSet};
use crate::regression::early_stopping::StoppingRule;
use crate::regression::risk::Curve;

const SAMPLES: usize = 1000;
const TESTS: usize = 3000;
/// The share of noisy samples that the domain's radius holds.
const HELD: f64 = 0.95;
/// Scales of the data, each three times the one before and as likely as `SHARES` says: tails like `r^-1`.
const SCALES: usize = 6;
const SHARES: f64 = 1.0 / 3.0;

/// The rule with and without the domain; errors are measured on the domain in both cases.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct Tails {
    /// Seed.
    pub seed: u64,
    /// Radius of the domain.
    pub radius: f64,
    /// Samples drawn, and how many of them the domain drops.
    pub samples: usize,
    /// Samples dropped.
    pub dropped: usize,
    /// Largest norm of a sample.
    pub farthest: f64,
    /// Error of the zero function on the domain.
    pub untrained: f64,
    /// On every sample.
    pub everything: Stopped,
    /// On those within the domain.
    pub localised: Stopped,
}

/// A regression stopped by the rule with c = 1.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct Stopped {
    /// Iteration.
    pub iterations: u64,
    /// Estimated noise.
    pub sigma: f64,
    /// Error on the domain at the stop.
    pub error: f64,
    /// Lowest error over all iterations.
    pub best: f64,
}

pub(super) fn run(seeds: std::ops::Range<u64>, observe: &mut dyn FnMut(f64)) -> Result<Vec<Tails>> {
    let seeds: Vec<u64> = seeds.collect();
    super::problem::for_all(&seeds, |&seed| one(seed), &mut |done| observe(done as f64 / seeds.len() as f64))
}

fn one(seed: u64) -> Result<Tails> {
    // Two narrow components near the origin and ever wider ones around them.
    let means = faer::Mat::from_fn(SCALES + 1, 2, |c, i| if c < 2 && i == 0 { 1.0 - 2.0 * c as f64 } else { 0.0 });
    let weights: Vec<f64> = (0..=SCALES).map(|c| SHARES.powi(c.max(1) as i32 - 1)).collect();
    let std: Vec<f64> = (0..=SCALES).map(|c| 0.3 * 3f64.powi(c.max(1) as i32 - 1)).collect();
    let problem = Problem {
        mixture: GaussianMixture::new(&weights, means.as_ref(), &std)?,
        process: ForwardProcess::new(Schedule::Constant { g: 1.0 }, WHOLE[0], WHOLE[1])?,
        inputs: Inputs::Plain,
    };
    let all = problem.set(SAMPLES, seed, None)?;
    let norm = |set: &RegressionSet<f64>, j: usize| (0..2).map(|i| set.inputs[(j, i)].powi(2)).sum::<f64>().sqrt();
    let mut norms: Vec<f64> = (0..SAMPLES).map(|j| norm(&all, j)).collect();
    norms.sort_by(f64::total_cmp);
    let radius = norms[(HELD * SAMPLES as f64) as usize];
    let domain = Localisation { radius: Some(radius), failure: 1e-3, margin: 0.0 };
    let inside = problem.set(SAMPLES, seed, Some(domain))?;
    let dropped = inside.dropped_far;
    let tests = problem.with_truth(problem.set(TESTS, seed ^ 0x7465_7374, Some(domain))?);
    let untrained = tests.truth.squared_norm_l2() / tests.truth.nrows() as f64;
    Ok(Tails {
        seed,
        radius,
        samples: SAMPLES,
        dropped,
        farthest: norms[SAMPLES - 1],
        untrained,
        everything: stopped(&problem.with_truth(all), &tests, seed)?,
        localised: stopped(&problem.with_truth(inside), &tests, seed)?,
    })
}

fn stopped(sample: &Sample, tests: &Sample, seed: u64) -> Result<Stopped> {
    let closed = solve(sample.inputs.as_ref(), sample.labels.as_ref(), None, seed, Par::Seq)?;
    let eta = closed.default_step()?;
    let kernel = cross(tests.inputs.as_ref(), sample.inputs.as_ref(), Par::Seq)?;
    let predictor = closed.predictor(kernel.as_ref())?;
    let error = |tau| distance(closed.predict(&predictor, eta, tau).as_ref(), tests.truth.as_ref());
    let stop = closed.stop(StoppingRule::SHARP, eta)?;
    let curve = Curve::of(&Curve::grid(10_000_000, 10), error);
    Ok(Stopped {
        iterations: stop.iterations,
        sigma: stop.noise,
        error: error(stop.iterations.max(1)),
        best: curve.lowest().map_or(f64::NAN, |best| best.1),
    })
}
