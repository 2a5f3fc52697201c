//! Symmetric matrices known only by their products, and the largest eigenvalue of one.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};

use crate::kernels::Real;
use crate::kernels::check_shape;
use crate::kernels::gram::{KernelProduct, ProductWorkspace, diagonal_into};
use crate::random::{Purpose, normal, stream};
use crate::simd::{Level, foreign};
use crate::{Error, Result};

/// A symmetric positive semidefinite matrix that can be multiplied by.
pub trait SymmetricOperator {
    /// Number of rows, `N`.
    fn dimension(&self) -> usize;

    /// `out = A v`, both `N` x `c`, column-major.
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes do not fit, [`Error::NotFinite`] if `v` is not finite.
    fn apply_into(&mut self, out: MatMut<'_, f64>, v: MatRef<'_, f64>) -> Result<()>;

    /// The trace, where it is known exactly; estimates are sharper with it.
    fn trace(&self) -> Option<f64> {
        None
    }
}

/// A matrix in memory, `N` x `N`, both triangles filled.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'a> {
    matrix: MatRef<'a, f64>,
    par: Par,
}

impl<'a> Stored<'a> {
    /// Multiplies by `matrix`.
    ///
    /// # Errors
    /// [`Error::Shape`] if it is not square.
    pub fn new(matrix: MatRef<'a, f64>, par: Par) -> Result<Self> {
        check_shape("the Gram matrix", matrix.nrows(), matrix.ncols(), matrix.nrows(), matrix.nrows())?;
        Ok(Self { matrix, par })
    }
}

impl SymmetricOperator for Stored<'_> {
    fn dimension(&self) -> usize {
        self.matrix.nrows()
    }

    fn apply_into(&mut self, out: MatMut<'_, f64>, v: MatRef<'_, f64>) -> Result<()> {
        check_shape("the vectors", v.nrows(), v.ncols(), self.dimension(), v.ncols())?;
        check_shape("the output", out.nrows(), out.ncols(), self.dimension(), v.ncols())?;
        foreign(self.par, || matmul(out, Accum::Replace, self.matrix, v, 1.0, self.par));
        Ok(())
    }

    fn trace(&self) -> Option<f64> {
        Some((0..self.dimension()).map(|i| self.matrix[(i, i)]).sum())
    }
}

/// The analytic kernel's Gram matrix of a set of samples, never formed; products run in `T`.
#[derive(Debug, Clone)]
pub struct MatrixFree<T> {
    product: KernelProduct<T>,
    workspace: ProductWorkspace<T>,
    trace: f64,
    input: Mat<T>,
    output: Mat<T>,
}

impl<T: Real> MatrixFree<T> {
    /// The Gram matrix of the rows of `z` (`N` x `D`).
    ///
    /// # Errors
    /// As for [`KernelProduct::symmetric`].
    pub fn new(z: MatRef<'_, T>, par: Par) -> Result<Self> {
        let mut diagonal = vec![T::ZERO; z.nrows()];
        diagonal_into(&mut diagonal, z)?;
        Ok(Self {
            product: KernelProduct::symmetric(Level::current(), z)?,
            workspace: ProductWorkspace::new(par),
            trace: diagonal.iter().map(|x| x.to_f64()).sum(),
            input: Mat::new(),
            output: Mat::new(),
        })
    }
}

impl<T: Real> SymmetricOperator for MatrixFree<T> {
    fn dimension(&self) -> usize {
        self.product.nrows()
    }

    fn apply_into(&mut self, mut out: MatMut<'_, f64>, v: MatRef<'_, f64>) -> Result<()> {
        let (n, c) = (self.dimension(), v.ncols());
        check_shape("the output", out.nrows(), out.ncols(), n, c)?;
        check_shape("the vectors", v.nrows(), v.ncols(), n, c)?;
        self.input.resize_with(n, c, |_, _| T::ZERO);
        self.output.resize_with(n, c, |_, _| T::ZERO);
        for j in 0..c {
            for i in 0..n {
                self.input[(i, j)] = T::from_f64(v[(i, j)]);
            }
        }
        self.product.apply_into(self.output.as_mut(), self.input.as_ref(), &mut self.workspace)?;
        for j in 0..c {
            for i in 0..n {
                out[(i, j)] = self.output[(i, j)].to_f64();
            }
        }
        Ok(())
    }

    fn trace(&self) -> Option<f64> {
        Some(self.trace)
    }
}

/// The share of `1/lambda_max` taken as the step size: power iteration comes from below, and any step under `2/lambda_max`
/// converges, so this leaves a factor of two.
pub(crate) const STEP_SAFETY: f64 = 0.95;

/// The largest eigenvalue by power iteration from a fixed vector, never above the true one; a handful of products brings it
/// within about a percent even where several eigenvalues are close.
///
/// Stops when a product raises the estimate by less than a thousandth, after 50 products at most.
///
/// # Errors
/// [`Error::Empty`] for a matrix without rows, [`Error::Model`] if it is zero, and what the operator returns.
pub fn largest_eigenvalue(operator: &mut (impl SymmetricOperator + ?Sized)) -> Result<f64> {
    let n = operator.dimension();
    if n == 0 {
        return Err(Error::Empty { what: "the kernel matrix", unit: "row" });
    }
    let mut random = stream(0, Purpose::Probes);
    let mut v = Mat::<f64>::from_fn(n, 1, |_, _| normal(&mut random));
    let mut image = Mat::<f64>::zeros(n, 1);
    let mut estimate = 0.0;
    for _ in 0..50 {
        let norm = v.col(0).iter().map(|x| x * x).sum::<f64>().sqrt();
        if norm == 0.0 || !norm.is_finite() {
            break;
        }
        v.col_mut(0).iter_mut().for_each(|x| *x /= norm);
        operator.apply_into(image.as_mut(), v.as_ref())?;
        let quotient = v.col(0).iter().zip(image.col(0).iter()).map(|(a, b)| a * b).sum::<f64>();
        let settled = (quotient - estimate).abs() <= 1e-3 * quotient.abs();
        estimate = quotient;
        if settled {
            break;
        }
        std::mem::swap(&mut v, &mut image);
    }
    if estimate > 0.0 && estimate.is_finite() {
        Ok(estimate)
    } else {
        Err(Error::Model("the kernel matrix is zero or not finite; give samples that are not all zero".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::gram::gram;

    fn samples(n: usize) -> Mat<f64> {
        Mat::from_fn(n, 3, |i, k| ((i * 7 + k * 13) as f64 * 0.37).sin() + 0.2 * k as f64)
    }

    #[test]
    fn stored_and_matrix_free_products_and_traces_agree() {
        let z = samples(40);
        let k = gram(z.as_ref(), Par::Seq).unwrap();
        let v = Mat::from_fn(40, 3, |i, j| ((i + 5 * j) as f64).cos());
        let mut stored = Stored::new(k.as_ref(), Par::Seq).unwrap();
        let mut free = MatrixFree::new(z.as_ref(), Par::Seq).unwrap();
        let (mut a, mut b) = (Mat::zeros(40, 3), Mat::zeros(40, 3));
        stored.apply_into(a.as_mut(), v.as_ref()).unwrap();
        free.apply_into(b.as_mut(), v.as_ref()).unwrap();
        assert!((&a - &b).norm_max() < 1e-12 * a.norm_max());
        assert!((stored.trace().unwrap() / free.trace().unwrap() - 1.0).abs() < 1e-14);
        assert!(matches!(free.apply_into(a.as_mut(), Mat::zeros(39, 3).as_ref()), Err(Error::Shape { .. })));
        assert!(matches!(stored.apply_into(a.as_mut(), Mat::zeros(39, 3).as_ref()), Err(Error::Shape { .. })));
    }

    #[test]
    fn the_largest_eigenvalue_is_approached_from_below() {
        let k = gram(samples(60).as_ref(), Par::Seq).unwrap();
        let exact = crate::regression::spectrum::Spectrum::of_gram(k.as_ref()).unwrap().largest() * 60.0;
        let found = largest_eigenvalue(&mut Stored::new(k.as_ref(), Par::Seq).unwrap()).unwrap();
        assert!(found <= exact * (1.0 + 1e-12) && found > 0.98 * exact, "{found} {exact}");
        let zero = Mat::<f64>::zeros(5, 5);
        assert!(largest_eigenvalue(&mut Stored::new(zero.as_ref(), Par::Seq).unwrap()).is_err());
        let none = Mat::<f64>::zeros(0, 0);
        assert!(largest_eigenvalue(&mut Stored::new(none.as_ref(), Par::Seq).unwrap()).is_err());
    }
}
