//! Products with the kernel that never form it.
//!
//! ```text
//! symmetric, per pair of blocks I >= J of 64 samples:
//!     K[I,J] into a buffer in L1, as it is and transposed
//!     out[I] += K[I,J] v[J]   lanes = samples i, one column's value of v broadcast at a time
//!     out[J] += K[J,I] v[I]   the same with the transposed buffer; not on the diagonal
//! rectangle, per block I: over all J, the first line only
//! ```
//! The symmetric form computes each tile once and uses it twice, so two tasks may meet in one block of the output. Blocks are
//! therefore put into groups, and the pairs of groups into rounds as in a round-robin tournament: no group plays twice in a
//! round, and a pair waits until both its groups have played the round before. So every output block receives its terms in one
//! fixed order, whoever computes them, without a second copy of the output and without a barrier.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use faer::{MatMut, MatRef, Par};

use super::arccos::ArcCosine;
use super::dense::check_rows;
use super::samples::{Block, Samples, check_finite, zeros};
use super::store::Destination;
use super::tile::GramTile;
use crate::Result;
use crate::kernels::outer::{Broadcast, accumulate};
use crate::kernels::panels::check_shape;
use crate::kernels::row_tile::with_constant;
use crate::kernels::{Disjoint, Lane64, PANEL, for_each_task, workers};
use crate::simd::{Kernel, Lanes, Level, Scalar};

/// The kernel between two sets of samples (or one and itself), prepared once and applied to any number of matrices.
///
/// Holds the normalised samples: memory O((N1 + N2) D), whatever the number of products.
#[derive(Debug, Clone)]
pub struct KernelProduct<T> {
    level: Level,
    left: Samples<T>,
    right: Option<Samples<T>>,
}

/// Buffers of [`KernelProduct`]; they grow to what a product needs, O((N1 + N2) c), and are kept for the next.
#[derive(Debug, Clone)]
pub struct ProductWorkspace<T> {
    /// v in blocks of 64 rows, each column 64 consecutive values.
    vectors: Vec<Lane64<T>>,
    /// The product in the same layout, each column followed by what its roundings have lost.
    sums: Vec<Lane64<T>>,
    tiles: Vec<Tiles<T>>,
}

/// Buffers of one worker: one tile of the kernel, and the same transposed.
#[derive(Debug, Clone)]
struct Tiles<T> {
    direct: Vec<Lane64<T>>,
    turned: Vec<Lane64<T>>,
}

impl<T: Scalar> ProductWorkspace<T> {
    /// Buffers for as many workers as `par` asks for.
    pub fn new(par: Par) -> Self {
        let zero = Lane64([T::ZERO; PANEL]);
        let tiles = Tiles { direct: vec![zero; PANEL], turned: vec![zero; PANEL] };
        Self { vectors: Vec::new(), sums: Vec::new(), tiles: vec![tiles; workers(par)] }
    }

    /// Takes `v` in, and makes room for a product of `blocks` blocks.
    fn load(&mut self, v: MatRef<'_, T>, blocks: usize) -> Result<()> {
        let columns = v.ncols();
        zeros(&mut self.vectors, "the vectors", v.nrows().div_ceil(PANEL), columns)?;
        zeros(&mut self.sums, "the product", blocks, 2 * columns)?;
        let vectors = Disjoint::new(&mut self.vectors);
        for_each_task(v.nrows().div_ceil(PANEL), &mut self.tiles, |_, block| {
            // SAFETY: each task takes its own block.
            let lanes = unsafe { vectors.piece(block * columns, columns) };
            let first = block * PANEL;
            for (c, lane) in lanes.iter_mut().enumerate() {
                for i in first..(first + PANEL).min(v.nrows()) {
                    lane.0[i - first] = v[(i, c)];
                }
            }
        });
        Ok(())
    }

    /// Entry `lane` of a finished column. A sum beyond the type has lost nothing that could be told.
    fn sum(&self, column: usize, lane: usize) -> T {
        let [sum, lost] = [0, 1].map(|part| self.sums[2 * column + part].0[lane]);
        if sum.finite() { sum + lost } else { sum }
    }
}

impl<T: Scalar> KernelProduct<T> {
    /// Number of rows of the kernel matrix, N1.
    pub fn nrows(&self) -> usize {
        self.left.count()
    }

    /// Number of columns of the kernel matrix, N2.
    pub fn ncols(&self) -> usize {
        self.right.as_ref().unwrap_or(&self.left).count()
    }

    fn check(&self, out: &MatMut<'_, T>, v: MatRef<'_, T>, rows: usize) -> Result<()> {
        check_shape("the vectors", v.nrows(), v.ncols(), self.ncols(), v.ncols())?;
        check_shape("the output", out.nrows(), out.ncols(), rows, v.ncols())?;
        check_finite("the vectors", v)
    }
}

/// See [`KernelProduct::symmetric`].
pub(in crate::kernels) fn symmetric<T: ArcCosine>(level: Level, z: MatRef<'_, T>) -> Result<KernelProduct<T>> {
    Ok(KernelProduct { level, left: Samples::new(level, "the samples", z, Par::Seq)?, right: None })
}

/// See [`KernelProduct::cross`].
pub(in crate::kernels) fn cross<T: ArcCosine>(
    level: Level,
    z1: MatRef<'_, T>,
    z2: MatRef<'_, T>,
) -> Result<KernelProduct<T>> {
    check_shape("the second samples", z2.nrows(), z2.ncols(), z2.nrows(), z1.ncols())?;
    let left = Samples::new(level, "the first samples", z1, Par::Seq)?;
    Ok(KernelProduct { level, left, right: Some(Samples::new(level, "the second samples", z2, Par::Seq)?) })
}

/// See [`KernelProduct::apply_into`].
pub(in crate::kernels) fn apply<T: ArcCosine>(
    kernel: &KernelProduct<T>,
    mut out: MatMut<'_, T>,
    v: MatRef<'_, T>,
    workspace: &mut ProductWorkspace<T>,
) -> Result<()> {
    if kernel.right.is_some() {
        return apply_rows(kernel, out, v, 0..kernel.nrows(), workspace);
    }
    kernel.check(&out, v, kernel.nrows())?;
    let blocks = kernel.left.blocks();
    workspace.load(v, blocks)?;
    let columns = v.ncols();
    let rounds = Rounds::new(blocks);
    let sums = Disjoint::new(&mut workspace.sums);
    let vectors = &workspace.vectors;
    let samples = &kernel.left;
    let played = Played::new(rounds);
    for_each_task(rounds.tasks(), &mut workspace.tiles, |tiles, task| {
        let (round, p, q) = rounds.pair(task);
        let Some(_turn) = played.wait(round, p, q) else { return };
        if p < rounds.groups {
            let (i, j) = (rounds.range(p), rounds.range(q));
            // SAFETY: within a round no group is in two pairs, and the rounds before are over for these two.
            let (left_sums, right_sums) = unsafe {
                let left = sums.piece(i.start * 2 * columns, i.len() * 2 * columns);
                (left, (p != q).then(|| sums.piece(j.start * 2 * columns, j.len() * 2 * columns)))
            };
            let pair = Pair { samples, vectors, columns, i, j, left_sums, right_sums };
            pair.run(kernel.level, tiles);
        }
    });
    for i in 0..kernel.nrows() {
        for c in 0..columns {
            out[(i, c)] = workspace.sum(i / PANEL * columns + c, i % PANEL);
        }
    }
    Ok(())
}

/// See [`KernelProduct::apply_rows_into`].
pub(in crate::kernels) fn apply_rows<T: ArcCosine>(
    kernel: &KernelProduct<T>,
    mut out: MatMut<'_, T>,
    v: MatRef<'_, T>,
    rows: Range<usize>,
    workspace: &mut ProductWorkspace<T>,
) -> Result<()> {
    check_rows(&rows, kernel.nrows())?;
    kernel.check(&out, v, rows.len())?;
    if rows.is_empty() {
        return Ok(());
    }
    let blocks = rows.start / PANEL..rows.end.div_ceil(PANEL);
    workspace.load(v, blocks.len())?;
    let columns = v.ncols();
    {
        let sums = Disjoint::new(&mut workspace.sums);
        let (left, vectors) = (&kernel.left, &workspace.vectors);
        let right = kernel.right.as_ref().unwrap_or(left);
        // Few rows are shared out all the same.
        let band = blocks.len().div_ceil(workspace.tiles.len()).clamp(1, BAND);
        for_each_task(blocks.len().div_ceil(band), &mut workspace.tiles, |tiles, task| {
            let first = blocks.start + task * band;
            let i = first..blocks.end.min(first + band);
            // SAFETY: each task takes the sums of its own blocks.
            let sums = unsafe { sums.piece(task * band * 2 * columns, i.len() * 2 * columns) };
            for j in 0..right.blocks() {
                let (v, block) = (&vectors[j * columns..(j + 1) * columns], right.block(j));
                for i in i.clone() {
                    let diagonal = kernel.right.is_none() && i == j;
                    tiles.compute(kernel.level, left.block(i), block, diagonal, false);
                    let sums = &mut sums[(i - first) * 2 * columns..][..2 * columns];
                    kernel.level.run(Add { rows: &tiles.direct[..block.count], v, sums });
                }
            }
        });
    }
    for (i, row) in rows.enumerate() {
        let block = row / PANEL - blocks.start;
        for c in 0..columns {
            out[(i, c)] = workspace.sum(block * columns + c, row % PANEL);
        }
    }
    Ok(())
}

/// Blocks i that a task of the rectangle takes together at most, so that each block j is fetched from memory once for all of them.
const BAND: usize = 8;

/// Blocks to a side of what a pair of groups works on at a time: 2 x 8 x 64 samples of 94 f32 are 400 KB, within L2.
const CORNER: usize = 8;

/// The pairs of groups of blocks, in rounds in which each group occurs at most once.
#[derive(Clone, Copy)]
struct Rounds {
    blocks: usize,
    /// Blocks in one group.
    size: usize,
    groups: usize,
    /// `groups`, or one more to make it even.
    seats: usize,
}

impl Rounds {
    /// A schedule that depends on the number of blocks alone: up to 64 groups, so that up to 32 workers find work.
    fn new(blocks: usize) -> Self {
        let size = blocks.div_ceil(64).max(1);
        let groups = blocks.div_ceil(size);
        Self { blocks, size, groups, seats: groups.next_multiple_of(2) }
    }

    /// One round of each group with itself, and `seats - 1` rounds of `seats / 2` pairs. Pairs with an empty seat are kept, as
    /// tasks without work.
    fn tasks(self) -> usize {
        if self.groups == 0 { 0 } else { self.groups + (self.seats - 1) * (self.seats / 2) }
    }

    /// The round and the two groups of a task, the larger first; in an odd number of groups, `groups` is the empty seat.
    fn pair(self, task: usize) -> (u32, usize, usize) {
        if task < self.groups {
            return (0, task, task);
        }
        let (round, table) = ((task - self.groups) / (self.seats / 2), (task - self.groups) % (self.seats / 2));
        // The circle method: the last seat stays, the others move on by one each round.
        let moving = self.seats - 1;
        let (a, b) =
            if table == 0 { (moving, round) } else { ((round + table) % moving, (round + moving - table) % moving) };
        (round as u32 + 1, a.max(b), a.min(b))
    }

    fn range(self, group: usize) -> Range<usize> {
        group * self.size..((group + 1) * self.size).min(self.blocks)
    }
}

/// How many rounds each group has played, for the workers to wait on.
struct Played {
    rounds: Vec<AtomicU32>,
    /// A worker panicked, so that rounds will be missing for ever.
    failed: AtomicBool,
}

impl Played {
    fn new(rounds: Rounds) -> Self {
        Self { rounds: (0..rounds.groups).map(|_| AtomicU32::new(0)).collect(), failed: AtomicBool::new(false) }
    }

    /// Waits until groups p and q have played all rounds before `round`; `None` if that will not happen. The partner of an empty seat
    /// sits the round out. Earlier tasks are finished or at work on other threads, so this ends.
    fn wait(&self, round: u32, p: usize, q: usize) -> Option<Turn<'_>> {
        let groups = [&self.rounds[q], self.rounds.get(p).unwrap_or(&self.rounds[q])];
        for group in groups {
            while group.load(Ordering::Acquire) < round {
                if self.failed.load(Ordering::Relaxed) {
                    return None;
                }
                std::thread::yield_now();
            }
        }
        Some(Turn { groups, round, failed: &self.failed })
    }
}

/// A pair at play: once dropped, its round is over for both groups, or the whole product if it panicked.
struct Turn<'a> {
    groups: [&'a AtomicU32; 2],
    round: u32,
    failed: &'a AtomicBool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.failed.store(true, Ordering::Relaxed);
            return;
        }
        for group in self.groups {
            group.store(self.round + 1, Ordering::Release);
        }
    }
}

/// All tiles of the blocks i of one group with the blocks j of another, or of one with itself.
struct Pair<'a, T> {
    samples: &'a Samples<T>,
    vectors: &'a [Lane64<T>],
    columns: usize,
    i: Range<usize>,
    j: Range<usize>,
    /// Of the blocks i.
    left_sums: &'a mut [Lane64<T>],
    /// Of the blocks j; `None` where they are the blocks i.
    right_sums: Option<&'a mut [Lane64<T>]>,
}

impl<T: ArcCosine> Pair<'_, T> {
    fn run(self, level: Level, tiles: &mut Tiles<T>) {
        let Self { samples, vectors, columns, i, j, left_sums, mut right_sums } = self;
        let of = |block: usize| block * columns..(block + 1) * columns;
        let sums_of = |block: usize| block * 2 * columns..(block + 1) * 2 * columns;
        for i_corner in i.clone().step_by(CORNER) {
            for j_corner in j.clone().step_by(CORNER) {
                for j_block in j_corner..j.end.min(j_corner + CORNER) {
                    for i_block in i_corner..i.end.min(i_corner + CORNER) {
                        if right_sums.is_none() && j_block > i_block {
                            continue;
                        }
                        let diagonal = i_block == j_block;
                        let (left, right) = (samples.block(i_block), samples.block(j_block));
                        tiles.compute(level, left, right, diagonal, !diagonal);
                        let (v, sums) = (&vectors[of(j_block)], &mut left_sums[sums_of(i_block - i.start)]);
                        level.run(Add { rows: &tiles.direct[..right.count], v, sums });
                        if !diagonal {
                            let sums = right_sums.as_deref_mut().unwrap_or(&mut *left_sums);
                            let (v, sums) = (&vectors[of(i_block)], &mut sums[sums_of(j_block - j.start)]);
                            level.run(Add { rows: &tiles.turned[..left.count], v, sums });
                        }
                    }
                }
            }
        }
    }
}

impl<T: ArcCosine> Tiles<T> {
    /// Computes a tile: row j of `direct` and, where asked for, row i of `turned`. Rows and lanes beyond the samples are left
    /// as they are.
    fn compute(&mut self, level: Level, left: Block<'_, T>, right: Block<'_, T>, diagonal: bool, turned: bool) {
        assert!(self.direct.len() == PANEL && self.turned.len() == PANEL);
        let to = |lanes: &mut [Lane64<T>]| {
            let start = lanes.as_mut_ptr().cast::<T>();
            Destination { start, row: 1, column: PANEL as isize, stream: false }
        };
        let direct = to(&mut self.direct);
        let mirror = turned.then(|| to(&mut self.turned).transposed());
        let tile = GramTile { left, right, diagonal, lower: false, direct, mirror };
        // SAFETY: both buffers are 64 x 64 and borrowed here.
        unsafe { tile.write(level) };
    }
}

/// Columns of `v` that are multiplied together at most.
const MOST_COLUMNS: usize = 6;

/// `sums[c][lanes] += sum_k v[c][k] rows[k][lanes]`: the terms of one tile are added up first, and what is lost in adding them to
/// those of the other tiles is kept beside (Knuth's sum of two numbers with its error). So the error does not grow with the number
/// of samples.
struct Add<'a, T> {
    rows: &'a [Lane64<T>],
    v: &'a [Lane64<T>],
    sums: &'a mut [Lane64<T>],
}

impl<T: Scalar> Kernel for Add<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        // Accumulators, vectors and a broadcast value fill 32 registers, or 16.
        if const { S::REGISTER_COUNT >= 32 } { self.cover::<S, 4>(s) } else { self.cover::<S, 2>(s) }
    }
}

impl<T: Scalar> Add<'_, T> {
    #[inline(always)]
    fn cover<S: Lanes, const V: usize>(mut self, s: S) {
        let group = V * T::lanes::<S>();
        assert!(2 * self.v.len() == self.sums.len() && self.rows.len() <= PANEL && PANEL.is_multiple_of(group));
        for lane in (0..PANEL).step_by(group) {
            for c in (0..self.v.len()).step_by(MOST_COLUMNS) {
                with_constant!((self.v.len() - c).min(MOST_COLUMNS), [1, 2, 3, 4, 5, 6], R => {
                    // SAFETY: columns c .. c + R exist, and the vectors from `lane` on.
                    unsafe { self.columns::<S, R, V>(s, c, lane) }
                });
            }
        }
    }

    /// # Safety
    /// - Columns `c .. c + R` exist, and lanes `lane` to V vectors further are within 64.
    #[inline(always)]
    unsafe fn columns<S: Lanes, const R: usize, const V: usize>(&mut self, s: S, c: usize, lane: usize) {
        let mut acc = [[T::vsplat(s, T::ZERO); V]; R];
        // SAFETY: the same contract.
        unsafe {
            let (b, x) = (self.v.as_ptr().add(c).cast::<T>(), self.rows.as_ptr().cast::<T>().add(lane));
            accumulate(s, self.rows.len(), Broadcast { start: b, row: PANEL, step: 1 }, x, &mut acc);
            for r in 0..R {
                for q in 0..V {
                    let sum = self.sums.as_mut_ptr().add(2 * (c + r)).cast::<T>().add(lane + q * T::lanes::<S>());
                    let lost = sum.add(PANEL);
                    let (a, b) = (T::vload(s, sum), acc[r][q]);
                    let total = T::vadd(s, a, b);
                    let of_b = T::vsub(s, total, a);
                    let error = T::vadd(s, T::vsub(s, a, T::vsub(s, total, of_b)), T::vsub(s, b, of_b));
                    T::vstore(s, sum, total);
                    T::vstore(s, lost, T::vadd(s, T::vload(s, lost), error));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn a_panic_ends_the_product_of_all_workers() {
        let rounds = Rounds::new(9);
        let played = Played::new(rounds);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let run = || {
            for_each_task(rounds.tasks(), &mut [(); 3], |(), task| {
                let (round, p, q) = rounds.pair(task);
                let Some(_turn) = played.wait(round, p, q) else { return };
                assert!(task != 12, "the task that fails");
            });
        };
        assert!(catch_unwind(AssertUnwindSafe(|| pool.install(run))).is_err());
    }
}
