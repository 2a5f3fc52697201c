//! The matrix layout of the training kernels: 64 rows side by side.
//!
//! A matrix with `rows` rows and `columns` columns is cut into blocks of 64 rows; a block stores its columns one after the
//! other, each as 64 consecutive values. So a vector load takes the same column of neighbouring rows, a broadcast walks
//! consecutive addresses, and the same buffer serves kernels whose lanes are rows and kernels whose lanes are columns of the
//! product. The last block is padded with zero rows.

use faer::{MatMut, MatRef};

use crate::simd::Scalar;
use crate::{Error, Result};

/// Rows in one block of [`Panels`].
pub const PANEL: usize = 64;

/// One column of one block: 64 values, aligned to a cache line.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub struct Lane64<T>(pub [T; PANEL]);

/// A matrix in blocks of 64 rows, side by side: a block stores its columns one after the other, each as 64 consecutive values. The last
/// block is padded with zero rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Panels<T> {
    rows: usize,
    columns: usize,
    data: Vec<Lane64<T>>,
}

impl<T: Scalar> Panels<T> {
    /// A matrix of zeros.
    ///
    /// # Panics
    /// If it has more entries than can be counted, or there is no memory for them.
    pub fn zeros(rows: usize, columns: usize) -> Self {
        let lanes = entries(rows.div_ceil(PANEL), columns);
        Self { rows, columns, data: vec![Lane64([T::ZERO; PANEL]); lanes] }
    }

    /// A copy of `matrix`, converted.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if it holds a NaN or an infinity; `what` names it in the message.
    pub fn from_matrix(what: &'static str, matrix: MatRef<'_, T>) -> Result<Self> {
        let mut panels = Self::zeros(matrix.nrows(), matrix.ncols());
        for row in 0..matrix.nrows() {
            for column in 0..matrix.ncols() {
                let x = matrix[(row, column)];
                if !x.finite() {
                    return Err(Error::NotFinite { what, row, column });
                }
                panels.set(row, column, x);
            }
        }
        Ok(panels)
    }

    /// Makes this a matrix of zeros of another shape, keeping the allocation where it is large enough.
    pub fn reset(&mut self, rows: usize, columns: usize) {
        self.rows = rows;
        self.columns = columns;
        self.data.clear();
        self.data.resize(entries(rows.div_ceil(PANEL), columns), Lane64([T::ZERO; PANEL]));
    }

    /// Number of rows, without padding.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Number of blocks of 64 rows.
    pub fn blocks(&self) -> usize {
        self.rows.div_ceil(PANEL)
    }

    /// Rows of block `block` that are not padding.
    pub fn rows_in(&self, block: usize) -> usize {
        (self.rows - block * PANEL).min(PANEL)
    }

    /// Block `block`: its columns, each 64 rows.
    pub(crate) fn block(&self, block: usize) -> &[Lane64<T>] {
        &self.data[block * self.columns..(block + 1) * self.columns]
    }

    /// All blocks, one after the other.
    pub(crate) fn lanes(&self) -> &[Lane64<T>] {
        &self.data
    }

    /// All blocks, one after the other. Padding rows must stay zero.
    pub(crate) fn lanes_mut(&mut self) -> &mut [Lane64<T>] {
        &mut self.data
    }

    /// All values in the order of memory, padding rows with them: entry (i, k) is value `(i / 64 * columns + k) * 64 + i % 64`.
    pub fn values(&self) -> &[T] {
        // SAFETY: a column of a block is 64 values and nothing else.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr().cast(), self.data.len() * PANEL) }
    }

    /// All values in the order of memory, see [`Panels::values`]. Padding rows must stay zero.
    pub fn values_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.data.as_mut_ptr().cast(), self.data.len() * PANEL) }
    }

    /// Overwrites all values, padding rows with them, by what [`Panels::values`] gave; whether there are as many.
    #[must_use]
    pub(crate) fn take_values(&mut self, values: &[T]) -> bool {
        let fits = self.data.len() * PANEL == values.len();
        if fits {
            self.values_mut().copy_from_slice(values);
        }
        fits
    }

    /// The entry at `row`, `column`.
    ///
    /// # Panics
    /// If there is none.
    #[inline]
    pub fn get(&self, row: usize, column: usize) -> T {
        assert!(row < self.rows && column < self.columns, "entry outside the matrix");
        self.data[(row / PANEL) * self.columns + column].0[row % PANEL]
    }

    /// Overwrites the entry at `row`, `column`.
    ///
    /// # Panics
    /// If there is none.
    #[inline]
    pub fn set(&mut self, row: usize, column: usize, x: T) {
        assert!(row < self.rows && column < self.columns, "entry outside the matrix");
        self.data[(row / PANEL) * self.columns + column].0[row % PANEL] = x;
    }

    /// Writes the matrix into `out` (`rows` x `columns`, any strides).
    ///
    /// # Errors
    /// [`Error::Shape`] if `out` has another shape.
    pub fn write_to(&self, mut out: MatMut<'_, T>) -> Result<()> {
        check_shape("the output", out.nrows(), out.ncols(), self.rows, self.columns)?;
        for column in 0..self.columns {
            for row in 0..self.rows {
                out[(row, column)] = self.get(row, column);
            }
        }
        Ok(())
    }

    /// The matrix as a `faer` matrix.
    pub fn to_matrix(&self) -> faer::Mat<T> {
        faer::Mat::from_fn(self.rows, self.columns, |i, j| self.get(i, j))
    }

    /// Checks the shape.
    ///
    /// # Errors
    /// [`Error::Shape`], naming the matrix `what`, if it is not `rows` x `columns`.
    pub(crate) fn expect_shape(&self, what: &'static str, rows: usize, columns: usize) -> Result<()> {
        check_shape(what, self.rows, self.columns, rows, columns)
    }
}

/// The product of two sizes.
///
/// # Panics
/// If it is beyond what can be counted.
pub(crate) fn entries(rows: usize, columns: usize) -> usize {
    rows.checked_mul(columns).expect("a matrix with more entries than can be counted")
}

pub(crate) fn check_shape(
    what: &'static str,
    found_rows: usize,
    found_columns: usize,
    rows: usize,
    columns: usize,
) -> Result<()> {
    if (found_rows, found_columns) == (rows, columns) {
        Ok(())
    } else {
        Err(Error::Shape { what, rows, columns, found_rows, found_columns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faer::Mat;

    #[test]
    fn matrices_round_trip_at_every_boundary() {
        for rows in [0, 1, 63, 64, 65, 130] {
            for columns in [0, 1, 3] {
                let m = Mat::from_fn(rows, columns, |i, j| (i * 7 + j * 1009 + 1) as f32);
                let p = Panels::from_matrix("m", m.as_ref()).unwrap();
                assert_eq!(p.to_matrix(), m);
                assert!(p.lanes().iter().all(|l| (l.0.as_ptr() as usize).is_multiple_of(64)));
                let padding: f32 = p.lanes().iter().flat_map(|l| l.0).sum::<f32>()
                    - m.col_iter().flat_map(|c| c.iter().copied().collect::<Vec<_>>()).sum::<f32>();
                assert_eq!(padding, 0.0);
            }
        }
    }

    #[test]
    fn nan_is_refused_by_place() {
        let mut m = Mat::<f64>::zeros(3, 2);
        m[(2, 1)] = f64::NAN;
        let e = Panels::from_matrix("the samples", m.as_ref()).unwrap_err();
        assert_eq!(e, Error::NotFinite { what: "the samples", row: 2, column: 1 });
    }
}
