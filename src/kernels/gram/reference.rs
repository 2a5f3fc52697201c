//! The analytic kernel in plain loops: what the kernels are held against. Start reading here.
//!
//! `K(z, z') = <z, z'> (pi - angle(z, z')) / (2 pi)`: the neural tangent kernel of a two-layer ReLU network of infinite width
//! whose first layer is trained (Cho, Saul 2009, arc-cosine kernel of order 0 times the inner product; HRX section 3). With
//! unit vectors u, v along z, z' the angle is `2 atan2(|u - v|, |u + v|)`, which loses nothing near 0 and near pi, where an
//! arc cosine loses half the digits.

use faer::{Mat, MatRef};

use crate::simd::Scalar;

/// K of two vectors of equal length; 0 if either is zero. Absolute error a few 1e-16 of `|z| |z'|`.
///
/// # Panics
/// If the lengths differ.
pub fn kernel(z: &[f64], other: &[f64]) -> f64 {
    assert_eq!(z.len(), other.len(), "samples of different dimension");
    // Dividing by the largest entry first keeps every square representable.
    let largest = |z: &[f64]| z.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
    let (size, other_size) = (largest(z), largest(other));
    if size == 0.0 || other_size == 0.0 {
        return 0.0;
    }
    let z: Vec<f64> = z.iter().map(|x| x / size).collect();
    let other: Vec<f64> = other.iter().map(|x| x / other_size).collect();
    let norm = |z: &[f64]| sum(z.iter().map(|x| x * x)).sqrt();
    let (length, other_length) = (norm(&z), norm(&other));
    let distance =
        |sign: f64| sum(z.iter().zip(&other).map(|(x, y)| (x / length + sign * (y / other_length)).powi(2))).sqrt();
    let inner = sum(z.iter().zip(&other).map(|(x, y)| x * y));
    // pi - angle = 2 atan2(|u + v|, |u - v|)
    let share = distance(1.0).atan2(distance(-1.0)) / std::f64::consts::PI;
    size * (inner * share) * other_size
}

/// Neumaier's sum: what each addition rounds off is added up beside, so that the error does not grow with the number of terms.
fn sum(terms: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0f64, 0.0);
    for x in terms {
        let next = sum + x;
        lost += if sum.abs() >= x.abs() { (sum - next) + x } else { (x - next) + sum };
        sum = next;
    }
    sum + lost
}

/// The Gram matrix (N x N) of the rows of `z` (N x D).
pub fn gram<T: Scalar>(z: MatRef<'_, T>) -> Mat<f64> {
    cross_gram(z, z)
}

/// K of every row of `z1` (N1 x D) with every row of `z2` (N2 x D), as N1 x N2.
///
/// # Panics
/// If the numbers of columns differ.
pub fn cross_gram<T: Scalar>(z1: MatRef<'_, T>, z2: MatRef<'_, T>) -> Mat<f64> {
    let rows = |z: MatRef<'_, T>| -> Vec<Vec<f64>> {
        (0..z.nrows()).map(|i| (0..z.ncols()).map(|k| z[(i, k)].to_f64()).collect()).collect()
    };
    let (left, right) = (rows(z1), rows(z2));
    Mat::from_fn(left.len(), right.len(), |i, j| kernel(&left[i], &right[j]))
}
