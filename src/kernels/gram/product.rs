//! Products with the kernel that never form it.

use std::ops::Range;

use faer::{Mat, MatMut, MatRef, Par};

use super::dense::check_rows;
use super::reference;
use super::samples::check_finite;
use crate::Result;
use crate::kernels::panels::check_shape;
use crate::simd::{Level, Real};

/// The kernel between two sets of samples (or one and itself), prepared once and applied to any number of matrices.
///
/// Holds the normalised samples: memory O((N1 + N2) D), whatever the number of products.
#[derive(Debug, Clone)]
pub struct KernelProduct<T> {
    left: Mat<T>,
    right: Option<Mat<T>>,
}

/// Buffers of [`KernelProduct`]; grows to what a product needs and is kept for the next.
#[derive(Debug, Clone)]
pub struct ProductWorkspace<T> {
    tiles: Vec<T>,
}

impl<T: Real> ProductWorkspace<T> {
    /// Buffers for as many workers as `par` asks for.
    pub fn new(par: Par) -> Self {
        let _ = par;
        Self { tiles: Vec::new() }
    }
}

impl<T: Real> KernelProduct<T> {
    /// The Gram matrix of the rows of `z` (N x D).
    ///
    /// # Errors
    /// [`crate::Error::NotFinite`] if `z` holds a NaN or an infinity, [`crate::Error::Memory`] if there is no room for a copy.
    pub fn symmetric(level: Level, z: MatRef<'_, T>) -> Result<Self> {
        let _ = level;
        check_finite("the samples", z)?;
        Ok(Self { left: z.to_owned(), right: None })
    }

    /// The kernel of the rows of `z1` (N1 x D) with those of `z2` (N2 x D), N1 x N2.
    ///
    /// # Errors
    /// As for [`KernelProduct::symmetric`], and [`crate::Error::Shape`] if the samples differ in dimension.
    pub fn cross(level: Level, z1: MatRef<'_, T>, z2: MatRef<'_, T>) -> Result<Self> {
        let _ = level;
        check_shape("the second samples", z2.nrows(), z2.ncols(), z2.nrows(), z1.ncols())?;
        check_finite("the first samples", z1)?;
        check_finite("the second samples", z2)?;
        Ok(Self { left: z1.to_owned(), right: Some(z2.to_owned()) })
    }

    /// Number of rows of the kernel matrix, N1.
    pub fn nrows(&self) -> usize {
        self.left.nrows()
    }

    /// Number of columns of the kernel matrix, N2.
    pub fn ncols(&self) -> usize {
        self.right.as_ref().unwrap_or(&self.left).nrows()
    }

    /// `out = K v`, with `v` N2 x c and `out` N1 x c, any strides. The result does not depend on the number of workers.
    ///
    /// # Errors
    /// [`crate::Error::Shape`] if the shapes do not fit, [`crate::Error::NotFinite`] if `v` holds a NaN or an infinity.
    pub fn apply_into(&self, out: MatMut<'_, T>, v: MatRef<'_, T>, workspace: &mut ProductWorkspace<T>) -> Result<()> {
        self.apply_rows_into(out, v, 0..self.nrows(), workspace)
    }

    /// Rows `rows` of `K v` into `out` (`rows.len()` x c).
    ///
    /// # Errors
    /// As for [`KernelProduct::apply_into`], and [`crate::Error::Setting`] if the range does not lie within the rows.
    pub fn apply_rows_into(
        &self,
        mut out: MatMut<'_, T>,
        v: MatRef<'_, T>,
        rows: Range<usize>,
        workspace: &mut ProductWorkspace<T>,
    ) -> Result<()> {
        check_rows(&rows, self.nrows())?;
        check_shape("the vectors", v.nrows(), v.ncols(), self.ncols(), v.ncols())?;
        check_shape("the output", out.nrows(), out.ncols(), rows.len(), v.ncols())?;
        check_finite("the vectors", v)?;
        workspace.tiles.clear();
        let right = self.right.as_ref().unwrap_or(&self.left);
        let k = reference::cross_gram(self.left.as_ref().subrows(rows.start, rows.len()), right.as_ref());
        for i in 0..rows.len() {
            for c in 0..v.ncols() {
                out[(i, c)] = T::from_f64((0..self.ncols()).map(|j| k[(i, j)] * v[(j, c)].to_f64()).sum());
            }
        }
        Ok(())
    }
}
