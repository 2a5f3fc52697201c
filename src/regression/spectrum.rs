//! The spectrum of a kernel matrix, and what early stopping needs of it: complexity, trace, effective degrees of freedom.
//!
//! A [`Spectrum`] is a list of eigenvalues of `K/N`, each with the number of times it counts. The exact spectrum has every
//! eigenvalue once; stochastic Lanczos quadrature ([`super::quadrature`]) stands in for it with few values of other weights.

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::{Mat, MatRef, Par};

use crate::checks::check_finite;
use crate::kernels::check_shape;
use crate::simd::foreign;
use crate::{Error, Result};

/// Eigenvalues of `K/N` with weights that add up to `N`.
#[derive(Debug, Clone, PartialEq)]
pub struct Spectrum {
    dimension: usize,
    /// Falling.
    values: Vec<f64>,
    weights: Vec<f64>,
    /// Sum of the weights before each value, and `N` at the end.
    counted: Vec<f64>,
    /// Sum of weight times value from each value on, and 0 at the end.
    rest: Vec<f64>,
}

impl Spectrum {
    /// The spectrum with the given eigenvalues of `K/N`, in any order; negative ones, which rounding makes, count as 0.
    ///
    /// # Errors
    /// [`Error::Empty`] without eigenvalues, [`Error::NotFinite`].
    pub fn from_eigenvalues(values: &[f64]) -> Result<Self> {
        let nodes: Vec<(f64, f64)> = values.iter().map(|&value| (value, 1.0)).collect();
        Self::from_nodes(nodes, values.len())
    }

    /// The spectrum of an `N` x `N` matrix that is known by nodes `(value, weight)` whose weights add up to `N`; negative
    /// values count as 0.
    ///
    /// # Errors
    /// As for [`Spectrum::from_eigenvalues`].
    pub fn from_nodes(mut nodes: Vec<(f64, f64)>, dimension: usize) -> Result<Self> {
        if nodes.is_empty() || dimension == 0 {
            return Err(Error::Empty { what: "the spectrum", unit: "eigenvalue" });
        }
        if let Some(row) = nodes.iter().position(|(value, weight)| !(value.is_finite() && weight.is_finite())) {
            return Err(Error::NotFinite { what: "the spectrum", row, column: 0 });
        }
        nodes.iter_mut().for_each(|(value, _)| *value = value.max(0.0));
        nodes.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (values, weights): (Vec<f64>, Vec<f64>) = nodes.into_iter().unzip();
        let mut counted = vec![0.0; values.len() + 1];
        let mut rest = vec![0.0; values.len() + 1];
        for i in 0..values.len() {
            counted[i + 1] = counted[i] + weights[i];
        }
        // From the smallest up, so that small eigenvalues keep their digits.
        for i in (0..values.len()).rev() {
            rest[i] = rest[i + 1] + weights[i] * values[i];
        }
        Ok(Self { dimension, values, weights, counted, rest })
    }

    /// The exact spectrum of `K/N` for a Gram matrix `K` (N x N, symmetric; the lower triangle is read). Time is of order
    /// `N^3`, memory three matrices of the size of `K`. Runs on one thread, so that the digits are the same on every machine
    /// of a kind.
    ///
    /// # Errors
    /// [`Error::Shape`] if the matrix is not square, [`Error::Empty`], [`Error::NotFinite`], and [`Error::Model`] if the
    /// eigenvalues do not converge.
    pub fn of_gram(gram: MatRef<'_, f64>) -> Result<Self> {
        let n = gram.nrows();
        let (values, _) = eigen(gram, ComputeEigenvectors::No)?;
        let scaled: Vec<f64> = values.iter().map(|value| value / n as f64).collect();
        Self::from_eigenvalues(&scaled)
    }

    /// `N`, the size of the matrix.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The eigenvalues of `K/N`, falling.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// How often each of [`Spectrum::values`] counts.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The largest eigenvalue of `K/N`; steps below `2` divided by it converge.
    pub fn largest(&self) -> f64 {
        self.values[0]
    }

    /// The trace of `K/N`.
    pub fn trace(&self) -> f64 {
        self.rest[0]
    }

    /// The sum over eigenvalues of `f(eigenvalue)`.
    pub fn sum(&self, f: impl Fn(f64) -> f64) -> f64 {
        self.values.iter().zip(&self.weights).rev().map(|(&value, &weight)| weight * f(value)).sum()
    }

    /// `sum_i min(lambda_i, level)`.
    pub fn truncated_sum(&self, level: f64) -> f64 {
        let above = self.values.partition_point(|&value| value > level);
        self.counted[above] * level + self.rest[above]
    }

    /// The local empirical Rademacher complexity `R(eps) = sqrt(1/N sum_i min(lambda_i, eps^2))` (RWY equation 6).
    pub fn complexity(&self, radius: f64) -> f64 {
        (self.truncated_sum(radius * radius).max(0.0) / self.dimension as f64).sqrt()
    }

    /// The critical radius: the smallest `eps > 0` with `R(eps) <= eps^2 / (constant sigma)` (RWY equation 7, where the
    /// constant is `2e`). In closed form: between two eigenvalues the condition is quadratic in `eps^2`. 0 if `sigma` is 0 or
    /// the kernel is.
    pub fn critical_radius(&self, constant: f64, sigma: f64) -> f64 {
        let scale = (constant * sigma).powi(2) / self.dimension as f64;
        // The condition in u = eps^2 is u^2 >= scale * truncated_sum(u), and what fulfils it is an interval up to infinity.
        let holds = |u: f64| u * u >= scale * self.truncated_sum(u);
        let above = self.values.partition_point(|&value| value > 0.0 && holds(value));
        // The root lies between values[above] (where it fails, if there is one) and values[above - 1]: so `above` eigenvalues are
        // at least the root, and u^2 = scale (counted u + rest).
        let half = 0.5 * scale * self.counted[above];
        (half + (half * half + scale * self.rest[above].max(0.0)).sqrt()).sqrt()
    }

    /// The trace of the smoother after `iterations` steps of size `step` on the loss `1/(2N) sum |f - y|^2`: the effective
    /// degrees of freedom `sum_i 1 - (1 - step lambda_i)^iterations`.
    pub fn degrees_of_freedom(&self, step: f64, iterations: u64) -> f64 {
        self.sum(|value| 1.0 - shrinkage(step * value, iterations))
    }
}

/// What the decomposition of a Gram matrix will take on this machine.
#[cfg(feature = "cli")]
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Effort {
    /// Seconds on one thread.
    pub seconds: f64,
    /// Bytes, the Gram matrix included.
    pub bytes: u128,
}

#[cfg(feature = "cli")]
impl Effort {
    /// Of [`Spectrum::of_gram`] for `n` samples, from a decomposition of 256 that is made and timed.
    ///
    /// Seconds grow like the cube, and beyond the cache half as fast again; bytes were seen to be 1.6 times the matrix.
    ///
    /// # Errors
    /// [`Error::Memory`] if there is not so much.
    pub fn of_spectrum(n: usize) -> Result<Self> {
        const TRIAL: usize = 256;
        let bytes = (n as u128).pow(2) * size_of::<f64>() as u128 * 17 / 10;
        crate::memory::check("the Gram matrix and its decomposition", bytes)?;
        let matrix = Mat::from_fn(TRIAL, TRIAL, |i, j| 1.0 / (1 + i.abs_diff(j)) as f64);
        let timed = || {
            let started = std::time::Instant::now();
            eigen(matrix.as_ref(), ComputeEigenvectors::No).map(|_| started.elapsed().as_secs_f64())
        };
        let trial = timed()?.min(timed()?);
        let slower = if n > 2048 { 1.5 } else { 1.0 };
        Ok(Self { seconds: slower * trial * (n as f64 / TRIAL as f64).powi(3), bytes })
    }
}

/// `(1 - x)^iterations`, exact for small `x` and of the right sign beyond 1.
pub(crate) fn shrinkage(x: f64, iterations: u64) -> f64 {
    let left = 1.0 - x;
    if x < 0.5 {
        (iterations as f64 * (-x).ln_1p()).exp()
    } else if left == 0.0 {
        if iterations == 0 { 1.0 } else { 0.0 }
    } else {
        let size = (iterations as f64 * left.abs().ln()).exp();
        if left < 0.0 && iterations % 2 == 1 { -size } else { size }
    }
}

/// `1 - (1 - x)^iterations` over `x`, which is `iterations` for `x -> 0`.
pub(crate) fn growth(x: f64, iterations: u64) -> f64 {
    if x == 0.0 {
        iterations as f64
    } else if x < 0.5 {
        -(iterations as f64 * (-x).ln_1p()).exp_m1() / x
    } else {
        (1.0 - shrinkage(x, iterations)) / x
    }
}

/// Eigenvalues, rising, and eigenvectors (in columns; empty if not asked for) of a symmetric matrix, whose lower triangle is
/// read. On one thread: the digits of a parallel decomposition depend on the number of threads.
pub(crate) fn eigen(matrix: MatRef<'_, f64>, vectors: ComputeEigenvectors) -> Result<(Vec<f64>, Mat<f64>)> {
    let n = matrix.nrows();
    check_shape("the Gram matrix", n, matrix.ncols(), n, n)?;
    if n == 0 {
        return Err(Error::Empty { what: "the Gram matrix", unit: "row" });
    }
    // The decomposition would return without complaint.
    check_finite("the Gram matrix", matrix)?;
    let mut values = Diag::<f64>::zeros(n);
    let size = if vectors == ComputeEigenvectors::Yes { n } else { 0 };
    let mut u = Mat::zeros(size, size);
    let mut memory = MemBuffer::new(self_adjoint_evd_scratch::<f64>(n, vectors, Par::Seq, Default::default()));
    let wanted = (size > 0).then(|| u.as_mut());
    let stack = MemStack::new(&mut memory);
    foreign(Par::Seq, || self_adjoint_evd(matrix, values.as_mut(), wanted, Par::Seq, stack, Default::default()))
        .map_err(|_| {
            let advice = "look for rows that are extremely large or alike";
            Error::Model(format!("the eigenvalues of the Gram matrix did not converge; {advice}"))
        })?;
    Ok((values.column_vector().iter().copied().collect(), u))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64, tolerance: f64) {
        assert!((a - b).abs() <= tolerance * b.abs(), "{a} against {b}");
    }

    #[test]
    fn sums_agree_with_their_definitions() {
        let values: Vec<f64> = (1..=50).map(|i| 0.7 / f64::from(i * i)).rev().collect();
        let s = Spectrum::from_eigenvalues(&values).unwrap();
        assert_eq!((s.dimension(), s.largest()), (50, 0.7));
        close(s.trace(), values.iter().sum(), 1e-14);
        for level in [1e-9, 2.8e-4, 0.01, 0.175, 0.7, 3.0] {
            close(s.truncated_sum(level), values.iter().map(|v| v.min(level)).sum(), 1e-14);
            close(s.complexity(level.sqrt()), (values.iter().map(|v| v.min(level)).sum::<f64>() / 50.0).sqrt(), 1e-14);
        }
        for iterations in [0, 1, 2, 17, 1000] {
            let wanted = values.iter().map(|v| 1.0 - (1.0 - 2.5 * v).powi(iterations as i32)).sum::<f64>();
            assert!((s.degrees_of_freedom(2.5, iterations) - wanted).abs() < 1e-12 * wanted.abs().max(1.0));
        }
    }

    #[test]
    fn the_critical_radius_is_where_the_condition_turns() {
        for values in [vec![0.3], vec![0.5, 0.5, 1e-3, 0.0, -1e-17], (1..200).map(|i| 0.9f64.powi(i)).collect()] {
            let s = Spectrum::from_eigenvalues(&values).unwrap();
            for scale in [1e-3, 0.1, 1.0, 30.0] {
                let radius = s.critical_radius(1.0, scale);
                assert!(radius > 0.0);
                let holds = |eps: f64| s.complexity(eps) <= eps * eps / scale;
                assert!(holds(radius * (1.0 + 1e-12)) && !holds(radius * (1.0 - 1e-12)), "{values:?} {scale}");
            }
        }
        assert_eq!(Spectrum::from_eigenvalues(&[0.0, 0.0]).unwrap().critical_radius(1.0, 1.0), 0.0);
    }

    #[test]
    fn powers_are_exact_at_both_ends() {
        close(1.0 - shrinkage(1e-12, 1_000_000), 1e-6, 1e-5);
        close(growth(1e-12, 1_000_000), 1e6 * (1.0 - 0.5e-6), 1e-12);
        assert_eq!(growth(0.0, 7), 7.0);
        assert_eq!((shrinkage(1.0, 0), shrinkage(1.0, 3), shrinkage(0.3, 0)), (1.0, 0.0, 1.0));
        close(shrinkage(1.7, 3), -0.343, 1e-12);
        close(growth(1.7, 3), 1.343 / 1.7, 1e-12);
    }

    #[test]
    fn the_effort_is_said_in_advance() {
        let [few, many] = [1000, 4000].map(|n| Effort::of_spectrum(n).unwrap());
        assert!(few.seconds > 0.0 && many.seconds > few.seconds && many.bytes == 16 * few.bytes);
        assert!((8e6..32e6).contains(&(few.bytes as f64)), "{few:?}");
        assert!(matches!(Effort::of_spectrum(1 << 40), Err(Error::Memory { .. })));
    }

    #[test]
    fn gram_matrices_give_their_eigenvalues_over_n() {
        // Q diag Q^T with Q a Householder reflection.
        let v = [0.5f64, 0.5, 0.5, 0.5];
        let q = |i: usize, j: usize| f64::from(i == j) - 2.0 * v[i] * v[j];
        let gram = Mat::from_fn(4, 4, |i, j| (0..4).map(|k| q(i, k) * (k + 1) as f64 * q(j, k)).sum::<f64>());
        let s = Spectrum::of_gram(gram.as_ref()).unwrap();
        s.values().iter().zip([1.0, 0.75, 0.5, 0.25]).for_each(|(&a, b)| close(a, b, 1e-14));
        let mut bad = gram.clone();
        bad[(2, 1)] = f64::NAN;
        assert!(matches!(Spectrum::of_gram(bad.as_ref()), Err(Error::NotFinite { row: 2, column: 1, .. })));
        assert!(matches!(Spectrum::of_gram(Mat::zeros(2, 3).as_ref()), Err(Error::Shape { .. })));
        assert!(matches!(Spectrum::of_gram(Mat::zeros(0, 0).as_ref()), Err(Error::Empty { .. })));
        assert!(matches!(Spectrum::from_eigenvalues(&[f64::INFINITY]), Err(Error::NotFinite { .. })));
    }
}
