//! Cells as numbers: which texts are numbers, and how numbers are written so that they look like the input.

/// What a single cell holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell {
    /// Nothing: an empty cell or one of the usual marks for it (`NA`, `N/A`, `NULL`, `NaN`).
    Missing,
    /// A finite number; a negative zero is read as zero.
    Number(f64),
    /// An infinity, or a number too large for double precision.
    Infinite,
    /// Any other text.
    Text,
}

/// Reads one cell; surrounding blanks are ignored.
pub fn read_cell(cell: &str) -> Cell {
    let cell = cell.trim();
    match cell {
        "" | "NA" | "N/A" | "n/a" | "#N/A" | "NULL" | "null" => return Cell::Missing,
        _ => {}
    }
    match cell.parse::<f64>() {
        Ok(value) if value.is_nan() => Cell::Missing,
        Ok(value) if value.is_infinite() => Cell::Infinite,
        // Adding zero turns -0 into 0, so that the two are one level.
        Ok(value) => Cell::Number(value + 0.0),
        Err(_) => Cell::Text,
    }
}

/// Whether a cell is a code of digits such as `007`, whose leading zeros a number would lose.
pub fn is_digit_code(cell: &str) -> bool {
    let digits = cell.trim().trim_start_matches(['-', '+']).as_bytes();
    digits.len() > 1 && digits[0] == b'0' && digits[1].is_ascii_digit()
}

/// How the numbers of one column are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub struct NumberFormat {
    /// Decimals that every cell shows, zeros included (`0.50` in a column of cents has two).
    pub minimum_decimals: usize,
    /// Decimals that the most precise cell needs.
    pub maximum_decimals: usize,
}

impl NumberFormat {
    /// The format that fits these cells, all of which are numbers. Cells with an exponent, such as `5.00E+05`, count with
    /// the decimals that their plain form needs.
    pub fn of<'a>(cells: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut fewest, mut most) = (usize::MAX, 0);
        for cell in cells {
            let cell = cell.trim();
            if cell.contains(['e', 'E']) {
                let value: f64 = cell.parse().unwrap_or(0.0);
                most = most.max(decimals(&value.to_string()));
            } else {
                let count = decimals(cell);
                fewest = fewest.min(count);
                most = most.max(count);
            }
        }
        Self { minimum_decimals: if fewest == usize::MAX { 0 } else { fewest }, maximum_decimals: most }
    }

    /// Writes a number: the shortest text that reads back as the same double, with zeros added up to the smallest number
    /// of decimals that the column shows.
    pub fn write(&self, value: f64) -> String {
        let size = value.abs();
        if size != 0.0 && !(1e-9..1e17).contains(&size) && self.minimum_decimals <= 1 {
            return format!("{value:e}");
        }
        let mut text = value.to_string();
        let shown = decimals(&text);
        if shown < self.minimum_decimals {
            if shown == 0 {
                text.push('.');
            }
            text.extend(std::iter::repeat_n('0', self.minimum_decimals - shown));
        }
        text
    }
}

fn decimals(plain: &str) -> usize {
    plain.find('.').map_or(0, |point| plain.len() - point - 1)
}

/// The grid origin + step * k on which all values of a column lie, in units of 10^-decimals.
///
/// Values that are made up between observed ones are put on it, so that amounts in steps of 10 stay in steps of 10.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub struct Grid {
    scale: f64,
    origin: f64,
    step: f64,
}

impl Grid {
    /// The coarsest grid that holds all these values (sorted ascending, written with at most `decimals` decimals), or
    /// nothing if the values are too long for exact arithmetic.
    pub fn of(sorted: &[f64], decimals: usize) -> Option<Self> {
        if decimals > 15 || sorted.is_empty() {
            return None;
        }
        let scale = 10f64.powi(decimals as i32);
        let units = |value: f64| (value * scale).round();
        let largest = sorted[0].abs().max(sorted[sorted.len() - 1].abs()) * scale;
        if largest > 4_503_599_627_370_496.0 {
            return None; // beyond 2^52, where units and their differences are no longer exact
        }
        if sorted.iter().any(|&value| units(value) / scale != value) {
            return None;
        }
        let origin = units(sorted[0]);
        let step = sorted.iter().fold(0u64, |step, &value| common_divisor(step, (units(value) - origin) as u64));
        Some(Self { scale, origin, step: step.max(1) as f64 })
    }

    /// The grid point nearest to a value.
    pub fn round(&self, value: f64) -> f64 {
        let steps = ((value * self.scale - self.origin) / self.step).round();
        (self.origin + steps * self.step) / self.scale + 0.0
    }
}

fn common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_read() {
        assert_eq!(read_cell(" 5.00E+05 "), Cell::Number(500_000.0));
        assert_eq!(read_cell("-0.0"), Cell::Number(0.0));
        for missing in ["", "  ", "NA", "nan", "NaN", "null"] {
            assert_eq!(read_cell(missing), Cell::Missing, "{missing:?}");
        }
        for infinite in ["inf", "-Infinity", "1e999"] {
            assert_eq!(read_cell(infinite), Cell::Infinite, "{infinite:?}");
        }
        for text in ["1,000", "abc", "12a", "0x10", "1 2"] {
            assert_eq!(read_cell(text), Cell::Text, "{text:?}");
        }
        assert!(is_digit_code("007") && is_digit_code("-01"));
        assert!(!is_digit_code("0") && !is_digit_code("0.5") && !is_digit_code("70"));
    }

    #[test]
    fn numbers_are_written_as_they_came() {
        let whole = NumberFormat::of(["20000", "5.00E+05"]);
        assert_eq!(whole.write(500_000.0), "500000");
        let float = NumberFormat::of(["20000.0", "3.0"]);
        assert_eq!(float.write(500_000.0), "500000.0");
        let cents = NumberFormat::of(["0.50", "12.25", "3.00"]);
        assert_eq!(cents.write(7.0), "7.00");
        let mixed = NumberFormat::of(["0.5", "12.25", "3"]);
        assert_eq!(mixed.write(7.0), "7");
        assert_eq!(mixed.write(0.25), "0.25");
        let long = NumberFormat::of(["123.1", "0.123456789012345"]);
        assert_eq!(long.write(123.1), "123.1");
        let tiny = NumberFormat::of(["1e-30", "2.5e-20"]);
        assert_eq!(tiny.write(2.5e-20), "2.5e-20");
    }

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
}
