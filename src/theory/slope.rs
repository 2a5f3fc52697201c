//! Slopes of straight lines through points in log-log, with their confidence intervals over seeds.

use crate::regression::spectrum_estimate::students_quantile;

/// A mean over seeds with the half-width of its 95 % confidence interval (Student's).
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct Interval {
    /// The mean.
    pub value: f64,
    /// Half-width of the interval; infinite for a single seed.
    pub error: f64,
}

impl Interval {
    /// Mean and interval of independent values.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let value = values.iter().sum::<f64>() / n;
        if values.len() < 2 {
            return Self { value, error: f64::INFINITY };
        }
        let variance = values.iter().map(|x| (x - value).powi(2)).sum::<f64>() / (n - 1.0);
        Self { value, error: students_quantile(values.len() - 1) * (variance / n).sqrt() }
    }
}

/// The slope of the least-squares line through `(log x, log y)`.
pub fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let (mx, my) = (logs.iter().map(|p| p.0).sum::<f64>() / n, logs.iter().map(|p| p.1).sum::<f64>() / n);
    let cross: f64 = logs.iter().map(|(x, y)| (x - mx) * (y - my)).sum();
    cross / logs.iter().map(|(x, _)| (x - mx).powi(2)).sum::<f64>()
}

/// The middle value, by rank; NaN of nothing.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => 0.5 * (values[n / 2 - 1] + values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_have_their_slopes_and_means_their_intervals() {
        let points: Vec<(f64, f64)> = (1..6).map(|i| (f64::from(1 << i), 3.0 * f64::from(1 << i).powf(-0.7))).collect();
        assert!((slope(&points) + 0.7).abs() < 1e-12);
        let found = Interval::of(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        // Standard error sqrt(2.5/5), quantile 2.776 at four degrees of freedom.
        assert!((found.value - 3.0).abs() < 1e-12 && (found.error - 1.963).abs() < 0.01, "{found:?}");
        assert_eq!(Interval::of(&[2.0]).error, f64::INFINITY);
        assert_eq!((median([3.0, 1.0, 2.0]), median([4.0, 1.0, 2.0, 3.0])), (2.0, 2.5));
    }
}
