//! Rows five and six, and the comparison of stopping rules: kernel regression at every iteration, stopped by each rule, held
//! against the truth.

use faer::{MatRef, Par};

use super::problem::{Inputs, Problem, Sample, cross, distance, for_all, solve};
use super::slope::{Interval, median, slope};
use crate::Result;
use crate::regression::early_stopping::{Noise, StoppingRule};
use crate::regression::risk::Curve;
use crate::regression::spectrum::Spectrum;

/// Fresh samples that errors are measured at, and grid points to a factor of ten in iterations.
const TESTS: usize = 1000;
const PER_DECADE: usize = 20;
/// The share of samples that hold-out keeps from training.
const HELD_OUT: f64 = 0.2;
/// Iterations after which "training on" is looked at, where all eigenvectors are known.
const TRAINED_ON: u64 = 1_000_000;

/// The stopping rules that are compared.
pub const RULES: [&str; 7] =
    ["rule", "rule, c = 2e", "hold-out", "hold-out, refitted", "cross-validation", "Stein's estimate", "training on"];

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
    /// What the data are.
    pub problem: &'static str,
    /// Samples.
    pub samples: usize,
    /// Noise level.
    pub window: &'static str,
    /// Seed.
    pub seed: u64,
    /// Estimated scale of the label noise.
    pub sigma: f64,
    /// Estimated norm of the function, which the rule measures the noise against.
    pub norm: f64,
    /// Root mean square of the noise as the truth has it, over samples and outputs.
    pub true_sigma: f64,
    /// Critical radius with c = 1, for a function of norm one.
    pub critical_radius: f64,
    /// Last iteration that was looked at.
    pub last: u64,
    /// Iteration with the lowest error, and that error.
    pub best: (u64, f64),
    /// For each of [`RULES`] its iteration and the error there; NaN for training on where only a Krylov space is known.
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
    let name = if task.d == 2 { "spiral" } else { "six components" };
    let case = judge(&sample, &tests, task.seed)?;
    let curve = if task.curve { case.curve } else { Vec::new() };
    Ok(Case { inputs: task.inputs, problem: name, window: task.window.name, curve, ..case })
}

/// Stops a regression by every rule and holds it against the truth at `tests`. What the case says of the problem is left to the
/// caller.
pub(super) fn judge(sample: &Sample, tests: &Sample, seed: u64) -> Result<Case> {
    let (n, d, par) = (sample.inputs.nrows(), sample.labels.ncols(), Par::Seq);
    let closed = solve(sample.inputs.as_ref(), sample.labels.as_ref(), None, seed, par)?;
    let last = closed.farthest().min(TRAINED_ON);
    let eta = closed.default_step()?;
    let step = eta * n as f64;
    let predictor = closed.predictor(cross(tests.inputs.as_ref(), sample.inputs.as_ref(), par)?.as_ref())?;
    let error = |tau: u64| distance(closed.predict(&predictor, eta, tau).as_ref(), tests.truth.as_ref());
    let residual = |tau| closed.residual(eta, tau);
    let spectrum = closed.spectrum();
    let grid = Curve::grid(last.min(100_000), PER_DECADE);
    let sharp = closed.stop(StoppingRule::SHARP, eta)?;
    let noise = Noise::Known(sharp.noise);
    let theory = closed.stop(StoppingRule { constant: StoppingRule::THEORY, noise }, eta)?;
    let lowest = |curve: Curve| curve.lowest().map_or(1, |found| found.0);
    let crossed = lowest(Curve::generalised_cross_validation(spectrum, step, d, &grid, residual));
    let stein = lowest(Curve::steins_estimate(spectrum, step, d, sharp.noise, &grid, residual));
    let held = hold_out(sample, tests, spectrum, seed, (&grid, step))?;
    let curve: Vec<(u64, f64)> = grid.iter().map(|&tau| (tau, error(tau))).collect();
    let at = |tau: u64| (tau, error(tau.min(last).max(1)));
    let on = if last == TRAINED_ON { error(TRAINED_ON) } else { f64::NAN };
    let stops = vec![
        at(sharp.iterations),
        at(theory.iterations),
        held[0],
        at(held[1].0),
        at(crossed),
        at(stein),
        (TRAINED_ON, on),
    ];
    // The stops of the whole regression lie between the grid's points: the best is the best of all that were looked at.
    let whole = [0, 1, 3, 6].map(|rule| stops[rule]);
    let looked = curve.iter().copied().chain(whole).filter(|found| found.1.is_finite());
    let best = looked.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((0, f64::NAN));
    let true_noise = distance(sample.labels.as_ref(), sample.truth.as_ref()) / d as f64;
    Ok(Case {
        d,
        inputs: Inputs::Plain,
        problem: "",
        samples: n,
        window: "all",
        seed,
        sigma: sharp.noise,
        norm: sharp.norm,
        true_sigma: true_noise.sqrt(),
        critical_radius: spectrum.critical_radius(StoppingRule::SHARP.constant, sharp.noise),
        last: grid[grid.len() - 1],
        best,
        stops,
        curve,
    })
}

/// Hold-out: iteration and error of the regression on what is left; and the iteration of the whole one that has had the same
/// effective time.
fn hold_out(
    sample: &Sample,
    tests: &Sample,
    spectrum: &Spectrum,
    seed: u64,
    (grid, step): (&[u64], f64),
) -> Result<[(u64, f64); 2]> {
    let (n, par) = (sample.inputs.nrows(), Par::Seq);
    let kept = n - (HELD_OUT * n as f64).round() as usize;
    // The samples are independent: the last ones are as good as any.
    let rows = |m: &'_ faer::Mat<f64>, from: usize, count: usize| m.subrows(from, count).to_owned();
    let (inputs, labels) = (rows(&sample.inputs, 0, kept), rows(&sample.labels, 0, kept));
    let (other, wanted) = (rows(&sample.inputs, kept, n - kept), rows(&sample.labels, kept, n - kept));
    let closed = solve(inputs.as_ref(), labels.as_ref(), Some(spectrum), seed, par)?;
    let eta = closed.default_step()?;
    let predictor = |z: MatRef<'_, f64>| closed.predictor(cross(z, inputs.as_ref(), par)?.as_ref());
    let validation = predictor(other.as_ref())?;
    let held = |tau| distance(closed.predict(&validation, eta, tau).as_ref(), wanted.as_ref());
    let tau = Curve::of(grid, held).lowest().map_or(1, |found| found.0);
    let at_tests = predictor(tests.inputs.as_ref())?;
    let error = distance(closed.predict(&at_tests, eta, tau).as_ref(), tests.truth.as_ref());
    let same = (eta * kept as f64 * tau as f64 / step).round().max(1.0) as u64;
    Ok([(tau, error), (same, f64::NAN)])
}

/// Medians, and the worst, of the error at each rule's stop over the lowest error; regressions without a figure are passed over.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct RuleRow {
    /// Data dimension; 0 for all.
    pub d: usize,
    /// Samples; 0 for all.
    pub samples: usize,
    /// Noise level, or "every".
    pub window: &'static str,
    /// What the data are, or "every".
    pub problem: &'static str,
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
    let mut dimensions: Vec<usize> = cases.iter().map(|c| c.d).collect();
    dimensions.sort_unstable();
    dimensions.dedup();
    let mut sizes: Vec<usize> = cases.iter().map(|c| c.samples).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let mut rows = Vec::new();
    for &d in &dimensions {
        rows.extend(sizes.iter().filter_map(|&n| row(&cases, RuleRow { d, samples: n, ..RuleRow::EVERY })));
    }
    rows.extend(dimensions.iter().filter_map(|&d| row(&cases, RuleRow { d, ..RuleRow::EVERY })));
    rows.extend(WINDOWS.iter().filter_map(|window| row(&cases, RuleRow { window: window.name, ..RuleRow::EVERY })));
    rows.extend(row(&cases, RuleRow::EVERY));
    Rules { names: RULES, cases, rows }
}

/// Sums up cases of many problems: by problem, dimension and size, and over everything.
pub(super) fn compare_problems(cases: Vec<Case>, problems: &[&'static str]) -> Rules {
    let mut rows = Vec::new();
    rows.extend(problems.iter().filter_map(|problem| row(&cases, RuleRow { problem, ..RuleRow::EVERY })));
    let mut dimensions: Vec<usize> = cases.iter().map(|c| c.d).collect();
    dimensions.sort_unstable();
    dimensions.dedup();
    rows.extend(dimensions.iter().filter_map(|&d| row(&cases, RuleRow { d, ..RuleRow::EVERY })));
    let mut sizes: Vec<usize> = cases.iter().map(|c| c.samples).collect();
    sizes.sort_unstable();
    sizes.dedup();
    rows.extend(sizes.iter().filter_map(|&samples| row(&cases, RuleRow { samples, ..RuleRow::EVERY })));
    rows.extend(row(&cases, RuleRow::EVERY));
    Rules { names: RULES, cases, rows }
}

impl RuleRow {
    /// All regressions, none of them counted yet.
    const EVERY: Self = Self {
        d: 0,
        samples: 0,
        window: "every",
        problem: "every",
        cases: 0,
        mean: Vec::new(),
        median: Vec::new(),
        worst: Vec::new(),
    };
}

/// Sums up the cases that `which` describes, if there are any.
fn row(cases: &[Case], which: RuleRow) -> Option<RuleRow> {
    let fits = |asked: &str, own: &str| asked == "every" || asked == own;
    let own: Vec<&Case> = cases
        .iter()
        .filter(|c| (which.d == 0 || c.d == which.d) && (which.samples == 0 || c.samples == which.samples))
        .filter(|c| fits(which.window, c.window) && fits(which.problem, c.problem))
        .collect();
    let over = |f: fn(Vec<f64>) -> f64| -> Vec<f64> {
        let known = |rule| own.iter().map(move |c| c.ratio(rule)).filter(|ratio| ratio.is_finite());
        (0..RULES.len()).map(|rule| f(known(rule).collect())).collect()
    };
    (!own.is_empty()).then(|| RuleRow {
        cases: own.len(),
        mean: over(|values| values.iter().sum::<f64>() / values.len() as f64),
        median: over(median),
        worst: over(|values| values.into_iter().fold(f64::NAN, f64::max)),
        ..which
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
    /// Slope of the error at the rule's stop.
    pub error: Interval,
    /// Slope of the lowest error.
    pub best: Interval,
    /// Slope of the squared critical radius, which is what the theory predicts.
    pub predicted: Interval,
    /// By how much the error's slope exceeds the predicted one.
    pub beyond: Interval,
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
        // A slope is linear in the logarithms: the difference of two slopes is the slope of the quotient.
        beyond: over(kind, |c| c.stops[0].1 / c.critical_radius.powi(2)),
    };
    kinds.iter().map(rate).collect()
}
