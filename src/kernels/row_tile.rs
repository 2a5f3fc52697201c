//! How the products of the training kernels are cut: into register tiles of a few rows ([`super::outer`]), and these into blocks of 64
//! samples by 64 neurons.

use super::outer::{Broadcast, accumulate};
use super::{PANEL, Panels};
use crate::simd::{Lanes, Scalar};

/// Evaluates `$body` with the constant `$name` equal to a number that is known at run time only and among those listed.
macro_rules! with_constant {
    ($number:expr, [$($value:literal),* $(,)?], $name:ident => $body:expr) => {
        match $number {
            $($value => {
                const $name: usize = $value;
                $body
            })*
            _ => unreachable!("a number that was not listed"),
        }
    };
}
pub(super) use with_constant;

/// Something done to a tile of `R` neighbouring rows.
pub(super) trait RowTile {
    /// Does it to rows `first .. first + R`.
    ///
    /// # Safety
    /// - Those rows exist.
    unsafe fn tile<const R: usize>(&mut self, first: usize);
}

/// Covers rows `0..rows` with tiles of at most `MOST` (itself at most 6) rows, as few as possible and as equal as possible: 25 rows
/// in tiles of four are 4 + 4 + 4 + 4 + 3 + 3 + 3, because a tile of one row would wait for its own loads.
///
/// # Safety
/// - Rows `0..rows` exist.
#[inline(always)]
pub(super) unsafe fn cover<const MOST: usize>(rows: usize, mut op: impl RowTile) {
    let tiles = rows.div_ceil(MOST);
    if tiles == 0 {
        return;
    }
    let (height, higher) = (rows / tiles, rows % tiles);
    let mut first = 0;
    for tile in 0..tiles {
        let height = height + usize::from(tile < higher);
        with_constant!(height, [1, 2, 3, 4, 5, 6], R => {
            // Known before anything is compiled for it.
            if const { R <= MOST } {
                // SAFETY: the heights add up to `rows`.
                unsafe { op.tile::<R>(first) };
            }
        });
        first += height;
    }
}

/// Which part of a long sum a tile computes, so that nothing need be zeroed before or scaled after.
///
/// A part is summed on its own, from zero, and added to the others as a whole. Adding each term to the long sum would cost the
/// same and lose more: its error grows with the number of terms, this one's with that of the parts and of the terms in one.
#[derive(Clone, Copy)]
pub(super) struct Part<T> {
    /// The sum begins here: what the memory held does not count.
    pub first: bool,
    /// What the sum is multiplied by: 1 until it ends here.
    pub scale: T,
}

impl<T: Scalar> Part<T> {
    /// Adds the accumulators to the sums at `sums`, 64 to a row, finished where the sum ends.
    ///
    /// # Safety
    /// - `R` rows of `V` vectors are readable and writable at `sums`.
    #[inline(always)]
    pub unsafe fn add<S: Lanes, const R: usize, const V: usize>(
        self,
        s: S,
        sums: *mut T,
        acc: &[[T::Vector<S>; V]; R],
    ) {
        let scale = T::vsplat(s, self.scale);
        for r in 0..R {
            for v in 0..V {
                // SAFETY: readable and writable by the contract above.
                unsafe {
                    let at = sums.add(r * PANEL + v * T::lanes::<S>());
                    let total = if self.first { acc[r][v] } else { T::vadd(s, T::vload(s, at), acc[r][v]) };
                    T::vstore(s, at, T::vmul(s, total, scale));
                }
            }
        }
    }
}

/// The most blocks of 64 rows that one task takes: their pattern words are one line of the cache.
pub(super) const MOST_BLOCKS: usize = 8;

/// How many blocks of 64 neurons a block of samples passes before their pattern words are written: a line of them, where as many
/// weights of `inputs` columns stay in the first-level cache, because rows of words lie far apart; with more inputs the arithmetic
/// between two words outweighs writing them.
pub(super) fn blocks_at_once<T>(inputs: usize) -> usize {
    if MOST_BLOCKS * inputs * PANEL * size_of::<T>() <= 16 << 10 { MOST_BLOCKS } else { 1 }
}

/// Writes words `first ..` of at most 64 rows of `words` words from `bits`, in each of them one bit pattern per row.
#[inline(always)]
pub(super) fn write_words(rows: &mut [u64], words: usize, first: usize, bits: &[[u64; PANEL]]) {
    let rows = rows.chunks_exact_mut(words).take(PANEL).enumerate();
    match bits {
        [bits] => rows.for_each(|(j, row)| row[first] = bits[j]),
        _ => rows.for_each(|(j, row)| row[first..].iter_mut().zip(bits).for_each(|(word, bits)| *word = bits[j])),
    }
}

/// How many neighbouring blocks of 64 rows one task takes, so that what it streams past them (64 rows of `columns` columns per
/// chunk) is fetched from beyond the second-level cache once for all of them: as many as keep a quarter of a megabyte of their
/// own there, at most [`MOST_BLOCKS`], and few enough that each of several workers has at least four tasks.
pub(super) fn blocks_per_task<T>(blocks: usize, columns: usize, workers: usize) -> usize {
    let fit = (256 << 10) / (columns.max(1) * PANEL * size_of::<T>());
    let fair = if workers == 1 { blocks } else { blocks / (4 * workers) };
    fit.min(MOST_BLOCKS).min(fair).max(1)
}

/// `out[i][lanes] += sum_r A[r,i] P[r][lanes]` for some outputs i and all neurons r of a block: how each forward pass ends.
pub(super) struct Collect<T, S, const V: usize> {
    pub s: S,
    /// Neurons of the block.
    pub neurons: usize,
    pub part: Part<T>,
    /// Signs: a column of 64 neurons for each output.
    pub a: *const T,
    /// What the neurons give, from the first of these lanes on.
    pub p: *const T,
    /// The outputs, likewise.
    pub out: *mut T,
}

impl<T: Scalar, S: Lanes, const V: usize> RowTile for Collect<T, S, V> {
    #[inline(always)]
    unsafe fn tile<const R: usize>(&mut self, first: usize) {
        let mut acc = [[T::vsplat(self.s, T::ZERO); V]; R];
        // SAFETY: rows first .. first + R are outputs, and the lanes exist, see the caller.
        unsafe {
            let out = self.out.add(first * PANEL);
            let b = Broadcast { start: self.a.add(first * PANEL), row: PANEL, step: 1 };
            accumulate(self.s, self.neurons, b, self.p, &mut acc);
            self.part.add(self.s, out, &acc);
        }
    }
}

/// A block of 64 samples, counted from the first of a task, and one of 64 neurons.
#[derive(Clone, Copy)]
pub(super) struct BlockPair {
    pub sample: usize,
    pub neuron: usize,
}

/// A pass over samples and neurons whose lanes are samples, 64 by 64 at a time, with a bit for each pair of a block.
pub(super) trait ForwardPass {
    /// Before a block: what its bits are, one word for each neuron. They are zero unless this says otherwise.
    #[inline(always)]
    fn begin<S: Lanes>(&self, _: S, _: BlockPair, _: &mut [u64; PANEL]) {}

    /// Computes the lanes from `lane` on of a block.
    fn lanes<S: Lanes>(&mut self, s: S, at: BlockPair, bits: &mut [u64; PANEL], lane: usize);

    /// After some blocks of neurons, from `first` on, of one of samples: takes their bits. Nothing, unless this says otherwise.
    #[inline(always)]
    fn end<S: Lanes>(&mut self, _: S, _sample: usize, _first: usize, _bits: &mut [[u64; PANEL]]) {}
}

/// Runs a pass over blocks of samples and of neurons, as many blocks of neurons for a block of samples before the next one as `line`
/// says and as many lanes at a time as `group` says.
#[inline(always)]
pub(super) fn for_each_block<S: Lanes>(
    s: S,
    samples: usize,
    neurons: usize,
    line: usize,
    group: usize,
    pass: &mut impl ForwardPass,
) {
    assert!(PANEL.is_multiple_of(group));
    let mut bits = [[0u64; PANEL]; MOST_BLOCKS];
    for first in (0..neurons).step_by(line) {
        let blocks = first..(first + line).min(neurons);
        for sample in 0..samples {
            for neuron in blocks.clone() {
                let (at, bits) = (BlockPair { sample, neuron }, &mut bits[neuron - first]);
                *bits = [0; PANEL];
                pass.begin(s, at, bits);
                for lane in (0..PANEL).step_by(group) {
                    pass.lanes(s, at, bits, lane);
                }
            }
            pass.end(s, sample, first, &mut bits[..blocks.len()]);
        }
    }
}

/// The part of the sum over the neurons of `a` that block `block` of them is, and the factor `1/sqrt(m)` at its end.
pub(super) fn part_of_neurons<T: Scalar>(a: &Panels<T>, block: usize) -> Part<T> {
    let scale = if block + 1 == a.blocks() { inverse_root(a.rows()) } else { T::ONE };
    Part { first: block == 0, scale }
}

/// `1/sqrt(m)`, the scale of outputs and gradients.
pub(super) fn inverse_root<T: Scalar>(neurons: usize) -> T {
    T::from_f64(1.0 / (neurons as f64).sqrt())
}
