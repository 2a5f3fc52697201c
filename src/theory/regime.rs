//! At what width a network on a real table leaves the kernel regime.

use faer::{Mat, Par};
use rand::seq::SliceRandom;

use super::problem::{cross, for_all, panels, solve};
use crate::diffusion::process::{ForwardProcess, Schedule};
use crate::diffusion::regression_set::{Localisation, RegressionSet, RegressionSettings};
use crate::kernels::Panels;
use crate::kernels::descent::{Rule, Workspace, forward_into};
use crate::kernels::patterns::ActivationPatterns;
use crate::kernels::tangent::drift;
use crate::network::{Network, Trainer, least_squares};
use crate::random::{Purpose, stream};
use crate::regression::early_stopping::StoppingRule;
use crate::table::Table;
use crate::table::codec::{Codec, TieCode};
use crate::table::schema::{Schema, SchemaOptions};
use crate::{Error, Result};

/// Rows trained on and tested at, at most; rows that the kernel's drift is measured on, which costs their square times that of
/// the outputs.
const ROWS: usize = 2000;
const TESTS: usize = 500;
const DRIFT_ROWS: usize = 128;
/// Most iterations, where the rule would go on longer.
const MOST: u64 = 60;
/// The kernel regime is left where network and kernel regression differ by this share of the kernel's predictions.
pub const LEFT: f64 = 0.1;

/// A network of one width on the table.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct RegimePoint {
    /// Neurons.
    pub neurons: usize,
    /// Seed.
    pub seed: u64,
    /// Share of flipped activation bits at the stop.
    pub flipped: f64,
    /// `||H(tau) - H(0)||_F / ||H(0)||_F` there.
    pub change: f64,
    /// `||H(0) - H||_F / ||H||_F`.
    pub gap: f64,
    /// Root mean square of `|f_W - f_K|` over test rows at the stop, over that of `|f_K|`.
    pub difference: f64,
}

/// The answer for a table.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct Regime {
    /// Rows used.
    pub rows: usize,
    /// Columns of the coded table: the outputs d.
    pub outputs: usize,
    /// Radius of the domain, and samples dropped.
    pub radius: f64,
    /// Samples dropped by localisation.
    pub dropped: usize,
    /// Iterations: where the rule with c = 1 stops, or 60 if that comes first.
    pub iterations: u64,
    /// Where the rule stops.
    pub stop: u64,
    /// All runs.
    pub points: Vec<RegimePoint>,
    /// The width below which the predictions differ by more than a tenth, by interpolation; none if that is outside the widths
    /// tried.
    pub leaves_below: Option<f64>,
}

pub(super) fn run(
    table: &Table,
    schema: &SchemaOptions,
    widths: &[usize],
    seeds: std::ops::Range<u64>,
    observe: &mut dyn FnMut(f64),
) -> Result<Regime> {
    let seed = seeds.start;
    let codec = Codec::fit(table, &Schema::infer(table, schema)?)?;
    if codec.width() == 0 || table.rows() < 20 {
        return Err(Error::Table("the table needs at least 20 rows and a column with two values".into()));
    }
    let coded = codec.encode(table, TieCode::Spread { seed })?;
    let mut order: Vec<usize> = (0..coded.nrows()).collect();
    order.shuffle(&mut stream(seed, Purpose::Order));
    let used = (4 * order.len() / 5).min(ROWS);
    let tested = (order.len() - used).min(TESTS);
    let pick = |from: usize, rows: usize| Mat::from_fn(rows, coded.ncols(), |j, i| coded[(order[from + j], i)]);
    let process = ForwardProcess::new(Schedule::VARIANCE_PRESERVING, 1e-3, 1.0)?;
    let settings = RegressionSettings { draws: 1, localisation: Some(Localisation::new(&process)) };
    let set = RegressionSet::draw(&process, pick(0, used).as_ref(), &settings, seed)?;
    let tests = RegressionSet::draw(&process, pick(used, tested).as_ref(), &settings, seed ^ 0x7465_7374)?;
    let (d, n) = (coded.ncols(), set.inputs.nrows());

    let closed = solve(set.inputs.as_ref(), set.labels.as_ref(), None, seed, Par::rayon(0))?;
    // Signs that agree by chance make the largest eigenvalue of a narrow network's kernel larger than the limit's.
    let narrowest = widths.iter().copied().min().unwrap_or(1) as f64;
    let eta = closed.default_step()? / (1.0 + (d as f64 / narrowest).sqrt()).powi(2);
    let stop = closed.stop(StoppingRule::SHARP, eta)?;
    let iterations = stop.iterations.clamp(1, MOST);
    let kernel = cross(tests.inputs.as_ref(), set.inputs.as_ref(), Par::Seq)?;
    let wanted = closed.predict(&closed.predictor(kernel.as_ref())?, eta, iterations);
    let scale = wanted.squared_norm_l2().sqrt();
    let (z, y, at) = (panels(set.inputs.as_ref())?, panels(set.labels.as_ref())?, panels(tests.inputs.as_ref())?);
    let few = panels(set.inputs.subrows(0, n.min(DRIFT_ROWS)))?;

    let train = |&(m, seed): &(usize, u64)| -> Result<RegimePoint> {
        let mut trainer = Trainer::new(Network::symmetric(d + 1, d, m, seed)?, Rule::Descent, false, 1)?;
        let mut workspaces = Workspace::for_workers(1, d + 1, d);
        let start_network = trainer.network().clone();
        let mut start = ActivationPatterns::zeros(0, 0);
        for iteration in 0..iterations {
            trainer.step(&z, eta, 0.0, |outputs, errors| least_squares(outputs, &y, errors))?;
            if iteration == 0 {
                start = trainer.patterns().clone();
            }
        }
        let mut now = ActivationPatterns::zeros(n, m);
        let mut outputs = Panels::zeros(n, d);
        forward_into(&mut outputs, Some(&mut now), trainer.network().layers(), &z, &mut workspaces)?;
        let flipped = now.hamming(&start)? as f64 / (n * m) as f64;
        let mut predicted = Panels::zeros(at.rows(), d);
        forward_into(&mut predicted, None, trainer.network().layers(), &at, &mut workspaces)?;
        let square = |j: usize, i: usize| (f64::from(predicted.get(j, i)) - wanted[(j, i)]).powi(2);
        let squares: f64 = (0..at.rows()).map(|j| (0..d).map(|i| square(j, i)).sum::<f64>()).sum();
        let patterns = |network: &Network<f32>, workspaces: &mut Vec<Workspace<f32>>| -> Result<ActivationPatterns> {
            let mut patterns = ActivationPatterns::zeros(few.rows(), m);
            let mut outputs = Panels::zeros(few.rows(), d);
            forward_into(&mut outputs, Some(&mut patterns), network.layers(), &few, workspaces)?;
            Ok(patterns)
        };
        let first = patterns(&start_network, &mut workspaces)?;
        let last = patterns(trainer.network(), &mut workspaces)?;
        let moved = drift(&last, &first, trainer.network().a(), &few, Par::Seq)?;
        let (change, gap) = (moved.relative_change(), moved.relative_gap());
        Ok(RegimePoint { neurons: m, seed, flipped, change, gap, difference: squares.sqrt() / scale })
    };
    let mut tasks: Vec<(usize, u64)> = widths.iter().flat_map(|&m| seeds.clone().map(move |seed| (m, seed))).collect();
    tasks.sort_by_key(|task| std::cmp::Reverse(task.0));
    let total: usize = tasks.iter().map(|task| task.0).sum();
    let done: Vec<usize> = tasks
        .iter()
        .scan(0, |sum, task| {
            *sum += task.0;
            Some(*sum)
        })
        .collect();
    let mut points = for_all(&tasks, train, &mut |count| observe(done[count - 1] as f64 / total as f64))?;
    points.sort_by_key(|p| (p.neurons, p.seed));
    Ok(Regime {
        rows: used,
        outputs: d,
        radius: set.radius,
        dropped: set.dropped_far + set.dropped_early,
        iterations,
        stop: stop.iterations,
        leaves_below: crossing(&points),
        points,
    })
}

/// The width at which the mean difference falls through [`LEFT`].
fn crossing(points: &[RegimePoint]) -> Option<f64> {
    let mut widths: Vec<usize> = points.iter().map(|p| p.neurons).collect();
    widths.dedup();
    let mean = |m: usize| {
        let own: Vec<f64> = points.iter().filter(|p| p.neurons == m).map(|p| p.difference.ln()).collect();
        own.iter().sum::<f64>() / own.len() as f64
    };
    let logs: Vec<(f64, f64)> = widths.iter().map(|&m| ((m as f64).ln(), mean(m))).collect();
    logs.windows(2).find(|w| w[0].1 > LEFT.ln() && w[1].1 <= LEFT.ln()).map(|w| {
        let share = (LEFT.ln() - w[0].1) / (w[1].1 - w[0].1);
        (w[0].0 + share * (w[1].0 - w[0].0)).exp()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_width_is_interpolated() {
        let point =
            |neurons, difference| RegimePoint { neurons, seed: 0, flipped: 0.0, change: 0.0, gap: 0.0, difference };
        let points = [point(100, 0.4), point(400, 0.2), point(1600, 0.05)];
        assert!((crossing(&points).unwrap() - 800.0).abs() < 1e-6);
        assert_eq!(crossing(&points[..2]), None);
    }
}
