//! Rows five and six, and the comparison of stopping rules: kernel regression at every iteration, stopped by each rule, held
//! against the truth.

use faer::{MatRef, Par};

use super::problem::{Inputs, Problem, Sample, cross, distance, for_all, solve};
use super::slope::{Interval, median, slope};
use crate::Result;
use crate::regression::early_stopping::{
    Curve, Noise, StoppingRule, generalised_cross_validation, iteration_grid, steins_estimate,
};

/// Fresh samples that errors are measured at, and grid points to a factor of ten in iterations.
const TESTS: usize = 1000;
const PER_DECADE: usize = 20;
/// The share of samples that hold-out keeps from training.
const HELD_OUT: f64 = 0.2;
/// Iterations after which "training on" is looked at.
const TRAINED_ON: u64 = 1_000_000;

/// The stopping rules that are compared.
pub const RULES: [&str; 7] = [
    "rule, c = 1",
    "rule, c = 2e",
    "hold-out",
    "hold-out, refitted",
    "cross-validation",
    "Stein's estimate",
    "training on",
];

/// A window of diffusion times and its name; earlier times have less noise.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct Window {
    /// "low", "all" or "high".
    pub name: &'static str,
    /// First and last time.
    pub times: [f64; 2],
}

/// The noise levels of the comparison.
pub const WINDOWS: [Window; 3] = [
    Window { name: "low", times: [0.05, 0.5] },
    Window { name: "all", times: super::problem::WHOLE },
    Window { name: "high", times: [0.5, 3.0] },
];

/// One regression, stopped by every rule.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct Case {
    /// Data dimension.
    pub d: usize,
    /// What is regressed on what.
    pub inputs: Inputs,
    /// Samples.
    pub samples: usize,
    /// Noise level.
    pub window: &'static str,
    /// Seed.
    pub seed: u64,
    /// Estimated scale of the label noise.
    pub sigma: f64,
    /// Estimated norm of the function, which the rule with c = 1 measures the noise against.
    pub norm: f64,
    /// Root mean square of the noise as the truth has it, over samples and outputs.
    pub true_sigma: f64,
    /// Critical radius with c = 1, for a function of norm one.
    pub critical_radius: f64,
    /// Last iteration that was looked at.
    pub last: u64,
    /// Iteration with the lowest error, and that error.
    pub best: (u64, f64),
    /// For each of [`RULES`] its iteration and the error there.
    pub stops: Vec<(u64, f64)>,
    /// `(tau, error)` where it was asked for.
    pub curve: Vec<(u64, f64)>,
}

impl Case {
    /// Error at the stop of rule number `rule` over the lowest error.
    pub fn ratio(&self, rule: usize) -> f64 {
        self.stops[rule].1 / self.best.1
    }
}

/// What to run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task {
    pub d: usize,
    pub inputs: Inputs,
    pub samples: usize,
    pub window: Window,
    pub seed: u64,
    pub curve: bool,
}

impl Task {
    /// About how long it takes, in units of its own.
    fn cost(&self) -> f64 {
        let n = self.samples as f64;
        if self.samples <= super::problem::EXACT { n.powi(3) } else { 1000.0 * n * n }
    }
}

/// Runs all tasks; `observe` is told the share that is done.
pub(super) fn run(tasks: &mut [Task], observe: &mut dyn FnMut(f64)) -> Result<Vec<Case>> {
    tasks.sort_by(|a, b| b.cost().total_cmp(&a.cost()));
    let total: f64 = tasks.iter().map(Task::cost).sum();
    let mut done = 0.0;
    let costs: Vec<f64> = tasks.iter().map(Task::cost).collect();
    let mut cases = for_all(tasks, case, &mut |count| {
        done += costs[count - 1];
        observe(done / total);
    })?;
    cases.sort_by_key(|c| (c.inputs, c.d, c.window, c.samples, c.seed));
    Ok(cases)
}

fn case(task: &Task) -> Result<Case> {
    let problem = Problem::new(task.d, task.window.times, task.inputs)?;
    let sample = problem.draw(task.samples, task.seed)?;
    let tests = problem.draw(TESTS, task.seed ^ 0x7465_7374)?;
    let (n, d, par) = (sample.inputs.nrows(), task.d, Par::Seq);
    let (closed, last) = solve(sample.inputs.as_ref(), sample.labels.as_ref(), None, task.seed, par)?;
    let eta = closed.default_step()?;
    let step = eta * n as f64;
    let predictor = closed.predictor(cross(tests.inputs.as_ref(), sample.inputs.as_ref(), par)?.as_ref())?;
    let error = |tau: u64| distance(closed.predict(&predictor, eta, tau).as_ref(), tests.truth.as_ref());
    let residual = |tau| closed.residual(eta, tau);
    let spectrum = closed.spectrum();
    let grid = iteration_grid(last.min(100_000), PER_DECADE);
    let sharp = StoppingRule::SHARP.stop(spectrum, step, d, residual)?;
    let noise = Noise::Known(sharp.noise);
    let theory = StoppingRule { constant: StoppingRule::THEORY, noise }.stop(spectrum, step, d, residual)?;
    let lowest = |curve: Curve| curve.lowest().map_or(1, |found| found.0);
    let crossed = lowest(generalised_cross_validation(spectrum, step, d, &grid, residual));
    let stein = lowest(steins_estimate(spectrum, step, d, sharp.noise, &grid, residual));
    let held = hold_out(&sample, &tests, spectrum, task, (&grid, step))?;
    let curve: Vec<(u64, f64)> = grid.iter().map(|&tau| (tau, error(tau))).collect();
    // The stops lie between the grid's points: the best is the best of all that were looked at.
    let at = |tau: u64| (tau, error(tau.min(last).max(1)));
    let stops = vec![
        at(sharp.iterations),
        at(theory.iterations),
        held[0],
        at(held[1].0),
        at(crossed),
        at(stein),
        at(TRAINED_ON),
    ];
    let best = curve.iter().chain(&stops[..2]).copied().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, f64::NAN));
    let true_noise = distance(sample.labels.as_ref(), sample.truth.as_ref()) / d as f64;
    Ok(Case {
        d,
        inputs: task.inputs,
        samples: n,
        window: task.window.name,
        seed: task.seed,
        sigma: sharp.noise,
        norm: sharp.norm,
        true_sigma: true_noise.sqrt(),
        critical_radius: spectrum.critical_radius(StoppingRule::SHARP.constant, sharp.noise),
        last: grid[grid.len() - 1],
        best,
        stops,
        curve: if task.curve { curve } else { Vec::new() },
    })
}

/// Hold-out: iteration and error of the regression on what is left; and the iteration of the whole one that has had the same
/// effective time.
fn hold_out(
    sample: &Sample,
    tests: &Sample,
    spectrum: &crate::regression::spectrum::Spectrum,
    task: &Task,
    (grid, step): (&[u64], f64),
) -> Result<[(u64, f64); 2]> {
    let (n, d, par) = (sample.inputs.nrows(), task.d, Par::Seq);
    let kept = n - (HELD_OUT * n as f64).round() as usize;
    // The samples are independent: the last ones are as good as any.
    let rows = |m: &'_ faer::Mat<f64>, from: usize, count: usize| m.subrows(from, count).to_owned();
    let (inputs, labels) = (rows(&sample.inputs, 0, kept), rows(&sample.labels, 0, kept));
    let (other, wanted) = (rows(&sample.inputs, kept, n - kept), rows(&sample.labels, kept, n - kept));
    let (closed, _) = solve(inputs.as_ref(), labels.as_ref(), Some(spectrum), task.seed, par)?;
    let eta = closed.default_step()?;
    let predictor = |z: MatRef<'_, f64>| closed.predictor(cross(z, inputs.as_ref(), par)?.as_ref());
    let validation = predictor(other.as_ref())?;
    let held = |tau| distance(closed.predict(&validation, eta, tau).as_ref(), wanted.as_ref());
    let tau = Curve::of(grid, held).lowest().map_or(1, |found| found.0);
    let at_tests = predictor(tests.inputs.as_ref())?;
    let error = distance(closed.predict(&at_tests, eta, tau).as_ref(), tests.truth.as_ref());
    debug_assert_eq!(labels.ncols(), d);
    let same = (eta * kept as f64 * tau as f64 / step).round().max(1.0) as u64;
    Ok([(tau, error), (same, f64::NAN)])
}

/// Medians, and the worst, of the error at each rule's stop over the lowest error.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct RuleRow {
    /// Data dimension; 0 for all.
    pub d: usize,
    /// Samples; 0 for all.
    pub samples: usize,
    /// Noise level, or "every".
    pub window: &'static str,
    /// Number of regressions.
    pub cases: usize,
    /// For each of [`RULES`].
    pub mean: Vec<f64>,
    /// For each of [`RULES`].
    pub median: Vec<f64>,
    /// For each of [`RULES`].
    pub worst: Vec<f64>,
}

/// The comparison of rules.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct Rules {
    /// Names of the rules, in the order of all lists.
    pub names: [&'static str; 7],
    /// All regressions.
    pub cases: Vec<Case>,
    /// By size, by dimension, by noise level, and over everything.
    pub rows: Vec<RuleRow>,
}

/// Sums up cases.
pub(super) fn compare(cases: Vec<Case>) -> Rules {
    let mut rows = Vec::new();
    let mut dimensions: Vec<usize> = cases.iter().map(|c| c.d).collect();
    dimensions.dedup();
    let mut sizes: Vec<usize> = cases.iter().map(|c| c.samples).collect();
    sizes.sort_unstable();
    sizes.dedup();
    for &d in &dimensions {
        rows.extend(sizes.iter().filter_map(|&n| row(&cases, d, n, "every")));
    }
    rows.extend(dimensions.iter().filter_map(|&d| row(&cases, d, 0, "every")));
    rows.extend(WINDOWS.iter().filter_map(|window| row(&cases, 0, 0, window.name)));
    rows.extend(row(&cases, 0, 0, "every"));
    Rules { names: RULES, cases, rows }
}

fn row(cases: &[Case], d: usize, samples: usize, window: &'static str) -> Option<RuleRow> {
    let own: Vec<&Case> = cases
        .iter()
        .filter(|c| {
            (d == 0 || c.d == d) && (samples == 0 || c.samples == samples) && (window == "every" || c.window == window)
        })
        .collect();
    let over = |f: fn(Vec<f64>) -> f64| {
        (0..RULES.len()).map(|rule| f(own.iter().map(|c| c.ratio(rule)).collect())).collect::<Vec<f64>>()
    };
    (!own.is_empty()).then(|| RuleRow {
        d,
        samples,
        window,
        cases: own.len(),
        mean: over(|values| values.iter().sum::<f64>() / values.len() as f64),
        median: over(median),
        worst: over(|values| values.into_iter().fold(0.0, f64::max)),
    })
}

/// How the error at the stop falls with the number of samples.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct Rate {
    /// Data dimension.
    pub d: usize,
    /// What is regressed on what.
    pub inputs: Inputs,
    /// Slope of the error at the stop with c = 1.
    pub error: Interval,
    /// Slope of the lowest error.
    pub best: Interval,
    /// Slope of the squared critical radius, which is what the theory predicts.
    pub predicted: Interval,
}

/// Slopes over all sizes of the cases.
pub(super) fn rates(cases: &[Case]) -> Vec<Rate> {
    let mut kinds: Vec<(Inputs, usize)> = cases.iter().map(|c| (c.inputs, c.d)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut seeds: Vec<u64> = cases.iter().map(|c| c.seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    let over = |kind: (Inputs, usize), quantity: fn(&Case) -> f64| {
        let of_seed = |&seed: &u64| {
            let own = cases.iter().filter(|c| (c.inputs, c.d) == kind && c.seed == seed);
            slope(&own.map(|c| (c.samples as f64, quantity(c))).collect::<Vec<_>>())
        };
        Interval::of(&seeds.iter().map(of_seed).collect::<Vec<_>>())
    };
    let rate = |&kind: &(Inputs, usize)| Rate {
        d: kind.1,
        inputs: kind.0,
        error: over(kind, |c| c.stops[0].1),
        best: over(kind, |c| c.best.1),
        predicted: over(kind, |c| c.critical_radius.powi(2)),
    };
    kinds.iter().map(rate).collect()
}
