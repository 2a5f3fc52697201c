//! Counts for all pairs of outputs at once, for a group of 32 lines and a block of 64 lanes.
//!
//! ```text
//! per line j: the neurons active on j, about half of all
//!     the signs of those neurons, as d bit rows                     compressed[i]
//! per line j and block of lanes: the lanes' bits at those neurons   shared[lane] = I_j & I_lane, but shorter
//!     total[lane]  = popcount(shared[lane])
//!     signed[i, k] = 2 popcount(shared[lane] & !(compressed[i] ^ compressed[k])) - total[lane]
//! ```
//!
//! Compressing halves what every one of the d(d-1)/2 pairs counts; it is done by 64 x 64 bit transposes of the lanes' bits by
//! neuron. The pairs need no bit rows of their own: two compressed rows are compared as they are counted.

use super::bits::neuron_words;
use crate::kernels::PANEL;
use crate::kernels::patterns::ActivationPatterns;
use crate::simd::{BitWord, CountBits, CountKernel, Counts, Lanes, Popcount};

/// Lines of one group: few enough that their lanes and signs stay in a second-level cache, and enough that what is mirrored
/// leaves in runs of two cache lines (runs of one took twice as long in pages of 4 KB).
pub(super) const LINES: usize = 32;

/// Buffers of one group of lines.
#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    /// For each line the neurons active on it, padded to whole words with the number of neurons.
    active: Vec<u32>,
    /// Where each line starts in `active` and ends, in words.
    starts: Vec<usize>,
    /// For each line the compressed signs, 64 outputs at a time.
    signs: Vec<BitWord>,
    /// For each line the compressed bits of the lanes.
    shared: Vec<BitWord>,
    /// For each line the number of shared neurons.
    pub totals: Vec<[i32; PANEL]>,
    /// For each output k and each line (line fastest) the signed counts with the output i of the last [`Group::output`].
    pub signed: Vec<[i32; PANEL]>,
    /// Number of outputs.
    outputs: usize,
}

impl Group {
    /// Takes `lines` samples from `first` on as lines; `signs` are the sign words of [`super::bits::sign_words`].
    pub fn set_lines(
        &mut self,
        count: Popcount,
        patterns: &ActivationPatterns,
        (first, lines): (usize, usize),
        signs: &[u64],
        outputs: usize,
    ) {
        let nothing = patterns.neurons() as u32;
        self.outputs = outputs;
        self.active.clear();
        self.starts.clear();
        self.starts.push(0);
        for line in first..first + lines {
            for (word, &bits) in patterns.row(line).iter().enumerate() {
                let mut bits = bits;
                while bits != 0 {
                    self.active.push(word as u32 * 64 + bits.trailing_zeros());
                    bits &= bits - 1;
                }
            }
            self.active.resize(self.active.len().next_multiple_of(64), nothing);
            self.starts.push(self.active.len() / 64);
        }
        let words = self.active.len() / 64;
        self.signs.resize(words * outputs.div_ceil(64), BitWord([0; 64]));
        self.shared.resize(words, BitWord([0; 64]));
        self.totals.resize(lines, [0; PANEL]);
        self.signed.resize(outputs * lines, [0; PANEL]);
        count.run(CompressSigns { group: self, signs });
    }

    /// Number of lines.
    fn lines(&self) -> usize {
        self.totals.len()
    }

    /// Takes a block of lanes, given its bits by neuron, and counts the totals of the first `16 * groups` lanes.
    pub fn set_lanes(&mut self, count: Popcount, by_neuron: &[u64], groups: usize) {
        count.run(CompressLanes { group: self, by_neuron, groups });
    }

    /// Signed counts of output `i` with every later output.
    pub fn output(&mut self, count: Popcount, i: usize, groups: usize) {
        count.run(CountOutput { group: self, i, groups });
    }

    #[inline(always)]
    fn signs_of(&self, line: usize, block: usize) -> &[BitWord] {
        let (start, words) = (self.starts[line], self.starts[line + 1] - self.starts[line]);
        &self.signs[start * self.outputs.div_ceil(64) + block * words..][..words]
    }

    #[inline(always)]
    fn shared_of(&self, line: usize) -> &[BitWord] {
        &self.shared[self.starts[line]..self.starts[line + 1]]
    }
}

struct CompressSigns<'a> {
    group: &'a mut Group,
    signs: &'a [u64],
}

impl CountKernel for CompressSigns<'_> {
    type Output = ();

    #[inline(always)]
    fn run<C: CountBits>(self, counter: C) {
        let Self { group, signs } = self;
        let output_blocks = group.outputs.div_ceil(64);
        for line in 0..group.lines() {
            let (start, end) = (group.starts[line], group.starts[line + 1]);
            for block in 0..output_blocks {
                for word in start..end {
                    let neurons = &group.active[64 * word..64 * word + 64];
                    let mut bits = std::array::from_fn(|t| signs[neurons[t] as usize * output_blocks + block]);
                    counter.lanes().transpose_bits(&mut bits);
                    let at = start * output_blocks + block * (end - start) + word - start;
                    group.signs[at] = counter.arrange(&bits);
                }
            }
        }
    }
}

struct CompressLanes<'a> {
    group: &'a mut Group,
    by_neuron: &'a [u64],
    groups: usize,
}

impl CountKernel for CompressLanes<'_> {
    type Output = ();

    #[inline(always)]
    fn run<C: CountBits>(self, counter: C) {
        let Self { group, by_neuron, groups } = self;
        for (shared, neurons) in group.shared.iter_mut().zip(group.active.chunks_exact(64)) {
            let mut bits = std::array::from_fn(|t| by_neuron[neurons[t] as usize]);
            counter.lanes().transpose_bits(&mut bits);
            *shared = counter.arrange(&bits);
        }
        let mut counts = Counts([[0; PANEL]; 4]);
        for line in 0..group.lines() {
            // Every output agrees with itself everywhere.
            let signs = group.signs_of(line, 0);
            counter.agree((signs, 0), (signs, 0, 1), group.shared_of(line), groups, &mut counts);
            group.totals[line] = counts.0[0];
        }
    }
}

struct CountOutput<'a> {
    group: &'a mut Group,
    i: usize,
    groups: usize,
}

impl CountKernel for CountOutput<'_> {
    type Output = ();

    #[inline(always)]
    fn run<C: CountBits>(self, counter: C) {
        let Self { group, i, groups } = self;
        let lines = group.lines();
        let mut counts = Counts([[0; PANEL]; 4]);
        for line in 0..lines {
            let mut k = i + 1;
            while k < group.outputs {
                let rows = (group.outputs - k).min(64 - k % 64).min(4);
                let (a, b) = (group.signs_of(line, i / 64), group.signs_of(line, k / 64));
                counter.agree((a, i % 64), (b, k % 64, rows), group.shared_of(line), groups, &mut counts);
                for r in 0..rows {
                    let (signed, total) = (&mut group.signed[(k + r) * lines + line], &group.totals[line]);
                    for lane in 0..PANEL {
                        signed[lane] = 2 * counts.0[r][lane] - total[lane];
                    }
                }
                k += rows;
            }
        }
    }
}

/// The bits by neuron of one block of lanes among those of all blocks.
#[inline(always)]
pub(super) fn lane_block(by_neuron: &[u64], neurons: usize, block: usize) -> &[u64] {
    &by_neuron[block * neuron_words(neurons)..][..neuron_words(neurons)]
}
