//! A problem in expectation, whose errors are known without drawing anything: what the tests of stopping share.

use super::spectrum::{Spectrum, shrinkage};

/// Eigenvalues `0.8 / i^2`, 300 of them.
pub fn spectrum() -> Spectrum {
    let values: Vec<f64> = (1..=300).map(|i| 0.8 / f64::from(i * i)).collect();
    Spectrum::from_eigenvalues(&values).unwrap()
}

/// Risk and residual of one output in expectation: signal along the first ten eigenvectors, noise along all.
pub fn expectations(signal: f64, noise: f64) -> [impl Fn(u64) -> f64; 2] {
    [true, false].map(|risk| {
        move |tau| {
            let spectrum = spectrum();
            let along = |(i, &value): (usize, &f64)| {
                let (left, signal) = (shrinkage(0.5 * value, tau), if i < 10 { signal } else { 0.0 });
                let spent = if risk { 1.0 - left } else { left };
                left * left * signal + spent * spent * noise * noise
            };
            spectrum.values().iter().enumerate().map(along).sum()
        }
    })
}
