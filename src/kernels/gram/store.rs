//! Where finished entries go, a cache line at a time.

use std::mem::MaybeUninit;

use faer::MatMut;

use super::tile::line;
use crate::simd::{Kernel, Lanes, Real};

/// The most values in a cache line.
const LINE: usize = 16;

/// A matrix to be written: entry (i, j) lies at `start + i * row + j * column`.
#[derive(Clone, Copy)]
pub(super) struct Place<T> {
    pub start: *mut T,
    pub row: isize,
    pub column: isize,
    /// Past the caches; only where aligned.
    pub stream: bool,
}

// SAFETY: tasks write disjoint entries through copies of it, which is the contract of every write.
unsafe impl<T: Send> Send for Place<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Place<T> {}

/// A block of entries, aligned to cache lines; entry (i, j) at `j * line + i`.
#[repr(C, align(64))]
pub(super) struct Run<T>([MaybeUninit<T>; LINE * LINE]);

impl<T: Real> Run<T> {
    /// A block not yet filled.
    #[inline(always)]
    pub fn new() -> Self {
        Self([MaybeUninit::uninit(); LINE * LINE])
    }

    #[inline(always)]
    fn row(&mut self, j: usize) -> *mut T {
        assert!((j + 1) * line::<T>() <= LINE * LINE);
        // SAFETY: row j lies within the block.
        unsafe { self.0.as_mut_ptr().cast::<T>().add(j * line::<T>()) }
    }

    /// Sets the rows from `j` on.
    ///
    /// # Safety
    /// - V vectors make up a line.
    #[inline(always)]
    pub unsafe fn fill<S: Lanes, const R: usize, const V: usize>(
        &mut self,
        s: S,
        j: usize,
        k: &[[T::Vector<S>; V]; R],
    ) {
        for r in 0..R {
            for v in 0..V {
                // SAFETY: vector v of row j + r, which exists.
                unsafe { T::vstore(s, self.row(j + r).add(v * T::lanes::<S>()), k[r][v]) };
            }
        }
    }

    /// Entry (i, j) of a filled block.
    ///
    /// # Safety
    /// - All rows have been filled.
    #[inline(always)]
    pub unsafe fn get(&self, i: usize, j: usize) -> T {
        // SAFETY: filled, by the caller's word.
        unsafe { self.0[j * line::<T>() + i].assume_init() }
    }
}

impl<T: Real> Place<T> {
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

    /// Writes a block held in registers: row r is sample j + r, its lanes samples i and on.
    ///
    /// # Safety
    /// - The entries exist and nobody else accesses them; if they are streamed, their lines are aligned.
    /// - A line is one vector, and R of them a block.
    #[inline(always)]
    pub unsafe fn put<S: Lanes, const R: usize, const V: usize>(
        self,
        s: S,
        k: &[[T::Vector<S>; V]; R],
        (i, j): (usize, usize),
    ) {
        // SAFETY: the same contract.
        unsafe {
            if self.row == 1 {
                let mut rows = [k[0][0]; R];
                for r in 0..R {
                    rows[r] = k[r][0];
                }
                store_rows(s, &rows, self.at(i, j), self.column, self.stream);
            } else if self.column == 1 {
                let mut rows = [k[0][0]; R];
                for r in 0..R {
                    rows[r] = k[r][0];
                }
                T::vtranspose(s, &mut rows);
                store_rows(s, &rows, self.at(i, j), self.row, self.stream);
            } else {
                let mut buffer = Run::new();
                buffer.fill(s, 0, k);
                self.scatter(&buffer, (i, j));
            }
        }
    }

    /// Writes a filled block.
    ///
    /// # Safety
    /// - The entries exist and nobody else accesses them; if they are streamed, their lines are aligned.
    #[inline(always)]
    pub unsafe fn put_block<S: Lanes>(self, s: S, block: &mut Run<T>, (i, j): (usize, usize)) {
        let (line, lanes) = (line::<T>(), T::lanes::<S>());
        // SAFETY: the same contract; vectors and squares of them make up a block.
        unsafe {
            if self.row == 1 {
                store_block(s, block, self.at(i, j), self.column, self.stream);
            } else if self.column == 1 {
                let mut turned = Run::<T>::new();
                for q in (0..line).step_by(lanes) {
                    for v in (0..line).step_by(lanes) {
                        let mut rows = [T::vsplat(s, T::ZERO); LINE];
                        let rows = &mut rows[..lanes];
                        for r in 0..lanes {
                            rows[r] = T::vload(s, block.row(q + r).add(v));
                        }
                        T::vtranspose(s, rows);
                        for r in 0..lanes {
                            T::vstore(s, turned.row(v + r).add(q), rows[r]);
                        }
                    }
                }
                store_block(s, &mut turned, self.at(i, j), self.row, self.stream);
            } else {
                self.scatter(block, (i, j));
            }
        }
    }

    /// Writes a filled block value by value.
    ///
    /// # Safety
    /// - The entries exist and nobody else accesses them.
    unsafe fn scatter(self, block: &Run<T>, (i, j): (usize, usize)) {
        for c in 0..line::<T>() {
            for r in 0..line::<T>() {
                // SAFETY: the caller's contract.
                unsafe { *self.at(i + r, j + c) = block.get(r, c) };
            }
        }
    }
}

/// Stores `rows`, each `stride` after the one before.
///
/// # Safety
/// - All are writable, and aligned to their size if `stream`.
#[inline(always)]
unsafe fn store_rows<T: Real, S: Lanes, const R: usize>(
    s: S,
    rows: &[T::Vector<S>; R],
    to: *mut T,
    stride: isize,
    stream: bool,
) {
    // SAFETY: the same contract.
    unsafe {
        if stream {
            for r in 0..R {
                T::vstream(s, to.offset(r as isize * stride), rows[r]);
            }
        } else {
            for r in 0..R {
                T::vstore(s, to.offset(r as isize * stride), rows[r]);
            }
        }
    }
}

/// Stores the rows of a filled block, each `stride` after the one before, in whole cache lines: write-combining buffers would
/// give up half-filled ones.
///
/// # Safety
/// - All are writable, and aligned to cache lines if `stream`.
#[inline(always)]
unsafe fn store_block<T: Real, S: Lanes>(s: S, block: &mut Run<T>, to: *mut T, stride: isize, stream: bool) {
    let line = line::<T>();
    for r in 0..line {
        for v in (0..line).step_by(T::lanes::<S>()) {
            // SAFETY: the same contract; the rows of the block are filled.
            unsafe {
                let (to, k) = (to.offset(r as isize * stride).add(v), T::vload(s, block.row(r).add(v)));
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
