//! How the products of a gradient-descent step, and of kernels built like it, are cut into register tiles
//! ([`crate::kernels::outer`]).

use crate::kernels::PANEL;
use crate::simd::{Lanes, Real};

/// Something done to a tile of `R` neighbouring rows.
pub(in crate::kernels) trait RowTile {
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
pub(in crate::kernels) unsafe fn cover<const MOST: usize>(rows: usize, mut op: impl RowTile) {
    let tiles = rows.div_ceil(MOST);
    if tiles == 0 {
        return;
    }
    let (height, higher) = (rows / tiles, rows % tiles);
    let mut first = 0;
    for tile in 0..tiles {
        let height = height + usize::from(tile < higher);
        // SAFETY: the heights add up to `rows`.
        unsafe {
            match height {
                1 => op.tile::<1>(first),
                2 => op.tile::<2>(first),
                3 => op.tile::<3>(first),
                4 => op.tile::<4>(first),
                5 if MOST >= 5 => op.tile::<5>(first),
                6 if MOST >= 6 => op.tile::<6>(first),
                _ => unreachable!("no tile is higher"),
            }
        }
        first += height;
    }
}

/// Which part of a long sum a tile computes, so that nothing need be zeroed before or scaled after.
///
/// A part is summed on its own, from zero, and added to the others as a whole. Adding each term to the long sum would cost the
/// same and lose more: its error grows with the number of terms, this one's with that of the parts and of the terms in one.
#[derive(Clone, Copy)]
pub(in crate::kernels) struct Part<T> {
    /// The sum begins here: what the memory held does not count.
    pub first: bool,
    /// What the sum is multiplied by: 1 until it ends here.
    pub scale: T,
}

impl<T: Real> Part<T> {
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
pub(in crate::kernels) const MOST_BLOCKS: usize = 8;

/// How many blocks of 64 neurons a block of samples passes before their pattern words are written: a line of them, where as many
/// weights of `inputs` columns stay in the first-level cache, because rows of words lie far apart; with more inputs the arithmetic
/// between two words outweighs writing them.
pub(in crate::kernels) fn blocks_at_once<T>(inputs: usize) -> usize {
    if MOST_BLOCKS * inputs * PANEL * size_of::<T>() <= 16 << 10 { MOST_BLOCKS } else { 1 }
}

/// Writes words `first ..` of at most 64 rows of `words` words from `bits`, in each of them one bit pattern per row.
#[inline(always)]
pub(in crate::kernels) fn write_words(rows: &mut [u64], words: usize, first: usize, bits: &[[u64; PANEL]]) {
    let rows = rows.chunks_exact_mut(words).take(PANEL).enumerate();
    match bits {
        [bits] => rows.for_each(|(j, row)| row[first] = bits[j]),
        _ => rows.for_each(|(j, row)| row[first..].iter_mut().zip(bits).for_each(|(word, bits)| *word = bits[j])),
    }
}

/// How many neighbouring blocks of 64 rows one task takes, so that what it streams past them (64 rows of `columns` columns per
/// chunk) is fetched from beyond the second-level cache once for all of them: as many as keep a quarter of a megabyte of their
/// own there, at most [`MOST_BLOCKS`], and few enough that each of several workers has at least four tasks.
pub(in crate::kernels) fn blocks_per_task<T>(blocks: usize, columns: usize, workers: usize) -> usize {
    let fit = (256 << 10) / (columns.max(1) * PANEL * size_of::<T>());
    let fair = if workers == 1 { blocks } else { blocks / (4 * workers) };
    fit.min(MOST_BLOCKS).min(fair).max(1)
}
