//! What boosted trees say: whether they can tell two tables apart, and how well they predict real rows after learning from
//! generated ones.

use super::boosting::{Binned, Boosted, Growth, Loss};
use super::rows::{Layout, Rows};
use super::two_sample::{TwoSample, area_under_curve, cross_validate};
use super::{TargetScore, TreeColumn};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;

/// The settings with which the tabular-diffusion papers' detector runs.
const DETECTOR: Growth = Growth { loss: Loss::Logistic, rounds: 100, depth: 6, least_weight: 1.0 };
/// The settings of the predictor; how many rounds of these are used is chosen on held-out rows.
const PREDICTOR: Growth = Growth { loss: Loss::Logistic, rounds: 100, depth: 5, least_weight: 10.0 };
const ROUNDS: [usize; 3] = [10, 50, 100];
/// One row in this many chooses the number of rounds.
const HELD_OUT: usize = 9;
/// Most levels of a target that are predicted, each against the others; the rarest are left out.
const MOST_LEVELS: usize = 10;

/// Columns as the trees see them: numbers as they are, categories as the positions of their levels.
fn features(layout: &Layout, tables: [&Rows; 2], without: Option<(bool, usize)>) -> Vec<Vec<f64>> {
    let kept = layout.order.iter().filter(|&&column| Some(column) != without);
    kept.map(|&(numerical, index)| {
        let of = |rows: &Rows| -> Vec<f64> {
            if numerical {
                rows.numbers[index].clone()
            } else {
                rows.levels[index].iter().map(|&level| f64::from(level)).collect()
            }
        };
        tables.map(of).concat()
    })
    .collect()
}

/// The two-sample test, and the share of each column in what the trees' splits gained, largest first.
pub(super) fn two_sample_test(
    layout: &Layout,
    train: &Rows,
    synthetic: &Rows,
    seed: u64,
    threads: usize,
) -> (TwoSample, Vec<TreeColumn>) {
    let columns = features(layout, [train, synthetic], None);
    let labels: Vec<f64> =
        (0..train.count + synthetic.count).map(|row| if row < train.count { 1.0 } else { 0.0 }).collect();
    let mut gains = vec![0.0; columns.len()];
    let found = cross_validate(train, synthetic, seed, |fitted, held| {
        let binned = Binned::new(&columns, fitted, threads);
        let model = Boosted::fit(&binned, fitted, &labels, &DETECTOR, threads);
        gains.iter_mut().zip(&model.gains).for_each(|(sum, gain)| *sum += gain);
        held.iter().map(|&row| model.score(&binned, row as usize, DETECTOR.rounds)).collect()
    });
    let all: f64 = gains.iter().sum();
    let share = |gain: f64| if all > 0.0 { gain / all } else { 0.0 };
    let mut named: Vec<TreeColumn> = layout
        .order
        .iter()
        .zip(gains)
        .map(|(&column, gain)| TreeColumn { name: layout.name(column).to_owned(), gain_share: share(gain) })
        .collect();
    named.sort_by(|a, b| b.gain_share.total_cmp(&a.gain_share));
    (found, named)
}

/// The column to be predicted: the named one, or the last.
pub(super) fn target(layout: &Layout, name: Option<&str>) -> Option<(bool, usize)> {
    let named = |name| layout.order.iter().copied().find(|&column| layout.name(column) == name);
    name.map_or_else(|| layout.order.last().copied(), named)
}

/// How well trees that have learnt one column from the others on `[train, synthetic]` predict it on test rows, or why not.
pub(super) fn utility(
    layout: &Layout,
    [train, test, synthetic]: &[Rows; 3],
    target: (bool, usize),
    seed: u64,
    threads: usize,
) -> Result<TargetScore, String> {
    let name = layout.name(target).to_owned();
    if layout.order.len() < 2 {
        return Err("there is no other column to predict one from".into());
    }
    let varies = |rows: &Rows| {
        if target.0 {
            let mut given = rows.numbers[target.1].iter().filter(|value| !value.is_nan());
            given.next().is_some_and(|first| given.any(|value| value != first))
        } else {
            rows.levels[target.1].iter().any(|level| *level != rows.levels[target.1][0])
        }
    };
    for (rows, which) in [(train, "training"), (test, "test"), (synthetic, "synthetic")] {
        if !varies(rows) {
            let what = if target.0 { "value" } else { "level" };
            return Err(format!("'{name}' has only one {what} in the {which} rows"));
        }
    }
    let learnt = |rows: &Rows| score(layout, (rows, test), target, seed, threads);
    let (trained_on_synthetic, trained_on_train) = (learnt(synthetic), learnt(train));
    let measure = if target.0 { "R2" } else { "AUC" };
    Ok(TargetScore { target: name, measure, trained_on_synthetic, trained_on_train })
}

/// AUC (categories, weighted by how often each occurs in the test rows) or R^2 (numbers) on test rows.
fn score(layout: &Layout, (source, test): (&Rows, &Rows), target: (bool, usize), seed: u64, threads: usize) -> f64 {
    let columns = features(layout, [source, test], Some(target));
    let mut order: Vec<u32> = (0..source.count as u32).collect();
    order.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
    let (index, first_test) = (target.1, source.count);
    if target.0 {
        let mut labels = [source.numbers[index].as_slice(), &test.numbers[index]].concat();
        order.retain(|&row| !labels[row as usize].is_nan());
        // R^2 does not change with origin and scale, and single precision holds these.
        let middle = order.iter().map(|&row| labels[row as usize]).sum::<f64>() / order.len() as f64;
        labels.iter_mut().for_each(|label| *label -= middle);
        let largest = order.iter().map(|&row| labels[row as usize].abs()).fold(f64::MIN_POSITIVE, f64::max);
        labels.iter_mut().for_each(|label| *label /= largest);
        let tested: Vec<usize> = (first_test..labels.len()).filter(|&row| !labels[row].is_nan()).collect();
        let given = || tested.iter().map(|&row| labels[row]);
        let mean = given().sum::<f64>() / tested.len().max(1) as f64;
        let spread: f64 = given().map(|label| (label - mean) * (label - mean)).sum();
        let growth = Growth { loss: Loss::Squared, ..PREDICTOR };
        let squares = |rows: &[usize], scores: &[f64]| -> f64 {
            rows.iter().zip(scores).map(|(&row, score)| (labels[row] - score) * (labels[row] - score)).sum()
        };
        let predict = predictor(&columns, &labels, &order, &growth, threads);
        let scores = predict(&tested, &|rows, scores| -squares(rows, scores));
        return 1.0 - squares(&tested, &scores) / spread;
    }
    let levels = [source.levels[index].as_slice(), &test.levels[index]].concat();
    let mut counts = vec![0usize; layout.sizes[index]];
    levels[first_test..].iter().for_each(|&level| counts[level as usize] += 1);
    let mut common: Vec<usize> = (0..counts.len()).filter(|&level| counts[level] > 0).collect();
    common.sort_by_key(|&level| std::cmp::Reverse(counts[level]));
    common.truncate(MOST_LEVELS);
    if common.len() == 2 && counts.iter().sum::<usize>() == counts[common[0]] + counts[common[1]] {
        common.truncate(1); // the two have the same AUC
    }
    let tested: Vec<usize> = (first_test..levels.len()).collect();
    let (mut sum, mut weight) = (0.0, 0.0);
    for level in common {
        let labels: Vec<f64> = levels.iter().map(|&own| if own as usize == level { 1.0 } else { 0.0 }).collect();
        let area = |rows: &[usize], scores: &[f64]| {
            let of = |label: f64| -> Vec<f64> {
                rows.iter().zip(scores).filter(|(row, _)| labels[**row] == label).map(|(_, score)| *score).collect()
            };
            area_under_curve(&of(1.0), &of(0.0))
        };
        let predict = predictor(&columns, &labels, &order, &PREDICTOR, threads);
        let scores = predict(&tested, &area);
        sum += counts[level] as f64 * area(&tested, &scores);
        weight += counts[level] as f64;
    }
    sum / weight
}

type Merit<'a> = &'a dyn Fn(&[usize], &[f64]) -> f64;

/// Learns labels from columns on rows in random order; predicts with as many rounds as have the highest merit on a ninth of
/// these rows.
fn predictor(
    columns: &[Vec<f64>],
    labels: &[f64],
    order: &[u32],
    growth: &Growth,
    threads: usize,
) -> impl Fn(&[usize], Merit<'_>) -> Vec<f64> {
    let (held, fitted) = order.split_at(order.len() / HELD_OUT);
    let mut fitted = fitted.to_vec();
    fitted.sort_unstable();
    let held: Vec<usize> = held.iter().map(|&row| row as usize).collect();
    let binned = Binned::new(columns, &fitted, threads);
    let model = Boosted::fit(&binned, &fitted, labels, growth, threads);
    move |rows, merit| {
        let predict = |rows: &[usize], rounds| -> Vec<f64> {
            rows.iter().map(|&row| model.score(&binned, row, rounds)).collect()
        };
        let mut best = (f64::NEG_INFINITY, ROUNDS[0]);
        for rounds in ROUNDS {
            let merit = merit(&held, &predict(&held, rounds));
            if merit > best.0 {
                best = (merit, rounds);
            }
        }
        predict(rows, best.1)
    }
}
