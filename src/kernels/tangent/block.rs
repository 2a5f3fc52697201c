//! One block H^{ik} of the finite-width tangent kernel.
//!
//! ```text
//! neurons sorted so that those with a^i = a^k come first; bit rows of 64 samples side by side
//! per tile of 64 lines j by 64 lanes l (below the diagonal only, if symmetric), per 4 lines:
//!     counts[j][lanes] = popcount over the first words - popcount over the rest     in registers
//!     gram[j][lanes]   = <z_j, z_lanes> / m                                         in registers
//!     tile[j][lanes]   = gram * counts                                              in a buffer
//!     the four lines leave by streaming stores, and so do four of the transpose of the tile before
//! the tile's transpose, if it stands for two, goes to a buffer
//! ```
//!
//! Stores past the caches take as long as a tenth of the counting but need no instructions meanwhile; a few of them after every
//! four lines are over before the next come, where all of a tile at its end would be waited for.

use faer::{MatMut, Par};

use super::bits::{CountedPatterns, NeuronOrder};
use super::gram::{inner_products, times_counts};
use super::target::{Target, transpose};
use super::{Pending, TangentKernel, Worker, Workspace};
use crate::Result;
use crate::kernels::panels::{check_shape, entries};
use crate::kernels::{PANEL, Panels, for_each_task_then};
use crate::simd::{BitWord, CountBits, CountKernel, Counts, Kernel, Lanes, Popcount, Scalar};

/// See [`super::block_with`].
pub(in crate::kernels) fn block<T: Scalar>(
    count: Popcount,
    out: MatMut<'_, T>,
    outputs: (usize, usize),
    kernel: TangentKernel<'_, T>,
    workspace: &mut Workspace<T>,
    par: Par,
) -> Result<()> {
    kernel.check([outputs.0, outputs.1])?;
    let TangentKernel { a, rows, columns } = kernel;
    check_shape("the output", out.nrows(), out.ncols(), rows.samples(), columns.samples())?;
    if kernel.is_symmetric() {
        symmetric_block(count, out, outputs, kernel, workspace, par);
        return Ok(());
    }
    let (target, by_columns) = Target::new(out);
    let (lines, lanes) = if by_columns { (columns, rows) } else { (rows, columns) };
    workspace.reserve(par);
    let Workspace { lines: line_bits, lanes: lane_bits, order, workers, .. } = workspace;
    order.by_signs(a, distinct(&outputs.into()));
    line_bits.set(count, lines.patterns, order, workers.len());
    lane_bits.set(count, lanes.patterns, order, workers.len());
    let tiles = BlockTiles {
        target: &target,
        lines: (line_bits, lines.z),
        lanes: (lane_bits, lanes.z),
        order,
        scale: T::from_f64(1.0 / a.rows() as f64),
    };
    let across = lanes.z.blocks();
    let tile = |worker: &mut _, task| tiles.tile(count, worker, (task / across, task % across), false);
    for_each_task_then(entries(lines.z.blocks(), across), workers, tile, |worker| tiles.finish(count, worker));
    Ok(())
}

/// A block of a set of samples with itself. It is symmetric whatever i and k are, so half of it is computed, and mirrored.
pub(super) fn symmetric_block<T: Scalar>(
    count: Popcount,
    out: MatMut<'_, T>,
    outputs: (usize, usize),
    kernel: TangentKernel<'_, T>,
    workspace: &mut Workspace<T>,
    par: Par,
) {
    let TangentKernel { a, rows: samples, .. } = kernel;
    let (target, _) = Target::new(out);
    workspace.reserve(par);
    let Workspace { lines: bits, order, workers, .. } = workspace;
    order.by_signs(a, distinct(&outputs.into()));
    bits.set(count, samples.patterns, order, workers.len());
    let tiles = BlockTiles {
        target: &target,
        lines: (bits, samples.z),
        lanes: (bits, samples.z),
        order,
        scale: T::from_f64(1.0 / a.rows() as f64),
    };
    let blocks = samples.z.blocks();
    let tile = |worker: &mut _, task| tiles.tile(count, worker, below_diagonal(task), true);
    for_each_task_then(entries(blocks, blocks + 1) / 2, workers, tile, |worker| tiles.finish(count, worker));
}

/// The outputs whose signs sort the neurons: for i = k all keep their places, for i != k those with a^i = a^k come first, and the
/// signed sum is the count over them less the count over the others.
fn distinct(outputs: &[usize; 2]) -> &[usize] {
    if outputs[0] == outputs[1] { &outputs[..1] } else { outputs }
}

/// Line and lane of entry `n` of a lower triangle, counted line by line.
fn below_diagonal(n: usize) -> (usize, usize) {
    let mut line = ((8.0 * n as f64 + 1.0).sqrt() / 2.0 - 0.5) as usize;
    // The square root may be off by one place in either direction.
    while line * (line + 1) / 2 > n {
        line -= 1;
    }
    while (line + 1) * (line + 2) / 2 <= n {
        line += 1;
    }
    (line, n - line * (line + 1) / 2)
}

/// What every tile reads.
struct BlockTiles<'a, T> {
    target: &'a Target<'a, T>,
    lines: (&'a CountedPatterns, &'a Panels<T>),
    lanes: (&'a CountedPatterns, &'a Panels<T>),
    order: &'a NeuronOrder,
    scale: T,
}

impl<T: Copy> Clone for BlockTiles<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Copy> Copy for BlockTiles<'_, T> {}

impl<T: Scalar> BlockTiles<'_, T> {
    /// Computes and writes the tile of 64 lines by 64 lanes at `at`, and leaves its transpose in the worker's buffer if `mirror`
    /// and it is off the diagonal.
    fn tile(self, count: Popcount, worker: &mut Worker<T>, at: (usize, usize), mirror: bool) {
        let Self { lines: (b, zb), lanes: (x, zx), order, .. } = self;
        let (b, x, plus) = (b.block(at.0, order), x.block(at.1, order), order.class(0).end);
        let groups = zx.rows_in(at.1).div_ceil(16);
        for first in (0..zb.rows_in(at.0)).step_by(4) {
            // Counting knows no floating-point type and the rest no way of counting, so that each is compiled few times.
            count.run(CountLines { b, first, x, groups, plus, counts: &mut worker.counts[0] });
            count.level().run(FinishLines { tiles: self, worker, at, first });
        }
        count.level().run(FinishTile { tiles: self, worker, at, mirror });
    }

    /// Writes what the last tile left, and orders all stores before what comes later.
    fn finish(self, count: Popcount, worker: &mut Worker<T>) {
        count.level().run(FinishWorker { tiles: self, worker });
    }

    /// Writes up to `most` lines of what the last tile left.
    ///
    /// # Safety
    /// - [`Lanes::fence`] is called before another thread reads them.
    #[inline(always)]
    unsafe fn write_pending<S: Lanes>(self, s: S, worker: &mut Worker<T>, most: usize) {
        if let Some(Pending { at, lines, written, lanes }) = &mut worker.pending {
            let from = *written;
            *written = (from + most).min(*lines);
            // SAFETY: these places are the mirror image of a tile that this worker alone computed; the fence is the caller's.
            unsafe { self.target.write(s, &worker.tiles[PANEL + from..PANEL + *written], at.0 + from, at.1, *lanes) };
            if written == lines {
                worker.pending = None;
            }
        }
    }
}

/// Counts of four lines against 64 lanes.
struct CountLines<'a> {
    b: &'a [BitWord],
    first: usize,
    x: &'a [BitWord],
    groups: usize,
    plus: usize,
    counts: &'a mut Counts,
}

impl CountKernel for CountLines<'_> {
    type Output = ();

    #[inline(always)]
    fn run<C: CountBits>(self, counter: C) {
        counter.count(self.b, self.first, self.x, self.groups, self.plus, self.counts);
    }
}

/// Multiplies the counts of four lines by the inner products, and writes them.
struct FinishLines<'a, T> {
    tiles: BlockTiles<'a, T>,
    worker: &'a mut Worker<T>,
    at: (usize, usize),
    first: usize,
}

impl<T: Scalar> Kernel for FinishLines<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        let Self { tiles, worker, at: (line, lane), first } = self;
        let BlockTiles { target, lines: (_, zb), lanes: (_, zx), scale, .. } = tiles;
        let (rows, lanes) = ((zb.rows_in(line) - first).min(4), zx.rows_in(lane));
        let tile = &mut worker.tiles[first..first + 4];
        inner_products(s, zb.block(line), first, zx.block(lane), lanes, scale, tile);
        times_counts(tile, &worker.counts[0]);
        // SAFETY: each task writes its own tile, and the mirror image across the diagonal, which no other task does; a worker
        // ends with a fence.
        unsafe {
            target.write(s, &tile[..rows], line * PANEL + first, lane * PANEL, lanes);
            tiles.write_pending(s, worker, 4);
        }
    }
}

/// Ends a tile: its transpose takes the place of that of the last tile, which is written as far as it is not yet.
struct FinishTile<'a, T> {
    tiles: BlockTiles<'a, T>,
    worker: &'a mut Worker<T>,
    at: (usize, usize),
    mirror: bool,
}

impl<T: Scalar> Kernel for FinishTile<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        let Self { tiles, worker, at: (line, lane), mirror } = self;
        // SAFETY: a worker ends with a fence.
        unsafe { tiles.write_pending(s, worker, PANEL) };
        if mirror && line != lane {
            let (rows, lanes) = (tiles.lines.1.rows_in(line), tiles.lanes.1.rows_in(lane));
            let (tile, transposed) = worker.tiles.split_at_mut(PANEL);
            transpose(s, tile, rows, lanes, transposed);
            worker.pending = Some(Pending { at: (lane * PANEL, line * PANEL), lines: lanes, written: 0, lanes: rows });
        }
    }
}

/// Ends the work of a worker.
struct FinishWorker<'a, T> {
    tiles: BlockTiles<'a, T>,
    worker: &'a mut Worker<T>,
}

impl<T: Scalar> Kernel for FinishWorker<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        // SAFETY: the fence follows.
        unsafe { self.tiles.write_pending(s, self.worker, PANEL) };
        s.fence();
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn triangles_are_counted_without_gaps() {
        let mut n = 0;
        for line in 0..300 {
            for lane in 0..=line {
                assert_eq!(super::below_diagonal(n), (line, lane));
                n += 1;
            }
        }
        let line = 3_000_000_000;
        assert_eq!(super::below_diagonal(line * (line + 1) / 2 - 1), (line - 1, line - 1));
        assert_eq!(super::below_diagonal(line * (line + 1) / 2), (line, 0));
    }
}
