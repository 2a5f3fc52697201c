//! The whole finite-width tangent kernel, all blocks at once.
//!
//! ```text
//! per quintet of outputs: neurons sorted by the class of their signs, bit rows of 64 samples side by side
//!     per four lines j, per block of 64 lanes l:
//!         counts[class][j][lanes], a class after the other                             in registers
//!             meanwhile the values of the last four lines leave, in bursts
//!         gram[j][lanes]         = <z_j, z_lanes> / m
//!         signed[pair][j][lanes] = Walsh-Hadamard transform of the counts              in registers
//!         value[pair][j][lanes]  = gram * signed     for blocks (i, k) and (k, i)      in a buffer
//! ```
//!
//! Ten pairs of outputs cost the counting of one, see [`super::classes`]. Both triangles of a symmetric kernel are counted: the
//! stores of one line of all blocks of a quintet, each line growing from left to right, take no longer than a streaming fill (if the
//! number of samples is a multiple of a vector; other blocks are not aligned and not streamed), where mirrored tiles, in runs of one
//! or two cache lines, took twice as long and had to be waited for.

use std::ops::Range;

use faer::{MatMut, Par};

use super::bits::{CLASSES, CountedPatterns, NeuronOrder};
use super::block::symmetric_block;
use super::classes::{ClassCounts, FourLines, count_class, signed_counts};
use super::gram::inner_products;
use super::quintets::{PAIRS, quintets};
use super::target::Target;
use super::{Pending, TangentKernel, Worker, Workspace};
use crate::Result;
use crate::kernels::panels::{check_shape, entries};
use crate::kernels::{Lane64, PANEL, Panels, for_each_task_then};
use crate::simd::{CountBits, CountKernel, Kernel, Lanes, Popcount, Scalar};

/// Most lines of one task; they share what is read of the lanes.
const LINES: usize = 32;

/// Tasks that each worker should find at least, so that none waits long for the last one.
const TASKS: usize = 4;

/// Words of 64 lanes that stay in a second-level cache, 256 KB.
const LANE_WORDS: usize = 512;

/// Bursts in which the values of four lines leave: of f32 on AVX-512, 80 lines of cache each, which the processor's queue of stores
/// takes in without waiting. With two or eight bursts 3 % of time were lost.
const BURSTS: usize = 4;

/// Where the values begin in the buffer of a worker, behind the inner products; four lines for each pair.
const VALUES: usize = 4;

/// See [`super::full_with`].
pub(in crate::kernels) fn full<T: Scalar>(
    count: Popcount,
    out: MatMut<'_, T>,
    kernel: TangentKernel<'_, T>,
    workspace: &mut Workspace<T>,
    par: Par,
) -> Result<()> {
    let TangentKernel { a, rows, columns } = kernel;
    kernel.check(0..a.columns())?;
    let (n1, n2) = (rows.samples(), columns.samples());
    check_shape("the output", out.nrows(), out.ncols(), entries(a.columns(), n1), entries(a.columns(), n2))?;
    if a.columns() == 1 && kernel.is_symmetric() {
        // A single block counts half of what is symmetric, and nothing else is to be gained.
        symmetric_block(count, out, (0, 0), kernel, workspace, par);
        return Ok(());
    }
    let (target, by_columns) = Target::new(out);
    let (lines, lanes) = if by_columns { (columns, rows) } else { (rows, columns) };
    all_blocks(count, &target, TangentKernel { a, rows: lines, columns: lanes }, workspace, par);
    Ok(())
}

/// How often all neurons of all ordered pairs of samples are counted for the whole kernel of `outputs` outputs; each pass gives up
/// to ten pairs of outputs, for instance 30 passes the 276 pairs of 24 outputs. Of a single output's symmetric kernel only the pairs
/// in one order are counted.
pub fn counting_passes(outputs: usize) -> usize {
    quintets(outputs).len()
}

/// Writes all blocks, a quintet of outputs at a time.
fn all_blocks<T: Scalar>(
    count: Popcount,
    target: &Target<'_, T>,
    kernel: TangentKernel<'_, T>,
    workspace: &mut Workspace<T>,
    par: Par,
) {
    // Rows and columns of the target are its lines and lanes.
    let TangentKernel { a, rows: lines, columns: lanes } = kernel;
    workspace.reserve(par);
    let Workspace { lines: line_bits, lanes: lane_bits, order, workers } = workspace;
    let same = std::ptr::eq(lines.patterns, lanes.patterns);
    line_bits.take(count, lines.patterns, workers.len());
    if !same {
        lane_bits.take(count, lanes.patterns, workers.len());
    }
    for quintet in quintets(a.columns()) {
        order.by_signs(a, &quintet.outputs);
        line_bits.arrange(count, lines.patterns, order, workers.len());
        if !same {
            lane_bits.arrange(count, lanes.patterns, order, workers.len());
        }
        let tiles = QuintetTiles {
            target,
            lines: (line_bits, lines.z),
            lanes: (if same { line_bits } else { lane_bits }, lanes.z),
            order,
            blocks: &quintet.blocks,
            scale: T::from_f64(1.0 / a.rows() as f64),
        };
        let tall = (lines.samples() / (TASKS * workers.len())).next_multiple_of(4).clamp(4, LINES);
        for_each_task_then(
            lines.samples().div_ceil(tall),
            workers,
            |worker, task| tiles.lines(count, worker, task * tall..lines.samples().min((task + 1) * tall)),
            |worker| count.level().run(FinishQuintet { tiles: &tiles, worker }),
        );
    }
}

/// What every task reads.
struct QuintetTiles<'a, T> {
    target: &'a Target<'a, T>,
    lines: (&'a CountedPatterns, &'a Panels<T>),
    lanes: (&'a CountedPatterns, &'a Panels<T>),
    order: &'a NeuronOrder,
    /// Blocks of the kernel with the number of their signed counts.
    blocks: &'a [(usize, (usize, usize))],
    scale: T,
}

impl<T: Scalar> QuintetTiles<'_, T> {
    /// Some lines against all lanes.
    fn lines(&self, count: Popcount, worker: &mut Worker<T>, lines: Range<usize>) {
        let lanes = self.lanes.1.blocks();
        let chunk = (LANE_WORDS / self.order.words()).max(1);
        for start in (0..lanes).step_by(chunk) {
            for line in lines.clone().step_by(4) {
                for block in start..(start + chunk).min(lanes) {
                    count.run(QuintetTile { tiles: self, worker, line, block });
                }
            }
        }
    }

    /// Writes the values of four lines to the next blocks of the kernel, until `blocks` of them are written.
    ///
    /// # Safety
    /// - What is pending was left by a tile of this quintet.
    /// - [`Lanes::fence`] is called before another thread reads them.
    #[inline(always)]
    unsafe fn write_pending<S: Lanes>(&self, s: S, worker: &mut Worker<T>, blocks: usize) {
        let (n1, n2) = (self.lines.1.rows(), self.lanes.1.rows());
        if let Some(Pending { at: (line, lane), lines, lanes, written }) = &mut worker.pending {
            for &(pair, (i, k)) in &self.blocks[*written..blocks] {
                let values = &worker.tiles[VALUES + 4 * pair..][..*lines];
                // SAFETY: every block is written by one quintet, and these lines of it by one task; the fence is the caller's.
                unsafe { self.target.write(s, values, i * n1 + *line, k * n2 + *lane, *lanes) };
            }
            *written = blocks;
        }
    }
}

/// Four lines against a block of lanes: counts them, writes the values of the last such tile meanwhile, and leaves its own.
struct QuintetTile<'a, T> {
    tiles: &'a QuintetTiles<'a, T>,
    worker: &'a mut Worker<T>,
    line: usize,
    block: usize,
}

impl<T: Scalar> CountKernel for QuintetTile<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<C: CountBits>(self, counter: C) {
        let Self { tiles, worker, line, block } = self;
        let s = counter.lanes();
        let ((line_bits, line_z), (lane_bits, lane_z)) = (tiles.lines, tiles.lanes);
        let (own, within, width) = (line / PANEL, line % PANEL, lane_z.rows_in(block));
        let (b, x) = (line_bits.block(own, tiles.order), lane_bits.block(block, tiles.order));
        for class in 0..CLASSES {
            let counts = &mut worker.counts;
            count_class(
                counter,
                tiles.order,
                class,
                FourLines { words: b, first: within },
                x,
                width.div_ceil(16),
                counts,
            );
            if (class + 1) % (CLASSES / BURSTS) == 0 {
                // SAFETY: a worker ends a quintet with nothing pending, and with a fence.
                unsafe { tiles.write_pending(s, worker, tiles.blocks.len() * (class + 1) / CLASSES) };
            }
        }
        let (gram, values) = worker.tiles.split_at_mut(VALUES);
        inner_products(s, line_z.block(own), within, lane_z.block(block), width, tiles.scale, gram);
        scale_counts(s, &worker.counts, gram, values, width);
        let lines = (line_z.rows() - line).min(4);
        worker.pending = Some(Pending { at: (line, block * PANEL), lines, lanes: width, written: 0 });
    }
}

/// `values[4 pair + r][lane] = gram[r][lane] * signed count` for four lines r and at least the first `lanes` lanes.
///
/// # Panics
/// If `values` or `gram` have too few lines or `lanes` is above 64.
#[inline(always)]
fn scale_counts<T: Scalar, S: Lanes>(
    s: S,
    counts: &ClassCounts,
    gram: &[Lane64<T>],
    values: &mut [Lane64<T>],
    lanes: usize,
) {
    assert!(gram.len() >= 4 && values.len() >= 4 * PAIRS);
    for r in 0..4 {
        for lane in (0..lanes).step_by(S::U32_LANES) {
            let signed = signed_counts(s, counts, r, lane);
            for pair in 0..PAIRS {
                let (scale, to) = (&gram[r].0, &mut values[4 * pair + r].0);
                // SAFETY: `signed_counts` has made sure that the vector lies within the 64 lanes.
                unsafe { T::vscale_counts(s, signed[pair], scale.as_ptr().add(lane), to.as_mut_ptr().add(lane)) };
            }
        }
    }
}

/// Ends the work of a worker on a quintet.
struct FinishQuintet<'a, T> {
    tiles: &'a QuintetTiles<'a, T>,
    worker: &'a mut Worker<T>,
}

impl<T: Scalar> Kernel for FinishQuintet<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        // SAFETY: the fence follows.
        unsafe { self.tiles.write_pending(s, self.worker, self.tiles.blocks.len()) };
        self.worker.pending = None;
        s.fence();
    }
}
