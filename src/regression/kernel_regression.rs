//! Kernel regression with the limit kernel: what the network becomes at infinite width (HRX sections 3 and 4).
//!
//! Gradient descent on `1/2 sum |f - y|^2` from zero: `gamma <- gamma - eta (K gamma - Y)`, `f(z) = sum_l K(z, z_l) gamma_l`.
//! [`KernelRegression`] iterates, with the Gram matrix in memory or recomputed in every product;
//! [`ClosedForm`](super::closed_form::ClosedForm) jumps to any iteration.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};

use crate::checks::check_finite;
use crate::diffusion::denoiser::Denoiser;
use crate::diffusion::process::ForwardProcess;
use crate::kernels::Real;
use crate::kernels::gram::{GramMatrix, KernelProduct, ProductWorkspace, gram};
use crate::kernels::{Panels, check_shape};
use crate::regression::operator::{MatrixFree, STEP_SAFETY, largest_eigenvalue};
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
    ///
    /// # Errors
    /// [`Error::Shape`] if the samples do not have one column more than the labels.
    pub fn denoiser<'a>(&'a self, process: &'a ForwardProcess) -> Result<impl Denoiser<T> + 'a> {
        let Self { samples, coefficients, par, .. } = self;
        check_shape("the samples", samples.nrows(), samples.ncols(), coefficients.nrows(), coefficients.ncols() + 1)?;
        Ok(KernelDenoiser { process, samples, coefficients: coefficients.clone(), par: *par })
    }
}

/// `K(z, samples) coefficients`, matrix-free: `z` is `M` x `D`, `samples` `N` x `D`, `coefficients` `N` x `d`.
///
/// # Errors
/// [`Error::Shape`], [`Error::NotFinite`].
pub(crate) fn predict<T: Real>(
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
struct KernelDenoiser<'a, T> {
    process: &'a ForwardProcess,
    samples: &'a Mat<T>,
    coefficients: Mat<T>,
    par: Par,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diffusion::process::Schedule;
    use crate::kernels::gram::cross_gram_into;
    use crate::regression::closed_form::ClosedForm;
    use crate::regression::spectrum::Spectrum;

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
        fit.denoiser(&process).unwrap().denoise_into(&mut out, &x, 1.25).unwrap();
        let at = Mat::from_fn(1, 3, |_, k| [x.get(66, 0), x.get(66, 1), 1.0][k]);
        let wanted = fit.predict(at.as_ref()).unwrap();
        assert!((out.get(66, 0) - wanted[(0, 0)]).abs() < 1e-13 && (out.get(66, 1) - wanted[(0, 1)]).abs() < 1e-13);
        assert!(out.block(1).iter().all(|lane| lane.0[6..].iter().all(|&x| x == 0.0)));
        let narrow =
            KernelRegression::new(z.as_ref(), Mat::zeros(30, 1).as_ref(), Storage::Stored, None, Par::Seq).unwrap();
        assert!(matches!(narrow.denoiser(&process).map(|_| ()), Err(Error::Shape { .. })));
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
