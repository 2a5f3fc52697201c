//! Counting active neurons and the flips between two sets of patterns.

use super::ActivationPatterns;
use crate::Result;
use crate::kernels::{PANEL, check_shape};
use crate::simd::{CountBits, CountKernel, Kernel, Lanes, Level, Popcount};

impl ActivationPatterns {
    /// Number of neurons active on a sample.
    ///
    /// # Panics
    /// If there is no such sample.
    pub fn count_row(&self, sample: usize) -> usize {
        Popcount::current().ones(self.row(sample)) as usize
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
        let mut counts = vec![0; self.words_per_row() * 64];
        if self.neurons > 0 {
            Level::current().run(CountNeurons { patterns: self, counts: &mut counts });
        }
        counts.truncate(self.neurons);
        counts
    }

    /// The share of active bits among all; 0 where there are none.
    pub fn active_fraction(&self) -> f64 {
        if self.samples == 0 || self.neurons == 0 {
            return 0.0;
        }
        Popcount::current().ones(&self.words) as f64 / self.samples as f64 / self.neurons as f64
    }

    /// [`ActivationPatterns::hamming_with`] at the current level.
    ///
    /// # Errors
    /// As for [`ActivationPatterns::hamming_with`].
    pub fn hamming(&self, other: &Self) -> Result<u64> {
        self.hamming_with(Popcount::current(), other)
    }

    /// Number of bits in which two sets of patterns differ.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the sets have different shapes.
    pub fn hamming_with(&self, count: Popcount, other: &Self) -> Result<u64> {
        self.expect_same_shape(other)?;
        Ok(count.differing(&self.words, &other.words))
    }

    /// For every sample, the number of neurons in which two sets of patterns differ.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the sets have different shapes.
    pub fn hamming_rows(&self, other: &Self) -> Result<Vec<u64>> {
        let mut counts = vec![0; self.samples];
        self.hamming_rows_with(Popcount::current(), other, &mut counts)?;
        Ok(counts)
    }

    /// [`ActivationPatterns::hamming_rows`] into `counts`, one for each sample.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the sets have different shapes, or there is not one count for each sample.
    pub fn hamming_rows_with(&self, count: Popcount, other: &Self, counts: &mut [u64]) -> Result<()> {
        self.expect_same_shape(other)?;
        check_shape("the counts", counts.len(), 1, self.samples, 1)?;
        counts.fill(0);
        if self.neurons > 0 {
            count.run(DifferingRows { words: self.words_per_row(), rows: (&self.words, &other.words), counts });
        }
        Ok(())
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

/// Counts row by row the bits in which two sets of rows of `words` words differ.
struct DifferingRows<'a> {
    words: usize,
    rows: (&'a [u64], &'a [u64]),
    counts: &'a mut [u64],
}

impl CountKernel for DifferingRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<C: CountBits>(self, counter: C) {
        let (a, b) = (self.rows.0.chunks_exact(self.words), self.rows.1.chunks_exact(self.words));
        for (count, (a, b)) in self.counts.iter_mut().zip(a.zip(b)) {
            *count = counter.differing(a, b);
        }
    }
}

/// Adds up the bits of every neuron: 64 samples at a time their bits by neuron are one word to be counted.
struct CountNeurons<'a> {
    patterns: &'a ActivationPatterns,
    counts: &'a mut [usize],
}

impl Kernel for CountNeurons<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        let words = self.patterns.words_per_row();
        for rows in self.patterns.words().chunks(PANEL * words) {
            for (word, counts) in self.counts.chunks_exact_mut(64).enumerate() {
                let mut bits = [0; 64];
                for (bits, row) in bits.iter_mut().zip(rows.chunks_exact(words)) {
                    *bits = row[word];
                }
                s.transpose_bits(&mut bits);
                for (count, bits) in counts.iter_mut().zip(bits) {
                    *count += bits.count_ones() as usize;
                }
            }
        }
    }
}
