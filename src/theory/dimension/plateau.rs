//! Where a curve over noise levels is flat: the rule by which a dimension is read off.

use serde::Serialize;

/// A curve is flat where its largest value exceeds its smallest by no more than this share of it. Data of `k` equal variances have
/// the dimension `k / (1 + sigma^2)`, so that their plateau ends at a third of their deviation; the standard errors of a few
/// hundred rows are a third of it.
pub const FLATNESS: f64 = 0.1;
/// Least ratio of the last and the first noise of a plateau. A curve that falls like `sigma^-s` is then flat only for `s` below 0.15, so
/// that neither the tail at high noise (`s = 2`) nor a slowly falling spectrum counts.
pub const LEAST_RANGE: f64 = 2.0;

/// The widest range of noise over which a curve is flat.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Plateau {
    /// Mean of the curve over the range.
    pub value: f64,
    /// Mean of its standard errors there: levels share their rows, so that errors do not average out.
    pub standard_error: f64,
    /// First and last noise `sqrt(h)/alpha` of the range, in the unit of the coded data.
    pub sigma: [f64; 2],
    /// Log signal-to-noise ratios there.
    pub log_snr: [f64; 2],
}

/// The plateau of a curve of `(sigma, value and standard error)`, `sigma` rising; none if no range is flat. Of ranges
/// equally wide that at the lowest noise. Levels without a value are in no range.
pub fn plateau(curve: &[(f64, Option<(f64, f64)>)]) -> Option<Plateau> {
    let mut widest: Option<(f64, &[_])> = None;
    for first in 0..curve.len() {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for last in first..curve.len() {
            let Some((value, _)) = curve[last].1.filter(|(value, _)| value.is_finite()) else { break };
            (low, high) = (low.min(value), high.max(value));
            let range = curve[last].0 / curve[first].0;
            let flat = high - low <= FLATNESS * high;
            // Ratios of an even grid differ by rounding.
            if flat
                && range >= LEAST_RANGE * (1.0 - 1e-9)
                && widest.is_none_or(|(width, _)| range > width * (1.0 + 1e-9))
            {
                widest = Some((range, &curve[first..=last]));
            }
        }
    }
    let (_, levels) = widest?;
    let mean = |of: fn((f64, f64)) -> f64| {
        levels.iter().filter_map(|level| level.1).map(of).sum::<f64>() / levels.len() as f64
    };
    let sigma = [levels[0].0, levels[levels.len() - 1].0];
    let log_snr = sigma.map(|sigma| -2.0 * sigma.ln());
    Some(Plateau { value: mean(|v| v.0), standard_error: mean(|v| v.1), sigma, log_snr })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twenty levels from 1/64 on, each the square root of 2 times the one before.
    fn sigma(level: usize) -> f64 {
        2f64.powf(0.5 * level as f64 - 6.0)
    }

    fn of(values: impl Fn(usize) -> Option<f64>) -> Option<Plateau> {
        let curve: Vec<_> = (0..20).map(|level| (sigma(level), values(level).map(|value| (value, 0.5)))).collect();
        plateau(&curve)
    }

    #[test]
    fn the_widest_flat_range_is_the_plateau() {
        // A step down of half, and a wider one of a fifth.
        let steps = |level| {
            Some(if level < 6 {
                8.0
            } else if level < 15 {
                4.0
            } else {
                3.2
            })
        };
        let found = of(steps).unwrap();
        assert_eq!((found.value, found.standard_error), (4.0, 0.5));
        assert_eq!(found.sigma, [sigma(6), sigma(14)]);
        assert!((found.log_snr[0] + 2.0 * sigma(6).ln()).abs() < 1e-12);
        // Steps within the tolerance belong together; of equally wide ranges the first counts.
        let near = of(|level| Some(if level < 10 { 4.0 } else { 3.7 })).unwrap();
        assert!(near.sigma == [sigma(0), sigma(19)] && (near.value - 3.85).abs() < 1e-12);
        let equal = of(|level| Some([5.0, 3.0, 2.0, 1.0][level / 5])).unwrap();
        assert_eq!((equal.value, equal.sigma), (5.0, [sigma(0), sigma(4)]));
    }

    #[test]
    fn what_falls_has_no_plateau() {
        assert_eq!(of(|level| Some(sigma(level).powi(-2))), None);
        assert_eq!(of(|level| Some(sigma(level).powf(-0.2))), None);
        assert!(of(|level| Some(sigma(level).powf(-0.1))).is_some());
        assert_eq!(of(|_| None), None);
        assert_eq!(of(|_| Some(f64::NAN)), None);
        assert_eq!(of(|_| Some(-1.0)), None);
        assert_eq!(plateau(&[]), None);
        // A missing level divides a range; two levels are too few, three are enough.
        assert_eq!(of(|level| (level % 3 > 0).then_some(2.0)), None);
        assert_eq!(of(|level| (level % 4 > 0).then_some(2.0)).unwrap().sigma, [sigma(1), sigma(3)]);
        assert_eq!(of(|_| Some(0.0)).unwrap().value, 0.0);
    }
}
