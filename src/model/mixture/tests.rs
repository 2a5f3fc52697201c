//! The posterior against plain sums in f64 at every SIMD level, and mixtures found again in data drawn from them.

// Formulas are written with the indices of the page.
#![allow(clippy::needless_range_loop)]

use rand::RngExt;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::*;
use crate::kernels::{Lane64, PANEL};
use crate::model::layout::{DataSource, Layout};
use crate::random::{Purpose, normal, stream};
use crate::simd::Level;

/// Three components of three numbers and two blocks, none like another.
fn mixture() -> Mixture {
    let mut rng = stream(11, Purpose::Data);
    let layout = Layout { numerical: 3, blocks: vec![2, 4] };
    let mut axes = Vec::new();
    for _ in 0..3 {
        // Gram and Schmidt on random directions.
        let mut basis: Vec<[f64; 3]> = Vec::new();
        while basis.len() < 3 {
            let mut v = [0.0; 3].map(|_: f64| normal::<f64>(&mut rng));
            for u in &basis {
                let along: f64 = u.iter().zip(&v).map(|(a, b)| a * b).sum();
                v.iter_mut().zip(u).for_each(|(v, u)| *v -= along * u);
            }
            let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
            basis.push(v.map(|x| x / norm));
        }
        axes.extend(basis.iter().flatten().map(|&x| x as f32));
    }
    let mut levels = Vec::new();
    for _ in 0..3 {
        for block in [2, 4] {
            let shares: Vec<f32> = (0..block).map(|_| 0.05 + rng.random::<f32>()).collect();
            let sum: f32 = shares.iter().sum();
            levels.extend(shares.iter().map(|x| x / sum));
        }
    }
    Mixture {
        layout,
        log_weights: [0.5f32, 0.3, 0.2].map(f32::ln).to_vec(),
        means: (0..9).map(|_| normal::<f32>(&mut rng)).collect(),
        axes,
        variances: (0..9).map(|i| [1.0, 0.2, 1e-3][i % 3] * (1.0 + i as f32 / 9.0)).collect(),
        levels,
    }
}

/// Posterior means and log-probabilities of one row, by the formulas at the top of the module.
fn plain(mixture: &Mixture, alpha: f64, h: f64, x: &[f64], codes: &[f64]) -> Vec<f64> {
    let (p, c) = (3, 6);
    let mut weights = Vec::new();
    for k in 0..3 {
        let mut log = f64::from(mixture.log_weights[k]);
        for i in 0..p {
            let y: f64 = (0..p)
                .map(|j| {
                    f64::from(mixture.axes[(k * p + i) * p + j]) * (x[j] - alpha * f64::from(mixture.means[k * p + j]))
                })
                .sum();
            let v = alpha * alpha * f64::from(mixture.variances[k * p + i]) + h;
            log -= 0.5 * (v.ln() + y * y / v);
        }
        for range in mixture.layout.ranges() {
            let sum: f64 = range.map(|code| f64::from(mixture.levels[k * c + code]) * codes[code].exp()).sum();
            log += sum.ln();
        }
        weights.push(log);
    }
    let top = weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = weights.iter().map(|w| (w - top).exp()).sum();
    let mut out = vec![0.0; p + c];
    for k in 0..3 {
        let gamma = (weights[k] - top).exp() / total;
        for j in 0..p {
            out[j] += gamma * f64::from(mixture.means[k * p + j]);
        }
        for i in 0..p {
            let axis = |j: usize| f64::from(mixture.axes[(k * p + i) * p + j]);
            let y: f64 = (0..p).map(|j| axis(j) * (x[j] - alpha * f64::from(mixture.means[k * p + j]))).sum();
            let s = f64::from(mixture.variances[k * p + i]);
            (0..p).for_each(|j| out[j] += gamma * axis(j) * alpha * s * y / (alpha * alpha * s + h));
        }
        for range in mixture.layout.ranges() {
            let level = |code: usize| f64::from(mixture.levels[k * c + code]) * codes[code].exp();
            let sum: f64 = range.clone().map(level).sum();
            range.for_each(|code| out[p + code] += gamma * level(code) / sum);
        }
    }
    out[p..].iter_mut().for_each(|x| *x = x.ln());
    out
}

#[test]
fn posterior_means_equal_plain_sums_at_every_level() {
    let mixture = mixture();
    let mut rng = stream(12, Purpose::Data);
    let mut lane = |f: &mut dyn FnMut(usize, &mut Xoshiro256PlusPlus) -> f32| {
        let mut lane = Lane64([0.0; PANEL]);
        (0..PANEL).for_each(|l| lane.0[l] = f(l, &mut rng));
        lane
    };
    // From hardly any noise to hardly any signal.
    let h = lane(&mut |l, _| (3e-4f32).powf(1.0 - l as f32 / 63.0) * 0.995);
    let mut alpha = h;
    alpha.0.iter_mut().for_each(|h| *h = (1.0 - *h).sqrt());
    let numbers: Vec<_> = (0..3).map(|_| lane(&mut |_, rng| 1.5 * normal::<f32>(rng))).collect();
    let codes: Vec<_> = (0..6).map(|_| lane(&mut |l, rng| normal::<f32>(rng) / h.0[l].sqrt())).collect();
    for level in Level::available() {
        let mut scratch = Scratch::new(&mixture);
        let mut out = vec![Lane64([f32::NAN; PANEL]); 9];
        let (mixture, alpha, h) = (&mixture, &alpha, &h);
        let (numbers, codes) = (numbers.as_slice(), codes.as_slice());
        level.run(Posterior { mixture, alpha, h, numbers, codes, out: &mut out, scratch: &mut scratch });
        for l in 0..PANEL {
            let of = |lanes: &[Lane64<f32>]| lanes.iter().map(|lane| f64::from(lane.0[l])).collect::<Vec<_>>();
            let wanted = plain(mixture, f64::from(alpha.0[l]), f64::from(h.0[l]), &of(numbers), &of(codes));
            for (i, (found, wanted)) in of(&out).into_iter().zip(wanted).enumerate() {
                // Log-probabilities are cut off at 1e-30; responsibilities carry the rounding of exponents of size y^2 / v.
                let wanted = if i < 3 { wanted } else { wanted.max((1e-30f64).ln()) };
                let bound = 2e-3 * (1.0 + wanted.abs().min(10.0));
                assert!((found - wanted).abs() < bound, "{level}, row {l}, entry {i}: {found}, wanted {wanted}");
            }
        }
    }
}

/// Rows of two clusters, each with its own direction and its own category.
struct Clusters(Layout);

impl DataSource for Clusters {
    fn rows(&self) -> usize {
        1500
    }

    fn layout(&self) -> &Layout {
        &self.0
    }

    fn draw(&self, row: usize, _: &mut Xoshiro256PlusPlus, numbers: &mut [f32], levels: &mut [u32]) {
        let mut rng = stream(row as u64, Purpose::Data);
        let (along, off) = (normal::<f32>(&mut rng), 0.05 * normal::<f32>(&mut rng));
        let first = !row.is_multiple_of(3);
        let [x, y] = if first { [2.0 + along, 2.0 + along + off] } else { [-2.0 + along, -2.0 - along + off] };
        numbers.copy_from_slice(&[x, y]);
        levels[0] = u32::from(first != (rng.random::<f32>() < 0.1));
    }
}

#[test]
fn two_clusters_are_found_with_their_shares_directions_and_categories() {
    let source = Clusters(Layout { numerical: 2, blocks: vec![2] });
    let one = fit(&source, None, 1, 1, 0, None).unwrap();
    assert_eq!(one.components(), 1);
    let two = fit(&source, None, 2, 2, 0, None).unwrap();
    assert_eq!(two.components(), 2);
    assert!(two.is_sound());
    let first = usize::from(two.means[0] < 0.0);
    let share = two.log_weights[first].exp();
    assert!((share - 2.0 / 3.0).abs() < 0.02, "{share}");
    assert!((two.levels[2 * first + 1] - 0.9).abs() < 0.03, "{:?}", two.levels);
    // The short axis of the first cluster is (1, -1) / sqrt(2), with the deviation 0.05 / sqrt(2); the floor is below it.
    let short = usize::from(two.variances[2 * first] > two.variances[2 * first + 1]);
    let axis = &two.axes[(2 * first + short) * 2..][..2];
    assert!((axis[0] + axis[1]).abs() < 0.05, "{axis:?}");
    // Who computes changes nothing.
    assert_eq!(two, fit(&source, None, 2, 3, 0, None).unwrap());
}
