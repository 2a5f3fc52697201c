//! A table as rank intervals and level positions, from which training draws normal scores again and again.

use super::normal::{normal_quantile, normal_quantile_fast};
use faer::MatMut;
use rand::{Rng, RngExt};

/// The cells of a table as the codec sees them; made by [`Codec::ranks`](super::Codec::ranks).
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedTable {
    rows: usize,
    /// For each numerical column the number of training values.
    totals: Vec<u32>,
    blocks: Vec<usize>,
    /// Row-major, one rank interval [lo, hi) per numerical cell.
    ranks: Vec<[u32; 2]>,
    /// Row-major, one level per block.
    levels: Vec<u32>,
}

impl EncodedTable {
    pub(super) fn new(
        rows: usize,
        totals: Vec<u32>,
        blocks: Vec<usize>,
        ranks: Vec<[u32; 2]>,
        levels: Vec<u32>,
    ) -> Self {
        debug_assert_eq!(ranks.len(), rows * totals.len());
        debug_assert_eq!(levels.len(), rows * blocks.len());
        Self { rows, totals, blocks, ranks, levels }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of numerical columns.
    pub fn numerical(&self) -> usize {
        self.totals.len()
    }

    /// Sizes of the one-hot blocks.
    pub fn blocks(&self) -> &[usize] {
        &self.blocks
    }

    /// Columns of the matrix: numerical columns and one-hot entries.
    pub fn width(&self) -> usize {
        self.totals.len() + self.blocks.iter().sum::<usize>()
    }

    /// The levels of a row, one per block.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn levels(&self, row: usize) -> &[u32] {
        &self.levels[row * self.blocks.len()..][..self.blocks.len()]
    }

    /// Draws one row: every numerical cell a normal score at a uniform place in its rank interval, to about seven digits,
    /// and every block its level. One uniform number is taken from `rng` per numerical column.
    ///
    /// # Panics
    /// If there is no such row, or if `scores` and `levels` are not as long as there are numerical columns and blocks.
    #[inline]
    pub fn draw_row_into<T: From<f32>, R: Rng + ?Sized>(
        &self,
        row: usize,
        rng: &mut R,
        scores: &mut [T],
        levels: &mut [u32],
    ) {
        let count = self.totals.len();
        assert_eq!(scores.len(), count, "one score per numerical column");
        levels.copy_from_slice(self.levels(row));
        let ranks = &self.ranks[row * count..][..count];
        for ((score, &interval), &total) in scores.iter_mut().zip(ranks).zip(&self.totals) {
            let place = rng.random::<f64>();
            *score = T::from(normal_quantile_fast(probability(interval, total, place)) as f32);
        }
    }

    /// Fills the matrix with every numerical cell in the middle of its rank interval.
    ///
    /// # Panics
    /// If `out` is not [`EncodedTable::rows`] x [`EncodedTable::width`].
    pub fn middle_into(&self, out: MatMut<'_, f64>) {
        self.fill(out, || 0.5);
    }

    /// Fills the matrix with every numerical cell at a uniform place in its rank interval, column by column.
    ///
    /// # Panics
    /// If `out` is not [`EncodedTable::rows`] x [`EncodedTable::width`].
    pub fn draw_into<R: Rng + ?Sized>(&self, out: MatMut<'_, f64>, rng: &mut R) {
        self.fill(out, || rng.random::<f64>());
    }

    fn fill(&self, mut out: MatMut<'_, f64>, mut place: impl FnMut() -> f64) {
        assert_eq!((out.nrows(), out.ncols()), (self.rows, self.width()), "rows x width of the encoded table");
        let count = self.totals.len();
        for (column, &total) in self.totals.iter().enumerate() {
            for row in 0..self.rows {
                out[(row, column)] = normal_quantile(probability(self.ranks[row * count + column], total, place()));
            }
        }
        out.as_mut().subcols_mut(count, self.width() - count).fill(0.0);
        let mut offset = count;
        for (block, size) in self.blocks.iter().enumerate() {
            for row in 0..self.rows {
                out[(row, offset + self.levels[row * self.blocks.len() + block] as usize)] = 1.0;
            }
            offset += size;
        }
    }
}

/// The probability at a place in [0, 1) of a rank interval, at least half a rank away from 0 and 1.
#[inline]
pub(super) fn probability([low, high]: [u32; 2], total: u32, place: f64) -> f64 {
    let total = f64::from(total);
    let rank = f64::from(low) + f64::from(high - low) * place;
    rank.clamp(0.5, total - 0.5) / total
}
