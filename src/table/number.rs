//! Cells as numbers: which texts are numbers, and how numbers are written so that they look like the input.

use super::grid::few;

/// The largest whole number up to which doubles hold every one: 2^53.
const EXACT: i128 = 1 << 53;
/// Marks that mean a missing cell in a column of numbers or dates only: elsewhere they may be a category.
const MARKS_AMONG_NUMBERS: [&str; 10] = ["?", "-", "--", ".", "None", "none", "<NA>", "NaT", "nil", "#NA"];

/// What a single cell holds.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Cell {
    /// Nothing: an empty cell or one of the usual marks for it (`NA`, `N/A`, `NULL`, `NaN`).
    Missing,
    /// A finite number; a negative zero is read as zero.
    Number(f64),
    /// A whole number of at most 64 bits that doubles do not hold exactly.
    Integer(i128),
    /// A whole number in plain digits beyond 64 bits.
    TooLong,
    /// An infinity, or a number too large for double precision.
    Infinite,
    /// Any other text.
    Text,
}

/// One number of a column: whole numbers that doubles do not hold are kept as such.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Double(f64),
    Integer(i128),
}

/// Reads one cell; surrounding blanks are ignored.
pub fn read_cell(cell: &str) -> Cell {
    let cell = cell.trim();
    match cell {
        "" | "NA" | "N/A" | "n/a" | "#N/A" | "NULL" | "null" => return Cell::Missing,
        _ => {}
    }
    if is_plain_integer(cell) && cell.len() > 15 {
        return match cell.parse::<i128>() {
            Ok(value) if value.abs() <= EXACT => Cell::Number(value as f64),
            Ok(value) if (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&value) => Cell::Integer(value),
            _ => Cell::TooLong,
        };
    }
    match cell.parse::<f64>() {
        Ok(value) if value.is_nan() => Cell::Missing,
        Ok(value) if value.is_infinite() => Cell::Infinite,
        // Adding zero turns -0 into 0, so that the two are one number.
        Ok(value) => Cell::Number(value + 0.0),
        Err(_) => Cell::Text,
    }
}

fn is_plain_integer(cell: &str) -> bool {
    let digits = cell.strip_prefix(['-', '+']).unwrap_or(cell);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a cell is a code of digits such as `007`, whose leading zeros a number would lose.
pub fn is_digit_code(cell: &str) -> bool {
    let digits = cell.trim().trim_start_matches(['-', '+']).as_bytes();
    digits.len() > 1 && digits[0] == b'0' && digits[1].is_ascii_digit()
}

/// Whether a text means a missing cell where the other cells are numbers or dates.
pub(crate) fn is_mark_among_numbers(cell: &str) -> bool {
    let cell = cell.trim();
    MARKS_AMONG_NUMBERS.contains(&cell) || read_cell(cell) == Cell::Missing
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
    ///
    /// Of a hundred cells or more, one in fifty may have more decimals than the format says and one in a hundred fewer. A
    /// cell that shows the rounding of doubles (`0.30000000000000004` among cents) never counts.
    pub fn of<'a>(cells: impl IntoIterator<Item = &'a str>) -> Self {
        // For each number of decimals, how many cells show and how many need it; and the cells that may be noise.
        let (mut shown, mut needed, mut long) = (Vec::new(), Vec::new(), Vec::new());
        for cell in cells {
            let cell = cell.trim();
            if cell.contains(['e', 'E']) {
                let value: f64 = cell.parse().unwrap_or(0.0);
                count(&mut needed, decimals(&value.to_string()));
            } else if is_long(cell) {
                long.push(cell);
            } else {
                count(&mut needed, decimals(cell));
                count(&mut shown, decimals(cell));
            }
        }
        let plain: usize = needed.iter().sum();
        let mut format = Self { minimum_decimals: 0, maximum_decimals: needed.len().saturating_sub(1) };
        let noise = plain >= long.len() && long.iter().all(|cell| format.is_noise(cell));
        if !noise {
            for cell in long {
                count(&mut needed, decimals(cell));
                count(&mut shown, decimals(cell));
            }
        }
        let total: usize = needed.iter().sum();
        let mut more = 0;
        format.maximum_decimals = (0..needed.len())
            .rev()
            .find(|&place| {
                more += needed[place];
                more > few(total)
            })
            .map_or(0, |place| place.min(Self::MOST_DECIMALS));
        let (total, mut fewer) = (shown.iter().sum::<usize>(), 0);
        let minimum = (0..shown.len()).find(|&place| {
            fewer += shown[place];
            fewer > few(total) / 2
        });
        format.minimum_decimals = minimum.unwrap_or(0).min(format.maximum_decimals);
        format
    }

    /// The number that a cell stands for: `value`, or what it was before doubles rounded it.
    pub(super) fn settle(&self, cell: &str, value: f64) -> f64 {
        if self.is_noise(cell) { self.rounded(value) } else { value }
    }

    /// Whether a cell is a number of this format but for the rounding of doubles.
    fn is_noise(&self, cell: &str) -> bool {
        let cell = cell.trim();
        // Digits in between would be part of the value, not of its rounding.
        if !is_long(cell) || decimals(cell) < self.maximum_decimals + 6 {
            return false;
        }
        let value: f64 = cell.parse().unwrap_or(f64::NAN);
        (value - self.rounded(value)).abs() <= 64.0 * f64::EPSILON * value.abs().max(1.0)
    }

    /// Most decimals that any number is written with: the shortest form of the smallest doubles needs no more.
    pub(super) const MOST_DECIMALS: usize = 340;

    /// Whether numbers can have so many decimals.
    pub(super) fn is_sound(&self) -> bool {
        self.minimum_decimals <= self.maximum_decimals && self.maximum_decimals <= Self::MOST_DECIMALS
    }

    /// The nearest number with no more decimals than the format has.
    pub(super) fn rounded(&self, value: f64) -> f64 {
        format!("{value:.*}", self.maximum_decimals).parse::<f64>().unwrap_or(value) + 0.0
    }

    /// Writes a number: the shortest text that reads back as the same double, with zeros added up to the smallest number
    /// of decimals that the column shows.
    pub fn write(&self, value: f64) -> String {
        let size = value.abs();
        // Plain digits beyond 64 bits would be refused when read back.
        let huge = !(-9_223_372_036_854_775_808.0..18_446_744_073_709_551_616.0).contains(&value);
        let tiny = size < 1e-9 && self.maximum_decimals > 10;
        if size != 0.0 && (tiny || huge) && self.minimum_decimals <= 1 {
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

    /// Writes a whole number, in plain digits.
    pub(super) fn write_integer(&self, value: i128) -> String {
        let zeros = "0".repeat(self.minimum_decimals);
        if zeros.is_empty() { value.to_string() } else { format!("{value}.{zeros}") }
    }
}

/// Whether a cell has as many digits as doubles have, and many of them are decimals: it was printed by a program that
/// prints whatever makes the double exact.
fn is_long(cell: &str) -> bool {
    decimals(cell) > 6
        && cell.bytes().filter(u8::is_ascii_digit).skip_while(|digit| *digit == b'0').count() >= 15
        && !cell.contains(['e', 'E'])
}

fn count(counts: &mut Vec<usize>, place: usize) {
    if counts.len() <= place {
        counts.resize(place + 1, 0);
    }
    counts[place] += 1;
}

fn decimals(plain: &str) -> usize {
    plain.find('.').map_or(0, |point| plain.len() - point - 1)
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
    fn whole_numbers_are_exact_up_to_64_bits() {
        assert_eq!(read_cell("9007199254740992"), Cell::Number(9_007_199_254_740_992.0));
        assert_eq!(read_cell("9007199254740993"), Cell::Integer(9_007_199_254_740_993));
        assert_eq!(read_cell("18446744073709551615"), Cell::Integer(i128::from(u64::MAX)));
        assert_eq!(read_cell("-9223372036854775808"), Cell::Integer(i128::from(i64::MIN)));
        assert_eq!(read_cell("18446744073709551616"), Cell::TooLong);
        assert_eq!(read_cell(&"9".repeat(60)), Cell::TooLong);
        assert_eq!(read_cell("000000000000000000000000007"), Cell::Number(7.0));
    }

    #[test]
    fn numbers_are_written_as_they_came() {
        let whole = NumberFormat::of(["20000", "5.00E+05"]);
        assert_eq!(whole.write(500_000.0), "500000");
        assert_eq!(whole.write(3e18), "3000000000000000000");
        assert_eq!(whole.write(3e20), "3e20");
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
    fn an_odd_cell_does_not_change_the_format() {
        let cents = |odd: &str| {
            let mut cells: Vec<String> = (0..150).map(|i| format!("{i}.25")).collect();
            cells.push(odd.into());
            NumberFormat::of(cells.iter().map(String::as_str))
        };
        for odd in ["0.30000000000000004", "3.14159", "7", "1e-12", "12.249999999999998"] {
            assert_eq!(cents(odd), NumberFormat { minimum_decimals: 2, maximum_decimals: 2 }, "{odd}");
        }
        assert_eq!(cents("1").settle("0.30000000000000004", 0.1 + 0.2), 0.3);
        assert_eq!(cents("1").settle("2.14159", 2.14159), 2.14159);
        // Few cells are enough to see the rounding of doubles.
        assert_eq!(NumberFormat::of(["0.1", "0.2", "0.30000000000000004"]).maximum_decimals, 1);
    }
}
