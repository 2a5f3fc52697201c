//! The finite-width tangent kernel: one block, all blocks, and the product with all of them.

use faer::{Mat, Par};
use ntk_score::Result;
use ntk_score::internals::counting_passes;
use ntk_score::internals::reference::tangent as reference;
use ntk_score::kernels::Panels;
use ntk_score::kernels::Real;
use ntk_score::kernels::patterns::ActivationPatterns;
use ntk_score::kernels::tangent::{self, Features, ProductWorkspace, TangentKernel, Workspace};
use ntk_score::simd::{Level, Popcount};

use crate::settings::{Part, Settings};
use crate::work::{Beside, Limit, Work, checked_rows, error, normal, par, signs};

/// Samples on which all blocks are held against the reference.
const CHECKED: usize = 6;

pub fn prepare<T: Real>(settings: &Settings, level: Level) -> Result<Work<'static>> {
    let problem = Problem::<T>::new(settings)?;
    match settings.part {
        Part::All => problem.all(settings, level),
        Part::Product => problem.product(settings, level),
        _ => problem.block(settings, level),
    }
}

/// A block of one output for a block of two, the fastest way of counting for a slower one.
pub fn beside<T: Real>(settings: &Settings, level: Level) -> Result<Beside> {
    let fastest = Popcount::at(Level::detect());
    let (name, way) = match settings.part {
        Part::Block if settings.outputs > 1 => ("a block of one output", Popcount::at(level)),
        Part::Same if Popcount::at(level) != fastest => ("the fastest way of counting", fastest),
        _ => return Ok(None),
    };
    Ok(Some((name, Problem::<T>::new(settings)?.block_run(way, (0, 0)))))
}

struct Problem<T> {
    z: Mat<T>,
    a: Mat<T>,
    bits: ActivationPatterns,
    z_panels: Panels<T>,
    a_panels: Panels<T>,
    par: Par,
}

impl<T: Real> Problem<T> {
    fn new(settings: &Settings) -> Result<Self> {
        let par = par(settings.threads);
        let z = normal::<T>(settings.samples, settings.features, 1);
        let w = normal::<T>(settings.neurons, settings.features, 2);
        let a = signs::<T>(settings.neurons, settings.outputs);
        let bits = ActivationPatterns::new_from(w.as_ref(), z.as_ref(), par)?;
        let z_panels = Panels::from_matrix("the samples", z.as_ref())?;
        let a_panels = Panels::from_matrix("the signs", a.as_ref())?;
        Ok(Self { z, a, bits, z_panels, a_panels, par })
    }

    fn features(&self) -> Features<'_, T> {
        Features { patterns: &self.bits, z: &self.z_panels }
    }

    /// Some of the samples, and their patterns.
    fn part(&self, rows: &[usize]) -> (Mat<T>, ActivationPatterns) {
        let z = Mat::from_fn(rows.len(), self.z.ncols(), |i, k| self.z[(rows[i], k)]);
        let mut bits = ActivationPatterns::zeros(rows.len(), self.bits.neurons());
        for (words, &row) in bits.words_mut().chunks_exact_mut(self.bits.words_per_row()).zip(rows) {
            words.copy_from_slice(self.bits.row(row));
        }
        (z, bits)
    }

    /// Pairs of samples that a symmetric kernel has to count.
    fn pairs(&self) -> f64 {
        let n = self.z.nrows() as f64;
        n * (n + 1.0) / 2.0
    }

    /// The computation of one block, over and over.
    fn block_run(self, way: Popcount, outputs: (usize, usize)) -> Box<dyn FnMut() -> Result<()> + Send> {
        let n = self.z.nrows();
        let (mut out, mut workspace) = (Mat::<T>::zeros(n, n), Workspace::new());
        Box::new(move || self.block_into(way, &mut out, outputs, &mut workspace))
    }

    fn block_into(
        &self,
        way: Popcount,
        out: &mut Mat<T>,
        outputs: (usize, usize),
        workspace: &mut Workspace<T>,
    ) -> Result<()> {
        let (a, samples) = (&self.a_panels, self.features());
        tangent::block_with(way, out.as_mut(), outputs, TangentKernel::symmetric(a, samples), workspace, self.par)
    }

    fn block(self, settings: &Settings, level: Level) -> Result<Work<'static>> {
        let (n, way) = (self.z.nrows(), Popcount::at(level));
        // Different outputs wherever there are two.
        let outputs = (0, usize::from(settings.part == Part::Block && self.a.ncols() > 1));
        let mut out = Mat::<T>::zeros(n, n);
        self.block_into(way, &mut out, outputs, &mut Workspace::new())?;
        let rows = checked_rows(n);
        let (z, bits) = self.part(&rows);
        let side = (&bits, z.as_ref());
        let expected = reference::block(self.a.as_ref(), outputs, side, side);
        let max_error = error(&expected, |i, j| out[(rows[i], rows[j])].to_f64());
        let (samples, pairs, neurons) = (n as f64, self.pairs(), self.a.nrows() as f64);
        Ok(Work {
            flops: 2.0 * pairs * settings.features as f64,
            bytes: samples * samples * size_of::<T>() as f64 + samples * neurons / 8.0,
            limit: Limit::Bits(pairs * neurons),
            max_error,
            run: self.block_run(way, outputs),
        })
    }

    fn all(self, settings: &Settings, level: Level) -> Result<Work<'static>> {
        let (n, d, way) = (self.z.nrows(), self.a.ncols(), Popcount::at(level));
        let (mut out, mut workspace) = (Mat::<T>::zeros(d * n, d * n), Workspace::new());
        let run = move |problem: &Self, out: &mut Mat<T>, workspace: &mut Workspace<T>| {
            let (a, samples) = (&problem.a_panels, problem.features());
            tangent::full_with(way, out.as_mut(), TangentKernel::symmetric(a, samples), workspace, problem.par)
        };
        run(&self, &mut out, &mut workspace)?;
        let rows: Vec<usize> = checked_rows(n).into_iter().take(CHECKED - 1).chain([n - 1]).collect();
        let (z, bits) = self.part(&rows);
        let side = (&bits, z.as_ref());
        let expected = reference::full(self.a.as_ref(), side, side);
        let at = |i: usize| i / rows.len() * n + rows[i % rows.len()];
        let max_error = error(&expected, |i, j| out[(at(i), at(j))].to_f64());
        let samples = n as f64;
        let pairs = if d == 1 { self.pairs() } else { samples * samples * counting_passes(d) as f64 };
        let bits = pairs * self.a.nrows() as f64;
        Ok(Work {
            flops: 2.0 * self.pairs() * settings.features as f64,
            bytes: (d * d) as f64 * samples * samples * size_of::<T>() as f64,
            limit: Limit::BitsAndFill(bits),
            max_error,
            run: Box::new(move || run(&self, &mut out, &mut workspace)),
        })
    }

    fn product(self, settings: &Settings, level: Level) -> Result<Work<'static>> {
        let (n, m, d) = (self.z.nrows(), self.a.nrows(), self.a.ncols());
        let v = normal::<T>(n, d, 3);
        let v_panels = Panels::from_matrix("the vector", v.as_ref())?;
        let (mut out, mut workspace) = (Panels::zeros(n, d), ProductWorkspace::new());
        let run = move |problem: &Self, out: &mut Panels<T>, workspace: &mut ProductWorkspace<T>| {
            let (a, samples) = (&problem.a_panels, problem.features());
            tangent::product_with(
                level,
                out,
                &v_panels,
                TangentKernel { a, rows: samples, columns: samples },
                workspace,
                problem.par,
            )
        };
        run(&self, &mut out, &mut workspace)?;
        let rows: Vec<usize> = checked_rows(n).into_iter().take(CHECKED - 1).chain([n - 1]).collect();
        let expected = self.product_rows(&v, &rows);
        let max_error = error(&expected, |i, k| out.get(rows[i], k).to_f64());
        let (samples, neurons, width) = (n as f64, m as f64, (settings.features + d) as f64);
        Ok(Work {
            flops: 4.0 * samples * neurons * width,
            bytes: 2.0 * (size_of::<T>() as f64 * (samples + neurons) * width + samples * neurons / 8.0),
            limit: Limit::Arithmetic,
            max_error,
            run: Box::new(move || run(&self, &mut out, &mut workspace)),
        })
    }

    /// Some rows of the product in plain loops: `sum_l <z_j, z_l>/m sum_r a_r^i I_jr I_lr sum_k a_r^k V_lk`.
    fn product_rows(&self, v: &Mat<T>, rows: &[usize]) -> Mat<f64> {
        let (n, m, d) = (self.z.nrows(), self.a.nrows(), self.a.ncols());
        let signs: Vec<f64> = (0..m * d).map(|n| self.a[(n / d, n % d)].to_f64()).collect();
        let mut out = Mat::zeros(rows.len(), d);
        for l in 0..n {
            let v: Vec<f64> = (0..d).map(|k| v[(l, k)].to_f64()).collect();
            let mut sums = vec![vec![0.0; d]; rows.len()];
            for (r, a) in signs.chunks_exact(d).enumerate().filter(|&(r, _)| self.bits.is_active(l, r)) {
                let back: f64 = a.iter().zip(&v).map(|(a, v)| a * v).sum();
                for (sums, _) in sums.iter_mut().zip(rows).filter(|(_, j)| self.bits.is_active(**j, r)) {
                    sums.iter_mut().zip(a).for_each(|(sum, a)| *sum += a * back);
                }
            }
            for (i, &j) in rows.iter().enumerate() {
                let z = |row, k| self.z[(row, k)].to_f64();
                let inner = (0..self.z.ncols()).map(|k| z(j, k) * z(l, k)).sum::<f64>() / m as f64;
                (0..d).for_each(|k| out[(i, k)] += inner * sums[i][k]);
            }
        }
        out
    }
}
