//! The kernels as closures to be timed, with their operation counts and their errors against the references.

use faer::{Mat, Par};
use ntk_score::kernels::Panels;
use ntk_score::kernels::patterns::{ActivationPatterns, patterns_with};
use ntk_score::kernels::tangent::{self, Features};
use ntk_score::simd::{Level, Popcount, Real};
use ntk_score::{Error, Result};
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::{Settings, Which, descent};

/// What bounds a kernel from below.
#[derive(Debug, Clone, Copy)]
pub enum Limit {
    /// A streaming fill of `bytes`.
    Fill,
    /// `flops` at the multiply-add peak.
    Arithmetic,
    /// The bare instructions that count so many pairs of bits.
    Bits(f64),
}

/// A kernel ready to be timed.
pub struct Work<'a> {
    /// Floating-point operations.
    pub flops: f64,
    /// Least bytes read from and written to memory; for [`Limit::Fill`] those written.
    pub bytes: f64,
    pub limit: Limit,
    /// Largest error against the reference, relative to its largest entry.
    pub max_error: f64,
    pub run: Box<dyn FnMut() -> Result<()> + Send + 'a>,
}

/// Rows on which a slow reference is computed.
const CHECKED: usize = 48;

pub fn prepare<T: Real>(settings: &Settings, level: Level) -> Result<Work<'static>> {
    match settings.kernel {
        Which::Gram => crate::gram::prepare::<T>(settings, level),
        Which::Patterns => patterns::<T>(settings, level),
        Which::Tangent => tangent::<T>(settings, level),
        Which::Descent => descent::prepare::<T>(settings, level),
    }
}

/// [`Error::Memory`] if the matrices would not fit in the memory that is free, where the system tells how much that is.
pub fn check_memory<T: Real>(settings: &Settings) -> Result<()> {
    let [n, m, inputs, d] =
        [settings.samples, settings.neurons, settings.features, settings.outputs].map(|count| count as u128);
    let values = match settings.kernel {
        Which::Gram => crate::gram::values(settings),
        Which::Patterns => 2 * (n + m) * inputs,
        Which::Tangent => n * n + 2 * (n + m) * inputs + 4 * m * d,
        Which::Descent => 2 * (n + 4 * m) * inputs + 4 * (n + m) * d,
    };
    let bits = if settings.kernel == Which::Gram { 0 } else { n * m / 4 };
    let bytes = values * size_of::<T>() as u128 + bits;
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let free =
        text.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB")?.parse().ok());
    let free = free.map_or(isize::MAX as u128, |kilobytes: u128| kilobytes << 10);
    if bytes > free { Err(Error::Memory { what: "the problem", bytes }) } else { Ok(()) }
}

/// Standard normal entries from a stream of their own.
pub fn normal<T: Real>(rows: usize, columns: usize, seed: u64) -> Mat<T> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    Mat::from_fn(rows, columns, |_, _| T::from_f64(StandardNormal.sample(&mut random)))
}

/// Output signs, +1 or -1.
pub fn signs<T: Real>(neurons: usize, outputs: usize) -> Mat<T> {
    let normal = normal::<f64>(neurons, outputs, 4);
    Mat::from_fn(neurons, outputs, |r, i| T::from_f64(normal[(r, i)].signum()))
}

pub fn par(threads: usize) -> Par {
    if threads == 1 { Par::Seq } else { Par::rayon(threads) }
}

/// Up to [`CHECKED`] of `count` rows, evenly spread and including the first and the last.
pub fn checked_rows(count: usize) -> Vec<usize> {
    let rows = CHECKED.min(count);
    (0..rows).map(|i| if rows == 1 { 0 } else { i * (count - 1) / (rows - 1) }).collect()
}

/// Largest difference from `expected`, relative to its largest entry.
pub fn error(expected: &Mat<f64>, found: impl Fn(usize, usize) -> f64) -> f64 {
    let mut worst: f64 = 0.0;
    for j in 0..expected.ncols() {
        for i in 0..expected.nrows() {
            // Written so that a NaN is the largest error of all.
            let difference = (found(i, j) - expected[(i, j)]).abs();
            worst = if difference <= worst { worst } else { difference };
        }
    }
    worst / expected.norm_max().max(f64::MIN_POSITIVE)
}

fn patterns<T: Real>(settings: &Settings, level: Level) -> Result<Work<'static>> {
    let (n, m, inputs, par) = (settings.samples, settings.neurons, settings.features, par(settings.threads));
    let (z, w) = (normal::<T>(n, inputs, 1), normal::<T>(m, inputs, 2));
    let z_panels = Panels::from_matrix("the samples", z.as_ref())?;
    let w_panels = Panels::from_matrix("the weights", w.as_ref())?;
    let mut out = ActivationPatterns::zeros(n, m);
    patterns_with(level, &mut out, &w_panels, &z_panels, par)?;
    let max_error = pattern_error(&out, &w, &z);
    let (samples, neurons, width) = (n as f64, m as f64, inputs as f64);
    Ok(Work {
        flops: 2.0 * samples * neurons * width,
        bytes: (samples + neurons) * width * size_of::<T>() as f64 + samples * neurons / 8.0,
        limit: Limit::Arithmetic,
        max_error,
        run: Box::new(move || patterns_with(level, &mut out, &w_panels, &z_panels, par)),
    })
}

/// The largest cosine between weight and sample at which a bit differs from the sign of the exact inner product.
fn pattern_error<T: Real>(found: &ActivationPatterns, w: &Mat<T>, z: &Mat<T>) -> f64 {
    let mut worst: f64 = 0.0;
    for j in checked_rows(z.nrows()) {
        for r in 0..w.nrows() {
            let sum = |a: &dyn Fn(usize) -> f64| (0..z.ncols()).map(a).sum::<f64>();
            let product = sum(&|k| w[(r, k)].to_f64() * z[(j, k)].to_f64());
            if found.is_active(j, r) != (product >= 0.0) {
                let size = sum(&|k| w[(r, k)].to_f64().powi(2)) * sum(&|k| z[(j, k)].to_f64().powi(2));
                worst = worst.max(product.abs() / size.sqrt());
            }
        }
    }
    worst
}

fn tangent<T: Real>(settings: &Settings, level: Level) -> Result<Work<'static>> {
    let (n, m, d, par) = (settings.samples, settings.neurons, settings.outputs, par(settings.threads));
    let (z, w) = (normal::<T>(n, settings.features, 1), normal::<T>(m, settings.features, 2));
    let a = signs::<T>(m, d);
    let z_panels = Panels::from_matrix("the samples", z.as_ref())?;
    let a_panels = Panels::from_matrix("the signs", a.as_ref())?;
    let bits = ActivationPatterns::new_from(w.as_ref(), z.as_ref(), par)?;
    let way = Popcount::at(level);
    // A block with different outputs wherever there are two.
    let block = (0, usize::from(d > 1));
    let (mut out, mut workspace) = (Mat::<T>::zeros(n, n), tangent::Workspace::new());
    let features = Features { patterns: &bits, z: &z_panels };
    tangent::symmetric_block_with(way, out.as_mut(), block, &a_panels, features, &mut workspace, par)?;

    let rows = checked_rows(n);
    let part = Mat::from_fn(rows.len(), z.ncols(), |i, k| z[(rows[i], k)]);
    let mut part_bits = ActivationPatterns::zeros(rows.len(), m);
    for (words, &row) in part_bits.words_mut().chunks_exact_mut(m.div_ceil(64)).zip(&rows) {
        words.copy_from_slice(bits.row(row));
    }
    let side = (&part_bits, part.as_ref());
    let expected = tangent::reference::block(a.as_ref(), block, side, side);
    let max_error = error(&expected, |i, j| out[(rows[i], rows[j])].to_f64());
    let (samples, pairs) = (n as f64, n as f64 * (n as f64 + 1.0) / 2.0);
    Ok(Work {
        flops: 2.0 * pairs * settings.features as f64,
        bytes: samples * samples * size_of::<T>() as f64 + samples * m as f64 / 8.0,
        limit: Limit::Bits(pairs * m as f64),
        max_error,
        run: Box::new(move || {
            let features = Features { patterns: &bits, z: &z_panels };
            tangent::symmetric_block_with(way, out.as_mut(), block, &a_panels, features, &mut workspace, par)
        }),
    })
}
