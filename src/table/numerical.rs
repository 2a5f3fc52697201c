//! One numerical column as ranks: the distinct values of the training table with their frequencies, and the way back from a
//! normal score to a value.

use super::grid::{Grid, IntegerGrid, few};
use super::normal::normal_cdf;
use super::number::{Number, NumberFormat};

/// Most distinct values for which a numerical column is a lattice: between its values there is nothing.
const LATTICE_LEVELS: usize = 100;
/// Distance to the middle of a rank, in ranks, below which a score stands for the observed value itself.
const SNAP: f64 = 1e-6;

/// Which values decoding may return for numerical columns; see the codec's text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Decode {
    /// Only values of the training table.
    Observed,
    /// Values between those that occur once as well.
    #[default]
    Interpolate,
}

/// The distinct values of one numerical column with their frequencies.
#[derive(Debug, Clone, PartialEq)]
pub struct NumericalCode {
    levels: Vec<f64>,
    /// The levels as whole numbers, where doubles do not hold all of them.
    exact: Option<(Vec<i128>, IntegerGrid)>,
    /// For each level, the number of values up to and including it.
    ends: Vec<u32>,
    grid: Option<Grid>,
    /// Where values seen once that have more decimals are rounded.
    format: NumberFormat,
}

/// Where a score falls: on an observed value, or a share of the way from one to another.
enum Place {
    At(usize),
    Between(usize, usize, f64),
}

impl NumericalCode {
    pub(super) fn new(
        levels: Vec<f64>,
        exact: Option<Vec<i128>>,
        counts: &[u32],
        format: NumberFormat,
    ) -> Option<Self> {
        let in_order = match &exact {
            // Whole numbers have 64 bits and times some more; differences of what is here do not overflow.
            Some(exact) => {
                exact.len() == levels.len()
                    && exact.windows(2).all(|pair| pair[0] < pair[1])
                    && exact.iter().all(|level| level.unsigned_abs() < 1 << 100)
            }
            None => levels.windows(2).all(|pair| pair[0] < pair[1]),
        };
        let finite = levels.iter().all(|level| level.is_finite());
        if levels.is_empty() || levels.len() != counts.len() || counts.contains(&0) || !in_order || !finite {
            return None;
        }
        let mut ends = Vec::with_capacity(counts.len());
        let mut total = 0u32;
        for &count in counts {
            total = total.checked_add(count)?;
            ends.push(total);
        }
        let grid = if exact.is_some() { None } else { Grid::of(&levels, format.maximum_decimals) };
        let exact = exact.map(|exact| {
            let grid = IntegerGrid::of(&exact);
            (exact, grid)
        });
        Some(Self { levels, exact, ends, grid, format })
    }

    /// Distinct values, ascending; the nearest doubles, where the values are whole numbers beyond 2^53.
    pub fn levels(&self) -> &[f64] {
        &self.levels
    }

    pub(super) fn exact(&self) -> Option<&[i128]> {
        self.exact.as_ref().map(|(levels, _)| levels.as_slice())
    }

    /// The smallest and the largest value.
    pub(super) fn range(&self) -> [Number; 2] {
        [self.level(0), self.level(self.levels.len() - 1)]
    }

    /// The distance of neighbouring points of the grid on which the values lie, if they lie on one.
    pub(super) fn step(&self) -> Option<Number> {
        match &self.exact {
            Some((_, grid)) => Some(Number::Integer(grid.step())),
            None => self.grid.map(|grid| Number::Double(grid.step())),
        }
    }

    /// How often each distinct value occurs.
    pub fn counts(&self) -> Vec<u32> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| end - start).collect()
    }

    /// Number of values.
    pub fn total(&self) -> u32 {
        self.ends[self.ends.len() - 1]
    }

    /// The ranks [lo, hi) that a value occupies; all of them for a missing one (NaN), which so stands in the middle and
    /// is drawn like any observed cell.
    pub fn rank_interval(&self, value: f64) -> [u32; 2] {
        if value.is_nan() {
            return [0, self.total()];
        }
        if let Some((exact, _)) = &self.exact {
            // No double beyond 2^53 is a value of its own: the whole number next to it decides.
            let whole = value.ceil().clamp(-1e38, 1e38) as i128;
            let place = exact.partition_point(|&level| level < whole);
            return self.interval(place, whole as f64 == value && exact.get(place) == Some(&whole));
        }
        let place = self.levels.partition_point(|&level| level < value);
        self.interval(place, self.levels.get(place) == Some(&value))
    }

    /// The same for a whole number.
    pub(super) fn integer_interval(&self, value: i128) -> [u32; 2] {
        match &self.exact {
            Some((exact, _)) => {
                let place = exact.partition_point(|&level| level < value);
                self.interval(place, exact.get(place) == Some(&value))
            }
            None => self.rank_interval(value as f64),
        }
    }

    fn interval(&self, place: usize, found: bool) -> [u32; 2] {
        let low = self.start(place);
        if found { [low, self.ends[place]] } else { [low, low] }
    }

    /// The value that a normal score stands for; the nearest double, where it is a whole number beyond 2^53.
    pub fn value(&self, score: f64, how: Decode) -> f64 {
        match self.number(score, how) {
            Number::Double(value) => value,
            Number::Integer(value) => value as f64,
        }
    }

    /// The value that a normal score stands for.
    pub(super) fn number(&self, score: f64, how: Decode) -> Number {
        let (level, other, along) = match self.place(score, how) {
            Place::At(level) => return self.settled(level, how),
            Place::Between(level, other, along) => (level, other, along),
        };
        if let Some((exact, grid)) = &self.exact {
            let (from, to) = (exact[level], exact[other]);
            let between = grid.round(from + ((to - from) as f64 * along).round() as i128);
            return Number::Integer(between.clamp(from.min(to), from.max(to)));
        }
        let (from, to) = (self.levels[level], self.levels[other]);
        let between = from + (to - from) * along;
        let between = self.grid.map_or(between, |grid| grid.round(between));
        Number::Double(between.clamp(from.min(to), from.max(to)))
    }

    /// The value of the column that is nearest: an observed one of a lattice, else one on the grid and in range.
    pub(super) fn nearest(&self, value: f64) -> Number {
        let last = self.levels.len() - 1;
        let above = self.levels.partition_point(|&level| level < value).min(last);
        let below = above.saturating_sub(1);
        let near = if value - self.levels[below] < self.levels[above] - value { below } else { above };
        let value = value.clamp(self.levels[0], self.levels[last]);
        match &self.exact {
            _ if self.levels.len() <= LATTICE_LEVELS => self.level(near),
            Some((exact, grid)) => Number::Integer(grid.round(value as i128).clamp(exact[0], exact[last])),
            None => {
                let rounded = self.grid.map_or_else(|| self.format.rounded(value), |grid| grid.round(value));
                Number::Double(rounded.clamp(self.levels[0], self.levels[last]))
            }
        }
    }

    fn place(&self, score: f64, how: Decode) -> Place {
        let position = normal_cdf(score) * f64::from(self.total());
        let last = self.levels.len() - 1;
        let level = self.ends.partition_point(|&end| f64::from(end) <= position).min(last);
        if how == Decode::Observed || self.levels.len() <= LATTICE_LEVELS || self.count(level) > 1 {
            return Place::At(level);
        }
        // A value seen once: a knot at the middle of its rank. Its neighbour is a knot of the same kind, or a point mass
        // that ends where this rank begins.
        let middle = f64::from(self.start(level)) + 0.5;
        if (position - middle).abs() <= SNAP {
            return Place::At(level);
        }
        let (neighbour, side) = if position < middle { (level.wrapping_sub(1), -1.0) } else { (level + 1, 1.0) };
        if neighbour > last {
            return Place::At(level); // beyond the first or last knot
        }
        let span = if self.count(neighbour) > 1 { 0.5 } else { 1.0 };
        Place::Between(level, neighbour, ((position - middle) * side / span).clamp(0.0, 1.0))
    }

    fn level(&self, level: usize) -> Number {
        match &self.exact {
            Some((exact, _)) => Number::Integer(exact[level]),
            None => Number::Double(self.levels[level]),
        }
    }

    /// An observed value. One that was seen once and has more decimals than the column is written without them, unless
    /// only observed values are wanted.
    fn settled(&self, level: usize, how: Decode) -> Number {
        let observed = self.level(level);
        let odd = how == Decode::Interpolate && self.count(level) == 1 && few(self.total() as usize) > 0;
        match observed {
            Number::Double(value) if odd => {
                let (low, high) = (self.levels[0], self.levels[self.levels.len() - 1]);
                Number::Double(self.format.rounded(value).clamp(low, high))
            }
            observed => observed,
        }
    }

    fn start(&self, level: usize) -> u32 {
        if level == 0 { 0 } else { self.ends[level - 1] }
    }

    fn count(&self, level: usize) -> u32 {
        self.ends[level] - self.start(level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::normal::normal_quantile;

    #[test]
    fn whole_numbers_beyond_doubles_come_back_digit_by_digit() {
        let exact: Vec<i128> = (0..200).map(|i| i128::from(u64::MAX) - 3 * (199 - i)).collect();
        let levels = exact.iter().map(|&level| level as f64).collect();
        let format = NumberFormat { minimum_decimals: 0, maximum_decimals: 0 };
        let code = NumericalCode::new(levels, Some(exact.clone()), &[1; 200], format).unwrap();
        for (i, &value) in exact.iter().enumerate() {
            assert_eq!(code.integer_interval(value), [i as u32, i as u32 + 1]);
            let middle = normal_quantile((i as f64 + 0.5) / 200.0);
            assert_eq!(code.number(middle, Decode::Interpolate), Number::Integer(value));
        }
        for place in 1..1000 {
            let made = code.number(normal_quantile(f64::from(place) / 1000.0), Decode::Interpolate);
            let Number::Integer(made) = made else { panic!("{made:?}") };
            assert!(exact.contains(&made), "off the grid or out of range: {made}");
        }
        assert_eq!(code.rank_interval(5.5), [0, 0]);
        assert_eq!(code.rank_interval(1e30), [200, 200]);
    }

    #[test]
    fn one_huge_integer_leaves_whole_numbers_whole_and_in_range() {
        let mut exact: Vec<i128> = (1..=150).collect();
        exact.push(9_999_999_999_999_999);
        let levels = exact.iter().map(|&level| level as f64).collect();
        let format = NumberFormat { minimum_decimals: 0, maximum_decimals: 0 };
        let code = NumericalCode::new(levels, Some(exact), &[1; 151], format).unwrap();
        for place in 1..5000 {
            let made = code.number(normal_quantile(f64::from(place) / 5000.0), Decode::Interpolate);
            assert!(matches!(made, Number::Integer(1..=9_999_999_999_999_999)), "{made:?}");
        }
    }
}
