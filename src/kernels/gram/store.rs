//! Taking finished tiles from the L1 buffer to the output, a little at a time.
//!
//! A tile leaves twice: as it is, in runs along i, and transposed, in runs along j. The stores of one tile are spread over the
//! computation of the next, so that the memory has as long for them as the arithmetic takes.

use crate::kernels::PANEL;
use crate::simd::{Lanes, Real};

use super::tile::width;

/// A matrix to be written: entry (i, j) lies at `start + i * row + j * column`.
#[derive(Clone, Copy)]
pub(super) struct Target<T> {
    pub start: *mut T,
    pub row: isize,
    pub column: isize,
    /// Past the caches; only if `start` and the strides allow it.
    pub stream: bool,
}

// SAFETY: tasks write disjoint entries through copies of it, see `Target::new`'s callers.
unsafe impl<T: Send> Send for Target<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Target<T> {}

/// One tile of 64 samples i by [`width`] samples j in a buffer, and where it goes.
#[derive(Clone, Copy)]
pub(super) struct Outgoing<T> {
    /// Entry (i, j) is at `j * 64 + i`.
    pub from: *const T,
    /// Where entry (0, 0) goes and how far apart the runs along i are.
    pub direct: Option<(*mut T, isize)>,
    /// Where entry (0, 0) goes and how far apart the runs along j are.
    pub mirror: Option<(*mut T, isize)>,
    pub stream: bool,
}

impl<T: Real> Outgoing<T> {
    /// Writes the share of the tile between `from` and `to` parts of `parts`.
    ///
    /// # Safety
    /// - The buffer holds a whole tile, and all its destinations are writable by this thread alone.
    /// - If `stream`, every run starts at a multiple of 64 bytes.
    #[inline(always)]
    pub unsafe fn advance<S: Lanes>(&self, s: S, from: usize, to: usize, parts: usize) {
        // SAFETY: the same contract.
        unsafe {
            if self.stream {
                self.write::<S, true>(s, from, to, parts)
            } else {
                self.write::<S, false>(s, from, to, parts)
            }
        }
    }

    #[inline(always)]
    unsafe fn write<S: Lanes, const STREAM: bool>(&self, s: S, from: usize, to: usize, parts: usize) {
        let lanes = T::lanes::<S>();
        if let Some((start, stride)) = self.direct {
            for j in width::<T>() * from / parts..width::<T>() * to / parts {
                // SAFETY: run j of the buffer and of the destination, 64 values each.
                unsafe {
                    let (run, source) = (start.offset(j as isize * stride), self.from.add(j * PANEL));
                    for i in (0..PANEL).step_by(lanes) {
                        put::<T, S, STREAM>(s, run.add(i), T::vload(s, source.add(i)));
                    }
                }
            }
        }
        if let Some((start, stride)) = self.mirror {
            let across = width::<T>() / lanes;
            let squares = across * (PANEL / lanes);
            for square in squares * from / parts..squares * to / parts {
                // Neighbouring squares continue the same runs.
                let (i, j) = (square / across * lanes, square % across * lanes);
                let mut rows = [T::vsplat(s, T::ZERO); 16];
                let rows = &mut rows[..lanes];
                // SAFETY: rows j .. j + lanes of the buffer, values i .. i + lanes; runs i .. i + lanes of the destination.
                unsafe {
                    for (r, row) in rows.iter_mut().enumerate() {
                        *row = T::vload(s, self.from.add((j + r) * PANEL + i));
                    }
                    T::vtranspose(s, rows);
                    for (r, row) in rows.iter().enumerate() {
                        put::<T, S, STREAM>(s, start.offset((i + r) as isize * stride).add(j), *row);
                    }
                }
            }
        }
    }
}

/// # Safety
/// - `to` is writable for one vector, and aligned to 64 bytes or a vector if `STREAM`.
#[inline(always)]
unsafe fn put<T: Real, S: Lanes, const STREAM: bool>(s: S, to: *mut T, v: T::Vector<S>) {
    // SAFETY: the same contract.
    unsafe { if STREAM { T::vstream(s, to, v) } else { T::vstore(s, to, v) } }
}

impl<T: Real> Target<T> {
    /// All of `out`.
    pub fn new(mut out: faer::MatMut<'_, T>) -> Self {
        let (row, column) = (out.row_stride(), out.col_stride());
        let bytes = out.nrows() * out.ncols() * size_of::<T>();
        let start = out.as_ptr_mut();
        // Runs start every 64 samples, so the first run and the stride decide for all.
        let run = if row == 1 { column } else { row };
        let aligned = (start as usize).is_multiple_of(64) && (run.unsigned_abs() * size_of::<T>()).is_multiple_of(64);
        Self { start, row, column, stream: aligned && bytes > super::cache::last_level() }
    }

    /// The transposed matrix.
    pub fn transposed(self) -> Self {
        Self { row: self.column, column: self.row, ..self }
    }

    /// Entry (i, j).
    ///
    /// # Safety
    /// - It exists.
    #[inline(always)]
    pub unsafe fn at(self, i: usize, j: usize) -> *mut T {
        // SAFETY: the caller's word.
        unsafe { self.start.offset(i as isize * self.row + j as isize * self.column) }
    }
}
