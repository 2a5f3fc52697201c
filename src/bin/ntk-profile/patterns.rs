//! Activation patterns: packing them, and counting flips between two sets.

use faer::Mat;
use ntk_score::Result;
use ntk_score::kernels::Panels;
use ntk_score::kernels::Real;
use ntk_score::kernels::patterns::{ActivationPatterns, patterns_with};
use ntk_score::simd::{Level, Popcount};

use crate::settings::{Part, Settings};
use crate::work::{Limit, Work, checked_rows, normal, par};

pub fn prepare<T: Real>(settings: &Settings, level: Level) -> Result<Work<'static>> {
    match settings.part {
        Part::Flips | Part::FlipsBySample => flips(settings, level),
        _ => pack::<T>(settings, level),
    }
}

fn pack<T: Real>(settings: &Settings, level: Level) -> Result<Work<'static>> {
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

/// Two sets of random bits; the error is the difference from counting words one by one, relative to the number of bits.
fn flips(settings: &Settings, level: Level) -> Result<Work<'static>> {
    let (n, m) = (settings.samples, settings.neurons);
    let [start, now] = [1, 2].map(|seed| random(n, m, seed));
    let count = Popcount::at(level);
    let by_sample = settings.part == Part::FlipsBySample;
    let mut rows = vec![0; if by_sample { n } else { 0 }];
    let mut run = move |expected: Option<&mut u64>| -> Result<()> {
        let total = if by_sample {
            start.hamming_rows_with(count, &now, &mut rows)?;
            rows.iter().sum()
        } else {
            start.hamming_with(count, &now)?
        };
        if let Some(difference) = expected {
            let words = start.words().iter().zip(now.words());
            *difference = words.map(|(a, b)| u64::from((a ^ b).count_ones())).sum::<u64>().abs_diff(total);
        }
        std::hint::black_box(total);
        Ok(())
    };
    let mut difference = 0;
    run(Some(&mut difference))?;
    let words = (n * m.div_ceil(64)) as f64;
    Ok(Work {
        flops: 0.0,
        bytes: 2.0 * 8.0 * words,
        limit: Limit::Read,
        max_error: difference as f64 / (n as f64 * m as f64),
        run: Box::new(move || run(None)),
    })
}

/// Bits without a pattern.
fn random(samples: usize, neurons: usize, seed: u64) -> ActivationPatterns {
    let mut patterns = ActivationPatterns::zeros(samples, neurons);
    let (words, mut state) = (patterns.words_per_row(), seed);
    for (n, word) in patterns.words_mut().iter_mut().enumerate() {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let beyond = (64 * (n % words) + 64).saturating_sub(neurons);
        *word = (state ^ state << 32) & u64::MAX >> beyond;
    }
    patterns
}
