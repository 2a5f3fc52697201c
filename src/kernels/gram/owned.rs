//! A Gram matrix that owns its memory, in huge pages where the system has them.

use std::alloc::{Layout, alloc, dealloc};
use std::ptr::NonNull;

use faer::{MatMut, MatRef, Par};

use super::arccos::ArcCosine;
use super::dense::{Form, fill};
use super::samples::Samples;
use super::store::{Destination, line};
use crate::simd::{Level, Scalar};
use crate::{Error, Result};

/// What a huge page takes on most systems. Writing to fresh memory in 4 KB pages takes several times as long as the kernel.
const HUGE_PAGE: usize = 2 << 20;

/// An N x N matrix, column-major, each column aligned to a cache line.
#[derive(Debug)]
pub struct GramMatrix<T> {
    start: NonNull<T>,
    layout: Layout,
    samples: usize,
    stride: usize,
}

// SAFETY: it owns its memory as a `Vec<T>` would.
unsafe impl<T: Send> Send for GramMatrix<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for GramMatrix<T> {}

impl<T: Scalar> GramMatrix<T> {
    /// Memory for `samples` x `samples` values, not yet written.
    fn reserve(samples: usize) -> Result<Self> {
        let bytes = (samples.next_multiple_of(line::<T>()) as u128 * samples as u128) * size_of::<T>() as u128;
        let refused = || Error::Memory { what: "the Gram matrix", bytes };
        let size = usize::try_from(bytes).map_err(|_| refused())?;
        let align = if size < HUGE_PAGE { 64 } else { HUGE_PAGE };
        let layout = Layout::from_size_align(size.max(1), align).map_err(|_| refused())?;
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { alloc(layout) }).ok_or_else(refused)?;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if align == HUGE_PAGE {
            // SAFETY: the range is ours, and the advice does not change what it holds. A refusal costs speed only.
            unsafe { libc::madvise(start.as_ptr().cast(), size, libc::MADV_HUGEPAGE) };
        }
        Ok(Self { start: start.cast(), layout, samples, stride: samples.next_multiple_of(line::<T>()) })
    }

    /// The matrix.
    pub fn as_ref(&self) -> MatRef<'_, T> {
        // SAFETY: N columns of N values, `stride` apart, all written by `gram`, borrowed as long as self.
        unsafe { MatRef::from_raw_parts(self.start.as_ptr(), self.samples, self.samples, 1, self.stride as isize) }
    }

    /// The matrix, to be changed.
    pub fn as_mut(&mut self) -> MatMut<'_, T> {
        // SAFETY: as above, borrowed mutably.
        unsafe { MatMut::from_raw_parts_mut(self.start.as_ptr(), self.samples, self.samples, 1, self.stride as isize) }
    }
}

impl<T> Drop for GramMatrix<T> {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.start.as_ptr().cast(), self.layout) }
    }
}

/// See [`super::gram`].
pub(in crate::kernels) fn owned<T: ArcCosine>(level: Level, z: MatRef<'_, T>, par: Par) -> Result<GramMatrix<T>> {
    let matrix = GramMatrix::<T>::reserve(z.nrows())?;
    let samples = Samples::new(level, "the samples", z, par)?;
    let to = Destination { start: matrix.start.as_ptr(), row: 1, column: matrix.stride as isize, stream: false };
    fill(level, Form::Both, to, &samples, &samples, None, par);
    Ok(matrix)
}
