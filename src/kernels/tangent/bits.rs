//! Activation patterns in the layout that is counted: bit rows of 64 samples side by side, the neurons sorted by class, for instance
//! by whether two outputs have the same sign.

use std::ops::Range;

use super::quintets::MOST;
use crate::kernels::patterns::ActivationPatterns;
use crate::kernels::{Disjoint, PANEL, Panels, for_each_task};
use crate::simd::{BitWord, CountBits, CountKernel, Lanes, Popcount, Scalar};

/// Classes of neurons.
pub(super) const CLASSES: usize = 1 << (MOST - 1);

/// Which neuron each bit of the counted rows stands for: the neurons class by class, each class from a whole word on, or all as
/// they come.
#[derive(Debug, Clone, Default)]
pub(super) struct NeuronOrder {
    /// The class of every neuron.
    classes: Vec<u8>,
    /// For each bit its neuron, or the end of the last word where the bit is padding; empty if the neurons keep their places.
    neurons: Vec<u32>,
    /// The word that each class starts with, and where the last one ends.
    starts: [usize; CLASSES + 1],
}

impl NeuronOrder {
    /// Sorts the neurons by the signs of at most five outputs, up to a sign common to all: bit `t - 1` of a neuron's class says
    /// whether output t has another sign than output 0. Those of one class stay in order, and for one output all keep their places.
    ///
    /// # Panics
    /// Unless there are one to [`MOST`] outputs, all of them columns of `a`.
    pub fn by_signs<T: Scalar>(&mut self, a: &Panels<T>, outputs: &[usize]) {
        assert!((1..=MOST).contains(&outputs.len()), "the classes are of one to five outputs");
        self.classes.clear();
        self.neurons.clear();
        let mut words = [0; CLASSES];
        if outputs.len() == 1 {
            words[0] = a.rows().div_ceil(64);
        } else {
            self.classes.resize(a.rows(), 0);
            for (block, classes) in self.classes.chunks_mut(PANEL).enumerate() {
                let signs = |t: usize| &a.block(block)[outputs[t]].0;
                for t in 1..outputs.len() {
                    for ((class, first), sign) in classes.iter_mut().zip(signs(0)).zip(signs(t)) {
                        *class |= u8::from(first != sign) << (t - 1);
                    }
                }
            }
            self.classes.iter().for_each(|&class| words[usize::from(class)] += 1);
            words = words.map(|neurons: usize| neurons.div_ceil(64));
        }
        for class in 0..CLASSES {
            self.starts[class + 1] = self.starts[class] + words[class];
        }
        if !self.classes.is_empty() {
            self.neurons.resize(64 * self.words(), self.classes.len().next_multiple_of(64) as u32);
            let mut next = self.starts.map(|start| 64 * start);
            for (neuron, &class) in self.classes.iter().enumerate() {
                let next = &mut next[usize::from(class)];
                self.neurons[*next] = neuron as u32;
                *next += 1;
            }
        }
    }

    /// Words of 64 bits, padding included.
    pub fn words(&self) -> usize {
        self.starts[CLASSES]
    }

    /// The words of a class.
    pub fn class(&self, class: usize) -> Range<usize> {
        self.starts[class]..self.starts[class + 1]
    }
}

/// The patterns of one set of samples in the layouts that are counted.
#[derive(Debug, Clone, Default)]
pub(super) struct CountedPatterns {
    /// For every block of 64 samples and every neuron the bits of the samples, and at the end a word of zeros that padding reads.
    by_neuron: Vec<u64>,
    /// For every block of 64 samples the words of an order.
    bits: Vec<BitWord>,
}

impl CountedPatterns {
    /// Takes the patterns of a set, for orders that sort the neurons.
    pub fn take(&mut self, count: Popcount, patterns: &ActivationPatterns, workers: usize) {
        let (blocks, words) = (patterns.samples().div_ceil(PANEL), neuron_words(patterns));
        self.by_neuron.resize(blocks * words, 0);
        let out = Disjoint::new(&mut self.by_neuron);
        for_each_task(blocks, &mut vec![(); workers], |(), block| {
            // SAFETY: each task takes its own block.
            let out = unsafe { out.piece(block * words, words) };
            count.run(TakeBlock { out, patterns, block });
        });
    }

    /// Takes the patterns of a set, if the order asks for it, and arranges them once.
    pub fn set(&mut self, count: Popcount, patterns: &ActivationPatterns, order: &NeuronOrder, workers: usize) {
        if !order.neurons.is_empty() {
            self.take(count, patterns, workers);
        }
        self.arrange(count, patterns, order, workers);
    }

    /// Arranges the patterns in blocks of 64 samples, `order.words()` words each, one block after the other. Where the order sorts
    /// the neurons, [`CountedPatterns::take`] was called with these patterns.
    pub fn arrange(&mut self, count: Popcount, patterns: &ActivationPatterns, order: &NeuronOrder, workers: usize) {
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
    pub fn block(&self, block: usize, order: &NeuronOrder) -> &[BitWord] {
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
    order: &'a NeuronOrder,
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
        let words = neuron_words(patterns);
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

/// Words of [`CountedPatterns::by_neuron`] for a block of 64 samples.
fn neuron_words(patterns: &ActivationPatterns) -> usize {
    64 * patterns.words_per_row() + 1
}
