//! A membership test: do distances to the generated table tell training rows from test rows?

use super::Membership;
use super::nearest::origins;
use super::neighbours::{Points, nearest_l1};
use super::rows::{Layout, Rows, Three};
use super::two_sample::share_below;
use rand::SeedableRng;
use rand::seq::index::sample;
use rand_xoshiro::Xoshiro256PlusPlus;

/// Most rows of either table that are tried; more would narrow the interval little.
const MOST_ROWS: usize = 10_000;
/// Half the width of a 95 % interval in standard errors.
const NORMAL: f64 = 1.959_963_984_540_054;

/// The AUC of "nearer to the generated table, so a training row", with its 95 % interval.
pub(super) fn membership(
    layout: &Layout,
    [train, test, synthetic]: &Three<Rows>,
    seed: u64,
    threads: usize,
) -> Membership {
    let ranges = origins(train);
    let points = |rows: &Rows| Points::new(layout, rows, &ranges, false);
    let base = points(synthetic);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut nearness = |rows: &Rows| -> Vec<f64> {
        let drawn = (rows.count > MOST_ROWS).then(|| rows.select(&sample(&mut rng, rows.count, MOST_ROWS).into_vec()));
        let distances = nearest_l1(&points(drawn.as_ref().unwrap_or(rows)), &base, threads);
        distances.into_iter().map(|distance| -f64::from(distance)).collect()
    };
    let (members, others) = (nearness(train), nearness(test));
    let (auc, [low, high]) = area_with_interval(&members, &others);
    Membership { auc, low, high, n_train: members.len(), n_test: others.len() }
}

/// The AUC of two lists of scores and its 95 % interval by the variance of DeLong, DeLong and Clarke-Pearson (1988).
fn area_with_interval(first: &[f64], second: &[f64]) -> (f64, [f64; 2]) {
    let sorted = |scores: &[f64]| {
        let mut scores = scores.to_vec();
        scores.sort_unstable_by(f64::total_cmp);
        scores
    };
    let (of_first, of_second) = (sorted(first), sorted(second));
    let above: Vec<f64> = first.iter().map(|&score| share_below(score, &of_second)).collect();
    let below: Vec<f64> = second.iter().map(|&score| 1.0 - share_below(score, &of_first)).collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let auc = mean(&above);
    let variance = |values: &[f64]| {
        let mean = mean(values);
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        squares / (values.len() - 1).max(1) as f64 / values.len() as f64
    };
    let mut half = NORMAL * (variance(&above) + variance(&below)).sqrt();
    if half == 0.0 && auc != 0.5 {
        // Fully separated samples have no variance; what they leave possible is about three in the smaller one.
        half = 3.0 / first.len().min(second.len()) as f64;
    }
    (auc, [(auc - half).max(0.0), (auc + half).min(1.0)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_cover_and_shrink() {
        // 2,000 pairs of samples of the same distribution: the interval misses 1/2 in about one of twenty.
        let mut state = 1u64;
        let mut draw = |count: usize| -> Vec<f64> {
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 11) as f64 / (1u64 << 53) as f64
            };
            (0..count).map(|_| next()).collect()
        };
        let missed = (0..2000).filter(|_| {
            let (_, [low, high]) = area_with_interval(&draw(60), &draw(40));
            !(low..=high).contains(&0.5)
        });
        let missed = missed.count();
        assert!((60..150).contains(&missed), "{missed} of 2000");
        let width = |count: usize, draw: &mut dyn FnMut(usize) -> Vec<f64>| {
            let (_, [low, high]) = area_with_interval(&draw(count), &draw(count));
            high - low
        };
        assert!(width(4000, &mut draw) < 0.2 * width(100, &mut draw));
        assert_eq!(area_with_interval(&[2.0, 3.0], &[0.0, 1.0]).0, 1.0);
        assert!(area_with_interval(&[2.0; 30], &[0.0; 30]).1[0] < 1.0);
        assert_eq!(area_with_interval(&[1.0; 5], &[1.0; 5]), (0.5, [0.5, 0.5]));
    }
}
