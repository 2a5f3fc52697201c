//! Holds the kernels against the reference and against the printed values of tests/data.

use faer::{Mat, MatRef, Par};

use super::*;
use crate::simd::{Level, Real};

/// The matrix under `name` in tests/data/ntk.json.
fn printed(name: &str) -> Mat<f64> {
    let text = include_str!("../../../tests/data/ntk.json");
    let data: serde_json::Value = serde_json::from_str(text).unwrap();
    let rows = data[name].as_array().unwrap();
    Mat::from_fn(rows.len(), rows[0].as_array().unwrap().len(), |i, j| rows[i][j].as_f64().unwrap())
}

fn convert<T: Real>(m: MatRef<'_, f64>) -> Mat<T> {
    Mat::from_fn(m.nrows(), m.ncols(), |i, j| T::from_f64(m[(i, j)]))
}

/// Largest error relative to |z| |z'|.
fn relative_error<T: Real>(
    found: MatRef<'_, T>,
    expected: MatRef<'_, f64>,
    z1: MatRef<'_, T>,
    z2: MatRef<'_, T>,
) -> f64 {
    let norms = |z: MatRef<'_, T>| {
        let mut norms = vec![T::ZERO; z.nrows()];
        row_norms_into(&mut norms, z).unwrap();
        norms
    };
    let (left, right) = (norms(z1), norms(z2));
    let mut worst: f64 = 0.0;
    for j in 0..found.ncols() {
        for i in 0..found.nrows() {
            let size = (left[i].to_f64() * right[j].to_f64()).max(1e-300);
            let difference = (found[(i, j)].to_f64() - expected[(i, j)]).abs() / size;
            assert!(!difference.is_nan(), "entry ({i}, {j})");
            worst = worst.max(difference);
        }
    }
    worst
}

fn check_printed<T: Real>(tolerance: f64, reference_tolerance: f64) {
    let (z, other) = (printed("z"), printed("z_other"));
    let error = relative_error(reference::gram(z.as_ref()).as_ref(), printed("gram").as_ref(), z.as_ref(), z.as_ref());
    assert!(error < 1e-15, "reference: {error:e}");
    let (z, other) = (convert::<T>(z.as_ref()), convert::<T>(other.as_ref()));
    // Rounding the samples to T moves the exact values, so only f64 is held against the printed ones closely.
    let exact = [reference::gram(z.as_ref()), reference::cross_gram(z.as_ref(), other.as_ref())];
    for level in Level::available() {
        let mut gram = Mat::zeros(9, 9);
        gram_with(level, gram.as_mut(), z.as_ref(), Par::Seq).unwrap();
        let mut cross = Mat::zeros(9, 4);
        cross_gram_with(level, cross.as_mut(), z.as_ref(), other.as_ref(), Par::Seq).unwrap();
        for (found, right, name, exact) in [(&gram, &z, "gram", &exact[0]), (&cross, &other, "cross", &exact[1])] {
            let error = relative_error(found.as_ref(), printed(name).as_ref(), z.as_ref(), right.as_ref());
            assert!(error < tolerance, "{name} at {level} against print: {error:e}");
            let error = relative_error(found.as_ref(), exact.as_ref(), z.as_ref(), right.as_ref());
            assert!(error < reference_tolerance, "{name} at {level}: {error:e}");
        }
    }
}

#[test]
fn printed_values_are_met() {
    check_printed::<f64>(1e-15, 1e-15);
    check_printed::<f32>(5e-7, 5e-7);
}
