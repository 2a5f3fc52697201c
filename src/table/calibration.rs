//! Bringing the normal scores of generated numbers back to a normal distribution, column by column.
//!
//! The codec's scores of real rows are standard normal by construction, so a generated column that is not betrays the
//! generator. The cure is monotone: a score goes to the normal quantile of its rank among generated scores. The quantiles are
//! learned once, from rows drawn for the purpose, so generated rows stay independent of each other.

use faer::MatMut;

use super::normal::normal_quantile;
use crate::{Error, Result};

/// Quantiles of generated normal scores, column by column.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    quantiles: Vec<Vec<f64>>,
    /// The normal quantiles they should be.
    targets: Vec<f64>,
}

impl Calibration {
    /// Quantiles kept per column, at probabilities `(i + 1/2) / QUANTILES`.
    pub const QUANTILES: usize = 256;

    /// Learns from generated scores, one list per column.
    ///
    /// # Errors
    /// [`Error::Empty`] if a column has no scores, [`Error::NotFinite`].
    pub fn fit(columns: Vec<Vec<f64>>) -> Result<Self> {
        let mut quantiles = Vec::with_capacity(columns.len());
        for (column, mut scores) in columns.into_iter().enumerate() {
            if scores.is_empty() {
                return Err(Error::Empty { what: "the scores to calibrate with", unit: "row" });
            }
            if let Some(row) = scores.iter().position(|x| !x.is_finite()) {
                return Err(Error::NotFinite { what: "the scores to calibrate with", row, column });
            }
            scores.sort_by(f64::total_cmp);
            let at = |i: usize| {
                let place = (i as f64 + 0.5) / Self::QUANTILES as f64 * scores.len() as f64 - 0.5;
                let place = place.clamp(0.0, (scores.len() - 1) as f64);
                let (low, share) = (place as usize, place.fract());
                let high = (low + 1).min(scores.len() - 1);
                scores[low] + share * (scores[high] - scores[low])
            };
            quantiles.push((0..Self::QUANTILES).map(at).collect());
        }
        Self::from_quantiles(quantiles)
    }

    /// Takes up what [`Calibration::quantiles`] gave.
    ///
    /// # Errors
    /// [`Error::Model`] if the quantiles are not [`Calibration::QUANTILES`] ascending numbers per column.
    pub fn from_quantiles(quantiles: Vec<Vec<f64>>) -> Result<Self> {
        let ascending = |q: &Vec<f64>| {
            q.len() == Self::QUANTILES && q.iter().all(|x| x.is_finite()) && q.windows(2).all(|w| w[0] <= w[1])
        };
        if !quantiles.iter().all(ascending) {
            return Err(Error::Model("the calibration's quantiles do not ascend; fit the model again".into()));
        }
        let target = |i: usize| normal_quantile((i as f64 + 0.5) / Self::QUANTILES as f64);
        Ok(Self { quantiles, targets: (0..Self::QUANTILES).map(target).collect() })
    }

    /// The quantiles, one list per column.
    pub fn quantiles(&self) -> &[Vec<f64>] {
        &self.quantiles
    }

    /// The calibrated score: linear between quantiles, shifted beyond the outermost.
    pub fn score(&self, column: usize, score: f64) -> f64 {
        let (found, wanted) = (&self.quantiles[column], &self.targets);
        let above = found.partition_point(|&q| q < score);
        if above == 0 {
            return score + wanted[0] - found[0];
        }
        let last = found.len() - 1;
        if above > last {
            return score + wanted[last] - found[last];
        }
        let (low, high) = (found[above - 1], found[above]);
        let share = if high > low { (score - low) / (high - low) } else { 0.5 };
        wanted[above - 1] + share * (wanted[above] - wanted[above - 1])
    }

    /// Calibrates the leading columns of `scores` in place.
    ///
    /// # Panics
    /// If `scores` has fewer columns than were calibrated.
    pub fn apply(&self, mut scores: MatMut<'_, f64>) {
        for column in 0..self.quantiles.len() {
            for row in 0..scores.nrows() {
                scores[(row, column)] = self.score(column, scores[(row, column)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::normal::normal_cdf;

    #[test]
    fn narrow_scores_become_normal_and_keep_their_order() {
        let n = 20_001;
        let narrow: Vec<f64> = (0..n).map(|i| 0.1 + 0.8 * normal_quantile((i as f64 + 0.5) / n as f64)).collect();
        let calibration = Calibration::fit(vec![narrow.clone()]).unwrap();
        let fixed: Vec<f64> = narrow.iter().map(|&x| calibration.score(0, x)).collect();
        assert!(fixed.windows(2).all(|w| w[0] < w[1]));
        for (i, &x) in fixed.iter().enumerate() {
            let rank = (i as f64 + 0.5) / n as f64;
            assert!((normal_cdf(x) - rank).abs() < 5e-4, "{rank} became {}", normal_cdf(x));
        }
        let again = Calibration::from_quantiles(calibration.quantiles().to_vec()).unwrap();
        assert_eq!(calibration, again);
    }

    #[test]
    fn columns_with_one_value_and_broken_quantiles_are_handled() {
        let flat = Calibration::fit(vec![vec![1.5; 10]]).unwrap();
        assert!(flat.score(0, 1.5).is_finite() && flat.score(0, -9.0) < flat.score(0, 9.0));
        assert!(Calibration::fit(vec![vec![]]).is_err());
        assert!(Calibration::fit(vec![vec![f64::NAN]]).is_err());
        assert!(Calibration::from_quantiles(vec![vec![0.0; 3]]).is_err());
        assert!(Calibration::from_quantiles(vec![(0..256).rev().map(f64::from).collect()]).is_err());
    }
}
