//! The gradient-descent step as work to be timed, and its table of shapes.

use std::time::Duration;

use faer::Mat;
use ntk_score::Result;
use ntk_score::internals::reference;
use ntk_score::kernels::Panels;
use ntk_score::kernels::Real;
use ntk_score::kernels::descent::{self, BackwardInputs, Layers, Optimizer, Rule, Step, Workspace};
use ntk_score::kernels::patterns::ActivationPatterns;
use ntk_score::simd::Level;

use crate::measure::{self, Peaks};
use crate::memory;
use crate::report::Report;
use crate::settings::{Part, RuleName, Settings};
use crate::work::{Limit, Work, checked_rows, error, normal, signs};

/// Outputs, neurons and samples of the table of shapes; inputs are outputs + 1 (plain data and time) and twice the outputs + 2.
const OUTPUTS: [usize; 6] = [1, 2, 8, 24, 79, 93];
const NEURONS: [usize; 3] = [256, 1024, 16384];
const SAMPLES: [usize; 3] = [64, 1000, 27_000];
/// Most a shape's peak is measured for, before and after it.
const PEAK_TIME: Duration = Duration::from_millis(30);

/// Runs the part that was asked for at every shape of the table and hands over each report; the multiply-add peak is measured
/// beside each shape, the bandwidths once.
pub fn sweep<T: Real>(settings: &Settings, level: Level, mut show: impl FnMut(&Report)) -> Result<()> {
    let machine = measure::peaks::<T>(level, settings.threads, false);
    for outputs in OUTPUTS {
        for features in [outputs + 1, 2 * outputs + 2] {
            for neurons in NEURONS {
                for samples in SAMPLES {
                    let settings = Settings { outputs, features, neurons, samples, ..settings.clone() };
                    memory::check::<T>(&settings)?;
                    let mut work = prepare::<T>(&settings, level)?;
                    let peak = || measure::fma_peak::<T>(level, settings.threads, PEAK_TIME);
                    let before = peak();
                    let time = measure::repeat(Duration::from_secs_f64(settings.seconds), &mut work.run)?;
                    let peaks = Peaks { fma_gflops: before.max(peak()), ..machine };
                    show(&Report::new::<T>(&settings, level, &work, time, peaks));
                }
            }
        }
    }
    Ok(())
}

/// One step, or the part of it that was asked for.
pub fn prepare<T: Real>(settings: &Settings, level: Level) -> Result<Work<'static>> {
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
    let (expected, _) = reference::descent::forward(w.as_ref(), a.as_ref(), z_part.as_ref());
    let forward_error = error(&expected, |i, k| outputs.get(rows[i], k).to_f64());
    subtract(&mut outputs, &y);
    descent::gradient_with(
        level,
        &mut gradient,
        BackwardInputs { e: &outputs, patterns: &patterns, a: &a_panels, z: &z_panels },
        &mut workspaces,
    )?;
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
                let step = Step { rate: 1e-6, decay: 0.999 };
                let (e, a, z) = (&outputs, &a_panels, &z_panels);
                descent::update_with(
                    level,
                    &mut w_panels,
                    &mut optimizer,
                    step,
                    BackwardInputs { e, patterns: &patterns, a, z },
                    &mut workspaces,
                )
            }
            Part::Forward => {
                descent::forward_with(level, &mut outputs, Some(&mut patterns), layers, &z_panels, &mut workspaces)
            }
            Part::Predict => descent::forward_with(level, &mut outputs, None, layers, &z_panels, &mut workspaces),
            _ => {
                let (e, a, z) = (&y, &a_panels, &z_panels);
                descent::gradient_with(
                    level,
                    &mut gradient,
                    BackwardInputs { e, patterns: &patterns, a, z },
                    &mut workspaces,
                )
            }
        }
    };
    let flops = products * 2.0 * samples * neurons * width;
    let max_error = if forward_error >= gradient_error { forward_error } else { gradient_error };
    Ok(Work { flops, bytes, limit: Limit::Arithmetic, max_error, run: Box::new(run) })
}

/// `outputs -= labels`, the error of the least-squares loss.
fn subtract<T: Real>(outputs: &mut Panels<T>, labels: &Panels<T>) {
    for (u, &y) in outputs.values_mut().iter_mut().zip(labels.values()) {
        *u -= y;
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
    let expected = reference::descent::gradient(e.as_ref(), &bits, part.as_ref(), z.as_ref());
    // The reference scales by the number of neurons it was given.
    let scale = (a.nrows() as f64 / neurons.len() as f64).sqrt();
    error(&expected, |r, k| gradient.get(neurons[r], k).to_f64() * scale)
}
