//! Where finished entries go, a cache line at a time.

use std::mem::MaybeUninit;

use faer::MatMut;

use crate::kernels::{Lane64, PANEL};
use crate::simd::{Kernel, Lanes, Scalar};

/// Values in a cache line, at most.
pub(super) const LINE: usize = 16;

/// Values in a cache line.
pub(super) const fn line<T>() -> usize {
    64 / size_of::<T>()
}

/// LineBlock for a block of a line by a line of entries.
pub(super) type LineBlock<T> = [MaybeUninit<Lane64<T>>; LINE * LINE / PANEL];

/// A matrix to be written: entry (i, j) lies at `start + i * row + j * column`.
#[derive(Clone, Copy)]
pub(super) struct Destination<T> {
    pub start: *mut T,
    pub row: isize,
    pub column: isize,
    /// Past the caches; only where aligned.
    pub stream: bool,
}

// SAFETY: tasks write disjoint entries through copies of it, which is the contract of every write.
unsafe impl<T: Send> Send for Destination<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Destination<T> {}

impl<T: Scalar> Destination<T> {
    /// All of `out`, written through the caches.
    pub fn new(out: MatMut<'_, T>) -> Self {
        Self { start: out.as_ptr_mut(), row: out.row_stride(), column: out.col_stride(), stream: false }
    }

    /// Whether cache lines of entries, 16 (f32) or 8 (f64) from a multiple of as many on, are cache lines of memory.
    pub fn is_aligned(self) -> bool {
        let run = match (self.row, self.column) {
            (1, column) => column,
            (row, 1) => row,
            _ => return false,
        };
        (self.start as usize).is_multiple_of(64) && run.unsigned_abs().is_multiple_of(line::<T>())
    }

    /// The transposed matrix.
    pub fn transposed(self) -> Self {
        Self { row: self.column, column: self.row, ..self }
    }

    /// The matrix from entry (i, j) on.
    ///
    /// # Safety
    /// - The entry exists.
    #[inline(always)]
    pub unsafe fn from(self, i: usize, j: usize) -> Self {
        // SAFETY: the caller's word.
        Self { start: unsafe { self.at(i, j) }, ..self }
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

    /// Whether blocks are written in cache lines: rows or columns are contiguous.
    #[inline(always)]
    pub fn has_lines(self) -> bool {
        self.row == 1 || self.column == 1
    }

    /// Writes a block held in registers, where a line is one vector: row r is sample j + r, its lanes samples i and on.
    ///
    /// # Safety
    /// - The destination has lines, the entries exist and nobody else accesses them; if they are streamed, their lines are aligned.
    #[inline(always)]
    pub unsafe fn put_rows<S: Lanes>(self, s: S, block: &[T::Vector<S>], (i, j): (usize, usize)) {
        let mut rows = [block[0]; LINE];
        let rows = &mut rows[..block.len()];
        rows.copy_from_slice(block);
        // SAFETY: the same contract.
        unsafe {
            if self.row != 1 {
                T::vtranspose(s, rows);
            }
            let (at, stride) = (self.at(i, j), if self.row == 1 { self.column } else { self.row });
            // Two loops, because one that asks at each row is not unrolled.
            if self.stream {
                for r in 0..rows.len() {
                    T::vstream(s, at.offset(r as isize * stride), rows[r]);
                }
            } else {
                for r in 0..rows.len() {
                    T::vstore(s, at.offset(r as isize * stride), rows[r]);
                }
            }
        }
    }

    /// Writes a block from memory; entry (i, j) of it lies at `j * line + i`.
    ///
    /// # Safety
    /// - The block is readable.
    /// - The destination has lines, the entries exist and nobody else accesses them; if they are streamed, their lines are aligned.
    #[inline(always)]
    pub unsafe fn put_block<S: Lanes>(self, s: S, block: *const T, (i, j): (usize, usize)) {
        let (line, lanes) = (line::<T>(), T::lanes::<S>());
        // SAFETY: the same contract; squares of vectors make up a block.
        unsafe {
            if self.row == 1 {
                return store_lines(s, block, self.at(i, j), self.column, self.stream);
            }
            let mut turned: LineBlock<T> = [const { MaybeUninit::uninit() }; _];
            let turned = turned.as_mut_ptr().cast::<T>();
            for q in (0..line).step_by(lanes) {
                for v in (0..line).step_by(lanes) {
                    let mut rows = [T::vsplat(s, T::ZERO); LINE];
                    let rows = &mut rows[..lanes];
                    for r in 0..lanes {
                        rows[r] = T::vload(s, block.add((q + r) * line + v));
                    }
                    T::vtranspose(s, rows);
                    for r in 0..lanes {
                        T::vstore(s, turned.add((v + r) * line + q), rows[r]);
                    }
                }
            }
            store_lines(s, turned, self.at(i, j), self.row, self.stream);
        }
    }
}

/// Stores the lines of a block, each `stride` after the one before, whole: write-combining buffers would give up half-filled ones.
///
/// # Safety
/// - The block is readable; all lines are writable, and aligned to cache lines if `stream`.
#[inline(always)]
unsafe fn store_lines<T: Scalar, S: Lanes>(s: S, block: *const T, to: *mut T, stride: isize, stream: bool) {
    let line = line::<T>();
    for r in 0..line {
        for v in (0..line).step_by(T::lanes::<S>()) {
            // SAFETY: the same contract.
            unsafe {
                let (to, k) = (to.offset(r as isize * stride).add(v), T::vload(s, block.add(r * line + v)));
                if stream { T::vstream(s, to, k) } else { T::vstore(s, to, k) }
            }
        }
    }
}

/// Orders streamed entries before whatever tells other threads that they are there.
pub(super) struct Fence;

impl Kernel for Fence {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        s.fence();
    }
}
