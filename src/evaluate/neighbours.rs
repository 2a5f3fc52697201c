//! Nearest rows of one table to every row of another, over all pairs.
//!
//! A row is a vector of scaled numbers and one-hot blocks, but it is never written out as such: a block adds a constant
//! where two levels agree and nothing where they differ, so a pair costs one operation per column of the table instead of
//! one per entry of the vector. Base rows are packed in tiles of 64, column by column, so that a tile's sums stay in
//! registers while one query row runs through its columns. Queries are shared out among the given threads in chunks of fixed size;
//! every query is answered by one thread alone.
//!
//! Euclidean neighbours follow the arithmetic of the literature's scorer step by step, because its figures depend on it:
//! |q|^2 + |b|^2 - 2 q.b in single precision with the inner product accumulated by fused multiply-adds in column order,
//! the first smallest value taken, then the distance itself from the difference. Where two base rows are within rounding of
//! equally near, the scorer's own choice depends on the processor's sorting instructions; this one does not.

use super::rows::{Layout, Rows};
use super::tasks::map;
use pulp::{Arch, NullaryFnOnce};
use std::ops::{Add, Mul, Sub};

const TILE: usize = 64;
const CHUNK: usize = 64;

/// Rows prepared for distances.
pub(super) struct Points {
    count: usize,
    numbers: Vec<Vec<f32>>,
    levels: Vec<Vec<u32>>,
    /// Entries of each one-hot block: the training table's levels. Any other level is a block of zeros.
    sizes: Vec<usize>,
    /// Whether the last one-hot entry is left out, as the coverage metrics have it.
    without_last: bool,
}

/// Base rows in tiles.
struct Tiles {
    /// For each tile TILE squared norms; infinite beyond the last row, which so is never nearest.
    squares: Vec<f32>,
    /// For each tile, for each numerical column, TILE values.
    numbers: Vec<f32>,
    /// For each tile, for each categorical column, TILE levels.
    levels: Vec<u32>,
}

/// The two smallest squared distances of a query with the base rows they belong to.
#[derive(Debug, Clone, Copy)]
struct Two {
    first: (f32, u32),
    second: (f32, u32),
}

impl Points {
    /// Numbers as `(value - low) / span` for each column's `(low, span)`, in double precision and then rounded; a span of
    /// zero counts as one.
    pub fn new(layout: &Layout, rows: &Rows, ranges: &[(f64, f64)], without_last: bool) -> Self {
        let numbers = rows
            .numbers
            .iter()
            .zip(ranges)
            .map(|(column, &(low, span))| column.iter().map(|&value| scaled(value, low, span) as f32).collect());
        Self {
            count: rows.count,
            numbers: numbers.collect(),
            levels: rows.levels.clone(),
            sizes: layout.categories.iter().map(|column| column.known).collect(),
            without_last: without_last && !layout.sizes.is_empty(),
        }
    }

    fn tiles(&self, squares: bool) -> Tiles {
        let tiles = self.count.div_ceil(TILE);
        let mut packed = Tiles {
            squares: vec![f32::INFINITY; tiles * TILE],
            numbers: vec![0.0; tiles * TILE * self.numbers.len()],
            levels: vec![0; tiles * TILE * self.levels.len()],
        };
        let mut vector = Vec::new();
        for row in 0..self.count {
            let (tile, lane) = (row / TILE, row % TILE);
            packed.squares[row] = if squares { self.square(row, &mut vector) } else { 0.0 };
            for (column, values) in self.numbers.iter().enumerate() {
                packed.numbers[(tile * self.numbers.len() + column) * TILE + lane] = values[row];
            }
            for (column, levels) in self.levels.iter().enumerate() {
                packed.levels[(tile * self.levels.len() + column) * TILE + lane] = levels[row];
            }
        }
        packed
    }

    /// The row's vector.
    fn vector(&self, row: usize, out: &mut Vec<f32>) {
        out.clear();
        out.extend(self.numbers.iter().map(|column| column[row]));
        for (levels, &size) in self.levels.iter().zip(&self.sizes) {
            let start = out.len();
            out.resize(start + size, 0.0);
            if (levels[row] as usize) < size {
                out[start + levels[row] as usize] = 1.0;
            }
        }
        out.truncate(out.len() - usize::from(self.without_last));
    }

    fn square(&self, row: usize, vector: &mut Vec<f32>) -> f32 {
        self.vector(row, vector);
        vector.iter_mut().for_each(|value| *value *= *value);
        pairwise_sum(vector)
    }

    /// What agreement in a level of a block adds to an inner product.
    fn agreement(&self, block: usize, level: u32) -> f32 {
        let last = block + 1 == self.sizes.len() && level as usize + 1 == self.sizes[block];
        let absent = level as usize >= self.sizes[block];
        if absent || (self.without_last && last) { 0.0 } else { 1.0 }
    }
}

/// `(value - low) / span`, where a span of zero counts as one.
pub(super) fn scaled(value: f64, low: f64, span: f64) -> f64 {
    (value - low) / if span == 0.0 { 1.0 } else { span }
}

/// For every query row the nearest base row and its Euclidean distance.
pub(super) fn nearest(query: &Points, base: &Points, threads: usize) -> Vec<(f32, u32)> {
    let exact = |(row, two): (usize, &Two)| (distance(query, row, base, two.first.1), two.first.1);
    two_nearest(query, base, threads).iter().enumerate().map(exact).collect()
}

/// For every row the distance to its nearest other row of the same table. Needs two rows.
pub(super) fn nearest_other(points: &Points, threads: usize) -> Vec<f32> {
    let found = two_nearest(points, points, threads);
    let farther = |(row, two): (usize, &Two)| {
        // The row itself is one of the two, or both are at distance zero.
        distance(points, row, points, two.first.1).max(distance(points, row, points, two.second.1))
    };
    found.iter().enumerate().map(farther).collect()
}

fn distance(query: &Points, row: usize, base: &Points, other: u32) -> f32 {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    query.vector(row, &mut a);
    base.vector(other as usize, &mut b);
    a.iter_mut().zip(&b).for_each(|(a, b)| *a = (*a - b) * (*a - b));
    pairwise_sum(&a).sqrt()
}

fn two_nearest(query: &Points, base: &Points, threads: usize) -> Vec<Two> {
    let tiles = base.tiles(true);
    let arch = Arch::new();
    let parts: Vec<Vec<Two>> = map(threads, query.count.div_ceil(CHUNK), |chunk| {
        let start = chunk * CHUNK;
        let end = (start + CHUNK).min(query.count);
        if matches!(arch, Arch::Scalar) {
            Euclidean::<false> { query, tiles: &tiles, start, end }.call()
        } else {
            arch.dispatch(Euclidean::<true> { query, tiles: &tiles, start, end })
        }
    });
    parts.concat()
}

/// One chunk of queries against all tiles. `FUSED` says that the processor multiplies and adds in one instruction;
/// otherwise double precision, in which the product is exact, stands in for it.
struct Euclidean<'a, const FUSED: bool> {
    query: &'a Points,
    tiles: &'a Tiles,
    start: usize,
    end: usize,
}

impl<const FUSED: bool> NullaryFnOnce for Euclidean<'_, FUSED> {
    type Output = Vec<Two>;

    #[inline(always)]
    fn call(self) -> Vec<Two> {
        let Self { query, tiles, start, end } = self;
        let none = (f32::INFINITY, 0);
        let mut found = vec![Two { first: none, second: none }; end - start];
        let mut squares = vec![0.0; end - start];
        let mut twice: Vec<Vec<f32>> = Vec::with_capacity(end - start);
        let mut added: Vec<Vec<(u32, f32)>> = Vec::with_capacity(end - start);
        let mut vector = Vec::new();
        for row in start..end {
            squares[row - start] = query.square(row, &mut vector);
            twice.push(query.numbers.iter().map(|column| 2.0 * column[row]).collect());
            let blocks = query.levels.iter().enumerate();
            added
                .push(blocks.map(|(block, levels)| (levels[row], 2.0 * query.agreement(block, levels[row]))).collect());
        }
        let (numbers, blocks) = (query.numbers.len(), query.levels.len());
        for (tile, base_squares) in tiles.squares.chunks_exact(TILE).enumerate() {
            let base_numbers = &tiles.numbers[tile * numbers * TILE..][..numbers * TILE];
            let base_levels = &tiles.levels[tile * blocks * TILE..][..blocks * TILE];
            for (row, two) in found.iter_mut().enumerate() {
                let mut product = [0f32; TILE];
                for (&q, values) in twice[row].iter().zip(base_numbers.chunks_exact(TILE)) {
                    for (sum, &value) in product.iter_mut().zip(values) {
                        *sum = if FUSED {
                            q.mul_add(value, *sum)
                        } else {
                            (f64::from(q) * f64::from(value) + f64::from(*sum)) as f32
                        };
                    }
                }
                for (&(level, gain), levels) in added[row].iter().zip(base_levels.chunks_exact(TILE)) {
                    for (sum, &other) in product.iter_mut().zip(levels) {
                        *sum += if other == level { gain } else { 0.0 };
                    }
                }
                let mut smallest = f32::INFINITY;
                for (sum, &square) in product.iter_mut().zip(base_squares) {
                    *sum = squares[row] + square - *sum;
                    smallest = if *sum < smallest { *sum } else { smallest };
                }
                if smallest < two.second.0 {
                    for (lane, &value) in product.iter().enumerate() {
                        let entry = (value, (tile * TILE + lane) as u32);
                        if value < two.first.0 {
                            two.second = two.first;
                            two.first = entry;
                        } else if value < two.second.0 {
                            two.second = entry;
                        }
                    }
                }
            }
        }
        found
    }
}

/// For every query row the smallest L1 distance to a base row; differing levels count 2.
pub(super) fn nearest_l1(query: &Points, base: &Points, threads: usize) -> Vec<f32> {
    let tiles = base.tiles(false);
    let arch = Arch::new();
    let parts: Vec<Vec<f32>> = map(threads, query.count.div_ceil(CHUNK), |chunk| {
        let start = chunk * CHUNK;
        let end = (start + CHUNK).min(query.count);
        arch.dispatch(Manhattan { query, tiles: &tiles, start, end })
    });
    parts.concat()
}

struct Manhattan<'a> {
    query: &'a Points,
    tiles: &'a Tiles,
    start: usize,
    end: usize,
}

impl NullaryFnOnce for Manhattan<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn call(self) -> Vec<f32> {
        let Self { query, tiles, start, end } = self;
        let mut found = vec![f32::INFINITY; end - start];
        let row_of = |row| -> (Vec<f32>, Vec<u32>) {
            (
                query.numbers.iter().map(|column| column[row]).collect(),
                query.levels.iter().map(|column| column[row]).collect(),
            )
        };
        let rows: Vec<(Vec<f32>, Vec<u32>)> = (start..end).map(row_of).collect();
        let (numbers, blocks) = (query.numbers.len(), query.levels.len());
        for (tile, beyond) in tiles.squares.chunks_exact(TILE).enumerate() {
            let base_numbers = &tiles.numbers[tile * numbers * TILE..][..numbers * TILE];
            let base_levels = &tiles.levels[tile * blocks * TILE..][..blocks * TILE];
            for ((row_numbers, row_levels), smallest) in rows.iter().zip(found.iter_mut()) {
                let mut sums = [0f32; TILE];
                sums.copy_from_slice(beyond);
                for (&q, values) in row_numbers.iter().zip(base_numbers.chunks_exact(TILE)) {
                    for (sum, &value) in sums.iter_mut().zip(values) {
                        *sum += (q - value).abs();
                    }
                }
                for (&level, levels) in row_levels.iter().zip(base_levels.chunks_exact(TILE)) {
                    for (sum, &other) in sums.iter_mut().zip(levels) {
                        *sum += if other == level { 0.0 } else { 2.0 };
                    }
                }
                for &sum in &sums {
                    *smallest = if sum < *smallest { sum } else { *smallest };
                }
            }
        }
        found
    }
}

/// Sum in the order in which NumPy adds the entries of a contiguous row: eight interleaved partial sums, halves of long
/// rows first, so that distances that tie there tie here.
pub(super) fn pairwise_sum<T>(values: &[T]) -> T
where
    T: Copy + Default + Add<Output = T> + Sub<Output = T> + Mul<Output = T>,
{
    let count = values.len();
    if count > 128 {
        let half = count / 2 - count / 2 % 8;
        return pairwise_sum(&values[..half]) + pairwise_sum(&values[half..]);
    }
    if count < 8 {
        return values.iter().fold(T::default(), |sum, &value| sum + value);
    }
    let (eights, rest) = values.split_at(count - count % 8);
    let mut partial = [T::default(); 8];
    partial.copy_from_slice(&eights[..8]);
    for eight in eights[8..].chunks_exact(8) {
        for (sum, &value) in partial.iter_mut().zip(eight) {
            *sum = *sum + value;
        }
    }
    let [a, b, c, d, e, f, g, h] = partial;
    rest.iter().fold(((a + b) + (c + d)) + ((e + f) + (g + h)), |sum, &value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::rows::{CategoryColumn, NumberColumn};

    fn layout(numbers: usize, sizes: &[usize]) -> Layout {
        let number = |at: usize| NumberColumn { name: at.to_string(), whole: false };
        let category = |size: &usize| CategoryColumn {
            name: String::new(),
            levels: (0..*size).map(|level| level.to_string()).collect(),
            known: *size,
        };
        Layout {
            numbers: (0..numbers).map(number).collect(),
            categories: sizes.iter().map(category).collect(),
            sizes: sizes.to_vec(),
            order: Vec::new(),
        }
    }

    /// Rows whose numbers run through different residues, so that swapped rows or columns show.
    fn points(layout: &Layout, count: usize, seed: usize, without_last: bool) -> Points {
        let value =
            |row: usize, column: usize| ((row * 7919 + column * 104_729 + seed * 31) % 10_007) as f64 / 10_007.0;
        let rows = Rows {
            count,
            numbers: (0..layout.numbers.len()).map(|c| (0..count).map(|r| value(r, c)).collect()).collect(),
            levels: layout
                .sizes
                .iter()
                .enumerate()
                .map(|(c, size)| (0..count).map(|r| ((r * 13 + c * 5 + seed) % (size + c) % size) as u32).collect())
                .collect(),
        };
        Points::new(layout, &rows, &vec![(0.0, 1.0); layout.numbers.len()], without_last)
    }

    /// Distances of a query to every base row, by the vectors written out, in double precision.
    fn plain(query: &Points, row: usize, base: &Points, power: i32) -> Vec<f64> {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        query.vector(row, &mut a);
        (0..base.count)
            .map(|other| {
                base.vector(other, &mut b);
                a.iter().zip(&b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs().powi(power)).sum()
            })
            .collect()
    }

    #[test]
    fn nearest_rows_agree_with_plain_loops() {
        for (numbers, sizes) in [(3, &[3, 4, 2][..]), (14, &[11, 2]), (5, &[]), (0, &[7, 5, 3]), (1, &[2])] {
            let layout = layout(numbers, sizes);
            for (queries, bases) in [(1, 2), (63, 64), (65, 65), (130, 200)] {
                for without_last in [false, true] {
                    let query = points(&layout, queries, 1, without_last);
                    let base = points(&layout, bases, 2, without_last);
                    let found = nearest(&query, &base, 2);
                    for (row, &(distance, other)) in found.iter().enumerate() {
                        let all = plain(&query, row, &base, 2);
                        let smallest = all.iter().copied().fold(f64::INFINITY, f64::min);
                        let own = all[other as usize];
                        assert!(own <= smallest + 1e-5, "row {row}: {own} against {smallest}");
                        assert!((f64::from(distance) - own.sqrt()).abs() < 1e-5);
                    }
                    let others = nearest_other(&base, 2);
                    for (row, &distance) in others.iter().enumerate() {
                        let mut all = plain(&base, row, &base, 2);
                        all.remove(row);
                        let smallest = all.iter().copied().fold(f64::INFINITY, f64::min).sqrt();
                        assert!((f64::from(distance) - smallest).abs() < 5e-3, "row {row}: {distance} and {smallest}");
                    }
                }
                let query = points(&layout, queries, 1, false);
                let base = points(&layout, bases, 2, false);
                for (row, &distance) in nearest_l1(&query, &base, 2).iter().enumerate() {
                    let smallest = plain(&query, row, &base, 1).into_iter().fold(f64::INFINITY, f64::min);
                    assert!((f64::from(distance) - smallest).abs() < 1e-5, "row {row}: {distance} and {smallest}");
                }
            }
        }
    }

    #[test]
    fn products_are_the_same_with_and_without_fused_instructions() {
        let layout = layout(14, &[4, 3]);
        let (query, base) = (points(&layout, 40, 1, true), points(&layout, 300, 2, true));
        let tiles = base.tiles(true);
        let fused = Euclidean::<true> { query: &query, tiles: &tiles, start: 0, end: 40 }.call();
        let plain = Euclidean::<false> { query: &query, tiles: &tiles, start: 0, end: 40 }.call();
        for (a, b) in fused.iter().zip(&plain) {
            assert_eq!((a.first, a.second), (b.first, b.second));
        }
    }

    #[test]
    fn sums_are_pairwise() {
        let values: Vec<f32> = (0..300).map(|i| 1.0 / (i as f32 + 1.0)).collect();
        let exact = |count: usize| values[..count].iter().map(|&value| f64::from(value)).sum::<f64>();
        for count in [0, 1, 7, 8, 9, 92, 128, 129, 300] {
            let error = (f64::from(pairwise_sum(&values[..count])) - exact(count)).abs();
            assert!(error < 1e-6, "{count}: {error:e}");
        }
    }
}
