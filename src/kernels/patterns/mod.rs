//! Activation patterns: which neurons are active on which samples, one bit each, and what can be read off them by counting.
//!
//! A ReLU network sees the data through N x m bits. Packing them takes a fused product whose result is never stored
//! ([`patterns_into`]); everything else here is a pass over words.

mod bytes;
mod count;
mod entry;
pub(super) mod pack;
#[cfg(test)]
mod tests;

pub use entry::patterns_into;
// With an explicit level, for the crate's own tests and benchmarks.
#[doc(hidden)]
pub use entry::patterns_with;

use super::panels::entries;
use crate::{Error, Result};

/// Bit-packed activation patterns of `samples` samples over `neurons` neurons.
///
/// Bit `r % 64` of word `r / 64` of row `j` is `[w_r . z_j >= 0]`; bits beyond the last neuron are zero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivationPatterns {
    samples: usize,
    neurons: usize,
    words: Vec<u64>,
}

impl ActivationPatterns {
    /// Patterns without an active neuron.
    pub fn zeros(samples: usize, neurons: usize) -> Self {
        Self { samples, neurons, words: vec![0; entries(samples, neurons.div_ceil(64))] }
    }

    /// Makes these patterns of another shape without an active neuron, keeping the allocation where it is large enough.
    pub fn reset(&mut self, samples: usize, neurons: usize) {
        self.samples = samples;
        self.neurons = neurons;
        self.words.clear();
        self.words.resize(entries(samples, neurons.div_ceil(64)), 0);
    }

    /// Number of samples (rows).
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Number of neurons (bits per row).
    pub fn neurons(&self) -> usize {
        self.neurons
    }

    /// Words per row.
    pub fn words_per_row(&self) -> usize {
        self.neurons.div_ceil(64)
    }

    /// All rows, one after the other.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// All rows, one after the other. Bits beyond the last neuron must stay zero.
    pub fn words_mut(&mut self) -> &mut [u64] {
        &mut self.words
    }

    /// The pattern of one sample.
    ///
    /// # Panics
    /// If there is no such sample.
    pub fn row(&self, sample: usize) -> &[u64] {
        &self.words[sample * self.words_per_row()..(sample + 1) * self.words_per_row()]
    }

    /// Whether a neuron is active on a sample.
    ///
    /// # Panics
    /// If there is no such sample or neuron.
    pub fn is_active(&self, sample: usize, neuron: usize) -> bool {
        assert!(neuron < self.neurons, "neuron outside the patterns");
        self.row(sample)[neuron / 64] >> (neuron % 64) & 1 == 1
    }

    /// Makes a neuron active or inactive on a sample.
    ///
    /// # Panics
    /// If there is no such sample or neuron.
    pub fn set(&mut self, sample: usize, neuron: usize, active: bool) {
        assert!(neuron < self.neurons, "neuron outside the patterns");
        let words = self.words_per_row();
        let word = &mut self.words[sample * words + neuron / 64];
        let bit = 1 << (neuron % 64);
        *word = if active { *word | bit } else { *word & !bit };
    }

    /// [`Error::Shape`] unless `other` has the shape of these patterns.
    fn expect_same_shape(&self, other: &Self) -> Result<()> {
        let (rows, columns) = (self.samples, self.neurons);
        let (found_rows, found_columns) = (other.samples, other.neurons);
        if (rows, columns) == (found_rows, found_columns) {
            return Ok(());
        }
        Err(Error::Shape { what: "the other set of activation patterns", rows, columns, found_rows, found_columns })
    }
}
