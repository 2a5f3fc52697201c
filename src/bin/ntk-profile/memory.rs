//! Whether what was asked for fits in memory.

use ntk_score::kernels::Real;
use ntk_score::{Result, internals};

use crate::settings::{Part, Settings, Which};

/// An error if the matrices would not fit in the memory that is free, where the system tells how much that is.
pub fn check<T: Real>(settings: &Settings) -> Result<()> {
    let [n, m, inputs, d] =
        [settings.samples, settings.neurons, settings.features, settings.outputs].map(|count| count as u128);
    let values = match settings.kernel {
        Which::Gram => gram_values(settings),
        Which::Patterns => 2 * (n + m) * inputs,
        Which::Tangent => tangent_values(settings) + 2 * (n + m) * inputs + 4 * (n + m) * d,
        Which::Descent => 2 * (n + 4 * m) * inputs + 4 * (n + m) * d,
    };
    // Patterns, and beside them those of a second set, or by neuron and sorted by class.
    let bits = match settings.kernel {
        Which::Gram => 0,
        Which::Tangent => 3 * n * m / 8,
        _ => n * m / 4,
    };
    let bytes = values * size_of::<T>() as u128 + bits;
    internals::check_memory("the problem", bytes)
}

/// Values the problem keeps in memory, about.
fn gram_values(settings: &Settings) -> u128 {
    let [n, inputs, c] = [settings.samples, settings.features, settings.columns].map(|count| count as u128);
    if settings.form.is_product() { n * (2 * inputs + 4 * c) } else { n * n + 4 * n * inputs }
}

/// Entries of the output.
fn tangent_values(settings: &Settings) -> u128 {
    let [n, d] = [settings.samples, settings.outputs].map(|count| count as u128);
    match settings.part {
        Part::All => n * n * d * d,
        Part::Product => n * d,
        Part::Block => 2 * n * n,
        _ => n * n,
    }
}
