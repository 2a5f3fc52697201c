//! Tasks of the Gram matrix: which tiles a worker computes, and in which order.

use std::ops::Range;

use faer::{MatMut, MatRef, Par};

use super::arccos::ArcCosine;
use super::samples::Samples;
use super::store::{Destination, Fence};
use super::tile::GramTile;
use crate::kernels::cache::streams;
use crate::kernels::panels::check_shape;
use crate::kernels::{PANEL, for_each_task, workers};
use crate::simd::Level;
use crate::{Error, Result};

/// Both triangles; see [`super::gram_with`].
pub(in crate::kernels) fn both<T: ArcCosine>(
    level: Level,
    out: MatMut<'_, T>,
    z: MatRef<'_, T>,
    par: Par,
) -> Result<()> {
    symmetric(level, Form::Both, out, z, par)
}

/// The lower triangle; see [`super::gram_lower_with`].
pub(in crate::kernels) fn lower<T: ArcCosine>(
    level: Level,
    out: MatMut<'_, T>,
    z: MatRef<'_, T>,
    par: Par,
) -> Result<()> {
    symmetric(level, Form::Lower, out, z, par)
}

fn symmetric<T: ArcCosine>(level: Level, form: Form, out: MatMut<'_, T>, z: MatRef<'_, T>, par: Par) -> Result<()> {
    check_shape("the output", out.nrows(), out.ncols(), z.nrows(), z.nrows())?;
    let samples = Samples::new(level, "the samples", z, par)?;
    fill(level, form, Destination::new(out), &samples, &samples, None, par);
    Ok(())
}

/// Some rows; see [`super::gram_rows_with`].
pub(in crate::kernels) fn rows<T: ArcCosine>(
    level: Level,
    out: MatMut<'_, T>,
    z: MatRef<'_, T>,
    rows: Range<usize>,
    par: Par,
) -> Result<()> {
    check_rows(&rows, z.nrows())?;
    check_shape("the output", out.nrows(), out.ncols(), rows.len(), z.nrows())?;
    let all = Samples::new(level, "the samples", z, par)?;
    let some = Samples::new(level, "the samples", z.subrows(rows.start, rows.len()), par)?;
    fill(level, Form::Rows, Destination::new(out), &some, &all, Some(rows.start), par);
    Ok(())
}

/// Between two sets; see [`super::cross_gram_with`].
pub(in crate::kernels) fn cross<T: ArcCosine>(
    level: Level,
    out: MatMut<'_, T>,
    z1: MatRef<'_, T>,
    z2: MatRef<'_, T>,
    par: Par,
) -> Result<()> {
    check_shape("the second samples", z2.nrows(), z2.ncols(), z2.nrows(), z1.ncols())?;
    check_shape("the output", out.nrows(), out.ncols(), z1.nrows(), z2.nrows())?;
    let left = Samples::new(level, "the first samples", z1, par)?;
    let right = Samples::new(level, "the second samples", z2, par)?;
    fill(level, Form::Rows, Destination::new(out), &left, &right, None, par);
    Ok(())
}

/// [`Error::Setting`] unless the range lies within `0..samples`.
pub(super) fn check_rows(rows: &Range<usize>, samples: usize) -> Result<()> {
    if rows.start <= rows.end && rows.end <= samples {
        return Ok(());
    }
    let value = format!("{}..{}", rows.start, rows.end);
    Err(Error::Setting { name: "the row range", value, requirement: "it must lie within the samples" })
}

/// Which entries are written.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Form {
    /// Both triangles, from the lower one.
    Both,
    /// The lower triangle.
    Lower,
    /// All pairs of two sets.
    Rows,
}

/// Blocks per side of a task at most: 16 blocks of 64 f32 are one 4 KB page of each column, so that a task visits no page
/// twice and its 2048 pages stay within the reach of the second-level TLB.
const GROUP: usize = 16;

/// Fills the matrix `to`; `diagonal` is the column of the first row's own sample, where the rows are some of the columns' samples.
pub(super) fn fill<T: ArcCosine>(
    level: Level,
    form: Form,
    to: Destination<T>,
    left: &Samples<T>,
    right: &Samples<T>,
    diagonal: Option<usize>,
    par: Par,
) {
    let workers = workers(par);
    // Enough tasks for each worker to find its share, as large as that allows.
    let parts = 4 * (workers as f64).sqrt().ceil() as usize;
    let group = |blocks: usize| (blocks / parts).clamp(1, GROUP);
    let (i_group, j_group) = (group(left.blocks()), group(right.blocks()));
    let (i_groups, j_groups) = (left.blocks().div_ceil(i_group), right.blocks().div_ceil(j_group));
    let tasks: Vec<(usize, usize)> = (0..i_groups)
        .flat_map(|i| (0..if form == Form::Rows { j_groups } else { i + 1 }).map(move |j| (i, j)))
        .collect();
    let to = Destination { stream: to.is_aligned() && streams::<T>(left.count(), right.count()), ..to };
    for_each_task(tasks.len(), &mut vec![(); workers], |(), task| {
        let (i, j) = tasks[task];
        let blocks = |group: usize, size: usize, blocks: usize| group * size..((group + 1) * size).min(blocks);
        for i in blocks(i, i_group, left.blocks()) {
            for j in blocks(j, j_group, right.blocks()) {
                if form != Form::Rows && j > i {
                    break;
                }
                let diagonal = form != Form::Rows && i == j;
                // SAFETY: the tile lies within the output, this task alone writes it, and its lines are aligned if streamed.
                unsafe {
                    let tile = GramTile {
                        left: left.block(i),
                        right: right.block(j),
                        diagonal,
                        lower: form == Form::Lower,
                        direct: to.from(i * PANEL, j * PANEL),
                        mirror: (form == Form::Both && !diagonal).then(|| to.from(j * PANEL, i * PANEL).transposed()),
                    };
                    tile.write(level);
                }
            }
        }
        if to.stream {
            level.run(Fence);
        }
    });
    if let Some(first) = diagonal {
        for i in 0..left.count() {
            let k = left.block(i / PANEL).diagonal.0[i % PANEL];
            // SAFETY: the entry exists, and the tasks are over.
            unsafe { *to.at(i, first + i) = k };
        }
    }
}
