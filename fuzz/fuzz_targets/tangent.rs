//! The finite-width tangent kernel against its plain reference: blocks, the whole kernel, products and drift, for arbitrary
//! activation patterns, in any shape, counting method and number of workers.
#![no_main]

use arbitrary::{Result, Unstructured};
use faer::{Mat, Par};
use libfuzzer_sys::fuzz_target;
use ntk_score::internals::reference::tangent as reference;
use ntk_score::kernels::Panels;
use ntk_score::kernels::Real;
use ntk_score::kernels::patterns::ActivationPatterns;
use ntk_score::kernels::tangent::{
    Features, ProductWorkspace, TangentKernel, Workspace, block_with, blocks_with, drift_with, full_with, product_with,
};
use ntk_score::simd::{Level, Popcount};
use ntk_score_fuzz::{Palette, assert_close, level, size};

/// Outputs times samples up to which the whole kernel is computed: its reference is slow.
const MOST_ENTRIES: usize = 140;

struct Case {
    level: Level,
    count: Popcount,
    par: Par,
    outputs: (usize, usize),
    a: Mat<f64>,
    z: [Mat<f64>; 2],
    patterns: [ActivationPatterns; 3],
    v: Mat<f64>,
}

fn case(u: &mut Unstructured<'_>) -> Result<Case> {
    // More than five outputs take several quintets.
    let d = u.int_in_range(1..=10)?;
    let most = if d <= 2 || u.arbitrary()? { 70 } else { MOST_ENTRIES / d };
    let (n, n_other, m, inputs) = (size(u, 0, most)?, size(u, 0, most)?, size(u, 1, 200)?, size(u, 1, 12)?);
    let counters = Popcount::available();
    let count = *u.choose(&counters)?;
    let (level, workers) = (level(u)?, u.int_in_range(1..=4)?);
    let outputs = (u.choose_index(d)?, u.choose_index(d)?);
    let mut palette = Palette::take(u, 509)?;
    let a = palette.matrix(m, d, |p| if p.byte() & 1 == 1 { 1.0 } else { -1.0 });
    let z = [n, n_other].map(|rows| palette.matrix(rows, inputs, Palette::eighth));
    let v = palette.matrix(n_other, d, Palette::eighth);
    let patterns = [n, n_other, n].map(|rows| {
        let mut patterns = ActivationPatterns::zeros(rows, m);
        for j in 0..rows {
            for r in 0..m {
                if palette.byte() & 4 == 4 {
                    let words = patterns.words_per_row();
                    patterns.words_mut()[j * words + r / 64] |= 1 << (r % 64);
                }
            }
        }
        patterns
    });
    let par = if workers == 1 { Par::Seq } else { Par::rayon(workers) };
    Ok(Case { level, count, par, outputs, a, z, patterns, v })
}

fn check<T: Real>(case: &Case, epsilon: f64) {
    let Case { level, count, par, outputs, a, z, patterns, v } = case;
    let (count, par, outputs, d) = (*count, *par, *outputs, a.ncols());
    let convert = |x: &Mat<f64>| Mat::from_fn(x.nrows(), x.ncols(), |i, j| T::from_f64(x[(i, j)]));
    let [a, z1, z2, v] = [a, &z[0], &z[1], v].map(convert);
    let panels = [&a, &z1, &z2, &v].map(|x| Panels::from_matrix("fuzz", x.as_ref()).unwrap());
    let [a_panels, z1_panels, z2_panels, v_panels] = &panels;
    let [first, second, later] = patterns;
    let rows = Features { patterns: first, z: z1_panels };
    let columns = Features { patterns: second, z: z2_panels };
    let (n1, n2) = (z1.nrows(), z2.nrows());
    let sides = ((first, z1.as_ref()), (second, z2.as_ref()));
    let mut workspace = Workspace::new();

    let mut out = Mat::<T>::zeros(n1, n2);
    block_with(count, out.as_mut(), outputs, TangentKernel { a: a_panels, rows, columns }, &mut workspace, par)
        .unwrap();
    compare("block", &out, &reference::block(a.as_ref(), outputs, sides.0, sides.1), epsilon);
    let mut square = Mat::<T>::zeros(n1, n1);
    block_with(count, square.as_mut(), outputs, TangentKernel::symmetric(a_panels, rows), &mut workspace, par).unwrap();
    compare("symmetric block", &square, &reference::block(a.as_ref(), outputs, sides.0, sides.0), epsilon);

    // Several at once: the transposed pair, and one that occurs again.
    let (mut again, mut turned) = (Mat::<T>::zeros(n1, n2), Mat::<T>::zeros(n1, n2));
    let mut blocks = [(outputs, again.as_mut()), ((outputs.1, outputs.0), turned.as_mut())];
    blocks_with(count, &mut blocks, TangentKernel { a: a_panels, rows, columns }, &mut workspace, par).unwrap();
    assert!(again == out && turned == out, "chosen blocks differ from the block alone");
    let mut again = Mat::<T>::zeros(n1, n1);
    blocks_with(count, &mut [(outputs, again.as_mut())], TangentKernel::symmetric(a_panels, rows), &mut workspace, par)
        .unwrap();
    assert!(again == square, "a chosen symmetric block differs from the block alone");

    // The whole kernel and what is measured on it, where the reference is quick enough.
    if d * n1.max(n2) <= MOST_ENTRIES {
        let whole = reference::full(a.as_ref(), sides.0, sides.1);
        let mut out = Mat::<T>::zeros(d * n1, d * n2);
        full_with(count, out.as_mut(), TangentKernel { a: a_panels, rows, columns }, &mut workspace, par).unwrap();
        compare("whole kernel", &out, &whole, epsilon);
        let mut out = Mat::<T>::zeros(d * n1, d * n1);
        full_with(count, out.as_mut(), TangentKernel::symmetric(a_panels, rows), &mut workspace, par).unwrap();
        compare("whole symmetric kernel", &out, &reference::full(a.as_ref(), sides.0, sides.0), epsilon);

        let mut out = Panels::<T>::zeros(n1, d);
        let mut buffers = ProductWorkspace::new();
        product_with(*level, &mut out, v_panels, TangentKernel { a: a_panels, rows, columns }, &mut buffers, par)
            .unwrap();
        for j in 0..n1 {
            for i in 0..d {
                let terms = |k: usize, l: usize| whole[(i * n1 + j, k * n2 + l)] * v[(l, k)].to_f64();
                let sum: f64 = (0..d).flat_map(|k| (0..n2).map(move |l| terms(k, l))).sum();
                let inner = |l: usize| -> f64 {
                    (0..z1.ncols()).map(|c| (z1[(j, c)].to_f64() * z2[(l, c)].to_f64()).abs()).sum()
                };
                let size: f64 = (0..n2).map(|l| inner(l) * (0..d).map(|k| v[(l, k)].to_f64().abs()).sum::<f64>()).sum();
                let what = || format!("product at {j}, {i}, {level}");
                assert_close(out.get(j, i).to_f64(), sum, 16.0 * epsilon * size, what);
            }
        }

        let found = drift_with(count, later, first, a_panels, z1_panels, par).unwrap();
        let start = reference::full(a.as_ref(), sides.0, sides.0);
        let now = reference::full(a.as_ref(), (later, z1.as_ref()), (later, z1.as_ref()));
        let row = |j: usize| (0..z1.ncols()).map(|c| z1[(j, c)].to_f64()).collect::<Vec<_>>();
        let limit = Mat::from_fn(d * n1, d * n1, |p, q| {
            if n1 > 0 && p / n1 == q / n1 { reference::limit(&row(p % n1), &row(q % n1)) } else { 0.0 }
        });
        let norm = |x: &Mat<f64>| x.norm_l2();
        let size = norm(&start) + norm(&now) + norm(&limit);
        let pairs = [
            ("change", found.change, norm(&(&now - &start))),
            ("start", found.start, norm(&start)),
            ("gap", found.gap, norm(&(&start - &limit))),
            ("limit", found.limit, norm(&limit)),
        ];
        for (what, found, expected) in pairs {
            assert_close(found, expected, 1e-5f64.min(16.0 * epsilon) * size, || format!("drift: {what}"));
        }
    }
}

/// Counts are exact and so are the inner products of these samples; what is left is rounding the result.
fn compare<T: Real>(what: &str, found: &Mat<T>, expected: &Mat<f64>, epsilon: f64) {
    for j in 0..expected.ncols() {
        for i in 0..expected.nrows() {
            let (found, expected) = (found[(i, j)].to_f64(), expected[(i, j)]);
            assert_close(found, expected, 3.0 * epsilon * expected.abs(), || {
                format!("{what} at {i}, {j} in {}", T::NAME)
            });
        }
    }
}

fuzz_target!(|data: &[u8]| {
    if let Ok(case) = case(&mut Unstructured::new(data)) {
        check::<f32>(&case, f64::from(f32::EPSILON));
        check::<f64>(&case, f64::EPSILON);
    }
});
