//! One block H^{ik} of the finite-width tangent kernel.
//!
//! ```text
//! neurons sorted so that those with a^i = a^k come first; bit rows of 64 samples side by side
//! per tile of 64 lines j by 64 lanes l (below the diagonal only, if symmetric), per 4 lines:
//!     counts[j][lanes] = popcount over the first words - popcount over the rest     in registers
//!     gram[j][lanes]   = <z_j, z_lanes> / m                                         in registers
//!     tile[j][lanes]   = gram * counts                                              in a buffer
//! the tile leaves by streaming stores, and so does its transpose if it stands for two
//! ```

use faer::{MatMut, Par};

use super::bits::arrange;
use super::gram::{inner_products, times_counts};
use super::target::{Target, transpose};
use super::{Features, Worker, Workspace, check_outputs, check_sides};
use crate::Result;
use crate::kernels::panels::check_shape;
use crate::kernels::{PANEL, Panels, for_each_task};
use crate::simd::{BitWord, CountBits, CountKernel, Counts, Kernel, Lanes, Popcount, Real};

/// [`block_with`] at the current level.
///
/// # Errors
/// As for [`block_with`].
pub fn block_into<T: Real>(
    out: MatMut<'_, T>,
    outputs: (usize, usize),
    a: &Panels<T>,
    rows: Features<'_, T>,
    columns: Features<'_, T>,
    workspace: &mut Workspace<T>,
    par: Par,
) -> Result<()> {
    block_with(Popcount::current(), out, outputs, a, rows, columns, workspace, par)
}

/// Block H^{ik} (N1 x N2), `(i, k) = outputs`, between two sets of samples, for instance test against training; `a` (m x d)
/// holds the output signs.
///
/// # Errors
/// [`crate::Error::Shape`] if the shapes do not fit together, [`crate::Error::Setting`] if there is no such output or a sign is
/// not +-1, [`crate::Error::Empty`] without neurons.
#[allow(clippy::too_many_arguments)] // the arguments of the formula
pub fn block_with<T: Real>(
    count: Popcount,
    out: MatMut<'_, T>,
    outputs: (usize, usize),
    a: &Panels<T>,
    rows: Features<'_, T>,
    columns: Features<'_, T>,
    workspace: &mut Workspace<T>,
    par: Par,
) -> Result<()> {
    check_sides(a, rows, columns)?;
    check_outputs(a, [outputs.0, outputs.1])?;
    check_shape("the output", out.nrows(), out.ncols(), rows.samples(), columns.samples())?;
    let (target, by_columns) = Target::new(out);
    let (lines, lanes) = if by_columns { (columns, rows) } else { (rows, columns) };
    workspace.reserve(par);
    let Workspace { lines: line_bits, lanes: lane_bits, order, scratch, workers, .. } = workspace;
    order.set(a, outputs);
    arrange(count, line_bits, lines.patterns, order, scratch);
    arrange(count, lane_bits, lanes.patterns, order, scratch);
    let pass = Pass {
        target: &target,
        lines: (line_bits, lines.z),
        lanes: (lane_bits, lanes.z),
        words: order.words,
        plus: order.plus,
        scale: T::from_f64(1.0 / a.rows() as f64),
    };
    let across = lanes.z.blocks();
    for_each_task(lines.z.blocks() * across, workers, |worker, task| {
        pass.tile(count, worker, (task / across, task % across), false);
    });
    Ok(())
}

/// [`symmetric_block_with`] at the current level.
///
/// # Errors
/// As for [`symmetric_block_with`].
pub fn symmetric_block_into<T: Real>(
    out: MatMut<'_, T>,
    outputs: (usize, usize),
    a: &Panels<T>,
    samples: Features<'_, T>,
    workspace: &mut Workspace<T>,
    par: Par,
) -> Result<()> {
    symmetric_block_with(Popcount::current(), out, outputs, a, samples, workspace, par)
}

/// Block H^{ik} (N x N), `(i, k) = outputs`, of a set of samples against itself. It is symmetric whatever i and k are, so half
/// of it is computed, and mirrored.
///
/// # Errors
/// As for [`block_with`].
pub fn symmetric_block_with<T: Real>(
    count: Popcount,
    out: MatMut<'_, T>,
    outputs: (usize, usize),
    a: &Panels<T>,
    samples: Features<'_, T>,
    workspace: &mut Workspace<T>,
    par: Par,
) -> Result<()> {
    check_sides(a, samples, samples)?;
    check_outputs(a, [outputs.0, outputs.1])?;
    check_shape("the output", out.nrows(), out.ncols(), samples.samples(), samples.samples())?;
    let (target, _) = Target::new(out);
    workspace.reserve(par);
    let Workspace { lines: bits, order, scratch, workers, .. } = workspace;
    order.set(a, outputs);
    arrange(count, bits, samples.patterns, order, scratch);
    let pass = Pass {
        target: &target,
        lines: (bits, samples.z),
        lanes: (bits, samples.z),
        words: order.words,
        plus: order.plus,
        scale: T::from_f64(1.0 / a.rows() as f64),
    };
    let blocks = samples.z.blocks();
    for_each_task(blocks * (blocks + 1) / 2, workers, |worker, task| {
        pass.tile(count, worker, below_diagonal(task), true);
    });
    Ok(())
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
struct Pass<'a, T> {
    target: &'a Target<'a, T>,
    lines: (&'a [BitWord], &'a Panels<T>),
    lanes: (&'a [BitWord], &'a Panels<T>),
    words: usize,
    plus: usize,
    scale: T,
}

impl<T: Copy> Clone for Pass<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Copy> Copy for Pass<'_, T> {}

impl<T: Real> Pass<'_, T> {
    /// Computes and writes the tile of 64 lines by 64 lanes at `at`, and its transpose if `mirror` and it is off the diagonal.
    fn tile(self, count: Popcount, worker: &mut Worker<T>, (line, lane): (usize, usize), mirror: bool) {
        let Self { lines: (b, zb), lanes: (x, zx), words, plus, .. } = self;
        let (b, x) = (&b[line * words..][..words], &x[lane * words..][..words]);
        let rows = zb.rows_in(line);
        let groups = zx.rows_in(lane).div_ceil(16);
        // Counting knows no floating-point type and the rest no way of counting, so that each is compiled few times.
        count.run(CountTile { b, x, groups, plus, counts: &mut worker.counts[..rows.div_ceil(4)] });
        count.level().run(Finish { pass: self, worker, at: (line, lane), mirror });
    }
}

/// Counts of 64 lines, four at a time, against 64 lanes.
struct CountTile<'a> {
    b: &'a [BitWord],
    x: &'a [BitWord],
    groups: usize,
    plus: usize,
    counts: &'a mut [Counts],
}

impl CountKernel for CountTile<'_> {
    type Output = ();

    #[inline(always)]
    fn run<C: CountBits>(self, counter: C) {
        for (quarter, counts) in self.counts.iter_mut().enumerate() {
            counter.count(self.b, 4 * quarter, self.x, self.groups, self.plus, counts);
        }
    }
}

/// Multiplies the counts of a tile by the inner products, and writes it.
struct Finish<'a, T> {
    pass: Pass<'a, T>,
    worker: &'a mut Worker<T>,
    at: (usize, usize),
    mirror: bool,
}

impl<T: Real> Kernel for Finish<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        let Self { pass, worker, at: (line, lane), mirror } = self;
        let Pass { target, lines: (_, zb), lanes: (_, zx), scale, .. } = pass;
        let (rows, lanes) = (zb.rows_in(line), zx.rows_in(lane));
        let (tile, transposed) = worker.tiles.split_at_mut(PANEL);
        let quarters = tile.chunks_exact_mut(4).zip(&worker.counts[..rows.div_ceil(4)]);
        for (quarter, (tile, counts)) in quarters.enumerate() {
            inner_products(s, zb.block(line), 4 * quarter, zx.block(lane), lanes, scale, tile);
            times_counts(tile, counts);
        }
        // SAFETY: each task writes its own tile, and its transpose across the diagonal, which no other task does.
        unsafe {
            target.write(s, &tile[..rows], line * PANEL, lane * PANEL, lanes);
            if mirror && line != lane {
                transpose(s, tile, rows, lanes, transposed);
                target.write(s, &transposed[..lanes], lane * PANEL, line * PANEL, rows);
            }
        }
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
