//! Kernel regression at any iteration, by eigenvectors of the Gram matrix, or, where it is too large to decompose, by its Ritz
//! vectors in the Krylov space of the labels.

use faer::linalg::evd::ComputeEigenvectors;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};

use crate::checks::check_finite;
use crate::kernels::check_shape;
use crate::regression::early_stopping::{NEVER, Stop, StoppingRule};
use crate::regression::krylov::{krylov_space, rayleigh_ritz};
use crate::regression::operator::{STEP_SAFETY, SymmetricOperator};
use crate::regression::spectrum::{Spectrum, eigen, growth, shrinkage};
use crate::simd::foreign;
use crate::{Error, Result};

/// Kernel regression at any iteration, by the eigenvectors of the Gram matrix:
/// `gamma(tau) = V diag((1 - (1 - eta lambda)^tau) / lambda) V^T Y`, exact for eigenvalues that vanish.
pub struct ClosedForm {
    /// Eigenvalues of `K`, not over `N`; or Ritz values, of which there are fewer.
    values: Vec<f64>,
    /// Their vectors, in columns.
    vectors: Mat<f64>,
    /// `V^T Y`, as many rows as there are values.
    projected: Mat<f64>,
    /// Squared norms of its rows.
    energies: Vec<f64>,
    spectrum: Spectrum,
    /// Last iteration that is exact to rounding, or nearly so.
    farthest: u64,
    par: Par,
}

/// Test samples in the eigenvectors' coordinates, for predictions at many iterations: see [`ClosedForm::predictor`].
pub struct Predictor {
    rotated: Mat<f64>,
}

impl ClosedForm {
    /// Decomposes `gram` (`N` x `N`; the lower triangle is read) for regression of `labels` (`N` x `d`). Time is of order `N^3`
    /// on one thread, memory five matrices of the size of `gram`; `par` is for the products.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Empty`], [`Error::NotFinite`], and [`Error::Model`] if the eigenvalues do not converge.
    pub fn new(gram: MatRef<'_, f64>, labels: MatRef<'_, f64>, par: Par) -> Result<Self> {
        check_shape("the labels", labels.nrows(), labels.ncols(), gram.nrows(), labels.ncols())?;
        check_finite("the labels", labels)?;
        let (mut values, vectors) = eigen(gram, ComputeEigenvectors::Yes)?;
        // A kernel matrix has no negative eigenvalues; rounding makes some.
        values.iter_mut().for_each(|value| *value = value.max(0.0));
        let mut projected = Mat::zeros(gram.nrows(), labels.ncols());
        foreign(par, || matmul(projected.as_mut(), Accum::Replace, vectors.transpose(), labels, 1.0, par));
        let scaled: Vec<f64> = values.iter().map(|value| value / values.len() as f64).collect();
        let spectrum = Spectrum::from_eigenvalues(&scaled)?;
        Ok(Self { values, vectors, energies: energies(projected.as_ref()), projected, spectrum, farthest: NEVER, par })
    }

    /// The same from products with the Gram matrix alone, for any `N`: the labels and what `dimension / d` products make of
    /// them span a space in which the regression is solved exactly, and the `spectrum` of `K/N` is given, as
    /// [`super::quadrature`] finds it.
    ///
    /// With `k = dimension / d` products the first `k` iterations are exact, and the error after `tau` is of order
    /// `exp(-k^2/tau)`: what a polynomial of degree `k` leaves of `(1 - x)^tau` on \[0, 1\]. Time is `dimension` products with a
    /// vector and `N dimension^2` multiplications, memory `3 N dimension` numbers.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Empty`], [`Error::NotFinite`], and what the operator returns.
    pub fn in_krylov_space(
        operator: &mut (impl SymmetricOperator + ?Sized),
        labels: MatRef<'_, f64>,
        dimension: usize,
        spectrum: Spectrum,
        par: Par,
    ) -> Result<Self> {
        let n = operator.dimension();
        check_shape("the labels", labels.nrows(), labels.ncols(), n, labels.ncols())?;
        check_finite("the labels", labels)?;
        let space = krylov_space(operator, labels.to_owned(), dimension.max(labels.ncols()), par)?;
        let used = space.basis.ncols();
        if used == 0 {
            return Err(Error::Empty { what: "the labels, all of which are zero,", unit: "value that is not" });
        }
        let (mut values, rotation) = rayleigh_ritz(space.basis.as_ref(), space.images.as_ref(), par)?;
        drop(space.images);
        values.iter_mut().for_each(|value| *value = value.max(0.0));
        let mut vectors = Mat::zeros(n, used);
        foreign(par, || matmul(vectors.as_mut(), Accum::Replace, space.basis.as_ref(), rotation.as_ref(), 1.0, par));
        let mut projected = Mat::zeros(used, labels.ncols());
        foreign(par, || matmul(projected.as_mut(), Accum::Replace, vectors.transpose(), labels, 1.0, par));
        // A space of as many dimensions as samples is all of it.
        let products = (used / labels.ncols()) as u64;
        let farthest = if used == n { NEVER } else { products * products };
        Ok(Self { values, vectors, energies: energies(projected.as_ref()), projected, spectrum, farthest, par })
    }

    /// The spectrum of `K/N`, for the stopping rule.
    pub fn spectrum(&self) -> &Spectrum {
        &self.spectrum
    }

    /// The default step size, `0.95 / lambda_max`.
    ///
    /// # Errors
    /// [`Error::Model`] if the kernel is zero.
    pub fn default_step(&self) -> Result<f64> {
        let largest = self.values.iter().fold(0.0, |a: f64, &b| a.max(b));
        if largest > 0.0 {
            Ok(STEP_SAFETY / largest)
        } else {
            Err(Error::Model("the kernel matrix is zero; give samples that are not all zero".into()))
        }
    }

    /// The last iteration to be believed: 2^53 for a whole decomposition, the square of the number of products for a Krylov
    /// space.
    pub fn farthest(&self) -> u64 {
        self.farthest
    }

    /// Where `rule` stops this regression with steps of size `step` (`eta`).
    ///
    /// # Errors
    /// As for [`StoppingRule::stop`].
    pub fn stop(&self, rule: StoppingRule, step: f64) -> Result<Stop> {
        let (samples, outputs) = (self.spectrum.dimension() as f64, self.projected.ncols());
        rule.stop(&self.spectrum, step * samples, outputs, |tau| self.believed(step, tau))
    }

    /// [`ClosedForm::residual`], or NaN for an iteration that is not to be believed.
    pub(crate) fn believed(&self, step: f64, iterations: u64) -> f64 {
        if iterations <= self.farthest { self.residual(step, iterations) } else { f64::NAN }
    }

    /// Sum of the squared residuals after `iterations` steps of size `step` (`eta`).
    pub fn residual(&self, step: f64, iterations: u64) -> f64 {
        let along = |(&value, &energy): (&f64, &f64)| shrinkage(step * value, iterations).powi(2) * energy;
        self.values.iter().zip(&self.energies).map(along).sum()
    }

    /// Sum of the squared residuals of one output.
    ///
    /// # Panics
    /// If there is no such output.
    pub fn residual_of(&self, output: usize, step: f64, iterations: u64) -> f64 {
        let along =
            |(i, &value): (usize, &f64)| (shrinkage(step * value, iterations) * self.projected[(i, output)]).powi(2);
        self.values.iter().enumerate().map(along).sum()
    }

    /// `factor(eigenvalue)` times the labels' coordinates.
    fn scaled(&self, factor: impl Fn(f64) -> f64) -> Mat<f64> {
        let factors: Vec<f64> = self.values.iter().map(|&value| factor(value)).collect();
        Mat::from_fn(self.projected.nrows(), self.projected.ncols(), |i, j| factors[i] * self.projected[(i, j)])
    }

    fn times(&self, left: MatRef<'_, f64>, right: &Mat<f64>) -> Mat<f64> {
        let mut out = Mat::zeros(left.nrows(), right.ncols());
        foreign(self.par, || matmul(out.as_mut(), Accum::Replace, left, right.as_ref(), 1.0, self.par));
        out
    }

    /// The coefficients `gamma`, `N` x `d`, after `iterations` steps of size `step`.
    pub fn coefficients(&self, step: f64, iterations: u64) -> Mat<f64> {
        self.times(self.vectors.as_ref(), &self.scaled(|value| step * growth(step * value, iterations)))
    }

    /// The fitted values at the samples, `N` x `d`, after `iterations` steps of size `step`.
    pub fn fitted(&self, step: f64, iterations: u64) -> Mat<f64> {
        self.times(self.vectors.as_ref(), &self.scaled(|value| step * value * growth(step * value, iterations)))
    }

    /// Prepares predictions from the kernel `cross` (`M` x `N`) of test samples with the samples.
    ///
    /// # Errors
    /// [`Error::Shape`] if `cross` has not `N` columns.
    pub fn predictor(&self, cross: MatRef<'_, f64>) -> Result<Predictor> {
        check_shape("the cross kernel", cross.nrows(), cross.ncols(), cross.nrows(), self.vectors.nrows())?;
        Ok(Predictor { rotated: self.times(cross, &self.vectors) })
    }

    /// Predictions (`M` x `d`) after `iterations` steps of size `step`.
    pub fn predict(&self, predictor: &Predictor, step: f64, iterations: u64) -> Mat<f64> {
        self.times(predictor.rotated.as_ref(), &self.scaled(|value| step * growth(step * value, iterations)))
    }
}

fn energies(projected: MatRef<'_, f64>) -> Vec<f64> {
    projected.row_iter().map(|row| row.iter().map(|x| x * x).sum()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::gram::{cross_gram_into, gram};
    use crate::regression::operator::MatrixFree;

    fn problem(n: usize) -> (Mat<f64>, Mat<f64>) {
        let wave = |i: usize, k: usize, speed: f64| ((i * 11 + k * 29) as f64 * speed).sin();
        (Mat::from_fn(n, 3, |i, k| wave(i, k, 0.61)), Mat::from_fn(n, 2, |i, k| wave(i, k, 0.23)))
    }

    #[test]
    fn a_krylov_space_of_the_labels_follows_the_whole_decomposition() {
        let (z, y) = problem(150);
        let (test, _) = problem(85);
        let k = gram(z.as_ref(), Par::Seq).unwrap();
        let whole = ClosedForm::new(k.as_ref(), y.as_ref(), Par::Seq).unwrap();
        let mut cross = Mat::zeros(85, 150);
        cross_gram_into(cross.as_mut(), test.as_ref(), z.as_ref(), Par::Seq).unwrap();
        let spectrum = whole.spectrum().clone();
        let krylov = |dimension, par| {
            let mut operator = MatrixFree::new(z.as_ref(), par).unwrap();
            ClosedForm::in_krylov_space(&mut operator, y.as_ref(), dimension, spectrum.clone(), par).unwrap()
        };
        let part = krylov(40, Par::Seq);
        assert_eq!(part.coefficients(0.1, 9), krylov(40, Par::rayon(3)).coefficients(0.1, 9));
        let step = whole.default_step().unwrap();
        assert!((part.default_step().unwrap() / step - 1.0).abs() < 1e-6);
        let at = |form: &ClosedForm, tau| form.predict(&form.predictor(cross.as_ref()).unwrap(), step, tau);
        // Twenty products: exact for twenty iterations, close for as many as their square.
        for (tau, tolerance) in [(1, 1e-12), (19, 1e-11), (100, 1e-6), (400, 1e-3)] {
            let (found, wanted) = (at(&part, tau), at(&whole, tau));
            assert!((&found - &wanted).norm_max() < tolerance * wanted.norm_max(), "{tau}");
            let (found, wanted) = (part.residual(step, tau), whole.residual(step, tau));
            assert!((found / wanted - 1.0).abs() < tolerance, "{tau} {found} {wanted}");
            assert!((part.fitted(step, tau) - whole.fitted(step, tau)).norm_max() < tolerance * wanted.sqrt());
        }
        // The whole space, and labels that leave nothing to regress.
        let all = krylov(150, Par::Seq);
        assert!((at(&all, 100_000) - at(&whole, 100_000)).norm_max() < 1e-8);
        let mut operator = MatrixFree::new(z.as_ref(), Par::Seq).unwrap();
        let none = Mat::zeros(150, 1);
        let zero = ClosedForm::in_krylov_space(&mut operator, none.as_ref(), 4, spectrum.clone(), Par::Seq);
        assert!(matches!(zero, Err(Error::Empty { .. })));
    }

    #[test]
    fn repeated_samples_keep_the_closed_form_exact() {
        // Two equal rows give an eigenvalue 0, along which the coefficients grow by eta Y in each step.
        let z = Mat::from_fn(2, 2, |_, k| 1.0 + k as f64);
        let y = Mat::from_fn(2, 1, |i, _| if i == 0 { 1.0 } else { -1.0 });
        let k = gram(z.as_ref(), Par::Seq).unwrap();
        let closed = ClosedForm::new(k.as_ref(), y.as_ref(), Par::Seq).unwrap();
        let gamma = closed.coefficients(0.1, 1000);
        assert!((gamma[(0, 0)] - 100.0).abs() < 1e-9 && (gamma[(1, 0)] + 100.0).abs() < 1e-9, "{gamma:?}");
    }
}
