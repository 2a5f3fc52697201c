//! Distance to the closest record: does a synthetic table sit nearer to its training rows than to other real rows?

use super::neighbours::{Points, nearest_l1};
use super::rows::{Layout, Rows, Three};
use super::statistics::{quantile, sorted};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;

/// Most disjoint draws of training rows for the balanced share.
const DRAWS: usize = 5;
/// Spans from zero beyond which a column's values are taken from its smallest one.
const FAR: f64 = 64.0;

pub(super) struct NearestRecords {
    pub share: f64,
    pub share_balanced: f64,
    pub median: f64,
    pub median_of_test: f64,
}

/// All figures about nearest records; see the fields of [`Evaluation`](super::Evaluation).
pub(super) fn nearest_records(
    layout: &Layout,
    [train, test, synthetic]: &Three<Rows>,
    seed: u64,
    threads: usize,
) -> NearestRecords {
    let ranges = origins(train);
    let points = |rows: &Rows| Points::new(layout, rows, &ranges, false);
    let queries = points(synthetic);
    let test_points = points(test);
    let to_test = nearest_l1(&queries, &test_points, threads);

    let mut order: Vec<usize> = (0..train.count).collect();
    order.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
    let size = train.count.min(test.count);
    let mut to_train = vec![f32::INFINITY; synthetic.count];
    let mut test_to_train = vec![f32::INFINITY; test.count];
    let mut balanced = Vec::new();
    let whole_draws = (train.count / size).min(DRAWS);
    let (drawn, rest) = order.split_at(whole_draws * size);
    for (draw, part) in drawn.chunks(size).chain(rest.chunks(rest.len().max(1))).enumerate() {
        let part = points(&train.select(part));
        let to_part = nearest_l1(&queries, &part, threads);
        if draw < whole_draws {
            balanced.push(nearer(&to_part, &to_test, 0.5));
        }
        keep_smaller(&mut to_train, &to_part);
        keep_smaller(&mut test_to_train, &nearest_l1(&test_points, &part, threads));
    }
    let median = |distances: &[f32]| {
        let distances: Vec<f64> = distances.iter().map(|&distance| f64::from(distance)).collect();
        quantile(&sorted(&distances), 0.5)
    };
    NearestRecords {
        share: nearer(&to_train, &to_test, 0.0),
        share_balanced: balanced.iter().sum::<f64>() / balanced.len() as f64,
        median: median(&to_train),
        median_of_test: median(&test_to_train),
    }
}

/// Origin and span of every number. Only differences count, so nothing is subtracted, as in the public scorers, except
/// where values are so large against their span that single precision would lose the differences.
pub(super) fn origins(train: &Rows) -> Vec<(f64, f64)> {
    let origin = |(low, span): (f64, f64)| (if low.abs() > FAR * span { low } else { 0.0 }, span);
    train.ranges().into_iter().map(origin).collect()
}

fn keep_smaller(kept: &mut [f32], other: &[f32]) {
    kept.iter_mut().zip(other).for_each(|(kept, other)| *kept = kept.min(*other));
}

/// Share of rows whose first distance is smaller than the second, ties counted with `tie`.
fn nearer(first: &[f32], second: &[f32], tie: f64) -> f64 {
    let score = |(a, b): (&f32, &f32)| {
        if a < b {
            1.0
        } else if a == b {
            tie
        } else {
            0.0
        }
    };
    first.iter().zip(second).map(score).sum::<f64>() / first.len() as f64
}
