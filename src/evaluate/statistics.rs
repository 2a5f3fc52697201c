//! Means and quantiles of a few numbers.

/// The arithmetic mean.
pub fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

/// The mean, or 1 for nothing: a table of one column has no pair in which it could go wrong.
pub fn mean_or_one(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    if values.len() == 0 { 1.0 } else { mean(values) }
}

/// The quantile at `share` in [0, 1] of an ascending list, linear between order statistics.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() - 1) as f64 * share;
    let below = (place.floor() as usize).min(sorted.len() - 1);
    let (low, high) = (sorted[below], sorted[(below + 1).min(sorted.len() - 1)]);
    let along = place - below as f64;
    // From the nearer end, so that whole places give the order statistic itself even when `place` is rounded.
    if along >= 0.5 { high - (high - low) * (1.0 - along) } else { low + (high - low) * along }
}

/// The values in ascending order.
pub fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}
