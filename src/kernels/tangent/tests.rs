//! Holds the tangent kernel against its reference and against what mathematics says of it, for every way of counting and around
//! every size boundary.

use faer::{Mat, MatMut, MatRef, Par, Side};

use super::*;
use crate::kernels::Real;
use crate::simd::{Level, Popcount};

fn between<'a, T>(a: &'a Panels<T>, rows: Features<'a, T>, columns: Features<'a, T>) -> TangentKernel<'a, T> {
    TangentKernel { a, rows, columns }
}

/// Deterministic values in [-1, 1) whose period fits no tile.
fn values(rows: usize, columns: usize, seed: u64) -> Mat<f64> {
    let mut state = seed;
    Mat::from_fn(rows, columns, |_, _| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    })
}

fn convert<T: Real>(m: &Mat<f64>) -> Mat<T> {
    Mat::from_fn(m.nrows(), m.ncols(), |i, j| T::from_f64(m[(i, j)]))
}

fn signs<T: Real>(neurons: usize, outputs: usize) -> Mat<T> {
    let x = values(neurons, outputs, 3);
    Mat::from_fn(neurons, outputs, |r, i| if x[(r, i)] < 0.0 { -T::ONE } else { T::ONE })
}

/// Samples, weights' patterns and panels of one set.
struct Set<T> {
    z: Mat<T>,
    panels: Panels<T>,
    patterns: ActivationPatterns,
}

impl<T: Real> Set<T> {
    fn new(z: Mat<T>, w: MatRef<'_, T>) -> Self {
        let patterns = ActivationPatterns::new_from(w, z.as_ref(), Par::Seq).unwrap();
        Self { panels: Panels::from_matrix("z", z.as_ref()).unwrap(), z, patterns }
    }

    fn random(n: usize, m: usize, inputs: usize, seed: u64) -> Self {
        Self::new(convert(&values(n, inputs, seed)), convert::<T>(&values(m, inputs, 2)).as_ref())
    }

    fn features(&self) -> Features<'_, T> {
        Features { patterns: &self.patterns, z: &self.panels }
    }

    fn plain(&self) -> (&ActivationPatterns, MatRef<'_, T>) {
        (&self.patterns, self.z.as_ref())
    }
}

/// The largest difference, relative to the largest entry.
fn difference<T: Real>(found: MatRef<'_, T>, expected: &Mat<f64>) -> f64 {
    assert_eq!((found.nrows(), found.ncols()), (expected.nrows(), expected.ncols()));
    let mut worst: f64 = 0.0;
    for j in 0..expected.ncols() {
        for i in 0..expected.nrows() {
            let difference = (found[(i, j)].to_f64() - expected[(i, j)]).abs();
            worst = if difference.is_nan() { f64::INFINITY } else { worst.max(difference) };
        }
    }
    if worst == 0.0 { 0.0 } else { worst / expected.norm_max() }
}

/// Shapes: samples of both sets, neurons, inputs, outputs.
///
/// Two reach further than the others: 33,000 neurons leave room for fewer lanes at a time than there are, and 64 outputs make an output
/// large enough to be written past the caches.
const SHAPES: [[usize; 5]; 20] = [
    [1, 1, 1, 1, 1],
    [1, 2, 65, 2, 2],
    [2, 1, 31, 3, 1],
    [15, 17, 64, 1, 3],
    [16, 16, 32, 4, 2],
    [17, 15, 33, 5, 2],
    [63, 65, 63, 2, 2],
    [64, 64, 128, 3, 1],
    [65, 63, 127, 3, 3],
    [70, 130, 700, 2, 2],
    [131, 40, 129, 7, 5],
    [33, 80, 1025, 25, 3],
    [1, 1, 1, 1, 8],
    [9, 5, 70, 3, 66],
    [40, 70, 100, 2, 9],
    [64, 33, 65, 4, 12],
    [20, 35, 300, 3, 5],
    [66, 7, 200, 5, 6],
    [3, 130, 33_000, 1, 2],
    [32, 32, 40, 2, 64],
];

fn check_blocks<T: Real>(tolerance: f64) {
    let mut workspace = Workspace::new();
    for [n1, n2, m, inputs, d] in SHAPES {
        let (left, right) = (Set::<T>::random(n1, m, inputs, 1), Set::<T>::random(n2, m, inputs, 4));
        let a = signs::<T>(m, d);
        let panels = Panels::from_matrix("a", a.as_ref()).unwrap();
        for (i, k) in [(0, 0), (0, d - 1), (d - 1, 0)] {
            let rectangular = reference::block(a.as_ref(), (i, k), left.plain(), right.plain());
            let symmetric = reference::block(a.as_ref(), (i, k), left.plain(), left.plain());
            for count in Popcount::available() {
                for par in [Par::Seq, Par::rayon(3)] {
                    let what = format!("{} {} N {n1} {n2} m {m} D {inputs} ({i}, {k})", T::NAME, count.name());
                    let mut out = Mat::from_fn(n1, n2, |_, _| T::from_f64(f64::NAN));
                    let (rows, columns) = (left.features(), right.features());
                    block_with(count, out.as_mut(), (i, k), between(&panels, rows, columns), &mut workspace, par)
                        .unwrap();
                    let error = difference(out.as_ref(), &rectangular);
                    assert!(error <= tolerance, "{what}: {error:e}");
                    let mut out = Mat::from_fn(n1, n1, |_, _| T::from_f64(f64::NAN));
                    block_with(
                        count,
                        out.as_mut(),
                        (i, k),
                        TangentKernel::symmetric(&panels, rows),
                        &mut workspace,
                        par,
                    )
                    .unwrap();
                    let error = difference(out.as_ref(), &symmetric);
                    assert!(error <= tolerance, "symmetric {what}: {error:e}");
                    assert_eq!(out, out.transpose(), "{what}");
                }
            }
        }
    }
}

#[test]
fn blocks_agree_with_the_reference() {
    check_blocks::<f32>(2e-6);
    check_blocks::<f64>(1e-14);
}

fn check_full<T: Real>(tolerance: f64) {
    let mut workspace = Workspace::new();
    for [n1, n2, m, inputs, d] in SHAPES {
        let (left, right) = (Set::<T>::random(n1, m, inputs, 1), Set::<T>::random(n2, m, inputs, 4));
        let a = signs::<T>(m, d);
        let panels = Panels::from_matrix("a", a.as_ref()).unwrap();
        let rectangular = reference::full(a.as_ref(), left.plain(), right.plain());
        let symmetric = reference::full(a.as_ref(), left.plain(), left.plain());
        for count in Popcount::available() {
            for par in [Par::Seq, Par::rayon(3)] {
                let what = format!("{} {} N {n1} {n2} m {m} D {inputs} d {d}", T::NAME, count.name());
                let (rows, columns) = (left.features(), right.features());
                let mut out = Mat::from_fn(d * n1, d * n2, |_, _| T::from_f64(f64::NAN));
                full_with(count, out.as_mut(), between(&panels, rows, columns), &mut workspace, par).unwrap();
                let error = difference(out.as_ref(), &rectangular);
                assert!(error <= tolerance, "{what}: {error:e}");
                let mut out = Mat::from_fn(d * n1, d * n1, |_, _| T::from_f64(f64::NAN));
                full_with(count, out.as_mut(), TangentKernel::symmetric(&panels, rows), &mut workspace, par).unwrap();
                let error = difference(out.as_ref(), &symmetric);
                assert!(error <= tolerance, "symmetric {what}: {error:e}");
                assert_eq!(out, out.transpose(), "{what}");
            }
        }
    }
}

#[test]
fn all_blocks_agree_with_the_reference() {
    check_full::<f32>(2e-6);
    check_full::<f64>(1e-14);
}

fn check_product<T: Real>(tolerance: f64) {
    let mut workspace = ProductWorkspace::new();
    for [n1, n2, m, inputs, d] in SHAPES {
        let (left, right) = (Set::<T>::random(n1, m, inputs, 1), Set::<T>::random(n2, m, inputs, 4));
        let a = signs::<T>(m, d);
        let v = convert::<T>(&values(n2, d, 8));
        let expected = reference::product(v.as_ref(), a.as_ref(), left.plain(), right.plain());
        let [a, v] = [a, v].map(|x| Panels::from_matrix("test", x.as_ref()).unwrap());
        for level in Level::available() {
            for par in [Par::Seq, Par::rayon(3)] {
                let mut out = Panels::zeros(n1, d);
                let (rows, columns) = (left.features(), right.features());
                product_with(level, &mut out, &v, between(&a, rows, columns), &mut workspace, par).unwrap();
                let error = difference(out.to_matrix().as_ref(), &expected);
                assert!(error <= tolerance, "{} {level} N {n1} {n2} m {m} D {inputs} d {d}: {error:e}", T::NAME);
            }
        }
    }
}

#[test]
fn products_agree_with_the_reference() {
    check_product::<f32>(2e-6);
    check_product::<f64>(1e-14);
}

#[test]
fn chosen_blocks_agree_with_the_reference() {
    let (left, right) = (Set::<f64>::random(70, 130, 3, 1), Set::<f64>::random(33, 130, 3, 4));
    let signs = signs::<f64>(130, 4);
    let a = Panels::from_matrix("a", signs.as_ref()).unwrap();
    let chosen = [(0, 0), (3, 1), (2, 2), (1, 3), (3, 1), (0, 2)];
    let (mut workspace, nan) = (Workspace::new(), f64::NAN);
    for count in Popcount::available() {
        let mut out = chosen.map(|_| Mat::from_fn(70, 33, |_, _| nan));
        let mut square = chosen.map(|_| Mat::from_fn(70, 70, |_, _| nan));
        let mut blocks: Vec<_> = chosen.into_iter().zip(out.iter_mut().map(|x| x.as_mut())).collect();
        let (rows, columns) = (left.features(), right.features());
        blocks_with(count, &mut blocks, between(&a, rows, columns), &mut workspace, Par::Seq).unwrap();
        let mut blocks: Vec<_> = chosen.into_iter().zip(square.iter_mut().map(|x| x.as_mut())).collect();
        blocks_with(count, &mut blocks, TangentKernel::symmetric(&a, rows), &mut workspace, Par::Seq).unwrap();
        for (outputs, (out, square)) in chosen.into_iter().zip(out.iter().zip(&square)) {
            let expected = reference::block(signs.as_ref(), outputs, left.plain(), right.plain());
            assert!(difference(out.as_ref(), &expected) <= 1e-14, "{outputs:?}");
            let expected = reference::block(signs.as_ref(), outputs, left.plain(), left.plain());
            assert!(difference(square.as_ref(), &expected) <= 1e-14, "{outputs:?}");
        }
    }
    let mut wrong = Mat::<f64>::zeros(70, 32);
    let mut blocks = [((0, 1), wrong.as_mut())];
    let (rows, columns) = (left.features(), right.features());
    assert!(
        blocks_with(Popcount::current(), &mut blocks, between(&a, rows, columns), &mut workspace, Par::Seq).is_err()
    );
    blocks_with(Popcount::current(), &mut [], between(&a, rows, columns), &mut workspace, Par::Seq).unwrap();
}

/// Rows beside each other, rows and columns apart, and the same patterns for other samples.
#[test]
fn every_layout_gives_the_same_kernel() {
    let (n1, n2, m, d) = (37, 70, 130, 7);
    let left = Set::<f32>::random(n1, m, 3, 1);
    let mut right = Set::<f32>::random(n2, m, 3, 4);
    let a = signs::<f32>(m, d);
    let panels = Panels::from_matrix("a", a.as_ref()).unwrap();
    let mut workspace = Workspace::new();
    for _ in 0..2 {
        let (rows, columns) = (left.features(), right.features());
        let expected = reference::full(a.as_ref(), left.plain(), right.plain());
        for count in Popcount::available() {
            let mut by_rows = Mat::<f32>::zeros(d * n2, d * n1);
            let out = by_rows.as_mut().transpose_mut();
            full_with(count, out, between(&panels, rows, columns), &mut workspace, Par::rayon(2)).unwrap();
            assert!(difference(by_rows.transpose(), &expected) <= 2e-6, "{}", count.name());
            let mut apart = Mat::<f32>::zeros(2 * d * n1, d * n2);
            let stride = apart.col_stride();
            // SAFETY: every other row of a matrix that has twice as many.
            let out = unsafe { MatMut::from_raw_parts_mut(apart.as_ptr_mut(), d * n1, d * n2, 2, stride) };
            full_with(count, out, between(&panels, rows, columns), &mut workspace, Par::Seq).unwrap();
            for x in 0..d * n1 {
                for y in 0..d * n2 {
                    assert_eq!(apart[(2 * x, y)], by_rows[(y, x)], "{} {x} {y}", count.name());
                    assert_eq!(apart[(2 * x + 1, y)], 0.0, "{} wrote between the rows", count.name());
                }
            }
        }
        // Other samples with the patterns of the first, both sides the same object.
        let z = convert::<f32>(&values(n1, 3, 8));
        right = Set { panels: Panels::from_matrix("z", z.as_ref()).unwrap(), z, patterns: left.patterns.clone() };
        let (rows, columns) = (left.features(), Features { patterns: &left.patterns, z: &right.panels });
        let expected = reference::full(a.as_ref(), left.plain(), right.plain());
        let mut out = Mat::<f32>::zeros(d * n1, d * n1);
        full_with(Popcount::current(), out.as_mut(), between(&panels, rows, columns), &mut workspace, Par::Seq)
            .unwrap();
        assert!(difference(out.as_ref(), &expected) <= 2e-6);
        right = Set::random(n2, m, 3, 5);
    }
}

fn check_fixture<T: Real>(tolerance: f64) {
    let text = std::fs::read_to_string("tests/data/empirical_ntk.json").unwrap();
    let fixture: serde_json::Value = serde_json::from_str(&text).unwrap();
    let matrix = |name: &str| {
        let rows = fixture[name].as_array().unwrap();
        let columns = rows[0].as_array().unwrap().len();
        Mat::from_fn(rows.len(), columns, |i, j| rows[i][j].as_f64().unwrap())
    };
    let [z, w, a] = ["z", "w", "a"].map(|name| convert::<T>(&matrix(name)));
    let set = Set::new(z, w.as_ref());
    let a = Panels::from_matrix("a", a.as_ref()).unwrap();
    let h = matrix("h");
    for count in Popcount::available() {
        let mut out = Mat::<T>::zeros(h.nrows(), h.ncols());
        full_with(count, out.as_mut(), TangentKernel::symmetric(&a, set.features()), &mut Workspace::new(), Par::Seq)
            .unwrap();
        let error = difference(out.as_ref(), &h);
        assert!(error <= tolerance, "{} {} {error:e}", T::NAME, count.name());
    }
}

#[test]
fn the_jacobian_computed_elsewhere_gives_the_same_kernel() {
    check_fixture::<f32>(2e-6);
    check_fixture::<f64>(1e-12);
}

#[test]
fn drift_agrees_with_stored_matrices() {
    for [n, _, m, inputs, d] in SHAPES {
        let start = Set::<f64>::random(n, m, inputs, 1);
        let moved = &convert::<f64>(&values(m, inputs, 2)) + faer::Scale(0.1) * &values(m, inputs, 7);
        let now = Set::new(start.z.clone(), moved.as_ref());
        let a = signs::<f64>(m, d);
        let h0 = reference::full(a.as_ref(), start.plain(), start.plain());
        let h1 = reference::full(a.as_ref(), now.plain(), now.plain());
        let row = |j: usize| start.z.row(j).iter().copied().collect::<Vec<f64>>();
        let limit =
            Mat::from_fn(
                d * n,
                d * n,
                |x, y| {
                    if x / n == y / n { reference::limit(&row(x % n), &row(y % n)) } else { 0.0 }
                },
            );
        let expected = [(&h1 - &h0).norm_l2(), h0.norm_l2(), (&h0 - &limit).norm_l2(), limit.norm_l2()];
        let a = Panels::from_matrix("a", a.as_ref()).unwrap();
        for count in Popcount::available() {
            let unmoved = drift_with(count, &start.patterns, &start.patterns, &a, &start.panels, Par::Seq).unwrap();
            let found = [Par::Seq, Par::rayon(3)]
                .map(|par| drift_with(count, &now.patterns, &start.patterns, &a, &start.panels, par).unwrap());
            assert_eq!(found[0], found[1], "the thread count changed the sums");
            assert_eq!(unmoved, Drift { change: 0.0, ..found[0] }, "patterns that have not moved");
            let Drift { change, start, gap, limit } = found[0];
            for (found, expected) in [change, start, gap, limit].into_iter().zip(expected) {
                let error = (found - expected).abs() / h0.norm_l2().max(limit);
                assert!(error < 1e-12, "{} N {n} m {m} D {inputs} d {d}: {found} {expected}", count.name());
            }
        }
    }
}

#[test]
fn the_kernel_is_positive_semidefinite_with_the_trace_of_its_features() {
    let (n, m, inputs, d) = (40, 300, 6, 3);
    let set = Set::<f64>::random(n, m, inputs, 1);
    let a = Panels::from_matrix("a", signs::<f64>(m, d).as_ref()).unwrap();
    let mut h = Mat::zeros(d * n, d * n);
    full_into(h.as_mut(), TangentKernel::symmetric(&a, set.features()), &mut Workspace::new(), Par::Seq).unwrap();
    let smallest = h.self_adjoint_eigenvalues(Side::Lower).unwrap()[0];
    assert!(smallest > -1e-12 * h.norm_max(), "{smallest}");
    // tr H = d/m sum_j |z_j|^2 (active neurons on j).
    let trace: f64 = (0..d * n).map(|x| h[(x, x)]).sum();
    let norm = |j: usize| set.z.row(j).iter().map(|x| x * x).sum::<f64>();
    let expected: f64 = (0..n).map(|j| norm(j) * set.patterns.count_row(j) as f64).sum::<f64>() * d as f64 / m as f64;
    assert!((trace - expected).abs() < 1e-12 * expected);
}

#[test]
fn all_active_and_all_inactive_rows() {
    let (n, m, inputs, d) = (70, 200, 3, 2);
    let z = convert::<f64>(&values(n, inputs, 1));
    let signs = signs::<f64>(m, d);
    let a = Panels::from_matrix("a", signs.as_ref()).unwrap();
    let panels = Panels::from_matrix("z", z.as_ref()).unwrap();
    let mut patterns = ActivationPatterns::zeros(n, m);
    for j in (0..n).step_by(2) {
        (0..m).for_each(|r| patterns.set(j, r, true));
    }
    let agreement: f64 = (0..m).map(|r| signs[(r, 0)] * signs[(r, 1)]).sum();
    for count in Popcount::available() {
        for (outputs, expected) in [((0, 0), m as f64), ((0, 1), agreement)] {
            let mut h = Mat::zeros(n, n);
            let samples = Features { patterns: &patterns, z: &panels };
            block_with(
                count,
                h.as_mut(),
                outputs,
                TangentKernel::symmetric(&a, samples),
                &mut Workspace::new(),
                Par::Seq,
            )
            .unwrap();
            for j in 0..n {
                for l in 0..n {
                    let inner: f64 = (0..inputs).map(|c| z[(j, c)] * z[(l, c)]).sum();
                    let expected = if j % 2 + l % 2 == 0 { inner * expected / m as f64 } else { 0.0 };
                    assert!((h[(j, l)] - expected).abs() < 1e-14, "{} {j} {l}", count.name());
                }
            }
        }
    }
}

/// With samples of 1 and as many neurons as a power of two, entries are counts and nothing is rounded.
#[test]
fn counts_are_exact() {
    let (n, m, d) = (130, 2048, 9);
    let mut set = Set::<f32>::random(n, m, 5, 1);
    set.z = Mat::from_fn(n, 1, |_, _| 1.0);
    set.panels = Panels::from_matrix("z", set.z.as_ref()).unwrap();
    let signs = signs::<f32>(m, d);
    let a = Panels::from_matrix("a", signs.as_ref()).unwrap();
    let side = (&set.patterns, set.z.as_ref());
    let expected = reference::full(signs.as_ref(), side, side);
    let mut workspace = Workspace::new();
    for count in Popcount::available() {
        let mut whole = Mat::<f32>::zeros(d * n, d * n);
        full_with(count, whole.as_mut(), TangentKernel::symmetric(&a, set.features()), &mut workspace, Par::Seq)
            .unwrap();
        assert_eq!(difference(whole.as_ref(), &expected), 0.0, "{}", count.name());
        for (i, k) in [(0, 0), (2, 7)] {
            let mut block = Mat::<f32>::zeros(n, n);
            let samples = set.features();
            block_with(count, block.as_mut(), (i, k), TangentKernel::symmetric(&a, samples), &mut workspace, Par::Seq)
                .unwrap();
            assert_eq!(block.as_ref(), whole.submatrix(i * n, k * n, n, n), "{}", count.name());
        }
    }
}

#[test]
fn more_neurons_come_closer_to_the_limit() {
    use rand::SeedableRng;
    use rand_distr::Distribution;
    let z = values(24, 5, 1);
    let gap = |m: usize| {
        let mut stream = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(5);
        let w = Mat::from_fn(m, 5, |_, _| rand_distr::StandardNormal.sample(&mut stream));
        let set = Set::new(z.clone(), MatRef::<f64>::from(w.as_ref()));
        let a = Panels::from_matrix("a", signs::<f64>(m, 2).as_ref()).unwrap();
        let found = drift(&set.patterns, &set.patterns, &a, &set.panels, Par::Seq).unwrap();
        assert_eq!(found.change, 0.0);
        found.relative_gap()
    };
    let gaps = [256, 4096, 65536].map(gap);
    // The gap falls as m^-1/2, by 4 from each to the next, up to chance.
    assert!(gaps[1] < gaps[0] / 2.0 && gaps[2] < gaps[1] / 2.0 && gaps[2] < 0.02, "{gaps:?}");
}

#[test]
fn empty_sets_are_fine_and_wrong_input_is_refused() {
    let mut workspace = Workspace::<f32>::new();
    let a = Panels::from_matrix("a", signs::<f32>(70, 2).as_ref()).unwrap();
    let (none, some) = (Set::<f32>::random(0, 70, 3, 1), Set::<f32>::random(5, 70, 3, 1));
    let (none, some) = (none.features(), some.features());
    let zeros = Mat::<f32>::zeros;
    block_into(zeros(0, 5).as_mut(), (0, 1), between(&a, none, some), &mut workspace, Par::Seq).unwrap();
    full_into(zeros(10, 0).as_mut(), between(&a, some, none), &mut workspace, Par::Seq).unwrap();
    full_into(zeros(0, 0).as_mut(), TangentKernel::symmetric(&a, none), &mut workspace, Par::Seq).unwrap();
    let mut product = ProductWorkspace::new();
    let mut out = Panels::from_matrix("out", Mat::<f32>::from_fn(5, 2, |_, _| 1.0).as_ref()).unwrap();
    product_into(&mut out, &Panels::zeros(0, 2), between(&a, some, none), &mut product, Par::Seq).unwrap();
    assert_eq!(out.to_matrix(), zeros(5, 2));
    let nothing = drift(none.patterns, none.patterns, &a, none.z, Par::Seq).unwrap();
    assert_eq!(nothing, Drift { change: 0.0, start: 0.0, gap: 0.0, limit: 0.0 });
    assert_eq!((nothing.relative_change(), nothing.relative_gap()), (0.0, 0.0));

    let other = Set::<f32>::random(5, 71, 3, 1);
    let other_inputs = Set::<f32>::random(5, 70, 4, 1);
    let not_signs = Panels::from_matrix("a", Mat::<f32>::from_fn(70, 2, |r, _| r as f32).as_ref()).unwrap();
    let out = || zeros(5, 5);
    let seq = Par::Seq;
    assert!(block_into(out().as_mut(), (0, 2), TangentKernel::symmetric(&a, some), &mut workspace, seq).is_err());
    assert!(
        block_into(out().as_mut(), (0, 1), TangentKernel::symmetric(&not_signs, some), &mut workspace, seq).is_err()
    );
    assert!(block_into(zeros(5, 4).as_mut(), (0, 1), TangentKernel::symmetric(&a, some), &mut workspace, seq).is_err());
    assert!(block_into(out().as_mut(), (0, 0), between(&a, some, other.features()), &mut workspace, seq).is_err());
    assert!(
        block_into(out().as_mut(), (0, 0), between(&a, some, other_inputs.features()), &mut workspace, seq).is_err()
    );
    let no_neurons = Set::<f32>::random(5, 0, 3, 1);
    let no_signs = Panels::zeros(0, 2);
    assert!(
        full_into(
            zeros(10, 10).as_mut(),
            TangentKernel::symmetric(&no_signs, no_neurons.features()),
            &mut workspace,
            seq
        )
        .is_err()
    );
    let (mut wrong, v) = (Panels::zeros(5, 3), Panels::zeros(5, 2));
    assert!(product_into(&mut wrong, &v, between(&a, some, some), &mut product, seq).is_err());
    assert!(drift(other.features().patterns, some.patterns, &a, some.z, seq).is_err());
}
