//! What holds of every analytic kernel matrix, whatever the samples: symmetry, positive semidefiniteness, homogeneity, and rows
//! that do not depend on how they are shared out.

use faer::{Mat, MatMut, MatRef, Par, Side};
use ntk_score::kernels::Real;
use ntk_score::kernels::gram::{cross_gram_with, gram_rows_with, gram_with, row_norms_into};
use ntk_score::simd::Level;
use proptest::prelude::*;

/// Samples of which many are multiples, near-duplicates or opposites of earlier ones, or zero.
#[derive(Debug, Clone)]
struct Samples {
    rows: Vec<(u8, usize, f64, Vec<f64>)>,
    features: usize,
}

impl Samples {
    fn matrix<T: Real>(&self) -> Mat<T> {
        let mut z = Mat::<f64>::zeros(self.rows.len(), self.features);
        for (i, (kind, earlier, factor, fresh)) in self.rows.iter().enumerate() {
            let earlier = earlier % i.max(1);
            for k in 0..self.features {
                z[(i, k)] = match kind {
                    0 if i > 0 => factor * z[(earlier, k)],
                    1 if i > 0 => -factor * z[(earlier, k)],
                    2 if i > 0 => z[(earlier, k)] * (1.0 + 1e-6 * fresh[k]),
                    3 if i > 0 => -z[(earlier, k)] * (1.0 + 1e-3 * fresh[k]),
                    4 => 0.0,
                    _ => fresh[k],
                };
            }
        }
        Mat::from_fn(z.nrows(), z.ncols(), |i, k| T::from_f64(z[(i, k)]))
    }
}

fn samples() -> impl Strategy<Value = Samples> {
    (1usize..90, 1usize..10).prop_flat_map(|(n, features)| {
        let fresh = proptest::collection::vec(-1.0f64..1.0, features);
        let row = (0u8..10, any::<usize>(), 0.3f64..3.0, fresh);
        proptest::collection::vec(row, n).prop_map(move |rows| Samples { rows, features })
    })
}

fn gram<T: Real>(level: Level, z: MatRef<'_, T>) -> Mat<T> {
    let mut out = Mat::zeros(z.nrows(), z.nrows());
    gram_with(level, out.as_mut(), z, Par::Seq).unwrap();
    out
}

fn norms<T: Real>(z: MatRef<'_, T>) -> Vec<f64> {
    let mut norms = vec![T::ZERO; z.nrows()];
    row_norms_into(&mut norms, z).unwrap();
    norms.into_iter().map(T::to_f64).collect()
}

fn is_symmetric_and_semidefinite<T: Real>(samples: &Samples, tolerance: f64) -> Result<(), TestCaseError> {
    let z = samples.matrix::<T>();
    for level in Level::available() {
        let k = gram(level, z.as_ref());
        prop_assert!(k == k.transpose(), "{} at {level}: not symmetric", T::NAME);
        let wide = Mat::from_fn(k.nrows(), k.ncols(), |i, j| k[(i, j)].to_f64());
        let values = wide.self_adjoint_eigenvalues(Side::Lower).unwrap();
        let (smallest, largest) = (values[0], values[values.len() - 1]);
        prop_assert!(smallest >= -tolerance * largest, "{} at {level}: {smallest:e} of {largest:e}", T::NAME);
    }
    Ok(())
}

fn is_homogeneous<T: Real>(samples: &Samples, (a, b): (f64, f64), tolerance: f64) -> Result<(), TestCaseError> {
    let z = samples.matrix::<T>();
    // Powers of two first, which change no digit; then any factors.
    for (a, b, exact) in [(a.log2().round().exp2(), b.log2().round().exp2(), true), (a, b, false)] {
        let scaled = |by: f64| Mat::from_fn(z.nrows(), z.ncols(), |i, k| T::from_f64(z[(i, k)].to_f64() * by));
        let (left, right) = (scaled(a), scaled(b));
        let (left_norms, right_norms) = (norms(left.as_ref()), norms(right.as_ref()));
        for level in Level::available() {
            let (mut plain, mut found) = (Mat::zeros(z.nrows(), z.nrows()), Mat::zeros(z.nrows(), z.nrows()));
            cross_gram_with(level, plain.as_mut(), z.as_ref(), z.as_ref(), Par::Seq).unwrap();
            cross_gram_with(level, found.as_mut(), left.as_ref(), right.as_ref(), Par::Seq).unwrap();
            for j in 0..z.nrows() {
                for i in 0..z.nrows() {
                    let (found, expected) = (found[(i, j)].to_f64(), a * b * plain[(i, j)].to_f64());
                    let room = if exact { 0.0 } else { tolerance * left_norms[i] * right_norms[j] };
                    let what = || format!("{} at {level}, ({i}, {j}), {a}, {b}: {found:e}, {expected:e}", T::NAME);
                    prop_assert!((found - expected).abs() <= room, "{}", what());
                }
            }
        }
    }
    Ok(())
}

/// Rows cut anywhere, from views with any strides and at any alignment, into views with any strides.
fn rows_are_the_same_bits<T: Real>(
    samples: &Samples,
    cut: (usize, usize),
    (step, offset): (usize, usize),
) -> Result<(), TestCaseError> {
    let z = samples.matrix::<T>();
    let (n, d) = z.shape();
    let (from, to) = (cut.0 % (n + 1), cut.1 % (n + 1));
    let rows = from.min(to)..from.max(to);
    let mark = T::from_f64(-3.0);
    let mut memory = vec![T::ZERO; offset + n * d * step];
    for i in 0..n {
        for k in 0..d {
            memory[offset + (i * d + k) * step] = z[(i, k)];
        }
    }
    // SAFETY: row-major with `step` values to an entry, all within the memory.
    let view = unsafe {
        let start = memory.as_ptr().add(offset);
        MatRef::from_raw_parts(start, n, d, (d * step) as isize, step as isize)
    };
    for level in Level::available() {
        let whole = gram(level, z.as_ref());
        let mut buffer = vec![mark; offset + rows.len() * n * step + 1];
        // SAFETY: column-major with `step` values to an entry, all within the buffer and none twice.
        let out = unsafe {
            let start = buffer.as_mut_ptr().add(offset);
            MatMut::from_raw_parts_mut(start, rows.len(), n, step as isize, (rows.len() * step) as isize)
        };
        gram_rows_with(level, out, view, rows.clone(), Par::Seq).unwrap();
        let mut expected = vec![mark; buffer.len()];
        for j in 0..n {
            for i in rows.clone() {
                expected[offset + (j * rows.len() + i - rows.start) * step] = whole[(i, j)];
            }
        }
        prop_assert!(buffer == expected, "{} at {level}, rows {rows:?} of {n}, step {step} from {offset}", T::NAME);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_matrix_is_symmetric_and_positive_semidefinite(samples in samples()) {
        is_symmetric_and_semidefinite::<f32>(&samples, 1e-5)?;
        is_symmetric_and_semidefinite::<f64>(&samples, 1e-13)?;
    }

    #[test]
    fn positive_factors_come_out_of_either_side(samples in samples(), a in 1e-3f64..1e3, b in 1e-3f64..1e3) {
        is_homogeneous::<f32>(&samples, (a, b), 1e-6)?;
        is_homogeneous::<f64>(&samples, (a, b), 2e-15)?;
    }

    #[test]
    fn row_ranges_of_any_view_hold_the_bits_of_the_whole(
        samples in samples(),
        cut in any::<(usize, usize)>(),
        layout in (1usize..4, 0usize..17),
    ) {
        rows_are_the_same_bits::<f32>(&samples, cut, layout)?;
        rows_are_the_same_bits::<f64>(&samples, cut, layout)?;
    }
}
