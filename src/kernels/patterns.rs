//! Activation patterns: which neurons are active on which samples, one bit each.

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
        Self { samples, neurons, words: vec![0; samples * neurons.div_ceil(64)] }
    }

    /// Makes these patterns of another shape without an active neuron, keeping the allocation where it is large enough.
    pub fn reset(&mut self, samples: usize, neurons: usize) {
        self.samples = samples;
        self.neurons = neurons;
        self.words.clear();
        self.words.resize(samples * neurons.div_ceil(64), 0);
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
    pub fn row(&self, sample: usize) -> &[u64] {
        &self.words[sample * self.words_per_row()..(sample + 1) * self.words_per_row()]
    }

    /// Whether a neuron is active on a sample.
    pub fn is_active(&self, sample: usize, neuron: usize) -> bool {
        self.row(sample)[neuron / 64] >> (neuron % 64) & 1 == 1
    }
}
