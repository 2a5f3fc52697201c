//! The kernels as closures to be timed, with their operation counts and their errors against the references.

use faer::{Mat, Par};
use ntk_score::kernels::descent::{self, Layers, Optimizer, Rule, Workspace};
use ntk_score::kernels::patterns::ActivationPatterns;
use ntk_score::kernels::{Panels, gram};
use ntk_score::simd::{Level, Real};
use ntk_score::{Error, Result};
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::{Part, RuleName, Settings, Which, patterns, tangent};

/// What bounds a kernel from below.
#[derive(Debug, Clone, Copy)]
pub enum Limit {
    /// A streaming fill of `bytes`.
    Fill,
    /// `flops` at the multiply-add peak.
    Arithmetic,
    /// The bare instructions that count so many pairs of bits.
    Bits(f64),
    /// The same, and then a streaming fill of `bytes`.
    BitsAndFill(f64),
    /// Reading `bytes`.
    Read,
}

/// A kernel ready to be timed.
pub struct Work<'a> {
    /// Floating-point operations.
    pub flops: f64,
    /// Least bytes read from and written to memory; for [`Limit::Fill`] and [`Limit::BitsAndFill`] those written.
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
        Which::Gram => gram::<T>(settings, level),
        Which::Patterns => patterns::prepare::<T>(settings, level),
        Which::Tangent => tangent::prepare::<T>(settings, level),
        Which::Descent => descent::<T>(settings, level),
    }
}

/// What is timed in turn with the kernel, and what it is called.
pub type Beside = Option<(&'static str, Box<dyn FnMut() -> Result<()> + Send>)>;

pub fn prepare_beside<T: Real>(settings: &Settings, level: Level) -> Result<Beside> {
    if settings.kernel == Which::Tangent { tangent::beside::<T>(settings, level) } else { Ok(None) }
}

/// [`Error::Memory`] if the matrices would not fit in the memory that is free, where the system tells how much that is.
pub fn check_memory<T: Real>(settings: &Settings) -> Result<()> {
    let [n, m, inputs, d] =
        [settings.samples, settings.neurons, settings.features, settings.outputs].map(|count| count as u128);
    let values = match settings.kernel {
        Which::Gram => n * n + 2 * n * inputs,
        Which::Patterns => 2 * (n + m) * inputs,
        Which::Tangent => tangent::values(settings) + 2 * (n + m) * inputs + 4 * (n + m) * d,
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

fn gram<T: Real>(settings: &Settings, level: Level) -> Result<Work<'static>> {
    let (n, par) = (settings.samples, par(settings.threads));
    let z = normal::<T>(n, settings.features, 1);
    let mut out = Mat::<T>::zeros(n, n);
    gram::gram_with(level, out.as_mut(), z.as_ref(), par)?;
    let rows = checked_rows(n);
    let part = Mat::from_fn(rows.len(), z.ncols(), |i, k| z[(rows[i], k)]);
    let expected = gram::reference::cross_gram(part.as_ref(), z.as_ref());
    let max_error = error(&expected, |i, j| out[(rows[i], j)].to_f64());
    let samples = n as f64;
    Ok(Work {
        flops: samples * (samples + 1.0) * settings.features as f64,
        bytes: samples * samples * size_of::<T>() as f64,
        limit: Limit::Fill,
        max_error,
        run: Box::new(move || gram::gram_with(level, out.as_mut(), z.as_ref(), par)),
    })
}

fn descent<T: Real>(settings: &Settings, level: Level) -> Result<Work<'static>> {
    let (n, m, inputs, d) = (settings.samples, settings.neurons, settings.features, settings.outputs);
    let (z, w, y) = (normal::<T>(n, inputs, 1), normal::<T>(m, inputs, 2), normal::<T>(n, d, 3));
    let a = signs::<T>(m, d);
    let rule = match settings.rule {
        RuleName::Descent => Rule::Descent,
        RuleName::Nesterov => Rule::Nesterov { momentum: 0.9 },
        RuleName::Adam => Rule::ADAM,
    };

    let z_panels = Panels::from_matrix("the samples", z.as_ref())?;
    let mut w_panels = Panels::from_matrix("the weights", w.as_ref())?;
    let a_panels = Panels::from_matrix("the signs", a.as_ref())?;
    let y = Panels::from_matrix("the labels", y.as_ref())?;
    let mut optimizer = Optimizer::new(rule, &w_panels, settings.average)?;
    let mut workspaces = Workspace::for_workers(settings.threads, inputs, d);
    let mut outputs = Panels::zeros(n, d);
    let mut patterns = ActivationPatterns::zeros(n, m);
    let mut gradient = Panels::zeros(m, inputs);

    let layers = Layers { w: &w_panels, a: &a_panels };
    descent::forward_with(level, &mut outputs, Some(&mut patterns), layers, &z_panels, &mut workspaces)?;
    let rows = checked_rows(n);
    let z_part = Mat::from_fn(rows.len(), inputs, |i, k| z[(rows[i], k)]);
    let (expected, _) = descent::reference::forward(w.as_ref(), a.as_ref(), z_part.as_ref());
    let forward_error = error(&expected, |i, k| outputs.get(rows[i], k).to_f64());
    subtract(&mut outputs, &y);
    descent::gradient_with(level, &mut gradient, &outputs, &patterns, &a_panels, &z_panels, &mut workspaces)?;
    let gradient_error = gradient_error(&gradient, &outputs.to_matrix(), &patterns, &a, &z);

    // Forward products with W and A, backward ones with A and Z; what an update touches is read and written.
    let part = settings.part;
    let products = if part == Part::Step { 2.0 } else { 1.0 };
    let moving = usize::from(rule != Rule::Descent) + usize::from(rule == Rule::ADAM) + usize::from(settings.average);
    let (samples, neurons, width) = (n as f64, m as f64, (inputs + d) as f64);
    let once = size_of::<T>() as f64 * (samples + neurons) * width;
    let bits = samples * neurons / 8.0;
    let bytes = match part {
        Part::Step => 2.0 * (once + bits) + size_of::<T>() as f64 * neurons * (inputs * (1 + 2 * moving)) as f64,
        Part::Predict => once,
        _ => once + bits,
    };
    let run = move || {
        let layers = Layers { w: &w_panels, a: &a_panels };
        match part {
            Part::Step => {
                descent::forward_with(level, &mut outputs, Some(&mut patterns), layers, &z_panels, &mut workspaces)?;
                subtract(&mut outputs, &y);
                let numbers = (1e-6, 0.999);
                let (e, a, z) = (&outputs, &a_panels, &z_panels);
                descent::update_with(level, &mut w_panels, &mut optimizer, numbers, e, &patterns, a, z, &mut workspaces)
            }
            Part::Forward => {
                descent::forward_with(level, &mut outputs, Some(&mut patterns), layers, &z_panels, &mut workspaces)
            }
            Part::Predict => descent::forward_with(level, &mut outputs, None, layers, &z_panels, &mut workspaces),
            _ => {
                let (e, a, z) = (&y, &a_panels, &z_panels);
                descent::gradient_with(level, &mut gradient, e, &patterns, a, z, &mut workspaces)
            }
        }
    };
    let flops = products * 2.0 * samples * neurons * width;
    let max_error = if forward_error >= gradient_error { forward_error } else { gradient_error };
    Ok(Work { flops, bytes, limit: Limit::Arithmetic, max_error, run: Box::new(run) })
}

/// `outputs -= labels`, the error of the least-squares loss.
fn subtract<T: Real>(outputs: &mut Panels<T>, labels: &Panels<T>) {
    for (u, y) in outputs.lanes_mut().iter_mut().zip(labels.lanes()) {
        for (u, &y) in u.0.iter_mut().zip(&y.0) {
            *u -= y;
        }
    }
}

/// Error of the gradient on some of the neurons.
fn gradient_error<T: Real>(
    gradient: &Panels<T>,
    e: &Mat<T>,
    patterns: &ActivationPatterns,
    a: &Mat<T>,
    z: &Mat<T>,
) -> f64 {
    let neurons = checked_rows(a.nrows());
    let part = Mat::from_fn(neurons.len(), a.ncols(), |r, i| a[(neurons[r], i)]);
    let mut bits = ActivationPatterns::zeros(z.nrows(), neurons.len());
    for j in 0..z.nrows() {
        for (r, &neuron) in neurons.iter().enumerate() {
            bits.words_mut()[j] |= u64::from(patterns.is_active(j, neuron)) << r;
        }
    }
    let expected = descent::reference::gradient(e.as_ref(), &bits, part.as_ref(), z.as_ref());
    // The reference scales by the number of neurons it was given.
    let scale = (a.nrows() as f64 / neurons.len() as f64).sqrt();
    error(&expected, |r, k| gradient.get(neurons[r], k).to_f64() * scale)
}
