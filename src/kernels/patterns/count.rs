//! Counting active neurons and the flips between two sets of patterns.

use super::ActivationPatterns;
use crate::Result;

impl ActivationPatterns {
    /// Number of neurons active on a sample.
    ///
    /// # Panics
    /// If there is no such sample.
    pub fn count_row(&self, sample: usize) -> usize {
        self.row(sample).iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Number of samples on which a neuron is active.
    ///
    /// # Panics
    /// If there is no such neuron.
    pub fn count_neuron(&self, neuron: usize) -> usize {
        (0..self.samples).filter(|&sample| self.is_active(sample, neuron)).count()
    }

    /// For every neuron, the number of samples on which it is active.
    pub fn count_neurons(&self) -> Vec<usize> {
        (0..self.neurons).map(|r| self.count_neuron(r)).collect()
    }

    /// The share of active bits among all; 0 where there are none.
    pub fn active_fraction(&self) -> f64 {
        if self.samples == 0 || self.neurons == 0 {
            return 0.0;
        }
        let active: u64 = self.words.iter().map(|word| u64::from(word.count_ones())).sum();
        active as f64 / self.samples as f64 / self.neurons as f64
    }

    /// Number of bits in which two sets of patterns differ.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the sets have different shapes.
    pub fn hamming(&self, other: &Self) -> Result<u64> {
        self.expect_same_shape(other)?;
        Ok(self.words.iter().zip(&other.words).map(|(a, b)| u64::from((a ^ b).count_ones())).sum())
    }

    /// For every sample, the number of neurons in which two sets of patterns differ.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the sets have different shapes.
    pub fn hamming_rows(&self, other: &Self) -> Result<Vec<u64>> {
        self.expect_same_shape(other)?;
        let row = |j| self.row(j).iter().zip(other.row(j)).map(|(a, b)| u64::from((a ^ b).count_ones())).sum();
        Ok((0..self.samples).map(row).collect())
    }

    /// Adds to these patterns the bits in which `now` differs from `start`.
    ///
    /// Started from [`ActivationPatterns::zeros`] and called after every iteration, row j becomes the set S_j of neurons whose
    /// activation on sample j was ever another than at the start (HRX Theorem D.1).
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the sets have different shapes.
    pub fn merge_flips(&mut self, start: &Self, now: &Self) -> Result<()> {
        self.expect_same_shape(start)?;
        self.expect_same_shape(now)?;
        for ((seen, start), now) in self.words.iter_mut().zip(&start.words).zip(&now.words) {
            *seen |= start ^ now;
        }
        Ok(())
    }
}
