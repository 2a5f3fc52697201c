//! Grids: the evenly spaced points on which the values of a column lie.
//!
//! Values that are made up between observed ones are put on the column's grid, so that amounts in steps of 10 stay in steps
//! of 10. A few odd values do not decide: a column of cents in which one cell has five decimals, or one is astronomically
//! large, is still a column of cents.

/// With fewer values than this a single odd one counts as much as the others.
const VOTERS: usize = 100;

/// The grid origin + step * k, in units of 10^-decimals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Grid {
    scale: f64,
    origin: f64,
    step: f64,
}

impl Grid {
    /// The coarsest grid that holds these values (sorted ascending, written with at most `decimals` decimals) but for a
    /// few odd ones, or nothing if the values are too long for exact arithmetic.
    pub fn of(sorted: &[f64], decimals: usize) -> Option<Self> {
        if decimals > 15 || sorted.is_empty() {
            return None;
        }
        let scale = 10f64.powi(decimals as i32);
        // Beyond 2^52 units and their differences are no longer exact.
        let unit = |value: f64| {
            let unit = (value * scale).round();
            (unit.abs() <= 4_503_599_627_370_496.0 && unit / scale == value).then_some(unit as i128)
        };
        let units: Vec<i128> = sorted.iter().filter_map(|&value| unit(value)).collect();
        let odd = sorted.len() - units.len();
        if units.is_empty() || odd > few(sorted.len()).max(usize::from(sorted.len() >= 20)) {
            return None;
        }
        let (origin, step) = spacing(&units);
        Some(Self { scale, origin: origin as f64, step: step as f64 })
    }

    /// The grid point nearest to a value.
    pub fn round(&self, value: f64) -> f64 {
        let steps = ((value * self.scale - self.origin) / self.step).round();
        (self.origin + steps * self.step) / self.scale + 0.0
    }

    /// Distance of neighbouring points.
    pub fn step(&self) -> f64 {
        self.step / self.scale
    }
}

/// The grid of whole numbers beyond the reach of doubles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IntegerGrid {
    origin: i128,
    step: i128,
}

impl IntegerGrid {
    /// The coarsest grid that holds these values (ascending, at least one) but for a few odd ones.
    pub fn of(sorted: &[i128]) -> Self {
        let (origin, step) = spacing(sorted);
        Self { origin, step }
    }

    /// The grid point nearest to a value.
    pub fn round(&self, value: i128) -> i128 {
        let steps = (value - self.origin + self.step / 2).div_euclid(self.step);
        self.origin + steps * self.step
    }

    /// Distance of neighbouring points.
    pub fn step(&self) -> i128 {
        self.step
    }
}

/// How many of `count` values may be odd: one in fifty, and none where there are few.
pub(crate) fn few(count: usize) -> usize {
    if count < VOTERS { 0 } else { count / 50 }
}

/// A point and the step of the coarsest grid that holds all these values but a few; the values ascend.
fn spacing(units: &[i128]) -> (i128, i128) {
    let exact = units.iter().fold(0, |step, &unit| common_divisor(step, (unit - units[0]).unsigned_abs()));
    let exact = (units[0], exact.max(1) as i128);
    if units.len() < VOTERS {
        return exact;
    }
    // An odd value spoils two differences between neighbours, so most runs of eight differences are free of it.
    let differences: Vec<u128> = units.windows(2).map(|pair| (pair[1] - pair[0]).unsigned_abs()).collect();
    let mut candidates: Vec<u128> =
        differences.chunks_exact(8).map(|run| run.iter().fold(0, |a, &b| common_divisor(a, b))).collect();
    candidates.sort_unstable_by(|a, b| b.cmp(a));
    candidates.dedup();
    for candidate in candidates.into_iter().filter(|&step| step as i128 > exact.1).take(40) {
        let step = candidate as i128;
        // The value in the middle of each fifth: at most a few of them are odd.
        for origin in (0..5).map(|fifth| units[(2 * fifth + 1) * units.len() / 10]) {
            let odd = units.iter().filter(|&&unit| (unit - origin).rem_euclid(step) != 0).count();
            if odd <= few(units.len()) {
                return (origin, step);
            }
        }
    }
    exact
}

fn common_divisor(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_is_the_coarsest() {
        let grid = Grid::of(&[-50.0, 10.0, 100.0], 0).unwrap();
        assert_eq!(grid.round(23.0), 10.0);
        assert_eq!(grid.round(27.0), 40.0);
        let cents = Grid::of(&[0.05, 0.1, 7.25], 2).unwrap();
        assert_eq!(cents.round(0.1231), 0.1);
        assert_eq!(Grid::of(&[4.0], 0).unwrap().round(9.3), 9.0);
        assert!(Grid::of(&[0.1, 1e300], 1).is_none());
    }

    #[test]
    fn odd_values_do_not_decide() {
        let mut tens: Vec<f64> = (0..200).map(|i| f64::from(10 * i + 5)).collect();
        tens[77] += 3.0;
        let grid = Grid::of(&tens, 0).unwrap();
        assert_eq!((grid.step(), grid.round(1001.0)), (10.0, 1005.0));
        let mut cents: Vec<f64> = (0..150).map(|i| f64::from(3 * i + 1) / 100.0).collect();
        cents.push(1e16);
        assert_eq!(Grid::of(&cents, 2).unwrap().round(0.0512), 0.04);
        cents.insert(140, 4.203_14);
        assert_eq!(Grid::of(&cents, 2).unwrap().step(), 0.03);
        // One in ten is no odd value.
        let tenths: Vec<f64> = (0..200).map(|i| if i % 10 == 0 { f64::from(i) + 0.5 } else { f64::from(i) }).collect();
        assert_eq!(Grid::of(&tenths, 1).unwrap().step(), 0.5);
    }

    #[test]
    fn large_integers_have_grids_too() {
        let values: Vec<i128> = (0..300).map(|i| 1_234_567_890_123_450_000 + 1000 * i).collect();
        let grid = IntegerGrid::of(&values);
        assert_eq!(grid.step(), 1000);
        assert_eq!(grid.round(1_234_567_890_123_450_499), 1_234_567_890_123_450_000);
        assert_eq!(IntegerGrid::of(&[i128::from(i64::MIN), i128::from(u64::MAX)]).round(3), i128::from(i64::MIN));
    }
}
