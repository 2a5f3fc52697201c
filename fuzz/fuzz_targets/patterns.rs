//! Activation patterns: any bytes handed to the reader either are refused or come back as they were, and patterns packed from
//! weights and samples agree with the reference bit for bit and with every count taken from them.
#![no_main]

use arbitrary::{Result, Unstructured};
use faer::{Mat, Par};
use libfuzzer_sys::fuzz_target;
use ntk_score::internals::reference::descent as reference;
use ntk_score::kernels::Panels;
use ntk_score::kernels::Real;
use ntk_score::kernels::patterns::{ActivationPatterns, patterns_with};
use ntk_score::simd::Popcount;
use ntk_score_fuzz::{Palette, level, size};

fn packed<T: Real>(u: &mut Unstructured<'_>) -> Result<ActivationPatterns> {
    let (n, m, inputs) = (size(u, 0, 140)?, size(u, 1, 200)?, size(u, 1, 16)?);
    let (level, workers) = (level(u)?, u.int_in_range(1..=4)?);
    let mut palette = Palette::take(u, 509)?;
    let mut draw = |rows| palette.matrix(rows, inputs, Palette::eighth);
    let [z, w] = [draw(n), draw(m)].map(|x| Mat::from_fn(x.nrows(), inputs, |i, j| T::from_f64(x[(i, j)])));
    let (_, expected) = reference::forward(w.as_ref(), Mat::zeros(m, 0).as_ref(), z.as_ref());
    let [z_panels, w_panels] = [&z, &w].map(|x| Panels::from_matrix("fuzz", x.as_ref()).unwrap());
    let mut found = ActivationPatterns::zeros(0, 0);
    let par = if workers == 1 { Par::Seq } else { Par::rayon(workers) };
    patterns_with(level, &mut found, &w_panels, &z_panels, par).unwrap();
    assert_eq!(found, expected, "patterns at {level} in {}", T::NAME);
    Ok(found)
}

fn counts(start: &ActivationPatterns, now: &ActivationPatterns) {
    let (n, m) = (start.samples(), start.neurons());
    let active = |j| (0..m).filter(|&r| start.is_active(j, r)).count();
    let differing = |j| (0..m).filter(|&r| start.is_active(j, r) != now.is_active(j, r)).count() as u64;
    let mut total = 0;
    let rows = start.hamming_rows(now).unwrap();
    for j in 0..n {
        assert_eq!(start.count_row(j), active(j));
        assert_eq!(rows[j], differing(j));
        total += differing(j);
    }
    for count in Popcount::available() {
        assert_eq!(start.hamming_with(count, now).unwrap(), total, "{}", count.name());
        let mut again = vec![u64::MAX; n];
        start.hamming_rows_with(count, now, &mut again).unwrap();
        assert_eq!(again, rows, "{}", count.name());
    }
    let mut flips = ActivationPatterns::zeros(n, m);
    flips.merge_flips(start, now).unwrap();
    flips.merge_flips(start, start).unwrap();
    for j in 0..n {
        assert!((0..m).all(|r| flips.is_active(j, r) == (start.is_active(j, r) != now.is_active(j, r))));
    }
    for (r, count) in start.count_neurons().into_iter().enumerate() {
        assert_eq!(count, (0..n).filter(|&j| start.is_active(j, r)).count());
    }
}

fn packing(data: &[u8]) -> Result<()> {
    let mut u = Unstructured::new(data);
    let patterns = if u.arbitrary()? { packed::<f32>(&mut u)? } else { packed::<f64>(&mut u)? };
    let mut others = patterns.clone();
    let last = patterns.words_per_row();
    for (i, word) in others.words_mut().iter_mut().enumerate() {
        *word = word.rotate_left(i as u32 % 7);
        let used = patterns.neurons() - (i % last) * 64;
        if used < 64 {
            *word &= (1 << used) - 1;
        }
    }
    counts(&patterns, &others);
    let again = ActivationPatterns::from_bytes(&patterns.to_bytes()).unwrap();
    assert_eq!(again, patterns);
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    match ActivationPatterns::from_bytes(data) {
        Ok(patterns) => assert_eq!(patterns.to_bytes(), data),
        Err(error) => assert!(error.to_string().len() > 20),
    }
    let _ = packing(data);
});
