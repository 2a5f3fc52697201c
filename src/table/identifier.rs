//! Columns that name rows: what their values look like, and new ones of that look.

use rand::{Rng, RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::number::{Cell, read_cell};

/// Most shapes that are kept of a column.
const SHAPES: usize = 64;
/// Draws after which a value is made longer because all shorter ones seem taken.
const TRIES: usize = 32;

/// What the values of an identifier look like. New values follow it; none of them was in the training table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub struct Identifier(Pattern);

#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
enum Pattern {
    /// Whole numbers that count: new ones go on after the last.
    Counter { next: i128, step: i128 },
    /// Texts: for each shape how often it occurs and, place by place, the characters that may stand there.
    Text {
        shapes: Vec<(usize, Vec<String>)>,
        /// Hashes of the training table's values, ascending. They are not the values, but tell whether one is among them.
        taken: Vec<u32>,
    },
}

impl Identifier {
    /// The pattern of these cells, none of them missing.
    pub(super) fn of(cells: &[&str]) -> Self {
        if let Some((last, step)) = counter(cells) {
            return Self(Pattern::Counter { next: last + step, step });
        }
        let mut taken: Vec<u32> = cells.iter().map(|cell| hash(cell)).collect();
        taken.sort_unstable();
        taken.dedup();
        // Letters and digits apart, unless that makes a shape of nearly every value, as it does of hexadecimal ones.
        let count = |merged: bool| cells.iter().map(|cell| shape(cell, merged)).collect::<HashSet<_>>().len();
        let apart = count(false);
        let merged = 4 * apart > cells.len() && 2 * count(true) < apart;
        Self(Pattern::Text { shapes: shapes(cells, merged), taken })
    }

    /// In words, for a table of what the columns are.
    pub(super) fn words(&self) -> String {
        match &self.0 {
            Pattern::Counter { next, .. } => format!("counts on from {next}"),
            Pattern::Text { shapes, .. } => match shapes.first() {
                Some((_, places)) => {
                    let place = |choices: &String| match choices.chars().next() {
                        Some(only) if choices.chars().count() == 1 => only,
                        Some(digit) if digit.is_ascii_digit() => '9',
                        _ => 'a',
                    };
                    format!("like {}", places.iter().map(place).collect::<String>())
                }
                None => "any text".into(),
            },
        }
    }

    /// New values, all different and none of them from the training table.
    pub(super) fn generate(&self, rows: usize, seed: u64) -> Vec<String> {
        match &self.0 {
            Pattern::Counter { next, step } => {
                let value = |row: usize| next.saturating_add(step.saturating_mul(row as i128));
                (0..rows).map(|row| value(row).to_string()).collect()
            }
            Pattern::Text { shapes, taken } => {
                let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
                let mut made: HashSet<String> = HashSet::new();
                let total = shapes.iter().fold(0usize, |total, (count, _)| total.saturating_add(*count));
                let mut draw = || {
                    for longer in 0.. {
                        for _ in 0..TRIES {
                            let mut at = rng.random_range(0..total.max(1));
                            let shape = shapes.iter().find(|(count, _)| {
                                let here = at < *count;
                                at = at.saturating_sub(*count);
                                here
                            });
                            let text = text(shape.map_or(&[], |(_, places)| places), longer, &mut rng);
                            if taken.binary_search(&hash(&text)).is_err() && made.insert(text.clone()) {
                                return text;
                            }
                        }
                    }
                    String::new()
                };
                (0..rows).map(|_| draw()).collect()
            }
        }
    }
}

/// A value of a shape, its last variable place repeated `longer` times.
fn text(places: &[String], longer: usize, rng: &mut impl Rng) -> String {
    let variable = places.iter().rposition(|choices| choices.chars().count() > 1);
    let mut text = String::new();
    for (place, choices) in places.iter().enumerate() {
        let count = choices.chars().count();
        let more = if Some(place) == variable { longer } else { 0 };
        for _ in 0..=more {
            text.extend(choices.chars().nth(rng.random_range(0..count.max(1))));
        }
    }
    if variable.is_none() {
        text.extend((0..longer).map(|_| char::from(b'0' + rng.random_range(0..10u8))));
    }
    text
}

/// The last value and the step of whole numbers that count, in whatever order: nearly all different, and most numbers
/// between the first and the last are there.
pub(super) fn counter(cells: &[&str]) -> Option<(i128, i128)> {
    let mut values = BTreeSet::new();
    for cell in cells {
        let plain = cell.trim().parse::<i128>().ok()?;
        if cell.trim() != plain.to_string() {
            return None;
        }
        values.insert(plain);
    }
    let (first, last) = (*values.first()?, *values.last()?);
    let mut step = 0u128;
    for value in &values {
        let (mut a, mut b) = (step, (value - first).unsigned_abs());
        while b != 0 {
            (a, b) = (b, a % b);
        }
        step = a;
    }
    let span = (last - first).unsigned_abs() / step.max(1) + 1;
    let distinct = values.len() as u128;
    (distinct >= 2 && distinct * 100 >= cells.len() as u128 * 99 && span <= 2 * distinct)
        .then_some((last, step as i128))
}

/// The kinds of a text's characters, one each: digits, small and capital letters, or all of these as one; other characters
/// are themselves.
fn shape(cell: &str, merged: bool) -> String {
    let kind = |c: char| match c {
        c if merged && c.is_alphanumeric() => 'x',
        c if c.is_numeric() => '9',
        c if c.is_lowercase() => 'a',
        c if c.is_alphabetic() => 'A',
        c => c,
    };
    cell.chars().map(kind).collect()
}

fn shapes(cells: &[&str], merged: bool) -> Vec<(usize, Vec<String>)> {
    let mut found: BTreeMap<String, (usize, Vec<BTreeSet<char>>)> = BTreeMap::new();
    let mut letters: BTreeMap<char, BTreeSet<char>> = BTreeMap::new();
    for cell in cells {
        let shape = shape(cell, merged);
        let (count, places) =
            found.entry(shape.clone()).or_insert_with(|| (0, vec![BTreeSet::new(); cell.chars().count()]));
        *count += 1;
        for ((place, c), kind) in places.iter_mut().zip(cell.chars()).zip(shape.chars()) {
            place.insert(c);
            letters.entry(kind).or_default().insert(c);
        }
    }
    let mut kept: Vec<(usize, Vec<String>)> = Vec::new();
    let mut ordered: Vec<_> = found.into_iter().collect();
    ordered.sort_by(|a, b| b.1.0.cmp(&a.1.0).then(a.0.cmp(&b.0)));
    for (shape, (count, places)) in ordered.into_iter().take(SHAPES) {
        let widened = places.into_iter().zip(shape.chars()).map(|(seen, kind)| {
            // A place that never changes is part of the pattern; where there is one value only, nothing is known of it.
            let fixed = seen.len() == 1 && (count > 1 || !kind.is_alphanumeric());
            match kind {
                _ if fixed => seen.into_iter().collect(),
                '9' if seen.contains(&'0') || count == 1 => "0123456789".to_owned(),
                '9' => "123456789".to_owned(),
                _ => letters[&kind].iter().collect::<String>(),
            }
        });
        kept.push((count, widened.collect()));
    }
    kept
}

fn hash(text: &str) -> u32 {
    // FNV-1a, folded.
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    (hash ^ (hash >> 32)) as u32
}

/// Whether a column of that many different texts among its cells names rows rather than kinds of rows.
pub(super) fn is_identifier(distinct: usize, cells: usize) -> bool {
    cells >= 20 && distinct * 10 >= cells * 9
}

/// Whether whole numbers that count are the years of a table of years.
pub(super) fn are_years(cells: &[&str]) -> bool {
    cells.iter().all(|cell| matches!(read_cell(cell), Cell::Number(year) if (1500.0..2200.0).contains(&year)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh(cells: &[String], rows: usize) -> Vec<String> {
        let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
        let pattern = Identifier::of(&cells);
        let made = pattern.generate(rows, 7);
        assert_eq!(made, pattern.generate(rows, 7));
        assert_eq!(made.iter().collect::<HashSet<_>>().len(), rows, "all different");
        assert!(made.iter().all(|text| !cells.contains(&text.as_str())), "none from the table");
        made
    }

    #[test]
    fn new_values_follow_the_pattern() {
        let names: Vec<String> = (0..61).map(|i| format!("Ann {}", i.max(1))).collect();
        for name in fresh(&names, 500) {
            let rest = name.strip_prefix("Ann ").unwrap();
            assert!(rest.bytes().all(|b| b.is_ascii_digit()), "{name}");
        }
        let codes: Vec<String> = (0..50).map(|i| format!("AB-{:04}", i * 37)).collect();
        assert!(fresh(&codes, 300).iter().all(|code| code.len() == 7 && code.starts_with("AB-")));
        let hex = |i: u64| {
            let bits = i.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            format!("{:08x}-{:04x}-4{:03x}", bits >> 32, bits & 0xffff, (bits >> 16) & 0xfff)
        };
        let hex: Vec<String> = (1..200).map(hex).collect();
        for made in fresh(&hex, 300) {
            let parts: Vec<&str> = made.split('-').collect();
            assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [8, 4, 4], "{made}");
            assert!(parts[2].starts_with('4') && parts.concat().bytes().all(|b| b.is_ascii_hexdigit()), "{made}");
        }
    }

    #[test]
    fn counters_go_on() {
        let ids: Vec<String> = (0..100).map(|i| (1000 + (i * 37) % 100).to_string()).collect();
        assert_eq!(fresh(&ids, 3), ["1100", "1101", "1102"]);
        let is = |cells: &[&str]| counter(cells).is_some();
        assert!(is(&["3", "1", "2"]) && is(&["0", "10", "20"]) && is(&["1", "2", "4", "5", "6", "8"]));
        assert!(!is(&["1", "5", "100"]) && !is(&["1", "2", "x"]) && !is(&["01", "02"]) && !is(&["1", "1", "2"]));
    }
}
