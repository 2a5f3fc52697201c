//! Holds the kernels against the reference at every level and around every size boundary, and against printed values.

use faer::{Mat, MatMut, MatRef, Par};

use super::*;
use crate::Error;
use crate::kernels::Real;
use crate::simd::Level;

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

/// Deterministic values in [-1, 1) whose period fits no tile.
fn values(rows: usize, columns: usize, seed: u64) -> Mat<f64> {
    let mut state = seed;
    Mat::from_fn(rows, columns, |_, _| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    })
}

/// Samples with a zero vector, a duplicate, an opposite, a multiple, and neighbours of each in places that meet in tiles.
fn samples<T: Real>(n: usize, d: usize) -> Mat<T> {
    let mut z = values(n, d, 17 + n as u64);
    let nudges = values(n, d, 5);
    for j in 0..n {
        for k in 0..d {
            match j % 11 {
                3 => z[(j, k)] = z[(j / 2, k)],
                4 => z[(j, k)] = -2.5 * z[(j / 3, k)],
                5 => z[(j, k)] = z[(j / 2, k)] * (1.0 + 1e-7 * nudges[(j, k)]),
                6 => z[(j, k)] = -z[(j / 2, k)] * (1.0 + 1e-4 * nudges[(j, k)]),
                7 => z[(j, k)] = z[(j - 1, k)] * (1.0 + 0.06 * nudges[(j, k)]),
                8 if j % 2 == 0 => z[(j, k)] = 0.0,
                _ => {}
            }
        }
    }
    convert(z.as_ref())
}

/// Fails at the first entry that differs; zeros of either sign are the same.
fn assert_same<T: Real>(found: MatRef<'_, T>, expected: MatRef<'_, T>, what: &str) {
    assert_eq!(found.shape(), expected.shape());
    for j in 0..found.ncols() {
        for i in 0..found.nrows() {
            let (found, expected) = (found[(i, j)], expected[(i, j)]);
            assert!(found == expected, "{} {what}: entry ({i}, {j}) is {found}, expected {expected}", T::NAME);
        }
    }
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
            let size = (left[i].to_f64() * right[j].to_f64()).max(f64::MIN_POSITIVE);
            let difference = (found[(i, j)].to_f64() - expected[(i, j)]).abs() / size;
            assert!(!difference.is_nan(), "entry ({i}, {j})");
            worst = worst.max(difference);
        }
    }
    worst
}

const SINGLE: f64 = 5e-7;
const DOUBLE: f64 = 1e-15;

fn check_printed<T: Real>(tolerance: f64) {
    let (z, other) = (printed("z"), printed("z_other"));
    let reference = reference::gram(z.as_ref());
    let error = relative_error(reference.as_ref(), printed("gram").as_ref(), z.as_ref(), z.as_ref());
    assert!(error < 1e-15, "reference: {error:e}");
    let (z, other) = (convert::<T>(z.as_ref()), convert::<T>(other.as_ref()));
    for level in Level::available() {
        let mut gram = Mat::zeros(9, 9);
        gram_with(level, gram.as_mut(), z.as_ref(), Par::Seq).unwrap();
        let mut cross = Mat::zeros(9, 4);
        cross_gram_with(level, cross.as_mut(), z.as_ref(), other.as_ref(), Par::Seq).unwrap();
        for (found, right, name) in [(&gram, &z, "gram"), (&cross, &other, "cross")] {
            let error = relative_error(found.as_ref(), printed(name).as_ref(), z.as_ref(), right.as_ref());
            assert!(error < tolerance, "{name} at {level}: {error:e}");
        }
    }
}

#[test]
fn printed_values_are_met() {
    check_printed::<f64>(DOUBLE);
    check_printed::<f32>(SINGLE);
}

fn check_sizes<T: Real>(tolerance: f64) {
    for (n, d) in [
        (0, 3),
        (1, 1),
        (2, 0),
        (7, 1),
        (8, 2),
        (15, 2),
        (16, 3),
        (17, 8),
        (63, 5),
        (64, 25),
        (65, 8),
        (127, 2),
        (129, 94),
        (70, 256),
    ] {
        let z = samples::<T>(n, d);
        let expected = reference::gram(z.as_ref());
        let (mut diagonal, mut rows) = (vec![T::ZERO; n], Mat::<T>::zeros(n, n));
        diagonal_into(&mut diagonal, z.as_ref()).unwrap();
        for level in Level::available() {
            for par in [Par::Seq, Par::rayon(3)] {
                let mut found = Mat::<T>::from_fn(n, n, |_, _| T::from_f64(7.0));
                gram_with(level, found.as_mut(), z.as_ref(), par).unwrap();
                let error = relative_error(found.as_ref(), expected.as_ref(), z.as_ref(), z.as_ref());
                assert!(error <= tolerance, "{} at {level}, N {n} D {d}: {error:e}", T::NAME);
                assert_same(found.as_ref(), found.transpose(), &format!("mirror at {level}, N {n} D {d}"));
                let on_diagonal: Vec<T> = (0..n).map(|i| found[(i, i)]).collect();
                assert_eq!(on_diagonal, diagonal);

                let mut lower = Mat::<T>::from_fn(n, n, |_, _| T::from_f64(7.0));
                gram_lower_with(level, lower.as_mut(), z.as_ref(), par).unwrap();
                let halves = Mat::from_fn(n, n, |i, j| if i >= j { found[(i, j)] } else { T::from_f64(7.0) });
                assert_same(lower.as_ref(), halves.as_ref(), &format!("lower triangle at {level}, N {n} D {d}"));

                for (from, to) in [(0, n), (n / 3, n), (n / 3, n / 2), (n / 2, n / 2), (n.saturating_sub(1), n)] {
                    let out = rows.as_mut().subrows_mut(from, to - from);
                    gram_rows_with(level, out, z.as_ref(), from..to, par).unwrap();
                    let (some, all) = (rows.as_ref().subrows(from, to - from), found.as_ref());
                    let what = format!("rows {from}..{to} at {level}, N {n} D {d}");
                    assert_same(some, all.subrows(from, to - from), &what);
                }
            }
        }
    }
}

#[test]
fn every_level_and_size_boundary_agrees_with_the_reference() {
    check_sizes::<f32>(SINGLE);
    check_sizes::<f64>(DOUBLE);
}

fn check_cross<T: Real>(tolerance: f64) {
    for (n1, n2, d) in [(1, 1, 1), (3, 70, 2), (65, 5, 9), (64, 128, 4), (33, 31, 25), (0, 4, 2), (130, 67, 3)] {
        let (z1, z2) = (samples::<T>(n1, d), samples::<T>(n2 + 9, d));
        let z2 = z2.as_ref().subrows(9, n2);
        let expected = reference::cross_gram(z1.as_ref(), z2);
        for level in Level::available() {
            let mut found = Mat::<T>::zeros(n1, n2);
            cross_gram_with(level, found.as_mut(), z1.as_ref(), z2, Par::rayon(2)).unwrap();
            let error = relative_error(found.as_ref(), expected.as_ref(), z1.as_ref(), z2);
            assert!(error <= tolerance, "{} at {level}, {n1} x {n2}, D {d}: {error:e}", T::NAME);
        }
    }
}

#[test]
fn rectangles_agree_with_the_reference() {
    check_cross::<f32>(SINGLE);
    check_cross::<f64>(DOUBLE);
}

/// Outputs of every layout around and beyond a tile, in a buffer whose other entries must stay.
fn check_layouts<T: Real>() {
    let (n, d) = (83, 5);
    let z = samples::<T>(n, d);
    let wide =
        Mat::<T>::from_fn(2 * n, 2 * d, |i, j| if i % 2 == 0 && j % 2 == 0 { z[(i / 2, j / 2)] } else { T::ZERO });
    let strided = unsafe { MatRef::from_raw_parts(wide.as_ptr(), n, d, 2, 2 * wide.col_stride()) };
    let mark = T::from_f64(-3.0);
    for level in Level::available() {
        let mut expected = Mat::<T>::zeros(n, n);
        gram_with(level, expected.as_mut(), z.as_ref(), Par::Seq).unwrap();
        for offset in [0, 1, 5] {
            for (row, column) in [(1, 96), (1, 83), (96, 1), (83, 1), (2, 200), (200, 3), (-1, 96), (96, -1), (1, -96)]
            {
                let mut buffer = vec![mark; offset + 200 * 100 + 64];
                let negative = |stride: isize| if stride < 0 { (n as isize - 1) * -stride } else { 0 };
                let start = offset as isize + negative(row) + negative(column);
                let place = |i: usize, j: usize| (start + i as isize * row + j as isize * column) as usize;
                for form in 0..4 {
                    buffer.fill(mark);
                    // SAFETY: all entries lie within the buffer and none twice.
                    let out =
                        unsafe { MatMut::from_raw_parts_mut(buffer.as_mut_ptr().offset(start), n, n, row, column) };
                    match form {
                        0 => gram_with(level, out, strided, Par::Seq).unwrap(),
                        1 => gram_lower_with(level, out, strided, Par::Seq).unwrap(),
                        2 => cross_gram_with(level, out, z.as_ref(), strided, Par::Seq).unwrap(),
                        _ => gram_rows_with(level, out.subrows_mut(0, 50), strided, 20..70, Par::Seq).unwrap(),
                    }
                    let mut left = vec![mark; buffer.len()];
                    for i in 0..n {
                        for j in 0..n {
                            let wanted = match form {
                                1 if i < j => continue,
                                3 if i >= 50 => continue,
                                3 => expected[(i + 20, j)],
                                // The diagonal of a rectangle is computed as any other entry.
                                2 if i == j => buffer[place(i, j)],
                                _ => expected[(i, j)],
                            };
                            left[place(i, j)] = wanted;
                        }
                    }
                    assert!(
                        buffer == left,
                        "{} form {form} at {level}, strides {row}, {column}, offset {offset}",
                        T::NAME
                    );
                }
            }
        }
    }
}

#[test]
fn every_layout_and_alignment_holds_the_same_values() {
    check_layouts::<f32>();
    check_layouts::<f64>();
}

fn same_bits<T: Real>(d: usize) {
    let z = samples::<T>(150, d);
    let grams = [Level::V3, Level::V4].map(|level| {
        let mut out = Mat::<T>::zeros(150, 150);
        gram_with(level, out.as_mut(), z.as_ref(), Par::Seq).unwrap();
        out
    });
    assert_same(grams[0].as_ref(), grams[1].as_ref(), "AVX2 against AVX-512");
}

#[test]
fn avx2_and_avx512_give_the_same_bits() {
    if Level::V3.is_available() && Level::V4.is_available() {
        // In few and many dimensions, with sums in one part, two and more.
        for d in [13, 17, 18, 40] {
            same_bits::<f32>(d);
            same_bits::<f64>(d);
        }
    }
}

fn own_bits<T: Real>(d: usize) {
    // Neighbours at every angle, so that blocks hold wide and narrow ones in all mixtures.
    let z = samples::<T>(70, d);
    let other = values(70, d, 3);
    let z = Mat::from_fn(70, d, |i, k| {
        let share = T::from_f64(0.1 * (i % 9) as f64);
        z[(i, k)] + share * (z[(i / 3, k)] + T::from_f64(0.2 * other[(i, k)]))
    });
    for level in Level::available() {
        let mut whole = Mat::<T>::zeros(70, 70);
        gram_with(level, whole.as_mut(), z.as_ref(), Par::Seq).unwrap();
        assert_same(whole.as_ref(), whole.transpose(), &format!("transposed at {level}"));
        for (i, j) in (0..70).flat_map(|i| (0..i).step_by(3).map(move |j| (i, j))) {
            let mut alone = Mat::<T>::zeros(1, 1);
            cross_gram_with(level, alone.as_mut(), z.subrows(i, 1), z.subrows(j, 1), Par::Seq).unwrap();
            assert!(alone[(0, 0)] == whole[(i, j)], "{} at {level}, D = {d}: entry ({i}, {j})", T::NAME);
        }
    }
}

#[test]
fn an_entry_has_the_same_bits_alone_and_among_others() {
    for d in [3, 17, 18, 40] {
        own_bits::<f32>(d);
        own_bits::<f64>(d);
    }
}

#[test]
fn extreme_norms_neither_overflow_nor_vanish() {
    fn check<T: Real>(d: usize, sizes: &[f64], tolerance: f64) {
        let z = values(40, d, 3);
        let z = Mat::<T>::from_fn(40, d, |i, k| T::from_f64(z[(i, k)] * sizes[i % sizes.len()]));
        let expected = reference::gram(z.as_ref());
        for level in Level::available() {
            let mut found = Mat::<T>::zeros(40, 40);
            gram_with(level, found.as_mut(), z.as_ref(), Par::Seq).unwrap();
            let error = relative_error(found.as_ref(), expected.as_ref(), z.as_ref(), z.as_ref());
            assert!(error < tolerance, "{} at {level}, D = {d}: {error:e}", T::NAME);
        }
    }
    for d in [6, 20] {
        check::<f32>(d, &[1e-18, 1.0, 1e18, 1e-5, 3e7], SINGLE);
        check::<f64>(d, &[1e-150, 1.0, 1e150, 1e-90], DOUBLE);
    }
    // Norms whose product is beyond the type: an entry is infinite only where its own value is, and never undefined.
    let sizes = [1e38, 1e-38, 1e30, 1e-6, 3e19];
    for d in [4, 20] {
        let z = Mat::<f32>::from_fn(80, d, |i, k| {
            // Every other pair of large samples is orthogonal, or as good as opposite.
            let direction =
                [[1.0, 0.0, 0.0, 0.5], [0.0, 1.0, 0.0, 0.0], [-1.0, 1e-6, 0.0, -0.5], [0.3, -0.2, 0.6, 0.1]];
            if k < 4 { (direction[i % 4][k] * sizes[i % 5]) as f32 } else { 0.0 }
        });
        let expected = reference::gram(z.as_ref());
        for level in Level::available() {
            let mut found = Mat::<f32>::zeros(80, 80);
            gram_with(level, found.as_mut(), z.as_ref(), Par::Seq).unwrap();
            for j in 0..80 {
                for i in 0..80 {
                    let (found, expected) = (found[(i, j)], expected[(i, j)]);
                    let size = sizes[i % 5] * sizes[j % 5] * 2.0;
                    let right = if expected.abs() > f64::from(f32::MAX) {
                        f64::from(found) == f64::INFINITY.copysign(expected)
                    } else {
                        (f64::from(found) - expected).abs() <= SINGLE * size + 1e-44
                    };
                    assert!(right, "({i}, {j}) at {level}, D = {d}: found {found:e}, expected {expected:e}");
                    let mut alone = Mat::<f32>::zeros(1, 1);
                    let (a, b) = (z.subrows(i, 1), z.subrows(j, 1));
                    cross_gram_with(level, alone.as_mut(), a, b, Par::Seq).unwrap();
                    assert!(i == j || alone[(0, 0)] == found, "({i}, {j}) at {level}, D = {d}, alone");
                }
            }
        }
    }
    // Single samples at the edges of the type.
    let mut norms = [0.0; 2];
    let z = Mat::from_fn(2, 3, |i, _| if i == 0 { 1e300 } else { 1e-310 });
    row_norms_into(&mut norms, z.as_ref()).unwrap();
    assert!((norms[0] / (1e300 * 3f64.sqrt()) - 1.0).abs() < 1e-15);
    assert!((norms[1] / (1e-310 * 3f64.sqrt()) - 1.0).abs() < 1e-12);
}

#[test]
fn outputs_beyond_the_caches_hold_the_same_values() {
    // Large enough for streaming stores whatever the last-level cache, were it at most 64 MB.
    let (n, d) = (4224, 2);
    let z = samples::<f32>(n, d);
    let owned = gram(z.as_ref(), Par::rayon(2)).unwrap();
    for rows in [0..40, 64..130, 4159..4224] {
        let mut expected = Mat::<f32>::zeros(rows.len(), n);
        gram_rows_into(expected.as_mut(), z.as_ref(), rows.clone(), Par::Seq).unwrap();
        assert_same(owned.as_ref().subrows(rows.start, rows.len()), expected.as_ref(), "rows");
        assert_same(owned.as_ref().subcols(rows.start, rows.len()), expected.transpose(), "columns");
    }
}

#[test]
fn bad_input_is_an_error_value() {
    let z = samples::<f32>(5, 3);
    let mut out = Mat::<f32>::zeros(5, 5);
    let shape = |r: crate::Result<()>| matches!(r, Err(Error::Shape { .. }));
    assert!(shape(gram_into(out.as_mut().subrows_mut(0, 4), z.as_ref(), Par::Seq)));
    assert!(shape(gram_lower_into(out.as_mut().subcols_mut(0, 4), z.as_ref(), Par::Seq)));
    assert!(shape(gram_rows_into(out.as_mut(), z.as_ref(), 0..4, Par::Seq)));
    assert!(shape(cross_gram_into(out.as_mut(), z.as_ref(), z.as_ref().subcols(0, 2), Par::Seq)));
    assert!(shape(cross_gram_into(out.as_mut(), z.as_ref(), z.as_ref().subrows(0, 2), Par::Seq)));
    assert!(shape(diagonal_into(&mut [0.0; 4], z.as_ref())));
    assert!(shape(row_norms_into(&mut [0.0; 6], z.as_ref())));
    #[allow(clippy::reversed_empty_ranges)] // the case in question
    for rows in [3..6, 4..3] {
        let rows = gram_rows_into(out.as_mut().subrows_mut(0, 3), z.as_ref(), rows, Par::Seq);
        assert!(matches!(rows, Err(Error::Setting { .. })));
    }
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut z = z.clone();
        z[(4, 1)] = bad;
        let expected = Err(Error::NotFinite { what: "the samples", row: 4, column: 1 });
        assert_eq!(gram_into(out.as_mut(), z.as_ref(), Par::Seq), expected);
        assert_eq!(diagonal_into(&mut [0.0; 5], z.as_ref()), expected);
        assert_eq!(KernelProduct::symmetric(Level::Scalar, z.as_ref()).map(|_| ()), expected);
    }
    let huge = Mat::from_fn(2, 9, |_, _| f32::MAX);
    assert!(matches!(gram(huge.as_ref(), Par::Seq), Err(Error::Setting { .. })));
    let one = [1.0f32];
    // SAFETY: every row is the same one value.
    let endless = unsafe { MatRef::from_raw_parts(one.as_ptr(), 1 << 24, 1, 0, 1) };
    assert!(matches!(gram(endless, Par::Seq), Err(Error::Memory { .. })));
}

fn check_products<T: Real>(tolerance: f64) {
    for (n, d, c) in
        [(1, 1, 1), (63, 2, 3), (64, 5, 1), (65, 5, 24), (200, 3, 7), (330, 8, 5), (4500, 2, 1), (40, 3, 0)]
    {
        let z = samples::<T>(n, d);
        let v = convert::<T>(values(n, c, 8).as_ref());
        let mut size = vec![T::ZERO; n];
        row_norms_into(&mut size, z.as_ref()).unwrap();
        let total: f64 = size.iter().map(|x| x.to_f64()).sum();
        let expected = if n < 1000 {
            let k = reference::gram(z.as_ref());
            Mat::from_fn(n, c, |i, j| (0..n).map(|l| k[(i, l)] * v[(l, j)].to_f64()).sum::<f64>())
        } else {
            let k = gram(z.as_ref(), Par::Seq).unwrap();
            let k = k.as_ref();
            Mat::from_fn(n, c, |i, j| (0..n).map(|l| k[(l, i)].to_f64() * v[(l, j)].to_f64()).sum::<f64>())
        };
        for level in Level::available().into_iter().filter(|&l| n < 1000 || l == Level::detect()) {
            let product = KernelProduct::symmetric(level, z.as_ref()).unwrap();
            assert_eq!((product.nrows(), product.ncols()), (n, n));
            let cross = KernelProduct::cross(level, z.as_ref(), z.as_ref().subrows(0, n / 2)).unwrap();
            let mut results = Vec::new();
            for par in [Par::Seq, Par::rayon(2), Par::rayon(5)] {
                let mut workspace = ProductWorkspace::new(par);
                let (mut all, mut some) = (Mat::<T>::zeros(n, c), Mat::<T>::zeros(n - n / 3, c));
                product.apply_into(all.as_mut(), v.as_ref(), &mut workspace).unwrap();
                product.apply_rows_into(some.as_mut(), v.as_ref(), n / 3..n, &mut workspace).unwrap();
                let mut half = Mat::<T>::zeros(n, c);
                cross.apply_into(half.as_mut(), v.as_ref().subrows(0, n / 2), &mut workspace).unwrap();
                for j in 0..c {
                    for i in 0..n {
                        let bound = tolerance * size[i].to_f64() * total + f64::MIN_POSITIVE;
                        let error = (all[(i, j)].to_f64() - expected[(i, j)]).abs();
                        assert!(error <= bound, "{} at {level}, N {n}, c {c}, ({i}, {j}): {error:e}", T::NAME);
                        if i >= n / 3 {
                            let error = (some[(i - n / 3, j)].to_f64() - expected[(i, j)]).abs();
                            assert!(error <= bound, "{} rows at {level}, N {n}, ({i}, {j}): {error:e}", T::NAME);
                        }
                    }
                }
                results.push((all, some, half));
            }
            for (all, some, half) in &results[1..] {
                assert_same(all.as_ref(), results[0].0.as_ref(), "whole product, other workers");
                assert_same(some.as_ref(), results[0].1.as_ref(), "rows of the product, other workers");
                assert_same(half.as_ref(), results[0].2.as_ref(), "product of the rectangle, other workers");
            }
            if n < 1000 {
                let k = reference::cross_gram(z.as_ref(), z.as_ref().subrows(0, n / 2));
                for j in 0..c {
                    for i in 0..n {
                        let expected: f64 = (0..n / 2).map(|l| k[(i, l)] * v[(l, j)].to_f64()).sum();
                        let error = (results[0].2[(i, j)].to_f64() - expected).abs();
                        assert!(error <= tolerance * size[i].to_f64() * total + f64::MIN_POSITIVE, "{error:e}");
                    }
                }
            }
        }
    }
}

#[test]
fn products_agree_with_the_reference_and_do_not_depend_on_the_workers() {
    check_products::<f32>(SINGLE);
    check_products::<f64>(DOUBLE);
}

#[test]
fn long_products_are_as_exact_as_short_ones() {
    let (n, rows) = (60_000, 900..910);
    let z = convert::<f32>(values(n, 3, 5).as_ref());
    let v = Mat::<f32>::from_fn(n, 1, |_, _| 1.0);
    let some = z.as_ref().subrows(rows.start, rows.len());
    let k = reference::cross_gram(some, z.as_ref());
    for level in Level::available() {
        let product = KernelProduct::symmetric(level, z.as_ref()).unwrap();
        let mut found = Mat::<f32>::zeros(rows.len(), 1);
        let mut workspace = ProductWorkspace::new(Par::Seq);
        product.apply_rows_into(found.as_mut(), v.as_ref(), rows.clone(), &mut workspace).unwrap();
        for i in 0..rows.len() {
            let expected: f64 = (0..n).map(|j| k[(i, j)]).sum();
            let error = (f64::from(found[(i, 0)]) / expected - 1.0).abs();
            assert!(error < 2e-7, "row {i} at {level}: {error:e}");
        }
    }
}

#[test]
fn products_refuse_what_does_not_fit() {
    let z = samples::<f64>(9, 3);
    let product = KernelProduct::symmetric(Level::current(), z.as_ref()).unwrap();
    let mut workspace = ProductWorkspace::new(Par::Seq);
    let (mut out, v) = (Mat::<f64>::zeros(9, 2), Mat::<f64>::zeros(9, 2));
    assert!(product.apply_into(out.as_mut(), v.as_ref().subrows(0, 8), &mut workspace).is_err());
    assert!(product.apply_into(out.as_mut(), v.as_ref().subcols(0, 1), &mut workspace).is_err());
    assert!(product.apply_rows_into(out.as_mut(), v.as_ref(), 1..10, &mut workspace).is_err());
    let bad = Mat::<f64>::from_fn(9, 2, |i, _| if i == 3 { f64::NAN } else { 0.0 });
    let error = product.apply_into(out.as_mut(), bad.as_ref(), &mut workspace).unwrap_err();
    assert!(matches!(error, Error::NotFinite { row: 3, column: 0, .. }));
    assert!(KernelProduct::cross(Level::current(), z.as_ref(), z.as_ref().subcols(0, 2)).is_err());
}
