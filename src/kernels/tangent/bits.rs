//! Activation patterns in the layouts that are counted: bit rows of 64 samples side by side, neurons sorted by sign, and bit
//! rows of 64 samples per neuron.

use crate::kernels::patterns::ActivationPatterns;
use crate::kernels::{Disjoint, PANEL, Panels, for_each_task};
use crate::simd::{BitWord, CountBits, CountKernel, Lanes, Popcount, Real};

/// Which neuron each bit of the counted rows stands for.
///
/// For i = k all neurons as they come. For i != k those with a^i = a^k first, then the others from the next whole word on: the
/// signed sum is then the count over the first words less the count over the rest.
#[derive(Debug, Clone, Default)]
pub(super) struct Order {
    /// For each bit its neuron, or the number of neurons where the bit is padding; empty if the neurons keep their places.
    neurons: Vec<u32>,
    /// Words of 64 neurons.
    pub words: usize,
    /// Words that count as plus.
    pub plus: usize,
}

impl Order {
    /// The order for outputs `i` and `k`.
    pub fn set<T: Real>(&mut self, a: &Panels<T>, (i, k): (usize, usize)) {
        let m = a.rows();
        self.neurons.clear();
        self.words = m.div_ceil(64);
        self.plus = self.words;
        if i == k {
            return;
        }
        for agree in [true, false] {
            let chosen = (0..m).filter(|&r| (a.get(r, i) == a.get(r, k)) == agree);
            self.neurons.extend(chosen.map(|r| r as u32));
            self.neurons.resize(self.neurons.len().next_multiple_of(64), m as u32);
            if agree {
                self.plus = self.neurons.len() / 64;
            }
        }
        self.words = self.neurons.len() / 64;
    }
}

/// Arranges the patterns of all samples in blocks of 64, `order.words` words each, one block after the other; one worker per
/// scratch buffer.
pub(super) fn arrange(
    count: Popcount,
    out: &mut Vec<BitWord>,
    patterns: &ActivationPatterns,
    order: &Order,
    scratch: &mut [Vec<u64>],
) {
    let blocks = patterns.samples().div_ceil(PANEL);
    out.resize(blocks * order.words, BitWord([0; 64]));
    let out = Disjoint::new(out);
    for_each_task(blocks, scratch, |scratch, block| {
        // SAFETY: each task takes its own block.
        let out = unsafe { out.piece(block * order.words, order.words) };
        count.run(ArrangeBlock { out, patterns, block, order, scratch });
    });
}

struct ArrangeBlock<'a> {
    out: &'a mut [BitWord],
    patterns: &'a ActivationPatterns,
    block: usize,
    order: &'a Order,
    scratch: &'a mut Vec<u64>,
}

impl CountKernel for ArrangeBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn run<C: CountBits>(self, counter: C) {
        let Self { out, patterns, block, order, scratch } = self;
        let words = patterns.words_per_row();
        if order.neurons.is_empty() {
            for word in 0..words {
                out[word] = counter.arrange(&gather(patterns, block, word));
            }
            return;
        }
        // Bits by neuron, where a neuron is one word; then 64 neurons at a time in their new order, back to bits by sample.
        scratch.resize(neuron_words(patterns.neurons()), 0);
        by_neuron(counter.lanes(), scratch, patterns, block);
        for (out, neurons) in out.iter_mut().zip(order.neurons.chunks_exact(64)) {
            let mut bits: [u64; 64] = std::array::from_fn(|t| scratch[neurons[t] as usize]);
            counter.lanes().transpose_bits(&mut bits);
            *out = counter.arrange(&bits);
        }
    }
}

/// Word `word` of the 64 samples of a block; zero for samples beyond the last.
#[inline(always)]
fn gather(patterns: &ActivationPatterns, block: usize, word: usize) -> [u64; 64] {
    let words = patterns.words_per_row();
    let samples = (patterns.samples() - block * PANEL).min(PANEL);
    let rows = &patterns.words()[block * PANEL * words..][..samples * words];
    let mut bits = [0; 64];
    for (bits, row) in bits.iter_mut().zip(rows.chunks_exact(words)) {
        *bits = row[word];
    }
    bits
}

/// Words that [`by_neuron`] takes for each block of 64 samples.
pub(super) fn neuron_words(neurons: usize) -> usize {
    neurons.next_multiple_of(64) + 1
}

/// For every neuron the bits of the 64 samples of a block, and at least one word of zeros after the last neuron.
#[inline(always)]
pub(super) fn by_neuron<S: Lanes>(s: S, out: &mut [u64], patterns: &ActivationPatterns, block: usize) {
    out[neuron_words(patterns.neurons()) - 1] = 0;
    for word in 0..patterns.words_per_row() {
        let mut bits = gather(patterns, block, word);
        s.transpose_bits(&mut bits);
        out[64 * word..64 * (word + 1)].copy_from_slice(&bits);
    }
}

/// [`by_neuron`] of all blocks, one after the other.
pub(super) fn all_by_neuron(count: Popcount, out: &mut Vec<u64>, patterns: &ActivationPatterns, workers: usize) {
    let blocks = patterns.samples().div_ceil(PANEL);
    let words = neuron_words(patterns.neurons());
    out.resize(blocks * words, 0);
    let out = Disjoint::new(out);
    for_each_task(blocks, &mut vec![(); workers], |(), block| {
        // SAFETY: each task takes its own block.
        let out = unsafe { out.piece(block * words, words) };
        count.run(NeuronBlock { out, patterns, block });
    });
}

struct NeuronBlock<'a> {
    out: &'a mut [u64],
    patterns: &'a ActivationPatterns,
    block: usize,
}

impl CountKernel for NeuronBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn run<C: CountBits>(self, counter: C) {
        by_neuron(counter.lanes(), self.out, self.patterns, self.block);
    }
}

/// The signs of every neuron as bits, set for +1: `ceil(outputs / 64)` words per neuron, and for one neuron more, all clear.
pub(super) fn sign_words<T: Real>(out: &mut Vec<u64>, a: &Panels<T>) {
    let words = a.columns().div_ceil(64);
    out.clear();
    out.resize((a.rows() + 1) * words, 0);
    for i in 0..a.columns() {
        for r in 0..a.rows() {
            out[r * words + i / 64] |= u64::from(a.get(r, i) > T::ZERO) << (i % 64);
        }
    }
}
