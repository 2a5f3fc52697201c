//! Where tiles of the kernel go: a matrix seen as lines of neighbouring lanes.

use std::marker::PhantomData;

use faer::MatMut;

use crate::kernels::cache::streams;
use crate::kernels::{Lane64, PANEL};
use crate::simd::{Lanes, Scalar};

/// Lanes of the widest vector: 512 bits of `f32`.
const MOST_LANES: usize = 16;

/// A matrix that tasks write disjoint tiles of, in whatever order it is stored.
///
/// Lines lie apart, the lanes of a line beside each other if the matrix has a unit stride in either direction.
pub(super) struct Target<'a, T> {
    start: *mut T,
    lines: usize,
    lanes: usize,
    line_stride: isize,
    lane_stride: isize,
    streams: bool,
    owner: PhantomData<&'a mut T>,
}

// SAFETY: it writes `T`s of a borrowed matrix from other threads, as a `MatMut` split among them would.
unsafe impl<T: Send> Send for Target<'_, T> {}
// SAFETY: as above; the tiles are disjoint by the contract of `write`.
unsafe impl<T: Send> Sync for Target<'_, T> {}

impl<'a, T: Scalar> Target<'a, T> {
    /// A view of `out` and whether its lines are the columns of the matrix.
    pub fn new(out: MatMut<'a, T>) -> (Self, bool) {
        let (rows, columns) = (out.nrows(), out.ncols());
        let (row_stride, column_stride) = (out.row_stride(), out.col_stride());
        let by_columns = row_stride == 1 && column_stride != 1;
        let streams = streams::<T>(rows, columns);
        let start = out.as_ptr_mut();
        let target = if by_columns {
            Self {
                start,
                lines: columns,
                lanes: rows,
                line_stride: column_stride,
                lane_stride: row_stride,
                streams,
                owner: PhantomData,
            }
        } else {
            Self {
                start,
                lines: rows,
                lanes: columns,
                line_stride: row_stride,
                lane_stride: column_stride,
                streams,
                owner: PhantomData,
            }
        };
        (target, by_columns)
    }

    /// Writes the first `lanes` lanes of each of `values` to the lines from `line` and the lanes from `lane` on.
    ///
    /// # Safety
    /// - No other thread writes these places at the same time.
    /// - [`Lanes::fence`] is called before another thread reads them.
    ///
    /// # Panics
    /// If the tile reaches beyond the matrix.
    #[inline(always)]
    pub unsafe fn write<S: Lanes>(&self, s: S, values: &[Lane64<T>], line: usize, lane: usize, lanes: usize) {
        assert!(
            line + values.len() <= self.lines && lane + lanes <= self.lanes && lanes <= PANEL,
            "tile outside the matrix"
        );
        let width = T::lanes::<S>();
        for (n, values) in values.iter().enumerate() {
            // SAFETY: line + n and lane .. lane + lanes lie within the matrix by the assertion, and the caller keeps other
            // threads off; vectors lie within `lanes` lanes, which are at most the 64 values.
            unsafe {
                let to = self.start.offset((line + n) as isize * self.line_stride + lane as isize * self.lane_stride);
                if self.lane_stride != 1 {
                    for v in 0..lanes {
                        *to.offset(v as isize * self.lane_stride) = values.0[v];
                    }
                } else if self.streams
                    && lanes.is_multiple_of(width)
                    && (to as usize).is_multiple_of(width * size_of::<T>())
                {
                    for v in (0..lanes).step_by(width) {
                        T::vstream(s, to.add(v), T::vload(s, values.0.as_ptr().add(v)));
                    }
                } else {
                    to.copy_from_nonoverlapping(values.0.as_ptr(), lanes);
                }
            }
        }
    }
}

/// Writes the transpose of the first `lanes` lanes of up to 64 lines into `out`, one line for each lane.
///
/// The lanes of `out` beyond the number of lines are then unspecified.
///
/// # Panics
/// If there are more than 64 lines or lanes, or `out` has less than `lanes` lines rounded up to a whole vector, or `values` less
/// than `lines`.
#[inline(always)]
pub(super) fn transpose<T: Scalar, S: Lanes>(
    s: S,
    values: &[Lane64<T>],
    lines: usize,
    lanes: usize,
    out: &mut [Lane64<T>],
) {
    let width = T::lanes::<S>();
    assert!(lines.next_multiple_of(width) <= values.len() && lanes.next_multiple_of(width) <= out.len().min(PANEL));
    assert!(values.len() <= PANEL && width <= MOST_LANES);
    for line in (0..lines).step_by(width) {
        for lane in (0..lanes).step_by(width) {
            // SAFETY: lines line .. line + width and lanes lane .. lane + width exist in `values`, and the other way round in
            // `out`, by the assertions and as the width divides 64.
            unsafe {
                let mut square = [T::vsplat(s, T::ZERO); MOST_LANES];
                for n in 0..width {
                    square[n] = T::vload(s, values[line + n].0.as_ptr().add(lane));
                }
                T::vtranspose(s, &mut square[..width]);
                for n in 0..width {
                    T::vstore(s, out[lane + n].0.as_mut_ptr().add(line), square[n]);
                }
            }
        }
    }
}
