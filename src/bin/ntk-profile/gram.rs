//! The analytic kernel in its forms: the matrix whole, its lower triangle, a rectangle, and its product with a matrix.
//!
//! The samples hold near-duplicates and nearly opposite pairs, one in 64 rows, so that the rare path is timed and its error
//! checked. Errors are relative to `|z| |z'|` for matrices and to the largest entry for products.

use faer::{Mat, MatRef, Par};
use ntk_score::Result;
use ntk_score::internals::reference::gram as reference;
use ntk_score::kernels::Real;
use ntk_score::kernels::gram::{
    GramMatrix, KernelProduct, ProductWorkspace, cross_gram_with, gram, gram_lower_with, gram_with, row_norms_into,
};
use ntk_score::simd::Level;

use crate::settings::{Form, Pages, Settings};
use crate::work::{Limit, Work, checked_rows, error, normal, par};

/// Normal samples in which one row in 64 is nearly an earlier one, and one nearly its opposite.
fn samples<T: Real>(rows: usize, columns: usize, seed: u64) -> Mat<T> {
    let mut z = normal::<T>(rows, columns, seed);
    for i in (0..rows).filter(|i| matches!(i % 64, 40 | 41)) {
        let sign = if i % 64 == 40 { 1.0 } else { -1.0 };
        for k in 0..columns {
            let nudge = 1.0 + 1e-5 * (((i + 7 * k) % 11) as f64 - 5.0);
            z[(i, k)] = T::from_f64(sign * nudge * z[(i / 2, k)].to_f64());
        }
    }
    z
}

/// The largest error of the rows `rows` of `found`, relative to the norms.
fn relative_error<T: Real>(rows: &[usize], found: MatRef<'_, T>, z1: &Mat<T>, z2: &Mat<T>, lower: bool) -> Result<f64> {
    let part = Mat::from_fn(rows.len(), z1.ncols(), |i, k| z1[(rows[i], k)]);
    let expected = reference::cross_gram(part.as_ref(), z2.as_ref());
    let (mut left, mut right) = (vec![T::ZERO; z1.nrows()], vec![T::ZERO; z2.nrows()]);
    row_norms_into(&mut left, z1.as_ref())?;
    row_norms_into(&mut right, z2.as_ref())?;
    let mut worst: f64 = 0.0;
    for j in 0..z2.nrows() {
        for (i, &row) in rows.iter().enumerate() {
            if lower && row < j {
                continue;
            }
            let size = (left[row].to_f64() * right[j].to_f64()).max(f64::MIN_POSITIVE);
            let difference = (found[(row, j)].to_f64() - expected[(i, j)]).abs() / size;
            // Written so that a NaN is the largest error of all.
            worst = if difference <= worst { worst } else { difference };
        }
    }
    Ok(worst)
}

/// Rows to check: spread evenly, and near-duplicates among them.
fn rows_to_check(n: usize) -> Vec<usize> {
    let mut rows = checked_rows(n);
    rows.extend((0..n).filter(|i| matches!(i % 64, 40 | 41)).take(8));
    rows
}

pub fn prepare<T: Real>(settings: &Settings, level: Level) -> Result<Work<'static>> {
    if settings.form.is_product() { product::<T>(settings, level) } else { matrix::<T>(settings, level) }
}

/// The output, whoever owns it.
enum Output<T> {
    Usual(Mat<T>),
    Huge(GramMatrix<T>),
}

fn matrix<T: Real>(settings: &Settings, level: Level) -> Result<Work<'static>> {
    let (n, par, form) = (settings.samples, par(settings.threads), settings.form);
    let z = samples::<T>(n, settings.features, 1);
    let other = if form == Form::Cross { samples::<T>(n, settings.features, 2) } else { Mat::zeros(0, 0) };
    let mut out = match settings.pages {
        Pages::Usual => Output::Usual(Mat::<T>::zeros(n, n)),
        Pages::Huge => Output::Huge(gram(z.as_ref(), Par::Seq)?),
    };
    let z_copy = z.clone();
    let other_copy = other.clone();
    let fill = move |out: &mut Output<T>| {
        let out = match out {
            Output::Usual(out) => out.as_mut(),
            Output::Huge(out) => out.as_mut(),
        };
        match form {
            Form::Lower => gram_lower_with(level, out, z.as_ref(), par),
            Form::Cross => cross_gram_with(level, out, z.as_ref(), other.as_ref(), par),
            _ => gram_with(level, out, z.as_ref(), par),
        }
    };
    fill(&mut out)?;
    let found = match &out {
        Output::Usual(out) => out.as_ref(),
        Output::Huge(out) => out.as_ref(),
    };
    let right = if form == Form::Cross { &other_copy } else { &z_copy };
    let max_error = relative_error(&rows_to_check(n), found, &z_copy, right, form == Form::Lower)?;
    let samples = n as f64;
    let half = samples * (samples + 1.0) / 2.0;
    let (computed, written) = match form {
        Form::Lower => (half, half),
        Form::Cross => (samples * samples, samples * samples),
        _ => (half, samples * samples),
    };
    Ok(Work {
        flops: 2.0 * computed * settings.features as f64,
        bytes: written * size_of::<T>() as f64,
        limit: Limit::Fill,
        max_error,
        run: Box::new(move || fill(&mut out)),
    })
}

fn product<T: Real>(settings: &Settings, level: Level) -> Result<Work<'static>> {
    let (n, c, par) = (settings.samples, settings.columns, par(settings.threads));
    let (z, v) = (samples::<T>(n, settings.features, 1), normal::<T>(n, c, 2));
    let rows = match settings.form {
        Form::Product => 0..n,
        _ => {
            let count = settings.rows.min(n);
            (n - count) / 2..(n - count) / 2 + count
        }
    };
    let kernel = KernelProduct::symmetric(level, z.as_ref())?;
    let mut out = Mat::<T>::zeros(rows.len(), c);
    let mut workspace = ProductWorkspace::new(par);
    let whole = settings.form == Form::Product;
    let (first, count) = (rows.start, rows.len());
    let mut apply = move |out: &mut Mat<T>| {
        if whole {
            kernel.apply_into(out.as_mut(), v.as_ref(), &mut workspace)
        } else {
            kernel.apply_rows_into(out.as_mut(), v.as_ref(), first..first + count, &mut workspace)
        }
    };
    apply(&mut out)?;
    // A few rows are enough where each is a long sum.
    let checked: Vec<usize> = checked_rows(count).into_iter().take(if n > 1 << 16 { 2 } else { usize::MAX }).collect();
    let v = normal::<T>(n, c, 2);
    let row = |i: usize| -> Vec<f64> { (0..z.ncols()).map(|k| z[(i, k)].to_f64()).collect() };
    let picked: Vec<Vec<f64>> = checked.iter().map(|&i| row(first + i)).collect();
    let mut sums = Mat::<f64>::zeros(checked.len(), c);
    for l in 0..n {
        let other = row(l);
        for (i, picked) in picked.iter().enumerate() {
            let k = reference::kernel(picked, &other);
            for j in 0..c {
                sums[(i, j)] += k * v[(l, j)].to_f64();
            }
        }
    }
    let max_error = error(&sums, |i, j| out[(checked[i], j)].to_f64());
    let (samples, width) = (n as f64, settings.features as f64);
    // An entry serves both sides of the whole product: computed once, used twice.
    let used = count as f64 * samples;
    let computed = if whole { samples * (samples + 1.0) / 2.0 } else { used };
    Ok(Work {
        flops: 2.0 * width * computed + 2.0 * c as f64 * used,
        bytes: (2.0 * samples * (width + c as f64)) * size_of::<T>() as f64,
        limit: Limit::Arithmetic,
        max_error,
        run: Box::new(move || apply(&mut out)),
    })
}
