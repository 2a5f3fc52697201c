//! Kernel regression with the limit kernel: what the network becomes at infinite width (HRX sections 3 and 4).
//!
//! Gradient descent on `1/2 sum |f - y|^2` from zero: `gamma <- gamma - eta (K gamma - Y)`, `f(z) = sum_l K(z, z_l) gamma_l`.
//! [`KernelRegression`] iterates, with the Gram matrix in memory or recomputed in every product; [`ClosedForm`] jumps to any
//! iteration by the eigenvectors of `K`, or, where `K` is too large to decompose, by its Ritz vectors in the Krylov space of
//! the labels.

use faer::linalg::evd::ComputeEigenvectors;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};

use crate::checks::check_finite;
use crate::diffusion::denoiser::Denoiser;
use crate::diffusion::process::ForwardProcess;
use crate::kernels::Real;
use crate::kernels::gram::{GramMatrix, KernelProduct, ProductWorkspace, gram};
use crate::kernels::{Panels, check_shape};
use crate::regression::krylov::{krylov_space, rayleigh_ritz};
use crate::regression::operator::{MatrixFree, SymmetricOperator, largest_eigenvalue};
use crate::regression::spectrum::{Spectrum, eigen, growth, shrinkage};
use crate::simd::{Level, foreign};
use crate::{Error, Result};

/// Where the kernel matrix lives while iterating.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// In memory: `N^2` values; one product costs `N^2 d` multiplications.
    Stored,
    /// Nowhere: tiles are recomputed in every product; memory of order `N (D + d)`.
    MatrixFree,
}

#[allow(clippy::large_enum_variant)] // one per regression
enum Kernel<T> {
    Stored(GramMatrix<T>),
    MatrixFree(KernelProduct<T>, ProductWorkspace<T>),
}

/// Gradient descent on the kernel's coefficients, iteration by iteration.
pub struct KernelRegression<T> {
    samples: Mat<T>,
    labels: Mat<T>,
    kernel: Kernel<T>,
    coefficients: Mat<T>,
    fitted: Mat<T>,
    /// Whether `fitted` belongs to `coefficients`.
    fresh: bool,
    step: f64,
    iterations: u64,
    residual: f64,
    grew: Option<u64>,
    par: Par,
}

/// The share of `1/lambda_max` taken as the step size: power iteration comes from below, and any step under `2/lambda_max`
/// converges, so this leaves a factor of two.
pub const STEP_SAFETY: f64 = 0.95;

/// The default step size `eta = 0.95 / lambda_max` for the kernel of the rows of `z` (`N` x `D`), by power iteration without
/// the Gram matrix. On the loss `1/(2N) sum |f - y|^2` the step is `N` times this.
///
/// # Errors
/// As for [`largest_eigenvalue`].
pub fn default_step<T: Real>(z: MatRef<'_, T>, par: Par) -> Result<f64> {
    Ok(STEP_SAFETY / largest_eigenvalue(&mut MatrixFree::new(z, par)?)?)
}

impl<T: Real> KernelRegression<T> {
    /// Prepares regression of `labels` (`N` x `d`) on `samples` (`N` x `D`), at iteration 0. `step` is `eta`;
    /// [`default_step`] if `None`.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::Empty`], [`Error::NotFinite`] for unusable matrices, [`Error::Setting`] for a step that is not
    /// positive, [`Error::Memory`] if the Gram matrix is to be stored and does not fit.
    pub fn new(
        samples: MatRef<'_, T>,
        labels: MatRef<'_, T>,
        storage: Storage,
        step: Option<f64>,
        par: Par,
    ) -> Result<Self> {
        let (n, d) = (samples.nrows(), labels.ncols());
        if n == 0 {
            return Err(Error::Empty { what: "the samples", unit: "row" });
        }
        if d == 0 {
            return Err(Error::Empty { what: "the labels", unit: "column" });
        }
        check_shape("the labels", labels.nrows(), d, n, d)?;
        check_finite("the labels", labels)?;
        let kernel = match storage {
            Storage::Stored => Kernel::Stored(gram(samples, par)?),
            Storage::MatrixFree => {
                let product = KernelProduct::symmetric(Level::current(), samples)?;
                Kernel::MatrixFree(product, ProductWorkspace::new(par))
            }
        };
        let step = match step {
            None => default_step(samples, par)?,
            Some(step) if step.is_finite() && step > 0.0 => step,
            Some(step) => {
                let requirement = "it must be positive and finite";
                return Err(Error::Setting { name: "the step size", value: step.to_string(), requirement });
            }
        };
        let mut this = Self {
            samples: samples.to_owned(),
            labels: labels.to_owned(),
            kernel,
            coefficients: Mat::zeros(n, d),
            fitted: Mat::zeros(n, d),
            fresh: true,
            step,
            iterations: 0,
            residual: 0.0,
            grew: None,
            par,
        };
        this.residual = this.squares();
        Ok(this)
    }

    /// Makes `iterations` more steps.
    ///
    /// # Errors
    /// [`Error::Diverged`] if the residual leaves the finite numbers: the step is too large.
    pub fn advance(&mut self, iterations: u64) -> Result<()> {
        let step = T::from_f64(self.step);
        for _ in 0..iterations {
            self.refresh()?;
            let (n, d) = (self.labels.nrows(), self.labels.ncols());
            for i in 0..d {
                for j in 0..n {
                    self.coefficients[(j, i)] -= step * (self.fitted[(j, i)] - self.labels[(j, i)]);
                }
            }
            self.iterations += 1;
            self.fresh = false;
        }
        Ok(())
    }

    /// `fitted = K coefficients`, and the residual with it.
    fn refresh(&mut self) -> Result<()> {
        if self.fresh {
            return Ok(());
        }
        match &mut self.kernel {
            Kernel::Stored(gram) => {
                let gamma = self.coefficients.as_ref();
                foreign(self.par, || {
                    matmul(self.fitted.as_mut(), Accum::Replace, gram.as_ref(), gamma, T::ONE, self.par)
                });
            }
            Kernel::MatrixFree(product, workspace) => {
                let diverged = |error| match error {
                    Error::NotFinite { .. } => Error::Diverged { iteration: self.iterations as usize },
                    other => other,
                };
                let (fitted, gamma) = (self.fitted.as_mut(), self.coefficients.as_ref());
                product.apply_into(fitted, gamma, workspace).map_err(diverged)?;
            }
        }
        let residual = self.squares();
        if !residual.is_finite() {
            return Err(Error::Diverged { iteration: self.iterations as usize });
        }
        if residual > self.residual * (1.0 + 1e-6) && self.grew.is_none() {
            self.grew = Some(self.iterations);
        }
        self.residual = residual;
        self.fresh = true;
        Ok(())
    }

    fn squares(&self) -> f64 {
        let (n, d) = (self.labels.nrows(), self.labels.ncols());
        let column = |i| (0..n).map(|j| (self.fitted[(j, i)] - self.labels[(j, i)]).to_f64().powi(2)).sum::<f64>();
        (0..d).map(column).sum()
    }

    /// The fitted values at the samples, `N` x `d`.
    ///
    /// # Errors
    /// As for [`KernelRegression::advance`].
    pub fn fitted(&mut self) -> Result<MatRef<'_, T>> {
        self.refresh()?;
        Ok(self.fitted.as_ref())
    }

    /// Sum over samples and outputs of the squared residuals now; the loss is half of it.
    ///
    /// # Errors
    /// As for [`KernelRegression::advance`].
    pub fn residual(&mut self) -> Result<f64> {
        self.refresh()?;
        Ok(self.residual)
    }

    /// The first iteration after which the residual was larger than before, which a step below `2/lambda_max` never does.
    pub fn first_growth(&self) -> Option<u64> {
        self.grew
    }

    /// Iterations made.
    pub fn iterations(&self) -> u64 {
        self.iterations
    }

    /// The step size `eta`.
    pub fn step(&self) -> f64 {
        self.step
    }

    /// The coefficients `gamma`, `N` x `d`.
    pub fn coefficients(&self) -> MatRef<'_, T> {
        self.coefficients.as_ref()
    }

    /// The regression function at the rows of `z` (`M` x `D`), `M` x `d`.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::NotFinite`].
    pub fn predict(&self, z: MatRef<'_, T>) -> Result<Mat<T>> {
        predict(z, self.samples.as_ref(), self.coefficients.as_ref(), self.par)
    }

    /// The regression function as a denoiser `f(x, t)`, samples being `z = (x, t - T0)`.
    pub fn denoiser<'a>(&'a self, process: &'a ForwardProcess) -> KernelDenoiser<'a, T> {
        KernelDenoiser { process, samples: &self.samples, coefficients: self.coefficients.clone(), par: self.par }
    }
}

/// `K(z, samples) coefficients`, matrix-free: `z` is `M` x `D`, `samples` `N` x `D`, `coefficients` `N` x `d`.
///
/// # Errors
/// [`Error::Shape`], [`Error::NotFinite`].
pub fn predict<T: Real>(
    z: MatRef<'_, T>,
    samples: MatRef<'_, T>,
    coefficients: MatRef<'_, T>,
    par: Par,
) -> Result<Mat<T>> {
    let product = KernelProduct::cross(Level::current(), z, samples)?;
    let mut out = Mat::zeros(z.nrows(), coefficients.ncols());
    product.apply_into(out.as_mut(), coefficients, &mut ProductWorkspace::new(par))?;
    Ok(out)
}

/// Kernel regression at fixed coefficients as a [`Denoiser`].
#[derive(Debug, Clone)]
pub struct KernelDenoiser<'a, T> {
    process: &'a ForwardProcess,
    samples: &'a Mat<T>,
    coefficients: Mat<T>,
    par: Par,
}

impl<'a, T: Real> KernelDenoiser<'a, T> {
    /// Regression on `samples` (`N` x `d + 1`, rows `(x, t - T0)`) with `coefficients` (`N` x `d`).
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes do not fit together.
    pub fn new(process: &'a ForwardProcess, samples: &'a Mat<T>, coefficients: Mat<T>, par: Par) -> Result<Self> {
        let d = coefficients.ncols();
        check_shape("the samples", samples.nrows(), samples.ncols(), coefficients.nrows(), d + 1)?;
        Ok(Self { process, samples, coefficients, par })
    }
}

impl<T: Real> Denoiser<T> for KernelDenoiser<'_, T> {
    fn dimension(&self) -> usize {
        self.coefficients.ncols()
    }

    fn denoise_into(&mut self, out: &mut Panels<T>, x: &Panels<T>, t: f64) -> Result<()> {
        let d = self.coefficients.ncols();
        x.expect_shape("the noisy samples", x.rows(), d)?;
        out.expect_shape("the output", x.rows(), d)?;
        let time = T::from_f64(t - self.process.start());
        let z = Mat::from_fn(x.rows(), d + 1, |row, i| if i < d { x.get(row, i) } else { time });
        let f = predict(z.as_ref(), self.samples.as_ref(), self.coefficients.as_ref(), self.par)?;
        for i in 0..d {
            for row in 0..x.rows() {
                out.set(row, i, f[(row, i)]);
            }
        }
        Ok(())
    }
}

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
        Ok(Self { values, vectors, energies: energies(projected.as_ref()), projected, spectrum, par })
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
        Ok(Self { values, vectors, energies: energies(projected.as_ref()), projected, spectrum, par })
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
    use crate::diffusion::process::Schedule;
    use crate::kernels::gram::cross_gram_into;

    fn problem(n: usize) -> (Mat<f64>, Mat<f64>) {
        let wave = |i: usize, k: usize, speed: f64| ((i * 11 + k * 29) as f64 * speed).sin();
        (Mat::from_fn(n, 3, |i, k| wave(i, k, 0.61)), Mat::from_fn(n, 2, |i, k| wave(i, k, 0.23)))
    }

    fn distance(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> f64 {
        (a - b).norm_max()
    }

    #[test]
    fn stored_matrix_free_and_closed_form_agree() {
        let (z, y) = problem(70);
        let (test, _) = problem(85);
        let new = |storage| KernelRegression::new(z.as_ref(), y.as_ref(), storage, None, Par::Seq).unwrap();
        let (mut stored, mut free) = (new(Storage::Stored), new(Storage::MatrixFree));
        assert_eq!(stored.step(), free.step());
        let k = gram(z.as_ref(), Par::Seq).unwrap();
        let closed = ClosedForm::new(k.as_ref(), y.as_ref(), Par::Seq).unwrap();
        assert!((closed.default_step().unwrap() / stored.step() - 1.0).abs() < 0.02);
        let mut cross = Mat::zeros(85, 70);
        cross_gram_into(cross.as_mut(), test.as_ref(), z.as_ref(), Par::Seq).unwrap();
        let predictor = closed.predictor(cross.as_ref()).unwrap();
        let step = stored.step();
        for more in [0, 1, 9, 140] {
            stored.advance(more).unwrap();
            free.advance(more).unwrap();
            let tau = stored.iterations();
            let gamma = closed.coefficients(step, tau);
            assert!(distance(stored.coefficients(), free.coefficients()) < 1e-12 * (1.0 + gamma.norm_max()));
            assert!(distance(stored.coefficients(), gamma.as_ref()) < 1e-11 * (1.0 + gamma.norm_max()));
            assert!(distance(stored.fitted().unwrap(), closed.fitted(step, tau).as_ref()) < 1e-12);
            let predicted = closed.predict(&predictor, step, tau);
            assert!(distance(stored.predict(test.as_ref()).unwrap().as_ref(), predicted.as_ref()) < 1e-11);
            let (found, wanted) = (free.residual().unwrap(), closed.residual(step, tau));
            assert!((found / wanted - 1.0).abs() < 1e-11, "{found} {wanted}");
        }
        assert_eq!(stored.first_growth(), None);
        let exact = Spectrum::of_gram(k.as_ref()).unwrap();
        closed.spectrum().values().iter().zip(exact.values()).for_each(|(a, b)| assert!((a - b).abs() < 1e-13));
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

    #[test]
    fn too_large_a_step_is_reported() {
        let (z, y) = problem(30);
        for storage in [Storage::Stored, Storage::MatrixFree] {
            let mut wild = KernelRegression::new(z.as_ref(), y.as_ref(), storage, Some(10.0), Par::Seq).unwrap();
            wild.advance(3).unwrap();
            wild.residual().unwrap();
            assert!(wild.first_growth().is_some());
            assert!(matches!(wild.advance(5000), Err(Error::Diverged { .. })));
        }
    }

    #[test]
    fn denoisers_append_the_time() {
        let process = ForwardProcess::new(Schedule::Constant { g: 1.0 }, 0.25, 3.0).unwrap();
        let (z, y) = problem(30);
        let mut fit = KernelRegression::new(z.as_ref(), y.as_ref(), Storage::Stored, None, Par::Seq).unwrap();
        fit.advance(20).unwrap();
        let x = Panels::from_matrix("x", Mat::from_fn(70, 2, |i, k| (i * 2 + k) as f64 / 70.0).as_ref()).unwrap();
        let mut out = Panels::zeros(70, 2);
        fit.denoiser(&process).denoise_into(&mut out, &x, 1.25).unwrap();
        let at = Mat::from_fn(1, 3, |_, k| [x.get(66, 0), x.get(66, 1), 1.0][k]);
        let wanted = fit.predict(at.as_ref()).unwrap();
        assert!((out.get(66, 0) - wanted[(0, 0)]).abs() < 1e-13 && (out.get(66, 1) - wanted[(0, 1)]).abs() < 1e-13);
        assert!(out.block(1).iter().all(|lane| lane.0[6..].iter().all(|&x| x == 0.0)));
        assert!(matches!(KernelDenoiser::new(&process, &z, Mat::zeros(30, 1), Par::Seq), Err(Error::Shape { .. })));
    }

    #[test]
    fn unusable_input_is_an_error() {
        let (z, y) = problem(10);
        let new = |z: &Mat<f64>, y: &Mat<f64>, step| {
            KernelRegression::new(z.as_ref(), y.as_ref(), Storage::Stored, step, Par::Seq).map(|_| ()).unwrap_err()
        };
        assert!(matches!(new(&Mat::zeros(0, 3), &Mat::zeros(0, 2), None), Error::Empty { .. }));
        assert!(matches!(new(&z, &Mat::zeros(10, 0), None), Error::Empty { .. }));
        assert!(matches!(new(&z, &Mat::zeros(9, 2), None), Error::Shape { .. }));
        assert!(matches!(new(&z, &y, Some(0.0)), Error::Setting { .. }));
        assert!(matches!(new(&Mat::zeros(10, 3), &y, None), Error::Model(_)));
        let mut bad = y.clone();
        bad[(3, 1)] = f64::NAN;
        assert!(matches!(new(&z, &bad, None), Error::NotFinite { row: 3, column: 1, .. }));
        assert!(ClosedForm::new(Mat::zeros(3, 3).as_ref(), Mat::zeros(2, 1).as_ref(), Par::Seq).is_err());
    }
}
