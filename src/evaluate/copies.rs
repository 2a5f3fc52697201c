//! Whole rows that occur in the training table as they are, cell by cell and digit by digit.

use super::rows::{Layout, Rows, Three};
use crate::table::Table;
use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hasher};

pub(super) struct Copies {
    /// Percentage of synthetic rows.
    pub synthetic_pct: f64,
    /// Percentage of test rows.
    pub test_pct: f64,
    /// 95 % interval of the chance behind `test_pct`, in percent.
    pub test_interval_pct: [f64; 2],
}

/// Counts rows of the synthetic and of the test table that equal a training row in every compared column.
pub(super) fn copies(layout: &Layout, tables: Three<&Table>, rows: &Three<Rows>) -> Copies {
    let keys: Three<Vec<u128>> = [0, 1, 2].map(|which: usize| row_keys(layout, tables[which], &rows[which]));
    let known: HashSet<u128> = keys[0].iter().copied().collect();
    let count = |keys: &[u128]| keys.iter().filter(|key| known.contains(key)).count();
    let (synthetic, test) = (count(&keys[2]), count(&keys[1]));
    let share = |count: usize, of: usize| 100.0 * count as f64 / of as f64;
    Copies {
        synthetic_pct: share(synthetic, rows[2].count),
        test_pct: share(test, rows[1].count),
        test_interval_pct: wilson(test, rows[1].count).map(|share| 100.0 * share),
    }
}

/// 128 bits of every row: no two different rows of any table that fits in memory share them, but for odds of 1 in 10^20.
fn row_keys(layout: &Layout, table: &Table, rows: &Rows) -> Vec<u128> {
    let numbers: Vec<&[String]> =
        layout.numbers.iter().map(|column| table.column(&column.name).unwrap_or(&[])).collect();
    let key = |row: usize, salt: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(salt);
        for (cells, values) in numbers.iter().zip(&rows.numbers) {
            if values[row].is_nan() {
                hasher.write_u8(0);
            } else {
                hasher.write(plain(cells[row].trim()).as_bytes());
                hasher.write_u8(0xff);
            }
        }
        rows.levels.iter().for_each(|levels| hasher.write_u32(levels[row]));
        hasher.finish()
    };
    (0..rows.count).map(|row| u128::from(key(row, 1)) << 64 | u128::from(key(row, 2))).collect()
}

/// A number's digits in one spelling: no sign of plus, no superfluous zeros, no exponent; nothing is rounded.
fn plain(cell: &str) -> Cow<'_, str> {
    if cell.parse::<f64>().is_err() {
        return Cow::Borrowed(cell); // a date
    }
    let (negative, size) = match cell.strip_prefix('-') {
        Some(size) => (true, size),
        None => (false, cell.strip_prefix('+').unwrap_or(cell)),
    };
    let (digits, exponent) = match size.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i64>().unwrap_or(0)),
        None => (size, 0),
    };
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    // The number is 0.DIGITS times ten to the power of `point`.
    let all = format!("{whole}{decimals}");
    let leading = all.len() - all.trim_start_matches('0').len();
    let digits = all.trim_start_matches('0').trim_end_matches('0');
    let point = whole.len() as i64 + exponent - leading as i64;
    if digits.is_empty() {
        return Cow::Borrowed("0");
    }
    Cow::Owned(format!("{}{digits}e{point}", if negative { "-" } else { "" }))
}

/// Wilson's 95 % interval of a share.
fn wilson(count: usize, of: usize) -> [f64; 2] {
    let (n, share, z) = (of as f64, count as f64 / of as f64, 1.96);
    let middle = share + z * z / (2.0 * n);
    let half = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    // The ends are exact where rounding would miss them by a hair.
    let low = if count == 0 { 0.0 } else { ((middle - half) / scale).max(0.0) };
    let high = if count == of { 1.0 } else { ((middle + half) / scale).min(1.0) };
    [low, high]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_number_agree_and_near_numbers_do_not() {
        for (a, b) in [("1", "1.0"), ("+5.00E+05", "500000"), ("-0.50", "-5e-1"), ("0.0", "-0"), ("007", "7")] {
            assert_eq!(plain(a), plain(b), "{a} {b}");
        }
        for (a, b) in
            [("1", "10"), ("-1", "1"), ("9007199254740993", "9007199254740992"), ("0.1", "0.10000000000000001")]
        {
            assert_ne!(plain(a), plain(b), "{a} {b}");
        }
    }

    #[test]
    fn intervals_of_shares() {
        let [low, high] = wilson(0, 100);
        assert!(low == 0.0 && (0.03..0.04).contains(&high));
        let [low, high] = wilson(50, 100);
        assert!((low - 0.404).abs() < 1e-3 && (high - 0.596).abs() < 1e-3);
    }
}
