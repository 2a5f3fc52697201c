//! Patterns against plain loops, at every level and around every size boundary.

use faer::{Mat, Par};

use super::*;
use crate::kernels::descent;
use crate::kernels::{Panels, Real};
use crate::simd::{Level, Popcount};

/// Deterministic values in [-1, 1) whose period fits no tile.
fn values<T: Real>(rows: usize, columns: usize, seed: u64) -> Mat<T> {
    let mut state = seed;
    Mat::from_fn(rows, columns, |_, _| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        T::from_f64((state >> 11) as f64 / (1u64 << 52) as f64 - 1.0)
    })
}

fn random(samples: usize, neurons: usize, seed: u64) -> ActivationPatterns {
    let bits = values::<f64>(samples, neurons, seed);
    let mut patterns = ActivationPatterns::zeros(samples, neurons);
    for j in 0..samples {
        for r in 0..neurons {
            patterns.set(j, r, bits[(j, r)] >= 0.0);
        }
    }
    patterns
}

fn check_packing<T: Real>() {
    for (n, m, inputs) in
        [(0, 5, 2), (5, 0, 2), (1, 1, 1), (1, 65, 2), (63, 64, 3), (64, 63, 0), (65, 65, 5), (130, 200, 25), (3, 61, 7)]
    {
        let (w, z) = (values::<T>(m, inputs, 1), values::<T>(n, inputs, 2));
        let (_, expected) = descent::reference::forward(w.as_ref(), Mat::<T>::zeros(m, 0).as_ref(), z.as_ref());
        let (w, z) = (Panels::from_matrix("w", w.as_ref()).unwrap(), Panels::from_matrix("z", z.as_ref()).unwrap());
        for level in Level::available() {
            for par in [Par::Seq, Par::rayon(3)] {
                // What was there before must not show through.
                let mut found = random(n, m, 9);
                patterns_with(level, &mut found, &w, &z, par).unwrap();
                assert_eq!(found, expected, "{level}, N {n} m {m} D {inputs}");
            }
        }
    }
}

#[test]
fn packing_agrees_with_the_reference_at_every_level() {
    check_packing::<f32>();
    check_packing::<f64>();
}

#[test]
fn zero_pre_activations_are_active() {
    let (w, z) = (Mat::<f32>::zeros(70, 3), values::<f32>(66, 3, 1));
    let patterns = ActivationPatterns::new_from(w.as_ref(), z.as_ref(), Par::Seq).unwrap();
    assert_eq!(patterns.active_fraction(), 1.0);
    assert!((0..66).all(|j| patterns.count_row(j) == 70));
    let negative = Mat::<f32>::from_fn(2, 1, |_, _| -0.0);
    let one = Mat::<f32>::from_fn(2, 1, |_, _| 1.0);
    let patterns = ActivationPatterns::new_from(negative.as_ref(), one.as_ref(), Par::Seq).unwrap();
    assert_eq!(patterns.active_fraction(), 1.0);
}

#[test]
fn counts_and_distances_agree_with_single_bits() {
    for (n, m) in [(0, 0), (0, 7), (7, 0), (1, 1), (3, 64), (5, 65), (66, 130), (9, 700), (130, 4099)] {
        let (a, b) = (random(n, m, 1), random(n, m, 2));
        let active = |p: &ActivationPatterns, j, r| usize::from(p.is_active(j, r));
        let mut total = 0;
        for j in 0..n {
            assert_eq!(a.count_row(j), (0..m).map(|r| active(&a, j, r)).sum::<usize>());
            let flips: usize = (0..m).map(|r| active(&a, j, r) ^ active(&b, j, r)).sum();
            assert_eq!(a.hamming_rows(&b).unwrap()[j], flips as u64);
            total += flips as u64;
        }
        assert_eq!(a.hamming(&b).unwrap(), total);
        for count in Popcount::available() {
            // What was there before must not show through.
            let mut rows = vec![7; n];
            a.hamming_rows_with(count, &b, &mut rows).unwrap();
            assert_eq!(rows, a.hamming_rows(&b).unwrap(), "{}", count.name());
            assert_eq!(a.hamming_with(count, &b).unwrap(), total, "{}", count.name());
        }
        let by_neuron: Vec<usize> = (0..m).map(|r| (0..n).map(|j| active(&a, j, r)).sum()).collect();
        assert_eq!(a.count_neurons(), by_neuron);
        for r in 0..m.min(70) {
            assert_eq!(a.count_neuron(r), by_neuron[r]);
        }
        let sum: usize = by_neuron.iter().sum();
        let expected = if n * m == 0 { 0.0 } else { sum as f64 / (n * m) as f64 };
        assert!((a.active_fraction() - expected).abs() < 1e-15);
    }
}

#[test]
fn merged_flips_are_the_union_over_iterations() {
    let (start, first, second) = (random(5, 130, 1), random(5, 130, 2), random(5, 130, 3));
    let mut seen = ActivationPatterns::zeros(5, 130);
    for now in [&start, &first, &second] {
        seen.merge_flips(&start, now).unwrap();
    }
    for j in 0..5 {
        for r in 0..130 {
            let s = start.is_active(j, r);
            let flipped = first.is_active(j, r) != s || second.is_active(j, r) != s;
            assert_eq!(seen.is_active(j, r), flipped);
        }
    }
}

#[test]
fn other_shapes_are_refused() {
    let (mut a, b) = (random(3, 65, 1), random(3, 66, 1));
    assert!(a.hamming(&b).is_err() && a.hamming_rows(&b).is_err());
    assert!(a.hamming_rows_with(Popcount::current(), &a, &mut [0; 2]).is_err());
    let start = a.clone();
    assert!(a.merge_flips(&start, &b).is_err() && a.merge_flips(&b, &start).is_err());
    let (w, z) = (values::<f32>(4, 3, 1), values::<f32>(4, 2, 1));
    assert!(ActivationPatterns::new_from(w.as_ref(), z.as_ref(), Par::Seq).is_err());
}

#[test]
fn bytes_round_trip_and_damage_is_refused() {
    for (n, m) in [(0, 0), (0, 9), (9, 0), (1, 1), (3, 64), (4, 65)] {
        let patterns = random(n, m, 5);
        assert_eq!(ActivationPatterns::from_bytes(&patterns.to_bytes()).unwrap(), patterns);
    }
    let bytes = random(4, 65, 5).to_bytes();
    for length in 0..bytes.len() {
        assert!(ActivationPatterns::from_bytes(&bytes[..length]).is_err());
    }
    let changed = |at: usize, to: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = to;
        ActivationPatterns::from_bytes(&bytes)
    };
    for (at, to) in [(0, b'X'), (8, 5), (15, 255), (16, 200), (23, 255), (bytes.len() - 1, 128)] {
        let message = changed(at, to).unwrap_err().to_string();
        assert!(message.starts_with("these bytes are no activation patterns"), "{message}");
    }
}
