//! What the classifiers that try to tell two tables apart share: three folds, and the score of their AUCs.

use super::rows::Rows;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;

const FOLDS: usize = 3;

/// What a cross-validated classifier found.
pub(super) struct TwoSample {
    /// 1 - mean over folds of 2 max(AUC, 1/2) - 1.
    pub score: f64,
    /// Mean AUC.
    pub auc: f64,
}

/// Runs a classifier on three folds, each stratified: rows of the first table are `0..train.count`, those of the second
/// follow. `classify` takes the rows to be fitted and those held out, and returns a score of each of the latter, higher for
/// the first table.
pub(super) fn cross_validate(
    train: &Rows,
    synthetic: &Rows,
    seed: u64,
    mut classify: impl FnMut(&[u32], &[u32]) -> Vec<f64>,
) -> TwoSample {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut fold_of = vec![0; train.count + synthetic.count];
    for (start, count) in [(0, train.count), (train.count, synthetic.count)] {
        let mut order: Vec<usize> = (start..start + count).collect();
        order.shuffle(&mut rng);
        order.iter().enumerate().for_each(|(position, &row)| fold_of[row] = position % FOLDS);
    }
    let (mut separation, mut area) = (0.0, 0.0);
    for fold in 0..FOLDS {
        let rows = 0..fold_of.len() as u32;
        let (held, fitted): (Vec<u32>, Vec<u32>) = rows.partition(|&row| fold_of[row as usize] == fold);
        let scores = classify(&fitted, &held);
        let of = |real: bool| -> Vec<f64> {
            let own = held.iter().zip(&scores).filter(|(row, _)| ((**row as usize) < train.count) == real);
            own.map(|(_, score)| *score).collect()
        };
        let auc = area_under_curve(&of(true), &of(false));
        separation += 2.0 * auc.max(0.5) - 1.0;
        area += auc;
    }
    TwoSample { score: 1.0 - separation / FOLDS as f64, auc: area / FOLDS as f64 }
}

/// Probability that a score of the first list exceeds one of the second, ties counted half; 1/2 if one is empty.
pub(super) fn area_under_curve(first: &[f64], second: &[f64]) -> f64 {
    if first.is_empty() || second.is_empty() {
        return 0.5;
    }
    let mut second = second.to_vec();
    second.sort_unstable_by(f64::total_cmp);
    first.iter().map(|&score| share_below(score, &second)).sum::<f64>() / first.len() as f64
}

/// Share of an ascending list that lies below a score, ties counted half.
pub(super) fn share_below(score: f64, sorted: &[f64]) -> f64 {
    let below = sorted.partition_point(|other| *other < score);
    let up_to = sorted.partition_point(|other| *other <= score);
    (below + up_to) as f64 / 2.0 / sorted.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_under_the_curve() {
        assert_eq!(area_under_curve(&[3.0, 4.0], &[1.0, 2.0]), 1.0);
        assert_eq!(area_under_curve(&[1.0, 2.0], &[3.0, 4.0]), 0.0);
        assert_eq!(area_under_curve(&[1.0, 1.0], &[1.0]), 0.5);
        assert_eq!(area_under_curve(&[1.0, 3.0], &[2.0]), 0.5);
        assert_eq!(area_under_curve(&[], &[2.0]), 0.5);
    }

    #[test]
    fn every_row_is_held_out_once() {
        let rows = |count| Rows { count, numbers: Vec::new(), levels: Vec::new() };
        let mut seen = vec![0; 17];
        let found = cross_validate(&rows(10), &rows(7), 3, |fitted, held| {
            assert_eq!(fitted.len() + held.len(), 17);
            held.iter().for_each(|&row| seen[row as usize] += 1);
            held.iter().map(|&row| if row < 10 { 1.0 } else { 0.0 }).collect()
        });
        assert_eq!(seen, [1; 17]);
        assert_eq!((found.score, found.auc), (0.0, 1.0));
    }
}
