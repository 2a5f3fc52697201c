//! The analytic kernel against its plain reference: any finite numbers, near-duplicates, zero rows and extreme norms, in any
//! shape, memory layout, level and number of workers; a NaN or an infinity must come back as an error that names its place.
#![no_main]

use arbitrary::{Result, Unstructured};
use faer::{Mat, MatRef, Par};
use libfuzzer_sys::fuzz_target;
use ntk_score::Error;
use ntk_score::internals::reference::gram as reference;
use ntk_score::kernels::Real;
use ntk_score::kernels::gram::{
    KernelProduct, ProductWorkspace, cross_gram_with, diagonal_into, gram_lower_with, gram_rows_with, gram_with,
    row_norms_into,
};
use ntk_score::simd::Level;
use ntk_score_fuzz::{Palette, Storage, Stored, assert_close, level, size};

struct Case {
    level: Level,
    par: Par,
    storage: [Storage; 3],
    z: Mat<f64>,
    other: Mat<f64>,
    v: Mat<f64>,
    rows: std::ops::Range<usize>,
    /// A place of `z` that is overwritten by a value that is not finite.
    spoilt: Option<(usize, usize, f64)>,
}

fn case(u: &mut Unstructured<'_>) -> Result<Case> {
    let (n, n_other, inputs) = (size(u, 0, 150)?, size(u, 0, 70)?, size(u, 1, 40)?);
    let columns = u.int_in_range(1..=5)?;
    let (level, workers) = (level(u)?, u.int_in_range(1..=4)?);
    let start = u.int_in_range(0..=n)?;
    let rows = start..u.int_in_range(start..=n)?;
    let spoilt = if n > 0 && u.ratio(1, 16)? {
        let value = *u.choose(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY])?;
        Some((u.choose_index(n)?, u.choose_index(inputs)?, value))
    } else {
        None
    };
    let storage = u.arbitrary()?;
    let mut palette = Palette::take(u, 1021)?;
    let mut z = Mat::zeros(n, inputs);
    for i in 0..n {
        fill_row(&mut palette, &mut z, i);
    }
    let mut other = Mat::zeros(n_other, inputs);
    for i in 0..n_other {
        // Rows that also stand in the first set, or are of their own.
        if n > 0 && palette.byte().is_multiple_of(2) {
            let from = usize::from(palette.byte()) % n;
            other.row_mut(i).copy_from(z.row(from));
        } else {
            fill_row(&mut palette, &mut other, i);
        }
    }
    let v = palette.matrix(n, columns, |p| p.eighth());
    let par = if workers == 1 { Par::Seq } else { Par::rayon(workers) };
    Ok(Case { level, par, storage, z, other, v, rows, spoilt })
}

/// One row: fresh numbers of one order of magnitude, a zero row, or an earlier row again: exactly, scaled, opposite, or
/// with one entry changed in its last digits. All entries are f32 numbers.
fn fill_row(palette: &mut Palette<'_>, z: &mut Mat<f64>, i: usize) {
    let (kind, inputs) = (palette.byte() % 8, z.ncols());
    let earlier = if i == 0 { 0 } else { usize::from(palette.byte()) % i };
    match kind {
        0 => {}
        1..=4 if i > 0 => {
            let factor = match kind {
                1 => 1.0,
                2 => -1.0,
                3 => 2f64.powi(i32::from(palette.byte() as i8) / 8),
                _ => 1.0 + f64::from(palette.byte() as i8) * 1e-3,
            };
            for k in 0..inputs {
                z[(i, k)] = to_f32(z[(earlier, k)] * factor);
            }
            let (k, nudge) = (usize::from(palette.byte()) % inputs, f64::from(palette.byte() as i8));
            z[(i, k)] = to_f32(z[(i, k)] * (1.0 + nudge * 2f64.powi(-23)));
        }
        _ => {
            let magnitude = 10f64.powi(i32::from(palette.byte() as i8) / 7);
            for k in 0..inputs {
                let [high, low] = palette.bytes();
                z[(i, k)] = to_f32(f64::from(i16::from_be_bytes([high, low])) / 3e4 * magnitude);
            }
        }
    }
}

fn to_f32(x: f64) -> f64 {
    f64::from((x as f32).clamp(f32::MIN, f32::MAX))
}

fn check<T: Real>(case: &Case, tolerance: f64, largest: f64, smallest: f64) {
    let Case { level, par, storage, z, other, v, rows, spoilt } = case;
    let (level, par) = (*level, *par);
    let (n, n_other) = (z.nrows(), other.nrows());
    let mut z = z.clone();
    if let Some((row, column, value)) = spoilt {
        z[(*row, *column)] = *value;
    }
    let [z, other, v] = [(&z, 0), (other, 1), (v, 2)].map(|(x, i)| Stored::<T>::new(x.as_ref(), storage[i]));
    let (z, other, v) = (z.view(), other.view(), v.view());
    let mut out = Mat::<T>::zeros(n, n);
    let outcome = gram_with(level, out.as_mut(), z, par);
    if let Some((row, column, _)) = spoilt {
        let found = outcome.unwrap_err();
        assert!(matches!(found, Error::NotFinite { row: r, column: c, .. } if (r, c) == (*row, *column)), "{found:?}");
        assert!(cross_gram_with(level, Mat::zeros(n, n_other).as_mut(), z, other, par).is_err());
        assert!(KernelProduct::symmetric(level, z).is_err());
        return;
    }
    let norms = exact_norms(z);
    let other_norms = exact_norms(other);
    let most = |norms: &[f64]| norms.iter().fold(0.0, |a: f64, b| a.max(*b));
    let mut cross = Mat::<T>::zeros(n, n_other);
    // A norm beyond the type is an error, and nothing else is; at the very edge it may be either.
    for (outcome, norm) in [
        (outcome, most(&norms)),
        (cross_gram_with(level, cross.as_mut(), z, other, par), most(&norms).max(most(&other_norms))),
    ] {
        match outcome {
            Ok(()) => assert!(norm <= largest * (1.0 + 1e-6), "a norm of {norm:e} was accepted"),
            Err(found) => {
                assert!(matches!(found, Error::Setting { .. }) && norm >= largest * (1.0 - 1e-6), "{found}");
                return;
            }
        }
    }

    let expected = reference::gram(z);
    let expected_cross = reference::cross_gram(z, other);
    let near = |found: T, expected: f64, size: f64, what: &dyn Fn() -> String| {
        let found = found.to_f64();
        // Where the true value is beyond the type, infinity is right, and so is anything at the edge.
        if expected.abs() - tolerance * size > largest * (1.0 - 1e-6) {
            assert!(
                found * expected.signum() >= largest * (1.0 - 2e-6),
                "{}: found {found:e}, expected {expected:e}",
                what()
            );
        } else if found.is_infinite() {
            // Near-opposite rows: the value may lie within the type, and the room around it reach beyond.
            let reached = expected * found.signum() + tolerance * size;
            assert!(reached >= largest * (1.0 - 1e-6), "{}: found {found:e}, expected {expected:e}", what());
        } else if expected.abs() <= largest * (1.0 - 1e-6) {
            assert_close(found, expected, tolerance * size + smallest, what);
        }
    };
    // Known limit: half a norm is stored in the type, rounded to a multiple of its smallest number, which tells where the norm is
    // below 2.4e-38 and the other one large.
    let grid = if T::NAME == "f32" { 2f64.powi(-150) } else { 0.0 };
    let size = |a: f64, b: f64| a * b + grid * (a + b) / tolerance;
    for j in 0..n {
        for i in 0..n {
            let what = || format!("K({i}, {j}) at {level} in {}", T::NAME);
            near(out[(i, j)], expected[(i, j)], size(norms[i], norms[j]), &what);
            assert!(out[(i, j)] == out[(j, i)], "{} differs from its mirror", what());
        }
    }

    let untouched = T::from_f64(77.0);
    let mut lower = Mat::from_fn(n, n, |_, _| untouched);
    gram_lower_with(level, lower.as_mut(), z, Par::Seq).unwrap();
    let mut some = Mat::<T>::zeros(rows.len(), n);
    gram_rows_with(level, some.as_mut(), z, rows.clone(), par).unwrap();
    for j in 0..n {
        for i in 0..n {
            let kept = if i >= j { out[(i, j)] } else { untouched };
            assert!(lower[(i, j)] == kept, "lower triangle at {i}, {j}, {level}: {} and {kept}", lower[(i, j)]);
        }
        for i in rows.clone() {
            assert!(some[(i - rows.start, j)] == out[(i, j)], "row range at {i}, {j}, {level}");
        }
    }
    for j in 0..n_other {
        for i in 0..n {
            let what = || format!("cross K({i}, {j}) at {level} in {}", T::NAME);
            near(cross[(i, j)], expected_cross[(i, j)], size(norms[i], other_norms[j]), &what);
        }
    }

    let (mut diagonal, mut lengths) = (vec![T::ZERO; n], vec![T::ZERO; n]);
    diagonal_into(&mut diagonal, z).unwrap();
    row_norms_into(&mut lengths, z).unwrap();
    for i in 0..n {
        near(diagonal[i], 0.5 * norms[i] * norms[i], norms[i] * norms[i], &|| format!("diagonal {i}"));
        near(lengths[i], norms[i], norms[i], &|| format!("norm {i}"));
    }

    // Products: against the sum over the reference, where nothing can leave the type on the way.
    let most = most(&norms);
    if most * most * 1e4 < largest {
        let product = KernelProduct::symmetric(level, z).unwrap();
        let mut found = Mat::<T>::zeros(n, v.ncols());
        product.apply_into(found.as_mut(), v, &mut ProductWorkspace::new(par)).unwrap();
        for c in 0..v.ncols() {
            for i in 0..n {
                let terms = (0..n).map(|j| expected[(i, j)] * v[(j, c)].to_f64());
                let size: f64 = (0..n).map(|j| size(norms[i], norms[j]) * v[(j, c)].to_f64().abs()).sum();
                // The kernel's own error plus a rounding for each addition.
                let room = 4.0 * tolerance * size + n as f64 * smallest * 32.0;
                assert_close(found[(i, c)].to_f64(), terms.sum(), room, || format!("product at {i}, {c}, {level}"));
            }
        }
    }
}

/// Norms of the rows, by `K(z, z) = |z|^2 / 2`; the numbers come from f32, so that an f64 holds their squares.
fn exact_norms<T: Real>(z: MatRef<'_, T>) -> Vec<f64> {
    let row = |i: usize| -> Vec<f64> { (0..z.ncols()).map(|k| z[(i, k)].to_f64()).collect() };
    (0..z.nrows()).map(|i| (2.0 * reference::kernel(&row(i), &row(i))).sqrt()).collect()
}

fuzz_target!(|data: &[u8]| {
    if let Ok(case) = case(&mut Unstructured::new(data)) {
        check::<f32>(&case, 5e-7, f64::from(f32::MAX), 1e-37);
        check::<f64>(&case, 2e-15, f64::MAX, 1e-300);
    }
});
