//! The spectrum of a matrix that is too large to decompose, or to store: stochastic Lanczos quadrature with error bars.
//!
//! ```text
//! 1. block Krylov space: a random block of vectors, multiplied a few times, every image kept and made orthonormal;
//!    the leading eigenpairs it has settled (residual below 1 % of the eigenvalue) are locked
//! 2. random probes, orthogonal to the locked vectors; Lanczos from each, all of them sharing the products, with full
//!    reorthogonalisation; its tridiagonal matrix gives nodes and weights, so that v^T f(A) v = sum weight f(node)
//! 3. sum_i f(lambda_i) = sum over locked f + mean over probes
//! ```
//!
//! (Ubaru, Chen and Saad 2017; the locking after Meyer et al.'s Hutch++ 2021.) A kernel's leading eigenvalues carry most of its
//! trace, and locking takes them out of the randomness. The weights of the probes are then tilted linearly so that they
//! add up to the number and to the sum of the remaining eigenvalues, both of which are known: so at very high and at very low
//! truncation levels nothing is left to chance.

use faer::linalg::evd::ComputeEigenvectors;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use rayon::prelude::*;

use crate::kernels::workers;
use crate::random::{Purpose, chunk_streams, normal};
use crate::regression::krylov::{EXHAUSTED, Krylov, check_image, krylov_space, normalise, project_out, rayleigh_ritz};
use crate::regression::operator::SymmetricOperator;
use crate::regression::spectrum::eigen;
use crate::regression::spectrum_estimate::{Nodes, SpectrumEstimate};
use crate::simd::foreign;
use crate::{Error, Result};

/// How much work goes into an estimate. Products with the matrix: `sweeps` with `block` vectors, `steps` with `probes`.
/// Memory: about `N max(4 block sweeps, probes steps)` numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quadrature {
    /// Vectors in the Krylov block.
    pub block: usize,
    /// Products of the Krylov space; 0 locks nothing.
    pub sweeps: usize,
    /// Random probes, 2 or more.
    pub probes: usize,
    /// Lanczos steps from each probe.
    pub steps: usize,
    /// Seed of block and probes.
    pub seed: u64,
    /// For the products with what is kept; the operator has its own.
    pub par: Par,
}

impl Quadrature {
    /// For a stopping rule on the way: a quarter of the default's products.
    pub const SHORT: Self = Self { block: 8, sweeps: 4, probes: 8, steps: 20, seed: 0, par: Par::Seq };
}

impl Default for Quadrature {
    fn default() -> Self {
        // An eigenvalue that is locked is worth more than a probe: with 8 sweeps and 32 probes, which take as long, bars in the plane
        // are half as wide again.
        Self { block: 16, sweeps: 16, probes: 24, steps: 28, seed: 0, par: Par::Seq }
    }
}

/// A Ritz value of `A` and the norm of its vector's residual.
struct Ritz {
    value: f64,
    residual: f64,
}

/// A settled Ritz pair has a residual below this share of its value; its value is then off by about the square of that.
const SETTLED: f64 = 1e-2;

impl Quadrature {
    /// Estimates the spectrum of `A/N` from products with `A`.
    ///
    /// The same seed gives the same bytes for every number of threads, if the operator does.
    ///
    /// # Errors
    /// [`Error::Empty`] for a matrix without rows, [`Error::Setting`] for fewer than two probes or no steps, [`Error::NotFinite`]
    /// if a product is not finite, and what the operator returns.
    pub fn run(&self, operator: &mut (impl SymmetricOperator + ?Sized)) -> Result<SpectrumEstimate> {
        let n = operator.dimension();
        if n == 0 {
            return Err(Error::Empty { what: "the kernel matrix", unit: "row" });
        }
        if self.probes < 2 || self.steps == 0 {
            return Err(Error::Setting {
                name: "the quadrature",
                value: format!("{} probes and {} steps", self.probes, self.steps),
                requirement: "it needs at least two probes, for the error, and one step",
            });
        }
        let (pairs, vectors) = self.lock(operator)?;
        let mut probes = Vec::new();
        if pairs.len() < n {
            for lanczos in self.lanczos(operator, vectors.as_ref())? {
                let nodes = |at_zero| lanczos.nodes(at_zero, (n - pairs.len()) as f64);
                probes.push([nodes(false)?, nodes(true)?]);
            }
        }
        let scale = 1.0 / n as f64;
        probes.iter_mut().flatten().flatten().for_each(|node: &mut (f64, f64)| node.0 *= scale);
        let locked: Vec<f64> = pairs.iter().map(|pair| pair.value * scale).collect();
        let highest = probes.iter().flat_map(|probe: &[Nodes; 2]| &probe[0]).fold(0.0, |a: f64, node| a.max(node.0));
        // What a residual hides moves an eigenvalue by itself at most, and by its square over the distance to the rest.
        let shift = |pair: &Ritz| {
            let (value, residual) = (pair.value * scale, pair.residual * scale);
            if value > highest { residual.min(residual * residual / (value - highest)) } else { residual }
        };
        let shifts = if probes.is_empty() { Vec::new() } else { pairs.iter().map(shift).collect() };
        let rest = operator.trace().map(|trace| trace * scale - locked.iter().sum::<f64>());
        Ok(SpectrumEstimate { dimension: n, locked, shifts, rest, probes })
    }

    /// The leading eigenpairs that a block Krylov space settles.
    fn lock(&self, operator: &mut (impl SymmetricOperator + ?Sized)) -> Result<(Vec<Ritz>, Mat<f64>)> {
        let n = operator.dimension();
        let columns = (self.block * self.sweeps).min(n);
        let width = self.block.min(columns);
        let mut streams = chunk_streams(self.seed, Purpose::Probes, 0, width);
        let mut first = Mat::zeros(n, width);
        for (column, stream) in first.col_iter_mut().zip(&mut streams) {
            column.iter_mut().for_each(|x| *x = normal(stream));
        }
        let Krylov { basis, images } = krylov_space(operator, first, columns, self.par)?;
        let used = basis.ncols();
        if used == 0 {
            return Ok((Vec::new(), Mat::zeros(n, 0)));
        }
        let (basis, images) = (basis.as_ref(), images.as_ref());
        let (values, rotation) = rayleigh_ritz(basis, images, self.par)?;
        // Largest first.
        let order: Vec<usize> = (0..used).rev().collect();
        let rotation = Mat::from_fn(used, used, |i, j| rotation[(i, order[j])]);
        let values: Vec<f64> = order.iter().map(|&i| values[i]).collect();
        let (mut vectors, mut residuals) = (Mat::zeros(n, used), Mat::zeros(n, used));
        foreign(self.par, || matmul(vectors.as_mut(), Accum::Replace, basis, rotation.as_ref(), 1.0, self.par));
        foreign(self.par, || matmul(residuals.as_mut(), Accum::Replace, images, rotation.as_ref(), 1.0, self.par));
        let residual = |j: usize| -> f64 {
            (0..n).map(|i| (residuals[(i, j)] - values[j] * vectors[(i, j)]).powi(2)).sum::<f64>().sqrt()
        };
        let pairs = (0..used).map(|j| Ritz { value: values[j], residual: residual(j) });
        let locked: Vec<Ritz> =
            pairs.take_while(|pair| pair.value > 0.0 && pair.residual <= SETTLED * pair.value).collect();
        let vectors = vectors.subcols(0, locked.len()).to_owned();
        Ok((locked, vectors))
    }

    /// Lanczos from every probe, orthogonal to `locked` throughout.
    fn lanczos(
        &self,
        operator: &mut (impl SymmetricOperator + ?Sized),
        locked: MatRef<'_, f64>,
    ) -> Result<Vec<Lanczos>> {
        let n = operator.dimension();
        let rest = n - locked.ncols();
        let steps = self.steps.min(rest);
        let streams = chunk_streams(self.seed, Purpose::Probes, self.block, self.probes);
        let mut current = Mat::zeros(n, self.probes);
        for (column, mut stream) in current.col_iter_mut().zip(streams) {
            column.iter_mut().for_each(|x| *x = normal(&mut stream));
        }
        project_out(&mut current, locked, self.par);
        project_out(&mut current, locked, self.par);
        let mut runs: Vec<Lanczos> = (0..self.probes)
            .map(|p| {
                let mut first: Vec<f64> = current.col(p).iter().copied().collect();
                normalise(&mut first);
                Lanczos {
                    basis: vec![first],
                    diagonal: Vec::new(),
                    beside: Vec::new(),
                    pending: Vec::new(),
                    finished: false,
                }
            })
            .collect();
        let mut images = Mat::zeros(n, self.probes);
        for step in 0..steps {
            for (p, run) in runs.iter().enumerate() {
                let last = &run.basis[run.basis.len() - 1];
                current.col_mut(p).iter_mut().zip(last).for_each(|(to, from)| *to = *from);
            }
            operator.apply_into(images.as_mut(), current.as_ref())?;
            check_image(images.as_ref())?;
            // Once to drop what the locked vectors would bring back; a second time, below, after the reorthogonalisation.
            project_out(&mut images, locked, self.par);
            let advance = |(p, run): (usize, &mut Lanczos)| {
                if !run.finished {
                    run.advance(images.col(p).iter().copied().collect(), step + 1 == steps);
                }
            };
            if workers(self.par) == 1 {
                runs.iter_mut().enumerate().for_each(advance);
            } else {
                runs.par_iter_mut().enumerate().for_each(advance);
            }
            for (p, run) in runs.iter().enumerate() {
                current.col_mut(p).iter_mut().zip(&run.pending).for_each(|(to, from)| *to = *from);
            }
            project_out(&mut current, locked, self.par);
            for (p, run) in runs.iter_mut().enumerate() {
                if !run.finished {
                    run.accept(current.col(p).iter().copied().collect());
                }
            }
        }
        Ok(runs)
    }
}

/// One probe's Lanczos run: an orthonormal basis and the tridiagonal matrix in it.
struct Lanczos {
    basis: Vec<Vec<f64>>,
    diagonal: Vec<f64>,
    beside: Vec<f64>,
    /// The next direction, not yet of norm one.
    pending: Vec<f64>,
    finished: bool,
}

impl Lanczos {
    /// Takes the image of the last basis vector: one more diagonal entry, and the next direction into `pending`.
    fn advance(&mut self, mut image: Vec<f64>, last: bool) {
        let newest = self.basis.len() - 1;
        self.diagonal.push(dot(&self.basis[newest], &image));
        if last {
            self.finished = true;
        } else {
            for _ in 0..2 {
                for v in &self.basis {
                    let share = dot(v, &image);
                    image.iter_mut().zip(v).for_each(|(x, v)| *x -= share * v);
                }
            }
        }
        self.pending = image;
    }

    /// Takes the next direction, or ends the run if there is none.
    fn accept(&mut self, mut direction: Vec<f64>) {
        let norm = normalise(&mut direction);
        if norm > EXHAUSTED * self.diagonal[0].abs() {
            self.beside.push(norm);
            self.basis.push(direction);
        } else {
            self.finished = true;
        }
    }

    /// Nodes and weights from all steps; the weights add up to `count`. With `at_zero` one of the nodes is 0.
    ///
    /// The first are Gauss's, the second Radau's: the last diagonal entry is changed so that 0 becomes an eigenvalue, by the
    /// recursion of the tridiagonal matrix's pivots, the last of which is to vanish.
    fn nodes(&self, at_zero: bool, count: f64) -> Result<Nodes> {
        let steps = self.diagonal.len();
        let mut diagonal = self.diagonal.clone();
        if at_zero && steps > 1 {
            let pivot = (1..steps - 1).fold(diagonal[0], |pivot, i| diagonal[i] - self.beside[i - 1].powi(2) / pivot);
            if pivot > 0.0 {
                diagonal[steps - 1] = self.beside[steps - 2].powi(2) / pivot;
            }
        }
        let entry = |i: usize, j: usize| match i.abs_diff(j) {
            0 => diagonal[i],
            1 => self.beside[i.min(j)],
            _ => 0.0,
        };
        let (values, vectors) = eigen(Mat::from_fn(steps, steps, entry).as_ref(), ComputeEigenvectors::Yes)?;
        let weight = |j: usize| count * vectors[(0, j)].powi(2);
        Ok(values.iter().enumerate().map(|(j, &value)| (value.max(0.0), weight(j))).collect())
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::gram::gram;
    use crate::random::stream;
    use crate::regression::operator::{MatrixFree, Stored};
    use crate::regression::spectrum::Spectrum;
    use crate::regression::spectrum_estimate::Estimate;

    fn samples(n: usize, columns: usize) -> Mat<f64> {
        let mut random = stream(11, Purpose::Data);
        Mat::from_fn(n, columns, |_, _| normal(&mut random))
    }

    /// An operator with the eigenvalues `values`, seen through a reflection.
    struct Known {
        values: Vec<f64>,
        knows_trace: bool,
    }

    impl SymmetricOperator for Known {
        fn dimension(&self) -> usize {
            self.values.len()
        }

        fn apply_into(&mut self, mut out: faer::MatMut<'_, f64>, v: MatRef<'_, f64>) -> Result<()> {
            let n = self.values.len();
            for c in 0..v.ncols() {
                let mean = 2.0 * (0..n).map(|i| v[(i, c)]).sum::<f64>() / n as f64;
                let image: Vec<f64> = (0..n).map(|i| self.values[i] * (v[(i, c)] - mean)).collect();
                let mean = 2.0 * image.iter().sum::<f64>() / n as f64;
                (0..n).for_each(|i| out[(i, c)] = image[i] - mean);
            }
            Ok(())
        }

        fn trace(&self) -> Option<f64> {
            self.knows_trace.then(|| self.values.iter().sum())
        }
    }

    #[test]
    fn a_whole_krylov_space_gives_the_exact_spectrum() {
        let n = 40;
        let k = gram(samples(n, 4).as_ref(), Par::Seq).unwrap();
        let exact = Spectrum::of_gram(k.as_ref()).unwrap();
        let mut operator = Stored::new(k.as_ref(), Par::Seq).unwrap();
        let estimate = Quadrature { block: 8, sweeps: 5, ..Quadrature::default() }.run(&mut operator).unwrap();
        assert!(estimate.locked().len() >= 30, "{}", estimate.locked().len());
        estimate
            .locked()
            .iter()
            .zip(exact.values())
            .for_each(|(a, b)| assert!((a - b).abs() < 1e-10 * exact.largest()));
        let found = estimate.truncated_sum(1e-3);
        assert!((found.value - exact.truncated_sum(1e-3)).abs() <= found.error + 1e-9);
    }

    #[test]
    fn the_error_bars_cover_the_truth() {
        // Thirty seeds and seven quantities; 95 % of 210 is 199.5, and the quantities of one seed move together. Bars that hold
        // for all quantities at once are a fifth wider than those for each alone, which half as many probes again make up for.
        let n = 1500;
        let values: Vec<f64> = (1..=n).map(|i| n as f64 * 0.5 / (i as f64).powf(1.5)).collect();
        let scaled: Vec<f64> = values.iter().map(|v| v / n as f64).collect();
        let exact = Spectrum::from_eigenvalues(&scaled).unwrap();
        for knows_trace in [false, true] {
            let mut operator = Known { values: values.clone(), knows_trace };
            let mut covered = 0;
            for seed in 0..30 {
                let settings = Quadrature { block: 8, sweeps: 5, probes: 12, steps: 16, seed, par: Par::Seq };
                let estimate = settings.run(&mut operator).unwrap();
                assert!(estimate.locked().len() >= 5);
                let mut check = |found: Estimate, wanted: f64, widest: f64| {
                    covered += usize::from((found.value - wanted).abs() <= found.error + 1e-9 * wanted);
                    assert!(found.error < if knows_trace { widest } else { 0.3 } * wanted, "{found:?} {wanted}");
                };
                for level in [1e-1, 1e-2, 3e-3, 1e-3] {
                    check(estimate.truncated_sum(level), exact.truncated_sum(level), 0.1);
                }
                check(estimate.trace(), exact.trace(), 0.05);
                check(estimate.degrees_of_freedom(1.0, 50), exact.degrees_of_freedom(1.0, 50), 0.1);
                check(estimate.complexity(0.1), exact.complexity(0.1), 0.05);
            }
            assert!(covered >= 190, "{covered} of 210");
        }
    }

    #[test]
    fn stops_agree_with_the_exact_spectrum_and_bytes_with_each_other() {
        use crate::regression::early_stopping::{Noise, StoppingRule};
        let z = samples(600, 3);
        let k = gram(z.as_ref(), Par::Seq).unwrap();
        let exact = Spectrum::of_gram(k.as_ref()).unwrap();
        let run = |par| {
            let mut operator = Stored::new(k.as_ref(), par).unwrap();
            Quadrature { par, ..Quadrature::default() }.run(&mut operator).unwrap()
        };
        let (one, many) = (run(Par::Seq), run(Par::rayon(3)));
        let estimate = one.spectrum().unwrap();
        assert_eq!(estimate, many.spectrum().unwrap());
        assert!((estimate.trace() / exact.trace() - 1.0).abs() < 1e-10, "the trace is known");
        let rule = StoppingRule { constant: 1.0, noise: Noise::Known(0.3) };
        let stops = [&exact, &estimate].map(|s| rule.stop(s, 1.0, 1, |_| 0.0).unwrap().iterations as f64);
        assert!((stops[1] / stops[0] - 1.0).abs() < 0.03, "{stops:?}");
        // The bars reach the rule: the exact stop lies between its ends, which are near each other.
        let [early, late] = rule.range(&one, 1.0, 0.3).unwrap().map(|tau| tau as f64);
        assert!(early <= stops[0] && stops[0] <= late && late < 1.2 * early, "{early} {stops:?} {late}");
        assert!(rule.range(&one, 1.0, 0.0).is_err());
        // Without a matrix, in single precision.
        let single = Mat::from_fn(600, 3, |i, j| z[(i, j)] as f32);
        let mut free = MatrixFree::new(single.as_ref(), Par::Seq).unwrap();
        let settings = Quadrature { sweeps: 3, probes: 4, steps: 8, ..Quadrature::default() };
        let found = settings.run(&mut free).unwrap().truncated_sum(0.01);
        assert!((found.value / exact.truncated_sum(0.01) - 1.0).abs() < 0.03, "{found:?}");
    }

    #[test]
    fn unusable_input_is_an_error_and_edges_work() {
        let run = |values: &[f64], settings: Quadrature| {
            settings.run(&mut Known { values: values.to_vec(), knows_trace: true })
        };
        let settings = Quadrature::default();
        assert!(matches!(run(&[], settings), Err(Error::Empty { .. })));
        assert!(matches!(run(&[1.0, 2.0], Quadrature { probes: 1, ..settings }), Err(Error::Setting { .. })));
        assert!(matches!(run(&[1.0, f64::NAN], settings), Err(Error::NotFinite { .. })));
        for values in [&[3.0][..], &[1.0, 1.0, 1.0], &[2.0, 0.0, 0.0, 0.0]] {
            for sweeps in [0, 1, 8] {
                let trace = run(values, Quadrature { sweeps, ..settings }).unwrap().trace();
                let wanted = values.iter().sum::<f64>() / values.len() as f64;
                assert!((trace.value - wanted).abs() <= trace.error + 1e-12, "{values:?} {trace:?}");
            }
        }
    }
}
