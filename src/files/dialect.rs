//! How a text file of a table is written: compression, encoding, what stands between cells, and whether names stand on top.

use std::io::ErrorKind;

use csv::ReaderBuilder;
use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use flate2::read::MultiGzDecoder;

use super::input;
use crate::table::number::{Cell, is_mark_among_numbers, read_cell};

/// What may stand between cells, the likelier first.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// Lines and rows that are looked at.
const LINES: usize = 30;
const ROWS: usize = 1000;

/// The bytes of a file without their compression.
pub(super) fn unpacked(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    input::read_all(MultiGzDecoder::new(bytes.as_slice())).map_err(|e| match e.kind() {
        ErrorKind::Other => format!("it is compressed with gzip, and without that {e}"),
        _ => format!("it is compressed with gzip and damaged ({e})"),
    })
}

/// The text of a file, and how it was converted if it was not UTF-8.
pub(super) fn text(bytes: Vec<u8>) -> Result<(String, Option<String>), String> {
    let binary = "it is not a table but binary data; give a CSV file";
    if bytes.starts_with(b"PK\x03\x04") {
        return Err("it is not a table but binary data, maybe a spreadsheet; save that as CSV".into());
    }
    let encoding = Encoding::for_bom(&bytes).map(|(encoding, _)| encoding).or_else(|| without_mark(&bytes));
    let (text, note) = match encoding {
        Some(encoding) if encoding != UTF_8 => (convert(encoding, &bytes), Some(encoding.name())),
        _ => match String::from_utf8(bytes) {
            Ok(text) => (text, None),
            // What Western spreadsheets write; Latin-1 is a part of it.
            Err(error) => (convert(WINDOWS_1252, error.as_bytes()), Some("Windows-1252 (Latin-1)")),
        },
    };
    let control = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\x0b' | '\x0c' | '\x1a');
    // Nothing that is text holds a zero; and what is not UTF-8 may be anything.
    if text.contains('\0') || note.is_some() && text.chars().take(1 << 16).any(control) {
        return Err(binary.into());
    }
    let note = note.map(|name| format!("converted from {name} to UTF-8"));
    Ok((text.trim_start_matches('\u{feff}').to_owned(), note))
}

/// UTF-16 without a mark in front: nearly every other byte of a table is zero.
fn without_mark(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = &bytes[..bytes.len().min(4096) & !1];
    let zeros = |parity: usize| head.iter().skip(parity).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd, pairs) = (zeros(0), zeros(1), head.len() / 2);
    match pairs {
        4.. if odd * 10 >= pairs * 9 && even * 20 < pairs => Some(UTF_16LE),
        4.. if even * 10 >= pairs * 9 && odd * 20 < pairs => Some(UTF_16BE),
        _ => None,
    }
}

fn convert(encoding: &'static Encoding, bytes: &[u8]) -> String {
    encoding.decode_with_bom_removal(bytes).0.into_owned()
}

/// What stands between the cells: the comma, unless another delimiter is in the first line and cuts the next lines into
/// equal numbers of cells where the comma does not.
pub(super) fn delimiter(text: &str) -> u8 {
    let head: String =
        text.lines().filter(|line| !line.trim().is_empty()).take(LINES).flat_map(|l| [l, "\n"]).collect();
    let equal = |delimiter: &u8| {
        let mut reader =
            ReaderBuilder::new().has_headers(false).flexible(true).delimiter(*delimiter).from_reader(head.as_bytes());
        let mut widths: Vec<usize> = reader.byte_records().filter_map(|record| Some(record.ok()?.len())).collect();
        // The last may have been cut off within quotes.
        if widths.len() == LINES {
            widths.pop();
        }
        widths.first().is_some_and(|first| *first > 1 && widths.iter().all(|width| width == first))
    };
    DELIMITERS.into_iter().find(equal).unwrap_or(b',')
}

/// How many lines hold nothing.
pub(super) fn blank_lines(text: &str) -> usize {
    let (mut blank, mut quoted, mut empty, mut before) = (0, false, true, b'\n');
    for &byte in text.as_bytes() {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' if before == b'\r' => {}
            b'\n' | b'\r' if !quoted => {
                blank += usize::from(empty);
                empty = true;
            }
            _ => {}
        }
        empty &= matches!(byte, b'\n' | b'\r') && !quoted;
        before = byte;
    }
    blank
}

/// Why the first line looks like one of data rather than names, if it does. `columns` are the cells below it.
pub(super) fn no_header(names: &[String], columns: &[Vec<String>]) -> Option<String> {
    // Plain positions are what some programs write as names.
    if names.iter().enumerate().all(|(position, name)| *name == position.to_string()) {
        return None;
    }
    let number = |cell: &str| matches!(read_cell(cell), Cell::Number(_) | Cell::Integer(_));
    let mut reason = None;
    let mut numbers = Vec::new();
    for (name, cells) in names.iter().zip(columns) {
        let cells = &cells[..cells.len().min(ROWS)];
        let filled = cells.iter().filter(|cell| !is_mark_among_numbers(cell));
        let (all, found) = filled.fold((0, 0), |(all, found), cell| (all + 1, found + usize::from(number(cell))));
        let of_numbers = found * 10 >= all * 9 && all > 0;
        if number(name) {
            numbers.extend(name.trim().parse::<f64>().ok());
            if of_numbers || all == 0 {
                reason = Some(format!("'{}' stands above numbers", name.trim()));
            }
        } else if !is_mark_among_numbers(name) {
            // A word above numbers is a name.
            if of_numbers {
                return None;
            }
            if cells.contains(name) {
                return Some(format!("'{name}' stands above the same"));
            }
        }
    }
    // Words, and then years or other numbers in order: a table that was turned on its side.
    let ascending =
        numbers.len() >= 2 && numbers.len() < names.len() && numbers.windows(2).all(|pair| pair[0] < pair[1]);
    reason.filter(|_| !ascending)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_are_told_apart() {
        assert_eq!(delimiter("a,b\n1,2\n"), b',');
        assert_eq!(delimiter("a;b\n1,5;2,5\n3;4\n"), b';');
        assert_eq!(delimiter("a,b;c,d\n1;2\n3;4\n"), b';');
        assert_eq!(delimiter("a\tb\n1\t2\n"), b'\t');
        assert_eq!(delimiter("a|b\n1|2\n"), b'|');
        assert_eq!(delimiter("\"a;b\"\n1\n"), b',');
        assert_eq!(delimiter("a\n1\n2\n"), b',');
        assert_eq!(delimiter(""), b',');
    }

    #[test]
    fn blank_lines_are_counted() {
        assert_eq!(blank_lines("a,b\n1,2\n\n3,4\n"), 1);
        assert_eq!(blank_lines("\r\na,b\r\n\r\n1,2\r\n"), 2);
        assert_eq!(blank_lines("a\n\"x\n\ny\"\n"), 0);
        assert_eq!(blank_lines("a\n1"), 0);
    }

    #[test]
    fn lines_of_data_are_no_header() {
        let no = |names: &[&str], columns: &[&[&str]]| {
            let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            no_header(&own(names), &columns.iter().map(|column| own(column)).collect::<Vec<_>>()).is_some()
        };
        assert!(no(&["Ann", "34", "F"], &[&["Bob", "Cid"], &["41", "57"], &["M", "F"]]));
        assert!(no(&["1.5", "2"], &[&["3"], &["4"]]));
        assert!(no(&["2010", "2011"], &[&["3"], &["4"]]));
        assert!(no(&["red", "?"], &[&["red", "blue"], &["4", "5"]]));
        assert!(!no(&["0", "1"], &[&["3"], &["4"]]));
        assert!(!no(&["country", "2010", "2011"], &[&["Chad", "Mali"], &["4", "5"], &["6", "7"]]));
        assert!(!no(&["name", "age"], &[&["Ann", "Bob"], &["34", "35"]]));
        assert!(!no(&["name", "town"], &[&["Ann", "Bob"], &["Bath", "Como"]]));
    }
}
