//! Patterns as bytes, to be saved and loaded.
//!
//! Format, all numbers little-endian:
//!
//! | bytes | content |
//! |---|---|
//! | 0..8 | the letters `NTKBITS1` |
//! | 8..16 | number of samples N, unsigned |
//! | 16..24 | number of neurons m, unsigned |
//! | 24.. | N rows of ceil(m / 64) unsigned 64-bit words; neuron r is bit r % 64 of word r / 64; unused bits are zero |

use super::ActivationPatterns;
use crate::{Error, Result};

const MAGIC: &[u8; 8] = b"NTKBITS1";
const HEADER: usize = 24;

impl ActivationPatterns {
    /// The patterns in this crate's format: the letters `NTKBITS1`, the numbers of samples and of neurons, then the words of
    /// [`ActivationPatterns::words`]; each number and word as eight bytes, little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + 8 * self.words.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&(self.samples as u64).to_le_bytes());
        bytes.extend_from_slice(&(self.neurons as u64).to_le_bytes());
        bytes.extend(self.words.iter().flat_map(|word| word.to_le_bytes()));
        bytes
    }

    /// Reads what [`ActivationPatterns::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Error::Patterns`] if the bytes do not start with the header, are too few or too many for the shape that it states, or
    /// have a bit set beyond the last neuron.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let wrong = |reason: String| Error::Patterns(format!("these bytes are no activation patterns: {reason}"));
        if bytes.len() < HEADER || &bytes[..8] != MAGIC {
            return Err(wrong("they do not start with a NTKBITS1 header of 24 bytes".to_owned()));
        }
        let number = |from: usize| u64::from_le_bytes(bytes[from..from + 8].try_into().expect("eight bytes"));
        let (samples, neurons) = (number(8), number(16));
        let needed = u128::from(samples) * u128::from(neurons.div_ceil(64)) * 8;
        let found = bytes.len() - HEADER;
        if needed != found as u128 {
            return Err(wrong(format!(
                "{samples} samples of {neurons} neurons take {needed} bytes after the header, but {found} follow"
            )));
        }
        // A shape without words takes no bytes, so that its numbers have not been held against a length.
        let size = |x: u64| usize::try_from(x).map_err(|_| wrong(format!("{x} does not fit in this machine's sizes")));
        let words = bytes[HEADER..].chunks_exact(8).map(|w| u64::from_le_bytes(w.try_into().expect("eight bytes")));
        let patterns = Self { samples: size(samples)?, neurons: size(neurons)?, words: words.collect() };
        if !patterns.neurons.is_multiple_of(64) {
            let words = patterns.words_per_row();
            let beyond = |row: &[u64]| row[words - 1] >> (patterns.neurons % 64) != 0;
            if let Some(row) = patterns.words.chunks_exact(words).position(beyond) {
                return Err(wrong(format!("row {row} (counted from 0) has a bit set beyond neuron {}", neurons - 1)));
            }
        }
        Ok(patterns)
    }
}
