//! Activation patterns in the layout that is counted: bit rows of 64 samples side by side, the neurons sorted by class, for instance
//! by whether two outputs have the same sign.

use std::ops::Range;

use crate::kernels::patterns::ActivationPatterns;
use crate::kernels::{Disjoint, PANEL, Panels, for_each_task};
use crate::simd::{BitWord, CountBits, CountKernel, Lanes, Popcount, Real};

/// Which neuron each bit of the counted rows stands for: the neurons class by class, each class from a whole word on, or all as
/// they come.
#[derive(Debug, Clone, Default)]
pub(super) struct Order {
    /// The class of every neuron.
    classes: Vec<u8>,
    /// For each bit its neuron, or the end of the last word where the bit is padding; empty if the neurons keep their places.
    neurons: Vec<u32>,
    /// The word that each class starts with, and where the last one ends.
    starts: Vec<usize>,
}

impl Order {
    /// All neurons in one class, as they come.
    pub fn keep(&mut self, neurons: usize) {
        self.neurons.clear();
        self.starts.clear();
        self.starts.extend([0, neurons.div_ceil(64)]);
    }

    /// The class of every neuron, 0 for now, to be written before [`Order::sort`].
    pub fn reset(&mut self, neurons: usize) -> &mut [u8] {
        self.classes.clear();
        self.classes.resize(neurons, 0);
        &mut self.classes
    }

    /// Sorts the neurons by their class, `0..classes`; those of one class stay in order.
    pub fn sort(&mut self, classes: usize) {
        self.starts.clear();
        self.starts.resize(classes + 1, 0);
        for &class in &self.classes {
            self.starts[usize::from(class) + 1] += 1;
        }
        for class in 0..classes {
            self.starts[class + 1] = self.starts[class] + self.starts[class + 1].div_ceil(64);
        }
        let nothing = self.classes.len().next_multiple_of(64) as u32;
        self.neurons.clear();
        self.neurons.resize(64 * self.words(), nothing);
        let mut next = [0; 256];
        for (next, start) in next.iter_mut().zip(&self.starts) {
            *next = 64 * start;
        }
        for (neuron, &class) in self.classes.iter().enumerate() {
            let next = &mut next[usize::from(class)];
            self.neurons[*next] = neuron as u32;
            *next += 1;
        }
    }

    /// Words of 64 bits, padding included.
    pub fn words(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    /// The words of a class.
    pub fn class(&self, class: usize) -> Range<usize> {
        self.starts[class]..self.starts[class + 1]
    }
}

/// The patterns of one set of samples in the layouts that are counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Side {
    /// For every block of 64 samples and every neuron the bits of the samples, and at the end a word of zeros that padding reads.
    by_neuron: Vec<u64>,
    /// For every block of 64 samples the words of an order.
    bits: Vec<BitWord>,
}

impl Side {
    /// Takes the patterns of a set, for orders that sort the neurons.
    pub fn take(&mut self, count: Popcount, patterns: &ActivationPatterns, workers: usize) {
        let (blocks, words) = (patterns.samples().div_ceil(PANEL), patterns.words_per_row() * 64 + 1);
        self.by_neuron.resize(blocks * words, 0);
        let out = Disjoint::new(&mut self.by_neuron);
        for_each_task(blocks, &mut vec![(); workers], |(), block| {
            // SAFETY: each task takes its own block.
            let out = unsafe { out.piece(block * words, words) };
            count.run(TakeBlock { out, patterns, block });
        });
    }

    /// Arranges the patterns in blocks of 64 samples, `order.words()` words each, one block after the other. Where the order sorts
    /// the neurons, [`Side::take`] was called with these patterns.
    pub fn arrange(&mut self, count: Popcount, patterns: &ActivationPatterns, order: &Order, workers: usize) {
        let (blocks, words) = (patterns.samples().div_ceil(PANEL), order.words());
        let by_neuron = &self.by_neuron;
        self.bits.resize(blocks * words, BitWord([0; 64]));
        let out = Disjoint::new(&mut self.bits);
        for_each_task(blocks, &mut vec![(); workers], |(), block| {
            // SAFETY: each task takes its own block.
            let out = unsafe { out.piece(block * words, words) };
            count.run(ArrangeBlock { out, patterns, by_neuron, block, order });
        });
    }

    /// The words of a block, as last arranged.
    #[inline(always)]
    pub fn block(&self, block: usize, order: &Order) -> &[BitWord] {
        &self.bits[block * order.words()..][..order.words()]
    }
}

struct TakeBlock<'a> {
    out: &'a mut [u64],
    patterns: &'a ActivationPatterns,
    block: usize,
}

impl CountKernel for TakeBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn run<C: CountBits>(self, counter: C) {
        let Self { out, patterns, block } = self;
        for word in 0..patterns.words_per_row() {
            let mut bits = gather(patterns, block, word);
            counter.lanes().transpose_bits(&mut bits);
            out[64 * word..64 * (word + 1)].copy_from_slice(&bits);
        }
        out[64 * patterns.words_per_row()] = 0;
    }
}

struct ArrangeBlock<'a> {
    out: &'a mut [BitWord],
    patterns: &'a ActivationPatterns,
    by_neuron: &'a [u64],
    block: usize,
    order: &'a Order,
}

impl CountKernel for ArrangeBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn run<C: CountBits>(self, counter: C) {
        let Self { out, patterns, by_neuron, block, order } = self;
        if order.neurons.is_empty() {
            for (word, out) in out.iter_mut().enumerate() {
                *out = counter.arrange(&gather(patterns, block, word));
            }
            return;
        }
        let words = patterns.words_per_row() * 64 + 1;
        let by_neuron = &by_neuron[block * words..][..words];
        for (out, neurons) in out.iter_mut().zip(order.neurons.chunks_exact(64)) {
            // 64 neurons in their new order, a word each; turned, they are a word for each sample.
            let mut bits: [u64; 64] = std::array::from_fn(|t| by_neuron[neurons[t] as usize]);
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

/// The signs of every output, one byte a neuron, 1 for +1: all neurons of the first output, then of the next.
pub(super) fn signs<T: Real>(out: &mut Vec<u8>, a: &Panels<T>) {
    out.clear();
    for i in 0..a.columns() {
        for block in 0..a.blocks() {
            out.extend(a.block(block)[i].0[..a.rows_in(block)].iter().map(|&sign| u8::from(sign > T::ZERO)));
        }
    }
}
