//! Gram matrices into caller memory.

use std::ops::Range;

use faer::{MatMut, MatRef, Par};

use super::samples::Samples;
use super::store::{Fence, Place};
use super::tile::Tile;
use crate::kernels::cache::streams;
use crate::kernels::panels::check_shape;
use crate::kernels::{PANEL, for_each_task, workers};
use crate::simd::{Level, Real};
use crate::{Error, Result};

/// [`gram_with`] at the current level.
///
/// # Errors
/// As for [`gram_with`].
pub fn gram_into<T: Real>(out: MatMut<'_, T>, z: MatRef<'_, T>, par: Par) -> Result<()> {
    gram_with(Level::current(), out, z, par)
}

/// The Gram matrix (N x N, both triangles) of the rows of `z` (N x D) into `out`.
///
/// Any strides are accepted; an output whose rows or columns are contiguous and aligned to 64 bytes is fastest.
///
/// # Errors
/// [`Error::Shape`] if `out` is not N x N, [`Error::NotFinite`] if `z` holds a NaN or an infinity, [`Error::Setting`] if a norm
/// is beyond the type's range.
pub fn gram_with<T: Real>(level: Level, out: MatMut<'_, T>, z: MatRef<'_, T>, par: Par) -> Result<()> {
    check_shape("the output", out.nrows(), out.ncols(), z.nrows(), z.nrows())?;
    let samples = Samples::new(level, "the samples", z, par)?;
    fill(level, Form::Both, Place::new(out), &samples, &samples, None, par);
    Ok(())
}

/// [`gram_lower_with`] at the current level.
///
/// # Errors
/// As for [`gram_lower_with`].
pub fn gram_lower_into<T: Real>(out: MatMut<'_, T>, z: MatRef<'_, T>, par: Par) -> Result<()> {
    gram_lower_with(Level::current(), out, z, par)
}

/// The lower triangle of the Gram matrix, diagonal included, into `out` (N x N); entries above the diagonal are left alone.
///
/// # Errors
/// As for [`gram_with`].
pub fn gram_lower_with<T: Real>(level: Level, out: MatMut<'_, T>, z: MatRef<'_, T>, par: Par) -> Result<()> {
    check_shape("the output", out.nrows(), out.ncols(), z.nrows(), z.nrows())?;
    let samples = Samples::new(level, "the samples", z, par)?;
    fill(level, Form::Lower, Place::new(out), &samples, &samples, None, par);
    Ok(())
}

/// [`gram_rows_with`] at the current level.
///
/// # Errors
/// As for [`gram_rows_with`].
pub fn gram_rows_into<T: Real>(out: MatMut<'_, T>, z: MatRef<'_, T>, rows: Range<usize>, par: Par) -> Result<()> {
    gram_rows_with(Level::current(), out, z, rows, par)
}

/// Rows `rows` of the Gram matrix into `out` (`rows.len()` x N): the same bits as those rows of [`gram_with`].
///
/// # Errors
/// As for [`gram_with`], and [`Error::Setting`] if the range does not lie within the samples.
pub fn gram_rows_with<T: Real>(
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
    fill(level, Form::Rows, Place::new(out), &some, &all, Some(rows.start), par);
    Ok(())
}

/// [`cross_gram_with`] at the current level.
///
/// # Errors
/// As for [`cross_gram_with`].
pub fn cross_gram_into<T: Real>(out: MatMut<'_, T>, z1: MatRef<'_, T>, z2: MatRef<'_, T>, par: Par) -> Result<()> {
    cross_gram_with(Level::current(), out, z1, z2, par)
}

/// K of every row of `z1` (N1 x D) with every row of `z2` (N2 x D) into `out` (N1 x N2).
///
/// # Errors
/// [`Error::Shape`] if `out` is not N1 x N2 or the samples differ in dimension, [`Error::NotFinite`] if either holds a NaN or
/// an infinity, [`Error::Setting`] if a norm is beyond the type's range.
pub fn cross_gram_with<T: Real>(
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
    fill(level, Form::Rows, Place::new(out), &left, &right, None, par);
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

/// Fills `place`; `diagonal` is the column of the first row's own sample, where the rows are some of the columns' samples.
pub(super) fn fill<T: Real>(
    level: Level,
    form: Form,
    place: Place<T>,
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
    let place = Place { stream: place.is_aligned() && streams::<T>(left.count(), right.count()), ..place };
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
                    let tile = Tile {
                        left: left.block(i),
                        right: right.block(j),
                        diagonal,
                        lower: form == Form::Lower,
                        direct: place.from(i * PANEL, j * PANEL),
                        mirror: (form == Form::Both && !diagonal)
                            .then(|| place.from(j * PANEL, i * PANEL).transposed()),
                    };
                    tile.write(level);
                }
            }
        }
        if place.stream {
            level.run(Fence);
        }
    });
    if let Some(first) = diagonal {
        for i in 0..left.count() {
            let k = left.block(i / PANEL).diagonal.0[i % PANEL];
            // SAFETY: the entry exists, and the tasks are over.
            unsafe { *place.at(i, first + i) = k };
        }
    }
}
