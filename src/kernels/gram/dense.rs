//! Gram matrices into caller memory.

use std::ops::Range;

use faer::{MatMut, MatRef, Par};

use super::samples::{Block, Samples};
use super::store::{Outgoing, Target};
use super::tile::{Micro, micro_tile, width};
use crate::kernels::panels::check_shape;
use crate::kernels::{Lane64, PANEL, for_each_task, workers};
use crate::simd::{Kernel, Lanes, Level, Real};
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
    let mut target = Target::new(out);
    if target.row != 1 {
        target = target.transposed();
    }
    fill(level, Form::Both, target, &samples, &samples, 0, par);
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
    fill(level, Form::Lower, Target::new(out), &samples, &samples, 0, par);
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
    let target = Target::new(out);
    fill(level, Form::Rows, target, &some, &all, 0, par);
    for (i, row) in rows.enumerate() {
        let k = all.block(row / PANEL).diagonal.0[row % PANEL];
        // SAFETY: row i and column `row` exist, and nobody else writes now.
        unsafe { *target.at(i, row) = k };
    }
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
    fill(level, Form::Rows, Target::new(out), &left, &right, 0, par);
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

/// Two tile buffers: one being filled, one on its way out.
pub(super) struct Buffers<T>(Vec<Lane64<T>>);

/// Blocks per side of a task at most: 16 blocks of 64 f32 are one 4 KB page of each column, so that a task visits no page
/// twice and its 2048 pages stay within the reach of the second-level TLB.
const GROUP: usize = 16;

pub(super) fn fill<T: Real>(
    level: Level,
    form: Form,
    target: Target<T>,
    left: &Samples<T>,
    right: &Samples<T>,
    _offset: usize,
    par: Par,
) {
    // Rows contiguous in a rectangle: fill its transpose, which is the other way round in everything.
    let (target, left, right) = if form == Form::Rows && target.row != 1 && target.column == 1 {
        (target.transposed(), right, left)
    } else {
        (target, left, right)
    };
    let workers = workers(par);
    // Enough tasks for each worker to find its share, as large as that allows.
    let parts = 4 * (workers as f64).sqrt().ceil() as usize;
    let (i_group, j_group) = ((left.blocks() / parts).clamp(1, GROUP), (right.blocks() / parts).clamp(1, GROUP));
    let (i_groups, j_groups) = (left.blocks().div_ceil(i_group), right.blocks().div_ceil(j_group));
    let tasks: Vec<(usize, usize)> = (0..i_groups)
        .flat_map(|i| (0..if form == Form::Rows { j_groups } else { i + 1 }).map(move |j| (i, j)))
        .collect();
    let mut buffers: Vec<Buffers<T>> = (0..workers.min(tasks.len().max(1)))
        .map(|_| Buffers(vec![Lane64([T::ZERO; PANEL]); 2 * width::<T>()]))
        .collect();
    for_each_task(tasks.len(), &mut buffers, |buffers, task| {
        let (i, j) = tasks[task];
        let range = |group: usize, size: usize, blocks: usize| group * size..((group + 1) * size).min(blocks);
        let (i, j) = (range(i, i_group, left.blocks()), range(j, j_group, right.blocks()));
        level.run(Group { form, target, left, right, i, j, buffers: &mut buffers.0 });
    });
}

/// The tiles of some blocks i with some blocks j.
struct Group<'a, T> {
    form: Form,
    target: Target<T>,
    left: &'a Samples<T>,
    right: &'a Samples<T>,
    i: Range<usize>,
    j: Range<usize>,
    buffers: &'a mut [Lane64<T>],
}

impl<T: Real> Kernel for Group<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        if !S::FUSED {
            self.run_tiled::<S, 2, 1>(s)
        } else if S::REGISTER_COUNT >= 32 {
            self.run_tiled::<S, 8, 2>(s)
        } else {
            self.run_tiled::<S, 4, 2>(s)
        }
    }
}

impl<T: Real> Group<'_, T> {
    #[inline(always)]
    fn run_tiled<S: Lanes, const R: usize, const V: usize>(self, s: S) {
        let (wide, group) = (width::<T>(), V * T::lanes::<S>());
        assert!(self.buffers.len() == 2 * wide && PANEL.is_multiple_of(group) && wide.is_multiple_of(R));
        let buffers = self.buffers.as_mut_ptr().cast::<T>();
        let mut side = 0;
        let mut pending: Option<Outgoing<T>> = None;
        for i_block in self.i.clone() {
            let left = self.left.block(i_block);
            for j_block in self.j.clone() {
                if self.form != Form::Rows && j_block > i_block {
                    break;
                }
                let right = self.right.block(j_block);
                for first in (0..right.count).step_by(wide) {
                    let columns = (right.count - first).min(wide);
                    // SAFETY: the buffers hold two tiles.
                    let buffer = unsafe { buffers.add(side * wide * PANEL) };
                    let parts = left.count.div_ceil(group) * columns.div_ceil(R);
                    let mut part = 0;
                    for j in (0..columns).step_by(R) {
                        for i in (0..left.count).step_by(group) {
                            // SAFETY: the micro-tile lies within the blocks, as 64 and the width are multiples of its sides.
                            unsafe {
                                micro_tile::<T, S, R, V>(
                                    s,
                                    Micro { left, right, i, j: first + j },
                                    buffer.add(j * PANEL + i),
                                );
                                if let Some(tile) = &pending {
                                    tile.advance(s, part, part + 1, parts);
                                }
                            }
                            part += 1;
                        }
                    }
                    // SAFETY: the tile is finished, and this task alone writes its entries.
                    pending = unsafe { self.dispatch(s, buffer, left, right, (i_block, j_block), (first, columns)) };
                    side ^= 1;
                }
            }
        }
        if let Some(tile) = &pending {
            // SAFETY: as above.
            unsafe { tile.advance(s, 0, 1, 1) };
        }
        s.fence();
    }

    /// Sends a tile on its way: whole tiles of contiguous targets later, others at once.
    #[inline(always)]
    unsafe fn dispatch<S: Lanes>(
        &self,
        _s: S,
        buffer: *mut T,
        left: Block<'_, T>,
        right: Block<'_, T>,
        (i_block, j_block): (usize, usize),
        (first, columns): (usize, usize),
    ) -> Option<Outgoing<T>> {
        let target = self.target;
        let (i, j) = (i_block * PANEL, j_block * PANEL + first);
        let diagonal = self.form != Form::Rows && i_block == j_block;
        // SAFETY: entries of the tile, which lie within the buffer and the target.
        unsafe {
            if diagonal {
                for c in 0..columns {
                    *buffer.add(c * PANEL + first + c) = right.diagonal.0[first + c];
                }
            }
            let whole = left.count == PANEL && columns == width::<T>();
            let mirrored = self.form == Form::Both && !diagonal;
            if whole && !(diagonal && self.form == Form::Lower) {
                if target.row == 1 {
                    let direct = Some((target.at(i, j), target.column));
                    let mirror = mirrored.then(|| (target.at(j, i), target.column));
                    return Some(Outgoing { from: buffer, direct, mirror, stream: target.stream });
                }
                if target.column == 1 && !mirrored {
                    let mirror = Some((target.at(i, j), target.row));
                    return Some(Outgoing { from: buffer, direct: None, mirror, stream: target.stream });
                }
            }
            for c in 0..columns {
                for r in 0..left.count {
                    let k = *buffer.add(c * PANEL + r);
                    if !(diagonal && self.form == Form::Lower && r < first + c) {
                        *target.at(i + r, j + c) = k;
                    }
                    if mirrored {
                        *target.at(j + c, i + r) = k;
                    }
                }
            }
        }
        None
    }
}
